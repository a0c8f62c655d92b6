"""Numbers as text: how figures and their intervals are written in cells.

An interval is what JSON has: ``value``, ``low`` and ``high``; None, for what is not known, is a dash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Bounds = Mapping[str, float] | None

UNKNOWN = "-"


def number(value: Any) -> str:
    """'missing' for None, at most four digits for floats that are not whole."""
    if value is None:
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) and not value.is_integer() else str(value)


def bracketed(value: Bounds) -> str:
    """``0.25 [0.2, 0.3]``, four digits each."""
    if value is None:
        return UNKNOWN
    return f"{value['value']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"


def spanned(value: Bounds) -> str:
    """``0.2500 (0.2000 - 0.3000)``."""
    if value is None:
        return UNKNOWN
    return f"{value['value']:.4f} ({value['low']:.4f} - {value['high']:.4f})"


def percent(value: Bounds) -> str:
    """``25.00 +5.00 -5.00 %``."""
    if value is None:
        return UNKNOWN
    up, down = _errors(value)
    return f"{100 * value['value']:.2f} +{100 * up:.2f} -{100 * down:.2f} %"


def plus_minus(value: Bounds) -> str:
    """Two digits of the larger uncertainty, at least two and at most six decimals."""
    if value is None:
        return UNKNOWN
    up, down = _errors(value)
    larger = max(up, down)
    digits = min(max(1 - math.floor(math.log10(larger)), 2), 6) if larger > 0 else 4
    return f"{value['value']:.{digits}f} +{up:.{digits}f} -{down:.{digits}f}"


def scientific(value: Bounds) -> str:
    """``2.50e-05 +3.1e-06 -2.9e-06``."""
    if value is None:
        return UNKNOWN
    up, down = _errors(value)
    return f"{value['value']:.2e} +{up:.1e} -{down:.1e}"


def moments(value: Mapping[str, float]) -> list[str]:
    """Cells of a mean, its standard deviation, and that over the mean."""
    mean, deviation = value["mean"], value["standard_deviation"]
    return [f"{mean:.4g}", f"{deviation:.2g}", f"{100 * deviation / mean:.0f} %" if mean > 0 else UNKNOWN]


def listed(names: Sequence[str], most: int) -> str:
    """The first `most` names, and dots where there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _errors(value: Mapping[str, float]) -> tuple[float, float]:
    return value["high"] - value["value"], value["value"] - value["low"]
