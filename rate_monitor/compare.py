"""How well controllers held a rate: figures, a table, plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.physics.pileup_model import ScoreByPileup, signal_efficiency
from axo.physics.rates import LUMI_SECTION_S
from axo.report import Table

from .scenarios import Fault, Trace
from .scenarios.oracle import PILEUP_FLOOR
from .scenarios.truth import SeedTruth

IN_BAND_POINTS = 0.01
"""A controller's in-band fraction may be this much below the oracle's."""

RMS_RATIO = 1.3
"""A controller's RMS of log(rate / target) may be this many times the oracle's."""

RECOVERY_SECTIONS = 3
"""After a fault the rate is back in band within this many lumi sections."""


@dataclass(frozen=True)
class Figures:
    """One controller over one fill, lumi sections with pileup below 20 left out.

    `in_band` is a fraction of `lumi_sections`, `rms` that of log(rate / target), `worst_ratio` the rate
    farthest above target over target, `signal_efficiency` the mean over lumi sections and signals of the
    efficiency over that of the threshold which gives exactly the target, at most 1: rate above target buys
    nothing (None without signals; those with no event left at the target do not count).
    """

    name: str
    lumi_sections: int
    in_band: float
    rms: float
    worst_ratio: float
    above_twice: int
    changes_per_hour: float
    signal_efficiency: float | None
    alarms: int
    decision_ms: float


def figures(
    trace: Trace, target_khz: float, band: float, truth: SeedTruth, counts: ScoreByPileup | None = None
) -> Figures:
    """The figures of one trace; ValueError when no lumi section counts."""
    counted = trace.pileup >= PILEUP_FLOOR
    if not counted.any():
        raise ValueError("no lumi section with pileup of 20 or more")
    ratio = trace.rate_khz[counted] / target_khz
    hours = len(trace.lumi_section) * LUMI_SECTION_S / 3600
    return Figures(
        trace.name,
        int(counted.sum()),
        float(np.mean(np.abs(ratio - 1) <= band)),
        float(np.sqrt(np.mean(np.log(ratio) ** 2))),
        float(ratio.max()),
        int((ratio > 2).sum()),
        float(trace.changed.sum() / hours),
        _efficiency(trace, counted, target_khz, truth, counts),
        sum(len(codes) for codes in trace.alarms),
        float(np.median(trace.decision_s) * 1000),
    )


def _efficiency(
    trace: Trace,
    counted: NDArray[np.bool_],
    target_khz: float,
    truth: SeedTruth,
    counts: ScoreByPileup | None,
) -> float | None:
    if counts is None or not counts.signals:
        return None
    exact = [truth.word(target_khz, pileup) for pileup in trace.pileup[counted]]
    kept = []
    for name in counts.signals:
        best = signal_efficiency(counts, name, exact)
        own = signal_efficiency(counts, name, trace.word[counted])
        if best.all():
            kept.append(float(np.mean(np.minimum(own / best, 1.0))))
    return sum(kept) / len(kept) if kept else None


@dataclass(frozen=True)
class Recovery:
    """One controller after one fault: lumi sections until the rate is in band (None: not within the
    window), and how many of the window were above twice the target, and about twice or more; all after the
    worst edge of the fault."""

    name: str
    fault: str
    sections: int | None
    above_twice: int
    about_twice: int


def recovery(trace: Trace, fault: Fault, target_khz: float, band: float, window: int = 25) -> Recovery:
    """What became of the rate after each edge of `fault`; the worse edge counts.

    Back in band means in band in that lumi section and the next, so that a rate which merely passes
    through the band does not count. About twice the target is less than three errors of counting below it.
    """
    about_twice = 2 * (1 - 3 / math.sqrt(target_khz * 1000 * LUMI_SECTION_S))
    slowest: int | None = 0
    above = about = 0
    for edge in fault.edges:
        inside = (trace.lumi_section >= edge) & (trace.lumi_section < edge + window)
        counted = trace.pileup[inside] >= PILEUP_FLOOR
        ratio = trace.rate_khz[inside] / target_khz
        good = (np.abs(ratio - 1) <= band) | ~counted
        held = good[:-1] & good[1:]
        back = int(np.argmax(held)) if held.any() else None
        slowest = None if back is None or slowest is None else max(slowest, back)
        above = max(above, int((ratio[counted] > 2).sum()))
        about = max(about, int((ratio[counted] > about_twice).sum()))
    return Recovery(trace.name, fault.kind, slowest, above, about)


def bars(results: Mapping[str, Figures], controller: str) -> dict[str, dict[str, Any]]:
    """Whether `controller` meets the bars against the better oracle, and is ahead of its peers."""
    oracles = [results[name] for name in results if name.startswith("oracle")]
    best_in_band = max(oracle.in_band for oracle in oracles)
    best_rms = min(oracle.rms for oracle in oracles)
    own = results[controller]
    peers = [results[name] for name in ("log_pi", "pd", "fixed") if name in results]
    return {
        "in_band": {
            "value": own.in_band,
            "least": best_in_band - IN_BAND_POINTS,
            "met": own.in_band >= best_in_band - IN_BAND_POINTS,
        },
        "rms": {"value": own.rms, "most": RMS_RATIO * best_rms, "met": own.rms <= RMS_RATIO * best_rms},
        "ahead_of_peers": {
            "peers": {peer.name: {"in_band": peer.in_band, "rms": peer.rms} for peer in peers},
            "met": all(own.in_band >= peer.in_band and own.rms < peer.rms for peer in peers),
        },
    }


def recovery_met(own: Recovery, oracles: Sequence[Recovery]) -> bool:
    """Whether the bars on faults are met: back within 3 lumi sections, and above twice the target for at
    most one lumi section more than an oracle was about or above it. (A rate that doubles from the target is
    just above twice the target or just below it by luck: what it was before is known to an error.)"""
    in_time = own.sections is not None and own.sections <= RECOVERY_SECTIONS
    return in_time and own.above_twice <= max(oracle.about_twice for oracle in oracles) + 1


def table(results: Sequence[Figures]) -> str:
    """The comparison as text."""
    rows = [
        [
            item.name,
            f"{item.in_band:.2%}",
            f"{item.rms:.4f}",
            f"{item.worst_ratio:.2f}",
            str(item.above_twice),
            f"{item.changes_per_hour:.1f}",
            "-" if item.signal_efficiency is None else f"{item.signal_efficiency:.3f}",
            str(item.alarms),
            f"{item.decision_ms:.2f}",
        ]
        for item in results
    ]
    header = ["controller", "in band", "RMS log", "worst", "> 2x", "changes/h", "signal eff", "alarms", "ms"]
    return Table(header, rows).text()


def recovery_table(results: Sequence[Recovery]) -> str:
    """Lumi sections to recover (and lumi sections above twice the target) by fault and controller."""
    names = list(dict.fromkeys(item.name for item in results))
    kinds = list(dict.fromkeys(item.fault for item in results))
    cells = {
        (item.name, item.fault): f"{'never' if item.sections is None else item.sections} ({item.above_twice})"
        for item in results
    }
    rows = [[kind, *(cells[name, kind] for name in names)] for kind in kinds]
    return Table(["fault", *names], rows).text()


_COLOURS = {
    "oracle": "#000000",
    "oracle_forecast": "#888888",
    "fixed": "#b0722b",
    "pd": "#7b4fa3",
    "log_pi": "#2f7f4f",
    "predictive": "#1f5fbf",
}


def plot(path: Path, traces: Sequence[Trace], target_khz: float, band: float, title: str) -> None:
    """Pileup, rate over target with its band, and thresholds against lumi section, as a picture."""
    from matplotlib.figure import Figure

    from axo.files import replacing

    figure = Figure(figsize=(11, 8), layout="constrained")
    pileup_axes, rate_axes, word_axes = figure.subplots(3, 1, sharex=True, height_ratios=[1, 2, 2])
    pileup_axes.plot(traces[0].lumi_section, traces[0].pileup, color="#333333", linewidth=1)
    pileup_axes.set_ylabel("pileup")
    pileup_axes.set_title(title)
    for trace in traces:
        counted = trace.pileup >= PILEUP_FLOOR
        style = {"color": _COLOURS.get(trace.name), "linewidth": 0.9, "label": trace.name}
        rate_axes.plot(trace.lumi_section, np.where(counted, trace.rate_khz / target_khz, np.nan), **style)
        word_axes.plot(trace.lumi_section, trace.word, drawstyle="steps-post", **style)
    rate_axes.axhspan(1 - band, 1 + band, color="#1f5fbf", alpha=0.12)
    rate_axes.set_yscale("log")
    low, high = rate_axes.get_ylim()
    rate_axes.set_ylim(max(min(low, 0.7), 0.1), min(max(high, 1.4), 10))
    rate_axes.set_ylabel(f"rate / {target_khz:g} kHz")
    word_axes.set_ylabel("threshold word")
    word_axes.set_xlabel("lumi section")
    word_axes.legend(loc="lower right", ncols=3)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png", dpi=110)
