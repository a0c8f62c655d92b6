"""The vendor's tools by subprocess: C synthesis and co-simulation, implementation.

A tool that is absent gives a result that says so, with what to install; only a caller who requires
it gets an error. A tool that fails, hangs, or exits with 0 and leaves no report is always an error.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from axo.errors import UserError
from axo.files import write_text
from axo.firmware.tools.depth import clock_period_ns
from axo.firmware.tools.reports import (
    ToolReport,
    read_cosim,
    read_csynth,
    read_timing_summary,
    read_utilisation,
)
from axo.firmware.tools.run import ToolError, find_tool, run_tool, tool_version

HLS_TOOLS = {"vitis": ("vitis-run", "vitis_hls"), "vivado": ("vivado_hls",)}
"""Executables that can build an HLS project of a backend, the newest first."""

EXECUTABLES = {**HLS_TOOLS, "implementation": ("vivado",)}
"""Those of every stage."""

MENDS = {
    "vitis": "install AMD Vitis 2021.1 or later and put its bin folder on PATH, or configure its path",
    "vivado": "install Vivado 2020.1 or earlier and put its bin folder on PATH, or configure its path",
    "implementation": "install AMD Vivado and put its bin folder on PATH, or configure its path",
}

VERSION_OPTIONS = {
    "vitis-run": "--version",
    "vitis_hls": "-version",
    "vivado_hls": "-version",
    "vivado": "-version",
}

DONE, ABSENT = "done", "absent"


@dataclass(frozen=True)
class HlsSteps:
    """What an hls4ml build script is asked to do besides C synthesis."""

    csim: bool = False
    cosim: bool = False
    export: bool = False

    def options(self) -> dict[str, bool]:
        """Every option of the script; `validation` compares the logs of the two simulations."""
        return {
            "reset": True,
            "csim": self.csim,
            "synth": True,
            "cosim": self.cosim,
            "validation": self.csim and self.cosim,
            "export": self.export,
            "vsynth": False,
            "fifo_opt": False,
        }


@dataclass(frozen=True)
class VendorResult:
    """One tool's work: `status` is 'done' or 'absent', `message` one line for the report.

    `reports` has 'csynth' and 'cosim', or 'utilisation' and 'timing'. With an absent tool all
    else is empty.
    """

    stage: str
    status: str
    message: str
    tool: Path | None = None
    version: str | None = None
    arguments: tuple[str, ...] = ()
    log: Path | None = None
    wall_s: float | None = None
    reports: dict[str, ToolReport] = field(default_factory=dict)


def run_hls(
    folder: str | os.PathLike[str],
    name: str,
    backend: str = "vitis",
    *,
    steps: HlsSteps = HlsSteps(),
    configured: str | None = None,
    required: bool = False,
    timeout_s: float = 14400,
) -> VendorResult:
    """C synthesis, and what `steps` asks for, of the hls4ml project `name` in `folder`.

    `backend` is 'vitis' or 'vivado', `configured` the path of its executable. Raises UserError for a
    tool that is `required` and absent and for reports that cannot be read, ToolError when the tool
    fails, outlasts `timeout_s`, leaves no report, or its co-simulation does not pass.
    """
    if backend not in HLS_TOOLS:
        raise UserError(f"HLS backend {backend!r} is none of {', '.join(HLS_TOOLS)}")
    tool = find(backend, configured)
    if tool is None:
        return _absent(backend, required)
    folder = Path(folder)
    if not (folder / "build_prj.tcl").is_file():
        raise UserError(f"{folder}: is not an HLS project (it has no build_prj.tcl)")
    solution = folder / f"{name}_prj" / "solution1"
    expected = {"csynth": solution / "syn" / "report" / f"{name}_csynth.xml"}
    if steps.cosim:
        expected["cosim"] = solution / "sim" / "report" / f"{name}_cosim.rpt"
    write_text(folder / "build_opt.tcl", build_options(steps))
    result = _run(backend, tool, hls_arguments(backend, tool, steps), folder, expected, timeout_s)
    result.reports["csynth"] = csynth = read_csynth(expected["csynth"])
    if steps.cosim:
        clock_mhz = csynth.latency.clock_mhz if csynth.latency else None
        result.reports["cosim"] = cosim = read_cosim(expected["cosim"], clock_mhz)
        if not cosim.passed:
            raise ToolError(f"{tool.name}: the co-simulation did not pass ({expected['cosim']})", result.log)
    return result


def implement(
    sources: Sequence[str | os.PathLike[str]],
    top: str,
    folder: str | os.PathLike[str],
    part: str,
    clock_mhz: float,
    *,
    clock: str = "clk",
    until: str = "route",
    use_dsp: bool = False,
    configured: str | None = None,
    required: bool = False,
    timeout_s: float = 14400,
) -> VendorResult:
    """Vivado on module `top` of Verilog or VHDL `sources`, out of context, in `folder`.

    `clock` is the clock port, `until` 'synth' or 'route'. Missing the clock is no error: the timing
    report says so. Raises UserError for a tool that is `required` and absent, for a bad source and
    for reports that cannot be read, ToolError when Vivado fails, outlasts `timeout_s` or leaves no report.
    """
    tool = find("implementation", configured)
    if tool is None:
        return _absent("implementation", required)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parameters = implementation_parameters(sources, top, part, until, use_dsp)
    script = resources.files("axo.firmware_templates").joinpath("vendor/implement.tcl").read_text()
    write_text(folder / "implement.tcl", script)
    write_text(folder / "parameters.tcl", parameters)
    write_text(folder / "clock.xdc", clock_constraints(clock, clock_mhz))
    expected = {"utilisation": folder / "utilisation.rpt", "timing": folder / "timing.rpt"}
    result = _run("implementation", tool, implementation_arguments(tool), folder, expected, timeout_s)
    result.reports["utilisation"] = read_utilisation(expected["utilisation"])
    result.reports["timing"] = read_timing_summary(expected["timing"])
    return result


def hls_arguments(backend: str, tool: Path, steps: HlsSteps) -> tuple[str, ...]:
    """The command, to be run in the project's folder. vivado_hls takes the options in an argument."""
    if tool.name == "vitis-run":
        return (str(tool), "--mode", "hls", "--tcl", "build_prj.tcl")
    if backend == "vivado":
        options = " ".join(f"{name}={int(value)}" for name, value in steps.options().items())
        return (str(tool), "-f", "build_prj.tcl", options)
    return (str(tool), "-f", "build_prj.tcl")


