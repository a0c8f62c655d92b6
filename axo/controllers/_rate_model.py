"""One seed's rate as a function of threshold and pileup: a counted model, corrected as data comes.

The starting point is a `PileupModel` of zero-bias events (P(score >= word | pileup), counted once, from
another sample or another year). Two corrections are learnt while running:

* shape: score histograms of the lumi sections, forgotten exponentially, against what the model expected
  of each at its pileup, in bins of score: a ratio per bin reshapes the survival function;
* level: log(measured / expected rate) as a function of pileup, straight in log(pileup) between nodes,
  followed by a Kalman filter that weighs each rate by its counts. What is known beforehand is a smooth
  random function (a level, a slope, a Brownian remainder), so that a rate teaches much about pileups
  near its own and less about others; all of it wanders slowly. A jump is believed at once when it is
  upward, and when a second lumi section confirms it when it is downward.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.controllers.interface import ScoreCounts
from axo.pileup_model import PileupModel
from axo.rates import ORBIT_RATE_HZ

Floats = NDArray[np.float64]
SeedState = Mapping[str, Any]

_NODES = 17
_FORGET = 0.98  # of the histogram counts remain after a lumi section
_PRIOR_COUNTS = 500.0  # the weight of the model's own shape, in events a bin

_LEVELS: Floats = np.log(np.array([20.0, 27.0, 36.0, 45.0, 55.0, 65.0, 80.0]))  # nodes in log(pileup)
_MIDDLE = 4  # the node that the slope and the remainder are counted from
_KNOWN_LEVEL, _KNOWN_SLOPE, _KNOWN_REST = 0.5, 1.0, 0.5  # standard deviations; the last per sqrt(log(pileup))
_WANDER_LEVEL, _WANDER_REST = 0.003, 0.003  # per lumi section, likewise
_MODEL_ERROR = 0.01  # relative error of a rate beside that of counting
_JUMP_SIGMA, _JUMP_LEAST = 6.0, 0.12  # what is a jump: in standard deviations, and in log(rate)


class RateModel:
    """The fixed part: a table of the model at score nodes near those that give `target_khz`."""

    def __init__(self, model: PileupModel, target_khz: float, bunches: int = 2400) -> None:
        fraction = target_khz * 1000 / (bunches * ORBIT_RATE_HZ)
        low = model.word_at(math.log(fraction * 30), 30.0)
        high = model.word_at(math.log(fraction / 30), 70.0)
        self.words: Floats = np.linspace(low, max(high, low + _NODES), _NODES)
        self._pileups = model.pileups
        self._table: Floats = np.stack([model.log_fraction(self.words, pileup) for pileup in model.pileups])
        self._step = float(model.pileups[1] - model.pileups[0])

    def initial_state(self) -> SeedState:
        """No data yet."""
        return {
            "levels": [0.0] * len(_LEVELS),
            "covariance": _BEFOREHAND.tolist(),
            "suspect": None,
            "observed": [0.0] * _NODES,
            "expected": [0.0] * _NODES,
        }

    def _log_survival(self, pileup: float) -> Floats:
        """The model's log P(score >= node) (nodes,) at mean `pileup`."""
        position = (pileup - float(self._pileups[0])) / self._step
        position = min(max(position, 0.0), len(self._pileups) - 1.000001)
        low = int(position)
        part = position - low
        return self._table[low] * (1 - part) + self._table[low + 1] * part

    def curve(self, state: SeedState, pileup: float) -> Floats:
        """log P(score >= node) (nodes,) at mean `pileup`, with the shape learnt so far."""
        survival = np.exp(self._log_survival(pileup))
        within = survival.copy()
        within[:-1] -= survival[1:]
        observed, expected = np.array(state["observed"]), np.array(state["expected"])
        within *= (observed + _PRIOR_COUNTS) / (expected + _PRIOR_COUNTS)
        return np.log(within[::-1].cumsum()[::-1])

    def log_rate(self, state: SeedState, curve: Floats, word: float, pileup: float, bunches: int) -> float:
        """log of the expected rate in kHz at threshold `word`."""
        return self._at(curve, word) + _log_crossings_khz(bunches) + _level(state, pileup)

    def word(
        self, state: SeedState, curve: Floats, log_rate_khz: float, pileup: float, bunches: int
    ) -> float:
        """The threshold (fractional) with that log of the expected rate."""
        wanted = log_rate_khz - _log_crossings_khz(bunches) - _level(state, pileup)
        if wanted >= curve[0]:
            return float(self.words[0] + (wanted - curve[0]) / self._slope(curve, 0))
        if wanted <= curve[-1]:
            return float(self.words[-1] + (wanted - curve[-1]) / self._slope(curve, -2))
        return float(np.interp(-wanted, -curve, self.words))

    def _at(self, curve: Floats, word: float) -> float:
        if word < self.words[0]:
            return float(curve[0] + (word - self.words[0]) * self._slope(curve, 0))
        if word > self.words[-1]:
            return float(curve[-1] + (word - self.words[-1]) * self._slope(curve, -2))
        return float(np.interp(word, self.words, curve))

    def _slope(self, curve: Floats, position: int) -> float:
        rise = curve[position + 1] - curve[position]
        return float(rise / (self.words[position + 1] - self.words[position]))

    def learn_rate(
        self, state: SeedState, log_ratio: float, relative_error: float, pileup: float
    ) -> tuple[SeedState, str]:
        """State after a rate of exp(log_ratio) times the expected one; and what was made of it:
        ``followed``, ``jump`` (believed) or ``suspect`` (waits for a second lumi section)."""
        weights = _level_weights(pileup)
        covariance = np.array(state["covariance"]) + _WANDER
        noise = relative_error**2 + _MODEL_ERROR**2
        sigma = math.sqrt(weights @ covariance @ weights + noise)
        limit = max(_JUMP_SIGMA * sigma, _JUMP_LEAST)
        outcome = "followed"
        if abs(log_ratio) > limit:
            confirmed = state["suspect"] is not None and abs(log_ratio - state["suspect"]) <= limit
            if log_ratio < 0 and not confirmed:
                return {**state, "covariance": covariance.tolist(), "suspect": log_ratio}, "suspect"
            covariance += log_ratio**2  # of the level of all nodes
            outcome = "jump"
        gain = covariance @ weights
        total = float(weights @ gain) + noise
        levels = np.array(state["levels"]) + gain * (log_ratio / total)
        covariance -= np.outer(gain, gain) / total
        return {
            **state,
            "levels": levels.tolist(),
            "covariance": covariance.tolist(),
            "suspect": None,
        }, outcome

    def learn_shape(self, state: SeedState, histogram: ScoreCounts, pileup: float) -> SeedState:
        """State after the score histogram of a lumi section; one that is not in order teaches nothing."""
        words, counts = np.array(histogram.words, np.float64), np.array(histogram.counts, np.float64)
        sane = len(words) == len(counts) > 1 and (np.diff(words) > 0).all()
        if not sane or not (counts >= 0).all() or counts.sum() == 0 or words[0] < self.words[0]:
            return state
        log_survival = self._log_survival(pileup)
        tail = (log_survival[-1] - log_survival[-2]) / (self.words[-1] - self.words[-2])
        beyond = np.maximum(words - self.words[-1], 0) * tail
        above = np.exp(np.interp(words, self.words, log_survival) + beyond)
        share = above.copy()
        share[:-1] -= above[1:]
        node = np.searchsorted(self.words, words, side="right") - 1
        observed = np.bincount(node, counts, _NODES)
        expected = np.bincount(node, share * (counts.sum() / above[0]), _NODES)
        return {
            **state,
            "observed": _forgotten(state["observed"], observed),
            "expected": _forgotten(state["expected"], expected),
        }


