"""Figures of merit of a score: thresholds by rate, signal efficiencies, areas under the curve."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.physics.rates import ScoreHistogram, bins_of, rate_table, threshold_for_rate

from .config import Release

Scores = NDArray[np.int32]


def rate_name(rate_khz: float) -> str:
    """Name of the working point at `rate_khz`: ``rate_10khz``, ``rate_0p5khz``."""
    return f"rate_{rate_khz:g}khz".replace(".", "p")


def thresholds(background: ScoreHistogram, release: Release) -> dict[str, int]:
    """Score word by working point: the smallest whose rate does not exceed the named one."""
    return {
        rate_name(rate): threshold_for_rate(background, rate * 1000, release.bunches)
        for rate in release.rates_khz
    }


def figures(background: Scores, signals: dict[str, Scores], network: Any, release: Release) -> dict[str, Any]:
    """All figures as JSON: the rate table, and per signal efficiencies with 68 % intervals and the AUC.

    `background` are score words of zero-bias events (independent of those trained on).
    """
    bins = bins_of(network)
    zero_bias = ScoreHistogram.of(background, bins)
    points = thresholds(zero_bias, release)
    table = rate_table(zero_bias, points.values(), release.bunches)
    working_points = {rate_name(rate): points[rate_name(rate)] for rate in release.figures_khz}
    results = {
        name: _signal(zero_bias, ScoreHistogram.of(scores, bins), working_points)
        for name, scores in signals.items()
    }
    return {
        "bunches": release.bunches,
        "zero_bias_events": zero_bias.total,
        "rates": {name: asdict(point) for name, point in zip(points, table, strict=True)},
        "signals": results,
        "geometric_mean": {
            point: geometric_mean([result["efficiency"][point]["value"] for result in results.values()])
            for point in (working_points if results else ())
        },
    }


def geometric_mean(values: list[float]) -> float:
    """Of efficiencies; 0 when one of them is 0."""
    array = np.array(values)
    return float(np.exp(np.log(array).mean())) if (array > 0).all() else 0.0


def area_under_curve(background: ScoreHistogram, signal: ScoreHistogram) -> float:
    """P(signal score > zero-bias score) + half of P(equal): exact, from the histograms."""
    below = np.cumsum(background.counts) - background.counts
    favourable = (signal.counts * (below + 0.5 * background.counts)).sum()
    return float(favourable / (float(background.total) * signal.total))


def _signal(background: ScoreHistogram, signal: ScoreHistogram, points: dict[str, int]) -> dict[str, Any]:
    efficiency = {}
    for name, threshold in points.items():
        low, high = signal.efficiency_interval(threshold)
        efficiency[name] = {"value": signal.efficiency(threshold), "low": low, "high": high}
    return {
        "events": signal.total,
        "auc": area_under_curve(background, signal),
        "efficiency": efficiency,
    }
