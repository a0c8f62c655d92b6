"""Interval analysis: bounds hold on every event, and what it calls harmless is harmless."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.layout import layout_of_words
from axo.network import Dense, FixedType, Linear, Network, Word, analyse, evaluate, require_sound
from axo.network.operations import Dot, Offset, Relu, Scale, Shift, Subtract, SumOfSquares
from tests.network.strategies import any_networks, words_for


@given(st.data(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_tensor_lies_within_its_bounds(data, hardware):
    network = data.draw(any_networks())
    words = data.draw(words_for(network, hardware))
    analysis = analyse(network, hardware_words=hardware)
    for name, tensor in evaluate(network, words).tensors.items():
        bounds = analysis.intervals[name]
        assert (tensor >= bounds.low).all(), name
        assert (tensor <= bounds.high).all(), name
        assert network.types[name].holds(bounds.low), name
        assert network.types[name].holds(bounds.high), name


def unwrapped(kind: FixedType) -> FixedType:
    """`kind` with bits to spare where it would wrap."""
    if kind.overflow != "WRAP":
        return kind
    return FixedType(62, 62 - kind.fraction, True, kind.rounding, "WRAP")


def compute_without_wrap(operation, tensors, types) -> np.ndarray:
    """The tensor as objects (Python integers, unbounded): nothing wraps, each term is rounded alone."""
    x = tensors[operation.input].astype(object)
    fraction = types[operation.input].fraction
    match operation:
        case Relu():
            return cast_exact(unwrapped(operation.type), np.maximum(x, 0), fraction)
        case Linear():
            return cast_exact(unwrapped(operation.type), x, fraction)
        case Shift():
            return np.stack([column << -s if s < 0 else column >> s for column, s in columns(x, operation)]).T
        case Offset() | Subtract():
            y, y_fraction = operation_other(operation, tensors, types)
            common = max(fraction, y_fraction)
            exact = (x << (common - fraction)) - (y << (common - y_fraction))
            return cast_exact(unwrapped(operation.type), exact, common)
        case Scale():
            bits, b_bits = fraction + operation.scale_type.fraction, operation.bias_type.fraction
            common = max(bits, b_bits)
            bias = operation.bias.astype(object) << (common - b_bits)
            exact = (x * operation.scale.astype(object) << (common - bits)) + bias
            return cast_exact(unwrapped(operation.type), exact, common)
        case Dense():
            accum = unwrapped(operation.accum_type)
            bits = fraction + operation.weight_type.fraction
            products = x[:, :, None] * operation.weight.astype(object)
            bias = cast_exact(accum, operation.bias.astype(object), operation.bias_type.fraction)
            return bias + cast_exact(accum, products, bits).sum(1)
        case SumOfSquares():
            y = tensors[operation.inputs[-1]].astype(object)
            products = x * (y if isinstance(operation, Dot) else x)
            bits = fraction + types[operation.inputs[-1]].fraction
            product = unwrapped(operation.product_type)
            total = unwrapped(dataclasses.replace(operation.sum_type, overflow="WRAP"))
            terms = cast_exact(total, cast_exact(product, products, bits), product.fraction)
            return terms.sum(1, keepdims=True)
    raise AssertionError(operation.op)


def rounds_its_total(operation) -> bool:
    """Whether ties may look at the parity or sign of a running total, so that its order counts."""
    return (
        isinstance(operation, SumOfSquares) and operation.product_type.fraction > operation.sum_type.fraction
    )


def columns(x, operation):
    return zip(x.T, operation.shift.tolist(), strict=True)


def operation_other(operation, tensors, types):
    if isinstance(operation, Offset):
        return operation.offset.astype(object), operation.offset_type.fraction
    return tensors[operation.other].astype(object), types[operation.other].fraction


def cast_exact(kind: FixedType, values: np.ndarray, fraction: int) -> np.ndarray:
    """FixedType.cast, which other tests prove, kept to int64; wider values must not come here."""
    return kind.cast(values.astype(np.int64), fraction).astype(object)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_without_a_finding_nothing_wraps_and_sums_have_no_order(data):
    network = data.draw(any_networks())
    words = data.draw(words_for(network))
    analysis = analyse(network, hardware_words=False)
    suspect = {overflow.operation for overflow in analysis.overflows} | analysis.saturating
    tensors = evaluate(network, words).tensors
    for operation in network.operations:
        if operation.name not in suspect and not rounds_its_total(operation):
            exact = compute_without_wrap(operation, tensors, network.types)
            np.testing.assert_array_equal(tensors[operation.name], exact, err_msg=operation.name)


def one_dense(accum: FixedType, weight: int = 31) -> Network:
    words = (Word("a", 8, False), Word("b", 8, True))
    dense = Dense(
        "sum",
        "words",
        np.full((2, 1), weight),
        FixedType(6, 6),
        np.array([1]),
        FixedType(2, 2),
        accum,
    )
    score = Linear("score", "sum", FixedType(16, 16, False, "TRN", "SAT"))
    return Network("one", layout_of_words(words), (dense, score), "score", "sum")


def test_bounds_of_a_dense_layer_are_those_of_its_weights():
    bounds = analyse(one_dense(FixedType(20, 20))).intervals["sum"]
    assert (bounds.low[0], bounds.high[0]) == (1 - 128 * 31, 1 + 255 * 31 + 127 * 31)


def test_an_accumulator_that_just_fits_is_sound_and_one_bit_less_is_refused():
    # 1 + 31 * (255 + 127) = 11843 needs 14 bits and a sign.
    require_sound(one_dense(FixedType(15, 15)))
    with pytest.raises(UserError, match=r"'one'.*'sum'.*accumulator\[0\] can reach.*11843.*widen"):
        require_sound(one_dense(FixedType(14, 14)))


def test_a_saturating_accumulator_makes_the_order_count():
    assert analyse(one_dense(FixedType(14, 14, True, "TRN", "SAT"))).saturating == {"sum"}
    assert analyse(one_dense(FixedType(15, 15, True, "TRN", "SAT"))).saturating == frozenset()


def test_words_that_hardware_does_not_carry_widen_the_bounds():
    network = one_dense(FixedType(28, 28))
    assert analyse(network, hardware_words=False).intervals["sum"].high[0] == 1 + 2 * 31 * 32767


WIDE = FixedType(62, 62)


@pytest.mark.parametrize(
    "operations",
    [
        # A product of a 46-bit value and an 18-bit weight.
        (
            Linear("wide", "words", FixedType(62, 32)),
            Dense(
                "big",
                "wide",
                np.array([[1 << 17]]),
                FixedType(20, 20),
                np.array([0]),
                FixedType(2, 2),
                FixedType(20, 40),
            ),
        ),
        (Linear("wide", "words", FixedType(62, 32)), SumOfSquares("big", "wide", WIDE, WIDE)),
        # A total whose last bit is far coarser than the product's.
        (SumOfSquares("big", "words", FixedType(40, 0), FixedType(20, 60)),),
        (SumOfSquares("big", "words", FixedType(60, 60), FixedType(20, -40)),),
    ],
    ids=["dense", "squares", "coarse sum", "fine sum"],
)
def test_values_beyond_int64_are_refused_not_wrapped(operations):
    score = Relu("score", "words", FixedType(16, 16, False))
    network = Network("big", layout_of_words([Word("a", 16, True)]), (*operations, score), "score", "score")
    with pytest.raises(UserError, match=r"'big'.*62 bits"):
        analyse(network)


def test_narrower_words_never_widen_a_bound():
    wide = one_dense(FixedType(20, 20))
    narrow = dataclasses.replace(
        wide, layout=layout_of_words([dataclasses.replace(w, width=3) for w in wide.words])
    )
    for name, bounds in analyse(narrow).intervals.items():
        outer = analyse(wide).intervals[name]
        assert (bounds.low >= outer.low).all()
        assert (bounds.high <= outer.high).all()