def build_options(steps: HlsSteps) -> str:
    """build_opt.tcl, from which the Vitis build script reads its options."""
    lines = [f"    {name:<10} {int(value)}" for name, value in steps.options().items()]
    return "\n".join(["array set opt {", *lines, "}", ""])


def implementation_arguments(tool: Path) -> tuple[str, ...]:
    """The Vivado command, to be run in the folder of implement.tcl."""
    return (str(tool), "-mode", "batch", "-nojournal", "-nolog", "-notrace", "-source", "implement.tcl")


def implementation_parameters(
    sources: Sequence[str | os.PathLike[str]],
    top: str,
    part: str,
    until: str = "route",
    use_dsp: bool = False,
) -> str:
    """parameters.tcl for implement.tcl; UserError for a source that is absent or of unknown language."""
    if until not in ("synth", "route"):
        raise UserError(f"implementation until {until!r}: is neither synth nor route")
    by_suffix: dict[str, list[str]] = {"verilog": [], "vhdl": []}
    languages = {".v": "verilog", ".sv": "verilog", ".vhd": "vhdl", ".vhdl": "vhdl"}
    for source in map(Path, sources):
        if not source.is_file():
            raise UserError(f"{source}: no such RTL source")
        if source.suffix not in languages:
            raise UserError(f"{source}: is neither Verilog nor VHDL by its name")
        by_suffix[languages[source.suffix]].append(_tcl_word(str(source.resolve())))
    return "\n".join(
        [
            f"set part {_tcl_word(part)}",
            f"set top {_tcl_word(top)}",
            f"set until {until}",
            f"set max_dsp {-1 if use_dsp else 0}",
            *(f"set {language}_sources [list {' '.join(words)}]" for language, words in by_suffix.items()),
            "",
        ]
    )


def clock_constraints(clock: str, clock_mhz: float) -> str:
    """clock.xdc: the real clock that the nominal `clock_mhz` stands for, registers right outside."""
    ports = f"[get_ports -filter {{DIRECTION == %s && NAME != {clock}}}]"
    return "\n".join(
        [
            f"create_clock -name {clock} -period {clock_period_ns(clock_mhz):.3f} [get_ports {clock}]",
            f"set_input_delay -clock {clock} 0 {ports % 'IN'}",
            f"set_output_delay -clock {clock} 0 {ports % 'OUT'}",
            "",
        ]
    )


def hls_verilog(folder: str | os.PathLike[str], name: str) -> list[Path]:
    """The Verilog that C synthesis of project `name` wrote, to be implemented with clock 'ap_clk'."""
    return sorted((Path(folder) / f"{name}_prj" / "solution1" / "syn" / "verilog").glob("*.v"))


def find(stage: str, configured: str | None = None) -> Path | None:
    """The tool of a stage ('vitis', 'vivado' or 'implementation'), or None.

    Raises UserError when a path is `configured` and is no executable.
    """
    names = EXECUTABLES[stage]
    if configured:
        return find_tool(names[0], configured)
    return next((tool for name in names if (tool := find_tool(name))), None)


def why_absent(stage: str) -> str:
    """What to say of a stage without a tool: which were looked for, and the mend."""
    return f"{' or '.join(EXECUTABLES[stage])} was not found; {MENDS[stage]}"


def _absent(stage: str, required: bool) -> VendorResult:
    if required:
        raise UserError(why_absent(stage))
    return VendorResult(stage, ABSENT, why_absent(stage))


def _run(
    stage: str,
    tool: Path,
    arguments: tuple[str, ...],
    folder: Path,
    expected: dict[str, Path],
    timeout_s: float,
) -> VendorResult:
    """Run the tool; its reports are to be new ones, so earlier ones go first."""
    for report in expected.values():
        report.unlink(missing_ok=True)
    version = tool_version([tool, VERSION_OPTIONS.get(tool.name, "-version")])
    run = run_tool(arguments, cwd=folder, log=folder / f"{tool.name}.log", timeout_s=timeout_s)
    for report in expected.values():
        if not report.is_file():
            raise ToolError(f"{tool.name}: exited with 0 but left no {report} (log: {run.log})", run.log)
    message = f"{version or tool.name}: finished in {run.wall_s:.0f} s"
    return VendorResult(stage, DONE, message, tool, version, arguments, run.log, run.wall_s)


def _tcl_word(text: str) -> str:
    """A word that Tcl takes literally; UserError for what braces cannot hold."""
    if any(character in text for character in "{}\\\n"):
        raise UserError(f"{text!r}: braces, backslashes and line breaks are not possible in a path or name")
    return f"{{{text}}}"
