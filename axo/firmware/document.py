"""The document of a firmware report (report_schema.json), of what a build has found."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo import __version__
from axo.firmware import stages
from axo.firmware.backends import ALWAYS, Figures
from axo.firmware.budget import Budget
from axo.firmware.comparison import Comparison, Result
from axo.firmware.context import Context
from axo.firmware.report import FORMAT, FORMAT_VERSION, Document
from axo.firmware.stimuli import KINDS
from axo.firmware.tools.reports import Latency, Resources
from axo.firmware.tools.run import find_tool, tool_version
from axo.network import Network, digest
from axo.network.convention import described
from axo.network.intervals import Analysis


@dataclass(frozen=True)
class Evaluated:
    """What became of one evaluation: its `result` and wall time, or why it is `absent`."""

    name: str
    summary: str
    result: Result | None = None
    wall_s: float | None = None
    absent: str | None = None


@dataclass(frozen=True)
class Findings:
    """All that a build has found; `figures` by backend, in the order they ran."""

    analysis: Analysis
    evaluated: Sequence[Evaluated]
    comparisons: Sequence[Comparison]
    figures: dict[str, Figures]

    @property
    def results(self) -> list[Result]:
        """Of the evaluations that took part, in their order."""
        return [entry.result for entry in self.evaluated if entry.result is not None]

    @property
    def latency(self) -> list[Latency]:
        """Of all backends."""
        return [entry for figures in self.figures.values() for entry in figures.latency]

    @property
    def resources(self) -> list[Resources]:
        """Of all backends."""
        return [entry for figures in self.figures.values() for entry in figures.resources]


def make_document(context: Context, findings: Findings, budget: Budget) -> Document:
    """The document, with the verdict; report.json is nothing else."""
    network, journal = context.network, context.journal
    checks = _checks(findings.figures[ALWAYS], budget)
    agree = not any(comparison.mismatches for comparison in findings.comparisons)
    within = all(check["within"] for check in checks if check["gates"])
    clock = findings.figures[ALWAYS].clock
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": context.model.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "network": {
            "name": network.name,
            "sha256": digest(network),
            "reads": described(network.layout, network.pt_convention),
            "score_type": str(network.score_type),
            "thresholds": network.thresholds,
        },
        "verdict": {"agree": agree, "within_budget": within, "passed": agree and within},
        "stimuli": context.get(stages.stimuli).counts(),
        "evaluations": {entry.name: _evaluation(entry) for entry in findings.evaluated},
        "comparisons": [_comparison(comparison) for comparison in findings.comparisons],
        "clock": clock
        and {"clock_mhz": clock.clock_mhz, "how_chosen": clock.how_chosen, "depth": clock.depth.as_json()},
        "latency": [_pick(entry, _LATENCY_KEYS) for entry in findings.latency],
        "resources": [_pick(entry, _RESOURCE_KEYS) for entry in findings.resources],
        "checks": checks,
        "tools": journal.tools,
        "versions": {**_versions(), **journal.versions},
        "digests": _digests(context),
        "wall_s": {**journal.wall_s, "total": round(journal.elapsed_s, 3)},
        "notes": journal.notes,
        "layers": _layers(network, findings.analysis),
        "scores": {
            kind: np.percentile(words, (0, 1, 50, 99, 100), method="nearest").tolist()
            for kind, words in scores_by_kind(context, findings.results).items()
        },
    }


def scores_by_kind(context: Context, results: Sequence[Result]) -> dict[str, NDArray[np.int32]]:
    """Score words of the reference, by kind of event; kinds without events are left out."""
    reference = next(result for result in results if result.name == "reference")
    kind = context.get(stages.stimuli).kind[reference.rows]
    by_kind = {name: reference.score_word[kind == index] for index, name in enumerate(KINDS)}
    return {name: words for name, words in by_kind.items() if len(words)}


def _evaluation(entry: Evaluated) -> dict[str, Any]:
    return {
        "what": entry.summary,
        "events": 0 if entry.result is None else len(entry.result.rows),
        "wall_s": None if entry.wall_s is None else round(entry.wall_s, 3),
        "absent": entry.absent,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "first": comparison.first,
        "second": comparison.second,
        "quantities": list(comparison.quantities),
        "events": sum(comparison.events.values()),
        "events_by_kind": comparison.events,
        "mismatches": comparison.mismatches,
    }


_LATENCY_KEYS = ("source", "cycles", "clock_mhz", "latency_ns", "initiation_interval_cycles")
_RESOURCE_KEYS = ("source", "what", "lut", "ff", "carry", "dsp", "bram")


def _pick(entry: Latency | Resources, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: getattr(entry, key) for key in keys}


def _checks(figures: Figures, budget: Budget) -> list[dict[str, Any]]:
    """The gates are on the open flow's own figures: RTL latency and Yosys's cells."""
    (latency,) = figures.latency
    interval_ns = None
    if latency.clock_mhz is not None and latency.initiation_interval_cycles is not None:
        interval_ns = latency.initiation_interval_cycles * 1000 / latency.clock_mhz
    measured: dict[str, float | None] = {
        "latency_ns": latency.latency_ns,
        "initiation_interval_ns": interval_ns,
    }
    for cells in figures.resources:
        measured.update({key: getattr(cells, key) for key in ("lut", "ff", "carry", "dsp", "bram")})
    rows = []
    for check in budget.check(measured):
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


def _layers(network: Network, analysis: Analysis) -> list[dict[str, Any]]:
    rows = []
    for operation in network.operations:
        kind, bounds = network.types[operation.name], analysis.intervals[operation.name]
        low, high = int(bounds.low.min()), int(bounds.high.max())
        needed = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + int(low < 0)
        rows.append(
            {
                "name": operation.name,
                "op": operation.op,
                "size": network.sizes[operation.name],
                "type": str(kind),
                "width": kind.width,
                "bits_needed": needed,
            }
        )
    return rows


def _digests(context: Context) -> dict[str, str]:
    """Of what was read and made; a library that could not be made has none."""
    folder = context.folder
    files = {"network.json": folder / "network.json"}
    library = context.made(stages.library)
    if library is not None:
        files[library.path.name] = folder / library.path.name
    files |= {f"rtl/{path.name}": path for path in sorted((folder / "rtl").glob("*.v*"))}
    if context.model.keras_path is not None:
        files["model.keras"] = context.model.keras_path
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


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
