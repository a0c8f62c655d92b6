"""The open flow: cells and logic depth from Yosys, latency from the simulation; no place and route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from axo.firmware import stages
from axo.firmware.backends import Figures, pipeline_latency
from axo.firmware.comparison import Result
from axo.firmware.context import Context
from axo.firmware.tools import yosys

SUMMARY = "always built"
BACKGROUND = (stages.synthesis,)


def tools(context: Context) -> Mapping[str, str]:
    """Yosys, where it is absent; else its version is in the report."""
    return {} if yosys.find_yosys() else {"yosys": f"absent; {yosys.MEND}"}


def absent(context: Context) -> None:
    """Never: without Yosys there are the cycles still."""


def run(context: Context, results: Sequence[Result]) -> Figures:
    """Wait for Yosys; from its netlist the logic depth, from that the clock, and so the latency."""
    journal = context.journal
    with journal.step("Yosys: synthesis for LUTs, carry cells and logic depth (beside the above)"):
        netlist = context.get(stages.synthesis)
    clock = context.get(stages.clock)
    measured = [result.latency_cycles for result in results if result.latency_cycles is not None]
    latency = pipeline_latency(
        "rtl",
        max(measured, default=None),
        clock.clock_mhz if clock else None,
        context.get(stages.rtl_design).initiation_interval_cycles,
    )
    if netlist is None:
        return Figures((latency,))
    journal.versions["yosys"] = netlist.version
    journal.wall_s["yosys"] = round(netlist.wall_s, 3)
    return Figures((latency,), (netlist.resources,), clock)
