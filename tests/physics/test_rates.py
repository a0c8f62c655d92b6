"""Rates against cases worked out by hand, and thresholds against a search through all of them."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axo.errors import UserError
from axo.physics.rates import (
    LUMI_SECTION_S,
    ScoreHistogram,
    bins_of,
    clopper_pearson,
    collision_rate_hz,
    pure_mask,
    rate_hz,
    rate_table,
    threshold_for_rate,
)

scores_strategy = st.lists(st.integers(0, 31), min_size=1, max_size=60)


def test_constants():
    assert collision_rate_hz() == pytest.approx(28_608_806.4)  # 2544 x 11245.6
    assert round(LUMI_SECTION_S, 4) == 23.3108  # 262144 / 11245.6


def test_rate_by_hand():
    assert rate_hz(35, 1_000_000) == pytest.approx(1001.308224)  # 35e-6 x 28,608,806.4
    assert rate_hz(35, 1_000_000, n_bunches=1272) == pytest.approx(500.654112)
    assert rate_hz(35, 1_000_000, prescale=2.5) == pytest.approx(400.5232896)
    assert rate_hz(35, 1_000_000, prescale=0) == 0.0
    with pytest.raises(UserError, match="zero-bias events"):
        rate_hz(0, 0)
    with pytest.raises(ValueError, match="negative"):
        rate_hz(1, 2, prescale=-1)


def test_bins_of_a_network(golden_network):
    assert bins_of(golden_network) == 262144


def test_histogram_counts_at_or_above():
    histogram = ScoreHistogram.of([0, 3, 3, 7], bins=8)
    assert histogram.counts.dtype == np.int64
    assert [histogram.passed(t) for t in range(9)] == [4, 3, 3, 3, 1, 1, 1, 1, 0]
    assert (histogram.total, histogram.bins, histogram.efficiency(4)) == (4, 8, 0.25)
    with pytest.raises(ValueError, match="threshold 9"):
        histogram.passed(9)


def test_weighted_histogram_by_hand():
    histogram = ScoreHistogram.of([1, 3, 3], bins=4, weights=[2.0, 0.5, 1.5])
    assert histogram.sum_w.tolist() == [0, 2.0, 0, 2.0]
    assert histogram.sum_w2.tolist() == [0, 4.0, 0, 2.5]
    assert histogram.efficiency(2) == 0.5
    # Effective events: 4^2 / 6.5 = 2.4615, of which half passed.
    low, high = clopper_pearson(1.2307692307692308, 2.4615384615384617)
    assert histogram.efficiency_interval(2) == pytest.approx((float(low), float(high)))
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
            if rate_hz(sum(s >= t for s in scores), len(scores)) <= target_hz * (1 + 1e-12)
        ]
        assert threshold == fitting[0]


@given(scores_strategy, st.integers(0, 32))
def test_threshold_of_a_rate_of_a_threshold_passes_the_same(scores, threshold):
    histogram = ScoreHistogram.of(scores, bins=32)
    passed = histogram.passed(threshold)
    if passed:
        back = threshold_for_rate(histogram, rate_hz(passed, len(scores)))
        assert histogram.passed(back) == passed and back <= threshold


def test_a_rate_that_the_events_cannot_show_is_refused():
    histogram = ScoreHistogram.of(np.arange(1000), bins=1024)
    # One event of 1000 is 28.6 kHz; 1 kHz needs 28,609 (28,608,806.4 / 1000, rounded up).
    with pytest.raises(UserError, match=r"1 kHz cannot be told from 1000 .*28\.6 kHz.*at least 28609"):
        threshold_for_rate(histogram, 1000)
    assert threshold_for_rate(histogram, rate_hz(1, 1000)) == 999
    for bad in (0, -5, math.nan):
        with pytest.raises(UserError, match="not positive"):
            threshold_for_rate(histogram, bad)
    with pytest.raises(UserError, match="there are none"):
        threshold_for_rate(ScoreHistogram.empty(8), 1000)


def test_table_by_hand():
    (point,) = rate_table(ScoreHistogram.of([0] * 90 + [5] * 10, bins=8), [5], n_bunches=1000)
    assert (point.threshold_word, point.passed, point.total) == (5, 10, 100)
    assert point.rate_khz == pytest.approx(1124.56)  # 0.1 x 1000 x 11.2456 kHz
    low, high = clopper_pearson(10, 100)
    assert (point.rate_low_khz, point.rate_high_khz) == pytest.approx((low * 11245.6, high * 11245.6))
    (halved,) = rate_table(ScoreHistogram.of([0] * 90 + [5] * 10, bins=8), [5], 1000, prescale=2)
    assert halved.rate_high_khz == pytest.approx(point.rate_high_khz / 2)
    with pytest.raises(UserError, match="there are none"):
        rate_table(ScoreHistogram.empty(8), [1])


def test_clopper_pearson_textbook_values():
    low, high = clopper_pearson([0, 5, 10, 1], [10, 10, 10, 100], 0.95)
    # 1 - 0.025^(1/10); then the tabulated 95 % limits of 5/10 and 1/100.
    assert (low[0], high[0]) == pytest.approx((0, 1 - 0.025**0.1))
    assert (low[2], high[2]) == pytest.approx((0.025**0.1, 1))
    assert (low[1], high[1]) == pytest.approx((0.18709, 0.81291), abs=1e-5)
    assert (low[3], high[3]) == pytest.approx((0.00025, 0.05446), abs=1e-5)
    assert clopper_pearson(0, 0) == (0, 1)


@given(st.integers(1, 40), st.data())
def test_clopper_pearson_bounds_leave_the_tails(n, data):
    """By definition: at the bound, the observed count or a more extreme one has half the rest."""
    k = data.draw(st.integers(0, n))
    low, high = clopper_pearson(k, n, 0.9)

    def chance(fraction, counts):
        return sum(math.comb(n, i) * fraction**i * (1 - fraction) ** (n - i) for i in counts)

    if k > 0:
        assert chance(float(low), range(k, n + 1)) == pytest.approx(0.05)
    if k < n:
        assert chance(float(high), range(k + 1)) == pytest.approx(0.05)


@pytest.mark.parametrize(("passed", "total", "confidence"), [(2, 1, 0.9), (-1, 1, 0.9), (0, 1, 1.0)])
def test_clopper_pearson_refuses(passed, total, confidence):
    with pytest.raises(ValueError, match="need"):
        clopper_pearson(passed, total, confidence)


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
