"""What controllers are given and what they give: plain frozen values, exact through JSON.

A controller is a pure function of its state and one lumi-section measurement: no clock, no I/O, no
random numbers. ``make_controller(name, config)`` gives it with the guard of `axo.controllers.guard`
around it; only guarded controllers decide. Its state is a JSON value (mappings with text keys,
lists, texts, booleans, integers and finite floats): ``state_from_json(state_to_json(state)) ==
state`` exactly, and a controller resumed from it takes the same decisions to the bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from axo.config import parse
from axo.errors import UserError
from axo.physics.rates import LUMI_SECTION_S

State = Mapping[str, Any]
"""A JSON value, never changed in place."""

MAX_WORD = 2**18 - 1
"""The largest score word, and so the largest threshold word."""


@dataclass(frozen=True)
class ScoreCounts:
    """How many crossings of the lumi section had which score word.

    Bin i holds words ``words[i]`` to ``words[i + 1] - 1``, the last one all from ``words[-1]`` up;
    crossings below ``words[0]`` are not counted. `counts` are of the fraction `sampled` (0 to 1) of the
    crossings that were live.
    """

    words: tuple[int, ...]
    counts: tuple[int, ...]
    sampled: float = 1.0


@dataclass(frozen=True)
class SeedMeasurement:
    """One seed's counters over one lumi section; None is not known (so is NaN or infinity, when given).

    `threshold_word` and `prescale` were in force. `passed` counts crossings while live that fired the
    seed after its prescale; `pure` those of them in which no other unprescaled seed of the menu fired.
    """

    name: str
    threshold_word: int
    passed: float | None
    prescale: float = 1.0
    pure: float | None = None
    histogram: ScoreCounts | None = None

    def __post_init__(self) -> None:
        _drop_not_finite(self, "passed", "pure")


@dataclass(frozen=True)
class Measurement:
    """One lumi section as recorded; None is not known (so is NaN or infinity, when given).

    `start_time_s` (Unix seconds) is carried for people and never decides. `duration_s` is how much of
    the lumi section the counters cover, `live_fraction` how much of that was without deadtime.
    `pileup` is the mean number of interactions a crossing, `total_passed` the crossings that fired any
    of `seeds` (after prescales): events, where the seeds' own counts overlap.
    """

    run: int
    lumi_section: int
    pileup: float | None
    colliding_bunches: int | None
    seeds: tuple[SeedMeasurement, ...]
    start_time_s: float | None = None
    duration_s: float | None = LUMI_SECTION_S
    live_fraction: float | None = 1.0
    total_passed: float | None = None

    def __post_init__(self) -> None:
        _drop_not_finite(self, "pileup", "start_time_s", "duration_s", "live_fraction", "total_passed")

    def seed(self, name: str) -> SeedMeasurement | None:
        """The counters of seed `name`, or None when the record has none."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, SeedMeasurement]:
        return {seed.name: seed for seed in reversed(self.seeds)}

    @property
    def live_s(self) -> float | None:
        """Live seconds, or None when not known."""
        if self.duration_s is None or self.live_fraction is None:
            return None
        return self.duration_s * self.live_fraction


