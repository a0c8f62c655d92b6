"""The fixed-point network: a checked list of operations from hardware words to a score word."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from axo.errors import UserError
from axo.layout import Layout, Word
from axo.network.convention import HALF_KEPT, WHOLE_GEV, convention_of
from axo.network.operations import WORDS, Operation
from axo.network.types import FixedType, Ints

__all__ = ["HALF_KEPT", "WHOLE_GEV", "Network"]


@dataclass(frozen=True)
class Network:
    """Operations in order; `score` and `embedding` name two of the tensors they define.

    `layout` says what the words are: the network reads each of its words, in order. `thresholds` are named
    working points in score words (a seed fires at score >= threshold); `provenance` is free-form.
    """

    name: str
    layout: Layout
    operations: tuple[Operation, ...]
    score: str
    embedding: str
    thresholds: dict[str, int] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.score, self.embedding):
            if name not in self.types:
                raise UserError(f"network {self.name!r}: no operation defines {name!r}")
        if self.sizes[self.score] != 1:
            raise UserError(f"network {self.name!r}: the score {self.score!r} must be one number")
        if self.score_type.signed or self.score_type.width > 31:
            raise UserError(f"network {self.name!r}: the score type must be unsigned, at most 31 bits")
        if self.types[self.embedding].width > 31 + self.types[self.embedding].signed:
            raise UserError(f"network {self.name!r}: the embedding {self.embedding!r} must fit in int32")
        for name, threshold in self.thresholds.items():
            if not 0 <= threshold <= self.score_type.max_int + 1:
                raise UserError(f"network {self.name!r}: threshold {name!r} = {threshold} is no score word")

    @cached_property
    def _shapes(self) -> tuple[dict[str, FixedType], dict[str, int]]:
        types, sizes = {WORDS: self.word_type}, {WORDS: len(self.words)}
        for operation in self.operations:
            for source in operation.inputs:
                if source not in types:
                    raise UserError(
                        f"operation {operation.name!r}: reads {source!r}, which no earlier one defines"
                    )
            if operation.name in types:
                raise UserError(f"operation {operation.name!r}: is defined twice")
            types[operation.name], sizes[operation.name] = operation.result(types, sizes)
        return types, sizes

    @property
    def words(self) -> tuple[Word, ...]:
        """The words that the network reads."""
        return self.layout.words

    @property
    def word_type(self) -> FixedType:
        """Type of the input tensor: int16, or int32 when a word needs it."""
        bits = np.dtype(self.layout.dtype).itemsize * 8
        return FixedType(bits, bits)

    @cached_property
    def word_bounds(self) -> tuple[Ints, Ints]:
        """Smallest and largest integer that the network takes as each word, (n_words,) each.

        Any int16, and whatever the hardware of a wider word carries: evaluations are exact within.
        """
        low, high = self.layout.low, self.layout.high
        return np.minimum(low, -(1 << 15)), np.maximum(high, (1 << 15) - 1)

    @cached_property
    def pt_convention(self) -> str:
        """HALF_KEPT or WHOLE_GEV: what the operations make of the half GeV of the pt words."""
        return convention_of(self.layout, self.operations)

    @property
    def types(self) -> dict[str, FixedType]:
        """Type of every tensor, the input words included."""
        return self._shapes[0]

    @property
    def sizes(self) -> dict[str, int]:
        """Number of elements of every tensor, the input words included."""
        return self._shapes[1]

    @property
    def score_type(self) -> FixedType:
        """Type of the score; the score word is its integer."""
        return self.types[self.score]

    def operation(self, name: str) -> Operation:
        """The operation that defines tensor `name`; KeyError when there is none."""
        for operation in self.operations:
            if operation.name == name:
                return operation
        raise KeyError(name)
