"""Posterior agreement and latent information: their known answers."""

from __future__ import annotations

import numpy as np
import pytest

from axo.physics.roc import cut_at
from axo.physics.selection import latent_information, log_overlap, margins, posterior_agreement


def test_margin_is_positive_exactly_above_the_cut():
    scores = np.random.default_rng(1).integers(0, 300, 5000)
    for allowed in (1, 7, 40, 1000):
        np.testing.assert_array_equal(margins(scores, allowed) > 0, scores > cut_at(scores, allowed))


def test_margins_do_not_change_when_scores_are_rescaled():
    scores = np.random.default_rng(2).integers(0, 300, 500)
    np.testing.assert_array_equal(margins(scores, 20), margins(np.exp(scores / 50), 20))


def test_log_overlap_is_minus_ln_two_at_zero_inverse_temperature():
    first, second = np.random.default_rng(3).normal(0, 5, (2, 100))
    np.testing.assert_allclose(log_overlap(first, second, 0.0), -np.log(2))


def test_log_overlap_by_hand():
    p, q = 0.9, 0.2  # p(pass) of two models
    first, second = np.log(p / (1 - p)), np.log(q / (1 - q))
    expected = np.log(p * q + (1 - p) * (1 - q))
    assert log_overlap(first, second, 1.0) == pytest.approx(expected)
    assert log_overlap(1e6, 1e6, 1.0) == 0 and log_overlap(-1e6, -1e6, 1.0) == 0


def test_perfect_agreement_is_zero():
    found = margins(np.random.default_rng(4).permutation(10_000), 100)
    agreement = posterior_agreement(found, found)
    assert -1e-3 < agreement.value <= 0 and agreement.events == 100


def test_opposite_decisions_are_best_at_zero_inverse_temperature():
    first = np.random.default_rng(5).exponential(1, 300)
    agreement = posterior_agreement(first, -first)
    assert (agreement.value, agreement.beta) == (pytest.approx(-np.log(2)), 0)


def test_agreement_of_known_mixture_is_at_the_analytic_maximum():
    """Margins of +-1, a share a alike: overlaps are u or 1 - u, u rising from 1/2; best is u = a."""
    share = 0.8
    first = np.ones(1000)
    second = np.where(np.arange(1000) < share * 1000, 1.0, -1.0)
    agreement = posterior_agreement(first, second)
    expected = share * np.log(share) + (1 - share) * np.log(1 - share)
    assert agreement.value == pytest.approx(expected, abs=1e-6)


def test_agreement_falls_with_noise():
    rng = np.random.default_rng(6)
    truth = rng.exponential(1, 100_000)
    values = []
    for noise in (0.02, 0.2, 1.0):
        pair = [margins(truth + noise * rng.normal(size=len(truth)), 300) for _ in range(2)]
        values.append(posterior_agreement(*pair).value)
    assert 0 > values[0] > values[1] > values[2] > -np.log(2)


def test_agreement_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no event passes"):
        posterior_agreement([-1.0, -2.0], [-1.0, -1.0])
    with pytest.raises(ValueError, match="same events"):
        posterior_agreement([1.0], [1.0, 2.0])


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_latent_information_of_correlated_gaussians(rho):
    """-1/2 ln(1 - rho^2) per pair, whatever monotonic or linear maps are put over the variables."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(20_000, 3))
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=x.shape)
    # only two of the three dimensions of y are shown
    expected = 2 * -0.5 * np.log(1 - rho**2)
    assert latent_information(np.exp(x), y[:, :2] ** 3) == pytest.approx(expected, abs=0.04)


def test_latent_information_ignores_dead_and_repeated_dimensions():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(5000, 1))
    y = 0.8 * x + 0.6 * rng.normal(size=x.shape)
    padded = np.hstack([x, np.zeros_like(x), x])
    assert latent_information(padded, y) == pytest.approx(latent_information(x, y), abs=1e-9)
    assert latent_information(np.zeros((10, 2)), np.ones((10, 2))) == 0
    # The same space is known up to the number of events, not infinitely well.
    assert 3 < latent_information(x, x) < 0.5 * np.log(5001)
