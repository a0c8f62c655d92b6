"""The sampler, against densities whose moments are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from axo.errors import UserError
from axo.models.backend import import_tensorflow
from axo.models.langevin import Chain, reflect, sample

tf = import_tensorflow()

FAR = (-1e3, 1e3)
CHAINS = 20_000


def run(energy, chain, start, bounds=FAR, seed=(1, 2)):
    @tf.function
    def whole(x):
        return sample(energy, x, chain, tf.constant(seed), bounds)

    return whole(tf.constant(start, tf.float32)).numpy()


@pytest.mark.parametrize("step", [0.02, 0.4])
def test_gaussian_with_the_bias_of_the_step(step):
    """Variance v becomes v / (1 - step / (2 v)), exactly, once the start is forgotten.

    x' = (1 - step / v) x + sqrt(2 step) N: the chains are an autoregression, whose variance is
    2 step / (1 - (1 - step / v)^2). The tolerance is five standard deviations of mean and variance
    over independent chains.
    """
    variance = np.array([0.5, 2.0])
    wanted = variance / (1 - step / (2 * variance))
    x = run(
        lambda x: tf.reduce_sum(x**2 / (2 * variance.astype(np.float32)), axis=1),
        Chain(steps=int(12 * 2.0 / step), step=step),
        np.full((CHAINS, 2), 3.0),
    )
    assert (np.abs(x.mean(0)) < 5 * np.sqrt(wanted / CHAINS)).all()
    assert (np.abs(x.var(0) / wanted - 1) < 5 * np.sqrt(2 / CHAINS)).all()
    # The bias of the large step is seen: the test would fail against the density's own variance.
    assert (np.abs(x.var(0) / variance - 1) > 5 * np.sqrt(2 / CHAINS)).all() == (step == 0.4)


def test_correlated_gaussian():
    precision = np.linalg.inv([[1.0, 0.8], [0.8, 1.0]]).astype(np.float32)
    x = run(
        lambda x: 0.5 * tf.reduce_sum((x @ precision) * x, axis=1),
        Chain(steps=1500, step=0.005),
        np.zeros((CHAINS, 2)),
    )
    # (1 - rho^2) / sqrt(n) is the standard deviation of a correlation; the step's bias is below it.
    assert np.corrcoef(x.T)[0, 1] == pytest.approx(0.8, abs=5 * 0.36 / np.sqrt(CHAINS))


def test_double_well():
    """exp(-(x^2 - 1)^2 * 2): moments by numerical integration; a hundredth for the bias of the step."""
    grid = np.linspace(-4, 4, 20001)
    density = np.exp(-2 * (grid**2 - 1) ** 2)
    moments = [np.trapezoid(grid**k * density, grid) / np.trapezoid(density, grid) for k in (2, 4, 8)]
    start = np.random.default_rng(3).choice([-1.0, 1.0], (CHAINS, 1))
    x = run(lambda x: 2 * tf.reduce_sum((x**2 - 1) ** 2, axis=1), Chain(steps=800, step=0.005), start)
    spread = np.sqrt((moments[1] - moments[0] ** 2) / CHAINS)
    assert np.mean(x**2) == pytest.approx(moments[0], abs=5 * spread + 0.01 * moments[0])
    spread = np.sqrt((moments[2] - moments[1] ** 2) / CHAINS)
    assert np.mean(x**4) == pytest.approx(moments[1], abs=5 * spread + 0.01 * moments[1])
    assert np.abs(np.mean(x)) < 5 * np.sqrt(moments[0] / CHAINS)


def test_flat_energy_fills_the_box():
    """Mirrors keep a uniform density uniform (Kolmogorov-Smirnov, p above 1e-4 per side)."""
    x = run(
        lambda x: 0 * tf.reduce_sum(x, axis=1),
        Chain(steps=200, step=0.1),
        np.full((5000, 2), 0.1),
        (0.0, 3.0),
    )
    assert 0 <= x.min() <= x.max() <= 3
    assert min(stats.kstest(column / 3, "uniform").pvalue for column in x.T) > 1e-4


def test_exponential_at_a_wall():
    """exp(-x) above 0: mean 1, and no chain below the wall."""
    x = run(
        lambda x: tf.reduce_sum(x, axis=1), Chain(steps=1500, step=0.01), np.ones((CHAINS, 1)), (0.0, 50.0)
    )
    assert x.min() >= 0
    assert x.mean() == pytest.approx(1, abs=5 / np.sqrt(CHAINS) + 0.01)


def test_noise_sets_the_temperature():
    """noise^2 = 4 step samples exp(-E / 2): twice the variance."""
    x = run(
        lambda x: 0.5 * tf.reduce_sum(x**2, axis=1),
        Chain(steps=600, step=0.02, noise=np.sqrt(0.08)),
        np.zeros((CHAINS, 1)),
    )
    assert x.var() == pytest.approx(2 / (1 - 0.01), rel=5 * np.sqrt(2 / CHAINS))


def test_annealed_steps_shrink_but_keep_the_temperature():
    """The bias of a large first step is gone after a hundredth of it: variance 1, not 1 / (1 - 0.4)."""
    energy = lambda x: 0.5 * tf.reduce_sum(x**2, axis=1)  # noqa: E731
    start = np.zeros((CHAINS, 1))
    plain = run(energy, Chain(steps=400, step=0.8), start)
    annealed = run(energy, Chain(steps=400, step=0.8, anneal=0.01), start)
    assert plain.var() == pytest.approx(1 / 0.6, rel=5 * np.sqrt(2 / CHAINS))
    assert annealed.var() == pytest.approx(1, rel=5 * np.sqrt(2 / CHAINS) + 0.02)


def test_the_gradient_is_clipped():
    """A steep wall moves a chain by at most step * clip, if nothing else does."""
    chain = Chain(steps=1, step=0.1, noise=0.0, clip=2.0)
    x = run(lambda x: 1e6 * tf.reduce_sum(x**2, axis=1), chain, [[1.0], [-1.0], [1e-9]], (-10.0, 10.0))
    np.testing.assert_allclose(x[:, 0], [0.8, -0.8, 1e-9 - 0.1 * 2e-3], atol=2e-6)


def test_mirrors():
    x = tf.constant([-0.5, 0.25, 1.5, 2.25, -3.25])
    np.testing.assert_allclose(reflect(x, 0.0, 1.0), [0.5, 0.25, 0.5, 0.25, 0.75])


def test_the_same_seed_gives_the_same_chain():
    def energy(x):
        return tf.reduce_sum(x**2, axis=1)

    start = np.zeros((10, 2))
    first, again, other = (run(energy, Chain(), start, seed=(1, s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"step": 0.0}, {"anneal": 0.0}, {"noise": -1.0}, {"clip": 0.0}]
)
def test_bad_chain(options):
    with pytest.raises(UserError):
        Chain(**options)
