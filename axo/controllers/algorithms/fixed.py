"""A threshold that stays where it is: what the others are measured against."""

from __future__ import annotations

from dataclasses import dataclass

from axo.config import parse
from axo.controllers.interface import ControllerConfig, Proposal, Reading, State


@dataclass(frozen=True)
class Options:
    """There are none."""


class Controller:
    """Proposes nothing, ever."""

    VERSION = "1"

    def __init__(self, config: ControllerConfig) -> None:
        parse(Options, config.options, "options of fixed")

    def initial_state(self) -> State:
        """Empty."""
        return {}

    def propose(self, state: State, reading: Reading) -> tuple[State, dict[str, Proposal]]:
        """No proposal."""
        return state, {}
