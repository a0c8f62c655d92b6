"""Mutual information against distributions whose value is known, and an estimator of another kind."""

from __future__ import annotations

import numpy as np
import pytest

from axo.decorrelators.information import mutual_information, plug_in, rank_bins


def gaussians(rho, n, seed=1):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n))
    return x, rho * x + np.sqrt(1 - rho**2) * y


@pytest.mark.parametrize("rho", [0.1, 0.3, 0.6, 0.9])
def test_correlated_gaussians(rho):
    expected = -0.5 * np.log(1 - rho**2)
    assert mutual_information(*gaussians(rho, 500_000)) == pytest.approx(expected, rel=0.03, abs=4e-4)


def test_independent_variables_average_zero():
    values = [mutual_information(*gaussians(0.0, 20_000, seed)) for seed in range(20)]
    # The plug-in estimate itself has (31 - 1)^2 / 40,000 = 0.0225.
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(20) + 1e-5
    assert np.std(values) < 0.003


def test_nearest_neighbour_estimator_agrees():
    """Kraskov's estimator, as scikit-learn has it, on a relation that is not monotone."""
    regression = pytest.importorskip("sklearn.feature_selection").mutual_info_regression
    rng = np.random.default_rng(3)
    x = rng.normal(size=500_000)
    y = x**2 + rng.normal(size=len(x))
    nearest = regression(x[:20_000, None], y[:20_000], random_state=0)[0]
    assert mutual_information(x, y) == pytest.approx(nearest, rel=0.05)


def test_monotone_transforms_change_nothing():
    x, y = gaussians(0.7, 50_000)
    assert mutual_information(np.exp(x), y**3) == mutual_information(x, y)


def test_discrete_variables_by_hand():
    """P(0, 0) = P(1, 1) = 3/8, P(0, 1) = P(1, 0) = 1/8: 3/4 ln(3/2) + 1/4 ln(1/2)."""
    x = np.repeat([0, 0, 1, 1], [3000, 1000, 1000, 3000])
    y = np.repeat([0, 1, 0, 1], [3000, 1000, 1000, 3000])
    bias = 1 / (2 * 8000)
    assert mutual_information(x, y) == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5) - bias)
    assert plug_in(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(np.log(2))


def test_weights_count_as_repetitions():
    rng = np.random.default_rng(4)
    x, y = gaussians(0.5, 5000)
    w = rng.integers(0, 4, 5000)
    bins = 20
    weighted = mutual_information(x, y, w, bins)
    repeated = mutual_information(np.repeat(x, w), np.repeat(y, w), bins=bins)
    # Only the bias differs: repetitions are no further events.
    effective = w.sum() ** 2 / (w**2).sum()
    free = (bins - 1) ** 2
    assert weighted + free / (2 * effective) == pytest.approx(repeated + free / (2 * w.sum()), abs=2e-3)


def test_bins_hold_equal_populations_and_ties_stay_together():
    values = np.concatenate([np.zeros(9000), np.arange(1000) / 1000 + 1])
    found = rank_bins(values, 10)
    assert np.bincount(found).tolist() == [9000] + [100] * 10
    assert (np.diff(found[np.argsort(values, kind="stable")]) >= 0).all()


def test_constant_score_tells_nothing():
    assert mutual_information(np.zeros(1000), np.arange(1000)) == 0.0


@pytest.mark.parametrize(
    ("x", "y"), [([], []), ([1.0, 2.0], [1.0]), ([1.0, np.nan], [1.0, 2.0]), ([[1.0]], [[1.0]])]
)
def test_bad_samples_are_refused(x, y):
    with pytest.raises(ValueError, match="score"):
        mutual_information(np.array(x), np.array(y))
