"""Baselines: figures that were measured independently, and a ceiling that cannot learn noise."""

from __future__ import annotations

import numpy as np
import pytest

from axo.baselines import BOOSTING, IsolationForest, Supervised, leading_ht
from axo.events import Events
from axo.rates import collision_rate_hz
from axo.roc import allowed_events, area_under_curve, cut_at
from axo.sources import read_events
from tests.sources.conftest import hardware_words

SIGNALS = ("A_4l", "LQ_btau", "h0_tautau", "hpm_taunu", "Haa_4b", "ttbar")
HT_AT_10_KHZ = (0.015, 0.062, 0.017, 0.001, 0.055, 0.423)
FOREST_AT_10_KHZ = (0.176, 0.082, 0.014, 0.002, 0.045, 0.335)
FOREST_AREA = (0.906, 0.865, 0.700, 0.599, 0.758, 0.975)
"""Given with the data, from another implementation's run."""


def efficiencies(background, signals):
    cut = cut_at(background, allowed_events(10_000 / collision_rate_hz(2544), len(background)))
    return [float((signal > cut).mean()) for signal in signals]


@pytest.fixture(scope="module")
def samples(shared):
    files = [shared / "data2" / f"sig_{name}.h5" for name in SIGNALS]
    return read_events(shared / "data2" / "zerobias_test.h5"), [read_events(file) for file in files]


def test_ht_cut_has_the_known_efficiencies(samples):
    zero_bias, signals = samples
    found = efficiencies(leading_ht(zero_bias), [leading_ht(events) for events in signals])
    # one sigma of 20,000 signal events and of the cut's 349 zero-bias events, and rounding
    np.testing.assert_allclose(found, HT_AT_10_KHZ, rtol=0.05, atol=0.0007)


@pytest.mark.slow
def test_isolation_forest_has_the_known_efficiencies(samples):
    """A quarter of the zero bias; forests of other random numbers scatter by about 20 %."""
    zero_bias, signals = samples
    forest = IsolationForest(zero_bias.words[::5])
    background = forest.scores(zero_bias.words[1::4])
    scores = [forest.scores(events.words) for events in signals]
    np.testing.assert_allclose(efficiencies(background, scores), FOREST_AT_10_KHZ, rtol=0.5)
    mean = np.exp(np.log(efficiencies(background, scores)).mean())
    assert mean == pytest.approx(np.exp(np.log(FOREST_AT_10_KHZ).mean()), rel=0.25)
    areas = [area_under_curve(background, signal).value for signal in scores]
    # Areas come from the bulk, where trees of more events do better than those of 256.
    assert all(known - 0.01 < area < known + 0.12 for area, known in zip(areas, FOREST_AREA, strict=True))


def test_ht_is_the_triggers_own_sum_where_known():
    words = np.zeros((2, 57), np.int16)
    words[0, 27] = 100  # one central jet of 50 GeV
    np.testing.assert_array_equal(leading_ht(Events(words)), [50, 0])
    extras = {"htt_pt": np.array([7, 9], np.int16)}
    np.testing.assert_array_equal(leading_ht(Events(words, extras=extras)), [3.5, 4.5])


def test_forest_finds_what_is_far_from_its_events():
    rng = np.random.default_rng(1)
    words = np.zeros((2000, 57), np.int16)
    words[:, :3] = rng.normal(100, 20, (2000, 3))
    far = words[:50].copy()
    far[:, :3] = 500
    forest = IsolationForest(words)
    assert area_under_curve(forest.scores(words), forest.scores(far)).value > 0.95


def test_ceiling_learns_a_signal_but_no_noise(monkeypatch):
    monkeypatch.setitem(BOOSTING, "max_iter", 15)
    rng = np.random.default_rng(2)
    background, signal = hardware_words(rng, 4000), hardware_words(rng, 4000)
    noise = Supervised(background[:2000], signal[:2000])
    found = area_under_curve(noise.scores(background[2000:]), noise.scores(signal[2000:]))
    assert abs(found.value - 0.5) < 0.04  # 4 standard deviations of 2000 against 2000
    signal[:, 0] = 4095 - signal[:, 0] // 8  # the uppermost eighth of the range
    ceiling = Supervised(background[:2000], signal[:2000])
    assert area_under_curve(ceiling.scores(background[2000:]), ceiling.scores(signal[2000:])).value > 0.9
