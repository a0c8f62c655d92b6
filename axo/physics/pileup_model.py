"""How often a crossing of given pileup reaches a score word: counted from zero bias, then smoothed.

`ScoreByPileup` holds facts: zero-bias events by number of interactions and score-word bin, exact and
additive. `fit_pileup_model` makes of them a `PileupModel`, a smooth survival function: with q knots
w_0 < ... < w_q-1 in the tail and z = log((n + 1/2) / 60) for n interactions,

    P(score >= w_0 | n)                   = exp(-exp(piecewise linear in z))
    P(score >= w_k | score >= w_k-1, n)   = exp(-exp(a_k + b_k z))

fitted by maximum likelihood (complementary log-log regressions), exponential in the score between knots
and after the last. A lumi section of mean pileup m mixes n with Poisson weights.
"""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError
from axo.files import read_json, write_json
from axo.physics.rates import collision_rate_khz

FORMAT = "axo-score-by-pileup-1"

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_INTERACTIONS = 160
"""Interactions in one crossing that are still told apart; tables end here."""

_TAIL = 0.25  # of all events are above the first bin
_BINS = 80
_BEYOND = 40  # more bins above those
_FEWEST_ABOVE = 20  # zero-bias events above the last of the _BINS edges
_KNOT_EVENTS = 60  # events that a knot interval must lose and keep to be fitted
_KNOT_DECAY = 0.7  # e-foldings of the pooled tail between knots
_HINGES = (-0.35, 0.0, 0.25)  # in z: about 42, 60 and 77 interactions
_PILEUPS = np.arange(0.5, 100.5, 0.5)


@dataclass(frozen=True, eq=False)
class ScoreByPileup:
    """Zero-bias events: `events` (N,) int64 by number of interactions, and of these in each score bin
    `counts` (N, bins) int64. Bin j holds score words ``words[j]`` to ``words[j + 1] - 1``, the last one
    all above; lower scores are in no bin. `signals` has, by name, events in all and in each bin.

    `network` is the digest of the network that gave the scores, `origin` says where events came from.
    """

    words: Counts
    events: Counts
    counts: Counts
    network: str
    origin: str
    signals: dict[str, tuple[int, Counts]] = field(default_factory=dict)

    def __add__(self, other: ScoreByPileup) -> ScoreByPileup:
        """Counts of both; ValueError unless bins and network are the same."""
        if not np.array_equal(self.words, other.words) or self.network != other.network:
            raise ValueError("counts of other bins or another network do not add")
        signals = {**self.signals, **other.signals}
        origin = f"{self.origin}; {other.origin}"
        return ScoreByPileup(
            self.words,
            self.events + other.events,
            self.counts + other.counts,
            self.network,
            origin,
            signals,
        )


def score_bins(scores: ArrayLike) -> Counts:
    """Lower edges of the bins for a tail like that of `scores` (n,): evenly spaced in log(survival),
    and evenly spaced in the score beyond, where zero bias has few events but signals may have many.

    Raises UserError when there are too few events for a tail.
    """
    falling = np.sort(np.asarray(scores, dtype=np.int64))[::-1]
    if _TAIL * len(falling) < 5 * _FEWEST_ABOVE:
        raise UserError(
            f"{len(falling)} zero-bias events are too few for a tail; give at least "
            f"{math.ceil(5 * _FEWEST_ABOVE / _TAIL)}"
        )
    ranks = np.geomspace(_TAIL * len(falling), _FEWEST_ABOVE, _BINS).astype(np.int64)
    edges = np.unique(falling[ranks])
    step = max(int(edges[-1] - edges[-9]) // 8, 1)
    return np.concatenate([edges, edges[-1] + step * np.arange(1, _BEYOND + 1)])


def count_scores(
    scores: ArrayLike, pileup: ArrayLike, words: ArrayLike, network: str, origin: str
) -> ScoreByPileup:
    """Count events with `scores` (n,) and numbers of interactions `pileup` (n,) in bins from `words`."""
    words = np.asarray(words, dtype=np.int64)
    interactions = np.minimum(np.asarray(pileup).astype(np.int64), MOST_INTERACTIONS)
    bins = np.searchsorted(words, np.asarray(scores), side="right") - 1
    counts = np.zeros((MOST_INTERACTIONS + 1, len(words)), np.int64)
    inside = bins >= 0
    np.add.at(counts, (interactions[inside], bins[inside]), 1)
    events = np.bincount(interactions, minlength=MOST_INTERACTIONS + 1).astype(np.int64)
    return ScoreByPileup(words, events, counts, network, origin)


def write_score_by_pileup(path: str | os.PathLike[str], table: ScoreByPileup) -> None:
    """Write `table` as JSON, atomically."""
    write_json(
        path,
        {
            "format": FORMAT,
            "network": table.network,
            "origin": table.origin,
            "words": table.words.tolist(),
            "events": table.events.tolist(),
            "counts": [_packed(row) for row in table.counts.tolist()],
            "signals": {
                name: {"events": events, "counts": _packed(counts.tolist())}
                for name, (events, counts) in table.signals.items()
            },
        },
    )


def read_score_by_pileup(path: str | os.PathLike[str]) -> ScoreByPileup:
    """Read what `write_score_by_pileup` wrote; UserError names the file and the fault."""
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f"{path}: is not a table of scores by pileup (format {FORMAT})")
    try:
        words = np.array(document["words"], dtype=np.int64)
        events = np.array(document["events"], dtype=np.int64)
        counts = np.array([_unpacked(row, len(words)) for row in document["counts"]], dtype=np.int64)
        signals = {
            name: (int(item["events"]), np.array(_unpacked(item["counts"], len(words)), dtype=np.int64))
            for name, item in document["signals"].items()
        }
        table = ScoreByPileup(words, events, counts, document["network"], document["origin"], signals)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: is damaged ({error})") from error
    _check(path, table)
    return table


