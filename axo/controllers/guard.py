"""The guard round every controller: what no algorithm can exceed, and what no bad record can do.

* Thresholds are integer words inside hard limits, move by a limited step, a limited number of times an
  hour, and only at lumi-section boundaries.
* A record that is repeated, late, of the wrong run or implausible moves nothing and raises an alarm; so
  do one seed's implausible counters, for that seed. Nothing moves towards a higher rate on bad data.
* A person may hold a threshold, set it, or give it back; algorithms start from the threshold that is
  there, so none of this makes a bump.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from axo.controllers.interface import (
    MAX_WORD,
    Alarm,
    Algorithm,
    ControllerConfig,
    Decision,
    Measurement,
    Proposal,
    Rate,
    Reading,
    SeedConfig,
    SeedDecision,
    SeedMeasurement,
    State,
)
from axo.errors import UserError, nearest
from axo.physics.rates import LUMI_SECTION_S, ORBIT_RATE_HZ

MODES = ("auto", "hold", "manual")

HOUR = round(3600 / LUMI_SECTION_S)
"""Lumi sections in an hour."""

MAX_GAP = 200
"""A lumi section this far ahead, or of a new run, is believed when a second record goes on from it."""

MAX_PILEUP = 250.0
"""Twice what the LHC has ever given: more is a fault of the record."""

_RESERVED = 0.25  # of the changes in an hour are kept for moves to lower rates
_FEWEST_EXPECTED = 20.0  # counts below which a zero is nothing strange
_PILEUP_POWER = 10.0  # rates of tails rise with pileup at most by about this power


class Guarded:
    """An algorithm with its guard: see `axo.controllers.interface.Controller`."""

    def __init__(self, name: str, algorithm: Algorithm, config: ControllerConfig) -> None:
        self.name = name
        self.version = algorithm.VERSION
        self.config = config
        self._algorithm = algorithm

    def initial_state(self) -> State:
        """State before the first record: initial thresholds, everything in auto."""
        return {
            "run": None,
            "lumi_section": 0,
            "effective": 0,
            "candidate": None,
            "words": {seed.name: seed.initial_word for seed in self.config.seeds},
            "history": {seed.name: [[0, seed.initial_word]] for seed in self.config.seeds},
            "changes": {seed.name: [] for seed in self.config.seeds if seed.changes_per_hour is not None},
            "modes": {seed.name: "auto" for seed in self.config.seeds},
            "last": {seed.name: None for seed in self.config.seeds},
            "refused": {seed.name: None for seed in self.config.seeds},
            "algorithm": self._algorithm.initial_state(),
        }

    def decide(self, state: State, measurement: Measurement) -> tuple[State, Decision]:
        """New state and the decision on one record; never raises on what a record says."""
        refusal = _refuse_record(state, measurement)
        if refusal is not None:
            alarm, candidate = refusal
            return {**state, "candidate": candidate}, self._hold(state, measurement, alarm)
        state, gap, alarms = self._advance(state, measurement)
        rates, last, refused, seed_alarms, faults = self._read(state, measurement)
        reading = Reading(_sane_total(measurement, seed_alarms), rates, dict(state["words"]), gap)
        algorithm_state, proposals = self._algorithm.propose(state["algorithm"], reading)
        state = {**state, "last": last, "refused": refused, "algorithm": algorithm_state}
        state, decisions = self._apply(state, rates, proposals, faults)
        return state, self._decision(state, decisions, tuple(alarms + seed_alarms))

    def override(
        self, state: State, seed: str, mode: str, threshold_word: int | None = None
    ) -> tuple[State, Decision]:
        """State and decision after a person's command (see `Controller.override`)."""
        names = [item.name for item in self.config.seeds]
        if seed not in names:
            raise UserError(f"unknown seed {seed!r}{nearest(seed, names)}")
        if mode not in MODES:
            raise UserError(f"unknown mode {mode!r}; choose {', '.join(MODES)}")
        if (mode == "manual") != (threshold_word is not None):
            raise UserError("a threshold word goes with mode manual, and only with it")
        limits = self.config.seed(seed)
        word = state["words"][seed] if threshold_word is None else threshold_word
        if not limits.min_word <= word <= limits.max_word:
            raise UserError(
                f"seed {seed}: threshold word {word} is outside its limits "
                f"{limits.min_word} to {limits.max_word}"
            )
        state = {**state, "modes": {**state["modes"], seed: mode}}
        state = {**state, "effective": max(state["effective"], self._effective(state))}
        decisions = [
            self._seed_decision(state, item, "unchanged by the command for another seed")
            for item in self.config.seeds
            if item.name != seed
        ]
        changed = self._seed_decision(state, limits, f"a person chose {mode}")
        state = _moved(state, {seed: word})
        decisions.append(replace(changed, threshold_word=word))
        return state, self._decision(state, decisions, ())

    def track(self, state: State, words: Mapping[str, int]) -> State:
        """State in which others set the thresholds (see `Controller.track`)."""
        history = {name: [[0, word]] for name, word in words.items()}
        return {
            **state,
            "words": {**state["words"], **words},
            "history": {**state["history"], **history},
        }

    def withhold(self, before: State, after: State) -> State:
        """State when a decision's thresholds are not to be used (see `Controller.withhold`)."""
        return {**after, **{key: before[key] for key in ("words", "history", "changes")}}

    def confirm(self, state: State, words: Mapping[str, int]) -> tuple[State, Decision]:
        """State and decision on thresholds that are to be used after all (see `Controller.confirm`)."""
        for name, word in words.items():
            limits = self.config.seed(name)
            if not limits.min_word <= word <= limits.max_word:
                raise UserError(f"seed {name}: threshold word {word} is outside its limits")
        state = {**state, "effective": max(state["effective"], self._effective(state))}
        reason = "a person confirmed the proposal"
        seeds = [
            self._seed_decision(state, item, reason, new_word=words.get(item.name))
            for item in self.config.seeds
        ]
        state = _moved(state, words)
        return state, self._decision(state, seeds, ())

    def reset(self, state: State) -> State:
        """The initial state, what was decided staying decided (see `Controller.reset`)."""
        return {**self.initial_state(), **{key: state[key] for key in ("run", "lumi_section", "effective")}}

    def mark_decided(self, state: State, decision: Decision) -> State:
        """State that knows of a later decision (see `Controller.mark_decided`)."""
        return {
            **state,
            "run": decision.run or None,
            "lumi_section": decision.lumi_section,
            "effective": decision.effective_lumi_section,
        }

    def _effective(self, state: State) -> int:
        return int(state["lumi_section"]) + self.config.delay_lumi_sections

    def _advance(self, state: State, measurement: Measurement) -> tuple[State, int, list[Alarm]]:
        """State at the lumi section of a believed record, its gap, and an alarm when records are missing."""
        alarms = []
        gap = measurement.lumi_section - state["lumi_section"]
        if state["run"] != measurement.run:
            state = self._new_run(state)
            gap = 1
        elif gap > 1:
            first, last = state["lumi_section"] + 1, measurement.lumi_section - 1
            alarms.append(Alarm("missing", None, f"no record of lumi sections {first} to {last}"))
        state = {
            **state,
            "run": measurement.run,
            "lumi_section": measurement.lumi_section,
            "candidate": None,
        }
        return {**state, "effective": max(state["effective"], self._effective(state))}, gap, alarms

    def _new_run(self, state: State) -> State:
        """State at the start of a run; a first run, or one that keeps nothing, starts afresh."""
        if state["run"] is None:
            return state
        if not self.config.keep_on_run_change:
            return self.initial_state()
        words = state["words"]
        return {
            **state,
            "effective": 0,
            "history": {name: [[0, word]] for name, word in words.items()},
            "changes": {name: [] for name in state["changes"]},
        }

    def _read(
        self, state: State, measurement: Measurement
    ) -> tuple[dict[str, Rate], dict[str, Any], dict[str, Any], list[Alarm], dict[str, str]]:
        """Usable rates; last and refused rates for the next time; alarms; and the faults by seed."""
        rates: dict[str, Rate] = {}
        last, refused = dict(state["last"]), dict(state["refused"])
        alarms: list[Alarm] = []
        faults: dict[str, str] = {}
        idle = self._idle(measurement)
        for config in self.config.seeds:
            name = config.name
            seed = measurement.seed(name)
            if idle or (seed is not None and seed.prescale == 0):
                continue
            fault = _fault(config, seed, measurement)
            if fault is None:
                assert seed is not None
                alarms += _mismatch(state, seed, measurement.lumi_section)
                rate = _rate(config, seed, measurement)
                fault = _jump(config, rate, measurement, last[name], refused[name])
                refused[name] = None if fault is None else [rate.rate_khz, measurement.pileup]
            if fault is not None:
                alarms.append(Alarm("implausible", name, fault))
                faults[name] = fault
                continue
            rates[name] = rate
            last[name] = [rate.rate_khz, measurement.pileup]
        return rates, last, refused, alarms, faults

    def _idle(self, measurement: Measurement) -> bool:
        """Whether a plausible record teaches nothing about rates."""
        assert measurement.live_s is not None and measurement.pileup is not None
        return measurement.live_s < self.config.min_live_s or measurement.pileup < self.config.min_pileup

    def _apply(
        self,
        state: State,
        rates: Mapping[str, Rate],
        proposals: Mapping[str, Proposal],
        faults: Mapping[str, str],
    ) -> tuple[State, list[SeedDecision]]:
        """State after the proposals within limits, and what became of each seed."""
        decisions, words = [], {}
        for config in self.config.seeds:
            name = config.name
            rate, proposal = rates.get(name), proposals.get(name)
            nothing = "no change asked for" if rate is not None else "no rate to go by"
            target_khz = None if proposal is None else proposal.target_khz
            reason, word = faults.get(name, nothing), None
            if state["modes"][name] != "auto":
                reason = f"a person chose {state['modes'][name]}"
            elif proposal is not None and name not in faults:
                word, limit = _limited(config, proposal.threshold_word, state)
                words[name], reason = word, proposal.reason + limit
            decisions.append(self._seed_decision(state, config, reason, rate, target_khz, word))
        return _moved(state, words), decisions

    def _seed_decision(
        self,
        state: State,
        config: SeedConfig,
        reason: str,
        rate: Rate | None = None,
        target_khz: float | None = None,
        new_word: int | None = None,
    ) -> SeedDecision:
        """What became of a seed: its threshold is `new_word`, or as it was."""
        word = state["words"][config.name]
        target_khz = config.target_khz if target_khz is None else target_khz
        rate_khz = None if rate is None else rate.rate_khz
        in_band = None if rate_khz is None else abs(rate_khz / target_khz - 1) <= config.band
        mode = state["modes"][config.name]
        new_word = word if new_word is None else new_word
        return SeedDecision(config.name, new_word, word, mode, reason, rate_khz, target_khz, in_band)

    def _hold(self, state: State, measurement: Measurement, alarm: Alarm) -> Decision:
        seeds = tuple(self._seed_decision(state, config, alarm.text) for config in self.config.seeds)
        return Decision(measurement.run, measurement.lumi_section, state["effective"], False, seeds, (alarm,))

    def _decision(self, state: State, seeds: list[SeedDecision], alarms: tuple[Alarm, ...]) -> Decision:
        run = 0 if state["run"] is None else state["run"]
        order = {config.name: position for position, config in enumerate(self.config.seeds)}
        seeds = sorted(seeds, key=lambda seed: order[seed.name])
        return Decision(run, state["lumi_section"], state["effective"], True, tuple(seeds), alarms)


