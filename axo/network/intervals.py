"""Interval analysis: what every tensor can hold, derived from the input widths and the weights.

It proves that an accumulator never overflows, that a narrower type suffices, and that int64
holds every intermediate value of the reference evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from axo.errors import UserError
from axo.network.network import Network
from axo.network.operations import (
    WORDS,
    Dense,
    Dot,
    Linear,
    Offset,
    Operation,
    Relu,
    Scale,
    Shift,
    Subtract,
    SumOfSquares,
)
from axo.network.types import MAX_BITS, FixedType, Ints


@dataclass(frozen=True)
class Interval:
    """Bounds of a tensor, `low` and `high` (size,) int64, in units of its type's last bit."""

    low: Ints
    high: Ints

    def union(self, other: Interval) -> Interval:
        """Smallest interval that holds both."""
        return Interval(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


@dataclass(frozen=True)
class Overflow:
    """A wrap that the bounds cannot exclude: `low` to `high` (values as floats) against `type`."""

    operation: str
    what: str
    element: int
    low: float
    high: float
    type: FixedType

    def __str__(self) -> str:
        return (
            f"operation {self.operation!r}: {self.what}[{self.element}] can reach "
            f"[{self.low:g}, {self.high:g}], beyond {self.type}"
        )


@dataclass(frozen=True)
class Analysis:
    """`intervals` of every tensor by name, and the `overflows` that cannot be excluded.

    `saturating` names dense and sum operations whose running total may saturate (SAT modes):
    their additions must be done in order, one by one. All others may be summed in any order, as
    long as the total keeps every fraction bit of its terms.
    """

    intervals: dict[str, Interval]
    overflows: tuple[Overflow, ...]
    saturating: frozenset[str]


def analyse(network: Network, hardware_words: bool = True) -> Analysis:
    """Propagate bounds through `network`.

    The inputs span their hardware widths, or all that the network takes (Network.word_bounds) when
    `hardware_words` is false. Raises UserError when an intermediate value would not fit in int64.
    """
    if hardware_words:
        low, high = network.layout.low, network.layout.high
    else:
        low, high = network.word_bounds
    analyser = _Analyser(network, {WORDS: Interval(low, high)})
    for operation in network.operations:
        analyser.visit(operation)
    return Analysis(analyser.intervals, tuple(analyser.overflows), frozenset(analyser.saturating))


def require_sound(network: Network) -> Analysis:
    """The analysis of `network`; UserError when a dense accumulator could wrap.

    For networks made here, whose float parents do not wrap. Production networks may (ATLAS's GELATO does):
    a wrap is exact arithmetic modulo a power of two, in any order, and every evaluation follows it. Their
    wraps, like those of a score's sum, are in the analysis for the reports.
    """
    analysis = analyse(network)
    dense = {operation.name for operation in network.operations if isinstance(operation, Dense)}
    for overflow in analysis.overflows:
        if overflow.operation in dense:
            raise UserError(
                f"network {network.name!r}: {overflow}; widen the accumulator or shrink the weights"
            )
    return analysis


class _Analyser:
    def __init__(self, network: Network, intervals: dict[str, Interval]) -> None:
        self.types = network.types
        self.intervals = intervals
        self.overflows: list[Overflow] = []
        self.saturating: set[str] = set()

    def visit(self, operation: Operation) -> None:
        x, fraction = self.intervals[operation.input], self.types[operation.input].fraction
        match operation:
            case Relu():
                zero = np.zeros_like(x.low)
                positive = Interval(np.maximum(x.low, zero), np.maximum(x.high, zero))
                result = self._cast(operation, "output", operation.type, positive, fraction)
            case Linear():
                result = self._cast(operation, "output", operation.type, x, fraction)
            case Shift():
                result = self._shift(operation, x)
            case Offset():
                y = Interval(operation.offset, operation.offset)
                result = self._subtract(operation, x, fraction, y, operation.offset_type.fraction)
            case Subtract():
                y, y_fraction = self.intervals[operation.other], self.types[operation.other].fraction
                result = self._subtract(operation, x, fraction, y, y_fraction)
            case Scale():
                result = self._scale(operation, x, fraction)
            case Dense():
                result = self._dense(operation, x, fraction)
            case SumOfSquares():
                result = self._sum(operation, x, fraction)
            case _:
                raise TypeError(f"no interval rule for {operation.op!r}")
        self.intervals[operation.name] = result

    def _cast(self, operation: Operation, what: str, kind: FixedType, x: Interval, fraction: int) -> Interval:
        """Bounds after assignment: rounding is monotonic; a possible wrap gives the full type."""
        self._guard(operation, x, fraction - kind.fraction)
        wide = FixedType(MAX_BITS, MAX_BITS - kind.fraction, True, kind.rounding, "SAT")
        low, high = wide.cast(x.low, fraction), wide.cast(x.high, fraction)
        outside = (low < kind.min_int) | (high > kind.max_int)
        if kind.overflow in ("SAT", "SAT_SYM"):
            return Interval(kind.cast(x.low, fraction), kind.cast(x.high, fraction))
        for element in np.flatnonzero(outside)[:1] if kind.overflow == "WRAP" else ():
            unit = 2.0**-kind.fraction
            self.overflows.append(
                Overflow(operation.name, what, int(element), low[element] * unit, high[element] * unit, kind)
            )
        if kind.overflow == "SAT_ZERO":
            low = np.where(outside, np.minimum(low, 0), low)
            high = np.where(outside, np.maximum(high, 0), high)
            return Interval(np.maximum(low, kind.min_int), np.minimum(high, kind.max_int))
        return Interval(np.where(outside, kind.min_int, low), np.where(outside, kind.max_int, high))

    def _shift(self, operation: Shift, x: Interval) -> Interval:
        left = np.maximum(-operation.shift, 0)
        self._guard(operation, x, -int(left.max()))
        right = np.maximum(operation.shift, 0)
        kind = self.types[operation.input]
        bits = FixedType(kind.width, kind.width, kind.signed)
        moved = Interval((x.low << left) >> right, (x.high << left) >> right)
        return self._cast(operation, "output", bits, moved, 0)

    def _subtract(
        self, operation: Offset | Subtract, x: Interval, fraction: int, y: Interval, y_fraction: int
    ) -> Interval:
        common = max(fraction, y_fraction)
        self._guard(operation, x, fraction - common)
        self._guard(operation, y, y_fraction - common)
        up, y_up = common - fraction, common - y_fraction
        exact = Interval((x.low << up) - (y.high << y_up), (x.high << up) - (y.low << y_up))
        return self._cast(operation, "output", operation.type, exact, common)

    def _scale(self, operation: Scale, x: Interval, fraction: int) -> Interval:
        scale, bias, product = operation.scale, operation.bias, fraction + operation.scale_type.fraction
        common = max(product, operation.bias_type.fraction)
        self._guard_products(operation, x, Interval(scale, scale))
        ends = np.stack([x.low * scale, x.high * scale])
        exact = Interval(ends.min(0), ends.max(0))
        self._guard(operation, exact, product - common)
        self._guard(operation, Interval(bias, bias), operation.bias_type.fraction - common)
        up, bias = common - product, bias << (common - operation.bias_type.fraction)
        total = Interval((exact.low << up) + bias, (exact.high << up) + bias)
        return self._cast(operation, "output", operation.type, total, common)

    def _dense(self, operation: Dense, x: Interval, fraction: int) -> Interval:
        accum, bits = operation.accum_type, fraction + operation.weight_type.fraction
        weight = operation.weight
        self._guard_products(operation, x, Interval(weight.min(1), weight.max(1)))
        ends = np.stack([x.low[:, None] * weight, x.high[:, None] * weight])
        if accum.overflow == "WRAP" and max(bits, operation.bias_type.fraction) <= accum.fraction:
            return self._modular(operation, ends.min(0), ends.max(0), bits)
        total = self._cast(
            operation, "bias", accum, Interval(operation.bias, operation.bias), operation.bias_type.fraction
        )
        for low, high in zip(ends.min(0), ends.max(0), strict=True):
            product = self._cast(operation, "product", accum, Interval(low, high), bits)
            total = Interval(total.low + product.low, total.high + product.high)
            self._guard(operation, total, 0)
            # Partial sums may wrap as long as the total fits, but saturation loses the excess.
            if accum.overflow != "WRAP":
                total = self._accumulate(operation, accum, total, accum.fraction)
        return self._cast(operation, "accumulator", accum, total, accum.fraction)

    def _modular(self, operation: Dense, low: Ints, high: Ints, bits: int) -> Interval:
        """Products `low` to `high` (n_in, n_out), added modulo the accumulator's width, no bit dropped.

        Products and partial sums may wrap as long as the exact total fits (in Python's integers).
        """
        accum = operation.accum_type
        bias = operation.bias.astype(object) << (accum.fraction - operation.bias_type.fraction)
        totals = [bias + (end.astype(object).sum(0) << (accum.fraction - bits)) for end in (low, high)]
        outside = (totals[0] < accum.min_int) | (totals[1] > accum.max_int)
        unit = 2.0**-accum.fraction
        for j in np.flatnonzero(outside)[:1]:
            low_value, high_value = (float(total[j]) * unit for total in totals)
            self.overflows.append(
                Overflow(operation.name, "accumulator", int(j), low_value, high_value, accum)
            )
        return Interval(
            np.where(outside, accum.min_int, totals[0]).astype(np.int64),
            np.where(outside, accum.max_int, totals[1]).astype(np.int64),
        )

    def _sum(self, operation: SumOfSquares, x: Interval, fraction: int) -> Interval:
        if isinstance(operation, Dot):
            y = self.intervals[operation.other]
            bits = fraction + self.types[operation.other].fraction
            self._guard_products(operation, x, y)
            ends = np.stack([x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high])
            exact = Interval(ends.min(0), ends.max(0))
        else:
            bits = 2 * fraction
            self._guard_products(operation, x, x)
            ends = np.stack([x.low * x.low, x.high * x.high])
            straddles = (x.low < 0) & (x.high > 0)
            exact = Interval(np.where(straddles, 0, ends.min(0)), ends.max(0))
        product = self._cast(operation, "product", operation.product_type, exact, bits)
        fraction = operation.product_type.fraction
        common = max(fraction, operation.sum_type.fraction)
        up, down = common - fraction, common - operation.sum_type.fraction
        self._guard(operation, product, -up)
        total = Interval(np.zeros(1, np.int64), np.zeros(1, np.int64))
        for low, high in zip(product.low, product.high, strict=True):
            self._guard(operation, total, -down)
            added = Interval((total.low << down) + (low << up), (total.high << down) + (high << up))
            self._guard(operation, added, 0)
            total = self._accumulate(operation, operation.sum_type, added, common)
        return total

    def _accumulate(self, operation: Operation, kind: FixedType, total: Interval, fraction: int) -> Interval:
        """One step of a running total, noting whether it can saturate."""
        wide = FixedType(MAX_BITS, MAX_BITS - kind.fraction, True, kind.rounding, "SAT")
        low, high = wide.cast(total.low, fraction), wide.cast(total.high, fraction)
        symmetric = kind.overflow == "SAT_SYM" and kind.signed
        saturates = low.min() < kind.min_int + symmetric or high.max() > kind.max_int
        if kind.overflow != "WRAP" and saturates:
            self.saturating.add(operation.name)
        return self._cast(operation, "sum", kind, total, fraction)

    def _guard(self, operation: Operation, x: Interval, drop: int) -> None:
        """UserError when aligning `x` (a left shift where `drop` < 0) would leave int64."""
        self._guard_magnitude(operation, max(_magnitudes(x)) << max(-drop, 0))

    def _guard_products(self, operation: Operation, x: Interval, y: Interval) -> None:
        """UserError when a product x[i] * y[i] would leave int64."""
        products = [a * b for a, b in zip(_magnitudes(x), _magnitudes(y), strict=True)]
        self._guard_magnitude(operation, max(products))

    def _guard_magnitude(self, operation: Operation, largest: int) -> None:
        if largest.bit_length() > MAX_BITS:
            raise UserError(
                f"operation {operation.name!r} ({operation.op}): intermediate values need more than "
                f"{MAX_BITS} bits; narrow its types"
            )


def _magnitudes(x: Interval) -> list[int]:
    """Largest magnitude of each element, as unbounded integers."""
    return [max(abs(low), abs(high)) for low, high in zip(x.low.tolist(), x.high.tolist(), strict=True)]
