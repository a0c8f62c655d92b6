"""The flow-based anomaly detector: what the flow sees, what the network learns of it, exact export."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import spearmanr

from axo.errors import UserError
from axo.events.sources import read_events
from axo.interchange.keras import cost
from axo.models.family import find_family
from axo.network import Dense, evaluate

STEPS = 400


def make(words, scaling, seed=1, **options):
    family = find_family("fad")
    return family(family.Config(**options), scaling, seed, words)


def train(model, words, steps, penalty=None):
    """`steps` steps of 512 events, drawn as the training program draws them; the last step's metrics."""
    import tensorflow as tf

    arrays = tuple(map(tf.constant, model.prepare(words)))
    frequency = model.frequency(words)
    generator = np.random.default_rng(0)

    @tf.function
    def step(rows, i):
        progress = tf.cast(i, tf.float32) / steps
        return model.train_step(tuple(tf.gather(a, rows) for a in arrays), i, progress, penalty)

    for i in range(steps):
        rows = generator.choice(len(words), 512, p=frequency / frequency.sum())
        metrics = step(tf.constant(rows), tf.constant(i))
    return {name: float(value) for name, value in metrics.items()}


@pytest.fixture(scope="module")
def model(words, scaling):
    model = make(words, scaling)
    train(model, words, STEPS)
    return model


def test_the_network_learns_the_field(model, words):
    """On events it was not trained on, most of the float field's highest 2 % are the network's."""
    test = read_events("sample:zerobias_test", limit=4000).words
    rarest = set(np.argsort(model.field_score(test))[-80:])

    def shared_with(network):
        return len(rarest & set(np.argsort(evaluate(network, test).score_word, kind="stable")[-80:])) / 80

    assert shared_with(model.export("f")) > 0.7
    assert shared_with(make(words, model.scaling).export("f")) < 0.5


def test_the_field_orders_like_the_likelihood(model):
    """One evaluation at t = 1 stands for -log p by integration: a correlation, no more is claimed."""
    test = read_events("sample:zerobias_test", limit=300).words
    log_p = model.log_likelihood(test, steps=12)
    assert np.isfinite(log_p).all()
    assert spearmanr(-log_p, model.field_score(test)).statistic > 0.3


def test_coordinates(words, scaling):
    """Weighted and centred surprise, by hand for the leading jet; an absent object surprises least."""
    model = make(words, scaling)
    at = np.zeros((2, 57), np.int16)
    at[1, 27:30] = 120, 10, 5
    absent, present = model.coordinates(at)
    pt = words[:, 27] // 2
    above = (np.count_nonzero(pt >= 60) + 1) / (len(words) + 1)
    assert present[9] - absent[9] == pytest.approx(np.sqrt(0.06) * np.sqrt(-2 * np.log(above)), rel=1e-5)
    np.testing.assert_array_equal(np.delete(present, 9), np.delete(absent, 9))
    assert (absent <= model.coordinates(words).min(axis=0)).all()
    np.testing.assert_allclose(model.coordinates(words).mean(axis=0), 0, atol=1e-5)


def test_the_flow_is_that_of_zero_bias(words, scaling):
    """A mean over drawn events, each with its weight in the loss, is the mean over all events."""
    model = make(words, scaling)
    weights = model.prepare(words)[2].astype(float)
    drawn = model.frequency(words) / model.frequency(words).sum()
    np.testing.assert_allclose(drawn * weights, 1 / len(words), rtol=1e-5)
    assert weights.max() / weights.min() > 3


def test_components_hold_nearly_all_of_the_field(model, words):
    field = model.field(model.coordinates(words), 1.0).numpy()
    kept = ((field @ model.axes) ** 2).sum() / (field**2).sum()
    assert 0.9 < kept < 1
    np.testing.assert_allclose(model.axes.T @ model.axes, np.eye(model.config.components), atol=1e-5)


def test_angles_are_not_read(model, words):
    """The field depends on pt alone: so does the score, exactly."""
    turned = words.copy()
    turned[:, 1::3] = 0
    turned[:, 2::3] = (words[:, 2::3] + 7) % 144
    network = model.export("f")
    assert (evaluate(network, turned).score_word == evaluate(network, words).score_word).all()


def test_penalty_sees_the_network_s_score(words, scaling):
    """It gets the scores of the batch in units of the score, and its gradient moves the network."""
    import tensorflow as tf

    first, second = make(words, scaling), make(words, scaling)
    metrics = train(first, words, 30, lambda score: 10 * tf.reduce_mean(score))
    assert metrics["loss"] == pytest.approx(
        metrics["matching"] + metrics["regression"] + metrics["penalty"], rel=1e-5
    )
    assert "penalty" not in train(second, words, 30)
    scores = [evaluate(model.export("f"), words).score_word.mean() for model in (first, second)]
    assert scores[0] < 0.5 * scores[1]
    one = tuple(map(tf.constant, first.prepare(words[:64])))
    seen = []
    first._loss(one, (0, 0), lambda score: seen.append(score) or tf.constant(0.0))
    expected = evaluate(first.export("f"), words[:64]).score_word / 16
    np.testing.assert_allclose(seen[0], expected, atol=0.5)


def test_pruned_weights_stay_zero(words, scaling):
    from axo.models.pruning import Pruning

    model = make(words, scaling, pruning=Pruning((0.8, 0.5, 0.25), start=0.0, stop=0.5))
    model.end_epoch(1.0)
    train(model, words, 2)
    network = model.export("f")
    for part, sparsity in zip(cost(network), (0.8, 0.5, 0.25), strict=True):
        assert part.csd_digits >= part.nonzero_weights > 0
        assert part.nonzero_weights <= (1 - sparsity) * part.weights + 1
    first = next(o for o in network.operations if isinstance(o, Dense))
    assert not np.delete(first.weight, np.arange(0, 57, 3), axis=0).any()


@pytest.mark.parametrize(
    "options",
    [
        {"components": 0},
        {"component_scale": 0.0},
        {"radial": -1.0},
        {"learning_rate": 0.0},
        {"hidden": (0, 3)},
        {"time": 1.1},
        {"tail": 1.0},
    ],
)
def test_bad_configuration(options):
    with pytest.raises(UserError):
        find_family("fad").Config(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"pt": {"MET": 1.0, "EG": 0.0, "MU": 1.0, "JET": 1.0}},
        {"sigma": 0.0},
        {"hidden": ()},
    ],
)
def test_bad_flow(options):
    flow = type(find_family("fad").Config().flow)
    with pytest.raises(UserError):
        dataclasses.replace(flow(), **options)
