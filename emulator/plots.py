"""The answers of a replay as pictures, one file each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from axo.emulator.report import grouped
from axo.files import replacing
from axo.report.pictures import error_bars

Json = dict[str, Any]

SECTION_GROUPS = 24
PILEUP_GROUPS = 12
OVERLAPS = 15


def draw(answers: Json, folder: Path) -> list[Path]:
    """Draw what `answers` (see `axo.emulator.answers.answer`) know; the files written (PNG)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    written = []
    for name, plot in _PLOTS.items():
        figure = Figure(figsize=(7.2, 4.6), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        if not plot(figure, answers):
            continue
        path = folder / f"{name}.png"
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png")
        written.append(path)
    return written


def _rate(figure: Any, answers: Json) -> bool:
    """Rate and pure rate against threshold, the working points marked."""
    scan = answers["scan"]
    triggered = answers["normalisation"] is None
    axes = figure.add_subplot()
    rate = "fraction" if triggered else "rate_khz"
    _band(axes, scan, rate, "all accepted", "C0")
    if answers["seeds"] and not triggered:
        _band(axes, scan, "pure_rate_khz", "pure", "C1")
    for point in answers["working_points"]:
        axes.axvline(point["threshold_word"], color="grey", lw=0.7, ls=":")
        axes.annotate(
            point["name"], (point["threshold_word"], 1), xycoords=("data", "axes fraction"), **_UPRIGHT
        )
    axes.set(xlabel="threshold (score word)", yscale="log", xscale="log")
    axes.set_ylabel("fraction of events" if triggered else "rate (kHz)")
    axes.legend(title=answers["network"]["name"], loc="lower left")
    return True


def _purity(figure: Any, answers: Json) -> bool:
    """Purity against rate."""
    if not answers["seeds"]:
        return False
    key = "fraction" if answers["normalisation"] is None else "rate_khz"
    rows = [row for row in answers["scan"] if row["purity"] and row[key]["value"] > 0]
    axes = figure.add_subplot()
    x = [row[key]["value"] for row in rows]
    axes.fill_between(
        x, [r["purity"]["low"] for r in rows], [r["purity"]["high"] for r in rows], alpha=0.25, lw=0
    )
    axes.plot(x, [row["purity"]["value"] for row in rows], lw=1.2)
    axes.set(xscale="log", ylim=(0, 1.02), ylabel="purity (accepted by no other unprescaled seed)")
    axes.set_xlabel("fraction of events" if key == "fraction" else "rate (kHz)")
    return True


def _overlap(figure: Any, answers: Json) -> bool:
    """Share of accepted events that other seeds have too, at the first working point."""
    point = answers["working_points"][0]
    overlaps = [o for o in (point["details"] or {}).get("overlaps") or [] if not o["own"]][:OVERLAPS]
    if not overlaps:
        return False
    axes = figure.add_subplot()
    names = [f"{o['seed']}" + ("" if o["prescale"] == 1 else f" (/{o['prescale']:g})") for o in overlaps]
    values = [o["of_accepted"] for o in overlaps]
    axes.barh(
        names,
        [v["value"] for v in values],
        xerr=error_bars(values),
        color="C0",
        alpha=0.6,
        error_kw={"lw": 0.8},
    )
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    axes.set(xlabel=f"share of the {point['passed']} events accepted at {point['name']}", xlim=(0, None))
    return True


def _overlap_scan(figure: Any, answers: Json) -> bool:
    """The same against threshold, for the most overlapping seeds."""
    scan = answers["overlap_scan"]
    if not scan or not scan[0]["of_accepted"]:
        return False
    axes = figure.add_subplot()
    for name in scan[0]["of_accepted"]:
        values = [row["of_accepted"][name]["value"] for row in scan]
        axes.plot([row["threshold_word"] for row in scan], values, lw=1.2, label=name)
    axes.set(xlabel="threshold (score word)", xscale="log", ylabel="share of accepted events", ylim=(0, 1.02))
    axes.legend(fontsize=7)
    return True


def _sections(figure: Any, answers: Json) -> bool:
    """Accepted fraction and purity over lumi sections, with their pileup."""
    found = (answers["working_points"][0]["details"] or {}).get("sections")
    if not found:
        return False
    groups = list(grouped(found["sections"], SECTION_GROUPS))
    x = [sum(_middle(group)) / 2 for group in groups]
    axes = figure.add_subplot()
    _counts(axes, answers, x, groups)
    axes.set_xlabel("lumi section (groups of about as many events each)")
    if "average_pileup" in found["sections"][0]:
        other = axes.twinx()
        pileup = [
            sum(r["average_pileup"] * r["events"] for r in g) / sum(r["events"] for r in g) for g in groups
        ]
        other.plot(x, pileup, color="C2", lw=1.2, ls="--")
        other.set_ylabel("average pileup (dashed)", color="C2")
    return True


def _middle(group: Sequence[Json]) -> tuple[int, int]:
    return group[0]["lumi_section"], group[-1]["lumi_section"]


def _pileup(figure: Any, answers: Json) -> bool:
    """Accepted fraction against pileup."""
    rows = (answers["working_points"][0]["details"] or {}).get("pileup")
    if not rows:
        return False
    groups = list(grouped(rows, PILEUP_GROUPS))
    axes = figure.add_subplot()
    x = [sum(r["pileup"] * r["events"] for r in g) / sum(r["events"] for r in g) for g in groups]
    _counts(axes, answers, x, groups)
    axes.set_xlabel("interactions in the crossing (groups of about as many events each)")
    return True


def _counts(axes: Any, answers: Json, x: Sequence[float], groups: Sequence[Sequence[Json]]) -> None:
    """Rates of accepted and pure events in groups, with Clopper-Pearson intervals of their counts."""
    from axo.config import to_plain
    from axo.physics.figures import Amount, share

    norm = answers["normalisation"]
    scale = 1.0 if norm is None else norm["collision_rate_khz"]
    events = [Amount.counted(sum(row["events"] for row in group)) for group in groups]
    keys = ("passed", "pure") if answers["seeds"] else ("passed",)
    for key, colour in zip(keys, ("C0", "C1"), strict=False):
        parts = [Amount.counted(sum(row[key] for row in group)) for group in groups]
        found = (share(k, n, answers["confidence"]) for k, n in zip(parts, events, strict=True))
        values = [to_plain(value.scaled(scale)) for value in found if value is not None]
        label = {"passed": "all accepted", "pure": "pure"}[key]
        y = [v["value"] for v in values]
        aside = 0.003 * (max(x) - min(x)) * (key == "pure")
        axes.errorbar(
            [at + aside for at in x],
            y,
            yerr=error_bars(values),
            fmt="o",
            ms=3,
            lw=0.9,
            color=colour,
            label=label,
        )
    point = answers["working_points"][0]
    axes.set_ylabel("fraction of events" if norm is None else "rate (kHz)")
    axes.set_ylim(0, None)
    axes.legend(title=point["name"], fontsize=8, loc="upper right")


def _multiplicities(figure: Any, answers: Json) -> bool:
    """How many objects accepted, purely accepted, and all events have."""
    details = answers["working_points"][0]["details"]
    if not details or not answers["objects"]:
        return False
    samples = {"all": answers["objects"], "accepted": details["objects"], "pure": details["pure_objects"]}
    panels = figure.subplots(1, len(answers["objects"]), squeeze=False)[0]
    for axes, kind in zip(panels, answers["objects"], strict=True):
        for label, counts in samples.items():
            if counts and sum(counts[kind]):
                share = [n / sum(counts[kind]) for n in counts[kind]]
                axes.stairs(share, [i - 0.5 for i in range(len(share) + 1)], label=label, lw=1.3)
        axes.set(xlabel=f"{kind} objects", ylim=(0, None))
    figure.axes[0].set_ylabel("share of events")
    figure.axes[-1].legend(title=answers["working_points"][0]["name"], fontsize=8)
    return True


def _signals(figure: Any, answers: Json) -> bool:
    """Signal efficiencies against the zero-bias rate."""
    if not answers["signals"]:
        return False
    key = "fraction" if answers["normalisation"] is None else "rate_khz"
    x = [row[key]["value"] for row in answers["scan"]]
    axes = figure.add_subplot()
    for colour, (name, signal) in enumerate(answers["signals"].items()):
        values = [row["efficiency"] for row in signal["scan"]]
        low, high = [v["low"] for v in values], [v["high"] for v in values]
        axes.fill_between(x, low, high, alpha=0.2, lw=0, color=f"C{colour}")
        axes.plot(x, [v["value"] for v in values], lw=1.2, color=f"C{colour}", label=name)
        if answers["seeds"]:
            pure = [row["pure_efficiency"]["value"] for row in signal["scan"]]
            axes.plot(x, pure, lw=0.9, ls=":", color=f"C{colour}")
    axes.set(xscale="log", yscale="log", ylim=(1e-4, 1.1), ylabel="efficiency (dotted: no other seed)")
    axes.set_xlabel("fraction of events" if key == "fraction" else "rate (kHz)")
    axes.legend(fontsize=7, loc="upper left")
    return True


def _band(axes: Any, rows: Sequence[Json], key: str, label: str, colour: str) -> None:
    rows = [row for row in rows if row["threshold_word"] and row[key] and row[key]["value"] > 0]
    x = [row["threshold_word"] for row in rows]
    low, high = [row[key]["low"] for row in rows], [row[key]["high"] for row in rows]
    axes.fill_between(x, low, high, alpha=0.25, lw=0, color=colour)
    axes.plot(x, [row[key]["value"] for row in rows], lw=1.2, color=colour, label=label)


_UPRIGHT: Json = {"rotation": 90, "va": "top", "ha": "right", "fontsize": 7}
_PLOTS: dict[str, Callable[[Any, Json], bool]] = {
    "rate": _rate,
    "purity": _purity,
    "overlap": _overlap,
    "overlap_scan": _overlap_scan,
    "sections": _sections,
    "pileup": _pileup,
    "multiplicities": _multiplicities,
    "signals": _signals,
}
