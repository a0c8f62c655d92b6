"""Measure the kernel beside what evaluates the same network elsewhere, in one run.

  python -m axo.emulator.bench --output build/bench.json
  python -m axo.emulator.bench --model path/to/network.json --events 4000000 --no-peers

All evaluate the same recorded words from memory; their scores are compared as integers first, and
no ratio is given for one that differs. Peers, each on one core as it is used today:
  library  the CMSSW library that `make firmware` builds, called event by event through its ABI
  hls4ml   hls4ml's own predict() on the dense layers (words scaled beforehand, not timed)
  c        this kernel without dot-product instructions (any machine with a C compiler)
  numpy    this kernel without a compiler: the reference evaluation
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from axo.emulator.kernel import Kernel
from axo.emulator.kernel.build import find_compiler
from axo.emulator.limits import Limits, dot_products_per_event, measure_limits
from axo.errors import UserError
from axo.events.sources import read_events
from axo.files import write_json
from axo.firmware.models import find_model
from axo.firmware.tools.run import tool_version
from axo.network import Network, digest, evaluate
from axo.network.reference import apply
from axo.network.types import Ints
from axo.provenance import versions
from axo.report import Page, Section, Table

if TYPE_CHECKING:
    from axo.firmware.hls.core import Core

Words = NDArray[np.int16]
Scores = NDArray[np.int32]


@dataclass(frozen=True)
class Peer:
    """What a peer gave: `scores` (n,) of the first n words, and its speed on one core."""

    scores: Scores
    events_per_s: float
    what: str


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 when scores differ, or 2 for bad input."""
    args = _parser().parse_args(argv)
    try:
        network = find_model(args.model).network
        report = measure(
            network,
            read_events(args.words).for_network(network),
            n_events=args.events,
            repeats=args.repeats,
            peers=args.peers,
            peer_events=args.peer_events,
        )
        print(table(report))
        if args.output:
            write_json(args.output, {"emulator": report})
    except UserError as error:
        print(f"axo: error: {error}", file=sys.stderr)
        return 2
    return 1 if any(peer.get("mismatches") for peer in report["peers"].values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m axo.emulator.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="axo_v3", help="released model or network file (%(default)s)")
    parser.add_argument(
        "--words", default="sample:zerobias_test", help="recorded events, repeated (%(default)s)"
    )
    parser.add_argument("--events", type=_positive, default=1 << 21, help="for the kernel (%(default)s)")
    parser.add_argument("--peer-events", type=_positive, default=20000, help="for each peer (%(default)s)")
    parser.add_argument("--repeats", type=_positive, default=15, help="of the kernel (%(default)s)")
    parser.add_argument(
        "--no-peers",
        dest="peers",
        action="store_false",
        help="leave out library and hls4ml, which compile long",
    )
    parser.add_argument("--output", type=Path, help="write bench.json here")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def measure(
    network: Network, words: Words, *, n_events: int, repeats: int, peers: bool, peer_events: int
) -> dict[str, Any]:
    """The ``emulator`` part of bench.json: kernel, peers, ratios, limits, machine.

    `words` (any number, n_words) are repeated to `n_events`. Raises UserError without a C compiler.
    """
    if not len(words):
        raise UserError("the benchmark needs at least one event")
    words = np.resize(words, (n_events, words.shape[1]))
    fast = Kernel(network, 1)
    if fast.backend == "numpy":
        raise UserError("there is no C compiler, so there is nothing to measure; install one")
    threads = sorted({1, len(os.sched_getaffinity(0))})
    few = np.ascontiguousarray(words[:peer_events])
    expected = evaluate(network, few).score_word
    _require_equal("kernel", fast.scores(few), expected)
    # On all events, both compiled forms against each other: the reference would take minutes.
    _require_equal("kernel", fast.scores(words), Kernel(network, threads[-1], "c").scores(words))
    limits = measure_limits(words, threads)
    runs = [_run(network, words, n, repeats, limits) for n in threads]
    found = {name: run(network, few) for name, run in _peers(fast.backend, peers).items()}
    best = runs[-1]
    reports = {name: _peer_report(peer, expected) for name, peer in found.items()}
    return {
        "network": {"name": network.name, "sha256": digest(network)},
        "backend": fast.backend,
        "events": n_events,
        "events_per_s": best["events_per_s"],
        "events_per_s_per_core": best["events_per_s"] / best["threads"],
        "threads": best["threads"],
        "runs": runs,
        "peers": reports,
        "ratios": {
            name: best["events_per_s"] / report["events_per_s"]
            for name, report in reports.items()
            if report["mismatches"] == 0
        },
        "limits": {
            "clock_ghz": limits.clock_ghz,
            "dot_products_per_s": limits.dot_products_per_s,
            "dot_products_per_event": dot_products_per_event(network) if fast.backend == "vnni" else None,
            "read_bytes_per_s": {str(n): rate for n, rate in limits.read_bytes_per_s.items()},
        },
        "machine": {"cpu": _cpu(), "cores": threads[-1], "compiler": _compiler()},
        "versions": versions(),
    }


