"""Figures of merit against textbook values and cases worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axo.config import to_plain
from axo.physics.figures import (
    NOTHING,
    Accepted,
    Amount,
    Interval,
    Moments,
    clopper_pearson,
    geometric_mean,
    share,
)


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


def test_what_a_threshold_accepts_by_hand():
    """Ten events, five pass, of which two are pure; the 95 % limits of 5/10 and 2/10 are tabulated."""
    passing = np.arange(10) < 5
    pure = np.isin(np.arange(10), [0, 1, 7])
    found = Accepted.of(passing, pure)
    assert (found.passed.events, found.pure.events, found.total.events) == (5, 2, 10)
    assert (found.efficiency.value, found.pure_efficiency.value, found.purity.value) == (0.5, 0.2, 0.4)
    table = Accepted(found.passed, found.total, found.pure, confidence=0.95)
    assert to_plain(table.efficiency) == pytest.approx(
        {"value": 0.5, "low": 0.18709, "high": 0.81291}, abs=1e-5
    )
    bounds = {"value": 0.2, "low": 0.02521, "high": 0.55610}
    assert to_plain(table.pure_efficiency) == pytest.approx(bounds, abs=1e-5)


def test_what_is_not_known_is_none():
    assert Accepted.of(np.ones(3, bool)).purity is None
    assert Accepted.of(np.ones(3, bool)).pure_efficiency is None
    assert Accepted.of(np.zeros(3, bool), np.ones(3, bool)).purity is None  # of no event
    assert Accepted.of(np.zeros(0, bool)).efficiency is None
    assert share(NOTHING, NOTHING) is None


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 10)), min_size=1, max_size=40))
def test_weights_count_by_their_effective_number(events):
    """Kish: n = (sum w)^2 / sum w^2. The same weight for all is that many events, whatever it is."""
    chosen, weights = (np.array(column) for column in zip(*events, strict=True))
    whole = Amount.of(np.ones(len(chosen), bool), weights)
    part = Amount.of(chosen, weights)
    found = share(part, whole)
    effective = math.fsum(weights) ** 2 / math.fsum(weights**2)
    low, high = clopper_pearson(min(part.w / whole.w, 1) * effective, effective)
    assert to_plain(found) == pytest.approx(
        {"value": part.w / whole.w, "low": float(low), "high": float(high)}, abs=1e-12
    )
    assert (whole - part).events == (~chosen).sum()
    same = np.full(len(chosen), 0.5)
    weighted = share(Amount.of(chosen, same), Amount.of(np.ones(len(chosen), bool), same))
    assert to_plain(weighted) == pytest.approx(to_plain(Accepted.of(chosen).efficiency), abs=1e-12)


@pytest.mark.parametrize("events", [1, 94906267, 10**9, 2**40 + 1])
def test_all_of_very_many_events_are_all(events):
    """(n * n) / n is not n in floating point for large n: unweighted events are counted as they are."""
    found = share(Amount.counted(events), Amount.counted(events))
    assert found.value == found.high == 1 and found.low < 1


def test_geometric_mean():
    np.testing.assert_allclose(geometric_mean([[0.1, 0.4], [0.0, 0.4]]), [0.2, 0.0])
    assert geometric_mean([0.1, 0.4]) == pytest.approx(0.2)


def test_moments_by_hand():
    found = Moments.of([1.0, 3.0])
    assert found.mean == 2 and found.standard_deviation == pytest.approx(math.sqrt(2))


def test_values_become_json():
    value = {"a": (Interval(1.0, 0.5, 2.0), None), "b": [{"c": Moments(1.0, 2.0)}]}
    assert to_plain(value) == {
        "a": [{"value": 1.0, "low": 0.5, "high": 2.0}, None],
        "b": [{"c": {"mean": 1.0, "standard_deviation": 2.0}}],
    }
