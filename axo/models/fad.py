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
from axo.models import layers
from axo.models.backend import import_keras, import_tensorflow
from axo.models.family import Arrays, Metrics, Penalty
from axo.models.flow import Path, VectorField, log_likelihood
from axo.models.pruning import Pruning
from axo.models.scaling import Scaling
from axo.models.surprise import surprise, surprise_table
from axo.network import CMS_WORDS, FixedType, Network, SumOfSquares
from axo.network.cms import OBJECTS, PT_COLUMNS
from axo.network.export import layer_operations
from axo.scales import KINDS

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
        if set(self.pt) != set(KINDS):
            raise UserError(f"pt must give one weight for each of {', '.join(KINDS)}")
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
    bias in which the event's rarest object is present and as hard.
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

    def __post_init__(self) -> None:
        if min(*self.hidden, self.components) < 1 or self.learning_rate <= 0:
            raise UserError("layer sizes and learning_rate must be positive")
        if self.components > len(OBJECTS):
            raise UserError(
                f"components must be at most {len(OBJECTS)}: one pt of each object is all there is"
            )
        if self.component_scale <= 0 or self.radial < 0:
            raise UserError("component_scale must be positive, and radial not negative")
        if not 0 <= self.tail < 1 or not 0 <= self.time <= 1:
            raise UserError("tail must be at least 0 and below 1, and time within 0 and 1")