def _refuse_record(state: State, measurement: Measurement) -> tuple[Alarm, list[int] | None] | None:
    """An alarm and the new candidate (see MAX_GAP) when a record must move nothing; None when it is good."""
    fault = _record_fault(measurement)
    if fault is not None:
        return Alarm("implausible", None, fault), state["candidate"]
    run, section = measurement.run, measurement.lumi_section
    if state["run"] is None:
        return None
    here = f"run {run} lumi section {section}"
    if run < state["run"]:
        return Alarm("run", None, f"{here} is of an older run than {state['run']}"), state["candidate"]
    gap = section - state["lumi_section"]
    if run == state["run"] and gap <= 0:
        code = "repeated" if gap == 0 else "late"
        text = f"{here} came after lumi section {state['lumi_section']} was decided"
        return Alarm(code, None, text), state["candidate"]
    if run == state["run"] and gap <= MAX_GAP:
        return None
    candidate = state["candidate"]
    if candidate is not None and candidate[0] == run and 0 < section - candidate[1] <= MAX_GAP:
        return None
    code = "run" if run != state["run"] else "jump"
    return Alarm(code, None, f"{here} is unexpected; a second such record will be believed"), [run, section]


def _record_fault(measurement: Measurement) -> str | None:
    """What is impossible in a record as a whole, or None."""
    if measurement.run <= 0 or measurement.lumi_section <= 0:
        return f"run {measurement.run} lumi section {measurement.lumi_section} cannot be"
    duration_s, live_fraction = measurement.duration_s, measurement.live_fraction
    if duration_s is None or not 0 <= duration_s <= 1.05 * LUMI_SECTION_S:
        return f"duration of {duration_s} s cannot be"
    if live_fraction is None or not 0 <= live_fraction <= 1:
        return f"live fraction of {live_fraction} cannot be"
    if measurement.pileup is None or not 0 <= measurement.pileup <= MAX_PILEUP:
        return f"pileup of {measurement.pileup} cannot be"
    bunches = measurement.colliding_bunches
    if bunches is not None and not 0 <= bunches <= 3564:
        return f"{bunches} colliding bunches cannot be"
    return None


