"""What the model-based controllers share: learn from a lumi section, aim thresholds at rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from axo.controllers._pileup import expected_pileup, initial_pileup, observe_pileup
from axo.controllers._rate_model import Learnt, RateModels
from axo.controllers.interface import ControllerConfig, Proposal, Reading, State
from axo.errors import UserError
from axo.physics.pileup_model import PileupModel, TailFit
from axo.physics.rates import DEFAULT_BUNCHES

_WORDS = {"followed": "", "jump": " (a jump: followed)", "suspect": " (a jump: to be confirmed)"}


@dataclass(frozen=True)
class Lesson:
    """What is known after a lumi section, and a note for people on each seed."""

    learnt: Learnt
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
        """No lumi section seen, no correction learnt."""
        return {
            "pileup": initial_pileup(),
            "bunches": DEFAULT_BUNCHES,
            "models": Learnt.nothing(len(self._seeds)).state(),
        }

    def learn(self, state: State, reading: Reading) -> tuple[State, Lesson]:
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
        learnt = Learnt.of(state["models"])
        if not any(rates):
            return state, Lesson(learnt, ["no rate to go by; "] * len(rates))
        words = [by_name[seed.name].threshold_word if seed.name in by_name else 0 for seed in self._seeds]
        curves = self._models.curves(learnt, pileup)
        expected = self._models.log_rates(
            learnt, curves, np.array(words, np.float64), pileup, state["bunches"]
        ).tolist()
        ratios = [
            None if rate is None else math.log(rate.rate_khz) - log_rate
            for rate, log_rate in zip(rates, expected, strict=True)
        ]
        errors = [1.0 if rate is None else rate.relative_error for rate in rates]
        learnt, outcomes = self._models.learn_rates(learnt, ratios, errors, pileup)
        histograms = [
            by_name[seed.name].histogram if outcome in ("followed", "jump") else None
            for seed, outcome in zip(self._seeds, outcomes, strict=True)
        ]
        learnt = self._models.learn_shapes(learnt, histograms, pileup)
        notes = [
            "no rate to go by; "
            if rate is None or ratio is None or outcome is None
            else f"rate {rate.rate_khz:.3f} kHz, {math.expm1(ratio):+.1%} from model{_WORDS[outcome]}; "
            for rate, ratio, outcome in zip(rates, ratios, outcomes, strict=True)
        ]
        return {**state, "models": learnt.state()}, Lesson(learnt, notes)

    def aim(
        self, state: State, reading: Reading, targets_khz: Sequence[float], lesson: Lesson
    ) -> dict[str, Proposal]:
        """Thresholds that give `targets_khz` at the pileup to come. None for a seed whose decided
        threshold gives a rate within the dead band, or would have to fall on a jump not confirmed."""
        pileup = expected_pileup(state["pileup"])
        if pileup is None:
            return {}
        learnt = lesson.learnt
        decided = np.array([reading.decided_words[seed.name] for seed in self._seeds], np.float64)
        targets = np.log(np.array(targets_khz))
        curves = self._models.curves(learnt, pileup)
        now = self._models.log_rates(learnt, curves, decided, pileup, state["bunches"]).tolist()
        words = self._models.words_at(learnt, curves, targets, pileup, state["bunches"]).tolist()
        goals = targets.tolist()
        proposals = {}
        for row, seed in enumerate(self._seeds):
            if abs(now[row] - goals[row]) < math.log1p(seed.dead_band):
                continue
            if learnt.suspect[row] is not None and words[row] < decided[row]:
                continue
            reason = f"{lesson.notes[row]}{targets_khz[row]:.3f} kHz at pileup {pileup:.1f}"
            proposals[seed.name] = Proposal(words[row], reason, targets_khz[row])
        return proposals
