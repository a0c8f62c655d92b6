"""Pieces of C text that both kinds of code are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

BLOCK = 64
"""Events per block: the buffers of a production network then stay in the first-level cache."""


@dataclass(frozen=True)
class Function:
    """One static C function; `lanes` names the header whose macros its statements use.

    `call` is the statement that runs it on block ``b``; None for a helper of other functions.
    """

    lanes: str
    text: str
    call: str | None = None


def block_function(name: str, body: Iterable[str], lanes: str = "scalar") -> Function:
    """A function of the buffers that one block needs once."""
    lines = "\n".join(f"    {line}" for line in body)
    return Function(lanes, f"static void {name}(struct buffers *b) {{\n{lines}\n}}\n", f"{name}(b);")


def table(c_type: str, name: str, values: ArrayLike) -> str:
    """A constant array with the shape of `values`."""
    array = np.asarray(values)
    shape = "".join(f"[{n}]" for n in array.shape)
    return f"static const {c_type} {name}{shape} __attribute__((aligned(64))) = {_braces(array)};"


def _braces(values: NDArray[np.integer]) -> str:
    inner = map(_braces, values) if values.ndim > 1 else map(literal, values.tolist())
    return "{" + ", ".join(inner) + "}"


def literal(value: int) -> str:
    """An integer constant of sufficient type."""
    return str(value) if abs(value) < 1 << 31 else f"INT64_C({value})"