def _fault(config: SeedConfig, seed: SeedMeasurement | None, measurement: Measurement) -> str | None:
    """What is impossible in one seed's counters, or None."""
    if seed is None:
        return "the record has no counters of this seed"
    count = seed.pure if config.pure else seed.passed
    what = "pure count" if config.pure else "count"
    if count is None:
        return f"the {what} is missing or not a number"
    if count < 0 or count != math.floor(count):
        return f"a {what} of {count:g} cannot be"
    if not (math.isfinite(seed.prescale) and seed.prescale > 0):
        return f"a prescale of {seed.prescale} cannot be"
    if not 0 <= seed.threshold_word <= MAX_WORD:
        return f"a threshold word of {seed.threshold_word} cannot be"
    if seed.passed is not None and seed.pure is not None and seed.pure > seed.passed:
        return f"{seed.pure:g} pure crossings among {seed.passed:g} that passed cannot be"
    bunches = 3564 if measurement.colliding_bunches is None else measurement.colliding_bunches
    live_s = measurement.live_s
    assert live_s is not None
    most = bunches * ORBIT_RATE_HZ * live_s
    if count * seed.prescale > most + seed.prescale:
        return f"a {what} of {count:g} is more than all {most:.4g} crossings"
    return None


def _mismatch(state: State, seed: SeedMeasurement, section: int) -> list[Alarm]:
    """An alarm when the threshold in force is none that was decided for `section`."""
    expected = [word for effective, word in state["history"][seed.name] if effective <= section][-1:]
    if not expected or seed.threshold_word == expected[0]:
        return []
    text = f"threshold word {seed.threshold_word} is in force where {expected[0]} was decided"
    return [Alarm("threshold", seed.name, text)]


