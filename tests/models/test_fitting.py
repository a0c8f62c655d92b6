"""The steps of a pruned quantised network, and the means on held-out events."""

import numpy as np
import pytest

from axo.errors import UserError
from axo.models import layers
from axo.models.fitting import PrunedAdam, mean_metrics, quantised_dense, require_damping
from axo.models.pruning import Pruning

tf = layers.tf

STEP = 2.0**-3


def dense_layer():
    layer = layers.dense("dense", 5, (6, 3), (8, 5))
    layer.build((None, 4))
    values = np.random.default_rng(1)
    layer.kernel.assign(values.uniform(-2, 2, (4, 5)))
    layer.bias.assign(values.uniform(-2, 2, 5))
    return layer


def steps(layer, damping, progress, count=3):
    """`count` steps without a gradient: only the damping moves the weights."""
    adam = PrunedAdam(0.01, layer.trainable_variables, [layer], Pruning(), damping)
    for _ in range(count):
        adam.step([tf.zeros_like(v) for v in layer.trainable_variables], progress)
        adam.mask()


@pytest.mark.parametrize(("progress", "left"), [(0.0, 1.0), (0.5, 0.75**3), (1.0, 0.5**3)])
def test_damping_takes_weights_towards_their_rounded_values(progress, left):
    layer = dense_layer()
    before = [np.array(v) for v in (layer.kernel, layer.bias)]
    steps(layer, 0.5, progress)
    for old, new in zip(before, (layer.kernel, layer.bias), strict=True):
        rounded = np.rint(old / STEP) * STEP
        np.testing.assert_allclose(np.array(new) - rounded, left * (old - rounded), atol=1e-6)


def test_without_damping_nothing_moves_them():
    layer = dense_layer()
    before = np.array(layer.kernel)
    steps(layer, 0.0, 1.0)
    np.testing.assert_array_equal(layer.kernel, before)


@pytest.mark.parametrize("damping", [-0.1, 1.5, float("nan")])
def test_a_damping_that_would_overshoot_is_refused(damping):
    with pytest.raises(UserError, match="damping must be within 0"):
        require_damping(damping)


def test_unwired_and_pruned_weights_stay_zero():
    layer = dense_layer()
    wired = np.ones((4, 5), np.float32)
    wired[1] = 0
    adam = PrunedAdam(
        0.1, layer.trainable_variables, [layer], Pruning((0.5,), start=0.0, stop=0.5), wired=[wired]
    )
    assert not np.array(layer.kernel)[1].any()
    adam.prune(0.5)
    pruned = np.array(layer.kernel) == 0
    assert pruned.sum() == 10
    adam.step([tf.ones_like(v) for v in layer.trainable_variables], 0.5)
    assert np.array(layer.kernel).all(), "the step alone moves every weight"
    adam.mask()
    np.testing.assert_array_equal(np.array(layer.kernel) == 0, pruned)


def test_means_weigh_every_row_alike():
    rows = np.arange(10.0)
    order = np.array([3, 3, 9, 0, 7])

    def loss(batch, start):
        return {"value": tf.reduce_mean(batch[0]), "start": tf.constant(float(start))}

    means = mean_metrics(loss, (rows,), order, chunk=2)
    assert means == {"value": pytest.approx((3 + 3 + 9 + 0 + 7) / 5), "start": (2 * 0 + 2 * 2 + 4) / 5}


def test_only_quantised_dense_layers_are_pruned():
    layer = dense_layer()
    assert quantised_dense([layers.relu("relu", 8, 5), layer, layers.linear("last", 8, 6)]) == [layer]
