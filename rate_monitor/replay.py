"""Derive every decision of a journal again, and say where it differs from what was journalled."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from axo.config import parse
from axo.errors import UserError

from .engine import Engine, Settings
from .journal import Entry, Journal


@dataclass(frozen=True)
class Replay:
    """`differences` has a line for each entry that differs; `notes` what else a reader should know."""

    path: str
    entries: int
    decided: int
    differences: tuple[str, ...]
    notes: tuple[str, ...]


def replay(path: str | os.PathLike[str]) -> Replay:
    """Re-derive the journal `path`, which may be in use. UserError when it is no journal."""
    journal = Journal(path, writable=False)
    differences: list[str] = []
    notes: list[str] = []
    state: dict[str, Any] | None = None
    engine: Engine | None = None
    entries = decided = 0
    try:
        for entry in journal.entries():
            entries += 1
            decided += entry.lumi_section is not None
            if entry.number != entries:
                differences.append(f"entry {entries} is missing")
                entries = entry.number
            if entry.kind == "start":
                engine = _engine(entry, notes, f"{path}, entry {entry.number}")
            if engine is None:
                raise UserError(f"{path}: does not begin with a start; is it whole?")
            state = _check(engine, state, entry, differences)
    finally:
        journal.close()
    return Replay(str(path), entries, decided, tuple(differences), tuple(notes))


def print_replay(result: Replay) -> int:
    """Print it; returns the exit code (1 when something differs)."""
    for line in result.notes + result.differences:
        print(line)
    verdict = f"{len(result.differences)} differ" if result.differences else "all derived again, none differs"
    print(f"{result.path}: {result.entries} entries, {result.decided} lumi sections decided: {verdict}")
    return 1 if result.differences else 0


def _engine(entry: Entry, notes: list[str], place: str) -> Engine:
    try:
        settings = parse(Settings, json.loads(entry.input), "settings")
    except UserError as error:
        raise UserError(f"{place}: its settings are not of this version of axo ({error})") from error
    now = Settings.of(settings.controller, settings.control, settings.mode, settings.network)
    if now.versions != settings.versions:
        then, here = (
            "axo {}, controller {}".format(*versions) for versions in (settings.versions, now.versions)
        )
        notes.append(f"entry {entry.number}: decided by {then}; derived again by {here}")
    return Engine(settings)


def _check(
    engine: Engine, state: dict[str, Any] | None, entry: Entry, differences: list[str]
) -> dict[str, Any] | None:
    """The state after `entry`, as derived; what differs is noted, and the journalled state goes on."""
    try:
        step = engine.step(state, entry.kind, entry.input)
    except UserError as error:
        differences.append(f"entry {entry.number} ({_name(entry)}): cannot be derived again ({error})")
        return state
    if step.output != entry.output:
        differences.append(f"entry {entry.number} ({_name(entry)}): {_difference(step.output, entry.output)}")
    elif entry.state is not None and entry.state != step.state:
        differences.append(f"entry {entry.number} ({_name(entry)}): the state after it differs")
    return step.state if entry.state is None else entry.state


def _name(entry: Entry) -> str:
    return entry.kind if entry.run is None else f"run {entry.run} lumi section {entry.lumi_section}"


def _difference(derived: dict[str, Any], journalled: dict[str, Any]) -> str:
    """The thresholds when those differ, else the part of the output that does."""
    words = [(output["thresholds"] or {}).get("threshold_words", {}) for output in (derived, journalled)]
    for seed in sorted(words[0].keys() | words[1].keys()):
        if words[0].get(seed) != words[1].get(seed):
            return (
                f"seed {seed}: threshold word {words[0].get(seed)} derived, {words[1].get(seed)} journalled"
            )
    part = next(key for key in derived if derived[key] != journalled.get(key))
    return f"{part} differs"
