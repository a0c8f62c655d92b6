"""The normalised autoencoder of trigger words: its features, and that it is exported exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.interchange.keras import cost
from axo.models.families.nae import Features, _fit_hinges
from axo.models.family import find_family
from axo.models.objects import Objects
from axo.models.pruning import Pruning
from axo.models.scaling import ScalingConfig, learn_scaling
from axo.models.surprise import surprise, surprise_table
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
    target = surprise(model.surprise, words, model.objects) * model.config.features.scales(model.objects)
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


@pytest.fixture(scope="module")
def rare():
    """Zero bias of few muons: the second ones hard or soft, the third never above 4 GeV, no fourth."""
    rng = np.random.default_rng(3)
    words = np.zeros((60_000, 57), np.int16)
    words[:, ::3] = np.sort(rng.exponential(30, (len(words), 19)), axis=1)[:, ::-1].astype(np.int16)
    words[:, 15:27] = 0
    words[:6000, 15] = 6 + rng.exponential(20, 6000)
    words[:300, 18] = np.minimum(4 + rng.pareto(1.2, 300) * 4, 500)
    words[:3, 21] = (4, 6, 8)
    return words


def slopes_of(words):
    """Slope of every piece of the features (19, hinges), of a model made of these words."""
    scaling = learn_scaling(words, ScalingConfig(pt_low=0.02, pt_high=0.98, min_present=20_000))
    objects = Objects(scaling.layout)
    knots, slopes = _fit_hinges(Features(), scaling, objects, surprise_table(words, objects))
    assert (np.diff(knots, axis=1) >= 0).all()
    return scaling, slopes.cumsum(axis=1)


def test_harder_is_never_less_surprising_however_rare_the_object(rare):
    scaling, slopes = slopes_of(rare)
    assert (slopes >= 0).all()
    assert (slopes.max(axis=1) > 0).all()
    hardest = make(rare, scaling).prepare(np.full((1, 57), 511, np.int16))[0]
    assert (hardest > 3).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.floats(0.3, 3))
@settings(max_examples=5, deadline=None)
def test_slopes_of_any_rarity_and_tail(seed, present, power):
    rng = np.random.default_rng(seed)
    words = np.zeros((2000, 57), np.int16)
    words[:, ::3] = np.sort(rng.exponential(30, (len(words), 19)), axis=1)[:, ::-1].astype(np.int16)
    words[:, 15:27] = 0
    words[:present, 15] = np.minimum(2 + rng.pareto(power, present) * 6, 511)
    try:
        _, slopes = slopes_of(words)
    except UserError as error:
        # Muons so hard that the scaling saturates above the softest.
        assert str(error).startswith("MU")
        return
    assert (slopes >= 0).all() and (slopes.max(axis=1) > 0).all()


def test_an_object_that_cannot_be_told_is_one_line(rare):
    words = rare[:2000].copy()
    words[:, 15:27] = 0
    words[0, 15] = 500
    with pytest.raises(UserError, match="MU1: the scaling of pt does not tell"):
        slopes_of(words)


def test_a_model_of_rare_muons_trains(rare):
    """Its box has room in every variable, and two steps with chains are finite."""
    import tensorflow as tf

    scaling, _ = slopes_of(rare)
    model = make(rare, scaling)
    low, high = (bound.numpy() for bound in model.density.box)
    assert (high > low).all()
    batch = tuple(map(tf.constant, model.prepare(rare[:512])))
    metrics = [model.train_step(batch, tf.constant(i), tf.constant(0.9)) for i in range(2)]
    assert np.isfinite([float(value) for one in metrics for value in one.values()]).all()
    assert all(np.isfinite(model.density.log_partition(1 << 14)))


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


@pytest.mark.parametrize("options", [{"scale": {"MU": 0.0}}, {"unit": 0.0}, {"hinges": 1}])
def test_bad_features(options):
    with pytest.raises(UserError):
        Features(**options)
