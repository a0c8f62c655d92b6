"""Trigger variables against events written down by hand, and against the trigger's own sums."""

from __future__ import annotations

import numpy as np
import pytest

from axo.errors import UserError
from axo.events import Events
from axo.events.sources import read_events
from axo.layout import find_layout
from axo.physics.baselines import leading_ht
from axo.physics.variables import PRIMARY, primary_names, trigger_variables, variable_names
from tests.cms_words import CMS_WORDS

COLUMN = {word.name: column for column, word in enumerate(CMS_WORDS)}


def event(pileup=None, **words):
    row = np.zeros((1, len(CMS_WORDS)), np.int16)
    for name, value in words.items():
        row[0, COLUMN[name]] = value
    return Events(row, pileup=pileup)


def test_by_hand():
    events = event(
        pileup=[63], MET_pt=41, EG0_pt=50, EG1_pt=20, MU0_pt=7,
        JET0_pt=200, JET0_eta=10, JET1_pt=60, JET1_eta=-56, JET2_pt=59, JET3_pt=90, JET3_eta=56,
    )  # fmt: skip
    # Jets 1 and 3 are at |eta| = 56 * 0.0435 = 2.44; jet 2 has 29.5 GeV.
    expected = {
        "htt_gev": 100.0, "jet_pt_gev": 100.0, "eg_pt_gev": 25.0, "mu_pt_gev": 3.5, "met_gev": 20.5,
        "n_jet": 4, "n_eg": 2, "n_mu": 1, "pileup": 63,
    }  # fmt: skip
    assert set(expected) == set(variable_names())
    values = trigger_variables(events, list(expected))
    assert values.tolist() == [list(expected.values())]


def test_objects_in_any_order():
    assert trigger_variables(event(MU0_pt=3, MU1_pt=90), ["mu_pt_gev"])[0, 0] == 45.0


def test_htt_is_the_triggers_own():
    """The trigger adds jets before their pt is rounded: half a GeV a jet; 30 GeV here may be below it there.

    An eleventh jet counts there, too: events of ten are not compared.
    """
    events = read_events("sample:zerobias_test")
    own = events.extras["htt_pt"] * 0.5
    found = trigger_variables(events, ["htt_gev"])[:, 0]
    pt, eta = events.words[:, 27::3], events.words[:, 28::3]
    central = np.abs(eta) * 0.0435 < 2.5
    rounding = 0.5 * (central & (pt >= 60)).sum(axis=1)
    at_the_edge = 30 * (central & (pt == 60)).sum(axis=1)
    told = pt[:, -1] == 0
    assert told.mean() > 0.99 and (at_the_edge > 0).mean() < 0.03
    assert (own <= found + rounding)[told].all()
    assert (own >= found - rounding - at_the_edge)[told].all()


def test_empty_event_and_no_events():
    assert not trigger_variables(event(), PRIMARY).any()
    assert trigger_variables(event()[:0], PRIMARY).shape == (0, 5)


def test_unknown_name_and_missing_pileup():
    with pytest.raises(UserError, match="'htt'; did you mean 'htt_gev'"):
        trigger_variables(event(), ["htt"])
    with pytest.raises(UserError, match="pileup"):
        trigger_variables(event(), ["pileup"])


def test_variables_follow_the_layout():
    gelato = find_layout("atlas_gelato")
    column = {word.name: place for place, word in enumerate(gelato.words)}
    words = np.zeros((1, len(gelato.words)), np.int16)
    for name, value in [
        ("jet1_pt", 500), ("jet1_eta", 97), ("jet3_pt", 310), ("jet3_eta", -20), ("jet4_pt", 290),
        ("etau3_pt", 77), ("met_pt", 123), ("mu0_pt", 9),
    ]:  # fmt: skip
        words[0, column[name]] = value
    # Steps of 0.1 GeV and 0.025: jet 1 is at 2.425, jet 4 has 29 GeV.
    expected = {
        "htt_gev": 31.0, "met_gev": 12.3, "jet_pt_gev": 50.0, "etau_pt_gev": 7.7, "mu_pt_gev": 0.9,
        "n_jet": 3, "n_etau": 1, "n_mu": 1,
    }  # fmt: skip
    assert set(variable_names(gelato)) == {*expected, "pileup"}
    found = trigger_variables(Events(words, layout=gelato), list(expected))
    np.testing.assert_allclose(found, [list(expected.values())])
    assert primary_names(gelato) == ("htt_gev", "jet_pt_gev", "mu_pt_gev", "met_gev")
    with pytest.raises(UserError, match=r"'eg_pt_gev'.*known of layout 'atlas_gelato': htt_gev"):
        trigger_variables(Events(words, layout=gelato))
    assert variable_names(find_layout("cicada")) == ["region_sum_gev", "pileup"]


def test_the_triggers_own_sums_where_the_words_have_them(shared):
    path = shared / "real" / "ugt" / "TestVector_L1Menu_Collisions2025_v1_0_0_data.txt.gz"
    whole, small = read_events(path, layout="cms_gt"), read_events(path)
    own = small.extras["htt_pt"] * 0.5
    np.testing.assert_array_equal(trigger_variables(whole, ["htt_gev"])[:, 0], own)
    assert (trigger_variables(small, ["htt_gev"])[:, 0] != own).any()
    np.testing.assert_array_equal(leading_ht(whole), own.astype(np.float32))
    np.testing.assert_array_equal(leading_ht(small), own.astype(np.float32))
    assert {"tau_pt_gev", "n_tau", "etmhf_gev"} <= set(variable_names(whole.layout))


def test_an_image_has_its_energy_as_ht():
    """Regions of 0.5 GeV a step: the sum of all of them, and what stands for HT."""
    layout = find_layout("cicada")
    words = np.random.default_rng(3).integers(0, 1024, (20, 252)).astype(np.int16)
    events = Events(words, layout=layout)
    expected = [sum(int(word) for word in row) * 0.5 for row in words]
    assert primary_names(layout) == ("region_sum_gev",)
    np.testing.assert_array_equal(trigger_variables(events, ["region_sum_gev"])[:, 0], expected)
    np.testing.assert_array_equal(leading_ht(events), np.array(expected, np.float32))
