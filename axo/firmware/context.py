"""What one build is of, what it has made so far, and what it says besides its results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from axo.errors import UserError
from axo.firmware.config import FirmwareConfig
from axo.firmware.models import Model
from axo.firmware.tools.run import ToolError
from axo.network import Network

Say = Callable[[str], None]
Made = TypeVar("Made")


@dataclass(frozen=True)
class BuildOptions:
    """What to build: `output` folder, numbers of events, word files, backends besides RTL."""

    output: Path
    n_events: int = 100_000
    n_rtl_events: int = 20_000
    recorded: tuple[Path, ...] = ()
    backends: tuple[str, ...] = ("rtl",)
    config: FirmwareConfig = field(default_factory=FirmwareConfig)


@dataclass
class Step:
    """How long a step of the build took, in seconds: 0 while it runs."""

    wall_s: float = 0.0


@dataclass(frozen=True)
class Journal:
    """Notes, states of tools, versions and wall times (s) of a build, in order; only ever added to.

    `say` is told each step as it begins.
    """

    say: Say
    notes: list[str] = field(default_factory=list)
    tools: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    wall_s: dict[str, float] = field(default_factory=dict)
    started_s: float = field(default_factory=time.monotonic)

    @contextmanager
    def step(self, what: str) -> Iterator[Step]:
        """Say that `what` is being done, and time it."""
        self.say(f"[{self.elapsed_s:6.1f} s] {what}")
        step, started_s = Step(), time.monotonic()
        yield step
        step.wall_s = time.monotonic() - started_s
        self.wall_s[what] = round(step.wall_s, 3)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the build began."""
        return time.monotonic() - self.started_s


@dataclass(frozen=True)
class Context:
    """One build: of `model`, as `options` ask, into `folder`. All that a stage, an evaluation or a
    backend is given.

    A *stage* is a function of the context that makes one thing (axo.firmware.stages has those that
    several need). `get` makes it when it is first asked for, in whichever thread, and once.
    """

    model: Model
    options: BuildOptions
    folder: Path
    journal: Journal
    _made: dict[Callable[[Context], Any], Future[Any]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def network(self) -> Network:
        """The network that is built."""
        return self.model.network

    @property
    def config(self) -> FirmwareConfig:
        """Its settings."""
        return self.options.config

    @property
    def thresholds(self) -> list[int]:
        """The network's working points, or (so that the comparison is exercised) score 0."""
        return list(self.network.thresholds.values()) or [0]

    def get(self, stage: Callable[[Context], Made]) -> Made:
        """What `stage` makes. A stage that failed fails again, with the same exception."""
        with self._lock:
            begun = stage in self._made
            future: Future[Made] = self._made.setdefault(stage, Future())
        if not begun:
            try:
                future.set_result(stage(self))
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def made(self, stage: Callable[[Context], Made]) -> Made | None:
        """What `stage` has made, or None when it was not asked or has failed."""
        future = self._made.get(stage)
        done = future is not None and future.done() and future.exception() is None
        return future.result() if future is not None and done else None

    def why_not(self, stage: Callable[[Context], object]) -> str | None:
        """Why `stage` cannot be made of this network here; None when it can, and is. ToolError passes."""
        return reason(lambda: self.get(stage))


def reason(attempt: Callable[[], object]) -> str | None:
    """What stands in the way of `attempt` (a UserError's line), or None. ToolError passes: a tool that
    is there and fails must be seen."""
    try:
        attempt()
    except ToolError:
        raise
    except UserError as error:
        return str(error)
    return None
