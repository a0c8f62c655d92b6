"""What every detector is compared with: trivial and untrained ones below, a supervised one above.

All read what the networks read (raw words) and give one real number an event, larger for more
anomalous. None is meant for firmware.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.events import Events
from axo.physics.variables import trigger_variables, variable_names

Words = NDArray[Any]
Scores = NDArray[np.float32]

FOREST: dict[str, Any] = {"n_estimators": 200, "max_samples": 10_000, "random_state": 0}
"""An isolation forest on raw words, untuned. With scikit-learn's default of 256 events a tree it never
sees the rare objects, and finds half as much: this is the stronger baseline."""

BOOSTING: dict[str, Any] = {
    "max_iter": 100,
    "min_samples_leaf": 50,
    "l2_regularization": 1.0,
    "early_stopping": False,
    "random_state": 0,
}
"""A gradient-boosted classifier. Smaller leaves let a few zero-bias events take the highest scores."""


def leading_ht(events: Events) -> Scores:
    """HT in GeV, (n,): the trigger's own HTT where the events have it, else that of their jets.

    Of events without jets (a calorimeter image) all their energy. Raises UserError when they have none.
    """
    if events.has("HTT", "pt"):
        return events.values("HTT", "pt")[:, 0].astype(np.float32)
    energies = [name for name in variable_names(events.layout) if name.endswith("_sum_gev")]
    names = ["htt_gev"] if "htt_gev" in variable_names(events.layout) or not energies else energies
    total: Scores = trigger_variables(events, names).sum(axis=1).astype(np.float32)
    return total


class IsolationForest:
    """scikit-learn's, fitted on zero-bias `words` (n, n_words). F. Liu et al., ICDM (2008) 413."""

    def __init__(self, words: Words) -> None:
        from sklearn.ensemble import IsolationForest as Forest

        settings = {**FOREST, "max_samples": min(FOREST["max_samples"], len(words))}
        self._forest = Forest(**settings).fit(words.astype(np.float32))

    def scores(self, words: Words) -> Scores:
        """Anomaly scores (n,) of `words` (n, n_words)."""
        scores: Scores = (-self._forest.score_samples(words.astype(np.float32))).astype(np.float32)
        return scores


class Supervised:
    """The ceiling: a classifier of one signal against zero bias, fitted on words (n, n_words) of each.

    Figures need events that it was not fitted on.
    """

    def __init__(self, zero_bias: Words, signal: Words) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        words = np.concatenate([zero_bias, signal]).astype(np.float32)
        is_signal = np.arange(len(words)) >= len(zero_bias)
        self._classifier = HistGradientBoostingClassifier(**BOOSTING).fit(words, is_signal)

    def scores(self, words: Words) -> Scores:
        """Log odds (n,) that events are signal."""
        odds = self._classifier.decision_function(words.astype(np.float32))
        scores: Scores = odds.astype(np.float32)
        return scores
