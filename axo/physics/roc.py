"""Receiver operating characteristic of any score (words or real numbers), and its uncertainties.

An event passes a working point when its score is *above* the cut. The cut is the largest score that
would let too many of the background pass, so with score words the threshold word is the cut plus one,
the same that `axo.physics.rates.threshold_for_rate` gives.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.physics.figures import Interval

# Rounding of a fraction that was itself computed from a count is far below this.
_TOLERANCE = 1e-9

Reals = NDArray[np.float64]


def allowed_events(fraction: float, total: int) -> int:
    """How many of `total` events may pass a working point of this `fraction` (0: it cannot be told)."""
    return int(np.floor(fraction * total * (1 + _TOLERANCE)))


def cut_at(scores: ArrayLike, allowed: int) -> float:
    """The least cut that at most `allowed` of `scores` (n,) are above; -inf when all may pass."""
    values = np.asarray(scores)
    if allowed >= len(values):
        return -np.inf
    return float(np.partition(values, len(values) - allowed - 1)[len(values) - allowed - 1])


def area_under_curve(background: ArrayLike, signal: ArrayLike) -> Interval:
    """P(signal above background) + half of P(equal), with its standard deviation on either side.

    The variance is that of E. DeLong et al., Biometrics 44 (1988) 837: of the mean placement of the
    signal scores among the background, plus that of the background scores among the signal.
    """
    b, s = np.sort(np.asarray(background)), np.sort(np.asarray(signal))
    places = _places(b, s)
    # A ratio of integers, so the value does not depend on the order of a sum.
    value = int(places.sum()) / (2 * len(b) * len(s))
    of_signal, of_background = places / (2 * len(b)), 1 - _places(s, b) / (2 * len(s))
    variance = sum(float(v.var(ddof=1)) / len(v) if len(v) > 1 else 0.0 for v in (of_signal, of_background))
    deviation = float(np.sqrt(variance))
    return Interval(value, max(value - deviation, 0.0), min(value + deviation, 1.0))


def _places(reference: NDArray[np.generic], values: NDArray[np.generic]) -> NDArray[np.int64]:
    """For each of `values`: twice how many of the sorted `reference` are below it, equals counted once."""
    below, upto = (np.searchsorted(reference, values, side) for side in ("left", "right"))
    return below + upto


def roc_points(
    background: ArrayLike, signal: ArrayLike, fractions: Iterable[float]
) -> list[tuple[float, float]]:
    """(false-positive rate, efficiency) at the cuts that at most these `fractions` of background pass.

    The rates are those reached; fractions below one event are left out.
    """
    b, s = np.sort(np.asarray(background)), np.sort(np.asarray(signal))
    points: list[tuple[float, float]] = []
    for fraction in fractions:
        allowed = allowed_events(fraction, len(b))
        if not allowed:
            continue
        cut = b[len(b) - allowed - 1] if allowed < len(b) else -np.inf
        point = tuple(float(1 - np.searchsorted(v, cut, "right") / len(v)) for v in (b, s))
        if not points or point != points[-1]:
            points.append((point[0], point[1]))
    return points


class Bootstrap:
    """Poisson bootstrap: each event counts 0, 1, 2, ... times, with mean 1, in each replica.

    The counts belong to events, not to scores, so that replicas of two scores of the same events
    are paired: the interval of their ratio knows that most events are common. (J. Chamandy et al.,
    "Estimating uncertainty for massive data streams", 2012.)
    """

    def __init__(self, replicas: int, seed: int = 0) -> None:
        self.replicas = replicas
        self._seed = seed

    def counts(self, stream: int, events: int) -> NDArray[np.uint8]:
        """(replicas, events); the same for the same `stream`."""
        generator = np.random.default_rng([self._seed, stream])
        return generator.poisson(1.0, (self.replicas, events)).astype(np.uint8)

    def cuts(self, scores: ArrayLike, counts: NDArray[np.uint8], allowed: int) -> Reals:
        """The cut in each replica, (replicas,), of the highest `scores` (k,) with `counts` (replicas, k).

        `scores` must reach far enough down that `allowed` are passed in every replica.
        """
        values = np.asarray(scores, np.float64)
        order = np.argsort(-values, kind="stable")
        above = np.cumsum(counts[:, order], axis=1, dtype=np.int64)
        first = (above > allowed).argmax(axis=1)
        if not (above[:, -1] > allowed).all():
            raise ValueError("too few scores for the cuts of all replicas")
        cuts: Reals = values[order][first]
        return cuts

    @staticmethod
    def reach(allowed: int) -> int:
        """How many of the highest scores `cuts` needs: beyond 8 standard deviations."""
        return int(allowed + 8 * np.sqrt(allowed + 1) + 20)


class Replicas:
    """Efficiencies of one score's signal events in every replica of a bootstrap, for any cuts.

    `scores` (n,) with `counts` (replicas, n); only `eligible` events (n,) can pass.
    """

    def __init__(self, scores: ArrayLike, counts: NDArray[np.uint8], eligible: ArrayLike) -> None:
        values = np.asarray(scores, np.float64)
        order = np.argsort(-values, kind="stable")
        self._falling = -values[order]
        passing = counts[:, order] * np.asarray(eligible)[order]
        self._passed = np.zeros((len(counts), len(values) + 1), np.int32)
        np.cumsum(passing, axis=1, out=self._passed[:, 1:])
        self._total = counts.sum(axis=1, dtype=np.int64)

    def efficiencies(self, cuts: Reals) -> Reals:
        """Fraction of events above the cut of each replica, (replicas,)."""
        number = np.searchsorted(self._falling, -cuts, "left")
        fractions: Reals = self._passed[np.arange(len(self._passed)), number] / self._total
        return fractions


def spread(value: float, replicas: Reals) -> Interval | None:
    """`value` with the central 68.3 % of its `replicas` (where finite); None when it is not finite."""
    good = replicas[np.isfinite(replicas)]
    if not np.isfinite(value) or len(good) < len(replicas) / 2:
        return None
    low, high = np.quantile(good, [0.158655, 0.841345])
    return Interval(float(value), float(low), float(high))
