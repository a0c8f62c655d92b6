"""Trigger variables against events written down by hand, and against the trigger's own sums."""

from __future__ import annotations

import numpy as np
import pytest

from axo.errors import UserError
from axo.events.sources import read_events
from axo.network import CMS_WORDS
from axo.physics.variables import PRIMARY, trigger_variables, variable_names

COLUMN = {word.name: column for column, word in enumerate(CMS_WORDS)}


def event(**words):
    row = np.zeros((1, len(CMS_WORDS)), np.int16)
    for name, value in words.items():
        row[0, COLUMN[name]] = value
    return row


def test_by_hand():
    words = event(
        MET_pt=41, EG0_pt=50, EG1_pt=20, MU0_pt=7,
        JET0_pt=200, JET0_eta=10, JET1_pt=60, JET1_eta=-56, JET2_pt=59, JET3_pt=90, JET3_eta=56,
    )  # fmt: skip
    # Jets 1 and 3 are at |eta| = 56 * 0.0435 = 2.44; jet 2 has 29.5 GeV.
    expected = {
        "htt_gev": 100.0, "jet_pt_gev": 100.0, "eg_pt_gev": 25.0, "mu_pt_gev": 3.5, "met_gev": 20.5,
        "n_jet": 4, "n_eg": 2, "n_mu": 1, "pileup": 63,
    }  # fmt: skip
    assert set(expected) == set(variable_names())
    values = trigger_variables(words, list(expected), pileup=[63])
    assert values.tolist() == [list(expected.values())]


def test_objects_in_any_order():
    words = event(MU0_pt=3, MU1_pt=90)
    assert trigger_variables(words, ["mu_pt_gev"])[0, 0] == 45.0


def test_htt_is_the_triggers_own():
    """The trigger adds jets before their pt is rounded: half a GeV a jet; 30 GeV here may be below it there.

    An eleventh jet counts there, too: events of ten are not compared.
    """
    events = read_events("sample:zerobias_test")
    own = events.extras["htt_pt"] * 0.5
    found = trigger_variables(events.words, ["htt_gev"])[:, 0]
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
    assert trigger_variables(np.empty((0, 57), np.int16), PRIMARY).shape == (0, 5)


def test_unknown_name_and_missing_pileup():
    with pytest.raises(UserError, match="'htt'; did you mean 'htt_gev'"):
        trigger_variables(event(), ["htt"])
    with pytest.raises(UserError, match="pileup"):
        trigger_variables(event(), ["pileup"])
    with pytest.raises(ValueError, match="57"):
        trigger_variables(np.zeros((3, 19), np.int16))
