"""A network as one symbolic program: alkaid's variables, from raw words to the score.

Arithmetic on a chip is bits, so casts are written here the way bits make them cheap: a wrap or a
truncation is a choice of wires, rounding is a constant that merges with the bias before it (and,
for convergent rounding, a last bit cleared on ties), saturation looks only at the bits above the
result. Multiplication by constants is left to alkaid, which shares sub-expressions (distributed
arithmetic). Nothing is approximated; check_trace compares the program with the reference.

A variable of alkaid is a number of some bits with exact bounds, `low` to `high`; its `kif` is one bit of
sign or none, the bits before the point, the bits behind it. ``quantize(k, i, f)`` takes those bits of it
and no others: what is cut off below is a floor, what is cut off above is a wrap, and neither costs logic.
A variable with ``low == high`` is a constant, which is folded here and never becomes hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.firmware.rtl.adders import cheapest_sum, matrix_product, square
from axo.network import (
    WORDS,
    Dense,
    Dot,
    FixedType,
    Linear,
    Network,
    Offset,
    Operation,
    Relu,
    Scale,
    Shift,
    Subtract,
    SumOfSquares,
    analyse,
    evaluate,
)
from axo.network.intervals import Analysis, Interval

if TYPE_CHECKING:
    from alkaid.trace import FVariable
    from alkaid.types import CombLogic

Variables = list["FVariable"]

# alkaid's adder model: one bit an adder cell, one carry cell a bit.
_HARDWARE = (1, 1, -1)

# Limits of alkaid's program format: additive constants and weights are held as int32 and float32.
_CONSTANT_BITS, _WEIGHT_BITS, _VALUE_BITS = 31, 24, 48


def trace_network(network: Network, solver_options: dict[str, Any] | None = None) -> CombLogic:
    """The whole of `network` as an alkaid program with one input per word and the score as output.

    `solver_options` go to alkaid's solver for constant matrices. Raises UserError naming the
    operation that cannot be expressed.
    """
    from alkaid.trace import FVArray, trace

    analysis = analyse(network)
    low = np.array([word.min_int for word in network.words], float)
    high = np.array([word.max_int for word in network.words], float)
    inputs = FVArray.from_lhs(low, high, np.ones_like(low), hwconf=_HARDWARE)
    tracer = _Tracer(network, analysis, solver_options or {})
    tracer.variables[WORDS] = list(np.asarray(inputs))
    for operation in network.operations:
        tracer.visit(operation)
    score = tracer.variables[network.score]
    if score[0].low == score[0].high:
        raise UserError(
            f"network {network.name!r}: the score is always {score[0].low:g}; there is no RTL to it"
        )
    return trace(inputs, score, keep_dead_inputs=True)


def check_trace(network: Network, program: CombLogic, words: NDArray[np.integer]) -> int:
    """Compare alkaid's exact interpreter with the reference on `words`; returns the events compared.

    Raises UserError with the first event that differs. Words must be within the hardware widths.
    """
    traced = program.predict(words.astype(np.float64), n_threads=1)[:, 0]
    traced_word = np.round(traced * 2.0**network.score_type.fraction).astype(np.int64)
    score_word = evaluate(network, words).score_word
    differing = np.flatnonzero(traced_word != score_word)
    if len(differing):
        first = int(differing[0])
        raise UserError(
            f"network {network.name!r}: the RTL program differs from the reference in {len(differing)} of "
            f"{len(words)} events; event {first}: words {words[first].tolist()}, score word "
            f"{traced_word[first]} instead of {score_word[first]}"
        )
    return len(words)


@dataclass
class _Tracer:
    network: Network
    analysis: Analysis
    solver_options: dict[str, Any]

    def __post_init__(self) -> None:
        self.variables: dict[str, Variables] = {}
        self.types = self.network.types

    def visit(self, operation: Operation) -> None:
        """Define the variables of `operation`, narrowed to what the interval analysis proves."""
        rule = _RULES.get(type(operation))
        kind = self.types[operation.name]
        if rule is None:
            raise UserError(f"operation {operation.name!r}: no RTL is known for {operation.op!r}")
        if kind.width > _VALUE_BITS:
            raise _inexpressible(operation, f"{kind} is wider than {_VALUE_BITS} bits")
        result = rule(self, operation, self.variables[operation.input])
        bounds = self.analysis.intervals[operation.name]
        self.variables[operation.name] = [
            _narrow(v, int(low), int(high), kind.fraction)
            for v, low, high in zip(result, bounds.low, bounds.high, strict=True)
        ]

    def linear(self, operation: Linear, x: Variables) -> Variables:
        return [cast(v, operation.type) for v in x]

    def relu(self, operation: Relu, x: Variables) -> Variables:
        # Every rounding is monotonic and keeps 0, so it may go before the comparison with 0.
        kind = operation.type
        return [_overflow(_positive(_round(v, kind)), kind) for v in x]

    def shift(self, operation: Shift, x: Variables) -> Variables:
        plain = self.types[operation.input].plain
        return [cast(v * 2.0 ** -int(s), plain) for v, s in zip(x, operation.shift, strict=True)]

    def offset(self, operation: Offset, x: Variables) -> Variables:
        constants = _constants(operation, operation.offset, operation.offset_type.fraction)
        return [cast(v - c, operation.type) for v, c in zip(x, constants, strict=True)]

    def subtract(self, operation: Subtract, x: Variables) -> Variables:
        other = self.variables[operation.other]
        return [cast(v - y, operation.type) for v, y in zip(x, other, strict=True)]

    def scale(self, operation: Scale, x: Variables) -> Variables:
        scale = _scaled(operation, operation.scale, operation.scale_type.fraction, _WEIGHT_BITS)
        bias = _constants(operation, operation.bias, operation.bias_type.fraction)
        return [cast(v * float(s) + float(b), operation.type) for v, s, b in zip(x, scale, bias, strict=True)]

    def dense(self, operation: Dense, x: Variables) -> Variables:
        if self._is_linear(operation):
            return self._matrix(operation, x)
        return self._in_order(operation, x)

    def _is_linear(self, operation: Dense) -> bool:
        """Whether the casts of products and partial sums change nothing (modulo a final wrap)."""
        accum = operation.accum_type
        fraction = self.types[operation.input].fraction + operation.weight_type.fraction
        if max(fraction, operation.bias_type.fraction) > accum.fraction:
            return False
        # Every bit of a product fits behind the accumulator's point: no rounding. Now for overflows.
        x = self.analysis.intervals[operation.input]
        return accum.overflow == "WRAP" or _stays_within(operation, x, accum.fraction - fraction)

    def _matrix(self, operation: Dense, x: Variables) -> Variables:
        weight = _weights(operation)
        bias = _constants(operation, operation.bias, operation.bias_type.fraction)
        # What constant inputs contribute is known: it goes into the bias, and the solver never sees them.
        fixed = [i for i, v in enumerate(x) if v.low == v.high]
        live = [i for i, v in enumerate(x) if v.low != v.high and weight[i].any()]
        constant = bias + np.array([x[i].low for i in fixed]) @ weight[fixed]
        if not live:
            return [cast(_constant(x[0], float(c)), operation.accum_type) for c in constant]
        # Half a unit of the rounding to come goes in with the bias: rounding then adds it for nothing.
        half = self._half_to_come(operation)
        inputs = [x[i] for i in live]
        result = matrix_product(inputs, weight[live], constant + half, self.solver_options)
        return [cast(v - half, operation.accum_type) for v in result]

    def _half_to_come(self, operation: Dense) -> float:
        """What rounding adds to the tensor of `operation`, if all that read it do the same; else 0.

        Where a total may wrap, the wrap stands between the two additions, which then save nothing.
        """
        if any(operation.name == overflow.operation for overflow in self.analysis.overflows):
            return 0.0
        fraction = operation.accum_type.fraction
        halves = {
            2.0 ** (-reader.type.fraction - 1)
            if isinstance(reader, Linear)
            and reader.type.rounding in ("RND", "RND_CONV")
            and reader.type.fraction < fraction
            else 0.0
            for reader in self.network.operations
            if operation.name in reader.inputs
        }
        return halves.pop() if len(halves) == 1 else 0.0

    def _in_order(self, operation: Dense, x: Variables) -> Variables:
        """Products and sums cast one by one, as the reference does: exact for every type, larger.

        Only a sum that wraps may be done in another order.
        """
        accum, weight = operation.accum_type, _weights(operation)
        bias = _constants(operation, operation.bias, operation.bias_type.fraction)
        totals = []
        for column, start in zip(weight.T, bias, strict=True):
            total = cast(_constant(x[0], float(start)), accum)
            products = [cast(v * float(w), accum) for v, w in zip(x, column, strict=True) if w]
            if accum.overflow == "WRAP":
                total = cast(cheapest_sum([total, *products]), accum)
            else:
                for product in products:
                    total = cast(total + product, accum)
            totals.append(total)
        return totals

    def sum_of_squares(self, operation: SumOfSquares, x: Variables) -> Variables:
        return self._sum(operation, [square(v) if v.low != v.high else _constant(v, v.low**2) for v in x])

    def dot(self, operation: Dot, x: Variables) -> Variables:
        other = self.variables[operation.other]
        return self._sum(operation, [v * y for v, y in zip(x, other, strict=True)])

    def _sum(self, operation: SumOfSquares, products: Variables) -> Variables:
        kind = operation.sum_type
        terms = [cast(v, operation.product_type) for v in products]
        # Where a sum is exact, or wraps, its order does not matter, and a tree is the least deep.
        exact = operation.product_type.fraction <= kind.fraction
        if exact and (kind.overflow == "WRAP" or operation.name not in self.analysis.saturating):
            return [cast(_tree_sum(terms), kind)]
        total = _constant(terms[0], 0.0)
        for term in terms:
            total = cast(total + term, kind)
        return [total]


_RULES: dict[type[Operation], Callable[[_Tracer, Any, Variables], Variables]] = {
    Linear: _Tracer.linear,
    Relu: _Tracer.relu,
    Shift: _Tracer.shift,
    Offset: _Tracer.offset,
    Subtract: _Tracer.subtract,
    Scale: _Tracer.scale,
    Dense: _Tracer.dense,
    SumOfSquares: _Tracer.sum_of_squares,
    Dot: _Tracer.dot,
}


def cast(v: FVariable, kind: FixedType) -> FVariable:
    """Assign a variable to a type: FixedType.cast in hardware."""
    return _overflow(_round(v, kind), kind)


def _round(v: FVariable, kind: FixedType) -> FVariable:
    """`v` with the fraction bits of `kind`, its overflow left alone."""
    f = kind.fraction
    if v.low == v.high:
        # In a type too wide to overflow, for that is not this function's.
        return _constant(v, _cast_constant(v, FixedType(62, 62 - f, True, kind.rounding)))
    source = v.kif[2]
    if source <= f:
        return v
    half, last = 2.0 ** (-f - 1), 2.0**-source
    match kind.rounding:
        case "TRN":
            return _floor(v, f)
        case "RND":
            return _floor(v + half, f)
        case "RND_MIN_INF":
            # One last bit short of the half: a tie is not lifted to the next unit, all above it is.
            return _floor(v + (half - last), f)
        case "TRN_ZERO":
            # Up by (one unit - one last bit) where negative: floor becomes ceiling.
            return _floor(v + v.is_negative() * (2.0**-f - last), f)
        case "RND_ZERO":
            # As before where positive; a negative tie gets the missing bit, and so goes up, to zero.
            return _floor(v + (half - last) + v.is_negative() * last, f)
        case "RND_INF":
            # The other way about: a negative tie misses a bit, and so goes down, away from zero.
            return _floor(v + half - v.is_negative() * last, f)
        case _:
            return _round_convergent(v + half, f)


def _round_convergent(raised: FVariable, f: int) -> FVariable:
    """Round half to even, given the value plus half a unit: a tie left no bits below, so clear the last."""
    below = raised.quantize(0, -f, raised.kif[2])
    last = raised.quantize(0, 1 - f, f)
    even = _floor(raised, f - 1)
    return even + (last & _unit(below.unary_bit_op("any"), f))


def _floor(v: FVariable, f: int) -> FVariable:
    """The largest multiple of 2**-f that is not above `v`: a choice of wires."""
    if v.low == v.high:
        return _constant(v, float(np.floor(v.low * 2.0**f)) * 2.0**-f)
    k, i, _ = (int(part) for part in v.kif)
    # A value of less than one unit has no bit left; its sign still says 0 or -1 unit.
    return v.quantize(k, max(i, -f), f)


def _unit(bit: FVariable, f: int) -> FVariable:
    """A 0/1 variable as 0/2**-f."""
    return bit * 2.0**-f


def _positive(v: FVariable) -> FVariable:
    """max(0, v)."""
    if v.low == v.high:
        return _constant(v, max(v.low, 0.0))
    if v.high <= 0:
        return _constant(v, 0.0)
    return v if v.low >= 0 else v.relu()


def _overflow(v: FVariable, kind: FixedType) -> FVariable:
    """Bring a variable that has no more fraction bits than `kind` into its range."""
    unit = 2.0**-kind.fraction
    low, high = kind.min_int * unit, kind.max_int * unit
    if kind.overflow == "SAT_SYM" and kind.signed:
        low = -high
    if v.low >= low and v.high <= high:
        return v
    if v.low == v.high:
        return _constant(v, _cast_constant(v, kind))
    if kind.overflow == "WRAP":
        return _wrapped(v, kind)
    if kind.overflow == "SAT_ZERO":
        outside = _above(v, kind, low, high)
        return outside.msb_mux(_constant(v, 0.0), _wrapped(v, kind))
    if not kind.signed and v.low < 0:
        # The lower end is 0: that side is a ReLU, and the bits above then tell the other.
        return _overflow(_positive(v), kind)
    if v.low >= high or v.high <= low:
        return _constant(v, high if v.low >= high else low)
    if low > kind.min_int * unit:
        # The lower end of SAT_SYM is no power of two: bits do not tell, only comparisons do.
        return v.max_of(low).min_of(high)
    return _saturated(v, kind, low, high)


def _saturated(v: FVariable, kind: FixedType, low: float, high: float) -> FVariable:
    """The low bits where the bits above say that they suffice, else the nearer end of the range."""
    # Which end it would be is the sign's to say, and only where both can be passed.
    end = _constant(v, high)
    if v.low < low:
        end = v.msb_mux(_constant(v, low), end) if v.high > high else _constant(v, low)
    bounds = (max(v.low, low), min(v.high, high), 2.0**-kind.fraction)
    return _above(v, kind, low, high).msb_mux(end, _wrapped(v, kind), bounds)


def _above(v: FVariable, kind: FixedType, low: float, high: float) -> FVariable:
    """A 0/1 variable: `v` is out of the range of `kind`, from the bits at and above its top bit."""
    # A two's complement number fits when its bits from the sign's place up are all alike: all 0, or all 1
    # for a negative one. Bits that some and not all are 1 mean that it does not fit.
    top = kind.integer - int(kind.signed)
    # Without a bit at that place `v` is 0 there: then a negative one cannot have ones alone.
    is_coarse = int(v.kif[2]) < -top
    if v.low < low and v.high <= high and kind.signed:
        if is_coarse:
            return v.is_negative()
        return ~_floor(v, -top).unary_bit_op("all") & v.is_negative()
    if v.low >= low and v.low < 0:
        v = v.relu()  # negative ones all fit: as 0 they do too, and "any" is test enough
    bits = _floor(v, -top)
    some = bits.unary_bit_op("any")
    if v.low >= 0 or not kind.signed or is_coarse:
        return some
    return some & ~bits.unary_bit_op("all")


def _wrapped(v: FVariable, kind: FixedType) -> FVariable:
    return v.quantize(int(kind.signed), kind.integer - int(kind.signed), kind.fraction)


def _narrow(v: FVariable, low: int, high: int, fraction: int) -> FVariable:
    """`v` on only the bits that integers from `low` to `high` (in 2**-fraction) need: costs nothing."""
    if v.low == v.high:
        return v
    if low == high:
        return _constant(v, low * 2.0**-fraction)
    k, i, f = (int(part) for part in v.kif)
    bits = max(high.bit_length(), (~low).bit_length() if low < 0 else 0) - fraction
    signed = int(low < 0)
    # Only ever fewer bits: alkaid's bounds may be the tighter ones, and a sign cannot be put on.
    return v.quantize(signed, bits, f) if signed + bits < k + i and (k or not signed) else v


def _tree_sum(terms: Variables) -> FVariable:
    """The sum by pairs, log2(n) adders deep."""
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
    return terms[0]


def _constant(like: FVariable, value: float) -> FVariable:
    return type(like).from_const(value, hwconf=like.hwconf)


def _cast_constant(v: FVariable, kind: FixedType) -> float:
    """The constant variable `v` assigned to `kind`, by the reference's own rule."""
    fraction = max(int(v.kif[2]), kind.fraction, 0)
    integer = np.array([round(v.low * 2.0**fraction)], np.int64)
    return float(kind.cast(integer, fraction)[0]) * 2.0**-kind.fraction


