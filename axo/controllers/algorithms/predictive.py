"""Inverts the score histogram at the pileup to come, corrected by the measured rates.

For each seed a model (see `_rate_model`) gives the rate as a function of threshold and pileup; the
threshold decided is the one whose rate at the pileup expected when it acts is the target. After a
downward jump that no second lumi section has confirmed, thresholds only rise.
"""

from __future__ import annotations

from dataclasses import dataclass

from axo.config import parse
from axo.controllers._steering import Steering
from axo.controllers.interface import ControllerConfig, Proposal, Reading, State
from axo.physics.pileup_model import TailFit


@dataclass(frozen=True)
class Options:
    """`models`: the fitted tail of each seed's score in zero bias, by name (see axo.physics.pileup_model).

    Lumi sections of less pileup than `pileup_floor` move no threshold: beams are apart, or come back.
    """

    models: dict[str, TailFit]
    pileup_floor: float = 20.0


class Controller:
    """Model-based control of every seed by itself."""

    VERSION = "2"

    def __init__(self, config: ControllerConfig) -> None:
        options = parse(Options, config.options, "options of predictive")
        self._targets_khz = [seed.target_khz for seed in config.seeds]
        self._steering = Steering(config, options.models, options.pileup_floor)

    def initial_state(self) -> State:
        """No lumi section seen, no correction estimated."""
        return self._steering.initial_state()

    def propose(self, state: State, reading: Reading) -> tuple[State, dict[str, Proposal]]:
        """A threshold for every seed at the pileup to come, whether its rate was usable or not."""
        state, update = self._steering.observe(state, reading)
        return state, self._steering.aim(state, reading, self._targets_khz, update)
