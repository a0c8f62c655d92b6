"""The operations a fixed-point network is made of: data only, one dataclass each.

Every operation reads named tensors and defines one, a vector of integers of a single type.
Their arithmetic is that of the hls4ml C++ functions; axo.network.reference states it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from axo.errors import UserError
from axo.network.types import FixedType, Ints

WORDS = "words"
"""Name of the input tensor: the raw hardware words of the network's layout."""


@dataclass(frozen=True, eq=False)
class Operation:
    """Common part: `name` of the tensor defined, `input` the tensor read first."""

    op: ClassVar[str]
    name: str
    input: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all tensors read."""
        return (self.input,)

    def result(self, types: dict[str, FixedType], sizes: dict[str, int]) -> tuple[FixedType, int]:
        """Type and size of the tensor defined, given those of the tensors before it.

        Raises UserError naming the operation when sizes or constants do not fit.
        """
        raise NotImplementedError(self.op)

    def _require(self, condition: bool, message: str) -> None:
        if not condition:
            raise UserError(f"operation {self.name!r} ({self.op}): {message}")


@dataclass(frozen=True, eq=False)
class Linear(Operation):
    """Assign to another type."""

    op: ClassVar[str] = "linear"
    type: FixedType

    def result(self, types, sizes):
        return self.type, sizes[self.input]


@dataclass(frozen=True, eq=False)
class Relu(Linear):
    """max(0, x), assigned to another type."""

    op: ClassVar[str] = "relu"


@dataclass(frozen=True, eq=False)
class Shift(Operation):
    """Arithmetic right shift by `shift[i]` bits within the input's type (ap_fixed ``>>``).

    Dropped bits are lost, no rounding; a negative amount is a left shift, whose high bits wrap.
    """

    op: ClassVar[str] = "shift"
    shift: Ints

    def result(self, types, sizes):
        self._require(self.shift.shape == (sizes[self.input],), "one shift per element is needed")
        self._require(bool(np.all(np.abs(self.shift) < 32)), "shifts must be within ±31")
        return types[self.input], sizes[self.input]


@dataclass(frozen=True, eq=False)
class Offset(Operation):
    """x[i] - offset[i], exact, then assigned to type."""

    op: ClassVar[str] = "offset"
    offset: Ints
    offset_type: FixedType
    type: FixedType

    def result(self, types, sizes):
        self._require(self.offset.shape == (sizes[self.input],), "one offset per element is needed")
        _require_holds(self, self.offset_type, self.offset, "offset")
        return self.type, sizes[self.input]


@dataclass(frozen=True, eq=False)
class Subtract(Operation):
    """x[i] - other[i], exact, then assigned to type."""

    op: ClassVar[str] = "subtract"
    other: str
    type: FixedType

    @property
    def inputs(self):
        return (self.input, self.other)

    def result(self, types, sizes):
        self._require(sizes[self.other] == sizes[self.input], f"{self.other!r} has another size")
        return self.type, sizes[self.input]


@dataclass(frozen=True, eq=False)
class Scale(Operation):
    """x[i] * scale[i] + bias[i], exact, then assigned to type (a batch normalisation)."""

    op: ClassVar[str] = "scale"
    scale: Ints
    scale_type: FixedType
    bias: Ints
    bias_type: FixedType
    type: FixedType

    def result(self, types, sizes):
        shape = (sizes[self.input],)
        self._require(self.scale.shape == shape, "one scale per element is needed")
        self._require(self.bias.shape == shape, "one bias per element is needed")
        _require_holds(self, self.scale_type, self.scale, "scale")
        _require_holds(self, self.bias_type, self.bias, "bias")
        return self.type, sizes[self.input]


@dataclass(frozen=True, eq=False)
class Dense(Operation):
    """bias[j] + sum_i x[i] * weight[i, j]; products and sums are each assigned to accum_type."""

    op: ClassVar[str] = "dense"
    weight: Ints
    weight_type: FixedType
    bias: Ints
    bias_type: FixedType
    accum_type: FixedType

    def result(self, types, sizes):
        n_in = sizes[self.input]
        shape = self.weight.shape
        self._require(self.weight.ndim == 2 and shape[0] == n_in, f"weight needs {n_in} rows")
        self._require(self.bias.shape == shape[1:], f"{shape[-1]} biases are needed")
        _require_holds(self, self.weight_type, self.weight, "weight")
        _require_holds(self, self.bias_type, self.bias, "bias")
        return self.accum_type, shape[1]


@dataclass(frozen=True, eq=False)
class SumOfSquares(Operation):
    """sum_i x[i]**2: each square is assigned to product_type, each partial sum to sum_type."""

    op: ClassVar[str] = "sum_of_squares"
    product_type: FixedType
    sum_type: FixedType

    def result(self, types, sizes):
        return self.sum_type, 1


@dataclass(frozen=True, eq=False)
class Dot(SumOfSquares):
    """sum_i x[i] * other[i], with the types of SumOfSquares."""

    op: ClassVar[str] = "dot"
    other: str

    @property
    def inputs(self):
        return (self.input, self.other)

    def result(self, types, sizes):
        self._require(sizes[self.other] == sizes[self.input], f"{self.other!r} has another size")
        return self.sum_type, 1


OPERATIONS: dict[str, type[Operation]] = {
    kind.op: kind for kind in (Linear, Relu, Shift, Offset, Subtract, Scale, Dense, SumOfSquares, Dot)
}


def _require_holds(operation: Operation, kind: FixedType, values: Ints, what: str) -> None:
    """UserError naming the first constant that is out of its type."""
    outside = np.argwhere((values < kind.min_int) | (values > kind.max_int))
    if len(outside):
        index = tuple(int(i) for i in outside[0])
        raise UserError(
            f"operation {operation.name!r} ({operation.op}): {what}{list(index)} = "
            f"{values[index]} is out of its type {kind} ({kind.min_int} to {kind.max_int})"
        )