def _constants(operation: Operation, integers: NDArray[np.int64], fraction: int) -> NDArray[np.float64]:
    return _scaled(operation, integers, fraction, _CONSTANT_BITS)


def _weights(operation: Dense) -> NDArray[np.float64]:
    return _scaled(operation, operation.weight, operation.weight_type.fraction, _WEIGHT_BITS)


def _scaled(
    operation: Operation, integers: NDArray[np.int64], fraction: int, bits: int
) -> NDArray[np.float64]:
    largest = int(np.abs(integers).max(initial=0))
    if largest.bit_length() > bits:
        raise _inexpressible(operation, f"the constant {largest} needs more than {bits} bits")
    return integers.astype(np.float64) * 2.0**-fraction


def _stays_within(operation: Dense, x: Interval, shift: int) -> bool:
    """Whether no product and no partial sum, in order, can leave accum_type."""
    accum = operation.accum_type
    ends = np.stack([x.low[:, None] * operation.weight, x.high[:, None] * operation.weight]) << shift
    bias = operation.bias << (accum.fraction - operation.bias_type.fraction)
    products = np.concatenate([np.stack([bias, bias])[:, None], ends], axis=1)
    low, high = products.min(0), products.max(0)
    largest = accum.max_int
    smallest = -largest if accum.overflow == "SAT_SYM" and accum.signed else accum.min_int
    everything: Sequence[NDArray[np.int64]] = (low, high, low.cumsum(0), high.cumsum(0))
    return all(part.min() >= smallest and part.max() <= largest for part in everything)


def _inexpressible(operation: Operation, reason: str) -> UserError:
    return UserError(f"operation {operation.name!r} ({operation.op}): cannot be written as RTL, {reason}")