def _run(network: Network, words: Words, threads: int, repeats: int, limits: Limits) -> dict[str, Any]:
    """Speed of the kernel with `threads` (median of `repeats`), and how near the machine's limits it is."""
    fast = Kernel(network, threads)
    busy = time.process_time()
    times = _times_s(lambda: fast.scores(words), repeats)
    busy = time.process_time() - busy
    rate = len(words) / statistics.median(times)
    # What one core does while it is ours: other work on the machine hardly changes it.
    per_cpu_s = len(words) * (repeats + 1) / busy
    bytes_per_event = words.shape[1] * words.itemsize + np.dtype(np.int32).itemsize
    dots = dot_products_per_event(network) if fast.backend == "vnni" else None
    of_arithmetic = None
    if limits.dot_products_per_s and dots:
        of_arithmetic = rate * dots / (limits.dot_products_per_s * threads)
    return {
        "threads": threads,
        "events_per_s": rate,
        "events_per_s_best": len(words) / min(times),
        "events_per_cpu_s": per_cpu_s,
        "bytes_per_event": bytes_per_event,
        "bytes_per_s": rate * bytes_per_event,
        "cycles_per_event": limits.clock_ghz * 1e9 / per_cpu_s if limits.clock_ghz else None,
        "fraction_of_bandwidth": rate * bytes_per_event / limits.read_bytes_per_s[threads],
        "fraction_of_arithmetic": of_arithmetic,
    }


