"""The benchmark: what it writes, and that it never boasts over a peer that computes something else."""

from __future__ import annotations

import ctypes
import itertools
import json
import threading
from importlib import resources

import numpy as np
import pytest

from axo.emulator import bench, limits
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
def test_library_and_hls4ml_agree_and_are_compared(tmp_path, capsys):
    """How fast either is, is the machine's affair; that both give every score and get a ratio is ours."""
    status, report = run(tmp_path)
    assert status == 0
    assert {"library", "hls4ml"} <= set(report["ratios"])
    printed = capsys.readouterr().out
    for name, ratio in report["ratios"].items():
        peer = report["peers"][name]
        assert (peer["events"], peer["mismatches"]) == (300, 0)
        assert ratio == report["events_per_s"] / peer["events_per_s"]
        assert f"kernel is {ratio:,.0f} times as fast ({peer['what']})" in printed


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


class Probe:
    """The loops of limits.c on a machine that adds once a cycle of 4 GHz, multiplies twice, reads 8 GB/s."""

    GHZ, DOTS_PER_CYCLE, GB_PER_S = 4.0, 2, 8.0

    def __init__(self):
        self.now_s, self.read_bytes = 0.0, 0
        self.lock = threading.Lock()
        self.slow_s = itertools.chain([0.5], itertools.repeat(0.0))  # other work, during the first run alone
        # A function, for measure_limits declares the types of its arguments on it.
        self.axo_read = lambda address, n: self._read(n)

    def _take(self, seconds):
        with self.lock:
            self.now_s += seconds + next(self.slow_s)

    def axo_cycles(self, n):
        self._take(16 * n.value / self.GHZ * 1e-9)

    def axo_dots(self, n):
        self._take(12 * n.value / self.DOTS_PER_CYCLE / self.GHZ * 1e-9)

    def _read(self, n):
        self._take(8 * n / self.GB_PER_S * 1e-9)
        with self.lock:
            self.read_bytes += 8 * n


@pytest.mark.parametrize("vnni", [True, False])
def test_limits_follow_from_counts_and_times(monkeypatch, vnni):
    """On a machine whose speed is known: what is counted, over the best time of the repeats."""
    probe = Probe()
    monkeypatch.setattr(limits, "library", lambda source, vnni: probe)
    monkeypatch.setattr(limits, "has_vnni", lambda: vnni)
    monkeypatch.setattr(limits.time, "perf_counter", lambda: probe.now_s)
    found = measure_limits(np.zeros(1 << 16, np.int16), [1, 2], repeats=3)
    # Threads take turns on this machine, so two read no faster than one.
    assert found.read_bytes_per_s == {1: pytest.approx(8e9), 2: pytest.approx(8e9)}
    assert probe.read_bytes == 2 * 3 * (1 << 17)
    if vnni:
        assert found.clock_ghz == pytest.approx(4.0)
        assert found.dot_products_per_s == pytest.approx(8e9)
    else:
        assert found.clock_ghz is found.dot_products_per_s is None


def test_limits_of_this_machine_are_measured():
    """Whatever they are: the compiled loops run, and vector instructions are timed where there are any."""
    found = measure_limits(np.zeros(1 << 16, np.int16), [1, 2], repeats=2)
    assert set(found.read_bytes_per_s) == {1, 2}
    rates = [*found.read_bytes_per_s.values()]
    if build.has_vnni():
        rates += [found.clock_ghz, found.dot_products_per_s]
    else:
        assert found.clock_ghz is found.dot_products_per_s is None
    assert all(np.isfinite(rate) and rate > 0 for rate in rates)


def test_the_loop_that_reads_reads_every_word():
    probe = build.library(resources.files("axo.emulator").joinpath("limits.c").read_text(), build.has_vnni())
    probe.axo_read.argtypes, probe.axo_read.restype = [ctypes.c_void_p, ctypes.c_int64], ctypes.c_int64
    words = np.random.default_rng(1).integers(-(1 << 40), 1 << 40, 4001)
    assert probe.axo_read(words.ctypes.data, len(words)) == words.sum()
