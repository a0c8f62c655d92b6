"""The input scaling: an integer offset and a power-of-two shift per word, learned from zero bias."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError
from axo.interchange.axol1tl import halved_pt
from axo.layout.cms import CMS_WORDS, OBJECTS
from axo.layout.units import KINDS
from axo.network import PT_COLUMNS, WORDS, FixedType, Linear, Offset, Operation, Shift

UNSCALED = FixedType(18, 13)
"""Type of the whole-GeV pt, eta and phi words before scaling, as CMSSW hands them over."""


@dataclass(frozen=True)
class ScalingConfig:
    """How ranges become offsets and shifts.

    The words of present objects between the quantiles `low` and `high` (per word; of all objects of
    the kind where a word has fewer than `min_present`) are centred and divided by the power of two
    that brings half their range nearest to `half_range`. Inputs have `bits` bits, `integer` of them
    integer (sign included). pt may have its own: `pt_low`, `pt_high`, `pt_half_range`.
    """

    low: float = 0.05
    high: float = 0.95
    half_range: float = 2.0
    pt_low: float = 0.01
    pt_high: float = 0.99
    pt_half_range: float = 2.0
    min_present: int = 200
    bits: int = 8
    integer: int = 6

    def __post_init__(self) -> None:
        for low, high in ((self.low, self.high), (self.pt_low, self.pt_high)):
            if not 0 <= low < high <= 1:
                raise UserError(f"quantiles {low:g} and {high:g} must satisfy 0 <= low < high <= 1")
        if min(self.half_range, self.pt_half_range) <= 0:
            raise UserError("half_range and pt_half_range must be positive")
        FixedType(self.bits, self.integer)


@dataclass(frozen=True)
class Scaling:
    """`offset` and `shift`, 57 integers each: input = input_type((word' - offset) >> shift).

    word' is the raw word with pt halved (whole GeV).
    """

    offset: tuple[int, ...]
    shift: tuple[int, ...]
    input_type: FixedType = field(default_factory=lambda: FixedType(8, 6, True, "RND_CONV", "SAT"))

    def operations(self) -> list[Operation]:
        """Raw words to the tensor ``network_input``: the head of every network."""
        offset = np.array(self.offset, np.int64)
        width = int(np.abs(offset).max()).bit_length() + 1
        return [
            halved_pt(),
            Linear("unscaled", "halved", UNSCALED),
            Offset("centred", "unscaled", offset, FixedType(width, width), UNSCALED),
            Shift("scaled", "centred", np.array(self.shift, np.int64)),
            Linear("network_input", "scaled", self.input_type),
        ]

    def inputs(self, words: ArrayLike, chunk: int = 65536) -> NDArray[np.int16]:
        """The integers of ``network_input`` (n, 57) for raw `words` (n, 57), by the operations themselves."""
        from axo.network.reference import apply

        words = np.asarray(words)
        result = np.empty(words.shape, np.int16)
        types: dict[str, FixedType] = {WORDS: FixedType(16, 16)}
        sizes = {WORDS: len(CMS_WORDS)}
        operations = self.operations()
        for operation in operations:
            types[operation.name], sizes[operation.name] = operation.result(types, sizes)
        for start in range(0, len(words), chunk):
            tensors = {WORDS: words[start : start + chunk].astype(np.int64)}
            for operation in operations:
                tensors[operation.name] = apply(operation, tensors, types)
            result[start : start + chunk] = tensors[operations[-1].name]
        return result

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        return {"offset": list(self.offset), "shift": list(self.shift), "input_type": asdict(self.input_type)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Scaling:
        """The inverse of `to_json`."""
        return cls(tuple(document["offset"]), tuple(document["shift"]), FixedType(**document["input_type"]))


def learn_scaling(words: ArrayLike, config: ScalingConfig) -> Scaling:
    """Offsets and shifts from zero-bias `words` (n, 57): quantiles of present objects, whole GeV.

    Raises UserError when no object of a kind is present at all.
    """
    words = np.array(words, np.int16)
    words[:, PT_COLUMNS] //= 2
    offsets, shifts = [], []
    for index in range(len(CMS_WORDS)):
        item, quantity = divmod(index, 3)
        is_pt = quantity == 0
        low, high = (config.pt_low, config.pt_high) if is_pt else (config.low, config.high)
        first, last = np.quantile(_present(words, item, quantity, config.min_present), [low, high])
        target = config.pt_half_range if is_pt else config.half_range
        half = max((last - first) / 2, 0.5)
        offsets.append(round((first + last) / 2))
        shifts.append(max(round(np.log2(half / target)), -_room(index, offsets[-1])))
    return Scaling(
        tuple(offsets), tuple(shifts), FixedType(config.bits, config.integer, True, "RND_CONV", "SAT")
    )


def _room(index: int, offset: int) -> int:
    """Bits by which word `index`, pt halved and centred, can be shifted left before UNSCALED wraps."""
    word = CMS_WORDS[index]
    low, high = (bound // 2 if index % 3 == 0 else bound for bound in (word.min_int, word.max_int))
    reach = max(abs(low - offset), abs(high - offset), 1)
    return int(np.log2(((1 << (UNSCALED.integer - 1)) - 1) / reach))


def _present(words: NDArray[np.int16], item: int, quantity: int, min_present: int) -> NDArray[np.int16]:
    """Word `quantity` of object `item` in the events that have it, or of all objects of its kind."""
    column = words[:, 3 * item + quantity][words[:, 3 * item] > 0]
    if len(column) >= min_present:
        return column
    name = OBJECTS[item].rstrip("0123456789")
    block = words[:, KINDS[name].words]
    column = block[:, quantity::3][block[:, 0::3] > 0]
    if not len(column):
        raise UserError(
            f"no event has any object of kind {name}: too few zero-bias events to learn a scaling"
        )
    return column
