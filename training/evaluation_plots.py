"""The pictures of an evaluation, as PNG bytes, from its document alone."""

from __future__ import annotations

from typing import Any

from axo.report.pictures import error_bars, panels, png

Json = dict[str, Any]

_STYLE = {"baseline": ":", "ceiling": "--", "model": "-"}


def draw(document: Json) -> dict[str, bytes]:
    """PNG bytes by the names of `evaluation_report.CAPTIONS`; what has nothing to show is left out."""
    pictures = {
        "roc": _roc(document),
        "scores": _scores(document),
        "efficiencies": _efficiencies(document),
        "information": _information(document),
        "dependence": _dependence(document),
    }
    return {name: picture for name, picture in pictures.items() if picture is not None}


def _roc(document: Json) -> bytes:
    """One panel a signal, false-positive rate on a logarithmic axis."""
    figure, places = _panels(len(document["signals"]), 3)
    for axes, signal in zip(places, document["signals"], strict=False):
        for name, detector in document["detectors"].items():
            x, y = zip(*(p for p in detector["roc"][signal] if p[0] > 0), strict=True)
            axes.plot(x, y, _STYLE[detector["kind"]], color=_colour(document, name), lw=1.4, label=name)
        for point in document["points"].values():
            axes.axvline(point["fraction"], color="#aaaaaa", lw=0.7, ls=":")
        axes.set(xscale="log", yscale="log", xlim=(3e-6, 1), ylim=(1e-4, 1.2), title=signal)
        axes.set(xlabel="fraction of background", ylabel="efficiency")
    places[0].legend(fontsize=7, frameon=False)
    return png(figure)


def _scores(document: Json) -> bytes:
    """Fraction above the score, in units of the cut at the loosest working point: one panel a model."""
    models = [name for name, d in document["detectors"].items() if d["kind"] == "model"]
    figure, places = _panels(len(models), 2)
    for axes, name in zip(places, models, strict=False):
        found = document["detectors"][name]["scores"]
        axes.stairs(found["background"], found["edges"], fill=True, color="#bbbbbb", label="background")
        for colour, (signal, shares) in enumerate(found["signals"].items()):
            axes.stairs(shares, found["edges"], color=f"C{colour}", lw=1.4, label=signal)
        for key, point in document["points"].items():
            cut = document["detectors"][name]["points"][key]["cut"]
            if cut is not None and not point["pure"]:
                axes.axvline(cut + 1, color="#555555", lw=0.8, ls=":")
                axes.text(cut + 1, 0.98, f"{point['label']} ", rotation=90, fontsize=7, ha="right", va="top",
                          transform=axes.get_xaxis_transform())  # fmt: skip
        axes.set(
            xscale="log", yscale="log", xlabel="score word", ylabel="share of events per bin", title=name
        )
    places[0].legend(fontsize=7, frameon=False, loc="upper left")
    return png(figure)


def _efficiencies(document: Json) -> bytes:
    """One panel a working point: signals along x, detectors beside each other."""
    figure, places = _panels(len(document["points"]), 2)
    signals = list(document["signals"])
    number = len(document["detectors"])
    for axes, (key, point) in zip(places, document["points"].items(), strict=False):
        kind = "pure_efficiency" if point["pure"] else "efficiency"
        for i, (name, detector) in enumerate(document["detectors"].items()):
            values = [detector["points"][key][kind][signal] for signal in signals]
            x = [j + 0.7 * ((i + 0.5) / number - 0.5) for j in range(len(signals))]
            y = [value["value"] for value in values]
            bars = error_bars(values)
            axes.errorbar(
                x, y, bars, fmt="o", ms=4, lw=1.2, color=_colour(document, name), label=name,
                mfc="white" if detector["kind"] != "model" else None,
            )  # fmt: skip
        axes.set_xticks(range(len(signals)), signals, fontsize=8)
        axes.set(yscale="log", title=point["label"], ylabel=kind.replace("_", " "))
        axes.grid(axis="y", alpha=0.25)
    places[0].legend(fontsize=7, frameon=False)
    return png(figure)


def _information(document: Json) -> bytes:
    """Bars: one group a variable."""
    found = {
        n: d["mutual_information"] for n, d in document["detectors"].items() if "mutual_information" in d
    }
    figure, (axes,) = _panels(1, 1)
    variables = list(next(iter(found.values())))
    for i, (name, values) in enumerate(found.items()):
        x = [j + 0.8 * ((i + 0.5) / len(found) - 0.5) for j in range(len(variables))]
        height = [max(values[v], 0) for v in variables]
        axes.bar(x, height, 0.8 / len(found), color=_colour(document, name), label=name)
    axes.set_xticks(range(len(variables)), variables, fontsize=8)
    axes.set(ylabel="mutual information with the score (nats)")
    axes.legend(fontsize=8, frameon=False)
    return png(figure)


def _dependence(document: Json) -> bytes | None:
    """Fraction passing against pileup and numbers of objects; None where events have neither."""
    found = {n: d["dependence"] for n, d in document["detectors"].items() if "dependence" in d}
    first = next(iter(found.values()))
    variables = [v for v in first if v != "point" and _has_a_course(found, v)]
    if not variables:
        variables = [v for v in first if v != "point"][:1]
    if not variables:
        return None
    figure, places = _panels(len(variables), 2)
    for axes, variable in zip(places, variables, strict=False):
        for name, detector in found.items():
            rows = [row for row in detector[variable] if row["passed"]]
            y = [row["fraction"]["value"] for row in rows]
            bars = error_bars([row["fraction"] for row in rows])
            x = [row["mean"] for row in rows]
            axes.errorbar(
                x, y, bars, fmt="o-", ms=3, lw=1, color=_colour(document, name), label=name
            )  # fmt: skip
        label = document["points"][first["point"]]["label"]
        axes.set(xlabel=variable, ylabel=f"fraction passing at {label}", yscale="log")
    places[0].legend(fontsize=7, frameon=False)
    return png(figure)


def _has_a_course(found: Json, variable: str) -> bool:
    """Whether some detector passes events in more than one range."""
    return any(sum(row["passed"] > 0 for row in detector[variable]) > 1 for detector in found.values())


def _colour(document: Json, name: str) -> str:
    return f"C{list(document['detectors']).index(name)}"


def _panels(number: int, columns: int) -> tuple[Any, list[Any]]:
    columns = min(columns, number)
    rows = -(-number // columns)
    width = {1: 9.0, 2: 10.5, 3: 13.0}[columns]
    figure, found = panels((width, rows * (4.4 if columns == 1 else 3.6)), rows, columns, dpi=110)
    for axes in found[number:]:
        axes.set_visible(False)
    return figure, found
