"""Cuts, areas, paired bootstrap: against brute force, closed forms and repeated sampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.physics.rates import ScoreHistogram, collision_rate_hz, threshold_for_rate
from axo.physics.roc import (
    Bootstrap,
    Replicas,
    allowed_events,
    area_under_curve,
    cut_at,
    roc_points,
    spread,
)


@settings(deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(0, 70))
def test_a_cut_passes_as_many_as_allowed_and_a_lower_one_more(scores, allowed):
    cut = cut_at(np.array(scores), allowed)
    assert sum(s > cut for s in scores) <= allowed
    if np.isfinite(cut):
        assert sum(s >= cut for s in scores) > allowed


@settings(deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=40, max_size=300), st.floats(0.03, 0.9))
def test_a_cut_is_the_threshold_for_that_rate_less_one(scores, fraction):
    words = np.array(scores, np.int32)
    rate = fraction * collision_rate_hz(2544)
    threshold = threshold_for_rate(ScoreHistogram.of(words, 1001), rate, 2544)
    cut = cut_at(words, allowed_events(fraction, len(words)))
    assert threshold == (cut + 1 if np.isfinite(cut) else 0)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=40), st.lists(st.integers(0, 9), min_size=2, max_size=40)
)
def test_area_counts_pairs_and_ties_half(background, signal):
    pairs = [(s > b) + 0.5 * (s == b) for s in signal for b in background]
    # Halves add exactly, and so the area is the float nearest to the ratio.
    assert area_under_curve(background, signal).value == sum(pairs) / len(pairs)


def test_deviation_of_the_area_is_that_of_repeated_samples():
    rng = np.random.default_rng(1)
    found = [area_under_curve(rng.normal(0, 1, 300), rng.normal(1, 1, 100)) for _ in range(400)]
    scatter = np.std([area.value for area in found])
    claimed = np.mean([(area.high - area.low) / 2 for area in found])
    # 400 repetitions know the scatter to 3.5 %; the area of unit Gaussians one apart is Phi(1 / sqrt 2).
    assert claimed == pytest.approx(scatter, rel=0.12)
    assert np.mean([area.value for area in found]) == pytest.approx(0.7602, abs=0.005)


def test_roc_of_uniform_scores():
    background, signal = np.arange(1000), np.arange(500, 1000)
    points = roc_points(background, signal, [1.0, 0.25, 0.001, 1e-6])
    assert points == [(1.0, 1.0), (0.25, 0.5), pytest.approx((0.001, 0.002))]


def test_bootstrap_cuts_and_efficiencies_equal_those_of_repeated_events():
    rng = np.random.default_rng(2)
    bootstrap = Bootstrap(20)
    background, signal = rng.integers(0, 500, 2000), rng.integers(100, 600, 300)
    eligible = rng.random(300) < 0.6
    b_counts, s_counts = bootstrap.counts(0, 2000), bootstrap.counts(1, 300)
    cuts = bootstrap.cuts(background, b_counts, 50)
    efficiencies = Replicas(signal, s_counts, eligible).efficiencies(cuts)
    for i in range(20):
        repeated = np.repeat(background, b_counts[i])
        assert (repeated > cuts[i]).sum() <= 50 < (repeated >= cuts[i]).sum()
        passing = np.repeat((signal > cuts[i]) & eligible, s_counts[i])
        assert efficiencies[i] == pytest.approx(passing.mean())


def test_bootstrap_spread_is_binomial_at_a_fixed_cut():
    signal = np.arange(2000)
    counts = Bootstrap(2000).counts(0, 2000)
    assert counts.mean() == pytest.approx(1, abs=0.01) and counts.var() == pytest.approx(1, abs=0.01)
    found = Replicas(signal, counts, np.ones(2000, bool)).efficiencies(np.full(2000, 1799.0))
    assert found.mean() == pytest.approx(0.1, abs=0.001)
    assert found.std() == pytest.approx(np.sqrt(0.1 * 0.9 / 2000), rel=0.06)


def test_bootstrap_is_paired_and_refuses_too_few_scores():
    bootstrap = Bootstrap(5)
    np.testing.assert_array_equal(bootstrap.counts(3, 100), Bootstrap(5).counts(3, 100))
    assert (bootstrap.counts(3, 100) != bootstrap.counts(4, 100)).any()
    with pytest.raises(ValueError, match="too few scores"):
        bootstrap.cuts(np.arange(10), bootstrap.counts(0, 10), 50)


def test_spread():
    interval = spread(0.5, np.linspace(0, 1, 1001))
    assert (interval.low, interval.high) == (pytest.approx(0.159, abs=1e-3), pytest.approx(0.841, abs=1e-3))
    assert spread(np.nan, np.ones(5)) is None
    assert spread(1.0, np.array([np.nan, np.nan, 1.0])) is None
