"""What the model-based controllers share: estimate from a lumi section, aim thresholds at rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from axo.controllers._pileup import expected_pileup, initial_pileup, observe_pileup
from axo.controllers._rate_model import Estimate, RateModels
from axo.controllers.interface import ControllerConfig, Proposal, Reading, State
from axo.errors import UserError
from axo.physics.pileup_model import PileupModel, TailFit
from axo.physics.rates import DEFAULT_BUNCHES

_WORDS = {"accepted": "", "jump": " (a jump: followed)", "suspect": " (a jump: to be confirmed)"}


@dataclass(frozen=True)
class Update:
    """What is known after a lumi section, and a note for people on each seed."""

    estimate: Estimate
    notes: list[str]


class Steering:
    """Rate models of all seeds of `config`, and the pileup to come; pure functions of a state."""

    def __init__(self, config: ControllerConfig, fits: Mapping[str, TailFit], pileup_floor: float) -> None:
        """UserError when a seed has no fit."""
        for seed in config.seeds:
            if seed.name not in fits:
                raise UserError(f"options: models has none for seed {seed.name}")
        models = {fit: PileupModel(fit) for fit in set(fits.values())}
        self._seeds = config.seeds
        self._floor = pileup_floor
        self._models = RateModels(
            [models[fits[seed.name]] for seed in config.seeds], [seed.target_khz for seed in config.seeds]
        )

    def initial_state(self) -> State:
        """No lumi section seen, no correction estimated."""
        return {
            "pileup": initial_pileup(),
            "bunches": DEFAULT_BUNCHES,
            "models": Estimate.prior(len(self._seeds)).state(),
        }

    def observe(self, state: State, reading: Reading) -> tuple[State, Update]:
        """State after a lumi section (pileup, rates and histograms), and what `aim` needs of it."""
        measurement = reading.measurement
        assert measurement.pileup is not None
        pileup = measurement.pileup
        state = {
            **state,
            "pileup": observe_pileup(state["pileup"], pileup, self._floor),
            "bunches": measurement.colliding_bunches or state["bunches"],
        }
        by_name = {seed.name: seed for seed in measurement.seeds}
        rates = [reading.rates.get(seed.name) for seed in self._seeds]
        rates = [rate if rate is not None and rate.rate_khz > 0 else None for rate in rates]
        estimate = Estimate.of(state["models"])
        if not any(rates):
            return state, Update(estimate, ["no rate to go by; "] * len(rates))
        words = [by_name[seed.name].threshold_word if seed.name in by_name else 0 for seed in self._seeds]
        curves = self._models.curves(estimate, pileup)
        expected = self._models.log_rates(
            estimate, curves, np.array(words, np.float64), pileup, state["bunches"]
        ).tolist()
        ratios = [
            None if rate is None else math.log(rate.rate_khz) - log_rate
            for rate, log_rate in zip(rates, expected, strict=True)
        ]
        errors = [1.0 if rate is None else rate.relative_error for rate in rates]
        estimate, outcomes = self._models.update_levels(estimate, ratios, errors, pileup)
        histograms = [
            by_name[seed.name].histogram if outcome in ("accepted", "jump") else None
            for seed, outcome in zip(self._seeds, outcomes, strict=True)
        ]
        estimate = self._models.update_shapes(estimate, histograms, pileup)
        notes = [
            "no rate to go by; "
            if rate is None or ratio is None or outcome is None
            else f"rate {rate.rate_khz:.3f} kHz, {math.expm1(ratio):+.1%} from model{_WORDS[outcome]}; "
            for rate, ratio, outcome in zip(rates, ratios, outcomes, strict=True)
        ]
        return {**state, "models": estimate.state()}, Update(estimate, notes)

    def aim(
        self, state: State, reading: Reading, targets_khz: Sequence[float], update: Update
    ) -> dict[str, Proposal]:
        """Thresholds that give `targets_khz` at the pileup to come. None for a seed whose decided
        threshold gives a rate within the dead band, or would have to fall on a jump not confirmed."""
        pileup = expected_pileup(state["pileup"])
        if pileup is None:
            return {}
        estimate = update.estimate
        decided = np.array([reading.decided_words[seed.name] for seed in self._seeds], np.float64)
        targets = np.log(np.array(targets_khz))
        curves = self._models.curves(estimate, pileup)
        now = self._models.log_rates(estimate, curves, decided, pileup, state["bunches"]).tolist()
        words = self._models.words_at(estimate, curves, targets, pileup, state["bunches"]).tolist()
        goals = targets.tolist()
        proposals = {}
        for row, seed in enumerate(self._seeds):
            if abs(now[row] - goals[row]) < math.log1p(seed.dead_band):
                continue
            if estimate.suspect[row] is not None and words[row] < decided[row]:
                continue
            reason = f"{update.notes[row]}{targets_khz[row]:.3f} kHz at pileup {pileup:.1f}"
            proposals[seed.name] = Proposal(words[row], reason, targets_khz[row])
        return proposals
