"""Flow-based anomaly detection (Vaselli et al. 2508.11594): score = |v(x, t)|^2 of a flow, one evaluation.

Two networks are trained side by side:

- a float vector field, by conditional flow matching (axo.models.flow), on the pt of all objects. Its
  coordinates are their *surprise*, sqrt(-2 ln P(pt' >= pt)) in zero bias, less the mean over all
  events and times the root of the object's weight: whatever the kind, a step counts for how rare it
  makes an object. An absent object is no gap: it has surprise 0, like the softest ones;
- the quantised network of the trigger. It reads the 8-bit linear words and learns that field, at the
  fixed time `time` and without noise, by regression: t is a constant of its biases. It gives the
  `components` directions in which the coordinates vary most; what it leaves out of |v|^2 is little.

Events are drawn the more often the rarer their rarest object is (importance sampling): the
trigger's network must be right where it cuts. In the loss of the flow each counts by the inverse,
so the flow is that of zero bias, and so is its likelihood (`Fad.log_likelihood`, for software only).
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
from axo.models.backend import import_keras, import_tensorflow
from axo.models.family import Arrays, Metrics, Penalty
from axo.models.fitting import PrunedAdam, mean_metrics, quantised_dense, require_damping
from axo.models.flow import Path, VectorField, log_likelihood
from axo.models.objects import Objects
from axo.models.pruning import Pruning
from axo.models.scaling import Scaling
from axo.models.surprise import surprise, surprise_table, tail_frequency
from axo.network import FixedType, Network

tf, keras = import_tensorflow(), import_keras()


@dataclass(frozen=True)
class Flow:
    """The float field: `pt` weights by kind, `sigma` the blur of the data, `hidden` its layers.

    Structure finer than `sigma` (in units of weighted surprise) is not seen.
    """

    pt: dict[str, float] = field(default_factory=lambda: {"MET": 1.0, "EG": 1.0, "MU": 1.0, "JET": 0.06})
    sigma: float = 0.1
    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        if min(self.pt.values()) <= 0 or not 0 < self.sigma < 1:
            raise UserError("weights must be positive, and sigma within 0 and 1")
        if not self.hidden or min(self.hidden) < 1:
            raise UserError("hidden must be one positive size or more")


@dataclass(frozen=True)
class FadConfig:
    """Sizes and types. Bits and integer bits are those of ap_fixed (the sign included), per layer.

    `hidden` are the sizes of the two hidden layers of the trigger's network. `time` is where it takes the
    field: 1 is the data. A component is in units of 1 / `component_scale`, so that it uses its bits.
    Errors of the field's length are counted `radial` times on top of those of all components: the length
    is what the score is. Events are drawn with a frequency of P**-tail, where P is the fraction of zero
    bias in which the event's rarest object is present and as hard. `damping`: see `PrunedAdam`.
    """

    hidden: tuple[int, int] = (32, 16)
    components: int = 12
    weight_bits: tuple[int, int, int] = (6, 6, 6)
    weight_integer: tuple[int, int, int] = (3, 3, 3)
    bias_bits: tuple[int, int, int] = (8, 8, 8)
    bias_integer: tuple[int, int, int] = (5, 5, 5)
    activation_bits: tuple[int, int] = (8, 8)
    activation_integer: tuple[int, int] = (5, 5)
    component_bits: int = 8
    component_integer: int = 6
    component_scale: float = 4.0
    time: float = 1.0
    tail: float = 0.7
    radial: float = 10.0
    flow: Flow = field(default_factory=Flow)
    pruning: Pruning = field(default_factory=Pruning)
    learning_rate: float = 0.004
    damping: float = 0.0

    def __post_init__(self) -> None:
        if min(*self.hidden, self.components) < 1 or self.learning_rate <= 0:
            raise UserError("layer sizes and learning_rate must be positive")
        require_damping(self.damping)
        if self.component_scale <= 0 or self.radial < 0:
            raise UserError("component_scale must be positive, and radial not negative")
        if not 0 <= self.tail < 1 or not 0 <= self.time <= 1:
            raise UserError("tail must be at least 0 and below 1, and time within 0 and 1")


class Fad:
    """The family's model: see axo.models.family.Family."""

    Config = FadConfig

    @staticmethod
    def check(config: FadConfig, layout: Layout) -> None:
        objects = Objects(layout)
        objects.require_kinds(config.flow.pt, "flow: pt")
        if config.components > objects.count:
            raise UserError(
                f"components must be at most {objects.count}: one pt of each object is all there is"
            )

    def __init__(self, config: FadConfig, scaling: Scaling, seed: int, words: NDArray[np.int16]) -> None:
        keras.utils.set_random_seed(seed)
        self.config, self.scaling, self.seed = config, scaling, seed
        self.check(config, scaling.layout)
        self.objects = objects = Objects(scaling.layout)
        self.surprise = surprise_table(words, objects)
        found = surprise(self.surprise, words, objects)
        weights = objects.per_object(config.flow.pt, "flow: pt")
        self._scale, self.centre = np.sqrt(weights), found.mean(axis=0)
        frequency = self.frequency(words)
        self._mean_frequency = frequency.mean()
        self.axes = _principal_axes((found - self.centre) * self._scale, frequency, config.components)
        self.field = VectorField(objects.count, config.flow.hidden, Path(config.flow.sigma))
        last = layers.linear("field", config.component_bits, config.component_integer)
        self.encoder = layers.encoder(config, len(scaling.offset), config.components, last)
        trainable = [*self.field.trainable_variables, *self.encoder.trainable_variables]
        dense = quantised_dense(self.encoder.layers)
        self._adam = PrunedAdam(
            config.learning_rate, trainable, dense, config.pruning, config.damping, _wired(dense, objects)
        )

    @property
    def variables(self) -> list[Any]:
        return self._adam.variables

    def coordinates(self, words: NDArray[np.int16]) -> NDArray[np.float32]:
        """The flow's coordinates (n, objects) of raw `words` (n, n_words)."""
        found = surprise(self.surprise, words, self.objects)
        coordinates: NDArray[np.float32] = ((found - self.centre) * self._scale).astype(np.float32)
        return coordinates

    def prepare(self, words: NDArray[np.int16]) -> Arrays:
        """Inputs as integers, int16; coordinates (n, objects), weights in the flow's loss (n,), float32."""
        weights = self._mean_frequency / self.frequency(words)
        return self.scaling.inputs(words), self.coordinates(words), weights.astype(np.float32)

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
        """The score is ap_ufixed<18,14,TRN,SAT>: saturating, an extreme event cannot wrap to a low score."""
        word = FixedType(18, 14, False, "TRN", "SAT")
        return squared_length_network(name, scaling.layout, scaling.operations(), encoder, word)

    def field_score(self, words: NDArray[np.int16], chunk: int = 100_000) -> NDArray[np.float64]:
        """|v(x, time)|^2 of the float field, all components, (n,) for raw `words` (n, n_words)."""
        x = self.coordinates(words)
        parts = [self.field(x[i : i + chunk], self.config.time).numpy() for i in range(0, len(x), chunk)]
        scores: NDArray[np.float64] = (np.concatenate(parts).astype(np.float64) ** 2).sum(axis=1)
        return scores

    def log_likelihood(self, words: NDArray[np.int16], steps: int = 32) -> NDArray[np.float64]:
        """log p of the coordinates, (n,), by integrating the flow: what a score in one evaluation stands for.

        About 10 ms an event on one core; see `axo.models.flow.log_likelihood`.
        """
        found = log_likelihood(self.field, self.coordinates(words), steps)
        log_p: NDArray[np.float64] = found.numpy().astype(np.float64)
        return log_p

    def _loss(self, batch: Arrays, seed: Any, penalty: Penalty | None = None) -> Metrics:
        inputs, coordinates, weights = batch
        matching = tf.reduce_mean(weights * self.field.matching_errors(coordinates, seed))
        target = tf.stop_gradient(self.field(coordinates, self.config.time)) @ self.axes
        output = self.encoder(layers.as_tensor(inputs, self.scaling.input_type))
        found = output / self.config.component_scale
        errors = tf.reduce_sum((found - target) ** 2, axis=1)
        errors += self.config.radial * (_norm(found) - _norm(target)) ** 2
        regression = tf.reduce_mean(errors)
        metrics = {"loss": matching + regression, "matching": matching, "regression": regression}
        if penalty is not None:
            metrics["penalty"] = penalty(tf.reduce_sum(output**2, axis=1))
            metrics["loss"] += metrics["penalty"]
        return metrics


FAMILY = Fad


def _norm(x: Any) -> Any:
    return tf.sqrt(tf.reduce_sum(x**2, axis=1) + 1e-6)


def _principal_axes(
    x: NDArray[np.float64], frequency: NDArray[np.float64], count: int
) -> NDArray[np.float32]:
    """The `count` orthonormal directions, (d, count), in which the drawn `x` (n, d) are furthest from 0."""
    moment = np.einsum("n,ni,nj->ij", frequency / frequency.sum(), x, x, optimize=True)
    return np.linalg.eigh(moment)[1][:, ::-1][:, :count].astype(np.float32)


def _wired(dense: list[Any], objects: Objects) -> list[NDArray[np.float32]]:
    """1 for the weights in use: the field depends on no angle, so the first layer reads none."""
    wired = [np.ones(layer.kernel.shape, np.float32) for layer in dense]
    wired[0][:] = 0
    wired[0][objects.columns] = 1
    return wired
