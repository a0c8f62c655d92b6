"""Distance correlation against its definition, written again with loops and with U-statistics' relatives."""

from __future__ import annotations

import numpy as np
import pytest

from axo.decorrelators.methods.disco import Disco, DiscoConfig, distance_correlation_squared, tf
from axo.events.sources import read_events


def slowly(x, y):
    """dCor^2 from Szekely et al. (2007), definition 4: V-statistics over all pairs."""
    n = len(x)
    a = np.array([[abs(x[i] - x[j]) for j in range(n)] for i in range(n)])
    b = np.array([[abs(y[i] - y[j]) for j in range(n)] for i in range(n)])
    centre = np.eye(n) - 1 / n
    a, b = centre @ a @ centre, centre @ b @ centre
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def found(x, variables, weights=None):
    w = np.ones(len(x)) if weights is None else weights
    arrays = (np.asarray(array, np.float32) for array in (x, variables, w))
    return distance_correlation_squared(*map(tf.constant, arrays)).numpy()


def test_by_hand():
    """x = (0, 1), y = (0, 2): A = [[-.5, .5], [.5, -.5]], B = 2 A, so the correlation is 1."""
    assert found([0, 1], [[0], [2]]) == pytest.approx([1.0], abs=1e-5)


def test_by_hand_of_three():
    """x = (0, 1, 3), y = (1, 0, 0), from centred distances times 9.

    Rows of |x - x'|: means 4/3, 1, 5/3, grand 4/3. Rows of |y - y'|: means 2/3, 1/3, 1/3, grand 4/9.
    A = [[-12, 0, 12], [0, -6, 6], [12, 6, -18]] / 9, B = [[-8, 4, 4], [4, -2, -2], [4, -2, -2]] / 9:
    sum A B = 216 / 81, sum A A = 864 / 81, sum B B = 144 / 81.
    """
    a = np.array([[-12, 0, 12], [0, -6, 6], [12, 6, -18]])
    b = np.array([[-8, 4, 4], [4, -2, -2], [4, -2, -2]])
    expected = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    assert found([0, 1, 3], [[1], [0], [0]]) == pytest.approx([expected], abs=1e-5)
    assert slowly([0, 1, 3], [1, 0, 0]) == pytest.approx(expected)


def test_definition():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 60))
    variables = np.stack([y, x + y, x**2], axis=1)
    expected = [slowly(x, column) for column in variables.T]
    assert found(x, variables) == pytest.approx(expected, rel=1e-4)


def test_weights_count_as_repetitions():
    rng = np.random.default_rng(2)
    x = rng.normal(size=40)
    y = x + rng.normal(size=40)
    w = rng.integers(1, 4, 40)
    assert found(x, y[:, None], w) == pytest.approx(
        found(np.repeat(x, w), np.repeat(y, w)[:, None]), rel=1e-4
    )


def test_dependence_without_correlation_is_seen():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 1000))
    squared = found(x, np.stack([x**2, y], axis=1))
    assert squared[0] > 0.2 > 0.02 > squared[1]


def test_penalty_has_a_gradient():
    events = read_events("sample:zerobias_train", limit=500)
    words = events.words
    method = Disco(DiscoConfig(strength=3.0, variables=("met_gev", "n_jet")))
    batch = tuple(map(tf.constant, method.prepare(events, None)))
    score = tf.Variable(words[:, 0].astype(np.float32))
    with tf.GradientTape() as tape:
        penalty = method.penalty(score, batch)
    gradient = tape.gradient(penalty, score).numpy()
    assert 0 < float(penalty) < 6
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
