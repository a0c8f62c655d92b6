"""Rates of seeds as functions of threshold and pileup: counted models, corrected as data comes.

The starting point is a `PileupModel` a seed (P(score >= word | pileup) in zero bias, counted once, from
another sample or another year). Two corrections are learnt while running:

* shape: score histograms of the lumi sections, forgotten exponentially, against what the model expected
  of each at its pileup, in bins of score: a ratio per bin reshapes the survival function;
* level: log(measured / expected rate) as a function of pileup, straight in log(pileup) between nodes,
  followed by a Kalman filter that weighs each rate by its counts. What is known beforehand is a smooth
  random function (a level, a slope, a Brownian remainder), so that a rate teaches much about pileups
  near its own and less about others; all of it wanders slowly. A jump is believed at once when it is
  upward, and when a second lumi section confirms it when it is downward.

All seeds are computed together, as rows of arrays: fifty take little longer than one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.controllers.interface import ScoreCounts
from axo.pileup_model import PileupModel
from axo.rates import ORBIT_RATE_HZ

Floats = NDArray[np.float64]
ModelState = Mapping[str, Any]

_NODES = 17
_FORGET = 0.98  # of the histogram counts remain after a lumi section
_PRIOR_COUNTS = 500.0  # the weight, in events a bin, of the straight line that the learnt shape follows
_ROUGH = 0.05  # how far log(observed / expected) of a bin is from a straight line, beside counting
_KNOWN_TILT = 0.1  # standard deviation of that line's slope beforehand, a node

_LEVELS: Floats = np.log(np.array([20.0, 27.0, 36.0, 45.0, 55.0, 65.0, 80.0]))  # nodes in log(pileup)
_MIDDLE = 4  # the node that the slope and the remainder are counted from
_KNOWN_LEVEL, _KNOWN_SLOPE, _KNOWN_REST = 0.5, 1.0, 0.5  # standard deviations; the last per sqrt(log(pileup))
_WANDER_LEVEL, _WANDER_REST = 0.003, 0.003  # per lumi section, likewise
_MODEL_ERROR = 0.01  # relative error of a rate beside that of counting
_JUMP_SIGMA, _JUMP_LEAST = 6.0, 0.12  # what is a jump: in standard deviations, and in log(rate)


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

    def initial_state(self) -> ModelState:
        """No data yet."""
        n = len(self._rows)
        return {
            "levels": [[0.0] * len(_LEVELS)] * n,
            "covariance": [_BEFOREHAND.tolist()] * n,
            "suspect": [None] * n,
            "observed": [[0.0] * _NODES] * n,
            "expected": [[0.0] * _NODES] * n,
        }

    def curves(self, state: ModelState, pileup: float) -> Floats:
        """log P(score >= node) (n, nodes) at mean `pileup`, with the shape learnt so far."""
        survival = np.exp(self._log_survival(pileup))
        within = survival.copy()
        within[:, :-1] -= survival[:, 1:]
        within *= _shape(np.array(state["observed"]), np.array(state["expected"]))
        return np.log(within[:, ::-1].cumsum(axis=1)[:, ::-1])

    def log_rates(
        self, state: ModelState, curves: Floats, words: Floats, pileup: float, bunches: int
    ) -> Floats:
        """Logs of the expected rates (n,) in kHz at thresholds `words` (n,)."""
        position = (words - self._first) / self._step
        return _straight(curves, self._rows, position) + self._offset(state, pileup, bunches)

    def words_at(
        self, state: ModelState, curves: Floats, log_rates: Floats, pileup: float, bunches: int
    ) -> Floats:
        """The thresholds (n,), fractional, with those logs of the expected rates in kHz."""
        wanted = log_rates - self._offset(state, pileup, bunches)
        low = (curves[:, 1:-1] > wanted[:, None]).sum(axis=1)
        above, below = curves[self._rows, low], curves[self._rows, low + 1]
        return self._first + self._step * (low + (wanted - above) / (below - above))

    def learn_rates(
        self, state: ModelState, log_ratios: Sequence[float | None], errors: Sequence[float], pileup: float
    ) -> tuple[ModelState, list[str | None]]:
        """State after rates of exp(log_ratio) times the expected ones with relative `errors` (None: no
        rate); and what was made of each: ``followed``, ``jump`` (believed) or ``suspect`` (waits for a
        second lumi section)."""
        weights = _level_weights(pileup)
        covariance = np.array(state["covariance"]) + _WANDER
        gain = covariance @ weights
        noise = np.array(errors) ** 2 + _MODEL_ERROR**2
        limits = np.maximum(_JUMP_SIGMA * np.sqrt(gain @ weights + noise), _JUMP_LEAST)
        suspect, outcomes = list(state["suspect"]), [None] * len(log_ratios)  # type: list[Any], list[Any]
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
        levels = np.array(state["levels"]) + gain * (used * ratios / total)[:, None]
        covariance -= gain[:, :, None] * gain[:, None, :] * (used / total)[:, None, None]
        return {
            **state,
            "levels": levels.tolist(),
            "covariance": covariance.tolist(),
            "suspect": suspect,
        }, outcomes

    def learn_shapes(
        self, state: ModelState, histograms: Sequence[ScoreCounts | None], pileup: float
    ) -> ModelState:
        """State after the score histograms of a lumi section (None: none). One that is not in order, or
        reaches below the nodes, teaches nothing."""
        by_length: dict[int, list[int]] = {}
        for row, histogram in enumerate(histograms):
            if histogram is not None and len(histogram.words) == len(histogram.counts) > 1:
                by_length.setdefault(len(histogram.words), []).append(row)
        if not by_length:
            return state
        curves = self._log_survival(pileup)
        observed, expected = np.array(state["observed"]), np.array(state["expected"])
        for same in by_length.values():
            self._learn_same_length(np.array(same), histograms, curves, observed, expected)
        # Hundredths of an event are enough, and short in a journal.
        return {**state, "observed": observed.round(2).tolist(), "expected": expected.round(2).tolist()}

    def _learn_same_length(
        self,
        rows: NDArray[np.int64],
        histograms: Sequence[ScoreCounts | None],
        curves: Floats,
        observed: Floats,
        expected: Floats,
    ) -> None:
        """Fade `observed` and `expected` (n, nodes) in `rows`, and add their histograms, in place."""
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
        # Thresholds differ from one lumi section to the next: what was learnt says what share is above.
        learnt = np.take_along_axis(_shape(observed[rows], expected[rows]), node, axis=1)
        share *= (counts.sum(axis=1) / (share * learnt).sum(axis=1))[:, None]
        node += _NODES * np.arange(len(rows))[:, None]
        for kept, new in ((observed, counts), (expected, share)):
            added = np.bincount(node.ravel(), new.ravel(), _NODES * len(rows))
            kept[rows] = kept[rows] * _FORGET + added.reshape(len(rows), _NODES)

    def _log_survival(self, pileup: float) -> Floats:
        """The models' log P(score >= node) (n, nodes) at mean `pileup`."""
        position = (pileup - float(self._pileups[0])) / self._spacing
        position = min(max(position, 0.0), len(self._pileups) - 1.000001)
        low = int(position)
        part = position - low
        return self._table[low] * (1 - part) + self._table[low + 1] * part

    def _offset(self, state: ModelState, pileup: float, bunches: int) -> Floats:
        """log of (rate in kHz / modelled P) (n,): crossings, and the level learnt."""
        return np.array(state["levels"]) @ _level_weights(pileup) + math.log(bunches * ORBIT_RATE_HZ / 1000)