def _times_s(work: Callable[[], object], repeats: int) -> list[float]:
    """Wall times of `repeats` runs, in seconds, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return times


def _peers(backend: str, long: bool) -> dict[str, Callable[[Network, Words], Peer]]:
    peers: dict[str, Callable[[Network, Words], Peer]] = {}
    if long:
        peers |= {"library": _library, "hls4ml": _hls4ml}
    if backend != "c":
        peers["c"] = _portable
    return peers | {"numpy": _numpy}


def _library(network: Network, words: Words) -> Peer:
    from axo.firmware.hls.library import compile_library, run_library, time_library
    from axo.firmware.hls.project import write_project

    with tempfile.TemporaryDirectory(prefix="axo-bench-") as folder:
        built = compile_library(write_project(network, Path(folder) / "project"))
        timing = time_library(built, words)
        scores = run_library(built, words).score_word
    what = "CMSSW library through its ABI, event by event (prepare_input, predict, read_result)"
    return Peer(scores, timing.events / timing.call_s, what)


def _hls4ml(network: Network, words: Words) -> Peer:
    from axo.firmware.hls.core import find_core, hls4ml_graph

    core = find_core(network)
    tensors = evaluate(network, words, chunk=len(words)).tensors
    inputs = [tensors[name] * 2.0 ** -network.types[name].fraction for name in core.inputs]
    arrays = [np.ascontiguousarray(values, np.float32) for values in inputs]
    with tempfile.TemporaryDirectory(prefix="axo-bench-") as folder:
        graph = hls4ml_graph(
            core,
            Path(folder),
            project="bench",
            namespace="axo_bench",
            backend="Vitis",
            part="xcvu9p-flga2104-2L-e",
            clock_period_ns=5.0,
            stamp="bench",
            trace=False,
        )
        _compile_graph(graph)
        started = time.perf_counter()
        outputs = graph.predict(arrays[0] if len(arrays) == 1 else arrays)
        wall_s = time.perf_counter() - started
    outputs = [outputs] if len(core.outputs) == 1 else outputs
    given = dict(zip(core.outputs, outputs, strict=True))
    return Peer(
        _scores_after(core, tensors, given), len(words) / wall_s, "hls4ml's predict(), dense layers only"
    )


def _compile_graph(graph: Any) -> None:
    """graph.compile() without the YAML description, for which hls4ml would import TensorFlow."""
    from hls4ml.writer import get_writer

    plain = type(get_writer("Vitis"))
    type("Writer", (plain,), {"write_yml": lambda self, model: None})().write_hls(graph)
    graph._compile()


def _scores_after(core: Core, tensors: dict[str, Ints], outputs: dict[str, Any]) -> Scores:
    """Score words from what hls4ml computed; the rest of the network by the reference."""
    network = core.network
    found: dict[str, Ints] = {name: tensors[name] for name in ("words", *core.inputs)}
    for name, values in outputs.items():
        found[name] = np.rint(values * 2.0 ** network.types[name].fraction).astype(np.int64)
    for operation in network.operations:
        source = core.source(operation.name)
        if operation.name not in found and source in found:
            found[operation.name] = found[source]
        elif operation.name not in found and all(name in found for name in operation.inputs):
            found[operation.name] = apply(operation, found, network.types)
    return found[network.score][:, 0].astype(np.int32)


def _portable(network: Network, words: Words) -> Peer:
    portable = Kernel(network, 1, "c")
    scores = portable.scores(words)
    rate = len(words) / statistics.median(_times_s(lambda: portable.scores(words), 5))
    return Peer(scores, rate, "this kernel in portable C, one core")


def _numpy(network: Network, words: Words) -> Peer:
    slow = Kernel(network, 1, "numpy")
    started = time.perf_counter()
    scores = slow.scores(words)
    return Peer(scores, len(words) / (time.perf_counter() - started), "the reference evaluation in numpy")


def _peer_report(peer: Peer, expected: Scores) -> dict[str, Any]:
    return {
        "what": peer.what,
        "events": len(peer.scores),
        "threads": 1,
        "events_per_s": peer.events_per_s,
        "mismatches": int(np.count_nonzero(peer.scores != expected)),
    }


def _require_equal(name: str, scores: Scores, expected: Scores) -> None:
    wrong = np.flatnonzero(scores != expected)
    if len(wrong):
        first = wrong[0]
        raise UserError(
            f"{name}: {len(wrong)} of {len(expected)} scores differ, first event {first}: "
            f"{scores[first]} instead of {expected[first]}"
        )


def table(report: dict[str, Any]) -> str:
    """The report as lines for a terminal."""
    runs = [
        [
            "kernel, " + _count(run["threads"], "thread"),
            format(run["events_per_s"], ",.0f"),
            format(run["events_per_cpu_s"], ",.0f"),
            _number(run["cycles_per_event"], ".0f"),
            format(run["bytes_per_s"] * 1e-9, ".2f"),
            # Fractions of the machine's measured limits.
            format(run["fraction_of_bandwidth"], ".0%"),
            _number(run["fraction_of_arithmetic"], ".0%"),
        ]
        for run in report["runs"]
    ]
    header = ["", "events/s", "per CPU-second", "cycles/event", "GB/s", "of bandwidth", "of arithmetic"]
    peers = [
        [name, format(peer["events_per_s"], ",.0f"), f"{_verdict(report, name)} ({peer['what']})"]
        for name, peer in report["peers"].items()
    ]
    about = (
        f"{report['network']['name']} on {report['machine']['cpu']}, backend {report['backend']}, "
        f"{report['events']:,} events from memory"
    )
    tables = [Table(header, runs), *([Table(["peer", "events/s", ""], peers, "lrl")] if peers else [])]
    return Page("", [Section(table=table) for table in tables], [about]).terminal()


def _verdict(report: dict[str, Any], name: str) -> str:
    if name in report["ratios"]:
        return f"kernel is {report['ratios'][name]:,.0f} times as fast"
    peer = report["peers"][name]
    return f"{peer['mismatches']} of {peer['events']} scores DIFFER: no ratio"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _compiler() -> str | None:
    compiler = find_compiler()
    return tool_version([compiler, "--version"]) if compiler else None


if __name__ == "__main__":
    sys.exit(main())