@dataclass(frozen=True)
class SeedConfig:
    """What one seed is held at, and the limits that no controller exceeds.

    The target is of the rate before prescales, so that a prescale change moves no threshold: of the
    seed's own rate, or with `pure` of its pure rate. Words are integers; steps are between consecutive
    decisions. `changes_per_hour` None means a change is allowed at every lumi section. The `band` is
    relative (0.1: within 10 %); rates in the narrower `dead_band` leave the threshold alone.
    """

    name: str
    target_khz: float
    initial_word: int
    pure: bool = False
    min_word: int = 0
    max_word: int = MAX_WORD
    max_step_words: int = MAX_WORD
    changes_per_hour: int | None = None
    band: float = 0.1
    dead_band: float = 0.0
    jump_limit: float = 30.0

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise UserError(f"seed {self.name}: {problem}")

    def _problem(self) -> str | None:
        if not self.name:
            return "needs a name"
        if not (math.isfinite(self.target_khz) and self.target_khz > 0):
            return f"target_khz must be above 0, not {self.target_khz}"
        if not 0 <= self.min_word <= self.max_word <= MAX_WORD:
            return f"needs 0 <= min_word <= max_word <= {MAX_WORD}"
        if not self.min_word <= self.initial_word <= self.max_word:
            return f"initial_word {self.initial_word} is outside {self.min_word} to {self.max_word}"
        if self.max_step_words < 1:
            return "max_step_words must be at least 1"
        if self.changes_per_hour is not None and self.changes_per_hour < 1:
            return "changes_per_hour must be at least 1 (leave it out for no limit)"
        if not 0 <= self.dead_band <= self.band < 1:
            return "needs 0 <= dead_band <= band < 1"
        if not self.jump_limit > 1:
            return "jump_limit must be above 1"
        return None


