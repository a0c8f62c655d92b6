"""Checks of words against an obvious loop, and the words of their messages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.layout import checks, find_layout
from axo.layout.checks import check_widths, check_words, clear_absent
from tests.layout.strategies import layouts, words_of


def slow_fault(layout, words, absent, falling):
    """Whether any event breaks a rule, event by event and object by object."""
    for event in words.tolist():
        for value, word in zip(event, layout.words, strict=True):
            if not word.min_int <= value <= word.max_int:
                return True
        for kind in layout.kinds:
            mine = [item for item in layout.objects if item.kind.name == kind.name]
            pts = [event[item.columns["pt"]] for item in mine if "pt" in item.columns]
            if absent and kind.present == "pt":
                for item in mine:
                    rest = [event[column] for role, column in item.columns.items() if role != "pt"]
                    if event[item.columns["pt"]] == 0 and any(rest):
                        return True
            if falling and kind.order == "pt" and pts != sorted(pts, reverse=True):
                return True
    return False


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_checks_agree_with_a_loop(data):
    layout = data.draw(layouts())
    words = data.draw(words_of(layout))
    if data.draw(st.booleans()):
        words = clear_absent(layout, words)
    if len(words) and data.draw(st.booleans()):
        row, column = data.draw(st.integers(0, len(words) - 1)), data.draw(st.integers(0, words.shape[1] - 1))
        words = words.astype(np.int64)
        words[row, column] = data.draw(st.sampled_from([-(2**31) - 1, -1, 0, 1, 2**31]))
    absent, falling = data.draw(st.booleans()), data.draw(st.booleans())
    if slow_fault(layout, words, absent, falling):
        with pytest.raises(UserError, match=r"event (7|8|9|10|11): "):
            check_words(layout, words, 7, absent=absent, falling=falling)
    else:
        check_words(layout, words, 7, absent=absent, falling=falling)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_cleared_words_have_no_absent_object_and_the_rest_as_it_was(data):
    layout = data.draw(layouts())
    words = data.draw(words_of(layout))
    before = words.copy()
    cleared = clear_absent(layout, words)
    np.testing.assert_array_equal(words, before)
    check_words(layout, cleared, absent=True)
    keep = layout.present(words)[:, layout.object_of_word]
    np.testing.assert_array_equal(cleared, np.where(keep, words, 0))
    assert cleared.dtype == words.dtype


def events(n, **words):
    layout = find_layout("cms_axol1tl")
    table = np.zeros((n, len(layout.words)), np.int16)
    names = [word.name for word in layout.words]
    for name, value in words.items():
        table[-1, names.index(name)] = value
    return layout, table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"JET3_pt": 2048}, r"event 25: JET3_pt = 2048 is outside its hardware width \(0 to 2047\)"),
        ({"EG0_pt": 1, "EG0_eta": -129}, r"event 25: EG0_eta = -129 is outside .*\(-128 to 127\)"),
        ({"MET_eta": 1}, r"event 25: MET_eta = 1 is outside its hardware width \(0 to 0\)"),
        ({"MU2_phi": 3}, "event 25: MU2 has pt 0 but other words that are not 0"),
        ({"JET1_pt": 3}, "event 25: JET0 has less pt than the one after it"),
    ],
)
def test_messages_name_event_and_word(words, message, monkeypatch):
    monkeypatch.setattr(checks, "_ROWS", 4)  # so that the fault is not in the first part
    layout, table = events(16, **words)
    with pytest.raises(UserError, match=message):
        check_words(layout, table, 10, falling=True)
    check_words(layout, table[:-1], 10, falling=True)


def test_what_is_not_asked_is_not_checked():
    layout, table = events(3, MU2_phi=3, JET1_pt=3, MET_phi=5)
    check_widths(layout, table)
    check_words(layout, table, absent=False)
    check_words(layout, table[:0], falling=True)
    # The vector of the recorded trigger: muons come in its own order.
    gt = find_layout("cms_gt")
    words = np.zeros((1, len(gt.words)), np.int16)
    words[0, gt.columns("MU", "pt")[:2]] = 1, 9
    check_words(gt, words, falling=True)


def test_wrong_shapes_and_types_are_refused():
    layout, table = events(2)
    with pytest.raises(ValueError, match=r"must be \(n, 57\), not \(2, 56\)"):
        check_words(layout, table[:, 1:])
    with pytest.raises(ValueError, match="must be integers, not float64"):
        check_words(layout, table * 1.0)