class Fad:
    """The family's model: see axo.models.family.Family."""

    Config = FadConfig

    def __init__(self, config: FadConfig, scaling: Scaling, seed: int, words: NDArray[np.int16]) -> None:
        keras.utils.set_random_seed(seed)
        self.config, self.scaling, self.seed = config, scaling, seed
        self.surprise = surprise_table(words)
        found = surprise(self.surprise, words)
        weights = np.concatenate([np.full(kind.count, config.flow.pt[name]) for name, kind in KINDS.items()])
        self._scale, self.centre = np.sqrt(weights), found.mean(axis=0)
        frequency = self.frequency(words)
        self._mean_frequency = frequency.mean()
        self.axes = _principal_axes((found - self.centre) * self._scale, frequency, config.components)
        self.field = VectorField(len(OBJECTS), config.flow.hidden, Path(config.flow.sigma))
        self.encoder = _encoder(config)
        self._trainable = [*self.field.trainable_variables, *self.encoder.trainable_variables]
        self._optimizer = keras.optimizers.Adam(config.learning_rate)
        self._optimizer.build(self._trainable)
        self._kernels = [layer.kernel for layer in self.encoder.layers if type(layer).__name__ == "QDense"]
        self._masks = [tf.Variable(fixed, trainable=False) for fixed in self._wired()]
        self._apply_masks()

    @property
    def variables(self) -> list[Any]:
        return [*self._trainable, *self._optimizer.variables, *self._masks]

    def coordinates(self, words: NDArray[np.int16]) -> NDArray[np.float32]:
        """The flow's coordinates (n, 19) of raw `words` (n, 57)."""
        return ((surprise(self.surprise, words) - self.centre) * self._scale).astype(np.float32)

    def prepare(self, words: NDArray[np.int16]) -> Arrays:
        """Inputs as integers (n, 57) int16; coordinates (n, 19), weights in the flow's loss (n,), float32."""
        weights = self._mean_frequency / self.frequency(words)
        return self.scaling.inputs(words), self.coordinates(words), weights.astype(np.float32)

    def frequency(self, words: NDArray[np.int16]) -> NDArray[np.float64]:
        return np.exp(self.config.tail * surprise(self.surprise, words).max(axis=1) ** 2 / 2)

    def train_step(self, batch: Arrays, step: Any, progress: Any, penalty: Penalty | None = None) -> Metrics:
        with tf.GradientTape() as tape:
            metrics = self._loss(batch, tf.stack([self.seed, tf.cast(step, tf.int32)]), penalty)
        # Half a cosine from the full rate to a hundredth of it: the quantised weights settle.
        rate = 0.01 + 0.99 * 0.5 * (1 + tf.cos(np.pi * tf.cast(progress, tf.float32)))
        self._optimizer.learning_rate.assign(self.config.learning_rate * rate)
        self._optimizer.apply(tape.gradient(metrics["loss"], self._trainable), self._trainable)
        self._apply_masks()
        return metrics

    def validate(self, arrays: Arrays, order: NDArray[np.int64]) -> Metrics:
        total: dict[str, float] = {}
        chunk = 16384
        for start in range(0, len(order), chunk):
            batch = tuple(array[order[start : start + chunk]] for array in arrays)
            metrics = self._loss(tuple(map(tf.constant, batch)), (0, start))
            for name, value in metrics.items():
                total[name] = total.get(name, 0.0) + float(value) * len(batch[0])
        return {name: value / len(order) for name, value in total.items()}

    def end_epoch(self, progress: float) -> None:
        for i, (kernel, mask, wired) in enumerate(
            zip(self._kernels, self._masks, self._wired(), strict=True)
        ):
            mask.assign(self.config.pruning.mask(kernel.numpy(), i, progress) * wired)
        self._apply_masks()

    def export(self, name: str) -> Network:
        return self.export_encoder(name, self.scaling, self.encoder)

    @staticmethod
    def export_encoder(name: str, scaling: Scaling, encoder: Any) -> Network:
        """The score is ap_ufixed<18,14,TRN,SAT>: saturating, an extreme event cannot wrap to a low score."""
        word = FixedType(18, 14, False, "TRN", "SAT")
        head = scaling.operations()
        operations = layer_operations(encoder, head[-1].name, tuple(head))
        embedding = operations[-1].name
        score = SumOfSquares("score", embedding, word, word)
        return Network(name, CMS_WORDS, (*head, *operations, score), score.name, embedding)

    def field_score(self, words: NDArray[np.int16], chunk: int = 100_000) -> NDArray[np.float64]:
        """|v(x, time)|^2 of the float field, all components, (n,) for raw `words` (n, 57)."""
        x = self.coordinates(words)
        parts = [self.field(x[i : i + chunk], self.config.time).numpy() for i in range(0, len(x), chunk)]
        return (np.concatenate(parts).astype(np.float64) ** 2).sum(axis=1)

    def log_likelihood(self, words: NDArray[np.int16], steps: int = 32) -> NDArray[np.float64]:
        """log p of the coordinates, (n,), by integrating the flow: what a score in one evaluation stands for.

        About 10 ms an event on one core; see `axo.models.flow.log_likelihood`.
        """
        return log_likelihood(self.field, self.coordinates(words), steps).numpy().astype(np.float64)

    def _wired(self) -> list[NDArray[np.float32]]:
        """1 for the weights in use: the field depends on no angle, so the first layer reads none."""
        wired = [np.ones(kernel.shape, np.float32) for kernel in self._kernels]
        wired[0][:] = 0
        wired[0][PT_COLUMNS] = 1
        return wired

    def _apply_masks(self) -> None:
        for kernel, mask in zip(self._kernels, self._masks, strict=True):
            kernel.assign(kernel * mask)

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


def _encoder(config: FadConfig) -> Any:
    """57 -> hidden -> components, every tensor quantised; names are those of the network's operations."""
    inputs = x = keras.Input((len(CMS_WORDS),), name="network_input")
    for index, size in enumerate(config.hidden):
        x = _dense(config, index, size)(x)
        x = layers.relu(f"relu{index}", config.activation_bits[index], config.activation_integer[index])(x)
    x = _dense(config, len(config.hidden), config.components)(x)
    return keras.Model(
        inputs, layers.linear("field", config.component_bits, config.component_integer)(x), name="encoder"
    )


def _dense(config: FadConfig, index: int, size: int) -> Any:
    weight = config.weight_bits[index], config.weight_integer[index]
    bias = config.bias_bits[index], config.bias_integer[index]
    return layers.dense(f"dense{index}", size, weight, bias)
