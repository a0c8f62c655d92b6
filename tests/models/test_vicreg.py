"""The autoencoder on a contrastive embedding: its loss by hand, what it learns, and its exact export."""

from __future__ import annotations

import numpy as np
import pytest

from axo.errors import UserError
from axo.models.augment import Augmentations
from axo.models.families.vicreg import vicreg_terms
from axo.models.family import find_family
from axo.network import evaluate


def make(words, scaling, seed=1, **options):
    family = find_family("vicreg")
    return family(family.Config(**options), scaling, seed, words)


def train(model, words, steps):
    import tensorflow as tf

    batch = tuple(map(tf.constant, model.prepare(words)))
    one = tf.function(model.train_step)
    return [
        {name: float(value) for name, value in one(batch, tf.constant(i), tf.constant(i / steps)).items()}
        for i in range(steps)
    ]


@pytest.fixture(scope="module")
def trained(words, scaling):
    model = make(words, scaling, learning_rate=0.01)
    return model, train(model, words, 120)


def test_terms_by_hand():
    """Two views of four events, two components: all numbers small enough to do on paper."""
    import tensorflow as tf

    first = tf.constant([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    second = tf.constant([[0.3, 0.3], [0.3, 0.3], [-0.3, -0.3], [-0.3, -0.3]])
    terms = {name: float(value) for name, value in vicreg_terms(first, second).items()}
    # Differences: 0.7 twice or 0.7 and 1.3; mean over events of the sum of squares, over 2 components.
    assert terms["invariance"] == pytest.approx((2 * 0.98 + 2 * (0.49 + 1.69)) / 4 / 2)
    # Variances 4/3 (above 1: nothing) and 4 * 0.09 / 3 = 0.12.
    assert terms["variance"] == pytest.approx(1 - np.sqrt(0.12 + 1e-4), rel=1e-6)
    # Off the diagonal: 0 in the first view, 0.12 twice in the second.
    assert terms["covariance"] == pytest.approx(2 * 0.12**2 / 2, rel=1e-5)


def test_training_lowers_every_term(trained):
    _, history = trained
    first, last = history[0], history[-1]
    assert last["loss"] < 0.8 * first["loss"]
    assert last["variance"] < first["variance"]


def test_the_error_is_that_of_zero_bias(words, scaling):
    """The mean over drawn events, each with its weight, is the mean over all events."""
    model = make(words, scaling)
    weights = model.prepare(words)[1].astype(float)
    drawn = model.frequency(words) / model.frequency(words).sum()
    np.testing.assert_allclose(drawn * weights, 1 / len(words), rtol=1e-5)
    assert weights.max() / weights.min() > 3
    score = evaluate(model.export("v5"), words).score_word / 4.0**3  # a component has 3 fraction bits
    error = model.validate(model.prepare(words), np.arange(len(words)))["error"]
    assert error == pytest.approx((weights * score).mean(), rel=1e-4)


def test_embedding_does_not_see_a_rotation(trained, words, scaling):
    """Nearer to itself turned than to another event, by far; an untrained one sees the turn."""
    import tensorflow as tf

    from axo.models.augment import Augmenter

    still = {"pt_resolution": 0.0, "angle_resolution": 0.0, "masked": 0.0}
    augment = Augmenter(Augmentations(**still), scaling)
    turned = augment.inputs(augment.words(tf.constant(words), tf.constant((1, 2))))
    straight = augment.inputs(tf.cast(words, tf.float32))

    def distance_ratio(model):
        a, b = (model._embed(x).numpy() for x in (straight, turned))
        return np.mean((a - b) ** 2) / np.mean((a - np.roll(a, 1, axis=0)) ** 2)

    assert distance_ratio(trained[0]) < 0.6 * distance_ratio(make(words, scaling))


def test_score_is_the_squared_distance_of_embedding_and_decoded(trained, words):
    network = trained[0].export("v5")
    result = evaluate(network, words)
    difference = result.tensors["decoded"] - result.tensors["embedding"]
    expected = (difference.astype(np.int64) ** 2).sum(axis=1)
    np.testing.assert_array_equal(result.score_word, np.minimum(expected, (1 << 18) - 1))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"embedding": 0}, "sizes must be positive"),
        ({"tail": 1.0}, "tail at least 0"),
        ({"hidden": (32, 16)}, "5 sparsities are needed"),
    ],
)
def test_refused(bad, says):
    with pytest.raises(UserError, match=says):
        find_family("vicreg").Config(**bad)
