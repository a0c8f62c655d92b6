"""What measures a design: one file per backend, found by its name (axo.plugins)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from axo.firmware.comparison import Result
from axo.firmware.context import Context
from axo.firmware.stages import Clock
from axo.firmware.tools.reports import Latency, Resources
from axo.plugins import Plugins


@dataclass(frozen=True)
class Figures:
    """What was measured, by whichever tool; `clock` is the one that is claimed for the RTL."""

    latency: tuple[Latency, ...] = ()
    resources: tuple[Resources, ...] = ()
    clock: Clock | None = None


class Backend(Protocol):
    """A module of this folder.

    `SUMMARY` is for the command's help; the stages in `BACKGROUND` take long, and are begun in another
    thread as soon as the RTL is there, beside the evaluations.
    """

    SUMMARY: str
    BACKGROUND: tuple[Callable[[Context], object], ...]

    def tools(self, context: Context) -> Mapping[str, str]:
        """States of its tools, for every report: found where, or absent and how to mend that; runs none."""

    def absent(self, context: Context) -> str | None:
        """Why it cannot run here, or None; runs nothing. A build that asks for an absent one fails."""

    def run(self, context: Context, results: Sequence[Result]) -> Figures:
        """Measure the design; `results` are what the evaluations gave. UserError when a tool fails."""


BACKENDS: Plugins[Backend] = Plugins(__name__, "backend", ("SUMMARY", "BACKGROUND", "tools", "absent", "run"))

ALWAYS = "rtl"
"""The backend of every build, first: gates are on its figures."""


def backends(asked: Sequence[str]) -> dict[str, Backend]:
    """The backends of a build for which `asked` were, by name, in order. UserError for an unknown one."""
    return {name: BACKENDS.load(name) for name in (ALWAYS, *asked)}


def pipeline_latency(
    source: str, cycles: int | None, clock_mhz: float | None, initiation_interval_cycles: int
) -> Latency:
    """Latency of a pipeline of `cycles` at a clock, as far as the two are known."""
    latency_ns = None if cycles is None or clock_mhz is None else cycles * 1000 / clock_mhz
    return Latency(source, cycles, clock_mhz, latency_ns, initiation_interval_cycles)
