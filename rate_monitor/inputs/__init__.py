"""Where lumi-section records come from: one file per kind of input, found by its module name.

A module ``KIND.py`` has ``open_input(address, position) -> Input``. An input is named by
``KIND:ADDRESS`` (``file:records.jsonl``, ``folder:incoming``, ``stdin``, ``zmq:tcp://127.0.0.1:5556``).
An input hands out lines, not records: what a line means is read in `axo.rate_monitor.records`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

from axo.plugins import Plugins

MAXIMUM_LINE_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Line:
    """One line as it came, without its end.

    `place` names it to a person; `position` (JSON) resumes just after it. `fault` says what is
    wrong with the input itself just here (truncated, rotated away, too long): such a line is no record.
    """

    text: bytes
    place: str
    position: Any
    fault: str | None = None


class Input(ABC):
    """A stream of lines that may never end."""

    ended: bool = False

    @abstractmethod
    def read(self, timeout_s: float) -> list[Line]:
        """The lines that have arrived, in order; waits at most `timeout_s` seconds for the first.

        Raises UserError when the input cannot be read just now; a later call tries again.
        """

    def close(self) -> None:
        """Give back what is held."""
        return None


class InputModule(Protocol):
    """A module of this folder."""

    def open_input(self, address: str, position: Any) -> Input: ...


INPUTS: Plugins[InputModule] = Plugins(__name__, "kind of input", ("open_input",))


def kinds() -> list[str]:
    """The kinds of input there are."""
    return INPUTS.names()


def open_input(name: str, position: Any = None) -> Input:
    """The input called `name` (``KIND:ADDRESS``), continued after `position` where it can be.

    Raises UserError for an unknown kind, one that needs a package that is not here, or a bad address.
    """
    kind, _, address = name.partition(":")
    return INPUTS.load(kind, f"input {name!r} (KIND:ADDRESS)").open_input(address, position)