def _check(path: str | os.PathLike[str], table: ScoreByPileup) -> None:
    shape = (MOST_INTERACTIONS + 1, len(table.words))
    if table.counts.shape != shape or table.events.shape != shape[:1]:
        raise UserError(f"{path}: is damaged (counts of shape {table.counts.shape}, not {shape})")
    if len(table.words) < 2 or (np.diff(table.words) <= 0).any():
        raise UserError(f"{path}: is damaged (bins do not rise)")
    if (table.counts < 0).any() or (table.counts.sum(axis=1) > table.events).any():
        raise UserError(f"{path}: is damaged (more events in bins than events)")


def _packed(row: list[int]) -> str:
    """Blank-separated counts, without the zeros at the end: compact, and readable."""
    last = max((i for i, count in enumerate(row) if count), default=-1)
    return " ".join(map(str, row[: last + 1]))


def _unpacked(text: str, length: int) -> list[int]:
    row = [int(count) for count in text.split()]
    if len(row) > length:
        raise ValueError("too many counts in a row")
    return row + [0] * (length - len(row))


@dataclass(frozen=True)
class TailFit:
    """The parameters of a PileupModel (see the module's text): `knots` (q,) score words, `start` the
    coefficients of 1, z and the hinges, `steps` (q - 1) pairs a_k, b_k. JSON as it is."""

    knots: tuple[float, ...]
    start: tuple[float, ...]
    steps: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in itertools.pairwise(self.knots))
        if len(self.knots) < 2 or not rising:
            raise UserError("knots must be at least 2 rising words")
        if len(self.start) != 2 + len(_HINGES) or len(self.steps) != len(self.knots) - 1:
            raise UserError("start or steps have the wrong length for the knots")


def fit_tail(table: ScoreByPileup) -> TailFit:
    """The maximum-likelihood fit to `table`; UserError when its tail has too few events."""
    above = table.counts[:, ::-1].cumsum(axis=1)[:, ::-1]
    knots = _choose_knots(above.sum(axis=0))
    if len(knots) < 2:
        raise UserError("too few zero-bias events in the tail for a model of it; count more events")
    z = _z(np.arange(MOST_INTERACTIONS + 1))
    start = _cloglog(_hinged(z), table.events, above[:, knots[0]])
    straight = np.stack([np.ones_like(z), z], axis=1)
    steps = [_cloglog(straight, above[:, low], above[:, high]) for low, high in itertools.pairwise(knots)]
    words = table.words[knots]
    return TailFit(
        tuple(float(word) for word in words), tuple(start), tuple((a, b) for a, b in map(tuple, steps))
    )


def _choose_knots(above: Counts) -> list[int]:
    knots = [0]
    for position in range(1, len(above)):
        lost, kept = above[knots[-1]] - above[position], above[position]
        far = kept > 0 and math.log(above[knots[-1]] / kept) >= _KNOT_DECAY
        if far and min(lost, kept) >= _KNOT_EVENTS:
            knots.append(position)
    return knots


def _z(interactions: ArrayLike) -> Floats:
    return np.log((np.asarray(interactions, dtype=np.float64) + 0.5) / 60)


def _hinged(z: Floats) -> Floats:
    return np.stack([np.ones_like(z), z, *(np.maximum(z - hinge, 0) for hinge in _HINGES)], axis=1)


