"""An autoencoder as a normalised density: p(x) = exp(-E(x)) / Z, E the reconstruction error over T.

A plain autoencoder is taught what to reconstruct, and nothing about what not to: whatever its
latent variables can express gets a low error, in the data or not. Maximum likelihood raises the
energy of what the model itself holds likely (Yoon, Noh & Park 2105.05735; Dillon et al. 2206.14225):
the gradient of -log p is that of E(data) - E(samples of the model), drawn by Langevin chains
(axo.models.langevin) that start

- ``cd``   from the batch itself (contrastive divergence);
- ``pcd``  where they ended before, in a replay buffer (persistent contrastive divergence);
- ``omi``  on the manifold: a chain in latent space, of energy E(decode(z)), from a replay buffer of
  its own, is decoded, and starts the chain in x.

The Wasserstein variant takes instead the distance of samples and data as the loss: the sliced
2-Wasserstein distance (Bonneel et al., J. Math. Imaging Vis. 51 (2015) 22) of as many of both, its
gradient through the last Langevin step, and the energy of the data, without which E is free up to
a constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.models.backend import import_tensorflow
from axo.models.family import Metrics
from axo.models.langevin import Chain, langevin_step, sample

tf = import_tensorflow()

SAMPLERS = ("cd", "pcd", "omi")
Map = Callable[[Any], Any]


@dataclass(frozen=True)
class Normalisation:
    """How the autoencoder becomes a density.

    For the first `pretrain` of the training it is a plain autoencoder. `negatives` chains run per
    step; a chain from the buffer of `buffer` ends starts anew, uniformly in the box, with
    probability `restart`. `regularisation` weighs the mean squared energies of data and samples: it
    keeps both from growing together. `projections` are the directions of the sliced distance.
    """

    sampler: str = "pcd"
    temperature: float = 2.0
    pretrain: float = 0.3
    chain: Chain = field(default_factory=Chain)
    latent_chain: Chain = field(default_factory=Chain)
    negatives: int = 256
    buffer: int = 8192
    restart: float = 0.05
    regularisation: float = 0.0
    wasserstein: bool = False
    projections: int = 32

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise UserError(f"sampler {self.sampler!r} is none of {', '.join(SAMPLERS)}")
        if self.temperature <= 0 or self.regularisation < 0:
            raise UserError("temperature must be positive, and regularisation not negative")
        if not (0 <= self.pretrain <= 1 and 0 <= self.restart <= 1):
            raise UserError("pretrain and restart must be within 0 and 1")
        if min(self.negatives, self.projections) < 1 or self.buffer < self.negatives:
            raise UserError("negatives and projections must be positive, and buffer not below negatives")


class EnergyModel:
    """The energy of an autoencoder and its loss. `encode` and `decode` map tensors (n, d), (n, k).

    The density lives in the box `low` to `high`, (d,); latent chains in `latent_low` to
    `latent_high`, (k,). `variables` are to be kept with the weights: the replay buffer.
    """

    def __init__(
        self,
        encode: Map,
        decode: Map,
        options: Normalisation,
        box: tuple[NDArray[Any], NDArray[Any]],
        latent_box: tuple[NDArray[Any], NDArray[Any]],
        seed: int,
    ) -> None:
        self.encode, self.decode, self.options, self.seed = encode, decode, options, seed
        self.box = tuple(tf.constant(bound, tf.float32) for bound in box)
        self.latent_box = tuple(tf.constant(bound, tf.float32) for bound in latent_box)
        low, high = (bound.numpy() for bound in self._chain_box)
        fresh = np.random.default_rng([seed, 1]).uniform(low, high, (options.buffer, len(low)))
        self.variables = [tf.Variable(fresh.astype(np.float32), trainable=False)]

    @property
    def _chain_box(self) -> tuple[Any, ...]:
        return self.latent_box if self.options.sampler == "omi" else self.box

    def squared_error(self, x: Any) -> Any:
        """Sum of squared differences of `x` (n, d) and its reconstruction, (n,)."""
        return tf.reduce_sum((x - self.decode(self.encode(x))) ** 2, axis=1)

    def energy(self, x: Any) -> Any:
        """-log p(x), up to the constant log Z, of `x` (n, d): (n,)."""
        return self.squared_error(x) / self.options.temperature

    def log_partition(self, samples: int = 1 << 18) -> tuple[float, float]:
        """log Z in the box, by importance sampling, and the effective number of the `samples`.

        Drawn are half-normal deviations from `low`, of the spread that the temperature gives a variable
        that is not reconstructed; always the same ones. The effective number is (sum w)^2 / sum w^2.
        """
        low, high = (bound.numpy() for bound in self.box)
        spread = np.sqrt(self.options.temperature / 2)
        generator = np.random.default_rng(0)
        energies, norms = [], []
        for _ in range(0, samples, 1 << 14):
            y = spread * np.abs(generator.standard_normal((1 << 14, len(low))))
            inside = (y <= high - low).all(axis=1)
            energies.append(self.energy(tf.constant(low + y, tf.float32)).numpy()[inside])
            norms.append((y**2).sum(axis=1)[inside] / self.options.temperature)
        drawn = len(low) * np.log(spread * np.sqrt(np.pi / 2))
        exponent = np.concatenate(norms) - np.concatenate(energies)
        weights = np.exp(exponent - exponent.max())
        log_z = np.log(weights.sum() / (len(energies) << 14)) + exponent.max() + drawn
        return float(log_z), float(weights.sum() ** 2 / (weights**2).sum())

    def loss(self, data: Any, step: Any, progress: Any) -> tuple[Metrics, Any]:
        """Metrics, ``loss`` among them, of the batch `data` (n, d), and the data's energies (n,).

        `step` seeds the chains, `progress` (0 to 1) tells whether it is the pre-training still.
        """
        options = self.options
        on = tf.cast(tf.cast(progress, tf.float32) >= options.pretrain, tf.float32)
        positive = self.energy(data)
        samples = tf.stop_gradient(self._samples(data, step, tf.cast(on, tf.int32)))
        negative = self.energy(samples)
        metrics = {"positive": tf.reduce_mean(positive), "negative": tf.reduce_mean(negative)}
        if options.wasserstein:
            metrics["wasserstein"] = self._distance(data, samples, step)
            normalising = metrics["wasserstein"]
        else:
            squares = tf.reduce_mean(positive**2) + tf.reduce_mean(negative**2)
            normalising = options.regularisation * squares - metrics["negative"]
        return {"loss": metrics["positive"] + on * normalising, **metrics}, positive

    def _samples(self, data: Any, step: Any, on: Any) -> Any:
        """Negative samples (`negatives`, d); chains of no step unless `on` is 1."""
        options = self.options
        seeds = [self._seed(step, stream) for stream in range(3)]
        if options.sampler == "cd":
            x = tf.gather(data, tf.range(options.negatives) % tf.shape(data)[0])
        else:
            start, rows = self._restarted(step, seeds[0])
            x = start
        if options.sampler == "omi":
            z = self._run(lambda z: self.energy(self.decode(z)), start, options.latent_chain, seeds[1], on)
            self._keep(rows, z)
            x = tf.clip_by_value(self.decode(z), *self.box)
        x = self._run(self.energy, x, options.chain, seeds[2], on)
        if options.sampler == "pcd":
            self._keep(rows, x)
        return x

    def _run(self, energy: Map, start: Any, chain: Chain, seed: Any, on: Any) -> Any:
        box = self.latent_box if chain is self.options.latent_chain else self.box
        return sample(energy, tf.stop_gradient(start), chain, seed, box, on * chain.steps)

    def _restarted(self, step: Any, seed: Any) -> tuple[Any, Any]:
        """The next chain ends of the buffer, in turn, some of them anew; and their rows."""
        count, (low, high) = self.options.negatives, self._chain_box
        rows = (tf.cast(step, tf.int32) * count + tf.range(count)) % self.options.buffer
        kept = tf.gather(self.variables[0], rows)
        draws = tf.random.stateless_uniform((count, kept.shape[1] + 1), seed)
        fresh = low + (high - low) * draws[:, 1:]
        return tf.where(draws[:, :1] < self.options.restart, fresh, kept), rows

    def _keep(self, rows: Any, ends: Any) -> None:
        self.variables[0].assign(tf.tensor_scatter_nd_update(self.variables[0], rows[:, None], ends))

    def _distance(self, data: Any, samples: Any, step: Any) -> Any:
        """Sliced 2-Wasserstein distance, squared, of the samples after one more step and the data.

        Each of the random directions compares the sorted projections of equally many of both; times
        the dimension, it is the squared distance itself for two points.
        """
        chain = self.options.chain
        moved = langevin_step(
            self.energy, samples, chain, tf.constant(chain.steps - 1), self._seed(step, 3), self.box
        )
        count, size = tf.shape(moved)[0], moved.shape[1]
        other = tf.gather(data, tf.range(count) % tf.shape(data)[0])
        directions = tf.random.stateless_normal((size, self.options.projections), self._seed(step, 4))
        directions /= tf.norm(directions, axis=0)
        ours, theirs = (tf.sort(x @ directions, axis=0) for x in (moved, other))
        return size * tf.reduce_mean((ours - theirs) ** 2)

    def _seed(self, step: Any, stream: int) -> Any:
        return tf.stack([self.seed * 8 + stream, tf.cast(step, tf.int32)])
