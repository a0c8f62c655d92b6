"""What the released decorrelated network is for, on recorded-like data that it was not trained on."""

from __future__ import annotations

import pytest

from axo.decorrelators.information import mutual_information
from axo.events.sources import read_events
from axo.firmware.models import released_models
from axo.network import evaluate, read_network
from axo.physics.variables import trigger_variables


@pytest.fixture(scope="module")
def zero_bias(shared):
    return read_events(shared / "data2" / "zerobias_test.h5", limit=100_000)


def largest(name, events):
    """The largest mutual information of a released score with a primary trigger variable."""
    score = evaluate(read_network(released_models()[name] / "network.json"), events.words).score_word
    return max(mutual_information(score, column) for column in trigger_variables(events).T)


def test_a_fifth_of_the_information_or_less(zero_bias):
    assert largest("axo_v3_decade", zero_bias) < largest("axo_v3", zero_bias) / 5
