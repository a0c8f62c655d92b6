"""One firmware build: from a network to independent implementations that agree, and a report.

What is compared are the files of axo/firmware/evaluations, what measures those of axo/firmware/backends;
what they share is made by axo/firmware/stages, and axo/firmware/document puts it all in a document.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.files import write_text
from axo.firmware import stages
from axo.firmware.backends import BACKENDS, Backend, Figures, backends
from axo.firmware.budget import Budget
from axo.firmware.comparison import Comparison, Result, compare_all, describe_mismatches
from axo.firmware.context import BuildOptions, Context, Journal, Say
from axo.firmware.document import Evaluated, Findings, make_document, scores_by_kind
from axo.firmware.evaluations import Evaluation, Traced, evaluations
from axo.firmware.models import Model
from axo.firmware.report import Document, write_report
from axo.firmware.tools.run import require_tool, stop_running_tools
from axo.network import analyse, write_network
from axo.network.intervals import Analysis
from axo.network.types import Ints


@dataclass(frozen=True)
class Outcome:
    """The finished report `document`, the build `folder`, and the text of any mismatches."""

    document: Document
    folder: Path
    mismatches: str


def build_firmware(model: Model, options: BuildOptions, budget: Budget, say: Say = print) -> Outcome:
    """Build everything for `model` into ``options.output/<model name>``.

    report.json is removed first and written last, so an interrupted build is never taken for a
    finished one. Raises UserError for a backend that is unknown or not here, a network that cannot be
    expressed, a missing compiler, a tool that fails, or a folder that another build is using.
    """
    asked = backends(options.backends)
    analysis = analyse(model.network)
    folder = options.output / model.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); choose another --output") from error
    with _locked(folder):
        for name in ("report.json", "report.md", "report.html", "mismatches.txt", f"{model.name}.so"):
            (folder / name).unlink(missing_ok=True)
        return _build(Context(model, options, folder, Journal(say)), analysis, asked, budget)


def _build(context: Context, analysis: Analysis, asked: Mapping[str, Backend], budget: Budget) -> Outcome:
    require_tool("g++", "install a C++ compiler (Debian and Ubuntu: apt install g++)")
    _require_tools(context, asked)
    write_network(context.folder / "network.json", context.network)
    context.get(stages.stimuli)
    for overflow in analysis.overflows[:1]:
        context.journal.notes.append(f"By its bounds this network may wrap: {overflow}.")
    context.get(stages.rtl_design)
    # Yosys needs one core for minutes; the evaluations use the other meanwhile.
    with ThreadPoolExecutor(1) as background:
        try:
            for stage in [stage for backend in asked.values() for stage in backend.BACKGROUND]:
                background.submit(context.get, stage)
            evaluated = [_evaluate(context, name, module) for name, module in evaluations().items()]
            results = [entry.result for entry in evaluated if entry.result is not None]
            comparisons = compare_all(results, context.get(stages.stimuli))
            mismatches = _show_mismatches(context, results, comparisons)
            figures = _measure(context, results, asked)
        except BaseException:
            stop_running_tools()
            raise
    findings = Findings(analysis, evaluated, comparisons, figures)
    document = make_document(context, findings, budget)
    write_report(context.folder, document, _pictures(context, findings, document))
    return Outcome(document, context.folder, mismatches)


def _require_tools(context: Context, asked: Mapping[str, Backend]) -> None:
    """UserError for a backend that was asked for and has no tool: now, and not after half an hour."""
    for backend in BACKENDS.load_all().values():
        context.journal.tools.update(backend.tools(context))
    for backend in asked.values():
        lacking = backend.absent(context)
        if lacking is not None:
            raise UserError(lacking)


def _evaluate(context: Context, name: str, evaluation: Evaluation) -> Evaluated:
    absent = evaluation.absent(context)
    if absent is not None:
        context.journal.say(f"  left out: {name} ({absent})")
        return Evaluated(name, evaluation.SUMMARY, absent=absent)
    rows = context.get(evaluation.ROWS)
    with context.journal.step(f"{name}: {evaluation.SUMMARY}, {len(rows)} events") as step:
        result = evaluation.run(context, rows)
    return Evaluated(name, evaluation.SUMMARY, result, step.wall_s)


def _show_mismatches(context: Context, results: Sequence[Result], comparisons: Sequence[Comparison]) -> str:
    wrong = {name for entry in comparisons if entry.mismatches for name in (entry.first, entry.second)}
    traces: dict[str, Callable[[NDArray[np.integer[Any]]], Mapping[str, Ints]]] = {
        name: partial(module.trace, context)
        for name, module in evaluations().items()
        if isinstance(module, Traced) and wrong & set(module.TRACES)
    }
    stimuli = context.get(stages.stimuli)
    text = describe_mismatches(comparisons, results, stimuli, context.network, traces)
    if text:
        write_text(context.folder / "mismatches.txt", text + "\n")
    return text


def _measure(context: Context, results: Sequence[Result], asked: Mapping[str, Backend]) -> dict[str, Figures]:
    return {name: backend.run(context, results) for name, backend in asked.items()}


def _pictures(context: Context, findings: Findings, document: Document) -> dict[str, bytes]:
    from axo.firmware import pictures

    network = context.network
    return {
        "Score words of the reference evaluation, by kind of event": pictures.score_distributions(
            scores_by_kind(context, findings.results), network.thresholds, network.score_type.max_int
        ),
        "Latency and resources against their limits": pictures.budget_bars(document["checks"]),
        "Widths of the tensors: declared, and what can occur": pictures.layer_widths(document["layers"]),
    }


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