def _shape(observed: Floats, expected: Floats) -> Floats:
    """Events in score bins over those that the model expects (n, nodes), from counts so far: straight in
    the logarithm, also to where thresholds have never been, but for what the counts of a bin say."""
    weight = observed / (1 + _ROUGH**2 * observed)
    log_ratio = np.log((observed + 1) / (expected + 1))
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1.0)
    x = np.arange(_NODES) - (weight * np.arange(_NODES)).sum(axis=1, keepdims=True) / total
    mean = (weight * log_ratio).sum(axis=1, keepdims=True) / total
    slope = (weight * x * log_ratio).sum(axis=1, keepdims=True) / (
        (weight * x * x).sum(axis=1, keepdims=True) + 1 / _KNOWN_TILT**2
    )
    straight = np.exp(mean + slope * x)
    return (observed + _PRIOR_COUNTS * straight) / (expected + _PRIOR_COUNTS)


def _judge(log_ratio: float, limit: float, suspect: float | None) -> str:
    """What to make of a rate of exp(log_ratio) times the expected one, after `suspect` the time before."""
    if abs(log_ratio) <= limit:
        return "followed"
    confirmed = suspect is not None and abs(log_ratio - suspect) <= limit
    return "jump" if log_ratio > 0 or confirmed else "suspect"


def _straight(curves: Floats, rows: Any, position: Floats) -> Floats:
    """`curves` (n, nodes) in `rows` at fractional node `position`, straight on beyond the ends."""
    low = np.minimum(np.maximum(position.astype(np.int64), 0), _NODES - 2)
    left = curves[rows, low]
    return left + (curves[rows, low + 1] - left) * (position - low)


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


_BEFOREHAND = _smooth(_KNOWN_LEVEL, _KNOWN_SLOPE, _KNOWN_REST)
_WANDER = _smooth(_WANDER_LEVEL, 0.0, _WANDER_REST)
