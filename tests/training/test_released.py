"""The released artefacts: what is committed is exact, sound and what its card says."""

from __future__ import annotations

import json

import pytest
from scipy.stats import beta

from axo.emulator.kernel import Kernel
from axo.events.sources import read_events
from axo.firmware.models import released_models
from axo.firmware.stimuli import make_stimuli
from axo.interchange.keras import cost
from axo.layout import find_layout
from axo.models.evaluate import compare
from axo.network import WHOLE_GEV, read_network, require_sound
from axo.provenance import words_digest
from axo.training.card import card_markdown

FIRST_GENERATION = "816be4c057738a807228fe18f6ad8ee5f6212565d3e1a1d4097a82f42c3a62ca"
"""Words of the first generation's zerobias_test.h5: the old models rest on them."""


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
    # They were trained on whole GeV, before CMS's firmware was known to keep the half; the file says so.
    assert document["format_version"] == 2 and document["pt_convention"] == WHOLE_GEV
    assert network.layout == find_layout("cms_axol1tl")
    points = {name: point["threshold_word"] for name, point in card["figures"]["rates"].items()}
    assert points == network.thresholds
    assert list(points.values()) == sorted(points.values(), reverse=True)


def test_size(folder):
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < 1_000_000


def test_card_is_written_out_and_says_on_which_data_it_rests(folder):
    card = json.loads((folder / "model_card.json").read_text())
    assert (folder / "model_card.md").read_text() == card_markdown(card)
    first = card["data"]["test"]["words_sha256"] == FIRST_GENERATION
    assert first == ("First generation of events" in (folder / "model_card.md").read_text())


def test_card_figures_are_those_of_their_counts(folder):
    """Rate and interval of every working point by their formulas, as the card gives what was counted."""
    figures = json.loads((folder / "model_card.json").read_text())["figures"]
    crossings_khz = figures["bunches"] * 299_792.458 / 26_658.883  # speed of light over circumference, km
    for point in figures["rates"].values():
        passed, total = point["passed"], point["total"]
        low, high = (
            beta.ppf(0.158655, passed, total - passed + 1),
            beta.ppf(0.841345, passed + 1, total - passed),
        )
        for key, fraction in (
            ("rate_khz", passed / total),
            ("rate_low_khz", low),
            ("rate_high_khz", high),
        ):
            assert point[key] == pytest.approx(fraction * crossings_khz, rel=1e-4)


@pytest.fixture(scope="module")
def zero_bias(shared):
    return read_events(shared / "data2" / "zerobias_test.h5").words


def test_card_counts_are_those_of_its_data(folder, zero_bias):
    """Every event again, and the same counts: for models that were released on the events that are there."""
    card = json.loads((folder / "model_card.json").read_text())
    if card["data"]["test"]["words_sha256"] != words_digest(zero_bias):
        pytest.skip(f"{card['name']} rests on other events than ../shared/data2")
    score = Kernel(read_network(folder / "network.json"), 1).scores(zero_bias)
    found = {name: int((score >= t).sum()) for name, t in card_thresholds(card).items()}
    assert found == {name: point["passed"] for name, point in card["figures"]["rates"].items()}


def card_thresholds(card):
    return {name: point["threshold_word"] for name, point in card["figures"]["rates"].items()}


def test_signals_pass_more_often_than_zero_bias(folder, shared, zero_bias):
    """Whatever the rate is on these events: more than five times as often, each of the six signals."""
    network = read_network(folder / "network.json")
    kernel, threshold = Kernel(network, 1), network.thresholds["rate_10khz"]
    background = (kernel.scores(zero_bias) >= threshold).mean()
    for signal in ("A_4l", "LQ_btau", "h0_tautau", "hpm_taunu", "Haa_4b", "ttbar"):
        words = read_events(shared / "data2" / f"sig_{signal}.h5").words
        efficiency = (kernel.scores(words) >= threshold).mean()
        assert efficiency > 5 * background, signal
