"""Evaluations of a network, compared on every event: one file each, found by its name (axo.plugins)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from axo.firmware.comparison import Result
from axo.firmware.context import Context
from axo.network.types import Ints
from axo.plugins import Plugins


class Evaluation(Protocol):
    """A module of this folder.

    `SUMMARY` says what it is; `ORDER` is its place from the trained model (low) to the wires (high);
    `ROWS` is the stage that says which events it is given.
    """

    SUMMARY: str
    ORDER: int
    ROWS: Callable[[Context], NDArray[np.int64]]

    def absent(self, context: Context) -> str | None:
        """Why it cannot take part, or None; what can only be known by making it is made.

        Raises UserError, ToolError among them, for what is wrong and not just lacking.
        """

    def run(self, context: Context, rows: NDArray[np.int64]) -> Result:
        """Evaluate the events `rows` (m,) of the stimuli; the result may be of fewer, and bears its name."""


@runtime_checkable
class Traced(Protocol):
    """An evaluation that can show every tensor, for mismatches of any of the evaluations in `TRACES`."""

    TRACES: tuple[str, ...]

    def trace(self, context: Context, words: NDArray[np.int16]) -> Mapping[str, Ints]:
        """Tensors by name, (n, size), of `words` (n, n_words)."""


EVALUATIONS: Plugins[Evaluation] = Plugins(
    __name__, "evaluation", ("SUMMARY", "ORDER", "ROWS", "absent", "run")
)


def evaluations() -> dict[str, Evaluation]:
    """Every evaluation by name, in order."""
    return dict(sorted(EVALUATIONS.load_all().items(), key=lambda item: item[1].ORDER))
