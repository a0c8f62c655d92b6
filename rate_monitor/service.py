"""The service: carries records to the engine, its decisions to the journal, and thresholds to the sink.

One thread does all of it, one thing at a time, in this order: derive, journal (on disk), publish, journal
that it was published. Killed at any instant it goes on from the journal: what was not journalled is
read again from the input, what was journalled but perhaps not published is published again, with the
same number. HTTP threads only read the board and hand over commands.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from axo.config import to_plain
from axo.errors import UserError

from .alarms import SERVICE_ALARMS, AlarmBoard
from .config import ServiceConfig
from .engine import DRY_RUN, Engine, Step
from .inputs import Input, Line, open_input
from .journal import AlarmRow, Entry, Journal, JournalUnwritable
from .logs import say
from .metrics import Metrics
from .sinks import Sink, open_sink
from .view import POINTS, Board, describe_seed, seed_points

SNAPSHOT_EVERY = 50
"""Entries between two states in the journal; a restart re-derives at most so many."""

POLL_S = 0.05
RETRY_FIRST_S = 0.5
RETRY_LAST_S = 30.0
JOURNAL_RETRY_S = 0.5
COMMAND_TIMEOUT_S = 10.0
HEARTBEAT_S = 10.0
"""A service whose loop has not turned for so long is not healthy."""

LINE_KEPT = 2000
"""Characters of an unreadable line that are journalled."""


@dataclass
class Command:
    """What a person wants, handed from an HTTP thread to the service's."""

    kind: str
    text: str
    done: threading.Event = field(default_factory=threading.Event)
    taken: bool = False
    given_up: bool = False
    number: int = 0
    refusal: str | None = None


@dataclass
class Pending:
    """A decision that the sink does not have yet; times are of the monotonic clock."""

    number: int
    message: dict[str, Any]
    since_s: float
    next_try_s: float
    wait_s: float = RETRY_FIRST_S


