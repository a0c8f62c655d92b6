"""Open place and route, in a Lattice ECP5: the one timing figure to be had without a licence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from axo.firmware import stages
from axo.firmware.backends import Figures, pipeline_latency
from axo.firmware.comparison import Result
from axo.firmware.context import Context, reason
from axo.firmware.tools import ecp5
from axo.report.cells import number

SUMMARY = "open place and route (slow)"
BACKGROUND = ()


def tools(context: Context) -> Mapping[str, str]:
    """None is spoken of where it was not asked for."""
    return {}


def absent(context: Context) -> str | None:
    """Without Yosys or nextpnr."""
    return reason(ecp5.require_tools)


def run(context: Context, results: Sequence[Result]) -> Figures:
    """Routed clock and cells of the RTL."""
    design, journal = context.get(stages.rtl_design), context.journal
    with journal.step("ECP5: synthesis, placement and routing (can take half an hour)"):
        timeout_s = context.config.ecp5.timeout_s
        routed = ecp5.place_and_route(design.files, design.top, context.folder / "ecp5", timeout_s=timeout_s)
    journal.versions.update({f"ecp5 {name}": version for name, version in routed.versions.items()})
    placed = f"{number(routed.placed_clock_mhz)} MHz after placement"
    journal.notes.append(f"{routed.what}: {number(routed.clock_mhz)} MHz routed, {placed}.")
    latency = pipeline_latency(
        "ecp5", design.latency_cycles, routed.clock_mhz, design.initiation_interval_cycles
    )
    return Figures((latency,), (routed.resources,) if routed.resources else ())
