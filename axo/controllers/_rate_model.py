"""Rates of seeds as functions of threshold and pileup: counted models, corrected as data comes.

The starting point is a `PileupModel` a seed (P(score >= word | pileup) in zero bias, counted once, from
another sample or another year). Two corrections are estimated while running:

* shape: score histograms of the lumi sections, forgotten exponentially, against what the model expected
  of each at its pileup, in bins of score: a ratio per bin reshapes the survival function;
* level: log(measured / expected rate) as a function of pileup, straight in log(pileup) between nodes,
  tracked by a Kalman filter that weighs each rate by its counts. What is known beforehand is a smooth
  random function (a level, a slope, a Brownian remainder), so that a rate teaches much about pileups
  near its own and less about others; all of it wanders slowly. A jump is believed at once when it is
  upward, and when a second lumi section confirms it when it is downward.

All seeds are computed together, as rows of arrays: fifty take little longer than one. In the state an
array is a text: its little-endian floats in hexadecimal, row by row (numpy.frombuffer(bytes.fromhex(text),
"<f8"); "<f4" for counts). That is exact, half as long as JSON numbers and read in a fraction of the time.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.controllers.interface import ScoreCounts
from axo.physics.pileup_model import PileupModel
from axo.physics.rates import ORBIT_RATE_HZ

Floats = NDArray[np.float64]
ModelState = Mapping[str, Any]

_NODES = 17
_FORGETTING_FACTOR = 0.98  # of the histogram counts remain after a lumi section
_PRIOR_COUNTS = 500.0  # the weight, in events a bin, of the straight line that the estimated shape follows
_SHAPE_ERROR = 0.05  # how far log(observed / expected) of a bin is from a straight line, beside counting
_PRIOR_TILT = 0.1  # standard deviation of that line's slope beforehand, a node

_COUNTS = "<f4"  # how counts are kept in the state; all else is "<f8"

_LEVELS: Floats = np.log(np.array([20.0, 27.0, 36.0, 45.0, 55.0, 65.0, 80.0]))  # nodes in log(pileup)
_MIDDLE = 4  # the node that the slope and the remainder are counted from
_PRIOR_LEVEL, _PRIOR_SLOPE, _PRIOR_REST = 0.5, 1.0, 0.5  # standard deviations; the last per sqrt(log(pileup))
_DRIFT_LEVEL, _DRIFT_REST = 0.002, 0.003  # per lumi section, likewise
_MODEL_ERROR = 0.01  # relative error of a rate beside that of counting
_JUMP_SIGMA, _JUMP_LEAST = 6.0, 0.12  # what is a jump: in standard deviations, and in log(rate)


@dataclass(frozen=True, eq=False)
class Shape:
    """Events in bins between score nodes, forgotten exponentially: `observed` and, of the model, `expected`
    (n, nodes)."""

    observed: Floats
    expected: Floats

    @cached_property
    def ratio(self) -> Floats:
        """Observed over expected (n, nodes): a straight line in the logarithm, also to where thresholds
        have never been, but for what the counts of a bin say."""
        weight = self.observed / (1 + _SHAPE_ERROR**2 * self.observed)
        log_ratio = np.log((self.observed + 1) / (self.expected + 1))
        total = np.maximum(weight.sum(axis=1), 1.0)[:, None]
        x = np.arange(_NODES) - (weight @ np.arange(_NODES))[:, None] / total
        weighted = weight * x
        slope = (weighted * log_ratio).sum(axis=1) / ((weighted * x).sum(axis=1) + 1 / _PRIOR_TILT**2)
        mean = (weight * log_ratio).sum(axis=1)[:, None] / total
        straight = np.exp(mean + slope[:, None] * x)
        ratio: Floats = (self.observed + _PRIOR_COUNTS * straight) / (self.expected + _PRIOR_COUNTS)
        return ratio


@dataclass(frozen=True, eq=False)
class Estimate:
    """All that is estimated for n seeds: `levels` (n, 7) with their `covariance` (n, 7, 7), log ratios that
    wait for a second one (`suspect`, n), and the `shape`."""

    levels: Floats
    covariance: Floats
    suspect: tuple[float | None, ...]
    shape: Shape

    @classmethod
    def prior(cls, n: int) -> Estimate:
        """No data yet."""
        empty = np.zeros((n, _NODES))
        covariance = np.tile(_PRIOR_COVARIANCE, (n, 1, 1))
        return cls(np.zeros((n, len(_LEVELS))), covariance, (None,) * n, Shape(empty, empty))

    @classmethod
    def of(cls, state: ModelState) -> Estimate:
        """What `state` says."""
        return cls(
            _unpacked(state["levels"], len(_LEVELS)),
            _unpacked(state["covariance"], len(_UPPER[0]))[:, _SQUARE],
            tuple(state["suspect"]),
            Shape(*(_unpacked(state[key], _NODES, _COUNTS) for key in ("observed", "expected"))),
        )

    def state(self) -> ModelState:
        """As a JSON value: what a next lumi section starts from, here and after a restart."""
        return {
            "levels": _packed(self.levels),
            "covariance": _packed(self.covariance[:, *_UPPER]),
            "suspect": list(self.suspect),
            "observed": _packed(self.shape.observed, _COUNTS),
            "expected": _packed(self.shape.expected, _COUNTS),
        }


class RateModels:
    """n seeds. The fixed part: tables of their models at score nodes near those that give `targets_khz`."""

    def __init__(
        self, models: Sequence[PileupModel], targets_khz: Sequence[float], bunches: int = 2400
    ) -> None:
        crossings_khz = bunches * ORBIT_RATE_HZ / 1000
        low = [
            m.word_at(math.log(30 * t / crossings_khz), 30.0)
            for m, t in zip(models, targets_khz, strict=True)
        ]
        high = [
            m.word_at(math.log(t / 30 / crossings_khz), 70.0)
            for m, t in zip(models, targets_khz, strict=True)
        ]
        self._first: Floats = np.array(low)
        self._step: Floats = np.maximum(np.array(high) - self._first, _NODES) / (_NODES - 1)
        nodes = self._first[:, None] + self._step[:, None] * np.arange(_NODES)
        self._pileups = models[0].pileups
        self._spacing = float(self._pileups[1] - self._pileups[0])
        self._table: Floats = np.array(
            [
                [m.log_fraction(words, pileup) for m, words in zip(models, nodes, strict=True)]
                for pileup in self._pileups
            ]
        )
        self._rows = np.arange(len(models))

    def curves(self, estimate: Estimate, pileup: float) -> Floats:
        """log P(score >= node) (n, nodes) at mean `pileup`, with the shape estimated so far."""
        survival = np.exp(self._log_survival(pileup))
        within = survival.copy()
        within[:, :-1] -= survival[:, 1:]
        within *= estimate.shape.ratio
        logs: Floats = np.log(within[:, ::-1].cumsum(axis=1)[:, ::-1])
        return logs

    def log_rates(
        self, estimate: Estimate, curves: Floats, words: Floats, pileup: float, bunches: int
    ) -> Floats:
        """Logs of the expected rates (n,) in kHz at thresholds `words` (n,)."""
        position = (words - self._first) / self._step
        return _straight(curves, self._rows, position) + _offset(estimate, pileup, bunches)

    def words_at(
        self, estimate: Estimate, curves: Floats, log_rates: Floats, pileup: float, bunches: int
    ) -> Floats:
        """The thresholds (n,), fractional, with those logs of the expected rates in kHz."""
        wanted = log_rates - _offset(estimate, pileup, bunches)
        low = (curves[:, 1:-1] > wanted[:, None]).sum(axis=1)
        above, below = curves[self._rows, low], curves[self._rows, low + 1]
        words: Floats = self._first + self._step * (low + (wanted - above) / (below - above))
        return words

    def update_levels(
        self, estimate: Estimate, log_ratios: Sequence[float | None], errors: Sequence[float], pileup: float
    ) -> tuple[Estimate, list[str | None]]:
        """What is known after rates of exp(log_ratio) times the expected ones (None: no rate) with relative
        `errors`; and what was made of each: ``accepted``, ``jump`` (believed) or ``suspect`` (waits for a
        second lumi section)."""
        weights = _level_weights(pileup)
        covariance = estimate.covariance + _PROCESS_NOISE
        gain = covariance @ weights
        noise = np.array(errors) ** 2 + _MODEL_ERROR**2
        limits = np.maximum(_JUMP_SIGMA * np.sqrt(gain @ weights + noise), _JUMP_LEAST)
        suspect = list(estimate.suspect)
        outcomes: list[str | None] = [None] * len(log_ratios)
        used, raised = np.zeros(len(log_ratios)), np.zeros(len(log_ratios))
        for row, (ratio, limit) in enumerate(zip(log_ratios, limits.tolist(), strict=True)):
            if ratio is None:
                continue
            outcomes[row] = _judge(ratio, limit, suspect[row])
            suspect[row] = ratio if outcomes[row] == "suspect" else None
            used[row] = outcomes[row] != "suspect"
            raised[row] = ratio**2 if outcomes[row] == "jump" else 0.0
        covariance += raised[:, None, None]  # of the level of all nodes
        gain = covariance @ weights
        total = gain @ weights + noise
        ratios = np.array([0.0 if ratio is None else ratio for ratio in log_ratios])
        levels = estimate.levels + gain * (used * ratios / total)[:, None]
        covariance -= gain[:, :, None] * gain[:, None, :] * (used / total)[:, None, None]
        estimate = dataclasses.replace(estimate, levels=levels, covariance=covariance, suspect=tuple(suspect))
        return estimate, outcomes

    def update_shapes(
        self, estimate: Estimate, histograms: Sequence[ScoreCounts | None], pileup: float
    ) -> Estimate:
        """What is known after the score histograms of a lumi section (None: none). One not in order, or that
        reaches below the nodes, teaches nothing."""
        by_length: dict[int, list[int]] = {}
        for row, histogram in enumerate(histograms):
            if histogram is not None and len(histogram.words) == len(histogram.counts) > 1:
                by_length.setdefault(len(histogram.words), []).append(row)
        if not by_length:
            return estimate
        curves = self._log_survival(pileup)
        shape = Shape(estimate.shape.observed.copy(), estimate.shape.expected.copy())
        for same in by_length.values():
            self._update_same_length(np.array(same), histograms, curves, estimate.shape.ratio, shape)
        return dataclasses.replace(estimate, shape=shape)

    def _update_same_length(
        self,
        rows: NDArray[np.int64],
        histograms: Sequence[ScoreCounts | None],
        curves: Floats,
        ratio: Floats,
        shape: Shape,
    ) -> None:
        """Fade `shape` in `rows`, and add their histograms, in place; `ratio` is the shape before."""
        chosen = [
            histogram for histogram in map(histograms.__getitem__, rows.tolist()) if histogram is not None
        ]
        words = np.array([histogram.words for histogram in chosen], np.float64)
        counts = np.array([histogram.counts for histogram in chosen], np.float64)
        sane = (words[:, 1:] > words[:, :-1]).all(axis=1) & (counts.min(axis=1) >= 0)
        sane &= (counts.sum(axis=1) > 0) & (words[:, 0] >= self._first[rows])
        rows, words, counts = rows[sane], words[sane], counts[sane]
        position = (words - self._first[rows, None]) / self._step[rows, None]
        above = np.exp(_straight(curves, rows[:, None], position))
        share = above.copy()
        share[:, :-1] -= above[:, 1:]
        node = np.minimum(position.astype(np.int64), _NODES - 1)
        # Thresholds differ from one lumi section to the next: the estimate says what share is above.
        bent = share * np.take_along_axis(ratio[rows], node, axis=1)
        share *= (counts.sum(axis=1) / bent.sum(axis=1))[:, None]
        node += _NODES * np.arange(len(rows))[:, None]
        for kept, new in ((shape.observed, counts), (shape.expected, share)):
            added = np.bincount(node.ravel(), new.ravel(), _NODES * len(rows))
            kept[rows] = kept[rows] * _FORGETTING_FACTOR + added.reshape(len(rows), _NODES)

    def _log_survival(self, pileup: float) -> Floats:
        """The models' log P(score >= node) (n, nodes) at mean `pileup`."""
        position = (pileup - float(self._pileups[0])) / self._spacing
        position = min(max(position, 0.0), len(self._pileups) - 1.000001)
        low = int(position)
        part = position - low
        logs: Floats = self._table[low] * (1 - part) + self._table[low + 1] * part
        return logs


