"""The released artefacts: what is committed is exact, sound and what its card says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from axo.firmware.models import released_models
from axo.firmware.stimuli import make_stimuli
from axo.models.evaluate import compare
from axo.network import read_network, require_sound
from axo.network.export import cost
from axo.sources import read_events


@pytest.fixture(params=sorted(released_models()))
def folder(request):
    return released_models()[request.param]


def test_keras_model_equals_the_network(folder):
    network = read_network(folder / "network.json")
    words = [read_events("sample:zerobias_test", limit=5000).words, read_events("sample:sig_ttbar").words]
    agreement = compare(folder / "model.keras", network, make_stimuli(network, 20_000, [], words).words)
    assert (agreement.events >= 20_000, agreement.mismatches) == (True, 0), agreement.first


def test_network_is_sound_and_the_card_is_its_own(folder):
    network = read_network(folder / "network.json")
    require_sound(network)
    card = json.loads((folder / "model_card.json").read_text())
    document = json.loads((folder / "network.json").read_text())
    assert card["network_sha256"] == document["sha256"]
    assert card["provenance"] == network.provenance
    assert sum(c["csd_digits"] for c in card["cost"]) == sum(c.csd_digits for c in cost(network))
    points = {name: point["threshold_word"] for name, point in card["figures"]["rates"].items()}
    assert points == network.thresholds
    assert list(points.values()) == sorted(points.values(), reverse=True)


def test_size(folder):
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < 1_000_000


def test_card_rates_on_the_full_data(folder, shared):
    """The first 100,000 zero-bias test events give the card's 10 kHz within five standard deviations."""
    from axo.network import evaluate

    network = read_network(folder / "network.json")
    if "rate_10khz" not in network.thresholds:
        pytest.skip("no working point at 10 kHz")
    card = json.loads((folder / "model_card.json").read_text())
    words = read_events(shared / "data2" / "zerobias_test.h5", limit=100_000).words
    passed = (evaluate(network, words).score_word >= network.thresholds["rate_10khz"]).sum()
    point = card["figures"]["rates"]["rate_10khz"]
    expected = point["passed"] / point["total"] * len(words)
    assert abs(passed - expected) < 5 * np.sqrt(expected)
