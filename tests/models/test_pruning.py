"""Gradual magnitude pruning."""

from __future__ import annotations

import numpy as np
import pytest

from axo.errors import UserError
from axo.models.pruning import Pruning


def test_schedule():
    pruning = Pruning((0.8,), start=0.2, stop=0.6)
    assert pruning.at(0, 0.1) == 0
    assert pruning.at(0, 0.4) == pytest.approx(0.8 * (1 - 0.5**3))
    assert pruning.at(0, 0.6) == pruning.at(0, 1.0) == pytest.approx(0.8)


def test_the_smallest_go():
    kernel = np.array([[0.1, -3.0], [0.2, -0.05]])
    mask = Pruning((0.5,)).mask(kernel, 0, 1.0)
    np.testing.assert_array_equal(mask, [[0, 1], [1, 0]])


def test_equal_weights_lose_exactly_the_asked_number():
    assert Pruning((0.3,)).mask(np.zeros((10, 10)), 0, 1.0).sum() == 70


@pytest.mark.parametrize("bad", [{"sparsity": (1.0,)}, {"sparsity": (-0.1,)}, {"start": 0.7, "stop": 0.7}])
def test_bad_configuration(bad):
    with pytest.raises(UserError):
        Pruning(**bad)
