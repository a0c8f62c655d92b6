"""Tools driven by subprocess in three steps: is it there, what are its arguments, run it.

Argument lists are data (tuples of strings), so tests can read them. Every run writes its output
live to a log file, has a time-out, runs in its own process group (killed as a whole on time-out
or interrupt) and has its exit status checked.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from axo.errors import UserError


class ToolError(UserError):
    """A tool that failed, hung or could not be started; `log` has what it printed."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


class ToolTimeout(ToolError):
    """A tool that was stopped at its time-out."""


@dataclass(frozen=True)
class ToolRun:
    """One finished run: `arguments`, `wall_s` (seconds) and the path of its `log`."""

    arguments: tuple[str, ...]
    wall_s: float
    log: Path


def find_tool(name: str, configured: str | None = None) -> Path | None:
    """The executable `name`: the `configured` path, beside this Python, or on PATH; else None.

    Raises UserError when a configured path is given but is no executable.
    """
    if configured:
        found = shutil.which(configured)
        if found is None:
            raise UserError(f"{name}: the configured path {configured!r} is not an executable")
        return Path(found)
    beside = Path(sys.executable).parent / name
    if beside.is_file() and os.access(beside, os.X_OK):
        return beside
    on_path = shutil.which(name)
    return Path(on_path) if on_path else None


def require_tool(name: str, mend: str, configured: str | None = None) -> Path:
    """As find_tool, but UserError (with the `mend`) when the tool is absent."""
    found = find_tool(name, configured)
    if found is None:
        raise UserError(f"{name} was not found; {mend}")
    return found


def run_tool(
    arguments: Sequence[str | Path],
    *,
    cwd: Path,
    log: Path,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
) -> ToolRun:
    """Run a tool in `cwd`, its output going to `log`; returns when it exits with status 0.

    `environment` is added to this process's. Raises ToolError, naming the log and its last line,
    when the tool cannot start or exits otherwise, ToolTimeout when it outlasts `timeout_s` seconds.
    """
    command = tuple(str(argument) for argument in arguments)
    tool = Path(command[0]).name
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(f"{tool}: cannot be started ({error.strerror})", log) from error
        _running.add(process)
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            _kill(process)
            raise ToolTimeout(
                f"{tool}: stopped after its time-out of {timeout_s:g} s (log: {log})", log
            ) from error
        except BaseException:
            _kill(process)
            raise
        finally:
            _running.discard(process)
    if status != 0:
        raise ToolError(f"{tool}: exit status {status}: {_last_line(log)} (log: {log})", log)
    return ToolRun(command, time.monotonic() - started, log)


_running: set[subprocess.Popen[bytes]] = set()


def stop_running_tools() -> None:
    """Kill every tool that other threads of this process are running: the build has failed anyway."""
    for process in list(_running):
        _kill(process)


def tool_version(arguments: Sequence[str | Path], timeout_s: float = 60) -> str | None:
    """First non-blank line that a version command prints, or None when it fails."""
    try:
        done = subprocess.run(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0] if lines else None


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(log: Path) -> str:
    """The last line that speaks of an error, or the last line at all."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    chosen = (errors or lines or ["it printed nothing"])[-1]
    return chosen.strip()[:300]
