"""What tools report about a design, in one form: resources, latency, timing.

A field that a report does not state is None, never 0. Every `read_*` raises UserError, naming the
file and what is missing, for a file that is truncated or something else altogether.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from axo.errors import UserError


@dataclass(frozen=True)
class Resources:
    """Cells that a design takes, as `source` counts them; `what` says which count it is.

    `carry` is in CARRY4 (4 bits of carry chain; a CARRY8 counts two), `bram` in blocks of
    18 kbit (a RAMB36 counts two), `lut_memory` is the part of `lut` used as memory or shift register.
    """

    source: str
    what: str
    lut: int | None = None
    ff: int | None = None
    carry: int | None = None
    dsp: int | None = None
    bram: int | None = None
    uram: int | None = None
    lut_memory: int | None = None


@dataclass(frozen=True)
class Latency:
    """From the first register to the last: `cycles` of a clock of `clock_mhz`."""

    source: str
    cycles: int | None = None
    clock_mhz: float | None = None
    latency_ns: float | None = None
    initiation_interval_cycles: int | None = None


@dataclass(frozen=True)
class Timing:
    """How a design meets its clock; `wns_ns` and `whs_ns` are the worst setup and hold slacks."""

    source: str
    target_clock_period_ns: float | None = None
    clock_uncertainty_ns: float | None = None
    estimated_clock_period_ns: float | None = None
    wns_ns: float | None = None
    tns_ns: float | None = None
    whs_ns: float | None = None
    failing_endpoints: int | None = None

    @property
    def met(self) -> bool | None:
        """Whether no slack is negative; None when no setup slack is stated."""
        if self.wns_ns is None:
            return None
        return self.wns_ns >= 0 and (self.whs_ns is None or self.whs_ns >= 0)


@dataclass(frozen=True)
class ToolReport:
    """One report file. `missing` names what such a report should state and this one does not.

    `passed` is the verdict of a co-simulation, `state` the design state of a Vivado report
    (Synthesized, Routed, ...).
    """

    path: Path
    source: str
    version: str | None = None
    part: str | None = None
    top: str | None = None
    state: str | None = None
    resources: Resources | None = None
    latency: Latency | None = None
    timing: Timing | None = None
    passed: bool | None = None
    missing: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Plain data for a JSON report; the path becomes its file name."""
        return asdict(self) | {"path": self.path.name, "missing": list(self.missing)}


def read_csynth(path: str | os.PathLike[str]) -> ToolReport:
    """C synthesis, `*_csynth.xml` of Vivado HLS or Vitis HLS: estimates, before logic synthesis.

    The latency is the worst case, the initiation interval the largest.
    """
    root = _parse_xml(path)
    performance, area = root.find("PerformanceEstimates"), root.find("AreaEstimates/Resources")
    if performance is None or area is None:
        absent = "PerformanceEstimates" if performance is None else "AreaEstimates/Resources"
        raise UserError(f"{path}: is not a C synthesis report (it has no <{absent}>)")
    overall = "SummaryOfOverallLatency"
    period_ns = _number(root.findtext("UserAssignments/TargetClockPeriod"))
    cycles = _integer(performance.findtext(f"{overall}/Worst-caseLatency"))
    real_time_ns = _time_ns(performance.findtext(f"{overall}/Worst-caseRealTimeLatency"))
    if real_time_ns is None and cycles is not None and period_ns is not None:
        real_time_ns = cycles * period_ns
    # Vivado HLS writes DSP48E, Vitis HLS DSP.
    dsp = area.findtext("DSP") or area.findtext("DSP48E")
    resources = Resources(
        "csynth",
        "C synthesis estimate",
        lut=_integer(area.findtext("LUT")),
        ff=_integer(area.findtext("FF")),
        dsp=_integer(dsp),
        bram=_integer(area.findtext("BRAM_18K")),
        uram=_integer(area.findtext("URAM")),
    )
    latency = Latency(
        "csynth",
        cycles=cycles,
        clock_mhz=1000 / period_ns if period_ns else None,
        latency_ns=real_time_ns,
        initiation_interval_cycles=_integer(performance.findtext(f"{overall}/Interval-max")),
    )
    timing = Timing(
        "csynth",
        target_clock_period_ns=period_ns,
        clock_uncertainty_ns=_number(root.findtext("UserAssignments/ClockUncertainty")),
        estimated_clock_period_ns=_number(
            performance.findtext("SummaryOfTimingAnalysis/EstimatedClockPeriod")
        ),
    )
    return ToolReport(
        Path(path),
        "csynth",
        version=_text(root.findtext("ReportVersion/Version")),
        part=_text(root.findtext("UserAssignments/Part")),
        top=_text(root.findtext("UserAssignments/TopModelName")),
        resources=resources,
        latency=latency,
        timing=timing,
        missing=_missing(resources, ("lut", "ff", "dsp", "bram"))
        + _missing(latency, ("cycles", "clock_mhz", "latency_ns", "initiation_interval_cycles"))
        + _missing(timing, ("estimated_clock_period_ns",)),
    )


