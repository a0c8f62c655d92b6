"""The true rates that a simulation draws from, and the counts that ship with axo."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path

import numpy as np

from axo.controllers import ScoreCounts
from axo.physics.pileup_model import PileupModel, ScoreByPileup, read_score_by_pileup
from axo.physics.rates import collision_rate_khz

_HISTOGRAM_BINS = 64
_HISTOGRAM_STEP = 256  # words


class SeedTruth:
    """One seed on a score whose distribution by pileup is `model`, exactly."""

    def __init__(self, model: PileupModel, bunches: int) -> None:
        self.model = model
        self.bunches = bunches
        self._crossings_khz = collision_rate_khz(bunches)

    def rate_khz(self, word: int, pileup: float, factor: float = 1.0) -> float:
        """The true rate before prescale; `factor` is the detector's (1: as counted)."""
        if pileup <= 0:
            return 0.0
        fraction = math.exp(float(self.model.log_fraction(max(word, self.model.first_word), pileup)))
        return min(fraction * factor, 1.0) * self._crossings_khz

    def word(self, target_khz: float, pileup: float, factor: float = 1.0) -> float:
        """The (fractional) threshold with that true rate."""
        return self.model.word_at(math.log(target_khz / (self._crossings_khz * factor)), pileup)

    def draw(
        self,
        rng: np.random.Generator,
        word: int,
        pileup: float,
        factor: float,
        live_s: float,
        prescale: float,
    ) -> ScoreCounts:
        """Poisson counts by score word above the threshold `word`, after prescale; their sum has passed."""
        words = word + _HISTOGRAM_STEP * np.arange(_HISTOGRAM_BINS)
        if pileup <= 0 or live_s <= 0:
            return ScoreCounts(tuple(words.tolist()), (0,) * _HISTOGRAM_BINS, 1 / prescale)
        above = np.exp(self.model.log_fraction(np.maximum(words, self.model.first_word), pileup))
        above[:-1] -= above[1:]
        counts = rng.poisson(above * (factor * self._crossings_khz * 1000 * live_s / prescale))
        return ScoreCounts(tuple(words.tolist()), tuple(counts.tolist()), 1 / prescale)


def shipped_counts(name: str) -> tuple[Path, ScoreByPileup]:
    """The path and table ``pileup_<name>.json`` of this package: ``truth`` or ``prior``."""
    path = Path(str(resources.files("axo.rate_monitor"))) / f"pileup_{name}.json"
    return path, read_score_by_pileup(path)
