"""Scores to rates: an exact, additive score histogram, thresholds, rates, pure rates.

A seed fires at ``score_word >= threshold_word``. Its rate is the fraction of zero-bias events that
fire times the rate of colliding bunches, divided by its prescale (0: the seed is off). It is *pure*
in an event when no other unprescaled seed fired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError
from axo.network.network import Network
from axo.physics.figures import ONE_SIGMA, Accepted, Amount, Interval

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

    def amount(self, threshold_word: int) -> Amount:
        """Events with a score at or above the threshold, with the sums of their weights."""
        events = self.passed(threshold_word)
        if self.sum_w is None or self.sum_w2 is None:
            return Amount.counted(events)
        return Amount(events, *(float(sums[threshold_word:].sum()) for sums in (self.sum_w, self.sum_w2)))

    def accepted(self, threshold_word: int, confidence: float = ONE_SIGMA) -> Accepted:
        """What the threshold accepts; nothing is said of purity."""
        return Accepted(self.amount(threshold_word), self.amount(0), confidence=confidence)

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """Counts, and with weights the two sums."""
        return [self.counts, *(sums for sums in (self.sum_w, self.sum_w2) if sums is not None)]

    def _bin(self, threshold_word: int) -> int:
        if not 0 <= threshold_word <= self.bins:
            raise ValueError(f"threshold {threshold_word} is not within 0 to {self.bins}")
        return threshold_word


def collision_rate_hz(n_bunches: int = DEFAULT_BUNCHES) -> float:
    """Rate of crossings of colliding bunches (2544 bunches: 28.6 MHz)."""
    return n_bunches * ORBIT_RATE_HZ


def collision_rate_khz(n_bunches: int = DEFAULT_BUNCHES) -> float:
    """The same in kHz."""
    return collision_rate_hz(n_bunches) / 1000


def rate_khz(
    fraction: Interval | None, n_bunches: int = DEFAULT_BUNCHES, prescale: float = 1
) -> Interval | None:
    """Rate of a seed that fires in this `fraction` of zero bias; 0 when its prescale is 0 (off).

    Of a pure efficiency it is the pure rate. None of a fraction that is not known.
    """
    if prescale < 0:
        raise ValueError(f"prescale {prescale} is negative")
    if fraction is None:
        return None
    return fraction.scaled(collision_rate_khz(n_bunches), prescale) if prescale else Interval(0.0, 0.0, 0.0)


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


def pure_threshold_for_rate(
    everything: ScoreHistogram, pure: ScoreHistogram, target_hz: float, n_bunches: int = DEFAULT_BUNCHES
) -> int:
    """The smallest threshold whose *pure* rate does not exceed `target_hz`.

    `pure` is the histogram of those events of `everything` in which no other seed fired. Raises UserError
    as `threshold_for_rate` does.
    """
    # All events that are not pure go where no threshold above 0 counts them.
    parts = []
    for whole, part in zip(everything.arrays, pure.arrays, strict=True):
        part = part.copy()
        part[0] += whole.sum() - part.sum()
        parts.append(part)
    return threshold_for_rate(ScoreHistogram(*parts), target_hz, n_bunches)


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
