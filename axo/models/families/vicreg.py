"""An autoencoder on a contrastive embedding (AXOL1TL v5 style): score = |decoded - embedding|^2.

The embedding is trained by VICReg (Bardes, Ponce & LeCun 2105.04906): two views of an event (see
axo.models.augment) shall lie close to each other (invariance), every component shall keep a spread
over events (variance), and no two shall say the same (covariance); the three act on a projection
that is dropped afterwards. A small autoencoder learns meanwhile to reconstruct the embedding of the
events as they are; its gradient stops at the embedding. Both run in firmware.

Rare events are drawn more often, so that the embedding knows them; in the autoencoder's error each counts
as often as it is in zero bias, for what it has learned to reconstruct it no longer finds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.interchange.keras import squared_length_network
from axo.layout import Layout
from axo.models import layers
from axo.models.augment import Augmentations, Augmenter
from axo.models.backend import import_keras, import_tensorflow
from axo.models.family import Arrays, Metrics, Penalty
from axo.models.fitting import PrunedAdam, mean_metrics, quantised_dense, require_damping
from axo.models.objects import Objects
from axo.models.pruning import Pruning
from axo.models.scaling import Scaling
from axo.models.surprise import surprise_table, tail_frequency
from axo.network import Network

tf, keras = import_tensorflow(), import_keras()


@dataclass(frozen=True)
class Weights:
    """Weights of the three terms of VICReg, as in the paper, and of the autoencoder's error."""

    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0
    error: float = 1.0

    def __post_init__(self) -> None:
        if min(self.invariance, self.variance, self.covariance) < 0 or self.error <= 0:
            raise UserError("weights must not be negative, and that of the error must be positive")


@dataclass(frozen=True)
class VicregConfig:
    """Sizes and types. Bits and integer bits are those of ap_fixed (the sign included), of all layers.

    `hidden` are the embedder's hidden layers, `embedding` its outputs, `projection` the layers on top
    that only the training sees, `bottleneck` the one hidden layer of the autoencoder. `pruning` has
    one sparsity for each quantised layer: the embedder's, then the autoencoder's two. Events are
    drawn with a frequency of P**-tail, where P is the fraction of zero bias in which the event's
    rarest object is present and as hard. `damping`: see `PrunedAdam`.
    """

    hidden: tuple[int, ...] = (32,)
    embedding: int = 12
    projection: tuple[int, ...] = (64, 64)
    bottleneck: int = 6
    weight_bits: int = 6
    weight_integer: int = 2
    bias_bits: int = 8
    bias_integer: int = 5
    activation_bits: int = 8
    activation_integer: int = 5
    embedding_bits: int = 8
    embedding_integer: int = 5
    augmentations: Augmentations = field(default_factory=Augmentations)
    weights: Weights = field(default_factory=Weights)
    tail: float = 0.4
    pruning: Pruning = field(default_factory=lambda: Pruning((0.5, 0.0, 0.0, 0.0)))
    learning_rate: float = 0.002
    damping: float = 0.0

    def __post_init__(self) -> None:
        if min(*self.hidden, self.embedding, *self.projection, self.bottleneck) < 1:
            raise UserError("layer sizes must be positive")
        if self.learning_rate <= 0 or not 0 <= self.tail < 1:
            raise UserError("learning_rate must be positive, and tail at least 0 and below 1")
        require_damping(self.damping)
        if len(self.pruning.sparsity) != len(self.hidden) + 3:
            raise UserError(f"pruning: {len(self.hidden) + 3} sparsities are needed, one a layer")


