"""The differentiable mutual information: its value, its bias, its gradient, and its weights."""

from __future__ import annotations

import numpy as np
import pytest

from axo.decorrelators.information import mutual_information, rank_bins
from axo.decorrelators.methods.decade import Decade, DecadeConfig, plug_in, ranks, soft_bins, tf
from axo.errors import UserError
from axo.events.sources import read_events

BINS = 16
SHARP = 0.02
"""A softness at which bins are as good as hard."""


def gaussians(rho, n, seed=1):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n))
    return x, rho * x + np.sqrt(1 - rho**2) * y


def estimate(x, y, weights=None, softness=0.25):
    w = np.full(len(x), 1.0) if weights is None else weights
    w = tf.constant(w / w.sum(), tf.float32)
    member = soft_bins(tf.constant(x, tf.float32), w, BINS, softness)
    table = tf.one_hot(rank_bins(y, BINS), BINS)
    return float(plug_in(tf.einsum("bi,bj->ij", member * w[:, None], table)[None])[0])


@pytest.mark.parametrize(("rho", "lost"), [(0.3, 0.10), (0.6, 0.09), (0.9, 0.13)])
def test_correlated_gaussians(rho, lost):
    """From below, by at most the fraction that the module states; 100,000 events have no bias to speak of."""
    expected = -0.5 * np.log(1 - rho**2)
    assert (1 - lost) * expected < estimate(*gaussians(rho, 100_000)) < expected


@pytest.mark.parametrize("events", [1024, 4096])
def test_bias_of_a_batch_is_below_that_of_hard_bins(events):
    found = np.mean([estimate(*gaussians(0.0, events, seed)) for seed in range(8)])
    assert 0.3 < found / ((BINS - 1) ** 2 / (2 * events)) < 1


def test_monotone_transform_of_the_score_changes_little():
    x, y = gaussians(0.7, 20_000)
    assert estimate(np.exp(x), y) == pytest.approx(estimate(x, y), rel=0.02)


def test_memberships_are_probabilities_and_bins_are_equal():
    x = np.random.default_rng(2).exponential(size=5000).astype(np.float32)
    member = soft_bins(tf.constant(x), tf.constant(np.full(5000, 1 / 5000, np.float32)), BINS, 0.25).numpy()
    assert (member >= 0).all()
    np.testing.assert_allclose(member.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(member.mean(axis=0), 1 / BINS, rtol=0.15)


def test_weights_give_the_distribution_that_they_stand_for():
    """Drawn with a frequency and weighted by its inverse, the estimate is that of the plain sample."""
    x, y = gaussians(0.6, 200_000)
    frequency = np.exp(1.5 * x)
    rows = np.random.default_rng(5).choice(len(x), 50_000, p=frequency / frequency.sum())
    weighted = estimate(x[rows], y[rows], 1 / frequency[rows])
    assert weighted == pytest.approx(estimate(x, y), rel=0.1)
    assert abs(estimate(x[rows], y[rows]) - estimate(x, y)) < abs(weighted)  # finite, another distribution


def test_rank_is_the_weighted_one():
    values = tf.constant([3.0, 1.0, 2.0, 4.0])
    weights = tf.constant([0.25, 0.25, 0.25, 0.25])
    found = ranks(values, weights, 4).numpy()[:, 0]
    assert (np.argsort(found) == [1, 2, 0, 3]).all()
    assert found[1] == 0 and found[3] == 1


def test_descent_removes_the_dependence():
    """score = x^2 + y^2 of independent x, y; the weight of x goes to zero when the variable is x^2."""
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 4096)).astype(np.float32)
    table = tf.one_hot(rank_bins(x**2, BINS), BINS)
    weights = tf.constant(np.full(len(x), 1 / len(x), np.float32))
    scale = tf.Variable([1.0, 1.0])

    def penalty():
        score = (scale[0] * x) ** 2 + (scale[1] * y) ** 2
        member = soft_bins(tf.math.log1p(score), weights, BINS, 0.25)
        return plug_in(tf.einsum("bi,bj->ij", member * weights[:, None], table)[None])[0]

    first = float(penalty())
    for _ in range(60):
        with tf.GradientTape() as tape:
            value = penalty()
        scale.assign_sub(0.5 * tf.sign(tape.gradient(value, scale)) * 0.05)
    assert first > 0.2
    assert float(penalty()) < first / 5
    assert abs(scale[0]) < 0.4 * abs(scale[1])


def test_equal_scores_give_finite_gradients():
    scores = tf.Variable(np.r_[np.zeros(900), np.arange(100)].astype(np.float32))
    weights = tf.constant(np.full(1000, 1e-3, np.float32))
    with tf.GradientTape() as tape:
        member = soft_bins(tf.math.log1p(scores), weights, BINS, 0.25)
        value = tf.reduce_sum(member**2)
    assert np.isfinite(tape.gradient(value, scores).numpy()).all()


def test_penalty_of_recorded_words_is_the_mutual_information():
    """All of the sample in one batch, against the estimator of the tables with as many bins.

    Hard edges see the same cells, up to the bias that the tables take off (1/50 here); soft ones see less.
    """
    events = read_events("sample:zerobias_train")
    words = events.words
    score = words[:, 0].astype(np.float32) + 2 * words[:, 27]

    def penalty(softness):
        weights = {"met_gev": 1.0, "mu_pt_gev": 0.5}
        method = Decade(DecadeConfig(strength=2.0, variables=weights, softness=softness))
        return float(
            method.penalty(tf.constant(score), tuple(map(tf.constant, method.prepare(events, None))))
        )

    met, muon = (mutual_information(score, words[:, 3 * item], bins=16) for item in (0, 5))
    assert penalty(SHARP) == pytest.approx(2 * met + muon, rel=0.06)
    assert 0.7 * penalty(SHARP) < penalty(0.25) < penalty(SHARP)


def test_both_distributions():
    """Events are weighted by 1 / frequency for zero bias, and not at all as they are drawn."""
    events = read_events("sample:zerobias_train")
    words = events.words
    muon = words[:, 15]
    frequency = np.where(muon > 0, 10.0, 1.0)
    rows = np.random.default_rng(6).choice(len(words), 40_000, p=frequency / frequency.sum())
    score = (4 * muon + words[:, 27]).astype(np.float32)

    def penalty(**options):
        method = Decade(DecadeConfig(strength=1.0, softness=SHARP, **options))
        batch = (array[rows] for array in method.prepare(events, frequency))
        return float(method.penalty(tf.constant(score[rows]), tuple(map(tf.constant, batch))))

    weights = {"mu_pt_gev": 1.0}
    zero_bias, drawn = penalty(variables=weights), penalty(variables={}, drawn=weights)
    assert zero_bias == pytest.approx(mutual_information(score, muon, bins=16), rel=0.06)
    assert drawn == pytest.approx(mutual_information(score[rows], muon[rows], bins=16), rel=0.06)
    assert drawn > 1.5 * zero_bias
    assert penalty(variables=weights, drawn={"mu_pt_gev": 2.0}) == pytest.approx(zero_bias + 2 * drawn)


@pytest.mark.parametrize(
    "options",
    [
        {"strength": -1.0},
        {"strength": 1.0, "bins": 1},
        {"strength": 1.0, "variables": {"htt": 1.0}},
        {"strength": 1.0, "variables": {}},
        {"strength": 1.0, "variables": {"htt_gev": -1.0}},
        {"strength": 1.0, "drawn": {"n_muon": 1.0}},
        {"strength": 1.0, "softness": 0.0},
    ],
)
def test_bad_options(options):
    with pytest.raises(UserError):
        DecadeConfig(**options)
