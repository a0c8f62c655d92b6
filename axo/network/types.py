"""Fixed-point types with the semantics of ``ap_fixed<W,I,Q,O>`` (Xilinx UG902, "Arbitrary
Precision Fixed-Point Data Types").

A value is an integer times ``2**-(width - integer)``; everywhere in axo it is held as that
integer, in an int64 array. Nothing here touches floating point.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError

Ints = NDArray[np.int64]

ROUNDINGS = ("TRN", "TRN_ZERO", "RND", "RND_ZERO", "RND_INF", "RND_MIN_INF", "RND_CONV")
OVERFLOWS = ("WRAP", "SAT", "SAT_ZERO", "SAT_SYM")

# int64 holds every intermediate value only while magnitudes stay below this many bits.
MAX_BITS = 62


@dataclass(frozen=True)
class FixedType:
    """``ap_fixed<width, integer, rounding, overflow>`` (``ap_ufixed`` when not signed).

    `integer` counts the sign bit and may be negative or larger than `width`, as in HLS.
    Raises UserError for a width outside 1..62 or an unknown mode.
    """

    width: int
    integer: int
    signed: bool = True
    rounding: str = "TRN"
    overflow: str = "WRAP"

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_BITS:
            raise UserError(f"type {self}: width must be 1 to {MAX_BITS}")
        if abs(self.fraction) > MAX_BITS:
            raise UserError(f"type {self}: fraction bits must be within ±{MAX_BITS}")
        if self.rounding not in ROUNDINGS:
            raise UserError(f"type {self}: rounding must be one of {', '.join(ROUNDINGS)}")
        if self.overflow not in OVERFLOWS:
            raise UserError(f"type {self}: overflow must be one of {', '.join(OVERFLOWS)}")

    @property
    def fraction(self) -> int:
        """Fraction bits; the integer of a value counts units of ``2**-fraction``."""
        return self.width - self.integer

    @property
    def min_int(self) -> int:
        """Smallest integer that the bits hold."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def max_int(self) -> int:
        """Largest integer that the bits hold."""
        return (1 << (self.width - 1)) - 1 if self.signed else (1 << self.width) - 1

    @property
    def plain(self) -> FixedType:
        """The type of the same bits that truncates and wraps.

        It is what HLS shifts in, and what stored constants need: their integers fit, so that no mode acts
        (but SAT_SYM, which would change the lowest of them).
        """
        return FixedType(self.width, self.integer, self.signed)

    @property
    def cpp(self) -> str:
        """The C++ spelling with modes, as hls4ml's and the vendors' headers read it."""
        return (
            str(self)
            .replace("TRN", "AP_TRN")
            .replace("RND", "AP_RND")
            .replace("WRAP", "AP_WRAP")
            .replace("SAT", "AP_SAT")
        )

    def __str__(self) -> str:
        kind = "ap_fixed" if self.signed else "ap_ufixed"
        return f"{kind}<{self.width},{self.integer},{self.rounding},{self.overflow}>"

    @classmethod
    def parse(cls, text: str) -> FixedType:
        """Read ``ap_[u]fixed<W,I[,Q[,O[,N]]]>`` or ``ap_[u]int<W>`` (with or without ``AP_``).

        Raises UserError when the text is none of these or has saturation bits N other than 0.
        """
        match = re.fullmatch(r"\s*ap_(u?)(fixed|int)\s*<([^<>]*)>\s*", text)
        if not match:
            raise UserError(f"type {text!r}: is not ap_fixed<W,I,Q,O>, ap_ufixed, ap_int or ap_uint")
        fields = [field.strip().removeprefix("AP_") for field in match[3].split(",")]
        try:
            width = int(fields[0])
            if match[2] == "int":
                if len(fields) != 1:
                    raise ValueError
                return cls(width, width, signed=not match[1])
            if len(fields) > 4 and int(fields[4]) != 0:
                raise ValueError
            return cls(width, int(fields[1]), not match[1], *fields[2:4])
        except (ValueError, IndexError) as error:
            raise UserError(f"type {text!r}: cannot be read as a fixed-point type") from error

    def holds(self, values: Ints) -> bool:
        """Whether every integer (any shape) lies within the bits of this type."""
        return bool(np.all(values >= self.min_int) and np.all(values <= self.max_int))

    def cast(self, values: Ints, fraction: int) -> Ints:
        """Assign values with `fraction` fraction bits to this type: round, then overflow.

        `values` is int64 of any shape, with magnitudes that the caller has shown to stay below
        2**62 after alignment (axo.network.intervals does); returns int64 of that shape.
        """
        return self._overflow(self._round(np.asarray(values, np.int64), fraction - self.fraction))

    def _round(self, values: Ints, drop: int) -> Ints:
        """Remove `drop` low bits (UG902 table "Quantization modes"); negative appends zeros."""
        if drop <= 0:
            return values << -drop
        # One bit more than any value has: what lies further down rounds as it does there.
        drop = min(drop, MAX_BITS + 1)
        floor = values >> drop
        rest = values - (floor << drop)
        half = 1 << (drop - 1)
        up_on_tie: dict[str, bool | NDArray[np.bool_]] = {
            "RND": True,
            "RND_MIN_INF": False,
            "RND_ZERO": values < 0,
            "RND_INF": values >= 0,
            "RND_CONV": (floor & 1) == 1,
        }
        if self.rounding == "TRN":
            return floor
        if self.rounding == "TRN_ZERO":
            up: NDArray[np.bool_] = (values < 0) & (rest != 0)
        else:
            up = (rest > half) | ((rest == half) & up_on_tie[self.rounding])
        rounded: Ints = floor + up
        return rounded

    def _overflow(self, values: Ints) -> Ints:
        """Bring integers into range (UG902 table "Overflow modes")."""
        if self.overflow == "WRAP":
            bits = values & ((1 << self.width) - 1)
            return bits - ((bits > self.max_int) * np.int64(1 << self.width)) if self.signed else bits
        if self.overflow == "SAT_ZERO":
            return np.where((values < self.min_int) | (values > self.max_int), 0, values)
        low = -self.max_int if self.overflow == "SAT_SYM" and self.signed else self.min_int
        return np.clip(values, low, self.max_int)
