"""The benchmark: what it writes, and that it never boasts over a peer that computes something else."""

from __future__ import annotations

import json

import numpy as np
import pytest

from axo.emulator import bench
from axo.emulator.kernel import build
from axo.emulator.limits import dot_products_per_event, measure_limits
from axo.layout import layout_of_words
from axo.network import Dense, FixedType, Linear, Network, SumOfSquares, Word


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("AXO_CACHE", str(tmp_path_factory.mktemp("kernels")))
    if build.find_compiler() is None:
        pytest.skip("no C compiler is installed")


def run(tmp_path, *arguments) -> tuple[int, dict]:
    output = tmp_path / "bench.json"
    small = ("--events", "70000", "--peer-events", "300", "--repeats", "2", "--output", str(output))
    status = bench.main([*small, *arguments])
    return status, json.loads(output.read_text())["emulator"]


def test_report_has_speed_threads_peers_ratios_and_limits(tmp_path, capsys):
    status, report = run(tmp_path, "--no-peers")
    assert status == 0
    assert report["events"] == 70000
    assert report["events_per_s"] > 0
    assert report["threads"] == report["runs"][-1]["threads"]
    assert report["events_per_s_per_core"] == report["events_per_s"] / report["threads"]
    assert "numpy" in report["peers"]
    for name, ratio in report["ratios"].items():
        assert ratio == report["events_per_s"] / report["peers"][name]["events_per_s"]
        assert report["peers"][name]["mismatches"] == 0
    for single in report["runs"]:
        assert single["bytes_per_event"] == 57 * 2 + 4
        assert single["fraction_of_bandwidth"] > 0
    printed = capsys.readouterr().out
    assert f"{report['events_per_s']:,.0f}" in printed
    assert "times as fast" in printed


def test_a_peer_that_differs_gets_no_ratio(tmp_path, capsys, monkeypatch):
    def wrong(network, words):
        scores = bench._numpy(network, words).scores
        scores[7] += 1
        return bench.Peer(scores, 1.0, "a peer that is wrong once")

    monkeypatch.setattr(bench, "_peers", lambda backend, long: {"wrong": wrong, "numpy": bench._numpy})
    status, report = run(tmp_path)
    assert status == 1
    assert report["peers"]["wrong"]["mismatches"] == 1
    assert list(report["ratios"]) == ["numpy"]
    assert "1 of 300 scores DIFFER: no ratio" in capsys.readouterr().out


def test_a_kernel_that_differs_stops_everything(tmp_path, capsys, monkeypatch):
    right = bench.evaluate

    def shifted(network, words, **options):
        result = right(network, words, **options)
        result.score_word[3] += 1
        return result

    monkeypatch.setattr(bench, "evaluate", shifted)
    output = tmp_path / "bench.json"
    assert bench.main(["--events", "1000", "--output", str(output)]) == 2
    assert "1 of 1000 scores differ, first event 3" in capsys.readouterr().err
    assert not output.exists()


def test_an_unknown_model_is_one_line(capsys):
    assert bench.main(["--model", "axo_v33"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("axo: error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--events", "0"], ["--repeats", "-1"], ["--peer-events", "x"]])
def test_numbers_must_be_positive(arguments):
    with pytest.raises(SystemExit) as stopped:
        bench.main(arguments)
    assert stopped.value.code == 2


@pytest.mark.slow
def test_library_and_hls4ml_agree_and_are_slower(tmp_path):
    status, report = run(tmp_path)
    assert status == 0
    assert {"library", "hls4ml"} <= set(report["ratios"])
    assert min(report["ratios"].values()) > 1


def test_dot_products_are_counted_from_the_weights():
    """Five inputs in two groups of bytes, three outputs; one group of one output is all zero."""
    weight = np.ones((5, 3), int)
    weight[4, 1] = 0
    kind, wide = FixedType(4, 4), FixedType(20, 20)
    byte = FixedType(8, 8, True, "TRN", "SAT")
    dense = Dense("layer", "bytes", weight, kind, np.zeros(3, int), kind, wide)
    score = SumOfSquares("score", "layer", FixedType(30, 30, False), FixedType(30, 30, False))
    words = tuple(Word(f"w{i}", 8, True) for i in range(5))
    network = Network(
        "count", layout_of_words(words), (Linear("bytes", "words", byte), dense, score), "score", "layer"
    )
    assert dot_products_per_event(network) == 5 / 16


def test_limits_are_those_of_a_processor_of_today():
    limits = measure_limits(np.zeros(1 << 22, np.int16), [1, 2], repeats=3)
    assert set(limits.read_bytes_per_s) == {1, 2}
    assert all(1e8 < rate < 1e12 for rate in limits.read_bytes_per_s.values())
    if build.has_vnni():
        assert 0.2 < limits.clock_ghz < 10
        # At most two 512-bit dot products per cycle.
        assert limits.dot_products_per_s < 2.5 * limits.clock_ghz * 1e9
    else:
        assert limits.clock_ghz is limits.dot_products_per_s is None
