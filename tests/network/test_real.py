"""The float parent: by hand, and equal to the fixed-point network where nothing is rounded."""

from __future__ import annotations

import numpy as np
import pytest

from axo.layout import find_layout
from axo.network import FixedType, Network, evaluate
from axo.network.operations import Dense, Linear, Offset, Relu, Shift, SumOfSquares
from axo.network.real import evaluate_real

WIDE = FixedType(48, 40)


def network(input_type=WIDE):
    """words / 4 - 2 -> dense 57-2 -> relu -> dense 2-1 -> its square, every type wide enough to be exact."""
    rng = np.random.default_rng(3)
    first, second = rng.integers(-3, 4, (57, 2)), np.array([[2], [-1]])
    operations = (
        Linear("wide", "words", WIDE),
        Shift("quarter", "wide", np.full(57, 2)),
        Offset("centred", "quarter", np.full(57, 2), FixedType(8, 8), WIDE),
        Linear("network_input", "centred", input_type),
        Dense("dense0", "network_input", first, FixedType(4, 4), np.array([5, -7]), FixedType(5, 5), WIDE),
        Relu("relu0", "dense0", WIDE),
        Dense("dense1", "relu0", second, FixedType(4, 4), np.array([3]), FixedType(5, 5), FixedType(31, 31)),
        SumOfSquares("score", "dense1", FixedType(30, 30, False), FixedType(30, 30, False)),
    )
    return Network("wide", find_layout("cms_axol1tl"), operations, "score", "dense1", {})


def weights(net):
    return {
        o.name: (o.weight.astype(float), o.bias.astype(float)) for o in net.operations if isinstance(o, Dense)
    }


def test_equals_the_network_where_nothing_is_rounded():
    net = network()
    words = np.random.default_rng(4).integers(-50, 51, (2000, 57)).astype(np.int16) * 4
    real = evaluate_real(net, weights(net), words, chunk=300)
    np.testing.assert_array_equal(real, evaluate(net, words).score_word)
    assert real.std() > 0


def test_by_hand_with_other_weights_and_halves():
    net = network()
    words = np.random.default_rng(5).integers(-50, 51, (50, 57)).astype(np.int16)
    own = {name: (kernel + 0.125, bias - 0.5) for name, (kernel, bias) in weights(net).items()}
    hidden = np.maximum((words / 4 - 2) @ own["dense0"][0] + own["dense0"][1], 0)
    expected = (hidden @ own["dense1"][0] + own["dense1"][1])[:, 0] ** 2
    np.testing.assert_allclose(evaluate_real(net, own, words), expected, rtol=1e-12)


def test_saturation_is_that_of_the_types_and_only_when_asked():
    net = network(FixedType(8, 6, True, "RND_CONV", "SAT"))
    words = np.full((1, 57), 400, np.int16)  # 400 / 4 - 2 = 98, beyond 31.75
    own = weights(net)

    def score(value):
        hidden = np.maximum(value * own["dense0"][0].sum(axis=0) + own["dense0"][1], 0)
        return float((hidden @ own["dense1"][0] + own["dense1"][1])[0] ** 2)

    assert evaluate_real(net, own, words)[0] == pytest.approx(score(98))
    assert evaluate_real(net, own, words, saturate=True)[0] == pytest.approx(score(31.75))


def test_missing_or_wrong_weights():
    net = network()
    own = weights(net)
    with pytest.raises(KeyError):
        evaluate_real(net, {"dense0": own["dense0"]}, np.zeros((1, 57), np.int16))
    with pytest.raises(ValueError, match="dense1"):
        evaluate_real(net, {**own, "dense1": own["dense0"]}, np.zeros((1, 57), np.int16))