class Service:
    """The service under `config`. `run` returns when the input ends or `stop` is called.

    Raises UserError for a configuration, journal, input or output that cannot work.
    """

    def __init__(self, config: ServiceConfig, metrics: Metrics | None = None) -> None:
        self.config = config
        self.metrics = metrics or Metrics()
        self.board = Board()
        self._settings = config.settings()
        self._engine = Engine(self._settings)
        self._sink: Sink = open_sink(config.output)
        self._stopping = threading.Event()
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._hand_over = threading.Lock()
        self._journal = Journal(config.journal)
        try:
            self._alarms = AlarmBoard(self._journal.alarm_rows(100_000))
            last = self._journal.last()
            self._position = None if last is None else last.position
            self._input: Input = open_input(config.input, self._resume_at())
        except UserError:
            self._journal.close()
            raise
        self._state: dict[str, Any] | None = None
        self._since_snapshot = 0
        self._pending: Pending | None = None
        self._published: dict[str, Any] | None = None
        self._last_good: dict[str, Any] | None = None
        self._points: dict[str, Any] = {}
        self._last_good_s = self._beat_s = time.monotonic()

    def run(self) -> None:
        """Serve until `stop` or the input's end."""
        try:
            self._start()
            while not self._stopping.is_set():
                self._cycle()
                if self._input.ended:
                    say("input_ended", input=self.config.input)
                    break
        finally:
            if self._pending is not None:
                number, mend = self._pending.number, "a restart publishes it"
                say("unpublished", logging.WARNING, decision=number, mend=mend)
            self.close()
            say("stopped")

    def close(self) -> None:
        """Give the journal and the input back; `run` does at its end."""
        self._input.close()
        self._journal.close()

    def stop(self) -> None:
        """End `run` soon, after the entry at hand. Safe from signal handlers and other threads."""
        self._stopping.set()

    def command(self, kind: str, mapping: dict[str, Any]) -> int:
        """Have `kind` (override or confirmation) done; returns its entry's number once it is on disk.

        For other threads. Raises UserError when it is refused, TimeoutError when it was not taken up.
        """
        command = Command(kind, json.dumps(mapping, sort_keys=True))
        self._commands.put(command)
        if not command.done.wait(COMMAND_TIMEOUT_S):
            with self._hand_over:
                command.given_up = not command.taken
            if command.given_up or not command.done.wait(COMMAND_TIMEOUT_S):
                raise TimeoutError
        if command.refusal is not None:
            raise UserError(command.refusal)
        return command.number

    def troubles(self) -> list[str]:
        """Why the service is not ready to steer, a line each; none when it is."""
        lines = [f"{row.name}: {row.text}" for row in self._alarms.active() if row.name in SERVICE_ALARMS]
        if self._last_good is None:
            lines.append("no good record yet")
        return lines

    def alive(self) -> bool:
        """Whether the service's loop turns."""
        return time.monotonic() - self._beat_s < HEARTBEAT_S

    def _cycle(self) -> None:
        """Whatever has arrived, then whatever is due."""
        lines, arrived_s = self._read(), time.monotonic()
        for line in lines:
            self._take_commands()
            if self._stopping.is_set():
                return
            self._take_line(line, arrived_s)
        self._take_commands()
        self._publish_due()
        self._watch()

    def _read(self) -> list[Line]:
        try:
            lines = self._input.read(POLL_S)
        except UserError as error:
            self._set_alarm("source", str(error))
            self._stopping.wait(POLL_S)
            return []
        self._set_alarm("source", None)
        return lines

    # Starting

    def _start(self) -> None:
        say("starting", journal=str(self._journal.path), **to_plain(self._settings))
        self._restore_board()
        for row in self._alarms.active():
            self.metrics.alarm(row.name, row.seed, True)
        self._state = self._rederive()
        step = self._engine.step(self._state, "start", "")
        text = json.dumps(to_plain(self._settings), sort_keys=True)
        self._append("start", text, "start", step, snapshot=True)
        found = self._journal.unpublished()
        if found is not None and self._settings.mode != DRY_RUN:
            say("publishing_again", decision=found.number)
            self._queue(found.number, found.output)
            self._publish_due()
        self._watch()

    def _rederive(self) -> dict[str, Any] | None:
        """The state after the journal's last entry, from the last one that has it."""
        found = next(self._journal.entries("WHERE state IS NOT NULL ORDER BY number DESC LIMIT 1"), None)
        if found is None:
            return None
        state = found.state
        assert state is not None
        later = list(self._journal.entries("WHERE number > ? ORDER BY number", (found.number,)))
        if state["settings"] == to_plain(self._settings):
            derived = state
            for entry in later:
                step = self._engine.step(derived, entry.kind, entry.input)
                if step.output != entry.output:
                    mend = "axo control --replay-journal"
                    say("journal_differs", logging.ERROR, entry=entry.number, mend=mend)
                    return self._engine.carry_over(state, [item.output for item in later])
                derived = step.state
            return derived
        return self._engine.carry_over(state, [item.output for item in later])

    def _restore_board(self) -> None:
        """Charts and log as they were."""
        recent = f"WHERE number > (SELECT coalesce(max(number), 0) - {POINTS} FROM entries) ORDER BY number"
        for entry in self._journal.entries(recent):
            note = _note(entry.kind, entry.input)
            self.board.entry(entry.number, entry.time_s, entry.kind, entry.output, note)
            self._show_metrics(entry.time_s, entry.output)

    def _resume_at(self) -> Any:
        """Where the input goes on, when the journal's last position is of this same input."""
        if self._position is not None and self._position["input"] == self.config.input:
            return self._position["at"]
        return None

    # What comes in

    def _take_line(self, line: Line, arrived_s: float) -> None:
        position = {"input": self.config.input, "at": line.position}
        kind, text, step = self._interpret(line)
        good = step.decided is not None
        cleared: tuple[AlarmRow, ...] = ()
        if good:
            self._last_good_s = time.monotonic()
            cleared = self._alarms.set(time.time(), "stale", None)
        number = self._append(kind, text, line.place, step, position, cleared)
        if number is None:
            return
        if kind == "record" and not good:
            self.metrics.refused.labels(step.output["alarms"][0]["code"]).inc()
        elif kind == "fault":
            self.metrics.refused.labels("fault").inc()
        if step.output["publish"]:
            self._queue(number, step.output)
            self._publish_due()
        self.metrics.decision_latency.observe(time.monotonic() - arrived_s)
        self._show_status()

    def _interpret(self, line: Line) -> tuple[str, str, Step]:
        """Kind, journalled input and step of a line, whatever is in it."""
        assert self._state is not None
        fault, shown = line.fault, None
        if fault is None:
            shown = line.text[: 4 * LINE_KEPT].decode(errors="replace")[:LINE_KEPT]
            try:
                text = line.text.decode()
                return "record", text, self._engine.step(self._state, "record", text)
            except UnicodeDecodeError:
                fault = "is not UTF-8"
            except UserError as error:
                fault = str(error)
        text = json.dumps({"place": line.place, "fault": fault, "line": shown})
        return "fault", text, self._engine.step(self._state, "fault", text)

    def _take_commands(self) -> None:
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return
            with self._hand_over:
                command.taken = not command.given_up
            if command.taken:
                self._execute(command)
                command.done.set()

    def _execute(self, command: Command) -> None:
        try:
            step = self._engine.step(self._state, command.kind, command.text)
        except UserError as error:
            command.refusal = str(error)
            return
        number = self._append(command.kind, command.text, "the page", step)
        if number is None:
            command.refusal = "the service is stopping"
            return
        command.number = number
        if step.output["publish"]:
            self._queue(number, step.output)
            self._publish_due()

    # The journal

    def _append(
        self,
        kind: str,
        text: str,
        place: str,
        step: Step,
        position: Any = None,
        alarms: tuple[AlarmRow, ...] = (),
        snapshot: bool = False,
    ) -> int | None:
        """Journal one entry, waiting for the disk if need be; its number, or None when told to stop first."""
        now = time.time()
        self._since_snapshot += 1
        snapshot = snapshot or self._since_snapshot >= SNAPSHOT_EVERY
        run, lumi_section = step.decided or (None, None)
        entry = Entry(
            time_s=now,
            kind=kind,
            input=text,
            place=place,
            position=self._position if position is None else position,
            run=run,
            lumi_section=lumi_section,
            output=step.output,
            state=step.state if snapshot else None,
            controller=f"{self._settings.controller} {self._settings.versions[1]}",
            network=self._settings.network,
        )
        changes = alarms + self._alarms.after_entry(now, kind, step.output)
        number = self._write(entry, changes)
        if number is None:
            return None
        self._since_snapshot = 0 if snapshot else self._since_snapshot
        self._state, self._position = step.state, entry.position
        self._tell(number, entry, changes)
        return number

    def _write(self, entry: Entry, alarms: tuple[AlarmRow, ...]) -> int | None:
        waiting_since_s = time.monotonic()
        while True:
            try:
                number = self._journal.append(entry, alarms)
                break
            except JournalUnwritable as error:
                self._beat_s = time.monotonic()
                self.metrics.journal_lag.set(self._beat_s - waiting_since_s)
                trouble = f"{error}; nothing more is decided until it can be written"
                self._show_alarms(self._alarms.set(time.time(), "journal", trouble))
                self._show_status()
                if self._stopping.wait(JOURNAL_RETRY_S):
                    return None
        self.metrics.journal_lag.set(0)
        return number

    def _tell(self, number: int, entry: Entry, alarms: tuple[AlarmRow, ...]) -> None:
        """Logs, metrics and the board, of an entry that is on disk."""
        self._set_alarm("journal", None)
        self.metrics.entries.labels(entry.kind).inc()
        self._show_metrics(entry.time_s, entry.output)
        self._show_alarms(alarms)
        self.board.entry(number, entry.time_s, entry.kind, entry.output, _note(entry.kind, entry.input))
        thresholds = entry.output["thresholds"] or {}
        say(
            entry.kind,
            logging.WARNING if entry.kind == "fault" else logging.INFO,
            entry=number,
            place=entry.place,
            run=entry.run,
            lumi_section=entry.lumi_section,
            effective=thresholds.get("effective_lumi_section"),
            threshold_words=thresholds.get("threshold_words"),
        )

    # Publishing

    def _queue(self, number: int, output: dict[str, Any]) -> None:
        if self._pending is not None:
            self._record_outcome(self._pending.number, "superseded", f"by decision {number}")
        now_s = time.monotonic()
        since_s = now_s if self._pending is None else self._pending.since_s
        message = {"decision": number, **output["thresholds"]}
        self._pending = Pending(number, message, since_s, now_s)

    def _publish_due(self) -> None:
        pending = self._pending
        if pending is None or time.monotonic() < pending.next_try_s:
            return
        try:
            answer = self._sink.publish(pending.message)
        except UserError as error:
            self._record_outcome(pending.number, "failed", str(error))
            self._set_alarm("publication", str(error))
            pending.next_try_s = time.monotonic() + pending.wait_s
            pending.wait_s = min(2 * pending.wait_s, RETRY_LAST_S)
            return
        self._pending = None
        self._published = {"number": pending.number, "time_s": time.time()}
        self._record_outcome(pending.number, "published", answer)
        self._set_alarm("publication", None)

    def _record_outcome(self, number: int, outcome: str, detail: str) -> None:
        self.metrics.publications.labels(outcome).inc()
        level = logging.WARNING if outcome == "failed" else logging.INFO
        say("publication", level, entry=number, outcome=outcome, detail=detail)
        try:
            self._journal.publication(number, time.time(), outcome, detail)
        except JournalUnwritable as error:
            say("journal_unwritable", logging.ERROR, detail=str(error))

    # Watching

    def _watch(self) -> None:
        """The watchdog, the gauges that grow with time, and the page's status."""
        now_s = time.monotonic()
        self._beat_s = now_s
        age_s = now_s - self._last_good_s
        if age_s > self.config.stale_after_s:
            self._set_alarm(
                "stale", f"no good record for more than {self.config.stale_after_s:g} s; thresholds are held"
            )
        self.metrics.record_age.set(age_s)
        self.metrics.journal_log.set(self._journal.bytes_waiting())
        self.metrics.publication_lag.set(0 if self._pending is None else now_s - self._pending.since_s)
        self._show_status()

    def _set_alarm(self, code: str, text: str | None) -> None:
        """Raise or clear one of the service's own alarms, journalled when it changes."""
        changes = self._alarms.set(time.time(), code, text)
        if not changes:
            return
        self._show_alarms(changes)
        try:
            self._journal.alarms(changes)
        except JournalUnwritable as error:
            say("journal_unwritable", logging.ERROR, detail=str(error))

    def _show_alarms(self, changes: tuple[AlarmRow, ...]) -> None:
        for row in changes:
            self.metrics.alarm(row.name, row.seed, row.active)
            level = logging.WARNING if row.active else logging.INFO
            say("alarm", level, code=row.name, seed=row.seed or None, active=row.active, text=row.text)

    def _show_metrics(self, time_s: float, output: dict[str, Any]) -> None:
        """Gauges, and what the page shows as the present, of an entry that decided a record."""
        measured, decision = output["measured"], output["decision"]
        if measured is None:
            return
        points = seed_points(output)
        for point in points:
            self.metrics.seed(point)
        self.metrics.run.set(decision["run"])
        self.metrics.lumi_section.set(decision["lumi_section"])
        self.metrics.pileup.set(measured["pileup"])
        self._points = {point.name: dict(vars(point)) for point in points}
        self._last_good = {
            "time_s": time_s,
            "run": decision["run"],
            "lumi_section": decision["lumi_section"],
            "pileup": measured["pileup"],
        }

    def _show_status(self) -> None:
        state = self._state
        if state is None:
            return
        controller = state["controller"]
        self.board.status(
            {
                "mode": self._settings.mode,
                "controller": self._settings.controller,
                "versions": list(self._settings.versions),
                "network": self._settings.network,
                "seeds": [describe_seed(seed) for seed in self._settings.control.seeds],
                "seed_modes": controller["modes"],
                "words": controller["words"],
                "last_good": self._last_good,
                "points": self._points,
                "stale_after_s": self.config.stale_after_s,
                "alarms": [
                    {"code": row.name, "seed": row.seed or None, "since_s": row.time_s, "text": row.text}
                    for row in self._alarms.active()
                ],
                "proposal": state["proposal"],
                "unpublished": None if self._pending is None else self._pending.number,
                "published": self._published,
            }
        )


def _note(kind: str, text: str) -> str:
    """What a person did, for people."""
    if kind not in ("override", "confirmation"):
        return ""
    command = json.loads(text)
    if kind == "confirmation":
        done = f"{'confirmed' if command['accept'] else 'rejected'} the proposal {command['proposal']}"
    else:
        done = f"{_DONE.get(command['mode'], command['mode'])} {command['seed'] or 'all seeds'}"
    word = command.get("threshold_word")
    done += "" if word is None else f" to {word}"
    comment = f" ({command['comment']})" if command["comment"] else ""
    return f"{command['by'] or 'someone'} {done}{comment}"


_DONE = {"hold": "put on hold", "manual": "set", "auto": "returned to auto"}
