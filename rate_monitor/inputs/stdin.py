"""Standard input: ``stdin``. The service ends, in good order, when it does.

What was read cannot be read again: lines that a killed service had not journalled are lost, and show as
missing lumi sections.
"""

from __future__ import annotations

import os
import selectors
import sys
from typing import Any

from axo.errors import UserError

from . import MAXIMUM_LINE_BYTES, Input, Line

CHUNK_BYTES = 2**20


def open_input(address: str, position: Any = None) -> Input:
    """Read standard input; it takes no address and nothing resumes."""
    if address:
        raise UserError(f"input stdin:{address}: standard input takes no address; write stdin")
    return Pipe(sys.stdin.fileno())


class Pipe(Input):
    """Lines from the file descriptor `number`."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._pending = b""
        self._count = 0
        self._skipping = False

    def read(self, timeout_s: float) -> list[Line]:
        """As Input.read; `ended` is set at the end, an unfinished last line being handed out as one."""
        if self.ended or not _ready(self._number, timeout_s):
            return []
        chunk = os.read(self._number, CHUNK_BYTES)
        if not chunk:
            self.ended = True
            rest, self._pending = self._pending, b""
            return [self._line(rest)] if rest.strip() else []
        *whole, self._pending = (self._pending + chunk).split(b"\n")
        lines = [self._line(text) for text in whole if text.strip() or self._skipping]
        if len(self._pending) > MAXIMUM_LINE_BYTES:
            self._pending, self._skipping = b"", True
        return lines

    def _line(self, text: bytes) -> Line:
        self._count += 1
        place = f"standard input, line {self._count}"
        if self._skipping or len(text) > MAXIMUM_LINE_BYTES:
            self._skipping = False
            return Line(b"", place, None, f"a line of more than {MAXIMUM_LINE_BYTES} bytes")
        return Line(text, place, None)


def _ready(number: int, timeout_s: float) -> bool:
    with selectors.SelectSelector() as selector:
        selector.register(number, selectors.EVENT_READ)
        return bool(selector.select(timeout_s))
