"""Scores to rates: an exact, additive score histogram, thresholds, intervals, pure rates.

A seed fires at ``score_word >= threshold_word``. Its rate is the fraction of zero-bias events that
fire times the rate of colliding bunches, divided by its prescale (0: the seed is off). It is *pure*
in an event when no other unprescaled seed fired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError
from axo.network.network import Network

ORBIT_RATE_HZ = 11245.6
"""Turns of a bunch round the LHC a second: the speed of light over 26,658.9 m (LHC design report, ch. 2)."""

DEFAULT_BUNCHES = 2544
"""Colliding bunches of a usual fill in 2022-2024 at the interaction point of CMS."""

LUMI_SECTION_ORBITS = 1 << 18
"""Orbits in a lumi section of CMS."""

LUMI_SECTION_S = LUMI_SECTION_ORBITS / ORBIT_RATE_HZ
"""Seconds in a lumi section (23.31)."""

DEFAULT_BINS = 1 << 18
"""Score words that an 18-bit score can be."""

ONE_SIGMA = 0.682689492137086
"""Coverage of one standard deviation of a normal distribution, the default of every interval here."""

# Rounding errors of a rate that was itself computed from an event count are far below this; the
# smallest step between two counts is far above it.
_TOLERANCE = 1e-9


def bins_of(network: Network) -> int:
    """Number of bins that hold every score word of `network`: one each (2**18 for an 18-bit score)."""
    return network.score_type.max_int + 1


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """Events by score word: `counts` (bins,) int64; with weights also their sums and sums of squares.

    Exact, hence additive in any order (`+`): histograms of parts add to that of the whole (weighted
    sums within float64 rounding). `sum_w` and `sum_w2` are (bins,) float64, or None without weights.
    """

    counts: NDArray[np.int64]
    sum_w: NDArray[np.float64] | None = None
    sum_w2: NDArray[np.float64] | None = None

    @classmethod
    def empty(cls, bins: int = DEFAULT_BINS, weighted: bool = False) -> ScoreHistogram:
        """No events."""
        counts = np.zeros(bins, np.int64)
        return cls(counts, np.zeros(bins), np.zeros(bins)) if weighted else cls(counts)

    @classmethod
    def of(
        cls, score_word: ArrayLike, bins: int = DEFAULT_BINS, weights: ArrayLike | None = None
    ) -> ScoreHistogram:
        """Of score words (n,), integers within [0, bins), with optional weights (n,).

        Raises ValueError for a score outside the bins, a wrong shape, or a weight that is not finite.
        """
        scores = np.asarray(score_word)
        if scores.ndim != 1 or scores.dtype.kind not in "iu":
            raise ValueError(f"score words must be (n,) integers, not {scores.shape} {scores.dtype}")
        if scores.size and (scores.min() < 0 or scores.max() >= bins):
            raise ValueError(f"score words {scores.min()} to {scores.max()} are not within 0 to {bins - 1}")
        counts = np.bincount(scores, minlength=bins).astype(np.int64)
        if weights is None:
            return cls(counts)
        w = np.asarray(weights, np.float64)
        if w.shape != scores.shape or not np.isfinite(w).all():
            raise ValueError("weights must be finite, one a score")
        sums = (np.bincount(scores, power, minlength=bins).astype(np.float64) for power in (w, w * w))
        return cls(counts, *sums)

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        if len(self.counts) != len(other.counts) or (self.sum_w is None) != (other.sum_w is None):
            raise ValueError("histograms differ in bins, or only one has weights")
        counts = self.counts + other.counts
        if self.sum_w is None or self.sum_w2 is None or other.sum_w is None or other.sum_w2 is None:
            return ScoreHistogram(counts)
        return ScoreHistogram(counts, self.sum_w + other.sum_w, self.sum_w2 + other.sum_w2)

    @property
    def bins(self) -> int:
        """Number of bins; the thresholds are 0 (all pass) to this (none passes)."""
        return len(self.counts)

    @property
    def total(self) -> int:
        """Number of events."""
        return int(self.counts.sum())

    def passed(self, threshold_word: int) -> int:
        """Number of events with a score at or above the threshold, 0 to bins."""
        return int(self.counts[self._bin(threshold_word) :].sum())

    def efficiency(self, threshold_word: int) -> float:
        """Fraction (of the weight, if any) at or above the threshold; UserError without events."""
        values: NDArray[np.int64] | NDArray[np.float64] = self.counts if self.sum_w is None else self.sum_w
        everything = float(values.sum())
        if everything <= 0:
            raise UserError("a rate needs zero-bias events (of positive total weight), but there are none")
        return float(values[self._bin(threshold_word) :].sum()) / everything

    def efficiency_interval(self, threshold_word: int, confidence: float = ONE_SIGMA) -> tuple[float, float]:
        """Clopper-Pearson interval of `efficiency`.

        With weights it is that of the effective numbers, n = (sum w)^2 / sum w^2 events of which
        n times the efficiency passed (Kish's effective sample size): approximate.
        """
        efficiency = self.efficiency(threshold_word)
        if self.sum_w is None or self.sum_w2 is None:
            low, high = clopper_pearson(self.passed(threshold_word), self.total, confidence)
        else:
            effective = float(self.sum_w.sum()) ** 2 / float(self.sum_w2.sum())
            low, high = clopper_pearson(min(max(efficiency, 0), 1) * effective, effective, confidence)
        return float(low), float(high)

    def _bin(self, threshold_word: int) -> int:
        if not 0 <= threshold_word <= self.bins:
            raise ValueError(f"threshold {threshold_word} is not within 0 to {self.bins}")
        return threshold_word


def clopper_pearson(
    passed: ArrayLike, total: ArrayLike, confidence: float = ONE_SIGMA
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Central interval of a binomial fraction that covers at least `confidence`.

    `passed` and `total` broadcast and may be effective (not whole) numbers, 0 <= passed <= total;
    total 0 gives (0, 1). C. Clopper and E. S. Pearson, Biometrika 26 (1934) 404.
    """
    from scipy.special import betaincinv

    k, n = np.broadcast_arrays(np.asarray(passed, np.float64), np.asarray(total, np.float64))
    if (k < 0).any() or (k > n).any() or not 0 < confidence < 1:
        raise ValueError("need 0 <= passed <= total and 0 < confidence < 1")
    tail = (1 - confidence) / 2
    # Beta parameters must be positive; where they are not, the bound is 0 or 1 by definition.
    low = np.where(k > 0, betaincinv(np.where(k > 0, k, 1), n - k + 1, tail), 0.0)
    high = np.where(k < n, betaincinv(k + 1, np.where(k < n, n - k, 1), 1 - tail), 1.0)
    return low, high


def collision_rate_hz(n_bunches: int = DEFAULT_BUNCHES) -> float:
    """Rate of crossings of colliding bunches (2544 bunches: 28.6 MHz)."""
    return n_bunches * ORBIT_RATE_HZ


def rate_hz(passed: float, total: float, n_bunches: int = DEFAULT_BUNCHES, prescale: float = 1) -> float:
    """Rate of a seed that fires in `passed` of `total` zero-bias events; 0 when its prescale is 0 (off)."""
    if total <= 0:
        raise UserError("a rate needs zero-bias events, but there are none")
    if prescale < 0:
        raise ValueError(f"prescale {prescale} is negative")
    return passed / total * collision_rate_hz(n_bunches) / prescale if prescale else 0.0


def threshold_for_rate(histogram: ScoreHistogram, target_hz: float, n_bunches: int = DEFAULT_BUNCHES) -> int:
    """The smallest threshold whose rate does not exceed `target_hz`.

    Raises UserError for a rate that is not positive, or below that of a single event: no threshold
    could be told from that few events.
    """
    if not target_hz > 0:
        raise UserError(f"rate {target_hz:g} Hz is not positive")
    total = histogram.total
    if total == 0:
        raise UserError("a threshold needs zero-bias events, but there are none")
    full_hz = collision_rate_hz(n_bunches)
    if target_hz * total < full_hz * (1 - _TOLERANCE):
        raise UserError(
            f"rate {target_hz / 1000:g} kHz cannot be told from {total} zero-bias events (one is "
            f"{full_hz / total / 1000:.3g} kHz): give at least {int(np.ceil(full_hz / target_hz))}"
        )
    values = histogram.counts if histogram.sum_w is None else histogram.sum_w
    above = np.append(np.cumsum(values[::-1])[::-1], 0)
    allowed = target_hz / full_hz * float(above[0]) * (1 + _TOLERANCE)
    # From the top, so that negative weights low down cannot end the search.
    too_many = np.flatnonzero(above > allowed)
    return int(too_many[-1]) + 1 if len(too_many) else 0


@dataclass(frozen=True)
class RatePoint:
    """The rate at one threshold, with the bounds of its interval; `passed` of `total` events."""

    threshold_word: int
    passed: int
    total: int
    rate_khz: float
    rate_low_khz: float
    rate_high_khz: float


def rate_table(
    histogram: ScoreHistogram,
    threshold_words: Iterable[int],
    n_bunches: int = DEFAULT_BUNCHES,
    prescale: float = 1,
    confidence: float = ONE_SIGMA,
) -> list[RatePoint]:
    """The rate at each threshold, with Clopper-Pearson bounds. Raises UserError without events."""

    def khz(fraction: float) -> float:
        return rate_hz(fraction, 1, n_bunches, prescale) / 1000

    return [
        RatePoint(
            int(threshold),
            histogram.passed(threshold),
            histogram.total,
            khz(histogram.efficiency(threshold)),
            *(khz(bound) for bound in histogram.efficiency_interval(threshold, confidence)),
        )
        for threshold in threshold_words
    ]


def pure_mask(
    fired: NDArray[np.bool_],
    seed_bits: NDArray[np.bool_],
    prescales: ArrayLike | None = None,
    own: Sequence[int] = (),
) -> NDArray[np.bool_]:
    """Events (n,) where this seed `fired` (n,) and no other unprescaled seed of `seed_bits` (n, n_seeds) did.

    Only seeds of prescale exactly 1 count (`prescales` is (n_seeds,); None: all are 1); `own` are
    the columns of this seed itself and of its twins at other thresholds, which do not count either.
    """
    if fired.dtype != np.bool_ or seed_bits.dtype != np.bool_ or seed_bits.shape[:1] != fired.shape:
        raise ValueError("need fired (n,) bool and seed_bits (n, n_seeds) bool")
    counted = np.ones(seed_bits.shape[1], bool) if prescales is None else np.asarray(prescales) == 1
    if counted.shape != seed_bits.shape[1:]:
        raise ValueError(f"need {seed_bits.shape[1]} prescales, not {counted.shape}")
    counted[list(own)] = False
    return fired & ~seed_bits[:, counted].any(axis=1)
