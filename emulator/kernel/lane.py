"""C statements for one value ``v`` of one event, with exact bounds of everything on the way.

The same statements serve scalars and vectors: ``K``, ``MIN``, ``MAX``, ``SIGN``, ``WRAP`` and
``INSIDE`` are macros of the C headers beside this module, one set per kind of lane.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from axo.emulator.kernel.text import literal
from axo.network import FixedType
from axo.network.types import MAX_BITS


def signed_bits(low: int, high: int) -> int:
    """Bits of the two's complement integer that holds `low` to `high`."""
    return max((~low if low < 0 else low).bit_length(), (~high if high < 0 else high).bit_length()) + 1


@dataclass
class Lane:
    """`low` to `high` bound ``v`` after the statements in `code`; `bits` held every step of them.

    The bounds decide twice: a statement that cannot change any value within them is left out, and the
    narrowest type that holds all steps is the fastest, for a vector then has the most lanes of it.
    """

    low: int
    high: int
    code: list[str] = field(default_factory=list)
    bits: int = 0

    def __post_init__(self) -> None:
        self.hold(self.low, self.high)

    def relu(self) -> Lane:
        """max(0, v)."""
        if self.low < 0:
            self.step("v = MAX(v, K(0));", 0, max(self.high, 0))
        return self

    def add(self, text: str, low: int, high: int) -> Lane:
        """v + `text`, an expression with values `low` to `high`."""
        self.hold(low, high)
        return self.step(f"v = v + {text};", self.low + low, self.high + high)

    def subtract(self, text: str, low: int, high: int) -> Lane:
        """v - `text`, an expression with values `low` to `high`."""
        self.hold(low, high)
        return self.step(f"v = v - {text};", self.low - high, self.high - low)

    def shift_left(self, bits: int) -> Lane:
        """v · 2**bits."""
        if self.low == self.high == 0 or bits == 0:
            return self
        return self.step(f"v = v << {bits};", self.low << bits, self.high << bits)

    def cast(self, fraction: int, kind: FixedType) -> Lane:
        """FixedType.cast: assign v, which has `fraction` fraction bits, to `kind`."""
        drop = fraction - kind.fraction
        lowest = -kind.max_int if kind.overflow == "SAT_SYM" and kind.signed else kind.min_int
        if drop > 0 and kind.overflow in ("SAT", "SAT_SYM"):
            # Clipped before it is rounded: the same result, and rounding needs no bit more.
            self.clip(lowest << drop, kind.max_int << drop)
        self._round(drop, kind)
        if self.low >= lowest and self.high <= kind.max_int:
            return self
        if kind.overflow == "WRAP":
            return self.wrap(kind)
        if kind.overflow == "SAT_ZERO":
            low, high = max(self.low, kind.min_int), min(self.high, kind.max_int)
            return self.step(f"v = INSIDE(v, {_k(low)}, {_k(high)});", min(low, 0), max(high, 0))
        return self.clip(lowest, kind.max_int)

    def clip(self, low: int, high: int) -> Lane:
        """v brought into `low` to `high`."""
        if self.high > high:
            self.step(f"v = MIN(v, {_k(high)});", min(self.low, high), high)
        if self.low < low:
            self.step(f"v = MAX(v, {_k(low)});", low, max(self.high, low))
        return self

    def wrap(self, kind: FixedType) -> Lane:
        """v modulo 2**width, in the range of `kind`."""
        if self.low >= kind.min_int and self.high <= kind.max_int:
            return self
        text = f"WRAP(v, {kind.width})" if kind.signed else f"v & {_k(kind.max_int)}"
        return self.step(f"v = {text};", kind.min_int, kind.max_int)

    def _round(self, drop: int, kind: FixedType) -> None:
        """Remove `drop` low bits as FixedType does; negative appends zeros."""
        if drop <= 0:
            self.shift_left(-drop)
            return
        mode, half = kind.rounding, 1 << (drop - 1)
        wide = FixedType(MAX_BITS, MAX_BITS - kind.fraction, True, mode, "SAT")
        low, high = wide.cast(np.array([self.low, self.high]), kind.fraction + drop).tolist()
        largest = max(abs(self.low), abs(self.high))
        # Where all bits go, `drop` may be more than the lane has, and C leaves such a shift undefined: what
        # is left of a truncated value is its sign, and of one that is nearer to zero than half, zero.
        if mode == "TRN":
            self.step(f"v = v >> {drop};" if largest >> drop else "v = SIGN(v);", low, high)
        elif largest < half or (mode == "TRN_ZERO" and not largest >> drop):
            self.step("v = K(0);", 0, 0)
        else:
            up = {
                "RND": _k(half),
                "RND_MIN_INF": _k(half - 1),
                "RND_CONV": f"{_k(half - 1)} + ((v >> {drop}) & K(1))",
                "RND_ZERO": f"{_k(half - 1)} - SIGN(v)",
                "RND_INF": f"{_k(half)} + SIGN(v)",
                "TRN_ZERO": f"(SIGN(v) & {_k(2 * half - 1)})",
            }[mode]
            # The value is raised before it is shifted, and the constants themselves need room.
            self.hold(self.low, max(self.high + half, 2 * half - 1))
            self.step(f"v = (v + {up}) >> {drop};", low, high)

    def step(self, statement: str, low: int, high: int) -> Lane:
        """Append a statement after which v lies within `low` to `high`."""
        self.code.append(statement)
        self.low, self.high = low, high
        self.hold(low, high)
        return self

    def hold(self, low: int, high: int) -> None:
        """Note that the lane must hold these values on the way."""
        self.bits = max(self.bits, signed_bits(low, high))


def _k(value: int) -> str:
    return f"K({literal(value)})"
