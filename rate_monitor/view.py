"""What people and monitoring are shown: made from journal entries, so a restart shows the same.

`Board` is written by the service's one thread and read by those of the HTTP server. Everything in it is
plain JSON, numbered by the journal entry it came from, so a page can ask for what it has not seen.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from axo.controllers.interface import SeedConfig

POINTS = 4000
"""Lumi sections kept for the charts (26 hours of them)."""

LOG_ROWS = 500
"""Decisions, commands and faults kept for the page's log; the journal has all of them."""


@dataclass(frozen=True)
class SeedPoint:
    """One seed over one lumi section. Rates are in Hz before prescale; None is not known."""

    name: str
    rate_hz: float | None
    pure_rate_hz: float | None
    pure_fraction: float | None
    target_hz: float
    word: int
    in_force_word: int | None
    previous_word: int
    mode: str
    reason: str
    in_band: bool | None

    @property
    def automatic(self) -> bool:
        """Whether the controller steers this seed."""
        return self.mode == "auto"


def seed_points(output: dict[str, Any]) -> list[SeedPoint]:
    """The points of every seed in an entry's output (see `axo.rate_monitor.engine.Step`)."""
    if output["decision"] is None:
        return []
    measured = {} if output["measured"] is None else output["measured"]["seeds"]
    return [_point(seed, measured.get(seed["name"], {})) for seed in output["decision"]["seeds"]]


def _point(decided: dict[str, Any], measured: dict[str, Any]) -> SeedPoint:
    return SeedPoint(
        name=decided["name"],
        rate_hz=measured.get("rate_hz"),
        pure_rate_hz=measured.get("pure_rate_hz"),
        pure_fraction=measured.get("pure_fraction"),
        target_hz=1000 * decided["target_khz"],
        word=decided["threshold_word"],
        in_force_word=measured.get("in_force_word"),
        previous_word=decided["previous_word"],
        mode=decided["mode"],
        reason=decided["reason"],
        in_band=decided["in_band"],
    )


def describe_seed(seed: SeedConfig) -> dict[str, Any]:
    """What the page needs of a seed's configuration."""
    return {
        "name": seed.name,
        "target_hz": 1000 * seed.target_khz,
        "pure": seed.pure,
        "band": seed.band,
        "min_word": seed.min_word,
        "max_word": seed.max_word,
    }


class Board:
    """The page's data. `change` notifies; readers wait with `wait`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._version = 0
        self._status: dict[str, Any] = {}
        self._points: deque[tuple[tuple[Any, ...], dict[str, tuple[Any, ...]]]] = deque(maxlen=POINTS)
        self._log: deque[dict[str, Any]] = deque(maxlen=LOG_ROWS)

    def status(self, status: dict[str, Any]) -> None:
        """Replace the status when it differs."""
        with self._changed:
            if status != self._status:
                self._status = status
                self._notify()

    def entry(self, number: int, time_s: float, kind: str, output: dict[str, Any], note: str) -> None:
        """Add what entry `number` gives: a row of the log and, decided, a point of the charts."""
        points = seed_points(output)
        decision, measured = output["decision"], output["measured"]
        with self._changed:
            if measured is not None:
                place = (number, decision["run"], decision["lumi_section"])
                head = (*place, measured["start_time_s"], measured["pileup"])
                rows = {point.name: tuple(getattr(point, key) for key in _COLUMNS) for point in points}
                self._points.append((head, rows))
            self._log.append(_row(number, time_s, kind, output, note, points))
            self._notify()

    def wait(self, seen: int, timeout_s: float) -> int:
        """The version, once it is no longer `seen` or `timeout_s` seconds have passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen, timeout_s)
            return self._version

    def snapshot(self) -> dict[str, Any]:
        """The status."""
        with self._changed:
            return self._status

    def history(self, seed: str, after: int = 0) -> list[list[Any]]:
        """Rows of the charts of `seed` from entries after `after`.

        Columns: number, run, lumi section, Unix time (s), pileup, rate (Hz), pure rate (Hz), pure
        fraction, threshold word in force, threshold word decided, in band, target (Hz).
        """
        with self._changed:
            points = list(self._points)
        return [[*head, *rows[seed]] for head, rows in points if head[0] > after and seed in rows]

    def log(self, after: int = 0) -> list[dict[str, Any]]:
        """Rows of the log after entry `after`, oldest first."""
        with self._changed:
            return [row for row in self._log if row["number"] > after]

    def _notify(self) -> None:
        self._version += 1
        self._changed.notify_all()


_COLUMNS = ("rate_hz", "pure_rate_hz", "pure_fraction", "in_force_word", "word", "in_band", "target_hz")


def _row(
    number: int, time_s: float, kind: str, output: dict[str, Any], note: str, points: list[SeedPoint]
) -> dict[str, Any]:
    decision = output["decision"] or {"run": None, "lumi_section": None, "effective_lumi_section": None}
    return {
        "number": number,
        "time_s": time_s,
        "kind": kind,
        "accepted": decision.get("accepted"),
        "run": decision["run"],
        "lumi_section": decision["lumi_section"],
        "effective": decision["effective_lumi_section"],
        "proposal": output["proposal"] and output["proposal"]["id"],
        "note": note,
        "seeds": {one.name: [one.previous_word, one.word, one.mode, one.reason] for one in points},
        "alarms": [[alarm["code"], alarm["seed"], alarm["text"]] for alarm in output["alarms"]],
    }
