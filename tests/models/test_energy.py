"""What normalisation is for, on two dimensions: the autoencoder's blind spot gets a high energy."""

from __future__ import annotations

import numpy as np
import pytest

from axo.errors import UserError
from axo.models.backend import import_keras, import_tensorflow
from axo.models.energy import SAMPLERS, EnergyModel, Normalisation
from axo.models.langevin import Chain

tf, keras = import_tensorflow(), import_keras()

EVENTS, STEPS = 4096, 400
BOX = (np.zeros(2), np.full(2, 4.0))
LATENT_BOX = (np.full(1, -4.0), np.full(1, 4.0))
CHAIN = Chain(steps=15, step=0.02, clip=20.0)


def data(generator, low=1.0, high=1.5, count=EVENTS):
    """A short piece of the diagonal, with a spread of 0.15 to all sides."""
    along = generator.uniform(low, high, (count, 1))
    return (along + 0.15 * generator.standard_normal((count, 2))).astype(np.float32)


def make(**options):
    keras.utils.set_random_seed(1)
    encode = keras.Sequential([keras.Input((2,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(1)])
    decode = keras.Sequential([keras.Input((1,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(2)])
    normalisation = Normalisation(
        **{"temperature": 0.1, "chain": CHAIN, "latent_chain": CHAIN, "negatives": 128, "buffer": 2048}
        | options
    )
    density = EnergyModel(encode, decode, normalisation, BOX, LATENT_BOX, seed=1)
    return density, encode.trainable_variables + decode.trainable_variables


def train(events, steps=STEPS, **options):
    density, variables = make(**options)
    optimizer = keras.optimizers.Adam(0.001)
    optimizer.build(variables)
    batches = tf.constant(events)

    @tf.function
    def one(step):
        rows = (step * 256 + tf.range(256)) % len(events)
        with tf.GradientTape() as tape:
            metrics, _ = density.loss(tf.gather(batches, rows), step, tf.cast(step, tf.float32) / steps)
        gradients = tf.clip_by_global_norm(tape.gradient(metrics["loss"], variables), 10.0)[0]
        optimizer.apply(gradients, variables)
        return metrics

    for step in range(steps):
        metrics = one(tf.constant(step))
    return density, {name: float(value) for name, value in metrics.items()}


def separation(density, events, outliers):
    """Share of outliers whose energy is above that of 99 % of the data."""
    threshold = np.quantile(density.energy(tf.constant(events)).numpy(), 0.99)
    return float((density.energy(tf.constant(outliers)).numpy() > threshold).mean())


@pytest.fixture(scope="module")
def samples():
    generator = np.random.default_rng(7)
    return data(generator), data(generator, 2.2, 2.7, 1000)


@pytest.fixture(scope="module")
def plain(samples):
    return train(samples[0], steps=1000, pretrain=1.0)[0]


def test_a_plain_autoencoder_reconstructs_what_it_never_saw(plain, samples):
    """One latent variable holds any point of the diagonal: far along it, outliers look like data."""
    assert separation(plain, *samples) < 0.2


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_normalised_it_does_not(sampler, samples):
    density, metrics = train(samples[0], sampler=sampler, pretrain=0.2, regularisation=0.02)
    assert np.isfinite(list(metrics.values())).all()
    assert separation(density, *samples) > 0.9


def test_nor_in_the_wasserstein_variant(samples):
    density, metrics = train(samples[0], pretrain=0.2, wasserstein=True)
    assert np.isfinite(list(metrics.values())).all()
    assert separation(density, *samples) > 0.9


def test_log_partition_of_a_gaussian():
    """An autoencoder that answers 0 has the energy |x|^2 / T: half-Gaussians cut at the box's end."""
    from scipy.stats import norm

    def nothing(x):
        return 0 * x

    high = np.array([1.0, 6.0])
    density = EnergyModel(nothing, nothing, Normalisation(), (np.zeros(2), high), LATENT_BOX, 1)
    log_z, effective = density.log_partition(1 << 16)
    spread = np.sqrt(2.0 / 2)
    parts = spread * np.sqrt(2 * np.pi) * (norm.cdf(high / spread) - 0.5)
    # The weights are 1 in the box and 0 outside: a binomial.
    inside = 2 * (norm.cdf(high[0]) - 0.5)
    tolerance = 5 * np.sqrt((1 - inside) / inside / (1 << 16))
    assert log_z == pytest.approx(np.log(parts).sum(), abs=tolerance)
    assert effective == pytest.approx(inside * (1 << 16), rel=5 * tolerance)


def test_the_buffer_moves_and_the_pretraining_leaves_it(samples):
    density, _ = make(pretrain=0.5)
    before = density.variables[0].numpy()
    density.loss(tf.constant(samples[0]), tf.constant(0), tf.constant(0.4))
    restarted = (density.variables[0].numpy() != before).any(axis=1)
    assert 0 < restarted.sum() < 30  # one in twenty of 128 starts anew; the others stand still
    density.loss(tf.constant(samples[0]), tf.constant(1), tf.constant(0.6))
    assert (density.variables[0].numpy()[128:256] != before[128:256]).any(axis=1).all()


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": "mcmc"},
        {"temperature": 0.0},
        {"pretrain": 1.5},
        {"restart": -0.1},
        {"negatives": 0},
        {"buffer": 10},
        {"regularisation": -1.0},
    ],
)
def test_bad_options(options):
    with pytest.raises(UserError):
        Normalisation(**options)
