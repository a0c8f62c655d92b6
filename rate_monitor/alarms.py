"""Which alarms are active: raised and cleared by entries and by the service's own watch."""

from __future__ import annotations

from typing import Any

from .journal import AlarmRow

SERVICE_ALARMS = ("stale", "publication", "journal", "source")
"""Alarms of the service itself: no record clears them, the service does when the cause is gone."""

Key = tuple[str, str]


class AlarmBoard:
    """The active alarms by (code, seed); `seed` is empty when an alarm concerns no one seed."""

    def __init__(self, rows: list[AlarmRow]) -> None:
        """From the journal's rows, oldest first: what was active goes on being so."""
        self._active: dict[Key, AlarmRow] = {}
        for row in rows:
            self._fold(row)

    def active(self) -> list[AlarmRow]:
        """Active alarms, oldest first."""
        return sorted(self._active.values(), key=lambda row: row.time_s)

    def after_entry(self, time_s: float, kind: str, output: dict[str, Any]) -> tuple[AlarmRow, ...]:
        """What changes with an entry: a good record clears all the alarms of records but its own."""
        raised: dict[Key, str] = {}
        for alarm in output["alarms"]:
            raised.setdefault((alarm["code"], alarm["seed"] or ""), alarm["text"])
        changes = [
            AlarmRow(time_s, code, seed, True, text)
            for (code, seed), text in raised.items()
            if (code, seed) not in self._active or self._active[code, seed].text != text
        ]
        good = kind == "record" and output["decision"]["accepted"]
        if good:
            changes += [
                AlarmRow(time_s, row.name, row.seed, False, row.text)
                for key, row in self._active.items()
                if key not in raised and row.name not in SERVICE_ALARMS
            ]
        return self._take(changes)

    def set(self, time_s: float, code: str, text: str | None) -> tuple[AlarmRow, ...]:
        """What changes when one of the SERVICE_ALARMS is raised with `text`, or cleared with None."""
        row = self._active.get((code, ""))
        if text is not None and (row is None or row.text != text):
            return self._take([AlarmRow(time_s, code, "", True, text)])
        if text is None and row is not None:
            return self._take([AlarmRow(time_s, code, "", False, row.text)])
        return ()

    def _take(self, changes: list[AlarmRow]) -> tuple[AlarmRow, ...]:
        for row in changes:
            self._fold(row)
        return tuple(changes)

    def _fold(self, row: AlarmRow) -> None:
        if row.active:
            since = self._active.get((row.name, row.seed), row).time_s
            self._active[row.name, row.seed] = AlarmRow(since, row.name, row.seed, True, row.text)
        else:
            self._active.pop((row.name, row.seed), None)
