"""What evaluations and backends stand on: each function makes one thing of a build's context.

They are asked for with `Context.get`, which makes each once, when it is first needed.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.files import replacing
from axo.firmware.context import Context
from axo.firmware.hls import library as abi
from axo.firmware.hls import project as hls
from axo.firmware.rtl import simulate
from axo.firmware.rtl import write as rtl
from axo.firmware.stimuli import KINDS, Stimuli, make_stimuli
from axo.firmware.tools import yosys
from axo.layout.checks import clear_absent

if TYPE_CHECKING:
    from axo.events import Events
    from axo.firmware.tools.depth import Depth


def stimuli(context: Context) -> Stimuli:
    """The words that all evaluations are compared on."""
    from axo.events.sources import read_events, sample_names, sample_path

    options, journal = context.options, context.journal
    with journal.step("reading and generating words"):
        recorded = [_words(context, read_events(path), path) for path in options.recorded]
        samples = [read_events(sample_path(name)) for name in sample_names()]
        try:
            simulated = [sample.for_network(context.network) for sample in samples]
        except UserError as error:
            simulated = []
            journal.notes.append(f"axo's own samples took no part: {error}.")
        made = make_stimuli(context.network, options.n_events, recorded, simulated)
    if not recorded:
        journal.notes.append("No recorded events took part: give files of them with --recorded.")
    journal.notes.extend(f"{kind}: {KINDS[kind]}." for kind, count in made.counts().items() if count)
    return made


def _words(context: Context, events: Events, path: Path) -> NDArray[np.integer[Any]]:
    try:
        return events.for_network(context.network)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def all_rows(context: Context) -> NDArray[np.int64]:
    """Row numbers of every event."""
    return np.arange(len(context.get(stimuli).words))


def wire_rows(context: Context) -> NDArray[np.int64]:
    """Row numbers of the events that are simulated: such as can be on the wires of the trigger top."""
    events, design = context.get(stimuli), context.get(rtl_design)
    possible = (clear_absent(design.layout, events.words) == events.words).all(axis=1)
    # Some more: events before the thresholds are written, or dropped by a reset, do not count.
    n_events = context.options.n_rtl_events + context.options.n_rtl_events // 50 + 64
    return events.hardware_rows(n_events, possible)


def rtl_design(context: Context) -> rtl.RtlDesign:
    """The RTL, in rtl/."""
    settings = context.config.rtl
    config = rtl.RtlConfig(
        stages=settings.stages, language=settings.language, n_thresholds=len(context.thresholds)
    )
    with context.journal.step("RTL: trace and write Verilog"):
        return rtl.write_rtl(context.network, context.folder / "rtl", config)


def simulator(context: Context) -> simulate.Simulator:
    """The Verilator simulation of the trigger top, in simulation/."""
    timeout_s = context.config.simulation.timeout_s
    with context.journal.step("RTL: build the Verilator simulation"):
        made = simulate.build_simulator(
            context.get(rtl_design), context.folder / "simulation", timeout_s=timeout_s
        )
    context.journal.versions["verilator"] = made.version
    return made


def hls_project(context: Context) -> hls.HlsProject:
    """The HLS project, in hls/; some of the stimuli are its golden vectors."""
    config = hls.HlsConfig(
        backend="vivado" if "vivado" in context.options.backends else "vitis",
        part=context.config.part,
        clock_mhz=context.config.hls_clock_mhz,
        n_thresholds=len(context.thresholds),
        strategy=context.config.hls_strategy,
    )
    words = context.get(stimuli).words
    return hls.write_project(context.network, context.folder / "hls", config, words[:: len(words) // 256])


def emulator(context: Context) -> hls.HlsProject:
    """The HLS project with its C++ compiled, ready for hls.run_emulator."""
    project = context.get(hls_project)
    hls.compile_emulator(project)
    return project


def library(context: Context) -> abi.Library:
    """The CMSSW library, in library/ and as NAME.so. UserError for a network that it cannot be made of."""
    with context.journal.step("library: compile with the ABI of CMSSW's loader"):
        made = abi.compile_library(context.get(hls_project), context.folder / "library")
        with replacing(context.folder / made.path.name) as target:
            shutil.copyfile(made.path, target)
    return made


def synthesis(context: Context) -> yosys.SynthesisResult | None:
    """Yosys's netlist of the RTL, in synthesis/; None without Yosys. It takes minutes, of one core."""
    if yosys.find_yosys() is None:
        return None
    design, settings = context.get(rtl_design), context.config.synthesis
    return yosys.synthesise(
        design.files,
        design.top,
        context.folder / "synthesis",
        family=settings.family,
        use_dsp=settings.use_dsp,
        timeout_s=settings.timeout_s,
    )


@dataclass(frozen=True)
class Clock:
    """The clock that is claimed for the RTL, why that one, and the logic depth it rests on."""

    clock_mhz: float
    how_chosen: str
    depth: Depth


def clock(context: Context) -> Clock | None:
    """The RTL's clock, from the logic depth of the netlist; None without Yosys.

    Raises UserError for a clock that was asked for and cannot be claimed.
    """
    from axo.firmware.tools import depth  # loads scipy

    netlist = context.get(synthesis)
    if netlist is None:
        return None
    found = depth.analyse_depth(yosys.read_netlist(netlist.netlist, netlist.top))
    asked = context.config.clock_mhz
    if asked is None:
        choice = depth.choose_clock(found.period_ns)
        return Clock(choice.clock_mhz, choice.how_chosen, found)
    if not depth.clock_holds(asked, found.period_ns):
        raise UserError(
            f"clock_mhz = {asked:g} cannot be claimed: the deepest stage needs about "
            f"{found.period_ns:.2f} ns and {depth.MARGIN:.0%} of margin; use more stages, "
            "a lower clock, or leave the choice to axo"
        )
    how_chosen = f"asked for; holds the {found.period_ns:.2f} ns estimated for the deepest stage"
    return Clock(asked, how_chosen, found)