def read_utilisation(path: str | os.PathLike[str]) -> ToolReport:
    """`report_utilization` of Vivado, any family; the table of contents must be complete."""
    text = _read_text(path)
    header = _vivado_header(text)
    sections = _vivado_sections(text)
    if not header or not any(title in ("Slice Logic", "CLB Logic") for title in sections):
        raise UserError(f"{path}: is not a Vivado utilisation report (no table 'Slice Logic' or 'CLB Logic')")
    for title in _table_of_contents(text):
        if title not in sections:
            raise UserError(f"{path}: is truncated: its section {title!r} is missing")
    used = _used_by_name(text)
    tiles = _number(_first(used, "Block RAM Tile"))
    resources = Resources(
        "vivado",
        f"Vivado, {header.get('Design State', 'state not stated').lower()}",
        lut=_integer(_first(used, "CLB LUTs", "Slice LUTs")),
        ff=_integer(_first(used, "CLB Registers", "Slice Registers")),
        carry=_carry(used, complete="Primitives" in sections),
        dsp=_integer(_first(used, "DSPs")),
        bram=None if tiles is None else round(2 * tiles),
        uram=_integer(_first(used, "URAM")),
        lut_memory=_integer(_first(used, "LUT as Memory")),
    )
    return ToolReport(
        Path(path),
        "vivado",
        version=header.get("Tool Version"),
        part=header.get("Device"),
        top=header.get("Design"),
        state=header.get("Design State"),
        resources=resources,
        missing=_missing(resources, ("lut", "ff", "carry", "dsp", "bram")),
    )


def read_timing_summary(path: str | os.PathLike[str]) -> ToolReport:
    """`report_timing_summary` of Vivado: the Design Timing Summary, and the clock if there is one."""
    text = _read_text(path)
    header = _vivado_header(text)
    summary = _ruled_table(text, "Design Timing Summary")
    if not header or summary is None:
        raise UserError(f"{path}: is not a whole Vivado timing summary (no 'Design Timing Summary' table)")
    if not summary:
        raise UserError(f"{path}: is truncated: the 'Design Timing Summary' has no values")
    values = summary[0]
    clocks = _ruled_table(text, "Clock Summary") or []
    periods = {row.get("Period(ns)") for row in clocks}
    period_ns = _number(periods.pop()) if len(periods) == 1 else None
    wns_ns = _number(values.get("WNS(ns)"))
    timing = Timing(
        "vivado",
        target_clock_period_ns=period_ns,
        estimated_clock_period_ns=_difference(period_ns, wns_ns),
        wns_ns=wns_ns,
        tns_ns=_number(values.get("TNS(ns)")),
        whs_ns=_number(values.get("WHS(ns)")),
        failing_endpoints=_integer(values.get("TNS Failing Endpoints")),
    )
    return ToolReport(
        Path(path),
        "vivado",
        version=header.get("Tool Version"),
        part=header.get("Device"),
        top=header.get("Design"),
        state=header.get("Design State"),
        timing=timing,
        missing=_missing(timing, ("target_clock_period_ns", "wns_ns", "whs_ns")),
    )


def read_cosim(path: str | os.PathLike[str], clock_mhz: float | None = None) -> ToolReport:
    """C/RTL co-simulation, `*_cosim.rpt`: the RTL language that was simulated, Verilog first.

    The report does not state the clock: give `clock_mhz` for a latency in ns.
    """
    rows = {}
    for line in _read_text(path).splitlines():
        cells = _cells(line)
        if len(cells) >= 8 and cells[0] in ("Verilog", "VHDL"):
            rows[cells[0]] = cells
    simulated = [rows[name] for name in ("Verilog", "VHDL") if name in rows and rows[name][1] != "NA"]
    if not rows:
        raise UserError(f"{path}: is not a co-simulation report (no row 'Verilog' or 'VHDL')")
    if not simulated:
        raise UserError(f"{path}: neither Verilog nor VHDL was simulated")
    _, status, _, _, latency_max, _, _, interval_max = simulated[0][:8]
    cycles = _integer(latency_max)
    latency = Latency(
        "cosim",
        cycles=cycles,
        clock_mhz=clock_mhz,
        latency_ns=None if cycles is None or clock_mhz is None else cycles * 1000 / clock_mhz,
        initiation_interval_cycles=_integer(interval_max),
    )
    return ToolReport(
        Path(path),
        "cosim",
        latency=latency,
        passed=status.lower() == "pass",
        missing=_missing(latency, ("cycles", "initiation_interval_cycles")),
    )


