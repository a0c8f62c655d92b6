"""The pictures of the firmware report, as PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.report.pictures import panels, png

_GOOD, _BAD, _LIMIT, _TARGET = "#2f7fb8", "#b8352f", "#333333", "#8a8a8a"


def score_distributions(
    score_words: Mapping[str, NDArray[np.int32]], thresholds: Mapping[str, int], max_word: int
) -> bytes:
    """Score distributions per kind of event, on a logarithmic axis, with the thresholds marked."""
    figure, (axes,) = panels((9, 4.6))
    edges = np.geomspace(1, max_word + 2, 121)
    for kind, scores in score_words.items():
        share = np.full(len(scores), 1 / len(scores))
        axes.hist(
            scores + 1, edges, weights=share, histtype="step", linewidth=1.6, label=f"{kind} ({len(scores)})"
        )
    for name, threshold in thresholds.items():
        axes.axvline(threshold + 1, color=_TARGET, linewidth=1, linestyle="--")
        axes.text(
            threshold + 1, 0.99, f"{name} ", rotation=90, fontsize=7, ha="right", va="top",
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    axes.set(xlabel="score word + 1", ylabel="share of events per bin", xscale="log", yscale="log")
    axes.legend(frameon=False, loc="upper left")
    return png(figure)


def budget_bars(checks: list[Mapping[str, Any]]) -> bytes:
    """Measured values as fractions of their limits; a bar beyond 1 is over budget."""
    rows = [check for check in checks if check["limit"] > 0 and check["value"] is not None]
    figure, (axes,) = panels((9, 0.8 + 0.45 * max(len(rows), 1)))
    for position, check in enumerate(reversed(rows)):
        fraction = check["value"] / check["limit"]
        axes.barh(position, fraction, color=_colour(check))
        axes.text(
            fraction + 0.01, position, f"{check['value']:.6g} / {check['limit']:g}", va="center", fontsize=9
        )
    labels = [f"{check['quantity']} ({'budget' if check['gates'] else 'target'})" for check in reversed(rows)]
    axes.set_yticks(range(len(rows)), labels)
    axes.axvline(1, color=_LIMIT, linewidth=1.2)
    axes.set_xlim(0, max([1.25, *(1.25 * check["value"] / check["limit"] for check in rows)]))
    axes.set_xlabel("fraction of the limit")
    return png(figure)


def _colour(check: Mapping[str, Any]) -> str:
    """A target that is missed is no fault."""
    if check["within"]:
        return _GOOD
    return _BAD if check["gates"] else _TARGET


def layer_widths(layers: list[Mapping[str, Any]]) -> bytes:
    """Declared width of each tensor's type, and the bits that its interval needs."""
    figure, (axes,) = panels((9, 0.8 + 0.32 * len(layers)))
    names = [f"{layer['name']} × {layer['size']}" for layer in reversed(layers)]
    widths = [layer["width"] for layer in reversed(layers)]
    needed = [layer["bits_needed"] for layer in reversed(layers)]
    axes.barh(names, widths, color="#d5dde3", label="declared width")
    axes.barh(names, needed, height=0.45, color=_GOOD, label="bits that can occur")
    axes.set_xlabel("bits")
    axes.legend(frameon=False, loc="lower right")
    return png(figure)
