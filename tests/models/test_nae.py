"""The normalised autoencoder of trigger words: its features, and that it is exported exactly."""

from __future__ import annotations

import numpy as np
import pytest

from axo.errors import UserError
from axo.interchange.keras import cost
from axo.models.family import find_family
from axo.models.pruning import Pruning
from axo.models.surprise import surprise
from axo.network import evaluate


def make(words, scaling, seed=1, **options):
    family = find_family("nae")
    return family(family.Config(**options), scaling, seed, words)


@pytest.fixture(scope="module")
def model(words, scaling):
    """Trained for a few steps, before and after the pre-training."""
    import tensorflow as tf

    model = make(words, scaling)
    batch = tuple(map(tf.constant, model.prepare(words[:512])))
    step = tf.function(model.train_step)
    for i in range(20):
        metrics = step(batch, tf.constant(i), tf.constant(i / 20))
    assert np.isfinite([float(value) for value in metrics.values()]).all()
    return model


def test_the_score_is_the_squared_error(model, words):
    """Quarters of a squared unit, exactly: nothing is truncated, an extreme event saturates."""
    network = model.export("n")
    result = evaluate(network, words)
    error = result.tensors["decoded"] - result.tensors["features"]
    np.testing.assert_array_equal(result.embedding_word, error)
    np.testing.assert_array_equal(result.score_word, (error**2).sum(axis=1))
    hardest = np.tile([word.max_int for word in network.words], (1, 1)).astype(np.int16)
    assert evaluate(network, hardest).score_word[0] > result.score_word.max()


def test_score_and_energy_are_one(model, words):
    """What is trained is what runs in firmware: energy * T * unit^2 is the value of the score."""
    score = evaluate(model.export("n"), words[:500]).score_word / 4
    (features,) = model.prepare(words[:500])
    energy = model.density.energy(features.astype(np.float32) / model.config.features.unit).numpy()
    options = model.config
    np.testing.assert_allclose(
        energy * options.normalisation.temperature * options.features.unit**2, score, rtol=1e-5, atol=1e-3
    )


def test_what_goes_beyond_the_bound_costs_its_square(model):
    """A muon of any pt: the error of its object is at least its feature less the decoder's bound."""
    words = np.zeros((200, 57), np.int16)
    words[:, 15] = np.arange(200)
    tensors = evaluate(model.export("n"), words).tensors
    bound = 2 ** (model.config.decoded_integer + 1) - 1  # in halves
    assert tensors["decoded"].max() <= bound
    beyond = np.maximum(tensors["features"][:, 5] - bound, 0)
    assert beyond.max() > 50
    assert (tensors["score"][:, 0] >= beyond**2).all()


def test_features_follow_the_surprise(model, words):
    """Sums of three hinges: the root mean square distance from the surprise, per object, in its units."""
    (features,) = model.prepare(words)
    target = surprise(model.surprise, words) * model.config.features.scales()
    distance = np.sqrt(((features - target) ** 2).mean(axis=0))
    assert (distance < 3).all()
    assert distance.mean() < 1.5
    assert features.dtype == np.float16
    absent = np.zeros((1, 57), np.int16)
    assert not model.prepare(absent)[0].any()


def test_features_rise_with_pt(model):
    """Over every pt word there is: harder is never less surprising by more than a unit (a rounded slope)."""
    pt = np.arange(0, 512, 2)
    for item in range(19):
        words = np.zeros((len(pt), 57), np.int16)
        words[:, 3 * item] = pt
        feature = model.prepare(words)[0][:, item].astype(float)
        assert (np.maximum.accumulate(feature) - feature).max() <= 1
        assert feature[-1] > 3


def test_pruned_weights_stay_zero_and_features_stay(words, scaling):
    import tensorflow as tf

    sparsity = (0.8, 0.5, 0.25, 0.6)
    model = make(words, scaling, pruning=Pruning(sparsity, start=0.0, stop=0.5), spectral_norm=1.0)
    before = model.prepare(words[:256])[0]
    model.end_epoch(1.0)
    model.train_step((tf.constant(before),), tf.constant(0), tf.constant(0.9))
    parts = [part for part in cost(model.export("n")) if part.operation.startswith("dense")]
    for part, fraction in zip(parts, sparsity, strict=True):
        assert part.nonzero_weights <= (1 - fraction) * part.weights + 1
    np.testing.assert_array_equal(model.prepare(words[:256])[0], before)


def test_spectral_norm_is_bounded(words, scaling):
    import tensorflow as tf

    model = make(words, scaling, spectral_norm=0.5, learning_rate=1e-6)
    batch = tuple(map(tf.constant, model.prepare(words[:256])))
    step = tf.function(model.train_step)
    for i in range(60):
        step(batch, tf.constant(i), tf.constant(0.1))
    norms = [np.linalg.norm(kernel.numpy(), 2) for kernel in model._kernels]
    assert max(norms) < 0.51


def test_a_penalty_is_added(words, scaling):
    import tensorflow as tf

    model = make(words, scaling)
    batch = tuple(map(tf.constant, model.prepare(words[:256])))
    plain = model.density.loss(model._in_surprise(batch[0]), tf.constant(0), tf.constant(0.0))[0]
    metrics = model.train_step(batch, tf.constant(0), tf.constant(0.0), lambda scores: 3 + 0 * scores[0])
    assert float(metrics["penalty"]) == 3
    assert float(metrics["loss"]) == pytest.approx(float(plain["loss"]) + 3, rel=1e-5)


def test_rare_events_are_drawn_more_often(words, scaling):
    assert make(words, scaling).frequency(words) is None or make(words, scaling).config.tail > 0
    model = make(words, scaling, tail=0.4)
    rare = np.zeros((2, 57), np.int16)
    rare[1, 15] = 300  # a muon of 150 GeV
    low, high = model.frequency(rare)
    # P = 1 / 4001 in 4000 events, at the most.
    assert high / low == pytest.approx(4001**0.4, rel=0.01)


@pytest.mark.parametrize(
    "options",
    [
        {"latent": 0},
        {"hidden": (0,)},
        {"spectral_norm": 0.0},
        {"tail": 1.0},
        {"gradient_norm": 0.0},
        {"pruning": Pruning((0.5,))},
    ],
)
def test_bad_configuration(options):
    with pytest.raises(UserError):
        find_family("nae").Config(**options)


@pytest.mark.parametrize("options", [{"scale": {"MU": 1.0}}, {"unit": 0.0}, {"hinges": 1}])
def test_bad_features(options):
    from axo.models.nae import Features

    with pytest.raises(UserError):
        Features(**options)
