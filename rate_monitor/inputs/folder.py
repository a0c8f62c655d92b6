"""A folder of record files: ``folder:PATH``.

Files whose names end in ``.json`` or ``.jsonl`` are read once each, in the order of their names, every
line a record. A writer renames each file into the folder when it is complete (names that begin with a dot
are left alone), and names them so that their order is the order of the records. A name that sorts
before one already read is handed out too, late; after a restart such names are not looked at again.
The position is the last name in order and how many of its lines were taken.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from axo.errors import UserError

from . import MAXIMUM_LINE_BYTES, Input, Line

POLL_S = 0.02
SUFFIXES = (".json", ".jsonl")


def open_input(address: str, position: Any = None) -> Input:
    """Read the files of the folder `address`, which must exist."""
    if not Path(address).is_dir():
        raise UserError(f"input folder:{address}: is not a folder")
    return RecordFolder(Path(address), position)


class RecordFolder(Input):
    """See the module. `position` is None or what a Line of an earlier run carried."""

    def __init__(self, path: Path, position: Any = None) -> None:
        self._path = path
        self._last = position["name"] if position else ""
        self._taken = position["lines"] if position else 0
        self._seen: set[str] = set()
        self._changed_ns = -1
        if position:
            self._seen = {name for name in self._names() if name < self._last}

    def read(self, timeout_s: float) -> list[Line]:
        """As Input.read; one file at a time."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                lines = self._next_file()
            except OSError as error:
                raise UserError(
                    f"{error.filename or self._path}: cannot be read ({error.strerror})"
                ) from error
            if lines or time.monotonic() >= deadline:
                return lines
            time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))

    def _next_file(self) -> list[Line]:
        changed_ns = self._path.stat().st_mtime_ns
        if changed_ns == self._changed_ns:
            return []
        for name in sorted(set(self._names()) - self._seen):
            lines = self._lines(name)
            self._seen.add(name)
            if lines:
                return lines
        # A folder changed within the clock's last tick may change again unnoticed: look once more.
        if time.time_ns() - changed_ns > 100_000_000:
            self._changed_ns = changed_ns
        return []

    def _names(self) -> list[str]:
        return [
            entry.name
            for entry in os.scandir(self._path)
            if entry.name.endswith(SUFFIXES) and not entry.name.startswith(".") and entry.is_file()
        ]

    def _lines(self, name: str) -> list[Line]:
        path = self._path / name
        texts = [text for text in path.read_bytes().split(b"\n") if text.strip()]
        late = name < self._last
        skip = self._taken if name == self._last else 0
        if not late and name != self._last:
            self._last, self._taken = name, 0
        lines = []
        for number, text in enumerate(texts[skip:], start=skip + 1):
            if not late:
                self._taken = number
            position = {"name": self._last, "lines": self._taken}
            fault = (
                f"a line of more than {MAXIMUM_LINE_BYTES} bytes" if len(text) > MAXIMUM_LINE_BYTES else None
            )
            lines.append(Line(b"" if fault else text, f"{path}, line {number}", position, fault))
        return lines