def _read_text(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _parse_xml(path: str | os.PathLike[str]) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(_read_text(path))
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: is not whole XML ({error}); is it truncated?") from error


def _missing(part: object, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if getattr(part, name) is None)


def _text(value: str | None) -> str | None:
    return (value or "").strip() or None


def _number(value: str | None) -> float | None:
    """A finite number, or None for what a tool writes when it has none (undef, NA, ?, -)."""
    value = (value or "").strip()
    return float(value) if re.fullmatch(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?", value) else None


def _integer(value: str | None) -> int | None:
    value = (value or "").strip()
    return int(value) if re.fullmatch(r"[-+]?\d+", value) else None


def _difference(minuend: float | None, subtrahend: float | None) -> float | None:
    return None if minuend is None or subtrahend is None else round(minuend - subtrahend, 6)


def _time_ns(value: str | None) -> float | None:
    """'50.000 ns', '1.2 us' in ns."""
    match = re.fullmatch(r"\s*([\d.]+)\s*(ps|ns|us|ms|sec)\s*", value or "")
    number = _number(match[1]) if match else None
    if match is None or number is None:
        return None
    return number * {"ps": 1e-3, "ns": 1.0, "us": 1e3, "ms": 1e6, "sec": 1e9}[match[2]]


def _vivado_header(text: str) -> dict[str, str]:
    """The `| Key : value` lines at the top of every Vivado report."""
    header: dict[str, str] = {}
    for match in re.finditer(r"^\| ([A-Z][\w ]*?)\s*: (.*?)\s*$", text, re.MULTILINE):
        header.setdefault(match[1], match[2])
    return header


def _table_of_contents(text: str) -> list[str]:
    """Titles under 'Table of Contents', sub-sections included."""
    match = re.search(r"^Table of Contents\s*\n-+\s*\n((?:[\d.]+ .*\n)*)", text, re.MULTILINE)
    return [line.split(" ", 1)[1].strip() for line in match[1].splitlines()] if match else []


def _vivado_sections(text: str) -> set[str]:
    """Titles that are followed by a rule and a table, or the words that stand for an empty one."""
    return {
        match[1].strip()
        for match in re.finditer(r"^[\d.]+ (\S.*)\n-+\s*\n+(?:\+-|\S)", text.replace("\r", ""), re.MULTILINE)
    }


def _used_by_name(text: str) -> dict[str, str]:
    """The 'Used' column of every table, by the name in the first column; the first mention counts."""
    used: dict[str, str] = {}
    column = None
    for line in text.splitlines():
        cells = _cells(line)
        if "Used" in cells:
            column = cells.index("Used")
        elif column is not None and column < len(cells):
            used.setdefault(cells[0].rstrip("*"), cells[column])
    return used


def _cells(line: str) -> list[str]:
    """Cells of a whole row of a `| ... |` table; none of any other line."""
    line = line.strip()
    whole = len(line) > 1 and line[0] == line[-1] == "|"
    return [cell.strip() for cell in line.strip("|").split("|")] if whole else []


def _first(values: dict[str, str], *names: str) -> str | None:
    return next((values[name] for name in names if name in values), None)


def _carry(used: dict[str, str], complete: bool) -> int | None:
    """Carry cells in CARRY4; a complete list of primitives that names none means none."""
    carry4, carry8 = _integer(used.get("CARRY4")), _integer(used.get("CARRY8"))
    if carry4 is None and carry8 is None:
        return 0 if complete else None
    return (carry4 or 0) + 2 * (carry8 or 0)


def _ruled_table(text: str, title: str) -> list[dict[str, str]] | None:
    """Rows of the table under '| title': names, a line of dashes, values. None without a table."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip() == f"| {title}":
            break
    names: list[str] = []
    for line in lines:
        if re.fullmatch(r"[\s-]+", line) and line.strip() and names:
            break
        if line.strip() and not line.startswith(("|", "---")):
            names = re.split(r"\s{2,}", line.strip())
    else:
        return None
    rows = []
    for line in lines:
        cells = re.split(r"\s{2,}", line.strip())
        if not line.strip() or len(cells) != len(names):
            break
        rows.append(dict(zip(names, cells, strict=True)))
    return rows
