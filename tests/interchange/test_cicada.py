"""CICADA as it runs on a CTP7 card: the description as a network, against 256 recorded images and scores."""

import json
import re

import numpy as np
import pytest

from axo.cli import main
from axo.emulator.kernel import Kernel
from axo.firmware.models import find_model
from axo.firmware.rtl.trace import check_trace, trace_network
from axo.interchange.cicada import read_cicada_network
from axo.layout import find_layout
from axo.network import Network, evaluate, read_network


@pytest.fixture(scope="module")
def network(shared) -> Network:
    return read_cicada_network(shared / "golden/cicada_ctp7.json")


@pytest.fixture(scope="module")
def recorded(shared):
    """Images (256, 252) int16 and what the card's reference gave."""
    with np.load(shared / "golden/cicada_ctp7_vectors.npz") as vectors:
        assert len(np.unique(vectors["score_word"])) > 50
        return np.ascontiguousarray(vectors["region_et"], np.int16), vectors["score_word"]


def some_images(n, seed=0):
    """Images of every brightness: uniform to the full 10 bits, and darker ones that the score resolves."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 1024, (n, 252)) >> rng.integers(0, 10, (n, 1))).astype(np.int16)


def test_the_reference_gives_the_recorded_scores(network, recorded):
    images, score_word = recorded
    assert network.layout == find_layout("cicada")
    np.testing.assert_array_equal(evaluate(network, images).score_word, score_word)


def test_the_kernel_gives_the_recorded_scores(network, recorded):
    images, score_word = recorded
    kernel = Kernel(network, 1)
    np.testing.assert_array_equal(kernel.scores(images), score_word)
    others = some_images(4000)
    expected = evaluate(network, others).score_word
    assert len(np.unique(expected)) > 500
    np.testing.assert_array_equal(kernel.scores(others), expected)


def test_the_rtl_program_gives_the_recorded_scores(network, recorded):
    images, score_word = recorded
    program = trace_network(network)
    np.testing.assert_array_equal(program.predict(images.astype(float))[:, 0] * 2.0**8, score_word)
    assert check_trace(network, program, some_images(4000, 1)) == 4000


def test_the_command_writes_a_network_file(network, shared, tmp_path, capsys):
    source, out = str(shared / "golden/cicada_ctp7.json"), tmp_path / "cicada.json"
    assert main(["import", source, "--output", str(out)]) == 0
    assert "cicada_ctp7, 7 operations" in capsys.readouterr().out
    written = read_network(out)
    assert written.layout == network.layout and written.types == network.types
    assert find_model(source).network.types == network.types
    for option in (["--scales", "none"], ["--pt-convention", "half-kept"]):
        assert main(["import", source, "--output", str(tmp_path / "no.json"), *option]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "no.json").exists()


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda d: d.update(regions=251), "251 regions are not the 252"),
        (lambda d: d["layers"][1].update(op="conv"), r"layers\[1\]: op 'conv' is none of dense, batch_norm"),
        (lambda d: d["layers"][0].update(bias="some"), "layer0_dense: bias 'some' is not 'zero'"),
        (lambda d: d["layers"][0].pop("accum"), "key 'accum' is missing"),
        (lambda d: d["dense1_weight_int"].pop(), "dense1_weight_int: 3765 values are not 252 x 15"),
        (lambda d: d["bn_scale_int"].pop(), "bn_scale_int: 14 values are not 15"),
    ],
)
def test_what_is_wrong_is_one_line(shared, tmp_path, capsys, damage, fault):
    description = json.loads((shared / "golden/cicada_ctp7.json").read_text())
    damage(description)
    (tmp_path / "bad.json").write_text(json.dumps(description))
    assert main(["import", str(tmp_path / "bad.json"), "--output", str(tmp_path / "out.json")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "bad.json: " in message
    assert re.search(fault, message), message
