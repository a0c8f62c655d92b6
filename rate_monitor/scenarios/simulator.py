"""A fill, lumi section by lumi section: true rates, Poisson counts, records, decisions, thresholds.

The order of events is that of the real system: lumi section k ends, its record arrives (or does not),
the controller decides, and the new threshold acts from k + delay. Every lumi section has random numbers
of its own, so that all controllers see the same luck and a run is the same for a seed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from axo.controllers import Controller, Decision, Measurement, SeedMeasurement
from axo.physics.rates import LUMI_SECTION_S

from ..fills import FillSection
from .faults import Fault
from .truth import SeedTruth


@dataclass(frozen=True)
class Condition:
    """What is true in one lumi section, and what becomes of its record.

    `factor` scales the true rate, `kept` the counts that the record has. The record arrives `late` lumi
    sections after its own end and `copies` times (0: never); `up` is whether a controller is there.
    """

    lumi_section: int
    start_time_s: float
    pileup: float
    live_fraction: float
    factor: float = 1.0
    prescale: float = 1.0
    kept: float = 1.0
    late: int = 0
    copies: int = 1
    up: bool = True


@dataclass(frozen=True)
class Scenario:
    """One seed through one run: its truth, and the conditions by lumi section."""

    run: int
    seed_name: str
    truth: SeedTruth
    conditions: tuple[Condition, ...]

    @classmethod
    def of_fill(
        cls, sections: Sequence[FillSection], truth: SeedTruth, seed_name: str, faults: Sequence[Fault] = ()
    ) -> Scenario:
        """The scenario of a fill, with faults."""
        conditions = {
            s.lumi_section: Condition(s.lumi_section, s.start_time_s, s.pileup, s.live_fraction)
            for s in sections
        }
        for fault in faults:
            for section in [section for section in conditions if section >= fault.at]:
                conditions[section] = _with(fault, conditions[section])
        return cls(sections[0].run, seed_name, truth, tuple(conditions.values()))


def _with(fault: Fault, condition: Condition) -> Condition:
    """A condition at or after the start of `fault`, with the fault in it."""
    age = condition.lumi_section - fault.at
    if fault.kind == "drift":
        factor = fault.amount ** min((age + 1) / fault.sections, 1.0)
        return dataclasses.replace(condition, factor=condition.factor * factor)
    if age >= fault.sections:
        return condition
    changes: dict[str, dict[str, float | int | bool]] = {
        "hot_tower": {"factor": condition.factor * fault.amount},
        "dead_region": {"factor": condition.factor * fault.amount},
        "missing": {"copies": 0},
        "late": {"late": int(fault.amount)},
        "repeated": {"copies": 2},
        "out_of_order": {"late": 1},
        "counter_reset": {"kept": fault.amount},
        "prescale": {"prescale": fault.amount},
        "zero_rate": {"kept": 0.0},
        "beam_dump": {"pileup": 0.0, "live_fraction": 0.0},
        "controller_stop": {"up": False},
    }
    return dataclasses.replace(condition, **changes[fault.kind])  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Trace:
    """What happened, by lumi section (n,): thresholds in force, true rates before prescale in kHz, what
    was decided (`changed`: a new threshold), alarm codes, and seconds that each decision took."""

    name: str
    lumi_section: NDArray[np.int64]
    pileup: NDArray[np.float64]
    word: NDArray[np.int64]
    rate_khz: NDArray[np.float64]
    changed: NDArray[np.bool_]
    alarms: tuple[tuple[str, ...], ...]
    decision_s: NDArray[np.float64]


class Player(Protocol):
    """What a scenario is played by: a controller or an oracle."""

    name: str

    def start(self) -> int:
        """The threshold in force when the fill begins."""

    def records(self, section: int, records: Sequence[Measurement]) -> list[Decision]:
        """Decisions on the records that arrived at the end of lumi section `section`."""


class ControllerPlayer:
    """Plays a controller of one seed, through JSON-able states."""

    def __init__(self, controller: Controller) -> None:
        self.name = controller.name
        self._controller = controller
        self._state = controller.initial_state()

    def start(self) -> int:
        """The configured initial threshold."""
        return self._controller.config.seeds[0].initial_word

    def records(self, section: int, records: Sequence[Measurement]) -> list[Decision]:
        """One decision a record."""
        decisions = []
        for record in records:
            self._state, decision = self._controller.decide(self._state, record)
            decisions.append(decision)
        return decisions


def simulate(scenario: Scenario, player: Player, seed: int = 0) -> Trace:
    """Play `scenario` with random numbers from `seed`."""
    in_force = player.start()
    scheduled: list[tuple[int, int]] = []
    arrivals: dict[int, list[Measurement]] = {}
    words, rates, changed, alarms, decision_s = [], [], [], [], []
    for position, condition in enumerate(scenario.conditions):
        section = condition.lumi_section
        for effective, word in scheduled:
            in_force = word if effective <= section else in_force
        scheduled = [item for item in scheduled if item[0] > section]
        words.append(in_force)
        rates.append(scenario.truth.rate_khz(in_force, condition.pileup, condition.factor))
        record = _record(scenario, condition, in_force, seed)
        for _ in range(condition.copies):
            arrivals.setdefault(position + condition.late, []).append(record)
        # The newest first: a late record comes after the one it should have preceded.
        arrived = sorted(arrivals.pop(position, []), key=lambda item: -item.lumi_section)
        started = time.perf_counter()
        decisions = player.records(section, arrived) if condition.up else []
        decision_s.append(time.perf_counter() - started)
        for decision in decisions:
            if decision.accepted:
                scheduled.append((max(decision.effective_lumi_section, section + 1), _word(decision)))
        changed.append(any(item.threshold_word != item.previous_word for d in decisions for item in d.seeds))
        alarms.append(tuple(alarm.code for d in decisions for alarm in d.alarms))
    return Trace(
        player.name,
        np.array([c.lumi_section for c in scenario.conditions]),
        np.array([c.pileup for c in scenario.conditions]),
        np.array(words),
        np.array(rates),
        np.array(changed),
        tuple(alarms),
        np.array(decision_s),
    )


def _word(decision: Decision) -> int:
    return decision.seeds[0].threshold_word


def _record(scenario: Scenario, condition: Condition, word: int, seed: int) -> Measurement:
    """The record of a lumi section, drawn from the true rate with random numbers of its own."""
    rng = np.random.Generator(np.random.Philox(key=[seed, condition.lumi_section]))
    truth = scenario.truth
    live_s = condition.live_fraction * LUMI_SECTION_S
    prescale = condition.prescale
    histogram = truth.draw(rng, word, condition.pileup, condition.factor, live_s, prescale)
    if condition.kept < 1:
        counts = rng.binomial(histogram.counts, condition.kept)
        histogram = dataclasses.replace(histogram, counts=tuple(counts.tolist()))
    counters = SeedMeasurement(
        scenario.seed_name, word, float(sum(histogram.counts)), prescale, None, histogram
    )
    return Measurement(
        scenario.run,
        condition.lumi_section,
        condition.pileup,
        truth.bunches,
        (counters,),
        condition.start_time_s,
        LUMI_SECTION_S,
        condition.live_fraction,
        counters.passed,
    )
