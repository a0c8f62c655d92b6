"""The variational autoencoder (AXOL1TL v1-v4 style): only the mean runs in firmware, score = sum mu^2.

Loss: reconstruction of (pt, eta, phi) of present objects plus beta times the Kullback-Leibler
divergence from a unit Gaussian (Kingma & Welling 1312.6114, Higgins et al. 2017). Three choices
make sum mu^2 a measure of rarity:

- pt is reconstructed on the scale of its *surprise*, sqrt(-2 ln P(pt' >= pt)) in zero bias, less its
  mean over all events, so that a step counts for how rare it makes an object, whatever its kind;
- the decoder of pt is linear, without biases, with orthonormal rows: latent variables keep the unit
  of surprise, and mu^2 adds up to twice a negative log-probability (a free scale would divide a rare
  object by its own spread, and so forget how rare it is; copies of a variable would share its mu^2);
- events are drawn the more often the rarer their rarest object is (importance sampling): the
  encoder must be right where a trigger cuts, at one event in 3000 and beyond.
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
from axo.models.objects import Objects
from axo.models.pruning import Pruning
from axo.models.resources import Resources, ResourceTerm, bit_operations
from axo.models.scaling import Scaling
from axo.models.surprise import surprise, surprise_table, tail_frequency
from axo.network import FixedType, Network

tf, keras = import_tensorflow(), import_keras()


@dataclass(frozen=True)
class Loss:
    """Weights of the squared errors, by kind for pt; those of eta and phi serve all kinds.

    `beta` multiplies the divergence; it grows linearly over the first `beta_warmup` of training.
    """

    pt: dict[str, float] = field(default_factory=lambda: {"MET": 1.0, "EG": 1.0, "MU": 1.0, "JET": 0.1})
    eta: float = 0.01
    phi: float = 0.01
    beta: float = 0.2
    beta_warmup: float = 0.2

    def __post_init__(self) -> None:
        if min(*self.pt.values(), self.eta, self.phi, self.beta) < 0 or not 0 <= self.beta_warmup <= 1:
            raise UserError("weights must not be negative, and beta_warmup must be within 0 and 1")


@dataclass(frozen=True)
class VaeConfig:
    """Sizes and types. Bits and integer bits are those of ap_fixed (the sign included), per layer.

    `hidden` are the sizes of the two hidden layers, `decoder` those of the float decoder of
    eta and phi. The mean is in units of 1 / `latent_scale`, so that the embedding uses its bits.
    Events are drawn with a frequency of P**-tail, where P is the fraction of zero bias in which the
    event's rarest object is present and as hard. With `resources` the bits of weights and hidden
    activations are upper limits: each is trained. `damping`: see `PrunedAdam`.
    """

    hidden: tuple[int, int] = (32, 16)
    latent: int = 8
    decoder: tuple[int, ...] = (16,)
    weight_bits: tuple[int, int, int] = (6, 6, 6)
    weight_integer: tuple[int, int, int] = (3, 3, 3)
    bias_bits: tuple[int, int, int] = (8, 8, 8)
    bias_integer: tuple[int, int, int] = (5, 5, 5)
    activation_bits: tuple[int, int] = (8, 8)
    activation_integer: tuple[int, int] = (5, 5)
    embedding_bits: int = 8
    embedding_integer: int = 6
    latent_scale: float = 4.0
    tail: float = 0.4
    loss: Loss = field(default_factory=Loss)
    pruning: Pruning = field(default_factory=Pruning)
    resources: Resources | None = None
    learning_rate: float = 0.003
    damping: float = 0.0

    def __post_init__(self) -> None:
        if min(*self.hidden, self.latent, *self.decoder) < 1 or self.learning_rate <= 0:
            raise UserError("layer sizes and learning_rate must be positive")
        require_damping(self.damping)
        if self.latent_scale <= 0 or not 0 <= self.tail < 1:
            raise UserError("latent_scale must be positive, and tail at least 0 and below 1")


class Vae:
    """The family's model: see axo.models.family.Family."""

    Config = VaeConfig

    @staticmethod
    def check(config: VaeConfig, layout: Layout) -> None:
        objects = Objects(layout)
        objects.require_kinds(config.loss.pt, "loss: pt")
        if config.latent > objects.count:
            raise UserError(f"latent must be at most {objects.count}: one pt of each object is all there is")

    def __init__(self, config: VaeConfig, scaling: Scaling, seed: int, words: NDArray[np.int16]) -> None:
        keras.utils.set_random_seed(seed)
        self.config, self.scaling, self.seed = config, scaling, seed
        self.check(config, scaling.layout)
        self.objects = objects = Objects(scaling.layout)
        self.surprise = surprise_table(words, objects)
        self.centre = surprise(self.surprise, words, objects).mean(axis=0)
        self._with_eta, self._with_phi = (objects.with_role(role)[0] for role in ("eta", "phi"))
        mean = layers.linear("mu", config.embedding_bits, config.embedding_integer)
        self.encoder = layers.encoder(
            config, len(scaling.offset), config.latent, mean, trainable_bits=bool(config.resources)
        )
        trunk = self.encoder.layers[-3].output
        self._heads = keras.Model(
            self.encoder.inputs, [self.encoder.output, keras.layers.Dense(config.latent)(trunk)]
        )
        self._decode_pt = keras.layers.Dense(
            objects.count, use_bias=False, kernel_initializer="orthogonal", kernel_constraint=_Orthonormal()
        )
        angles = sum(self._sizes()[1:])
        self._decode_angles = keras.Sequential(
            [keras.layers.Dense(n, "relu") for n in (config.decoder if angles else ())]
            # Objects that point nowhere (an image) have nothing to decode.
            + [keras.layers.Dense(angles) if angles else keras.layers.Lambda(lambda latent: latent[:, :0])]
        )
        for decoder in (self._decode_pt, self._decode_angles):
            decoder.build((None, config.latent))
        trainable = [
            variable
            for part in (self._heads, self._decode_pt, self._decode_angles)
            for variable in part.trainable_variables
        ]
        dense = quantised_dense(self.encoder.layers)
        self._adam = PrunedAdam(config.learning_rate, trainable, dense, config.pruning, config.damping)
        self._resources = ResourceTerm(config.resources) if config.resources else None
        self._pt_scale = np.sqrt(objects.per_object(config.loss.pt, "loss: pt"))

    @property
    def variables(self) -> list[Any]:
        state = self._resources.variables if self._resources else []
        return [*self._adam.variables, *state]

    def prepare(self, words: NDArray[np.int16]) -> Arrays:
        """Inputs as integers (n, n_words) int16, and targets float16: pt, eta, cos, sin phi of the objects.

        The target of pt is the centred surprise times the root of its weight, and NaN for an absent
        object: that is what tells the loss to ignore it.
        """
        objects = self.objects
        targets = np.empty((len(words), sum(self._sizes())), np.float16)
        chunk = 100_000
        for start in range(0, len(words), chunk):
            part = words[start : start + chunk]
            eta, phi = objects.values(part, "eta"), objects.values(part, "phi")
            pt = (surprise(self.surprise, part, objects) - self.centre) * self._pt_scale
            pt[part[:, objects.columns] == 0] = np.nan
            targets[start : start + chunk] = np.hstack([pt, eta, np.cos(phi), np.sin(phi)])
        return self.scaling.inputs(words), targets

    def frequency(self, words: NDArray[np.int16]) -> NDArray[np.float64]:
        return tail_frequency(self.surprise, words, self.objects, self.config.tail)

    def train_step(self, batch: Arrays, step: Any, progress: Any, penalty: Penalty | None = None) -> Metrics:
        beta = self.config.loss.beta * self._ramp(progress)
        noise = tf.random.stateless_normal(
            (tf.shape(batch[0])[0], self.config.latent), seed=tf.stack([self.seed, tf.cast(step, tf.int32)])
        )
        with tf.GradientTape() as tape:
            metrics = self._loss(batch, noise, beta, penalty)
            if self._resources:
                metrics["bit_operations"] = bit_operations(self.encoder, self.scaling.input_type.width)
                metrics["loss"] += self._resources(metrics["bit_operations"], progress)
        if self._resources:
            final = metrics["reconstruction"] + self.config.loss.beta * metrics["divergence"]
            self._resources.follow(final, progress)
        self._adam.step(tape.gradient(metrics["loss"], self._adam.trainable), progress)
        self._adam.mask()
        return metrics

    def validate(self, arrays: Arrays, order: NDArray[np.int64]) -> Metrics:
        def loss(batch: Arrays, start: int) -> Metrics:
            noise = tf.random.stateless_normal((len(batch[0]), self.config.latent), seed=(0, start))
            return self._loss(batch, noise, self.config.loss.beta)

        return mean_metrics(loss, arrays, order)

    def end_epoch(self, progress: float) -> None:
        self._adam.prune(progress)

    def export(self, name: str) -> Network:
        return self.export_encoder(name, self.scaling, self.encoder)

    @staticmethod
    def export_encoder(name: str, scaling: Scaling, encoder: Any) -> Network:
        """The score is ap_ufixed<18,14,TRN,SAT>: saturating, an extreme event cannot wrap to a low score."""
        word = FixedType(18, 14, False, "TRN", "SAT")
        return squared_length_network(name, scaling.layout, scaling.operations(), encoder, word)

    def _ramp(self, progress: Any) -> Any:
        return tf.minimum(1.0, tf.cast(progress, tf.float32) / max(self.config.loss.beta_warmup, 1e-6))

    def _loss(self, batch: Arrays, noise: Any, beta: Any, penalty: Penalty | None = None) -> Metrics:
        inputs, targets = batch
        words, log_variance = self._heads(layers.as_tensor(inputs, self.scaling.input_type))
        mean = words / self.config.latent_scale
        log_variance = tf.clip_by_value(log_variance, -10.0, 10.0)
        latent = mean + tf.exp(0.5 * log_variance) * noise
        reconstruction = self._reconstruction(tf.cast(targets, tf.float32), latent)
        divergence = 0.5 * tf.reduce_sum(mean**2 + tf.exp(log_variance) - log_variance - 1, axis=1)
        reconstruction, divergence = tf.reduce_mean(reconstruction), tf.reduce_mean(divergence)
        metrics = {
            "loss": reconstruction + beta * divergence,
            "reconstruction": reconstruction,
            "divergence": divergence,
        }
        if penalty is not None:
            metrics["penalty"] = penalty(tf.reduce_sum(words**2, axis=1))
            metrics["loss"] += metrics["penalty"]
        return metrics

    def _reconstruction(self, targets: Any, latent: Any) -> Any:
        """Sum over present objects of the weighted errors; that of phi is 1 - cos of the difference."""
        sizes = self._sizes()
        pt, eta, along, across = tf.split(targets, sizes, axis=1)
        angles = tf.split(self._decode_angles(latent), sizes[1:], axis=1)
        decoded_eta, decoded_along, decoded_across = angles
        present = tf.math.is_finite(pt)
        pt = tf.where(present, pt - self._decode_pt(latent), 0.0) ** 2
        eta = (eta - decoded_eta) ** 2
        length = tf.sqrt(decoded_along**2 + decoded_across**2 + 1e-6)
        phi = 1 - (along * decoded_along + across * decoded_across) / length
        loss = self.config.loss
        total = tf.reduce_sum(pt, axis=1)
        for weight, errors, places in ((loss.eta, eta, self._with_eta), (loss.phi, phi, self._with_phi)):
            there = tf.gather(present, places, axis=1)
            total += weight * tf.reduce_sum(tf.where(there, errors, 0.0), axis=1)
        return total

    def _sizes(self) -> list[int]:
        """Columns of the targets: pt, eta, and cos and sin of phi."""
        return [self.objects.count, len(self._with_eta), len(self._with_phi), len(self._with_phi)]


class _Orthonormal(keras.constraints.Constraint):  # type: ignore[misc,name-defined]  # Keras has no types
    """Bring a nearly orthonormal matrix back to orthonormal rows: two Newton-Schulz steps.

    Each step takes the singular values x to (3 x - x^3) / 2 (Bjorck & Bowie, SIAM J. Numer. Anal. 8
    (1971) 358); it starts orthonormal, and one optimiser step moves it little.
    """

    def __call__(self, w: Any) -> Any:
        for _ in range(2):
            w = 1.5 * w - 0.5 * w @ tf.transpose(w) @ w
        return w


FAMILY = Vae