def _offset(estimate: Estimate, pileup: float, bunches: int) -> Floats:
    """log of (rate in kHz / modelled P) (n,): crossings, and the estimated level."""
    return estimate.levels @ _level_weights(pileup) + math.log(bunches * ORBIT_RATE_HZ / 1000)


def _judge(log_ratio: float, limit: float, suspect: float | None) -> str:
    """What to make of a rate of exp(log_ratio) times the expected one, after `suspect` the time before."""
    if abs(log_ratio) <= limit:
        return "accepted"
    confirmed = suspect is not None and abs(log_ratio - suspect) <= limit
    return "jump" if log_ratio > 0 or confirmed else "suspect"


def _straight(curves: Floats, rows: Any, position: Floats) -> Floats:
    """`curves` (n, nodes) in `rows` at fractional node `position`, straight on beyond the ends."""
    low = np.minimum(np.maximum(position.astype(np.int64), 0), _NODES - 2)
    left = curves[rows, low]
    values: Floats = left + (curves[rows, low + 1] - left) * (position - low)
    return values


def _packed(rows: Floats, kind: str = "<f8") -> str:
    """`rows` (n, width) as text, in numbers of `kind`."""
    return rows.astype(kind).tobytes().hex()


def _unpacked(text: str, width: int, kind: str = "<f8") -> Floats:
    """The rows (n, width) that `_packed` wrote."""
    return np.frombuffer(bytes.fromhex(text), kind).astype(np.float64).reshape(-1, width)


