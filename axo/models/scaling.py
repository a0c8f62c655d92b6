"""The input scaling: an integer offset and a power-of-two shift per word, learned from zero bias."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.config import to_plain
from axo.errors import UserError
from axo.layout import Layout, default_layout, layout_document, parse_layout
from axo.network import WORDS, FixedType, Operation
from axo.network.convention import CONVENTIONS, HALF_KEPT, WHOLE_GEV, halving, scaled_inputs

UNSCALED = FixedType(18, 13)
"""Type of pt in GeV, eta and phi words before scaling, as CMS's firmware has it."""


@dataclass(frozen=True)
class ScalingConfig:
    """How ranges become offsets and shifts.

    The words of present objects between the quantiles `low` and `high` (per word; of all objects of
    the kind where a word has fewer than `min_present`) are centred and divided by the power of two
    that brings half their range nearest to `half_range`. Inputs have `bits` bits, `integer` of them
    integer (sign included). pt may have its own: `pt_low`, `pt_high`, `pt_half_range`. What the network
    makes of the half GeV of a pt word: ``half-kept``, as CMS's firmware, or ``whole-gev``.
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
    pt_convention: str = "half-kept"

    def __post_init__(self) -> None:
        for low, high in ((self.low, self.high), (self.pt_low, self.pt_high)):
            if not 0 <= low < high <= 1:
                raise UserError(f"quantiles {low:g} and {high:g} must satisfy 0 <= low < high <= 1")
        if min(self.half_range, self.pt_half_range) <= 0:
            raise UserError("half_range and pt_half_range must be positive")
        FixedType(self.bits, self.integer)
        if self.pt_convention not in CONVENTIONS:
            raise UserError(f"pt_convention {self.pt_convention!r} is none of {', '.join(CONVENTIONS)}")


@dataclass(frozen=True)
class Scaling:
    """`offset` and `shift`, an integer a word each: input = input_type((word' - offset) >> shift).

    word' is the raw word; of a pt word of 0.5 GeV a step it is pt in GeV, with its half or without as
    `pt_convention` says. `layout` is that of the words.
    """

    offset: tuple[int, ...]
    shift: tuple[int, ...]
    input_type: FixedType = field(default_factory=lambda: FixedType(8, 6, True, "RND_CONV", "SAT"))
    layout: Layout = field(default_factory=default_layout)
    pt_convention: str = HALF_KEPT

    @property
    def unscaled_type(self) -> FixedType:
        """Type of word', wide enough for every word of the layout."""
        return _unscaled_type(self.layout)

    def operations(self) -> list[Operation]:
        """Raw words to the tensor ``network_input``: the head of every network."""
        offset = np.array(self.offset, np.int64)
        width = int(np.abs(offset).max()).bit_length() + 1
        return scaled_inputs(
            self.layout,
            self.pt_convention,
            self.unscaled_type,
            offset,
            FixedType(width, width),
            np.array(self.shift, np.int64),
            self.input_type,
        )

    def inputs(self, words: ArrayLike, chunk: int = 65536) -> NDArray[np.int16]:
        """The integers of ``network_input`` (n, n_words) for raw `words`, by the operations themselves."""
        from axo.network.reference import apply

        words = np.asarray(words)
        result = np.empty(words.shape, np.int16)
        bits = np.dtype(self.layout.dtype).itemsize * 8
        types: dict[str, FixedType] = {WORDS: FixedType(bits, bits)}
        sizes = {WORDS: len(self.layout.words)}
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
        return {
            "offset": list(self.offset),
            "shift": list(self.shift),
            "input_type": to_plain(self.input_type),
            "layout": layout_document(self.layout),
            "pt_convention": self.pt_convention,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Scaling:
        """The inverse of `to_json`; a document without a layout is of axo 1: CMS's words, whole GeV."""
        layout = default_layout()
        if "layout" in document:
            layout = parse_layout(document["layout"], "scaling: layout")
        return cls(
            tuple(document["offset"]),
            tuple(document["shift"]),
            FixedType(**document["input_type"]),
            layout,
            document.get("pt_convention", WHOLE_GEV),
        )


def learn_scaling(words: ArrayLike, config: ScalingConfig, layout: Layout | None = None) -> Scaling:
    """Offsets and shifts from zero-bias `words` (n, n_words) of `layout` (None: CMS's AXOL1TL).

    From quantiles of present objects. Raises UserError when no object of a kind is present at all.
    """
    layout = layout or default_layout()
    convention = CONVENTIONS[config.pt_convention]
    words, halved = np.asarray(words), halving(layout)
    offsets, shifts = [], []
    for column, quantity in enumerate(layout.quantities):
        is_pt = quantity.role in ("pt", "energy")
        low, high = (config.pt_low, config.pt_high) if is_pt else (config.low, config.high)
        found = _present(words, column, layout, config.min_present)
        if halved[column]:
            found = found // 2 if convention == WHOLE_GEV else found / 2
        first, last = np.quantile(found, [low, high])
        target = config.pt_half_range if is_pt else config.half_range
        half = max((last - first) / 2, 0.5)
        offsets.append(round((first + last) / 2))
        shifts.append(max(round(np.log2(half / target)), -_room(layout, column, offsets[-1])))
    kind = FixedType(config.bits, config.integer, True, "RND_CONV", "SAT")
    return Scaling(tuple(offsets), tuple(shifts), kind, layout, convention)


def _unscaled_type(layout: Layout) -> FixedType:
    """UNSCALED where it holds any word of `layout` less any other, else with as many bits as it takes."""
    integer = max(UNSCALED.integer, int((layout.high - layout.low).max()).bit_length() + 1)
    return FixedType(integer + UNSCALED.fraction, integer)


def _room(layout: Layout, column: int, offset: int) -> int:
    """Bits by which a word, in GeV and centred, can be shifted left before its type wraps."""
    word, halved = layout.words[column], int(halving(layout)[column])
    reach = max(abs((word.min_int >> halved) - offset), abs(word.max_int / (1 << halved) - offset), 1)
    return int(np.log2(((1 << (_unscaled_type(layout).integer - 1)) - 1) / reach))


def _present(words: NDArray[Any], column: int, layout: Layout, min_present: int) -> NDArray[Any]:
    """A word in the events that have its object, or that quantity of all objects of its kind."""
    item = layout.objects[layout.object_of_word[column]]
    magnitude = item.kind.magnitude
    if magnitude is None:
        return words[:, column]
    found = words[:, column][words[:, item.columns[magnitude.role]] > 0]
    if len(found) >= min_present:
        return found
    place = column - min(item.columns.values())
    found = np.concatenate(
        [
            words[:, min(other.columns.values()) + place][words[:, other.columns[magnitude.role]] > 0]
            for other in layout.objects
            if other.kind is item.kind
        ]
    )
    if not len(found):
        raise UserError(
            f"no event has any object of kind {item.kind.name}: too few zero-bias events to learn a scaling"
        )
    return found
