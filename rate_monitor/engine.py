"""What the service decides: a pure function of its state and what came in, so a journal can be re-run.

`Engine.step` takes one entry's kind and input (as journalled) and gives the state after it and the output.
It knows no clock, no file and no network; the service around it only carries things to and fro.

Kinds of entries and their inputs:
  ``start``         JSON of the Settings
  ``record``        a line that was read as a lumi-section record (as it came)
  ``fault``         JSON: ``place``, ``fault`` and the beginning of a line that was none
  ``override``      JSON: ``mode`` (hold, manual, auto), ``seed`` (or null: all), ``threshold_word``, ``by``,
                    ``comment``
  ``confirmation``  JSON: ``proposal`` (its id), ``accept`` (true or false), ``by``, ``comment``
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from axo import __version__
from axo.config import to_plain
from axo.controllers import ControllerConfig, Decision, Measurement, decision_from_json, make_controller
from axo.errors import UserError

from .records import read_record

APPLY, CONFIRM, DRY_RUN = "apply", "confirm", "dry-run"
MODES = (APPLY, CONFIRM, DRY_RUN)

OUT_OF_BAND_AFTER = 3
"""Lumi sections in a row outside the band, with the pileup below, before it is an alarm."""

BAND_PILEUP = 20.0
"""Least pileup at which being out of band is an alarm: below, fills begin and end, and are scanned."""


@dataclass(frozen=True)
class Settings:
    """All that shapes decisions: journalled at every start, and whenever it changes the state begins anew.

    `mode` is apply, confirm or dry-run; `network` the digest of the network whose scores are cut on
    (or empty); `versions` those of axo and of the controller.
    """

    controller: str
    control: ControllerConfig
    mode: str
    network: str
    versions: tuple[str, str]

    @classmethod
    def of(cls, controller: str, control: ControllerConfig, mode: str, network: str) -> Settings:
        """Settings with the versions that are installed. UserError for an unknown controller or mode."""
        if mode not in MODES:
            raise UserError(f"mode {mode!r}: choose {', '.join(MODES)}")
        return cls(
            controller, control, mode, network, (__version__, make_controller(controller, control).version)
        )


@dataclass(frozen=True)
class Step:
    """What one entry gives. `state` and `output` are JSON values.

    `output` has ``publish`` (thresholds go to the sink), ``thresholds`` (run, lumi_section,
    effective_lumi_section, threshold_words) or null, ``decision`` (see
    `axo.controllers.interface.Decision`) or null, ``measured`` (rates as people read them) or null,
    ``proposal`` (id and threshold words awaiting confirmation) or null, and ``alarms``. `decided` is the
    (run, lumi section) that this entry decides, if any.
    """

    state: dict[str, Any]
    output: dict[str, Any]
    decided: tuple[int, int] | None = None


class Engine:
    """Steps under given settings; `settings` change only by a ``start``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._controller = make_controller(settings.controller, settings.control)

    def step(self, state: dict[str, Any] | None, kind: str, text: str) -> Step:
        """The step for an entry of `kind` with input `text`, in `state` (None only before a start).

        Raises UserError for a record that cannot be read and a command that cannot be obeyed: these
        leave no entry.
        """
        if kind == "start":
            return self._start(state)
        assert state is not None
        if kind == "record":
            return self._record(state, text)
        if kind == "fault":
            return self._fault(state, json.loads(text))
        if kind == "override":
            return self._override(state, json.loads(text))
        return self._confirmation(state, json.loads(text))

    def carry_over(self, state: dict[str, Any], outputs: list[dict[str, Any]]) -> dict[str, Any]:
        """`state` with what later journalled `outputs` say was decided and published, for a start under
        other settings: nothing else of it outlives one."""
        controller, published = state["controller"], state["out"]
        for output in outputs:
            if output["decision"] is not None and output["decision"]["accepted"]:
                decision = decision_from_json(output["decision"], "journalled decision")
                controller = self._controller.mark_decided(controller, decision)
            if output["publish"]:
                published = output["thresholds"]["threshold_words"]
        return {**state, "settings": None, "controller": controller, "out": published}

    def _start(self, state: dict[str, Any] | None) -> Step:
        """The same settings go on; other settings begin anew, from the thresholds that are out."""
        settings = to_plain(self.settings)
        if state is not None and state["settings"] == settings:
            return Step(state, _output())
        alarms: list[dict[str, Any]] = []
        if state is None:
            controller, published = self._controller.initial_state(), {}
        else:
            controller, published = self._controller.reset(state["controller"]), state["out"]
        for seed in self.settings.control.seeds:
            word = published.get(seed.name, seed.initial_word)
            if seed.min_word <= word <= seed.max_word:
                controller = self._controller.track(controller, {seed.name: word})
            else:
                text = f"threshold word {word} is out, beyond the new limits; {seed.initial_word} is next"
                alarms.append({"code": "settings", "seed": seed.name, "text": text})
        if state is not None:
            text = "the settings changed: the controller begins anew from the thresholds that are out"
            alarms.append({"code": "settings", "seed": None, "text": text})
        new = {
            "settings": settings,
            "controller": controller,
            "out": published,
            "proposal": None,
            "outside": {},
        }
        return Step(new, _output(alarms=alarms))

    def _record(self, state: dict[str, Any], text: str) -> Step:
        measurement = read_record(text)
        before = state["controller"]
        if self.settings.mode == DRY_RUN:
            in_force = _in_force(measurement, self.settings.control)
            before = self._controller.track(before, in_force)
        after, decision = self._controller.decide(before, measurement)
        state = {**state, "controller": after}
        alarms = to_plain(decision.alarms)
        if not decision.accepted:
            return Step(state, _output(decision=decision, alarms=alarms))
        outside, out_of_band = self._count_out_of_band(state["outside"], measurement, decision)
        state = {**state, "outside": outside}
        decided = (decision.run, decision.lumi_section)
        measured = _measured(measurement, decision)
        if self.settings.mode == APPLY:
            step = self._published(state, decision, alarms + out_of_band)
            return Step(step.state, {**step.output, "measured": measured}, decided)
        proposal = _proposal(decision, state["out"])
        if self.settings.mode == CONFIRM:
            # Nothing is out before a person says so: the thresholds of before go on counting.
            after = self._controller.withhold(before, after)
            state = {**state, "controller": after, "proposal": proposal}
        output = _output(decision=decision, alarms=alarms + out_of_band, proposal=proposal)
        return Step(state, {**output, "measured": measured}, decided)

    def _fault(self, state: dict[str, Any], fault: dict[str, Any]) -> Step:
        text = f"{fault['place']}: {fault['fault']}"
        code = "input" if fault["line"] is None else "record"
        return Step(state, _output(alarms=[{"code": code, "seed": None, "text": text}]))

    def _override(self, state: dict[str, Any], command: dict[str, Any]) -> Step:
        names = [seed.name for seed in self.settings.control.seeds]
        chosen = names if command["seed"] is None else [command["seed"]]
        controller = state["controller"]
        for name in chosen:
            controller, decision = self._controller.override(
                controller, name, command["mode"], command["threshold_word"]
            )
        if command["seed"] is None:
            reason = f"a person chose {command['mode']}"
            seeds = tuple(dataclasses.replace(seed, reason=reason) for seed in decision.seeds)
            decision = dataclasses.replace(decision, seeds=seeds)
        state = {**state, "controller": controller, "proposal": None}
        if self.settings.mode == DRY_RUN or decision.run == 0:
            return Step(state, _output(decision=decision))
        return self._published(state, decision, [])

    def _confirmation(self, state: dict[str, Any], command: dict[str, Any]) -> Step:
        proposal = state["proposal"]
        if proposal is None or proposal["id"] != command["proposal"]:
            now = "there is none now" if proposal is None else f"{proposal['id']} is the one that waits"
            raise UserError(f"proposal {command['proposal']} no longer waits for confirmation; {now}")
        state = {**state, "proposal": None}
        if not command["accept"]:
            return Step(state, _output())
        controller, decision = self._controller.confirm(state["controller"], proposal["threshold_words"])
        return self._published({**state, "controller": controller}, decision, [])

    def _published(self, state: dict[str, Any], decision: Decision, alarms: list[dict[str, Any]]) -> Step:
        thresholds = {
            "run": decision.run,
            "lumi_section": decision.lumi_section,
            "effective_lumi_section": decision.effective_lumi_section,
            "threshold_words": decision.threshold_words,
        }
        state = {**state, "out": decision.threshold_words}
        return Step(state, _output(decision=decision, alarms=alarms, thresholds=thresholds))

    def _count_out_of_band(
        self, counts: dict[str, int], measurement: Measurement, decision: Decision
    ) -> tuple[dict[str, int], list[dict[str, Any]]]:
        """Lumi sections in a row out of band by seed, and the alarms they make."""
        counts, alarms = dict(counts), []
        for seed in decision.seeds:
            if seed.in_band is None or (measurement.pileup or 0) < BAND_PILEUP:
                continue
            counts[seed.name] = 0 if seed.in_band else counts.get(seed.name, 0) + 1
        for name, sections in counts.items():
            if sections >= OUT_OF_BAND_AFTER:
                text = f"out of band for {OUT_OF_BAND_AFTER} lumi sections or more"
                alarms.append({"code": "out_of_band", "seed": name, "text": text})
        return counts, alarms


