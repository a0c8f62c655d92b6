"""DisCo: the distance correlation of the score and the trigger variables as a penalty.

Kasieczka & Shih, 2001.05310; distance correlation is Szekely, Rizzo & Bakirov, Ann. Stat. 35 (2007)
2769: 0 for independent variables alone, 1 for linear ones. All pairs of a batch are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.decorrelators.information import rank_bins
from axo.decorrelators.method import Arrays
from axo.errors import UserError
from axo.events import Events
from axo.models.backend import import_tensorflow
from axo.physics.variables import PRIMARY, check_name, trigger_variables

tf = import_tensorflow()

RANKS = 1000
"""Steps into which variables are ranked: their few huge values would be all that counts otherwise."""


@dataclass(frozen=True)
class DiscoConfig:
    """`strength` (lambda) times the sum of squared distance correlations with the ranked `variables`.

    Events count as often as in zero bias.
    """

    strength: float
    variables: tuple[str, ...] = PRIMARY

    def __post_init__(self) -> None:
        for name in self.variables:
            check_name(name)
        if not self.variables or len(set(self.variables)) != len(self.variables):
            raise UserError("variables must be different, at least one")
        if self.strength < 0:
            raise UserError("strength must not be negative")


class Disco:
    """The method: see axo.decorrelators.method.Method."""

    Config = DiscoConfig

    def __init__(self, config: DiscoConfig) -> None:
        self.config = config

    def prepare(
        self,
        events: Events,
        frequency: NDArray[np.float64] | None = None,
    ) -> Arrays:
        """Ranks of the variables (n, k) float32, and the events' weights when drawn (n,) float32."""
        drawn = np.ones(len(events)) if frequency is None else 1 / frequency
        values = trigger_variables(events, self.config.variables)
        ranks = np.stack([rank_bins(column, RANKS, drawn) / RANKS for column in values.T], axis=1)
        return ranks.astype(np.float32), drawn.astype(np.float32)

    def penalty(self, scores: Any, batch: Arrays) -> Any:
        variables, weights = batch
        squared = distance_correlation_squared(tf.math.log1p(scores), variables, weights)
        return self.config.strength * tf.reduce_sum(squared)


METHOD = Disco


def distance_correlation_squared(score: Any, variables: Any, weights: Any) -> Any:
    """dCor^2 (k,) of `score` (n,) with each of `variables` (n, k); `weights` (n,) as in 2001.05310."""
    weights = weights / tf.reduce_sum(weights)
    pairs = weights[:, None] * weights[None, :]
    a = _centred(score[:, None], weights)[0]
    b = _centred(tf.transpose(variables)[..., None], weights)
    covariance = tf.reduce_sum(pairs * a * b, axis=[1, 2])
    spread = tf.reduce_sum(pairs * a * a) * tf.reduce_sum(pairs * b * b, axis=[1, 2])
    return covariance / tf.sqrt(spread + 1e-12)


def _centred(values: Any, weights: Any) -> Any:
    """Distances (k, n, n) of `values` (k, n, 1) or (n, 1), less their weighted means."""
    values = values if len(values.shape) == 3 else values[None]
    distance = tf.abs(values - tf.transpose(values, [0, 2, 1]))
    mean = tf.einsum("kij,j->ki", distance, weights)
    grand = tf.einsum("ki,i->k", mean, weights)
    return distance - mean[:, :, None] - mean[:, None, :] + grand[:, None, None]
