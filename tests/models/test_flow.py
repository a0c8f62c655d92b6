"""The flow on Gaussians: there the optimal field and the likelihood are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from axo.models.backend import import_keras, import_tensorflow
from axo.models.flow import Path, VectorField, log_likelihood

tf, keras = import_tensorflow(), import_keras()

SIGMA = 0.1
WIDE = 0.4
"""Sigma of the trained flow; SIGMA is that of the closed forms."""
STEPS = 1500
MEAN = np.array([0.5, -1.0, 0.2])
COVARIANCE = np.array([[1.0, 0.6, 0.0], [0.6, 0.8, -0.2], [0.0, -0.2, 0.3]])
BLURRED = COVARIANCE + SIGMA**2 * np.eye(3)


def gaussian_field(x, t, mean=MEAN, covariance=COVARIANCE, sigma=SIGMA):
    """E[x1 - (1 - sigma) x0 | x_t = x] for x1 from a Gaussian: conditioning of jointly Gaussian vectors.

    x_t and the velocity u are jointly Gaussian, so E[u | x] = E[u] + cov(u, x_t) cov(x_t)^-1 (x - E[x_t]).
    """
    width = 1 - (1 - sigma) * t
    unit = np.eye(len(mean))
    both = t * covariance - (1 - sigma) * width * unit
    spread = t**2 * covariance + width**2 * unit
    slope = both @ np.linalg.inv(spread)
    return mean + (x - t * mean) @ slope.T


def analytic(x, t):
    """`gaussian_field` for TensorFlow."""
    mean, unit = tf.constant(MEAN), tf.eye(3, dtype=tf.float64)
    width = 1 - (1 - SIGMA) * t
    slope = (t * COVARIANCE - (1 - SIGMA) * width * unit) @ tf.linalg.inv(t**2 * COVARIANCE + width**2 * unit)
    return mean + tf.linalg.matvec(slope, x - t * mean)


@pytest.fixture(scope="module")
def points():
    """200 points, some far out."""
    return 1.5 * np.random.default_rng(1).multivariate_normal(MEAN, COVARIANCE, 200)


@pytest.fixture(scope="module")
def trained():
    """A field that has learned the Gaussian, blurred enough that the field at t = 1 is soon learned too."""
    keras.utils.set_random_seed(1)
    field = VectorField(3, (32, 32), Path(WIDE))
    data = tf.constant(np.random.default_rng(2).multivariate_normal(MEAN, COVARIANCE, 50_000), tf.float32)
    optimizer = keras.optimizers.Adam()
    optimizer.build(field.trainable_variables)

    @tf.function(jit_compile=True)
    def step(i, rate):
        rows = tf.random.stateless_uniform((1024,), (0, i), 0, len(data), tf.int32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(field.matching_errors(tf.gather(data, rows), tf.stack([1, i])))
        optimizer.learning_rate.assign(rate)
        optimizer.apply(tape.gradient(loss, field.trainable_variables), field.trainable_variables)

    for i in range(STEPS):
        step(
            tf.constant(i), tf.constant(0.01 * (0.01 + 0.99 * np.cos(np.pi / 2 * i / STEPS) ** 2), tf.float32)
        )
    return field


def test_path_ends():
    """Noise at t = 0; the data, blurred by sigma, at t = 1; the velocity leads from one to the other."""
    path = Path(SIGMA)
    noise, data = np.array([2.0, -1.0]), np.array([0.5, 3.0])
    np.testing.assert_allclose(path.position(noise, data, 0.0), noise)
    np.testing.assert_allclose(path.position(noise, data, 1.0), data + SIGMA * noise)
    np.testing.assert_allclose(noise + path.velocity(noise, data), data + SIGMA * noise)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.8, 1.0])
def test_field_of_unit_gaussian_data(t, points):
    """What an untrained field is: the optimal one of unit Gaussian data."""
    field = VectorField(3, (8,), Path(SIGMA))
    expected = gaussian_field(points, t, np.zeros(3), np.eye(3))
    np.testing.assert_allclose(field(tf.constant(points, tf.float32), t), expected, rtol=1e-4, atol=1e-5)


def test_field_at_the_data_is_position_plus_score(points):
    """v(x, 1) = x + sigma grad log p(x), with p the blurred Gaussian."""
    gradient = -(points - MEAN) @ np.linalg.inv(BLURRED)
    np.testing.assert_allclose(gaussian_field(points, 1.0), points + SIGMA * gradient, rtol=1e-12)


def test_likelihood_along_the_optimal_field(points):
    """Exactly that of the Gaussian, blurred by sigma."""
    expected = multivariate_normal(MEAN, BLURRED).logpdf(points)
    found = log_likelihood(analytic, tf.constant(points), steps=64).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_likelihood_converges_with_the_fourth_power(points):
    """Twice the steps, a sixteenth of the error."""
    expected = multivariate_normal(MEAN, BLURRED).logpdf(points)
    errors = [
        np.abs(log_likelihood(analytic, tf.constant(points), steps).numpy() - expected).max()
        for steps in (16, 32)
    ]
    assert 10 < errors[0] / errors[1] < 25


def test_hutchinson_is_unbiased(points):
    """Probes of +-1: the mean over all 8 sign patterns is exact; over a few, near."""
    exact = log_likelihood(analytic, tf.constant(points), steps=8).numpy()
    patterns = 1.0 - 2 * (np.arange(8)[:, None] >> np.arange(3) & 1)
    every = np.repeat(patterns[:, None], len(points), axis=1)
    np.testing.assert_allclose(log_likelihood(analytic, tf.constant(points), 8, every), exact, rtol=1e-10)
    one = np.random.default_rng(3).choice([-1.0, 1.0], (1, len(points), 3))
    difference = log_likelihood(analytic, tf.constant(points), 8, one).numpy() - exact
    assert np.abs(difference).max() > 0.1
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(points))


@pytest.mark.parametrize("t", [0.0, 0.5, 0.9, 1.0])
def test_trained_field_is_the_optimal_one(trained, t):
    """Root-mean-square difference, where the flow is at time t, relative to the field."""
    noise, data = np.random.default_rng(4).multivariate_normal(np.zeros(6), np.eye(6), 2000).reshape(2, -1, 3)
    x = Path(WIDE).position(noise, MEAN + data @ np.linalg.cholesky(COVARIANCE).T, t)
    expected = gaussian_field(x, t, sigma=WIDE)

    def error(field):
        difference = field(tf.constant(x, tf.float32), t).numpy() - expected
        return np.sqrt((difference**2).mean() / (expected**2).mean())

    assert error(trained) < 0.1
    assert error(VectorField(3, (8,), Path(WIDE))) > 0.2


def test_trained_likelihood(trained):
    density = multivariate_normal(MEAN, COVARIANCE + WIDE**2 * np.eye(3))
    x = density.rvs(1000, random_state=5)
    found = log_likelihood(trained, tf.constant(x, tf.float32)).numpy()
    assert np.abs(found - density.logpdf(x)).mean() < 0.05
    assert np.corrcoef(found, density.logpdf(x))[0, 1] > 0.995


def test_time_of_every_event(trained):
    """One time for all, or one each: the same field."""
    x = tf.constant(np.random.default_rng(6).normal(size=(5, 3)), tf.float32)
    np.testing.assert_allclose(trained(x, 0.7), trained(x, tf.fill((5, 1), 0.7)), rtol=1e-6)