@dataclass(frozen=True)
class ControllerConfig:
    """All that decides how a controller behaves.

    A decision on lumi section k acts from k + `delay_lumi_sections` (2: the next but one). On a new run
    thresholds start at the `initial_word` of each seed unless `keep_on_run_change`. A lumi section with
    fewer live seconds than `min_live_s`, or less pileup than `min_pileup`, gives no rate.
    `options` are the controller's own (its module says which).
    """

    seeds: tuple[SeedConfig, ...]
    delay_lumi_sections: int = 2
    keep_on_run_change: bool = True
    min_live_s: float = 1.0
    min_pileup: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [seed.name for seed in self.seeds]
        if not names:
            raise UserError("at least one seed is needed")
        if len(set(names)) != len(names):
            raise UserError("two seeds have the same name")
        if self.delay_lumi_sections < 1:
            raise UserError("delay_lumi_sections must be at least 1")
        if not (self.min_live_s > 0 and self.min_pileup >= 0):
            raise UserError("min_live_s must be above 0 and min_pileup not negative")

    def seed(self, name: str) -> SeedConfig:
        """The configuration of seed `name`; KeyError for an unknown one."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, SeedConfig]:
        return {seed.name: seed for seed in self.seeds}


@dataclass(frozen=True)
class Alarm:
    """Something a person must know: a `code` for machines, the seed (or None: the record), one line."""

    code: str
    seed: str | None
    text: str


@dataclass(frozen=True)
class SeedDecision:
    """One seed after one lumi section: rates as measured (None: not usable), and the threshold decided.

    `mode` is ``auto``, ``hold`` (a person froze it) or ``manual`` (a person set it).
    `rate_khz` is before prescale (the pure rate where the target is one).
    """

    name: str
    threshold_word: int
    previous_word: int
    mode: str
    reason: str
    rate_khz: float | None
    target_khz: float
    in_band: bool | None


@dataclass(frozen=True)
class Decision:
    """Thresholds that act from `effective_lumi_section` of `run` on, with reasons and alarms.

    `accepted` is False when the record was refused (wrong run, repeated, late, implausible): then no
    threshold moves, and `effective_lumi_section` is that of the decision before (0: there was none).
    """

    run: int
    lumi_section: int
    effective_lumi_section: int
    accepted: bool
    seeds: tuple[SeedDecision, ...]
    alarms: tuple[Alarm, ...] = ()

    @property
    def threshold_words(self) -> dict[str, int]:
        """Threshold word by seed name."""
        return {seed.name: seed.threshold_word for seed in self.seeds}


@dataclass(frozen=True)
class Rate:
    """A usable rate of one seed: kHz before prescale, and the relative standard error of counting."""

    rate_khz: float
    relative_error: float


@dataclass(frozen=True)
class Proposal:
    """Where a controller wants a threshold (any number: the guard rounds and limits it), and why.

    `target_khz` is the rate it is meant to give, where that is not the configured target.
    """

    threshold_word: float
    reason: str
    target_khz: float | None = None


@dataclass(frozen=True)
class Reading:
    """A measurement that the guard found plausible, with what a controller needs beside it.

    `rates` has the seeds whose rate can be used (others may be off, idle or faulty). `decided_words` are
    the last decided thresholds of all seeds; those of `measurement` may be older, by the delay. `gap` is
    the number of lumi sections since the last reading (1: none is missing).
    """

    measurement: Measurement
    rates: Mapping[str, Rate]
    decided_words: Mapping[str, int]
    gap: int


class Algorithm(Protocol):
    """A controller proper, without its guard; one module each, as the class ``Controller(config)``.

    `__init__` raises UserError for options that are unknown or wrong.
    """

    VERSION: str

    def __init__(self, config: ControllerConfig) -> None: ...

    def initial_state(self) -> State:
        """State before the first lumi section of a run."""

    def propose(self, state: State, reading: Reading) -> tuple[State, dict[str, Proposal]]:
        """New state, and proposals for some or all seeds (others, and faulty ones, stay as they are)."""


class Controller(Protocol):
    """What services and simulations use: an algorithm with its guard (see `make_controller`)."""

    name: str
    version: str
    config: ControllerConfig

    def initial_state(self) -> State:
        """State before the first record."""

    def decide(self, state: State, measurement: Measurement) -> tuple[State, Decision]:
        """New state and the decision on one record. Never raises on what a record says."""

    def override(
        self, state: State, seed: str, mode: str, threshold_word: int | None = None
    ) -> tuple[State, Decision]:
        """State and decision after a person's command: ``hold``, ``manual`` (with a word) or ``auto``.

        The decision is on the last lumi section seen, and replaces any that acts from the same one.
        Raises UserError for an unknown seed or mode, or a word outside the seed's limits.
        """

    def track(self, state: State, words: Mapping[str, int]) -> State:
        """State in which `words` are the thresholds, by seed name: others set them, and they are in force."""

    def withhold(self, before: State, after: State) -> State:
        """`after`, the state that a decision gave in `before`, when its thresholds are not to be used."""

    def confirm(self, state: State, words: Mapping[str, int]) -> tuple[State, Decision]:
        """State and decision when a person lets thresholds `words` be used after all; modes stay."""

    def reset(self, state: State) -> State:
        """The initial state, but for what has been decided in `state`: that stays decided."""

    def mark_decided(self, state: State, decision: Decision) -> State:
        """State in which the lumi section of `decision`, an accepted one, is decided too."""


def state_to_json(state: State) -> str:
    """One line of JSON, with sorted keys: equal states give equal texts."""
    return json.dumps(state, sort_keys=True, allow_nan=False, separators=(",", ":"))


def state_from_json(text: str) -> State:
    """The state that `state_to_json` wrote, exactly. ValueError when `text` is not one."""
    state = json.loads(text)
    if not isinstance(state, dict):
        raise ValueError("a controller state must be a JSON object")
    return state


def measurement_from_json(mapping: Any, place: str = "record") -> Measurement:
    """The measurement in a JSON object; UserError, headed by `place`, names the key of a fault."""
    return parse(Measurement, mapping, place)


def decision_from_json(mapping: Any, place: str = "decision") -> Decision:
    """The decision in a JSON object; UserError, headed by `place`, names the key of a fault."""
    return parse(Decision, mapping, place)


def config_from_json(mapping: Any, place: str = "configuration") -> ControllerConfig:
    """The configuration in a JSON (or YAML) object; UserError, headed by `place`, names a faulty key."""
    return parse(ControllerConfig, mapping, place)


def _drop_not_finite(value: Any, *names: str) -> None:
    for name in names:
        number = getattr(value, name)
        if number is not None and not math.isfinite(number):
            object.__setattr__(value, name, None)
