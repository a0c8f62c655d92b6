"""Zero bias to build models from, for all families."""

from __future__ import annotations

import pytest

from axo.events.sources import read_events
from axo.models.scaling import ScalingConfig, learn_scaling


@pytest.fixture(scope="session")
def words():
    return read_events("sample:zerobias_train", limit=4000).words


@pytest.fixture(scope="session")
def scaling(words):
    return learn_scaling(words, ScalingConfig(pt_low=0.02, pt_high=0.98))
