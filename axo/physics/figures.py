"""Figures of merit from counted events: fractions with their intervals, purities, efficiencies, means.

Every program that counts events makes an `Accepted` of them and takes its figures from there; rates are
`axo.physics.rates.rate_khz` of its fractions. `axo.config.to_plain` turns the values into JSON.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

ONE_SIGMA = 0.682689492137086
"""Coverage of one standard deviation of a normal distribution, the default of every interval here."""


@dataclass(frozen=True)
class Interval:
    """A value and the bounds of its interval."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float, divisor: float = 1.0) -> Interval:
        """All three times `factor`, over `divisor`."""
        return Interval(*(x * factor / divisor for x in (self.value, self.low, self.high)))


@dataclass(frozen=True)
class Amount:
    """Some events: their number, and the sums of their weights and of the squares of these."""

    events: int
    w: float
    w2: float

    @classmethod
    def counted(cls, events: int) -> Amount:
        """Events that have no weights."""
        return cls(events, events, events)

    @classmethod
    def of(cls, chosen: NDArray[np.bool_], weights: NDArray[np.float64] | None = None) -> Amount:
        """The `chosen` (n,) events, with their `weights` (n,)."""
        events = int(chosen.sum())
        if weights is None:
            return cls.counted(events)
        own = weights[chosen]
        return cls(events, math.fsum(own), math.fsum(own * own))

    def __sub__(self, part: Amount) -> Amount:
        """The others, when `part` are some of these."""
        return Amount(self.events - part.events, self.w - part.w, self.w2 - part.w2)


NOTHING = Amount(0, 0.0, 0.0)
"""No events."""


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


def share(part: Amount, whole: Amount, confidence: float = ONE_SIGMA) -> Interval | None:
    """`part` over `whole` with its Clopper-Pearson interval; None when the whole has no positive weight.

    With weights it is that of the effective numbers: n = (sum w)^2 / sum w^2 events, of which n times
    the fraction passed (Kish's effective sample size), which is approximate.
    """
    if whole.w <= 0 or whole.w2 <= 0:
        return None
    value = part.w / whole.w
    passed: float = part.events
    effective: float = whole.events
    if not whole.w == whole.w2 == whole.events:
        effective = whole.w**2 / whole.w2
        passed = min(max(value, 0.0), 1.0) * effective
    low, high = clopper_pearson(passed, effective, confidence)
    return Interval(value, float(low), float(high))


@dataclass(frozen=True)
class Accepted:
    """What a threshold accepts of a sample: events that `passed`, of the `total`.

    `pure` are those of `passed` in which no other unprescaled seed fired; None where that is not known,
    and then so are the figures made of it. A figure of no events is None.
    """

    passed: Amount
    total: Amount
    pure: Amount | None = None
    confidence: float = ONE_SIGMA

    @classmethod
    def of(cls, passing: NDArray[np.bool_], pure: NDArray[np.bool_] | None = None) -> Accepted:
        """Of events that have no weights: which pass (n,), and which of all are pure (n,)."""
        return cls(
            Amount.of(passing),
            Amount.counted(len(passing)),
            None if pure is None else Amount.of(passing & pure),
        )

    @property
    def efficiency(self) -> Interval | None:
        """Fraction of the sample that passes."""
        return share(self.passed, self.total, self.confidence)

    @property
    def pure_efficiency(self) -> Interval | None:
        """Fraction of the sample that passes and is pure."""
        return None if self.pure is None else share(self.pure, self.total, self.confidence)

    @property
    def purity(self) -> Interval | None:
        """Fraction of what passes that is pure."""
        return None if self.pure is None else share(self.pure, self.passed, self.confidence)


def geometric_mean(values: ArrayLike) -> NDArray[np.float64]:
    """Of efficiencies along the last axis; 0 where one of them is 0."""
    array = np.asarray(values, np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(np.log(array).mean(axis=-1)))


@dataclass(frozen=True)
class Moments:
    """Mean and sample standard deviation of a figure over trainings, or over parts of the data."""

    mean: float
    standard_deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Moments:
        """Of two values or more."""
        return cls(float(np.mean(values)), float(np.std(values, ddof=1)))