def _rate(config: SeedConfig, seed: SeedMeasurement, measurement: Measurement) -> Rate:
    """The rate before prescale, with the relative error of counting (1 for a count of 0 or 1)."""
    count = seed.pure if config.pure else seed.passed
    live_s = measurement.live_s
    assert count is not None and live_s is not None
    return Rate(count * seed.prescale / live_s / 1000, 1 / math.sqrt(max(count, 1.0)))


def _jump(config: SeedConfig, rate: Rate, measurement: Measurement, last: Any, refused: Any) -> str | None:
    """Why a rate is too far from the one before to be believed at once, or None.

    A change that pileup may explain is none. A second rate like the refused one is believed, except a
    zero where there should be counts: that is a dead counter until a person says otherwise.
    """
    if last is None:
        return None
    live_s = measurement.live_s
    assert live_s is not None
    lowest_khz = 0.5 / live_s / 1000
    ratio = math.log(max(rate.rate_khz, lowest_khz) / max(last[0], lowest_khz))
    power = _PILEUP_POWER * math.log(max(measurement.pileup or 1.0, 1.0) / max(last[1] or 1.0, 1.0))
    low, high = min(0.0, power), max(0.0, power)
    expected = last[0] * 1000 * live_s * math.exp(low)
    if rate.rate_khz == 0:
        return "a count of 0 in collisions" if expected >= _FEWEST_EXPECTED else None
    if low - math.log(config.jump_limit) <= ratio <= high + math.log(config.jump_limit):
        return None
    if refused is not None and abs(math.log(rate.rate_khz / refused[0] if refused[0] else math.inf)) < 1:
        return None
    return f"a rate of {rate.rate_khz:.4g} kHz after {last[0]:.4g} kHz is a jump beyond limits"


