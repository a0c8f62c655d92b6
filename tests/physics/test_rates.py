"""Rates against cases worked out by hand, and thresholds against a search through all of them."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axo.errors import UserError
from axo.physics.figures import Interval, clopper_pearson
from axo.physics.rates import (
    LUMI_SECTION_S,
    ScoreHistogram,
    bins_of,
    collision_rate_hz,
    pure_mask,
    pure_threshold_for_rate,
    rate_khz,
    threshold_for_rate,
)

scores_strategy = st.lists(st.integers(0, 31), min_size=1, max_size=60)


def test_constants():
    assert collision_rate_hz() == pytest.approx(28_608_806.4)  # 2544 x 11245.6
    assert round(LUMI_SECTION_S, 4) == 23.3108  # 262144 / 11245.6


def test_rate_by_hand():
    fraction = Interval(35e-6, 30e-6, 40e-6)
    rate = rate_khz(fraction)
    assert rate.value == pytest.approx(1.001308224)  # 35e-6 x 28,608,806.4 Hz
    assert (rate.low, rate.high) == pytest.approx((0.858264192, 1.144352256))
    assert rate_khz(fraction, n_bunches=1272).value == pytest.approx(0.500654112)
    assert rate_khz(fraction, prescale=2.5).value == pytest.approx(0.4005232896)
    assert rate_khz(fraction, prescale=0) == Interval(0.0, 0.0, 0.0)
    assert rate_khz(None) is None
    with pytest.raises(ValueError, match="negative"):
        rate_khz(fraction, prescale=-1)


def test_bins_of_a_network(golden_network):
    assert bins_of(golden_network) == 262144


def test_histogram_counts_at_or_above():
    histogram = ScoreHistogram.of([0, 3, 3, 7], bins=8)
    assert histogram.counts.dtype == np.int64
    assert [histogram.passed(t) for t in range(9)] == [4, 3, 3, 3, 1, 1, 1, 1, 0]
    assert (histogram.total, histogram.bins, histogram.accepted(4).efficiency.value) == (4, 8, 0.25)
    with pytest.raises(ValueError, match="threshold 9"):
        histogram.passed(9)


def test_weighted_histogram_by_hand():
    histogram = ScoreHistogram.of([1, 3, 3], bins=4, weights=[2.0, 0.5, 1.5])
    assert histogram.sum_w.tolist() == [0, 2.0, 0, 2.0]
    assert histogram.sum_w2.tolist() == [0, 4.0, 0, 2.5]
    found = histogram.accepted(2).efficiency
    assert found.value == 0.5
    # Effective events: 4^2 / 6.5 = 2.4615, of which half passed.
    low, high = clopper_pearson(1.2307692307692308, 2.4615384615384617)
    assert (found.low, found.high) == pytest.approx((float(low), float(high)))
    assert low + high == pytest.approx(1)  # symmetric, as half passed


@pytest.mark.parametrize(
    ("scores", "weights", "message"),
    [([8], None, "not within 0 to 7"), ([-1], None, "not within"), ([0.5], None, "integers"),
     ([1], [1, 2], "one a score"), ([1], [math.nan], "finite")],
)  # fmt: skip
def test_histogram_refuses(scores, weights, message):
    with pytest.raises(ValueError, match=message):
        ScoreHistogram.of(scores, bins=8, weights=weights)


@given(scores_strategy, st.lists(st.integers(0, 60), max_size=4))
def test_histograms_of_parts_add_to_the_whole(scores, cuts):
    whole = ScoreHistogram.of(scores, bins=32, weights=np.array(scores) / 4)
    total = ScoreHistogram.empty(32, weighted=True)
    edges = sorted([0, *cuts, 60])
    for low, high in reversed(list(itertools.pairwise(edges))):
        part = np.array(scores[low:high], int)
        total += ScoreHistogram.of(part, bins=32, weights=part / 4)
    np.testing.assert_array_equal(total.counts, whole.counts)
    np.testing.assert_array_equal(total.sum_w, whole.sum_w)  # quarters add exactly
    np.testing.assert_array_equal(total.sum_w2, whole.sum_w2)


def test_histograms_that_do_not_fit_are_not_added():
    with pytest.raises(ValueError, match="differ"):
        ScoreHistogram.empty(4) + ScoreHistogram.empty(8)
    with pytest.raises(ValueError, match="differ"):
        ScoreHistogram.empty(4) + ScoreHistogram.empty(4, weighted=True)


@given(scores_strategy, st.floats(0.001, 1))
def test_threshold_is_the_smallest_that_keeps_the_rate(scores, share):
    target_hz = max(share, 1 / len(scores)) * collision_rate_hz()
    for weights in (None, np.ones(len(scores))):
        threshold = threshold_for_rate(ScoreHistogram.of(scores, 32, weights), target_hz)
        fitting = [
            t
            for t in range(33)
            if sum(s >= t for s in scores) / len(scores) * collision_rate_hz() <= target_hz * (1 + 1e-12)
        ]
        assert threshold == fitting[0]


@given(scores_strategy, st.integers(0, 32))
def test_threshold_of_a_rate_of_a_threshold_passes_the_same(scores, threshold):
    histogram = ScoreHistogram.of(scores, bins=32)
    passed = histogram.passed(threshold)
    if passed:
        back = threshold_for_rate(histogram, passed / len(scores) * collision_rate_hz())
        assert histogram.passed(back) == passed and back <= threshold


def test_a_rate_that_the_events_cannot_show_is_refused():
    histogram = ScoreHistogram.of(np.arange(1000), bins=1024)
    # One event of 1000 is 28.6 kHz; 1 kHz needs 28,609 (28,608,806.4 / 1000, rounded up).
    with pytest.raises(UserError, match=r"1 kHz cannot be told from 1000 .*28\.6 kHz.*at least 28609"):
        threshold_for_rate(histogram, 1000)
    assert threshold_for_rate(histogram, collision_rate_hz() / 1000) == 999
    for bad in (0, -5, math.nan):
        with pytest.raises(UserError, match="not positive"):
            threshold_for_rate(histogram, bad)
    with pytest.raises(UserError, match="there are none"):
        threshold_for_rate(ScoreHistogram.empty(8), 1000)


def test_pure_threshold_by_hand():
    """Ten events of scores 0 to 9, of which 9, 7, 5 and 3 are pure: two of ten pass at 6, three at 5."""
    scores = np.arange(10)
    everything = ScoreHistogram.of(scores, bins=16)
    pure = ScoreHistogram.of(scores[3::2], bins=16)
    target_hz = 0.2 * collision_rate_hz(1)
    assert pure_threshold_for_rate(everything, pure, target_hz, n_bunches=1) == 6
    assert pure.counts.tolist()[:4] == [0, 0, 0, 1]  # not changed on the way
    halves = [ScoreHistogram.of(s, 16, np.full(len(s), 0.5)) for s in (scores, scores[3::2])]
    assert pure_threshold_for_rate(*halves, target_hz, n_bunches=1) == 6
    with pytest.raises(UserError, match="cannot be told from 10 zero-bias events"):
        pure_threshold_for_rate(everything, pure, 0.05 * collision_rate_hz(1), n_bunches=1)


def test_pure_by_hand():
    fired = np.array([True, True, True, False])
    bits = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    assert pure_mask(fired, bits).tolist() == [False, False, False, False]
    # Column 0 is this seed's twin, 1 is prescaled, 2 is off: none counts against it.
    assert pure_mask(fired, bits, own=[0]).tolist() == [True, False, False, False]
    assert pure_mask(fired, bits, prescales=[1, 2, 0]).tolist() == [False, True, True, False]
    assert pure_mask(fired, bits, [1, 2, 0], own=[0]).tolist() == [True, True, True, False]
    with pytest.raises(ValueError, match="prescales"):
        pure_mask(fired, bits, [1, 1])
    with pytest.raises(ValueError, match="fired"):
        pure_mask(fired[:2], bits)
