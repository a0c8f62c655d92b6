"""Where thresholds go: an atomic file, an HTTP hook, or standard output.

A sink gets one JSON object: ``decision`` (the number of the journal's entry: the same number is the same
decision, sent again), ``run``, ``lumi_section`` (the one decided on), ``effective_lumi_section`` (where the
thresholds are to act from) and ``threshold_words`` (by seed). `publish` returns when the other side has it.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol

from axo.errors import UserError
from axo.files import write_json

HOOK_TIMEOUT_S = 2.0


class Sink(Protocol):
    """Takes thresholds."""

    def publish(self, message: dict[str, Any]) -> str:
        """Hand over `message`; returns the other side's answer. Raises UserError when it has it not."""


class FileSink:
    """``file:PATH``: the latest thresholds, always a whole file."""

    def __init__(self, path: Path) -> None:
        if not path.parent.is_dir():
            raise UserError(f"output file:{path}: the folder {path.parent} does not exist")
        self._path = path

    def publish(self, message: dict[str, Any]) -> str:
        """As Sink.publish."""
        write_json(self._path, message)
        return f"wrote {self._path}"


class HookSink:
    """``http://...`` or ``https://...``: a POST of JSON, answered by a status from 200 to 299.

    Redirections are not followed and no proxy is used.
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirection())

    def publish(self, message: dict[str, Any]) -> str:
        """As Sink.publish; one attempt."""
        request = urllib.request.Request(
            self._address,
            data=json.dumps(message, allow_nan=False).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read(1024)
                return f"{answer.status} {answer.reason}"
        except urllib.error.HTTPError as error:
            error.close()
            raise UserError(f"{self._address}: answered {error.code} {error.reason}") from error
        except (OSError, ValueError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise UserError(f"{self._address}: no answer ({reason})") from error


class StreamSink:
    """``stdout``: one line of JSON a decision."""

    def publish(self, message: dict[str, Any]) -> str:
        """As Sink.publish."""
        try:
            print(json.dumps(message, allow_nan=False), flush=True)
        except OSError as error:
            raise UserError(f"standard output: {error.strerror}") from error
        return "written to standard output"


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def open_sink(name: str) -> Sink:
    """The sink called `name`: file:PATH, http://..., https://... or stdout. UserError for any other."""
    kind, _, address = name.partition(":")
    makers: dict[str, Callable[[], Sink]] = {
        "file": lambda: FileSink(Path(address)),
        "http": lambda: HookSink(name, HOOK_TIMEOUT_S),
        "https": lambda: HookSink(name, HOOK_TIMEOUT_S),
        "stdout": StreamSink,
    }
    if kind not in makers or (kind != "stdout") != bool(address):
        raise UserError(f"output {name!r}: write it as file:PATH, http://HOST:PORT/PATH or stdout")
    return makers[kind]()
