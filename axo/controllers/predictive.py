"""Inverts the score histogram at the pileup to come, corrected by the measured rates.

For each seed a `RateModel` (see `_rate_model`) gives the rate as a function of threshold and pileup; the
threshold decided is the one whose rate at the pileup expected when it acts is the target. After a
downward jump that no second lumi section has confirmed, thresholds only rise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from axo.config import parse
from axo.controllers._pileup import expected_pileup, initial_pileup, observe_pileup
from axo.controllers._rate_model import RateModel
from axo.controllers.interface import (
    ControllerConfig,
    Proposal,
    Reading,
    SeedConfig,
    SeedMeasurement,
    State,
)
from axo.errors import UserError
from axo.pileup_model import PileupModel, TailFit
from axo.rates import DEFAULT_BUNCHES


@dataclass(frozen=True)
class Options:
    """`models`: the fitted tail of each seed's score in zero bias, by seed name (see axo.pileup_model).

    Lumi sections of less pileup than `pileup_floor` move no threshold: beams are apart, or come back.
    """

    models: dict[str, TailFit]
    pileup_floor: float = 20.0


class Controller:
    """Model-based control of every seed by itself."""

    VERSION = "1"

    def __init__(self, config: ControllerConfig) -> None:
        self._config = config
        self._options = parse(Options, config.options, "options of predictive")
        self._models = rate_models(config, self._options.models)

    def initial_state(self) -> State:
        """No lumi section seen, no correction learnt."""
        return {
            "pileup": initial_pileup(),
            "bunches": DEFAULT_BUNCHES,
            "seeds": {name: model.initial_state() for name, model in self._models.items()},
        }

    def propose(self, state: State, reading: Reading) -> tuple[State, dict[str, Proposal]]:
        """A threshold for every seed at the pileup to come, whether its rate was usable or not."""
        state = observe(state, reading, self._options.pileup_floor)
        coming = expected_pileup(state["pileup"])
        seeds = dict(state["seeds"])
        proposals = {}
        for config in self._config.seeds:
            model = self._models[config.name]
            seeds[config.name], note = learn(model, seeds[config.name], config, reading, state["bunches"])
            proposal = aim(
                model,
                seeds[config.name],
                config.target_khz,
                config.dead_band,
                coming,
                reading.decided_words[config.name],
                state["bunches"],
            )
            if proposal is not None:
                proposals[config.name] = Proposal(proposal.threshold_word, note + proposal.reason)
        return {**state, "seeds": seeds}, proposals


def rate_models(config: ControllerConfig, fits: dict[str, TailFit]) -> dict[str, RateModel]:
    """A RateModel for every seed; UserError when one has no fit."""
    for seed in config.seeds:
        if seed.name not in fits:
            raise UserError(f"options: models has none for seed {seed.name}")
    return {seed.name: RateModel(PileupModel(fits[seed.name]), seed.target_khz) for seed in config.seeds}


def observe(state: State, reading: Reading, floor: float) -> State:
    """State with the lumi section's pileup remembered, and its bunches when they are known."""
    measurement = reading.measurement
    assert measurement.pileup is not None
    bunches = measurement.colliding_bunches or state["bunches"]
    pileup = observe_pileup(state["pileup"], measurement.pileup, floor)
    return {**state, "pileup": pileup, "bunches": bunches}


def learn(
    model: RateModel, seed_state: Any, config: SeedConfig, reading: Reading, bunches: int
) -> tuple[Any, str]:
    """The seed's state after its rate and histogram, when usable; and a note for people."""
    rate = reading.rates.get(config.name)
    pileup = reading.measurement.pileup
    seed = reading.measurement.seed(config.name)
    if rate is None or rate.rate_khz == 0:
        return seed_state, "no rate to go by; "
    assert seed is not None and pileup is not None
    curve = model.curve(seed_state, pileup)
    expected = model.log_rate(seed_state, curve, seed.threshold_word, pileup, bunches)
    log_ratio = math.log(rate.rate_khz) - expected
    seed_state, outcome = model.learn_rate(seed_state, log_ratio, rate.relative_error, pileup)
    if outcome != "suspect":
        seed_state = _learn_shape(model, seed_state, seed, pileup)
    note = f"rate {rate.rate_khz:.3f} kHz, {math.expm1(log_ratio):+.1%} from model"
    words = {"followed": "; ", "jump": " (a jump: followed); ", "suspect": " (a jump: to be confirmed); "}
    return seed_state, note + words[outcome]


def _learn_shape(model: RateModel, seed_state: Any, seed: SeedMeasurement, pileup: float) -> Any:
    if seed.histogram is None:
        return seed_state
    return model.learn_shape(seed_state, seed.histogram, pileup)


def aim(
    model: RateModel,
    seed_state: Any,
    target_khz: float,
    dead_band: float,
    pileup: float | None,
    decided_word: int,
    bunches: int,
) -> Proposal | None:
    """The threshold for `target_khz` at `pileup`; None when that is not known, when the decided threshold
    is within the dead band, or when it would have to fall on a jump that is not confirmed."""
    if pileup is None:
        return None
    curve = model.curve(seed_state, pileup)
    now = model.log_rate(seed_state, curve, decided_word, pileup, bunches)
    if abs(now - math.log(target_khz)) < math.log1p(dead_band):
        return None
    word = model.word(seed_state, curve, math.log(target_khz), pileup, bunches)
    if seed_state["suspect"] is not None and word < decided_word:
        return None
    return Proposal(word, f"for pileup {pileup:.1f}")
