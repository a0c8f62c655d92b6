"""One firmware build: from a network to four independent implementations that agree, and a report."""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import importlib.metadata
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo import __version__
from axo.errors import UserError
from axo.files import replacing, write_text
from axo.firmware.budget import Budget
from axo.firmware.comparison import Comparison, Result, compare_all, describe_mismatches
from axo.firmware.config import FirmwareConfig
from axo.firmware.hls import library as abi
from axo.firmware.hls import project as hls
from axo.firmware.models import Model
from axo.firmware.report import number, write_report
from axo.firmware.rtl import simulate
from axo.firmware.rtl import write as rtl
from axo.firmware.stimuli import KINDS, Stimuli, make_stimuli
from axo.firmware.tools import depth, vendor
from axo.firmware.tools import yosys as synthesis
from axo.firmware.tools.reports import Latency, Resources
from axo.firmware.tools.run import ToolError, find_tool, require_tool, stop_running_tools, tool_version
from axo.network import analyse, digest, evaluate, write_network
from axo.network.intervals import Analysis
from axo.network.types import Ints

Say = Callable[[str], None]

BACKENDS = ("rtl", "vitis", "vivado", "ecp5")

EVALUATIONS = {
    "keras": "the trained Keras model (TensorFlow)",
    "reference": "axo's reference evaluation (numpy integers)",
    "emulator": "hls4ml C++, words to score, compiled here",
    "library": "CMSSW library, loaded with dlopen and called through its ABI",
    "rtl": "Verilator simulation of the trigger top, an event every clock",
    "rtl_gaps": "the same with idle clocks, resets while events are inside, thresholds rewritten",
}


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
class Outcome:
    """The finished report `document`, the build `folder`, and the text of any mismatches."""

    document: dict[str, Any]
    folder: Path
    mismatches: str


def build_firmware(model: Model, options: BuildOptions, budget: Budget, say: Say = print) -> Outcome:
    """Build everything for `model` into ``options.output/<model name>``.

    report.json is removed first and written last, so an interrupted build is never taken for a
    finished one. Raises UserError for a network that is not sound or cannot be expressed, a missing
    compiler, a tool that fails, or a folder that another build is using.
    """
    unknown = [backend for backend in options.backends if backend not in BACKENDS]
    if unknown:
        raise UserError(f"backend {unknown[0]!r} is none of {', '.join(BACKENDS)}")
    analysis = analyse(model.network)
    folder = options.output / model.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); choose another --output") from error
    with _locked(folder):
        for name in ("report.json", "report.md", "report.html", "mismatches.txt"):
            (folder / name).unlink(missing_ok=True)
        return _Build(model, options, budget, folder, analysis, say).run()


