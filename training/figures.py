"""Figures of a trained score for its model card: thresholds by rate, signal efficiencies, areas."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.config import to_plain
from axo.errors import UserError
from axo.physics.figures import Accepted, Interval, geometric_mean
from axo.physics.rates import ScoreHistogram, bins_of, rate_khz, threshold_for_rate
from axo.physics.roc import area_under_curve

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

    `background` are score words of zero-bias events (independent of those trained on). Raises UserError
    for a signal without events.
    """
    zero_bias = ScoreHistogram.of(background, bins_of(network))
    points = thresholds(zero_bias, release)
    named = {rate_name(rate): points[rate_name(rate)] for rate in release.figures_khz}
    efficiencies = {name: _efficiencies(name, scores, named) for name, scores in signals.items()}
    document: dict[str, Any] = to_plain(
        {
            "bunches": release.bunches,
            "zero_bias_events": zero_bias.total,
            "rates": {
                name: _rate(threshold, zero_bias.accepted(threshold), release)
                for name, threshold in points.items()
            },
            "signals": {
                name: {
                    "events": len(scores),
                    "auc": area_under_curve(background, scores).value,
                    "efficiency": efficiencies[name],
                }
                for name, scores in signals.items()
            },
            "geometric_mean": {
                point: float(geometric_mean([found[point].value for found in efficiencies.values()]))
                for point in (named if signals else ())
            },
        }
    )
    return document


def _efficiencies(name: str, scores: Scores, points: dict[str, int]) -> dict[str, Interval]:
    found = {}
    for point, threshold in points.items():
        efficiency = Accepted.of(scores >= threshold).efficiency
        if efficiency is None:
            raise UserError(f"signal {name} holds no events; take it out of the configuration")
        found[point] = efficiency
    return found


def _rate(threshold: int, accepted: Accepted, release: Release) -> dict[str, Any]:
    rate = rate_khz(accepted.efficiency, release.bunches)
    assert rate is not None  # there is no threshold without zero-bias events
    return {
        "threshold_word": threshold,
        "passed": accepted.passed.events,
        "total": accepted.total.events,
        "rate_khz": rate.value,
        "rate_low_khz": rate.low,
        "rate_high_khz": rate.high,
    }