def _proposal(decision: Decision, published: dict[str, int]) -> dict[str, Any] | None:
    """What a person may confirm, or None when that is published already."""
    if decision.threshold_words == published:
        return None
    name = f"{decision.run}:{decision.lumi_section}"
    return {"id": name, "threshold_words": decision.threshold_words}


def _measured(measurement: Measurement, decision: Decision) -> dict[str, Any]:
    """Rates (Hz, before prescale) and pure fractions; null where the guard did not believe the counters."""
    seeds = {}
    for decided in decision.seeds:
        counters = measurement.seed(decided.name)
        believed = counters is not None and decided.rate_khz is not None and bool(measurement.live_s)
        passed = counters.passed if believed and counters is not None else None
        pure = counters.pure if believed and counters is not None else None
        scale = counters.prescale / measurement.live_s if counters and measurement.live_s else 0.0
        seeds[decided.name] = {
            "rate_hz": None if passed is None else passed * scale,
            "pure_rate_hz": None if pure is None else pure * scale,
            "pure_fraction": pure / passed if passed and pure is not None else None,
            "in_force_word": None if counters is None else counters.threshold_word,
        }
    return {"pileup": measurement.pileup, "start_time_s": measurement.start_time_s, "seeds": seeds}


def _output(
    *,
    decision: Decision | None = None,
    thresholds: dict[str, Any] | None = None,
    proposal: dict[str, Any] | None = None,
    alarms: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {
        "publish": thresholds is not None,
        "thresholds": thresholds,
        "decision": None if decision is None else to_plain(decision),
        "measured": None,
        "proposal": proposal,
        "alarms": alarms or [],
    }


def _in_force(measurement: Measurement, control: ControllerConfig) -> dict[str, int]:
    """Threshold words that the record says are in force, where they are within the configured limits."""
    words = {}
    for config in control.seeds:
        seed = measurement.seed(config.name)
        if seed is not None and config.min_word <= seed.threshold_word <= config.max_word:
            words[config.name] = seed.threshold_word
    return words