class Vicreg:
    """The family's model: see axo.models.family.Family. `encoder` is the whole network to the errors."""

    Config = VicregConfig

    @staticmethod
    def check(config: VicregConfig, layout: Layout) -> None:
        Objects(layout)

    def __init__(self, config: VicregConfig, scaling: Scaling, seed: int, words: NDArray[np.int16]) -> None:
        keras.utils.set_random_seed(seed)
        self.config, self.scaling, self.seed = config, scaling, seed
        self.check(config, scaling.layout)
        self.objects = Objects(scaling.layout)
        self.surprise = surprise_table(words, self.objects)
        self._mean_frequency = self.frequency(words).mean()
        self._embed, autoencode = _embedder(config, len(scaling.offset)), _autoencoder(config)
        self.encoder = _whole(self._embed, autoencode)
        self._errors = keras.Sequential([keras.Input((config.embedding,)), *autoencode])
        self._project = keras.Sequential(
            [keras.Input((config.embedding,))]
            + [keras.layers.Dense(n, "relu") for n in config.projection[:-1]]
            + [keras.layers.Dense(config.projection[-1])]
        )
        self._augment = Augmenter(config.augmentations, scaling)
        trainable = [
            variable
            for part in (self._embed, self._errors, self._project)
            for variable in part.trainable_variables
        ]
        dense = quantised_dense(self.encoder.layers)
        self._adam = PrunedAdam(config.learning_rate, trainable, dense, config.pruning, config.damping)

    @property
    def variables(self) -> list[Any]:
        return self._adam.variables

    def prepare(self, words: NDArray[np.int16]) -> Arrays:
        """The raw words themselves, for views are made of them; weights in the error (n,), float32."""
        weights = self._mean_frequency / self.frequency(words)
        return np.ascontiguousarray(words, self.scaling.layout.dtype), weights.astype(np.float32)

    def frequency(self, words: NDArray[np.int16]) -> NDArray[np.float64]:
        return tail_frequency(self.surprise, words, self.objects, self.config.tail)

    def train_step(self, batch: Arrays, step: Any, progress: Any, penalty: Penalty | None = None) -> Metrics:
        with tf.GradientTape() as tape:
            metrics = self._loss(batch, tf.stack([self.seed, tf.cast(step, tf.int32)]), penalty)
        self._adam.step(tape.gradient(metrics["loss"], self._adam.trainable), progress)
        self._adam.mask()
        return metrics

    def validate(self, arrays: Arrays, order: NDArray[np.int64]) -> Metrics:
        return mean_metrics(lambda batch, start: self._loss(batch, (0, start)), arrays, order)

    def end_epoch(self, progress: float) -> None:
        self._adam.prune(progress)

    def export(self, name: str) -> Network:
        return self.export_encoder(name, self.scaling, self.encoder)

    @staticmethod
    def export_encoder(name: str, scaling: Scaling, encoder: Any) -> Network:
        """The score keeps every bit of the squares; it saturates, so an extreme event cannot wrap."""
        return squared_length_network(name, scaling.layout, scaling.operations(), encoder)

    def _loss(self, batch: Arrays, seed: Any, penalty: Penalty | None = None) -> Metrics:
        words, zero_bias = batch
        weights, seeds = self.config.weights, tf.random.split(seed, 2)
        views = [
            self._project(self._embed(self._augment.inputs(self._augment.words(words, seeds[i]))))
            for i in range(2)
        ]
        terms = vicreg_terms(*views)
        embedding = self._embed(self._augment.inputs(tf.cast(words, tf.float32)))
        fixed = tf.stop_gradient(embedding)
        scores = tf.reduce_sum((self._errors(fixed) - fixed) ** 2, axis=1)
        metrics = {**terms, "error": tf.reduce_mean(zero_bias * scores)}
        metrics["loss"] = tf.add_n([getattr(weights, name) * metrics[name] for name in metrics])
        if penalty is not None:
            moving = tf.reduce_sum((self._errors(embedding) - embedding) ** 2, axis=1)
            metrics["penalty"] = penalty(moving)
            metrics["loss"] += metrics["penalty"]
        return metrics


FAMILY = Vicreg


def vicreg_terms(first: Any, second: Any) -> Metrics:
    """The terms of VICReg of two views (n, d) each: invariance, variance, covariance (2105.04906, eqs. 1-6).

    Sums over d are divided by d, and the variance and covariance terms are sums over both views.
    """
    variance = covariance = 0.0
    size = int(first.shape[1])
    for view in (first, second):
        centred = view - tf.reduce_mean(view, axis=0)
        count = tf.cast(tf.shape(view)[0] - 1, tf.float32)
        matrix = tf.transpose(centred) @ centred / count
        spread = tf.sqrt(tf.linalg.diag_part(matrix) + 1e-4)
        variance += tf.reduce_mean(tf.nn.relu(1.0 - spread))
        covariance += (tf.reduce_sum(matrix**2) - tf.reduce_sum(tf.linalg.diag_part(matrix) ** 2)) / size
    invariance = tf.reduce_mean(tf.reduce_sum((first - second) ** 2, axis=1)) / size
    return {"invariance": invariance, "variance": variance, "covariance": covariance}


def _embedder(config: VicregConfig, words: int) -> Any:
    inputs = x = keras.Input((words,), name="network_input")
    for index, size in enumerate(config.hidden):
        x = _dense(config, f"embed{index}", size)(x)
        x = layers.relu(f"relu{index}", config.activation_bits, config.activation_integer)(x)
    x = _dense(config, f"embed{len(config.hidden)}", config.embedding)(x)
    x = layers.linear("embedding", config.embedding_bits, config.embedding_integer)(x)
    return keras.Model(inputs, x, name="embedder")


def _autoencoder(config: VicregConfig) -> list[Any]:
    """The layers from the embedding to its reconstruction, which has the embedding's type."""
    return [
        _dense(config, "encode", config.bottleneck),
        layers.relu("bottleneck", config.activation_bits, config.activation_integer),
        _dense(config, "decode", config.embedding),
        layers.linear("decoded", config.embedding_bits, config.embedding_integer),
    ]


def _whole(embedder: Any, autoencoder: list[Any]) -> Any:
    """``network_input`` -> decoded - embedding; names are those of the network's operations."""
    embedding = decoded = embedder.output
    for layer in autoencoder:
        decoded = layer(decoded)
    error = keras.layers.Subtract(name="error")([decoded, embedding])
    return keras.Model(embedder.input, error, name="autoencoder")


def _dense(config: VicregConfig, name: str, size: int) -> Any:
    weight, bias = (config.weight_bits, config.weight_integer), (config.bias_bits, config.bias_integer)
    return layers.dense(name, size, weight, bias)
