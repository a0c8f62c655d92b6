"""A followed file of JSON lines: ``file:PATH``.

Every complete line is handed out once. Rotation is followed by renaming (``PATH`` becomes
``PATH.1`` or ``PATH-20260131`` and a new ``PATH`` appears) and by truncation in place; a last line
without its end waits for the rest. The position is the file's inode, the offset after the last line and a
digest of the bytes before it, so a restart finds its place again even in a file rotated meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path
from typing import Any, BinaryIO

from axo.errors import UserError

from . import MAXIMUM_LINE_BYTES, Input, Line

POLL_S = 0.01
CHUNK_BYTES = 2**20
TAIL_BYTES = 256


def open_input(address: str, position: Any = None) -> Input:
    """Follow the file `address`; it need not exist yet, its folder must."""
    path = Path(address)
    if not address or not path.parent.is_dir():
        raise UserError(f"input file:{address}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise UserError(f"input file:{address}: is a folder; write folder:{address}")
    return FollowedFile(path, position)


class FollowedFile(Input):
    """See the module. `position` is None or what a Line of an earlier run carried."""

    def __init__(self, path: Path, position: Any = None) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._offset = 0  # of the first byte not yet handed out
        self._pending = b""  # bytes read from there on, without a line's end so far
        self._skipping = False  # inside a line that is too long
        self._faults: list[Line] = []
        if position is not None:
            self._resume(position)

    def read(self, timeout_s: float) -> list[Line]:
        """As Input.read."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                lines = self._poll()
            except OSError as error:
                raise UserError(f"{self._path}: cannot be read ({error.strerror})") from error
            if lines or time.monotonic() >= deadline:
                return lines
            time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))

    def close(self) -> None:
        """As Input.close."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _poll(self) -> list[Line]:
        if self._faults:
            faults, self._faults = self._faults, []
            return faults
        if self._file is None:
            if not self._path.exists():
                return []
            self._begin(self._path, 0)
        assert self._file is not None
        chunk = self._file.read(CHUNK_BYTES)
        if chunk:
            return self._split(chunk)
        return self._at_the_end()

    def _split(self, chunk: bytes) -> list[Line]:
        lines = []
        *whole, self._pending = (self._pending + chunk).split(b"\n")
        for text in whole:
            start, self._offset = self._offset, self._offset + len(text) + 1
            if self._skipping or len(text) > MAXIMUM_LINE_BYTES:
                self._skipping = False
                lines.append(self._fault(f"a line of more than {MAXIMUM_LINE_BYTES} bytes", start))
            elif text.strip():
                lines.append(Line(text, self._place(start), self._position(text)))
        if len(self._pending) > MAXIMUM_LINE_BYTES:
            self._skipping = True
            self._offset += len(self._pending)
            self._pending = b""
        return lines

    def _at_the_end(self) -> list[Line]:
        """Nothing more in the open file: was it truncated, or has another taken its place?"""
        assert self._file is not None
        here = os.fstat(self._file.fileno())
        if here.st_size < self._offset + len(self._pending):
            self._file.seek(0)
            self._offset, self._pending, self._skipping = 0, b"", False
            return [self._fault("was truncated; lines not read before that are lost", 0)]
        newer = self._successor(here)
        if newer is None or self._file.read(1):
            self._file.seek(self._offset + len(self._pending))
            return []
        lines = []
        if self._pending:
            lines = [self._fault("its last line was cut off when the file was rotated", self._offset)]
        self._begin(newer, 0)
        return lines or self._poll()

    def _successor(self, here: os.stat_result) -> Path | None:
        """The file that follows the open one, once `PATH` is another file."""
        try:
            if self._path.stat().st_ino == here.st_ino:
                return None
        except FileNotFoundError:
            return None
        newer = [path for path, status in self._family() if status.st_mtime_ns > here.st_mtime_ns]
        return newer[0] if newer else self._path

    def _family(self) -> list[tuple[Path, os.stat_result]]:
        """`PATH` and its rotated forms, the longest unwritten first."""
        rotated = re.compile(re.escape(self._path.name) + r"([.-][0-9][0-9T:_-]*)?")
        found = []
        for entry in os.scandir(self._path.parent):
            if rotated.fullmatch(entry.name) and entry.is_file():
                found.append((Path(entry.path), entry.stat()))
        return sorted(found, key=lambda pair: (pair[1].st_mtime_ns, pair[0] == self._path))

    def _begin(self, path: Path, offset: int) -> None:
        self.close()
        self._file = path.open("rb", buffering=0)
        self._file.seek(offset)
        self._offset, self._pending, self._skipping = offset, b"", False

    def _resume(self, position: Any) -> None:
        candidates = sorted(self._family(), key=lambda pair: pair[1].st_ino != position["inode"])
        for path, status in candidates:
            if status.st_size >= position["offset"] and _tail(path, position["offset"]) == position["tail"]:
                self._begin(path, position["offset"])
                return
        if self._path.exists():
            self._begin(self._path, 0)
            fault = "is not the file read before the restart; records between the two may be lost"
            self._faults = [self._fault(fault, 0)]

    def _fault(self, text: str, start: int) -> Line:
        return Line(b"", self._place(start), self._position(b""), text)

    def _place(self, start: int) -> str:
        return f"{self._path}, byte {start}"

    def _position(self, text: bytes) -> dict[str, Any]:
        """After the line just taken: its digest needs the bytes before, mostly the line itself."""
        assert self._file is not None
        number = self._file.fileno()
        start = max(0, self._offset - TAIL_BYTES)
        tail = (
            (text + b"\n")[-TAIL_BYTES:]
            if len(text) >= TAIL_BYTES
            else os.pread(number, self._offset - start, start)
        )
        return {"inode": os.fstat(number).st_ino, "offset": self._offset, "tail": _digest(tail)}


def _tail(path: Path, offset: int) -> str:
    start = max(0, offset - TAIL_BYTES)
    with path.open("rb") as file:
        file.seek(start)
        return _digest(file.read(offset - start))


def _digest(tail: bytes) -> str:
    return hashlib.sha256(tail).hexdigest()[:16]