class _Build:
    """The steps of one build and what they have found so far."""

    def __init__(
        self, model: Model, options: BuildOptions, budget: Budget, folder: Path, analysis: Analysis, say: Say
    ) -> None:
        self.model, self.options, self.budget = model, options, budget
        self.network, self.config = model.network, options.config
        self.folder, self.analysis, self.say = folder, analysis, say
        self.results: list[Result] = []
        self.evaluations: dict[str, dict[str, Any]] = {}
        self.latency: list[Latency] = []
        self.resources: list[Resources] = []
        self.wall_s: dict[str, float] = {}
        self.notes: list[str] = []
        self.tools: dict[str, str] = {}
        self.versions = _versions()
        self.library: abi.Library | None = None
        self.rtl_cycles: int | None = None
        self.started = time.monotonic()

    def run(self) -> Outcome:
        require_tool("g++", "install a C++ compiler (Debian and Ubuntu: apt install g++)")
        write_network(self.folder / "network.json", self.network)
        stimuli = self.stimuli = self._make_stimuli()
        self._note_the_network()
        with self._step("RTL: trace and write Verilog"):
            design = self._write_rtl(stimuli)
        # Yosys needs one core for minutes; the evaluations use the other meanwhile.
        with ThreadPoolExecutor(1) as background:
            synthesis_run = background.submit(self._synthesise, design)
            try:
                self._evaluate_all(design)
                comparisons = compare_all(self.results, stimuli)
                mismatches = self._show_mismatches(comparisons)
                clock = self._finish_synthesis(design, synthesis_run)
            except BaseException:
                stop_running_tools()
                raise
        self._run_backends(design)
        document = self._document(comparisons, clock)
        self._write(document)
        return Outcome(document, self.folder, mismatches)

    # The words

    def _make_stimuli(self) -> Stimuli:
        from axo.events.sources import read_events, sample_names, sample_path

        with self._step("reading and generating words"):
            recorded = [read_events(path).for_network(self.network) for path in self.options.recorded]
            simulated = [read_events(sample_path(name)).words for name in sample_names()]
            stimuli = make_stimuli(self.network, self.options.n_events, recorded, simulated)
        if not recorded:
            self.notes.append("No recorded events took part: give files of them with --recorded.")
        self.notes += [f"{kind}: {KINDS[kind]}." for kind, count in stimuli.counts().items() if count]
        return stimuli

    def _note_the_network(self) -> None:
        for overflow in self.analysis.overflows[:1]:
            self.notes.append(f"By its bounds this network's score may wrap: {overflow}.")

    # The evaluations

    def _evaluate_all(self, design: rtl.RtlDesign) -> None:
        rows = np.arange(len(self.stimuli.words))
        self._evaluate("reference", rows, self._reference)
        self._evaluate("emulator", rows, self._emulator)
        self._evaluate("library", rows, self._library, self._compile_library())
        self._evaluate("keras", rows, self._keras, self._why_no_keras())
        self._evaluate_rtl(design)
        self.results.sort(key=lambda result: list(EVALUATIONS).index(result.name))

    def _evaluate_rtl(self, design: rtl.RtlDesign) -> None:
        words = self.stimuli.words
        possible = (rtl.absent_to_zero(design.layout, words) == words).all(axis=1)
        # Some more: events before the thresholds are written, or dropped by a reset, do not count.
        n_events = self.options.n_rtl_events + self.options.n_rtl_events // 50 + 64
        rows = self.stimuli.hardware_rows(n_events, possible)
        absent = self._missing(_reason(simulate.require_tools))
        if absent is None:
            with self._step("RTL: build the Verilator simulation"):
                timeout_s = self.config.simulation.timeout_s
                self.simulator = simulate.build_simulator(
                    design, self.folder / "simulation", timeout_s=timeout_s
                )
            self.versions["verilator"] = self.simulator.version
        self._evaluate("rtl", rows, lambda rows: self._simulate("rtl", rows, simulate.BACK_TO_BACK), absent)
        self._evaluate(
            "rtl_gaps", rows, lambda rows: self._simulate("rtl_gaps", rows, simulate.MIXED), absent
        )

    def _evaluate(
        self,
        name: str,
        rows: NDArray[np.int64],
        evaluate_rows: Callable[[NDArray[np.int64]], Result],
        absent: str | None = None,
    ) -> None:
        entry = {"what": EVALUATIONS[name], "events": 0, "wall_s": None, "absent": absent}
        self.evaluations[name] = entry
        if absent is not None:
            self.say(f"  left out: {name} ({absent})")
            return
        with self._step(f"{name}: {EVALUATIONS[name]}, {len(rows)} events") as step:
            self.results.append(evaluate_rows(rows))
        entry.update(events=len(self.results[-1].rows), wall_s=round(step.wall_s, 3))

    def _reference(self, rows: NDArray[np.int64]) -> Result:
        answer = evaluate(self.network, self.stimuli.words[rows])
        bits = answer.score_word[:, None] >= np.array(self._thresholds(), np.int64)
        return Result("reference", rows, answer.score_word, answer.embedding_word, bits)

    def _emulator(self, rows: NDArray[np.int64]) -> Result:
        words = self.stimuli.words[rows]
        config = hls.HlsConfig(
            backend="vivado" if "vivado" in self.options.backends else "vitis",
            part=self.config.part,
            clock_mhz=self.config.hls_clock_mhz,
            n_thresholds=len(self._thresholds()),
            strategy=self.config.hls_strategy,
        )
        self.project = hls.write_project(
            self.network, self.folder / "hls", config, words[:: len(words) // 256]
        )
        hls.compile_emulator(self.project)
        answer = hls.run_emulator(self.project, words, self._thresholds())
        return Result("emulator", rows, answer.score_word, answer.embedding_word, answer.trigger_bits)

    def _library(self, rows: NDArray[np.int64]) -> Result:
        assert self.library is not None
        rows = rows[abi.possible_words(self.network, self.stimuli.words[rows])]
        score, embedding = abi.run_library(self.library, self.stimuli.words[rows])
        return Result("library", rows, score, embedding)

    def _compile_library(self) -> str | None:
        """Compile NAME.so; returns why not, for a network that CMSSW's caller could not feed."""
        with self._step("library: compile with the ABI of CMSSW's loader"):
            try:
                self.library = abi.compile_library(self.project, self.folder / "library")
            except ToolError:
                raise
            except UserError as error:
                return str(error)
            with replacing(self.folder / self.library.path.name) as target:
                shutil.copyfile(self.library.path, target)
        return None

    def _keras(self, rows: NDArray[np.int64]) -> Result:
        from axo.models.evaluate import evaluate_keras

        assert self.model.keras_path is not None
        score, embedding = evaluate_keras(self.model.keras_path, self.network, self.stimuli.words[rows])
        return Result("keras", rows, score, embedding)

    def _why_no_keras(self) -> str | None:
        if self.model.keras_path is None:
            return "no model.keras lies beside the network file"
        try:
            importlib.metadata.version("hgq2")
        except importlib.metadata.PackageNotFoundError:
            return "TensorFlow and hgq2 are not installed (pip install 'axo[train]')"
        return None

    def _write_rtl(self, stimuli: Stimuli) -> rtl.RtlDesign:
        config = rtl.RtlConfig(
            stages=self.config.rtl.stages,
            language=self.config.rtl.language,
            n_thresholds=len(self._thresholds()),
        )
        return rtl.write_rtl(self.network, self.folder / "rtl", config)

    def _simulate(self, name: str, rows: NDArray[np.int64], pattern: simulate.Pattern) -> Result:
        timeout_s = self.config.simulation.timeout_s
        found = self.simulator.run(self.stimuli.words[rows], self._thresholds(), pattern, timeout_s)
        self.rtl_cycles = found.latency_cycles
        if not np.array_equal(found.trigger_bits, found.score_word[:, None] >= found.threshold_word):
            raise UserError(f"{name}: a trigger bit is not its score word against the threshold in force")
        # The first events come while the threshold registers are still being written.
        settled = (found.threshold_word == self._thresholds()).all(axis=1)
        kept = rows[found.event][settled]
        return Result(name, kept, found.score_word[settled], trigger_bits=found.trigger_bits[settled])

    def _thresholds(self) -> list[int]:
        """The network's working points, or (so that the comparison is exercised) score 0."""
        return list(self.network.thresholds.values()) or [0]

    def _show_mismatches(self, comparisons: list[Comparison]) -> str:
        wrong = {name for entry in comparisons if entry.mismatches for name in (entry.first, entry.second)}
        traces = {"emulator": self._trace_emulator} if {"emulator", "library"} & wrong else {}
        text = describe_mismatches(comparisons, self.results, self.stimuli, self.network, traces)
        if text:
            write_text(self.folder / "mismatches.txt", text + "\n")
        return text

    def _trace_emulator(self, words: NDArray[np.integer]) -> dict[str, Ints]:
        """Every tensor of the HLS C++, compiled for that when it is needed."""
        if not (self.project.folder / "emulator_trace").is_file():
            hls.compile_emulator(self.project, trace=True)
        return hls.trace_emulator(self.project, words)

    # Synthesis, clock, other backends

    def _synthesise(self, design: rtl.RtlDesign) -> synthesis.SynthesisResult | None:
        if synthesis.find_yosys() is None:
            return None
        settings = self.config.synthesis
        return synthesis.synthesise(
            design.files,
            design.top,
            self.folder / "synthesis",
            family=settings.family,
            use_dsp=settings.use_dsp,
            timeout_s=settings.timeout_s,
        )

    def _finish_synthesis(
        self, design: rtl.RtlDesign, run: Future[synthesis.SynthesisResult | None]
    ) -> dict[str, Any] | None:
        """Wait for Yosys; from its netlist the logic depth, and from that the clock."""
        with self._step("Yosys: synthesis for LUTs, carry cells and logic depth (beside the above)"):
            result = run.result()
        if result is None:
            self._missing(f"yosys: {synthesis.MEND}")
            self._add_rtl_latency(design, None)
            return None
        self.resources.append(result.resources)
        self.versions["yosys"] = result.version
        self.wall_s["yosys"] = round(result.wall_s, 3)
        found = depth.analyse_depth(synthesis.read_netlist(result.netlist, result.top))
        clock_mhz, how_chosen = self._choose_clock(found)
        self._add_rtl_latency(design, clock_mhz)
        return {"clock_mhz": clock_mhz, "how_chosen": how_chosen, "depth": found.as_json()}

    def _choose_clock(self, found: depth.Depth) -> tuple[float, str]:
        asked = self.config.clock_mhz
        if asked is None:
            choice = depth.choose_clock(found.period_ns)
            return choice.clock_mhz, choice.how_chosen
        if not depth.clock_holds(asked, found.period_ns):
            raise UserError(
                f"clock_mhz = {asked:g} cannot be claimed: the deepest stage needs about "
                f"{found.period_ns:.2f} ns and {depth.MARGIN:.0%} of margin; use more stages, "
                "a lower clock, or leave the choice to axo"
            )
        return asked, f"asked for; holds the {found.period_ns:.2f} ns estimated for the deepest stage"

    def _add_rtl_latency(self, design: rtl.RtlDesign, clock_mhz: float | None) -> None:
        """Cycles as the simulation measured them (None without one), at the clock that was chosen."""
        cycles = self.rtl_cycles
        latency_ns = None if cycles is None or clock_mhz is None else cycles * 1000 / clock_mhz
        self.latency.append(Latency("rtl", cycles, clock_mhz, latency_ns, design.initiation_interval_cycles))

    def _run_backends(self, design: rtl.RtlDesign) -> None:
        self.tools.update(self._vendor_tools())
        for backend in self.options.backends:
            if backend == "ecp5":
                self._run_ecp5(design)
            elif backend in ("vitis", "vivado"):
                self._run_vendor(backend, design)

    def _run_ecp5(self, design: rtl.RtlDesign) -> None:
        from axo.firmware.tools import ecp5

        with self._step("ECP5: synthesis, placement and routing (can take half an hour)"):
            timeout_s = self.config.ecp5.timeout_s
            routed = ecp5.place_and_route(design.files, design.top, self.folder / "ecp5", timeout_s=timeout_s)
        self.versions |= {f"ecp5 {name}": version for name, version in routed.versions.items()}
        placed = f"{number(routed.placed_clock_mhz)} MHz after placement"
        self.notes.append(f"{routed.what}: {number(routed.clock_mhz)} MHz routed, {placed}.")
        if routed.resources is not None:
            self.resources.append(routed.resources)
        cycles, clock_mhz = design.latency_cycles, routed.clock_mhz
        latency_ns = None if clock_mhz is None else cycles * 1000 / clock_mhz
        self.latency.append(Latency("ecp5", cycles, clock_mhz, latency_ns, design.initiation_interval_cycles))

    def _vendor_tools(self) -> dict[str, str]:
        """Which of the vendor's tools are here, found or configured; nothing is run."""
        settings, states = self.config.vendor, {}
        tools = {"vitis": vendor.HLS_TOOLS["vitis"], "vivado_hls": ("vivado_hls",), "vivado": ("vivado",)}
        for name, executables in tools.items():
            configured = getattr(settings, name)
            found = next(filter(None, (find_tool(tool, configured) for tool in executables)), None)
            mend = vendor.MENDS[
                "vivado" if name == "vivado_hls" else name if name == "vitis" else "implementation"
            ]
            states[name] = f"found: {found}" if found else f"absent; {mend}"
        return states

    def _run_vendor(self, backend: str, design: rtl.RtlDesign) -> None:
        """C synthesis and co-simulation of the HLS project, and Vivado's implementation of the RTL."""
        settings = self.config.vendor
        configured = settings.vitis if backend == "vitis" else settings.vivado_hls
        with self._step(f"{backend}: C synthesis and co-simulation"):
            self._add_vendor(
                vendor.run_hls(
                    self.project.folder,
                    self.project.name,
                    backend,
                    steps=vendor.HlsSteps(csim=True, cosim=True),
                    configured=configured,
                    required=True,
                    timeout_s=settings.timeout_s,
                )
            )
        clock_mhz = self.latency[0].clock_mhz or self.config.hls_clock_mhz
        with self._step("vivado: implementation of the RTL"):
            self._add_vendor(
                vendor.implement(
                    design.files,
                    design.top,
                    self.folder / "vivado",
                    self.config.part,
                    clock_mhz,
                    configured=settings.vivado,
                    timeout_s=settings.timeout_s,
                )
            )

    def _add_vendor(self, result: vendor.VendorResult) -> None:
        self.notes.append(result.message)
        if result.version is not None:
            self.versions[result.stage] = result.version
        for report in result.reports.values():
            if report.resources is not None:
                self.resources.append(report.resources)
            if report.latency is not None:
                self.latency.append(report.latency)
            for field_name in report.missing:
                self.notes.append(f"{report.path.name} does not state {field_name}.")

    # The report

    def _document(self, comparisons: list[Comparison], clock: dict[str, Any] | None) -> dict[str, Any]:
        checks = self._checks()
        agree = not any(comparison.mismatches for comparison in comparisons)
        within = all(check["within"] for check in checks if check["gates"])
        network = self.network
        self.wall_s["total"] = round(time.monotonic() - self.started, 3)
        return {
            "format": "axo-firmware-report",
            "format_version": 1,
            "model": self.model.name,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "network": {
                "name": network.name,
                "sha256": digest(network),
                "score_type": str(network.score_type),
                "thresholds": network.thresholds,
            },
            "verdict": {"agree": agree, "within_budget": within, "passed": agree and within},
            "stimuli": self.stimuli.counts(),
            "evaluations": self.evaluations,
            "comparisons": [_comparison(comparison) for comparison in comparisons],
            "clock": clock,
            "latency": [_pick(entry, _LATENCY_KEYS) for entry in self.latency],
            "resources": [_pick(entry, _RESOURCE_KEYS) for entry in self.resources],
            "checks": checks,
            "tools": self.tools,
            "versions": self.versions,
            "digests": self._digests(),
            "wall_s": self.wall_s,
            "notes": self.notes,
            "layers": self._layers(),
            "scores": {kind: np.percentile(words, (0, 1, 50, 99, 100), method="nearest").tolist()
                       for kind, words in self._score_words().items()},
        }  # fmt: skip

    def _checks(self) -> list[dict[str, Any]]:
        """The gates are on the open flow's own figures: RTL latency and Yosys's cells."""
        rtl_latency = self.latency[0]
        interval_ns = None
        if rtl_latency.clock_mhz is not None and rtl_latency.initiation_interval_cycles is not None:
            interval_ns = rtl_latency.initiation_interval_cycles * 1000 / rtl_latency.clock_mhz
        measured: dict[str, float | None] = {
            "latency_ns": rtl_latency.latency_ns,
            "initiation_interval_ns": interval_ns,
        }
        yosys = next((entry for entry in self.resources if entry.source == "yosys"), None)
        if yosys is not None:
            measured.update({key: getattr(yosys, key) for key in ("lut", "ff", "carry", "dsp", "bram")})
        rows = []
        for check in self.budget.check(measured):
            source = "rtl" if check.quantity.endswith("_ns") else "yosys"
            rows.append(
                {
                    "quantity": check.quantity,
                    "value": check.value,
                    "limit": check.limit,
                    "gates": check.gates,
                    "within": check.within,
                    "source": source if check.value is not None else None,
                }
            )
        return rows

    def _layers(self) -> list[dict[str, Any]]:
        rows = []
        for operation in self.network.operations:
            kind, bounds = self.network.types[operation.name], self.analysis.intervals[operation.name]
            low, high = int(bounds.low.min()), int(bounds.high.max())
            needed = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + int(low < 0)
            rows.append(
                {
                    "name": operation.name,
                    "op": operation.op,
                    "size": self.network.sizes[operation.name],
                    "type": str(kind),
                    "width": kind.width,
                    "bits_needed": needed,
                }
            )
        return rows

    def _score_words(self) -> dict[str, NDArray[np.int32]]:
        reference = next(result for result in self.results if result.name == "reference")
        kinds = enumerate(KINDS)
        by_kind = {name: reference.score_word[self.stimuli.kind == index] for index, name in kinds}
        return {name: words for name, words in by_kind.items() if len(words)}

    def _digests(self) -> dict[str, str]:
        library = self.folder / f"{self.model.name}.so"
        files = {"network.json": self.folder / "network.json", library.name: library}
        files |= {f"rtl/{path.name}": path for path in sorted((self.folder / "rtl").glob("*.v*"))}
        if self.model.keras_path is not None:
            files["model.keras"] = self.model.keras_path
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}

    def _write(self, document: dict[str, Any]) -> None:
        from axo.firmware import pictures

        scores = pictures.score_distributions(
            self._score_words(), self.network.thresholds, self.network.score_type.max_int
        )
        write_report(
            self.folder,
            document,
            {
                "Score words of the reference evaluation, by kind of event": scores,
                "Latency and resources against their limits": pictures.budget_bars(document["checks"]),
                "Widths of the tensors: declared, and what can occur": pictures.layer_widths(
                    document["layers"]
                ),
            },
        )

    # Helpers

    def _missing(self, reason: str | None) -> str | None:
        """Record a tool that is absent: `reason` starts with its name."""
        if reason is not None:
            name, _, what = reason.partition(": ")
            self.tools[name] = f"absent; {what}"
        return reason

    @contextmanager
    def _step(self, what: str) -> Iterator[_Step]:
        """Say `what` is being done, time it."""
        self.say(f"[{time.monotonic() - self.started:6.1f} s] {what}")
        step, started = _Step(), time.monotonic()
        yield step
        step.wall_s = time.monotonic() - started
        self.wall_s[what] = round(step.wall_s, 3)


@dataclass
class _Step:
    wall_s: float = 0.0


_LATENCY_KEYS = ("source", "cycles", "clock_mhz", "latency_ns", "initiation_interval_cycles")
_RESOURCE_KEYS = ("source", "what", "lut", "ff", "carry", "dsp", "bram")


def _pick(entry: Latency | Resources, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: getattr(entry, key) for key in keys}


def _reason(find: Callable[[], object]) -> str | None:
    """Why `find` does not find its tools, or None when it does."""
    try:
        find()
    except UserError as error:
        return str(error)
    return None


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "first": comparison.first,
        "second": comparison.second,
        "quantities": list(comparison.quantities),
        "events": sum(comparison.events.values()),
        "events_by_kind": comparison.events,
        "mismatches": comparison.mismatches,
    }


def _versions() -> dict[str, str]:
    versions = {"axo": __version__, "python": platform.python_version()}
    for package in ("numpy", "hls4ml", "alkaid", "keras", "tensorflow-cpu", "hgq2"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    compiler = find_tool("g++")
    versions["g++"] = (compiler and tool_version([compiler, "--version"])) or "absent"
    return versions


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two builds in one folder would take each other's files."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"{folder}: another build is running there; wait, or give another --output"
            ) from error
        yield
