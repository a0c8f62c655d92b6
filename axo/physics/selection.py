"""Choosing among trained detectors without a simulated anomaly: do trainings agree with each other?

*Posterior agreement* (J. Buhmann's; for robustness of models arXiv 2503.16271): two models give each
event a posterior over the same hypotheses, at inverse temperature beta. Their overlap is the probability
that both draw the same hypothesis, and the agreement is the largest mean log overlap over beta.

The two hypotheses here are those of a trigger, *pass* and *fail* at a working point that lets a fraction
f of zero bias pass. A model is as sure of *pass* as the event is rare for it: with P(s) the fraction of
zero bias that scores at least s, the margin is m = ln(f / P(s)), positive above the cut, the same for
every monotonic rescaling of the score, and the posterior is the softmax of (beta m / 2, -beta m / 2),
that is p(pass) = 1 / (1 + exp(-beta m)). At beta 0 the overlap is 1/2 whatever the models, hence -ln 2;
models that take the same decisions reach 0 as beta grows; one decision in which they differ makes large
beta costly, the more the surer both were.

Over all zero bias the mean would be that of the events that nobody wants. It is taken over those that at
least one of the two models passes: there the trigger's decisions are made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Reals = NDArray[np.float64]

BETA_MAX = 1e4


@dataclass(frozen=True)
class Agreement:
    """The largest mean log overlap, `value` in [-ln 2, 0], the `beta` of it, and the `events` averaged.

    `standard_error` is that of the mean over these events (at that beta).
    """

    value: float
    standard_error: float
    beta: float
    events: int


def margins(scores: ArrayLike, allowed: int) -> Reals:
    """ln(f / P(s)) of each of `scores` (n,) among themselves, (n,), f being `allowed` of n events.

    P(s) is the fraction of scores at or above s, less half an event: so the margin is positive exactly
    for the events above `axo.physics.roc.cut_at(scores, allowed)`. Equal scores have equal margins.
    """
    values = np.asarray(scores)
    if values.ndim != 1 or not 0 < allowed < len(values):
        raise ValueError("need scores (n,), and some but not all of them allowed")
    above = len(values) - np.searchsorted(np.sort(values), values, "left")
    return np.log(allowed / (above - 0.5))


def log_overlap(first: ArrayLike, second: ArrayLike, beta: float) -> Reals:
    """ln(p q + (1 - p)(1 - q)) of events with margins `first` and `second` (n,), at this `beta`."""
    a, b = beta * np.asarray(first, np.float64), beta * np.asarray(second, np.float64)
    # ln p = -ln(1 + exp(-m)), without overflow
    both_pass = -np.logaddexp(0, -a) - np.logaddexp(0, -b)
    both_fail = -np.logaddexp(0, a) - np.logaddexp(0, b)
    overlap: Reals = np.logaddexp(both_pass, both_fail)
    return overlap


def posterior_agreement(first: ArrayLike, second: ArrayLike) -> Agreement:
    """Agreement of two models from the margins (n,) that they give to the same events.

    Averaged over events that one of them at least passes (margin above 0); raises ValueError when
    there are none. The maximum is searched up to beta = 1e4, where decisions are certain.
    """
    from scipy.optimize import minimize_scalar

    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"margins must be of the same events, not {a.shape} and {b.shape}")
    taken = (a > 0) | (b > 0)
    if not taken.any():
        raise ValueError("no event passes either model")
    a, b = a[taken], b[taken]

    def mean(log_beta: float) -> float:
        return float(log_overlap(a, b, np.exp(log_beta)).mean())

    # The mean need not be concave in ln beta: a grid finds the right hill, the search its top.
    grid = np.linspace(np.log(1e-3), np.log(BETA_MAX), 60)
    values = [mean(x) for x in grid]
    best = int(np.argmax(values))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(lambda x: -mean(x), bounds=(low, high), method="bounded")
    candidates = [(0.0, -np.log(2)), (float(np.exp(grid[best])), values[best])]
    candidates.append((float(np.exp(found.x)), -float(found.fun)))
    beta, value = max(candidates, key=lambda candidate: candidate[1])
    overlap = log_overlap(a, b, beta)
    return Agreement(float(value), float(overlap.std() / np.sqrt(len(overlap))), beta, len(overlap))


def latent_information(first: ArrayLike, second: ArrayLike) -> float:
    """Mutual information (nats) of two latent spaces, (n, k) and (n, l), of the same events.

    That of the Gaussian copula (R. Ince et al., Hum. Brain Mapp. 38 (2017) 1541): each variable is
    brought to a normal distribution by rank, then -1/2 sum ln(1 - rho_i^2) over the canonical
    correlations rho_i. It does not change under monotonic maps of single variables, is exact for
    Gaussians and a lower bound for other distributions of normal margins. Variables that are
    constant are left out; 0 when none is left.
    """
    x, y = _normal_scores(np.asarray(first)), _normal_scores(np.asarray(second))
    if len(x) != len(y):
        raise ValueError(f"latent spaces must be of the same events, not {len(x)} and {len(y)}")
    if not x.shape[1] or not y.shape[1]:
        return 0.0
    rho = np.linalg.svd(_orthonormal(x).T @ _orthonormal(y), compute_uv=False)
    # n events cannot tell a correlation from 1 by less than about 1 / n.
    return float(-0.5 * np.log1p(-np.minimum(rho**2, 1 - 1 / len(x))).sum())


def _orthonormal(values: Reals) -> Reals:
    """An orthonormal basis (n, r) of the columns, without directions that only rounding made."""
    u, size, _ = np.linalg.svd(values, full_matrices=False)
    return u[:, size > 1e-9 * size[0]]


def _normal_scores(values: NDArray[np.generic]) -> Reals:
    """Columns by mean rank (ties share theirs) to quantiles of the normal distribution; constants dropped."""
    from scipy.stats import norm, rankdata

    kept = values[:, (values != values[0]).any(axis=0)]
    scores = norm.ppf((rankdata(kept, axis=0) - 0.5) / len(kept))
    centred: Reals = scores - scores.mean(axis=0)
    return centred
