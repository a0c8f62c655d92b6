"""DECADE in training: mutual information of the score and the trigger variables, made differentiable.

The score is cut into bins of equal weight in each batch, with soft edges; each variable into hard bins,
once. The plug-in mutual information of the two, in nats, is the penalty: it changes little when the
score is transformed monotonically, and at inference nothing is added.

Bias: soft and few bins lose information (16 bins: about 6 % of correlated Gaussians' at rho = 0.6), and
a batch of n events adds (bins - 1)^2 / 2n whatever the score, which shifts the loss but not, on
average, its gradient: 0.11 for 16 bins and 1024 events. The tests measure both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.decorrelators.information import rank_bins
from axo.decorrelators.method import Arrays
from axo.decorrelators.variables import PRIMARY, check_name, trigger_variables
from axo.errors import UserError
from axo.models.backend import import_tensorflow

tf = import_tensorflow()


@dataclass(frozen=True)
class DecadeConfig:
    """`strength` (lambda) times the sum over `variables` of their mutual information with the score.

    `bins` of the score and, about, of each variable. Events count as often as in zero bias times
    (the frequency of drawing) ** `emphasis`: 0 is zero bias itself, 1 the events as they are drawn,
    among which those are frequent that a trigger may accept. The edges between bins of the score are
    `softness` of a bin wide.
    """

    strength: float
    variables: tuple[str, ...] = PRIMARY
    bins: int = 16
    emphasis: float = 0.0
    softness: float = 0.25

    def __post_init__(self) -> None:
        for name in self.variables:
            check_name(name)
        if not self.variables or len(set(self.variables)) != len(self.variables):
            raise UserError("variables must be different, at least one")
        if self.strength < 0 or self.bins < 2 or not 0 <= self.emphasis <= 1 or self.softness <= 0:
            raise UserError(
                "strength must not be negative, bins at least 2, emphasis within 0 and 1, softness positive"
            )


class Decade:
    """The method: see axo.decorrelators.method.Method."""

    Config = DecadeConfig

    def __init__(self, config: DecadeConfig) -> None:
        self.config = config
        self._columns: int = 0

    def prepare(self, words: NDArray[np.int16], frequency: NDArray[np.float64] | None) -> Arrays:
        """Bins of the variables (n, k) uint8, and the events' weights when drawn (n,) float32."""
        counted = np.ones(len(words)) if frequency is None else frequency**self.config.emphasis
        drawn = counted if frequency is None else counted / frequency
        values = trigger_variables(words, self.config.variables)
        bins = np.stack([rank_bins(column, self.config.bins, counted) for column in values.T], axis=1)
        self._columns = int(bins.max()) + 1
        return bins.astype(np.uint8), drawn.astype(np.float32)

    def penalty(self, scores: Any, batch: Arrays) -> Any:
        variables, weights = batch
        weights = weights / tf.reduce_sum(weights)
        member = soft_bins(tf.math.log1p(scores), weights, self.config.bins, self.config.softness)
        table = tf.one_hot(tf.cast(variables, tf.int32), self._columns)
        cells = tf.einsum("bi,bkj->kij", member * weights[:, None], table)
        return self.config.strength * tf.reduce_sum(plug_in(cells))


METHOD = Decade


def soft_bins(values: Any, weights: Any, bins: int, softness: float) -> Any:
    """Membership (n, bins) of `values` (n,) in bins of equal weight; rows add up to 1.

    `weights` (n,) add up to 1. Gradients flow through the values, not through the bins' limits.
    """
    passed = tf.sigmoid((bins * ranks(values, weights, 2 * bins) - np.arange(1.0, bins)) / softness)
    ends = tf.ones_like(passed[:, :1])
    return tf.concat([ends, passed], axis=1) - tf.concat([passed, 0 * ends], axis=1)


def ranks(values: Any, weights: Any, knots: int) -> Any:
    """Rank (n, 1) from 0 to 1 of `values` (n,) by weight, straight between `knots` + 1 quantiles."""
    order = tf.argsort(values)
    ranked = tf.stop_gradient(tf.gather(values, order))
    below = tf.cumsum(tf.gather(weights, order))
    levels = np.linspace(0, 1, knots + 1, dtype=np.float32)
    at = tf.reduce_sum(tf.cast(below[None, :] < levels[:, None], tf.int32), axis=1)
    quantiles = tf.gather(ranked, tf.minimum(at, tf.shape(values)[0] - 1))
    # Where many scores are equal a step is sharp, but not sharper than a thousandth of the range.
    sharpest = 1e-3 * (quantiles[-1] - quantiles[0]) + 1e-6
    widths = tf.maximum(quantiles[1:] - quantiles[:-1], sharpest)
    parts = tf.clip_by_value((values[:, None] - quantiles[:-1]) / widths, 0.0, 1.0)
    return tf.reduce_mean(parts, axis=1, keepdims=True)


def plug_in(cells: Any) -> Any:
    """Mutual information (k,), in nats, of tables (k, rows, columns) that add up to 1 each."""
    product = tf.reduce_sum(cells, axis=1, keepdims=True) * tf.reduce_sum(cells, axis=2, keepdims=True)
    tiny = 1e-12
    return tf.reduce_sum(cells * (tf.math.log(cells + tiny) - tf.math.log(product + tiny)), axis=[1, 2])
