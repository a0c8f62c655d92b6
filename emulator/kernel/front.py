"""The scaling of the input words as a few int16 vector instructions, proved on all 65,536 values.

Production networks start with operations on each word alone: halve, subtract an offset, shift,
round, saturate. Each word then goes through one function int16 -> int8 or int16. Where the whole
chain has the form below, every word of an event is done at once, before the transposition:

    z = ((x << left) & keep) - offset         modulo 2**16
    t = z >> right
    y = (t + rounding + ((t >>> tie) & odd)) >> drop       additions saturate
    result = min(max(y, low), high)

The parameters are derived from the operations, then the form is *compared with the reference on
every int16 value of every word*; what is not equal everywhere is not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from axo.network import WORDS, FixedType, Linear, Network, Offset, Operation, Shift
from axo.network.reference import apply
from axo.network.types import Ints

_TIES = {"TRN": 0, "RND": 0, "RND_MIN_INF": 0, "RND_CONV": 1, "RND_ZERO": 1}
"""Roundings the form can express; 1 where a bit of t itself decides a tie."""


@dataclass(frozen=True)
class WordProgram:
    """Parameters of the form, (words,) int16 each; `low` to `high` clip the result.

    The result is the tensor's integer minus `zero`, so that it may be held as an unsigned byte.
    """

    left: NDArray[np.int16]
    keep: NDArray[np.int16]
    offset: NDArray[np.int16]
    right: NDArray[np.int16]
    rounding: NDArray[np.int16]
    tie: NDArray[np.int16]
    odd: NDArray[np.int16]
    drop: NDArray[np.int16]
    low: int
    high: int
    zero: int

    def run(self, words: NDArray[np.int16]) -> Ints:
        """What the vector instructions compute for `words` (n, words) int16, plus `zero`."""
        z = ((words << self.left) & self.keep) - self.offset
        t = (z >> self.right).astype(np.int32)
        bit = (t.astype(np.uint16) >> self.tie.astype(np.uint16)).astype(np.int32) & self.odd
        y = _saturated(_saturated(t + self.rounding) + bit) >> self.drop
        result: Ints = np.clip(y, self.low, self.high).astype(np.int64) + self.zero
        return result

    def columns(self, start: int, end: int) -> dict[str, NDArray[np.int16]]:
        """The parameters of words `start` to `end` - 1, by name."""
        return {name: value[start:end] for name, value in vars(self).items() if np.ndim(value)}


def _saturated(values: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.clip(values, -(1 << 15), (1 << 15) - 1)


def word_program(network: Network, target: str, zero: int) -> WordProgram | None:
    """The program that computes tensor `target` minus `zero` from int16 words; None when there is none."""
    chain = _chain(network, target) if network.layout.dtype is np.int16 else None
    if chain is None or not isinstance(chain[-1], Linear) or chain[-1].type.rounding not in _TIES:
        return None
    last = chain[-1].type
    if last.overflow not in ("SAT", "SAT_SYM"):
        return None
    words = [_Word() for _ in network.words]
    for operation in chain[:-1]:
        fraction = network.types[operation.input].fraction
        for index, word in enumerate(words):
            word.follow(operation, index, network.types[operation.input], fraction)
    drop = network.types[chain[-1].input].fraction - last.fraction
    rows = [word.parameters(last, drop, zero) for word in words]
    if any(row is None for row in rows):
        return None
    lowest = -last.max_int if last.overflow == "SAT_SYM" and last.signed else last.min_int
    left, keep, offset, right, rounding, tie, odd, shift = np.array(rows, np.int64).astype(np.int16).T
    bounds = lowest - zero, last.max_int - zero
    program = WordProgram(left, keep, offset, right, rounding, tie, odd, shift, *bounds, zero)
    return program if _is_proved(program, network, chain) else None


def _chain(network: Network, target: str) -> list[Operation] | None:
    """The operations from the words to `target`, when each reads only the one before."""
    chain: list[Operation] = []
    while target != WORDS:
        operation = network.operation(target)
        if type(operation) not in (Linear, Shift, Offset):
            return None
        chain.insert(0, operation)
        target = operation.input
    return chain or None


def _is_proved(program: WordProgram, network: Network, chain: list[Operation]) -> bool:
    """Whether the program equals the reference for every int16 value of every word."""
    values = np.arange(-(1 << 15), 1 << 15, dtype=np.int16)
    for part in np.split(values, 16):
        words = np.repeat(part[:, None], len(network.words), axis=1)
        tensors = {WORDS: words.astype(np.int64)}
        for operation in chain:
            tensors[operation.name] = apply(operation, tensors, network.types)
        if not np.array_equal(program.run(words), tensors[chain[-1].name]):
            return False
    return True


class _Word:
    """One word on its way: ((x >> half) << up) - offset, wrapped to `width` bits, then >> `down`.

    `low` and `high` bound the exact value while nothing has wrapped (`width` is None).
    """

    def __init__(self) -> None:
        self.half = self.up = self.offset = self.down = 0
        self.low, self.high = -(1 << 15), (1 << 15) - 1
        self.width: int | None = None
        self.possible = True

    def follow(self, operation: Operation, index: int, kind: FixedType, fraction: int) -> None:
        """Go through one operation; clears `possible` when the form cannot follow."""
        match operation:
            case Shift():
                self._shift(int(operation.shift[index]), kind)
            case Linear():
                self._widen(operation.type, operation.type.fraction - fraction)
            case Offset():
                self._subtract(operation, int(operation.offset[index]), fraction)

    def _shift(self, amount: int, kind: FixedType) -> None:
        if 0 < amount <= self.up and self.offset == 0 and self.width is None and self.down == 0:
            # Bits that an earlier operation appended: nothing is lost.
            self.up -= amount
            self.low, self.high = self.low >> amount, self.high >> amount
        elif amount > 0 and self.up == self.offset == 0 and self.width is None and self.down == 0:
            self.half += amount
            self.low, self.high = self.low >> amount, self.high >> amount
        elif amount > 0:
            self.down += amount
        elif amount < 0:
            self.possible &= self.down == 0
            self._left(-amount)
            self._wrap(kind)

    def _widen(self, kind: FixedType, more: int) -> None:
        self.possible &= self.down == 0 and more >= 0
        if self.possible:
            self._left(more)
            self._wrap(kind)

    def _subtract(self, operation: Offset, offset: int, fraction: int) -> None:
        more = operation.type.fraction - fraction
        offset_more = operation.type.fraction - operation.offset_type.fraction
        # An offset finer than the result is exact all the same when its last bits are zero.
        scaled, rest = divmod(offset << max(offset_more, 0), 1 << max(-offset_more, 0))
        self.possible &= self.down == 0 and more >= 0 and rest == 0
        if self.possible:
            self._left(more)
            self.offset += scaled
            self.low, self.high = self.low - scaled, self.high - scaled
            self._wrap(operation.type)

    def _left(self, bits: int) -> None:
        self.up += bits
        self.offset <<= bits
        self.low, self.high = self.low << bits, self.high << bits
        if self.width is not None:
            self.width += bits

    def _wrap(self, kind: FixedType) -> None:
        """Assign to a type that wraps: the form stays right modulo 2**width."""
        if kind.min_int <= self.low and self.high <= kind.max_int and self.width is None:
            return
        if kind.overflow != "WRAP" or not kind.signed or (self.width or kind.width) < kind.width:
            self.possible = False
        self.width = kind.width

    def parameters(self, last: FixedType, drop: int, zero: int) -> tuple[int, ...] | None:
        """left, keep, offset, right, rounding, tie, odd, drop of this word, or None."""
        # Where nothing wraps, the bits that the value needs are as good as a type that wraps.
        width = self.width or max(self.low.bit_length(), self.high.bit_length()) + 1
        # The top bit of `width` goes to the top of 16, so that int16 wraps where the type does.
        up, right = self.up + 16 - width, self.down + 16 - width
        offset = self.offset >> (width - 16) if width > 16 else self.offset << (16 - width)
        # Wider than 16: the lowest bits have no room, so less is left to shift out at the end. Whether they
        # mattered is not asked here: a program that is wrong for any word is thrown away (_is_proved).
        right, drop = max(right, 0), drop + min(right, 0)
        half = (1 << max(drop, 0)) >> 1
        # Added before the last shift: half a unit, one short of it where a tie is to go down; and `zero`.
        rounding = {"TRN": 0, "RND": half}.get(last.rounding, max(half - 1, 0)) - (zero << max(drop, 0))
        if not (self.possible and self.half <= up <= 15 and 0 <= drop <= 15 and abs(rounding) < 1 << 15):
            return None
        return (
            up - self.half,
            _int16(-(1 << up)),  # x >> half drops bits that one shift to the left must not bring back
            _int16(offset),
            min(right, 15),
            rounding,
            15 if last.rounding == "RND_ZERO" else drop,  # a tie goes up by the sign, or by the last bit kept
            _TIES[last.rounding] if drop else 0,
            drop,
        )


def _int16(value: int) -> int:
    """`value` modulo 2**16 as a signed number."""
    return (value + (1 << 15)) % (1 << 16) - (1 << 15)
