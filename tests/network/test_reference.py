"""The reference against a second evaluation: one number at a time, in exact fractions.

It shares no code with axo.network.reference or FixedType.cast: a value here is a Fraction, and
the rules are those of UG902's tables "Quantization modes" and "Overflow modes".
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.layout import layout_of_words
from axo.network import FixedType, Network, Word, evaluate
from axo.network.operations import Linear, Relu
from tests.network.strategies import any_networks, fixed_types, words_for

HALF = Fraction(1, 2)

# Value in units of the last bit -> the integer it becomes.
ROUND = {
    "TRN": math.floor,
    "TRN_ZERO": math.trunc,
    "RND": lambda x: math.floor(x + HALF),
    "RND_MIN_INF": lambda x: math.ceil(x - HALF),
    "RND_ZERO": lambda x: math.ceil(x - HALF) if x > 0 else math.floor(x + HALF),
    "RND_INF": lambda x: math.floor(x + HALF) if x > 0 else math.ceil(x - HALF),
    "RND_CONV": round,  # Python rounds a Fraction half to even.
}


def overflow(kind: FixedType, integer: int) -> int:
    smallest = -(2 ** (kind.width - 1)) if kind.signed else 0
    largest = smallest + 2**kind.width - 1
    if smallest <= integer <= largest:
        symmetric = kind.overflow == "SAT_SYM" and kind.signed and integer == smallest
        return smallest + 1 if symmetric else integer
    if kind.overflow == "WRAP":
        return (integer - smallest) % 2**kind.width + smallest
    if kind.overflow == "SAT_ZERO":
        return 0
    if integer > largest:
        return largest
    return smallest + 1 if kind.overflow == "SAT_SYM" and kind.signed else smallest


def assign(kind: FixedType, value: Fraction) -> Fraction:
    """`value` assigned to a variable of type `kind`."""
    unit = Fraction(2) ** (kind.integer - kind.width)
    return overflow(kind, ROUND[kind.rounding](value / unit)) * unit


def constants(integers: np.ndarray, kind: FixedType) -> list:
    unit = Fraction(2) ** (kind.integer - kind.width)
    return [constants(row, kind) if np.ndim(row) else int(row) * unit for row in integers]


def compute(operation, tensors: dict[str, list[Fraction]], types: dict[str, FixedType]) -> list[Fraction]:
    """The tensor that `operation` defines, for one event."""
    x = tensors[operation.input]
    other = tensors[operation.inputs[-1]]
    match operation.op:
        case "linear":
            return [assign(operation.type, value) for value in x]
        case "relu":
            return [assign(operation.type, value if value > 0 else Fraction(0)) for value in x]
        case "shift":
            kind = types[operation.input]
            kept = FixedType(kind.width, kind.integer, kind.signed, "TRN", "WRAP")
            return [
                assign(kept, value / Fraction(2) ** int(s))
                for value, s in zip(x, operation.shift, strict=True)
            ]
        case "offset":
            offsets = constants(operation.offset, operation.offset_type)
            return [assign(operation.type, a - b) for a, b in zip(x, offsets, strict=True)]
        case "subtract":
            return [assign(operation.type, a - b) for a, b in zip(x, other, strict=True)]
        case "scale":
            scale = constants(operation.scale, operation.scale_type)
            bias = constants(operation.bias, operation.bias_type)
            return [assign(operation.type, a * s + b) for a, s, b in zip(x, scale, bias, strict=True)]
        case "dense":
            weight = constants(operation.weight, operation.weight_type)
            bias = constants(operation.bias, operation.bias_type)
            accum = operation.accum_type
            return [dense(x, [row[j] for row in weight], b, accum) for j, b in enumerate(bias)]
        case "dot" | "sum_of_squares":
            total = Fraction(0)
            for a, b in zip(x, other if operation.op == "dot" else x, strict=True):
                total = assign(operation.sum_type, total + assign(operation.product_type, a * b))
            return [total]
    raise AssertionError(operation.op)


def dense(x: list[Fraction], weight: list[Fraction], bias: Fraction, accum: FixedType) -> Fraction:
    total = assign(accum, bias)
    for value, factor in zip(x, weight, strict=True):
        total = assign(accum, total + assign(accum, value * factor))
    return total


def evaluate_event(network: Network, words: np.ndarray) -> dict[str, list[int]]:
    """Integers of every tensor, for one event."""
    tensors = {"words": [Fraction(int(word)) for word in words]}
    for operation in network.operations:
        tensors[operation.name] = compute(operation, tensors, network.types)
    return {
        name: [int(value * Fraction(2) ** network.types[name].fraction) for value in values]
        for name, values in tensors.items()
    }


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_reference_equals_exact_fractions_on_random_networks(data):
    network = data.draw(any_networks())
    words = data.draw(words_for(network, max_events=4))
    result = evaluate(network, words)
    for event, row in enumerate(words):
        expected = evaluate_event(network, row)
        for name, values in expected.items():
            assert result.tensors[name][event].tolist() == values, f"event {event}, tensor {name}"
        assert result.score_word[event] == expected[network.score][0]
        assert result.embedding_word[event].tolist() == expected[network.embedding]


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_chunks_do_not_change_the_result(data):
    network = data.draw(any_networks())
    words = data.draw(words_for(network))
    whole, parts = evaluate(network, words), evaluate(network, words, chunk=7)
    np.testing.assert_array_equal(whole.score_word, parts.score_word)
    np.testing.assert_array_equal(whole.embedding_word, parts.embedding_word)


@pytest.mark.parametrize("rounding", ROUND)
@pytest.mark.parametrize("drop", [60, 61, 62, 63, 64, 90])
def test_dropping_nearly_every_bit_still_rounds_right(rounding, drop):
    kind = FixedType(8, 8 + drop - 62, True, rounding)
    ends = [2**61 - 1, 2**61, 2**61 + 1, 2**62 - 1, 1, 0]
    values = ends + [-value for value in ends]
    unit = Fraction(2) ** kind.fraction
    expected = [int(assign(kind, Fraction(value) / 2**62) * unit) for value in values]
    assert kind.cast(np.array(values), 62).tolist() == expected


@given(data=st.data())
def test_a_stored_constant_is_the_same_in_its_plain_type(data):
    kind = data.draw(fixed_types(4, 12))
    integer = data.draw(st.integers(kind.min_int, kind.max_int))
    assert str(kind.plain).endswith(f"<{kind.width},{kind.integer},TRN,WRAP>")
    assert kind.plain.signed == kind.signed
    assert kind.plain.cast(np.array([integer]), kind.fraction)[0] == integer


@pytest.fixture
def small_network():
    relu = Relu("kept", "words", FixedType(12, 12, False))
    return Network("small", layout_of_words([Word("pt", 12, False)]), (relu,), "kept", "kept")


@pytest.mark.parametrize("words", [np.zeros((3, 2), int), np.zeros(3, int)])
def test_words_of_another_shape_are_refused(small_network, words):
    with pytest.raises(ValueError, match=r"words must be \(n, 1\)"):
        evaluate(small_network, words)


@pytest.mark.parametrize("words", [[[0.5]], [[40000]], [[-32769]]])
def test_words_that_are_no_int16_are_refused(small_network, words):
    with pytest.raises(ValueError, match="int16"):
        evaluate(small_network, words)


def test_no_events_give_no_scores(small_network):
    result = evaluate(small_network, np.zeros((0, 1), np.int16))
    assert result.score_word.shape == (0,)
    assert result.embedding_word.shape == (0, 1)


def test_an_embedding_wider_than_int32_is_refused(small_network):
    from axo.errors import UserError

    wide = Linear("wide", "words", FixedType(40, 40))
    with pytest.raises(UserError, match="embedding"):
        Network("wide", small_network.layout, (*small_network.operations, wide), "kept", "wide")