def _level_weights(pileup: float) -> Floats:
    """How much each level node counts at mean `pileup` (7,); outside the nodes the nearest is taken."""
    z = math.log(max(pileup, 1.0))
    low = min(max(int(np.searchsorted(_LEVELS, z, side="right")) - 1, 0), len(_LEVELS) - 2)
    part = min(max((z - _LEVELS[low]) / (_LEVELS[low + 1] - _LEVELS[low]), 0.0), 1.0)
    weights = np.zeros(len(_LEVELS))
    weights[low], weights[low + 1] = 1 - part, part
    return weights


def _level(state: SeedState, pileup: float) -> float:
    return float(_level_weights(pileup) @ np.array(state["levels"]))


def _smooth(level: float, slope: float, rest: float) -> Floats:
    """Covariance (7, 7) of a random function: level, slope, and Brownian motion either way."""
    z = _LEVELS - _LEVELS[_MIDDLE]
    same_side = np.sign(z)[:, None] == np.sign(z)[None, :]
    brownian = np.where(same_side, np.minimum(abs(z)[:, None], abs(z)[None, :]), 0.0)
    return level**2 + slope**2 * np.outer(z, z) + rest**2 * brownian


_BEFOREHAND = _smooth(_KNOWN_LEVEL, _KNOWN_SLOPE, _KNOWN_REST)
_WANDER = _smooth(_WANDER_LEVEL, 0.0, _WANDER_REST)


def _log_crossings_khz(bunches: int) -> float:
    return math.log(bunches * ORBIT_RATE_HZ / 1000)


def _forgotten(old: list[float], new: NDArray[Any]) -> list[float]:
    """Old counts faded, new ones added; hundredths of an event are enough, and short in a journal."""
    return [float(x) for x in np.round(np.array(old) * _FORGET + new, 2)]