def _cloglog(basis: Floats, trials: Counts, passed: Counts) -> list[float]:
    """Coefficients c maximising the binomial likelihood of `passed` among `trials` with
    P = exp(-exp(basis @ c)); rows with no trials say nothing."""
    from scipy.optimize import minimize

    rows = trials > 0
    basis, n, k = basis[rows], trials[rows].astype(np.float64), passed[rows].astype(np.float64)
    scale = max(float(k.sum()), 1.0)

    def objective(c: Floats) -> tuple[float, Floats]:
        hazard = np.exp(np.clip(basis @ c, -30, 30))
        fail = -np.expm1(-hazard)
        value = (k * hazard - (n - k) * np.log(fail)).sum()
        slope = (k - (n - k) * np.exp(-hazard) / fail) * hazard
        return value / scale, basis.T @ slope / scale

    first = np.zeros(basis.shape[1])
    first[0] = math.log(-math.log(min(max(k.sum() / n.sum(), 1e-9), 1 - 1e-9)))
    return [float(c) for c in minimize(objective, first, jac=True, method="BFGS").x]


class PileupModel:
    """Survival of the score in a lumi section, P(score >= word | mean pileup), from a `TailFit`.

    `words` (q,) are knots and `log_survival` (m, q) their log probabilities at mean pileups `pileups`
    (m,). Below the first knot the model says nothing: `first_word` is the lowest threshold it knows.
    """

    def __init__(self, fit: TailFit) -> None:
        self.words: Floats = np.array(fit.knots)
        self.pileups: Floats = _PILEUPS
        self.log_survival: Floats = np.log(_poisson(_PILEUPS) @ np.exp(_log_survival_by_n(fit)))
        self.first_word = math.ceil(self.words[0])
        self.tail_slope: Floats = (self.log_survival[:, -1] - self.log_survival[:, -2]) / (
            self.words[-1] - self.words[-2]
        )

    def row(self, pileup: float) -> tuple[Floats, float]:
        """Log survival at all knots (q,), and its slope per word after the last, at mean `pileup`."""
        position = min(
            max(float(np.interp(pileup, self.pileups, _POSITIONS)), 0.0), len(self.pileups) - 1.001
        )
        low = int(position)
        part = position - low
        row = self.log_survival[low] * (1 - part) + self.log_survival[low + 1] * part
        slope = self.tail_slope[low] * (1 - part) + self.tail_slope[low + 1] * part
        return row, float(slope)

    def log_fraction(self, word: ArrayLike, pileup: float) -> Floats:
        """log P(score >= word) at mean `pileup`; ValueError for a word below the first knot."""
        word = np.asarray(word, dtype=np.float64)
        if (word < self.words[0]).any():
            raise ValueError(f"the model knows no scores below {self.first_word}")
        row, slope = self.row(pileup)
        logs: Floats = np.interp(word, self.words, row) + slope * np.maximum(word - self.words[-1], 0)
        return logs

    def word_at(self, log_fraction: float, pileup: float) -> float:
        """The (fractional) threshold with that log P at mean `pileup`; the first knot when it is lower."""
        row, slope = self.row(pileup)
        if log_fraction >= row[0]:
            return float(self.words[0])
        if log_fraction < row[-1]:
            return float(self.words[-1] + (log_fraction - row[-1]) / slope)
        return float(np.interp(-log_fraction, -row, self.words))

    def rate_khz(self, word: ArrayLike, pileup: float, bunches: int) -> Floats:
        """Rate in kHz of a seed with threshold `word` at mean `pileup` with `bunches` colliding."""
        return np.exp(self.log_fraction(word, pileup)) * collision_rate_khz(bunches)


_POSITIONS = np.arange(len(_PILEUPS), dtype=np.float64)


def _log_survival_by_n(fit: TailFit) -> Floats:
    z = _z(np.arange(MOST_INTERACTIONS + 1))
    exponents = [_hinged(z) @ np.array(fit.start)]
    exponents += [a + b * z for a, b in fit.steps]
    return -np.cumsum(np.exp(np.clip(np.stack(exponents, axis=1), -30, 30)), axis=1)


def _poisson(means: Floats) -> Floats:
    """Poisson probabilities (m, N) of 0 to MOST_INTERACTIONS for `means` (m,)."""
    n = np.arange(MOST_INTERACTIONS + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(n[1:]))])
    safe = np.maximum(means, 1e-300)[:, None]
    probabilities: Floats = np.exp(n * np.log(safe) - means[:, None] - log_factorial)
    return probabilities


def signal_efficiency(table: ScoreByPileup, name: str, word: ArrayLike) -> Floats:
    """Fraction of the events of signal `name` at or above `word`, straight between bin edges.

    NaN-free: below the first bin it is the fraction in all bins. ValueError for an unknown signal.
    """
    if name not in table.signals:
        raise ValueError(f"no signal {name!r} in the table")
    events, counts = table.signals[name]
    above = counts[::-1].cumsum()[::-1] / events
    return np.interp(np.asarray(word, dtype=np.float64), table.words, above)


def fit_pileup_model(table: ScoreByPileup) -> PileupModel:
    """The model fitted to `table`; UserError when its tail has too few events."""
    return PileupModel(fit_tail(table))
