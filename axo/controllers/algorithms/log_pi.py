"""Proportional-integral control of log(rate / target): rates fall exponentially with threshold.

With e = log(rate / target), corrected for thresholds that were decided but not yet in force,

    threshold <- threshold + w (k_i e + k_p (e - e_previous)),   w the words in which a rate falls by e.

In this form the integral is the threshold itself, as limited by the guard or set by a person: it winds
up at no limit, and returning from manual to auto makes no bump. Steps are limited to `slew` e-foldings;
an error inside the seed's dead band moves nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from axo.config import parse
from axo.controllers.interface import ControllerConfig, Proposal, Rate, Reading, SeedConfig, State
from axo.errors import UserError


@dataclass(frozen=True)
class Options:
    """`efold_words` is w, of all seeds or by name in `efold_words_by_seed`; gains and `slew` have no unit.

    The default is near that of axo_v3 at 1 kHz; w is a property of the score.
    """

    efold_words: float = 2000.0
    efold_words_by_seed: dict[str, float] | None = None
    ki: float = 0.8
    kp: float = 0.0
    slew: float = 2.0

    def __post_init__(self) -> None:
        widths = [self.efold_words, *(self.efold_words_by_seed or {}).values()]
        if not all(math.isfinite(width) and width > 0 for width in widths):
            raise UserError("efold_words must be above 0")
        if not (0 <= self.ki <= 2 and 0 <= self.kp <= 2 and self.slew > 0):
            raise UserError("needs gains ki and kp from 0 to 2 and slew above 0")

    def width(self, name: str) -> float:
        """w of seed `name`."""
        return (self.efold_words_by_seed or {}).get(name, self.efold_words)


class Controller:
    """PI on the logarithm of the rate, with the delay taken into account."""

    VERSION = "2"

    def __init__(self, config: ControllerConfig) -> None:
        self._config = config
        self._options = parse(Options, config.options, "options of log_pi")

    def initial_state(self) -> State:
        """No error so far (null: then there is no proportional step)."""
        return {"error": {seed.name: None for seed in self._config.seeds}}

    def propose(self, state: State, reading: Reading) -> tuple[State, dict[str, Proposal]]:
        """A step from the last decided threshold for every seed with a rate."""
        errors = dict(state["error"])
        proposals = {}
        for name, rate in reading.rates.items():
            config = self._config.seed(name)
            decided = reading.decided_words[name]
            error = self._error(config, rate, reading)
            before, errors[name] = errors[name], error
            if abs(error) < math.log1p(config.dead_band):
                continue
            step = self._options.ki * error + self._options.kp * (0.0 if before is None else error - before)
            step = min(max(step, -self._options.slew), self._options.slew)
            reason = f"rate {rate.rate_khz:.3f} kHz; {math.expm1(error):+.1%} from target once in force"
            proposals[name] = Proposal(decided + self._options.width(name) * step, reason)
        return {"error": errors}, proposals

    def _error(self, config: SeedConfig, rate: Rate, reading: Reading) -> float:
        """log(rate / target) as it will be with the threshold decided last; no count is half a count."""
        seed = reading.measurement.seed(config.name)
        live_s = reading.measurement.live_s
        assert seed is not None and live_s is not None
        lowest_khz = 0.5 * seed.prescale / live_s / 1000
        pending = reading.decided_words[config.name] - seed.threshold_word
        measured = math.log(max(rate.rate_khz, lowest_khz) / config.target_khz)
        return measured - pending / self._options.width(config.name)