def _sane_total(measurement: Measurement, alarms: list[Alarm]) -> Measurement:
    """The measurement, without its total when that cannot be the union of its seeds."""
    total = measurement.total_passed
    counts = [seed.passed for seed in measurement.seeds if seed.passed is not None]
    if total is None or len(counts) != len(measurement.seeds):
        return measurement
    if max(counts, default=0) <= total <= sum(counts):
        return measurement
    alarms.append(Alarm("implausible", None, f"a total of {total:g} cannot be the union of {counts}"))
    return replace(measurement, total_passed=None)


def _limited(config: SeedConfig, proposal: float, state: State) -> tuple[int, str]:
    """The proposal as a word within all limits, and a note on what limited it."""
    now = int(state["words"][config.name])
    if not math.isfinite(proposal):
        return now, " (not a number: held)"
    wanted = math.floor(min(max(proposal, -1.0), MAX_WORD + 1.0) + 0.5)
    word = min(max(wanted, config.min_word), config.max_word)
    note = "" if word == wanted else " (at its limit)"
    stepped = min(max(word, now - config.max_step_words), now + config.max_step_words)
    note = note if stepped == word else " (at its largest step)"
    if stepped == now or config.changes_per_hour is None:
        return stepped, note
    left = config.changes_per_hour - len(_recent(state, config.name))
    kept = 0 if stepped > now else math.floor(_RESERVED * config.changes_per_hour)
    return (stepped, note) if left > kept else (now, " (no change left this hour)")


def _recent(state: State, name: str) -> list[int]:
    """Lumi sections of the last hour in which the threshold of seed `name` was changed."""
    return [section for section in state["changes"][name] if section > state["lumi_section"] - HOUR]


def _moved(state: State, words: Mapping[str, int]) -> State:
    """State with new decided threshold words, by seed name, where they are new."""
    moved = {name: word for name, word in words.items() if word != state["words"][name]}
    if not moved:
        return state
    history, changes = dict(state["history"]), dict(state["changes"])
    for name, word in moved.items():
        history[name] = _continued(history[name], state["lumi_section"], state["effective"], word)
        if name in changes:
            changes[name] = [*_recent(state, name), state["lumi_section"]]
    return {**state, "words": {**state["words"], **moved}, "history": history, "changes": changes}


def _continued(history: list[list[int]], section: int, effective: int, word: int) -> list[list[int]]:
    """Pairs of a lumi section and the threshold from it on: the one in force at `section`, and later ones."""
    earlier = [item for item in history if item[0] < effective]
    in_force = [item for item in earlier if item[0] <= section][-1:]
    later = [item for item in earlier if item[0] > section]
    return [*in_force, *later, [effective, word]]