def _level_weights(pileup: float) -> Floats:
    """How much each level node counts at mean `pileup` (7,); outside the nodes the nearest is taken."""
    z = math.log(max(pileup, 1.0))
    low = min(max(int(np.searchsorted(_LEVELS, z, side="right")) - 1, 0), len(_LEVELS) - 2)
    part = min(max((z - _LEVELS[low]) / (_LEVELS[low + 1] - _LEVELS[low]), 0.0), 1.0)
    weights = np.zeros(len(_LEVELS))
    weights[low], weights[low + 1] = 1 - part, part
    return weights


def _smooth(level: float, slope: float, rest: float) -> Floats:
    """Covariance (7, 7) of a random function: level, slope, and Brownian motion either way."""
    z = _LEVELS - _LEVELS[_MIDDLE]
    same_side = np.sign(z)[:, None] == np.sign(z)[None, :]
    brownian = np.where(same_side, np.minimum(abs(z)[:, None], abs(z)[None, :]), 0.0)
    return level**2 + slope**2 * np.outer(z, z) + rest**2 * brownian


_UPPER = np.triu_indices(len(_LEVELS))  # of a covariance, which is symmetric
_SQUARE = np.zeros((len(_LEVELS), len(_LEVELS)), np.int64)  # where in those each element is
_SQUARE[_UPPER] = _SQUARE.T[_UPPER] = np.arange(len(_UPPER[0]))

_PRIOR_COVARIANCE = _smooth(_PRIOR_LEVEL, _PRIOR_SLOPE, _PRIOR_REST)
_PROCESS_NOISE = _smooth(_DRIFT_LEVEL, 0.0, _DRIFT_REST)
