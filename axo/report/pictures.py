"""Figures drawn with matplotlib, without a display, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any


def panels(
    size: tuple[float, float], rows: int = 1, columns: int = 1, dpi: int = 120
) -> tuple[Any, list[Any]]:
    """A figure of `size` in inches, and its rows x columns panels without a frame above and at right."""
    from matplotlib.figure import Figure

    figure = Figure(size, dpi=dpi, layout="constrained")
    found = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in found:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, found


def png(figure: Any) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def error_bars(values: Sequence[Mapping[str, float]]) -> list[list[float]]:
    """How far intervals reach below and above their values, as matplotlib's ``errorbar`` wants it."""
    return [[v["value"] - v["low"] for v in values], [v["high"] - v["value"] for v in values]]
