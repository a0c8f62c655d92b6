"""The published controller of the self-driving trigger, as the peer to be measured against.

S. Emami et al., "Towards a Self-Driving Trigger at the LHC: Adaptive Response in Real Time"
(arXiv:2601.08910), section 5: after each interval, with r the accepted fraction in per cent and the
error e = r - r_target,

    threshold <- threshold + K_p e + K_d (e - e_previous).

Published gains: K_p = 30, K_d = 5 (H_T in GeV) and K_p = 15, K_d = 0 (anomaly score), for r_target =
0.25 per cent. Scores have other units here, so e is relative to the target and gains are in words: K_p =
15 of the paper moves its score by 3.75 units for a rate of twice the target. It knows of no delay, of
no pileup and of no limits (the guard does); gains and error are linear in the rate, as published.
"""

from __future__ import annotations

from dataclasses import dataclass

from axo.config import parse
from axo.controllers.interface import ControllerConfig, Proposal, Reading, State


@dataclass(frozen=True)
class Options:
    """Gains in words for a rate of twice the target (`kp_words`), and for that change of it (`kd_words`).

    The default suits axo_v3 at 1 kHz, whose rate falls by e in about 2000 words.
    """

    kp_words: float = 600.0
    kd_words: float = 0.0


class Controller:
    """Proportional and derivative steps on the relative error of the rate."""

    VERSION = "2"

    def __init__(self, config: ControllerConfig) -> None:
        self._config = config
        self._options = parse(Options, config.options, "options of pd")

    def initial_state(self) -> State:
        """No error so far: the first derivative is that of an error of 0, as published."""
        return {"error": {seed.name: 0.0 for seed in self._config.seeds}}

    def propose(self, state: State, reading: Reading) -> tuple[State, dict[str, Proposal]]:
        """A step from the last decided threshold for every seed with a rate."""
        errors = dict(state["error"])
        proposals = {}
        for name, rate in reading.rates.items():
            target_khz = self._config.seed(name).target_khz
            error = rate.rate_khz / target_khz - 1
            step = self._options.kp_words * error + self._options.kd_words * (error - errors[name])
            errors[name] = error
            reason = f"rate {rate.rate_khz:.3f} kHz is {error:+.1%} from target"
            proposals[name] = Proposal(reading.decided_words[name] + step, reason)
        return {"error": errors}, proposals
