"""Words against values worked out by hand, and there and back over every word."""

import math

import numpy as np
import pytest

from axo.errors import UserError
from axo.layout.cms import OBJECTS
from axo.layout.units import KINDS, to_physical, to_words
from axo.network import CMS_WORDS


def one_event(**objects):
    """pt, eta, phi (1, 19) with the named objects (pt, eta, phi) set."""
    values = np.zeros((3, 1, 19))
    for name, value in objects.items():
        values[:, 0, OBJECTS.index(name)] = value
    return values


def word(words, name):
    return int(words[0, [w.name for w in CMS_WORDS].index(name)])


def test_kinds_cover_the_objects_in_order():
    names = [name.rstrip("0123456789") for name in OBJECTS]
    for name, kind in KINDS.items():
        assert set(names[kind.objects]) == {name}
        assert all(w.name.startswith(name) for w in CMS_WORDS[kind.words])
    assert sum(kind.count for kind in KINDS.values()) == 19


def test_phi_of_a_full_turn_fits_the_width():
    for kind in KINDS.values():
        assert (
            2 ** (CMS_WORDS[kind.words][2].width - 1) < kind.phi_steps <= 2 ** CMS_WORDS[kind.words][2].width
        )


def test_words_worked_out_by_hand():
    words = to_words(
        *one_event(
            MET=(20.0, 0, math.pi), EG0=(10.24, 1.0, 0.1), MU0=(3.26, -2.0, -0.01), JET0=(40.0, -3.0, 6.2)
        )
    )
    assert [word(words, f"MET_{q}") for q in ("pt", "eta", "phi")] == [40, 0, 72]
    assert [word(words, f"EG0_{q}") for q in ("pt", "eta", "phi")] == [20, 23, 2]  # 22.99, 2.29 steps
    assert [word(words, f"MU0_{q}") for q in ("pt", "eta", "phi")] == [7, -184, 575]  # 6.52, -183.9, -0.92
    assert [word(words, f"JET0_{q}") for q in ("pt", "eta", "phi")] == [80, -69, 142]  # -68.97, 142.09
    assert np.count_nonzero(words) == 11


def test_phi_that_rounds_to_a_full_turn_is_zero():
    assert word(to_words(*one_event(EG0=(5, 0, 2 * math.pi - 0.001))), "EG0_phi") == 0


def test_pt_saturates_at_the_largest_word():
    words = to_words(*one_event(MET=(1e6, 0, 0), EG0=(255.6, 0, 0), MU0=(255.7, 0, 0), JET0=(1023.8, 0, 0)))
    assert [word(words, f"{name}_pt") for name in ("MET", "EG0", "MU0", "JET0")] == [4095, 511, 511, 2047]


def test_an_object_below_half_a_step_is_absent_but_met_keeps_its_phi():
    words = to_words(*one_event(MET=(0.2, 0, 1.0), MU0=(0.2, 1.0, 1.0)))
    assert [word(words, f"MU0_{q}") for q in ("pt", "eta", "phi")] == [0, 0, 0]
    assert [word(words, f"MET_{q}") for q in ("pt", "eta", "phi")] == [0, 0, 23]


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"JET3": (10, 5.6, 0)}, "event 7: JET3_eta = 5.6 does not fit in the hardware word"),
        ({"MU1": (10, -2.8, 0)}, "event 7: MU1_eta = -2.8 does not fit"),
        ({"MET": (10, 0.5, 0)}, "event 7: MET_eta = 0.5 does not fit"),
        ({"EG2": (-1, 0, 0)}, "event 7: EG2_pt = -1 is negative"),
        ({"EG2": (1, 0, 7)}, "event 7: EG2_phi = 7 is not within"),
        ({"JET9": (1, math.nan, 0)}, "event 7: JET9_eta = nan is not a finite number"),
        ({"JET9": (math.inf, 0, 0)}, "event 7: JET9_pt = inf is not a finite number"),
    ],
)
def test_everything_else_out_of_range_is_an_error(objects, message):
    with pytest.raises(UserError, match=message):
        to_words(*one_event(**objects), first_event=7)


def test_every_word_comes_back():
    """All eta and phi words that there are, in every slot, at the smallest and largest pt."""
    for slot in range(1, 19):
        pt, eta, _ = CMS_WORDS[3 * slot : 3 * slot + 3]
        steps = next(
            kind.phi_steps for kind in KINDS.values() if kind.first <= slot < kind.first + kind.count
        )
        grid = np.array(
            [
                (p, e, f)
                for p in (1, pt.max_int)
                for e in range(eta.min_int, eta.max_int + 1)
                for f in {0, 1, steps // 2, steps - 1}
            ]
            + [(p, 0, f) for p in range(1, pt.max_int + 1, 7) for f in range(0, steps, 5)]
        )
        words = np.zeros((len(grid), 57), np.int16)
        words[:, 3 * slot : 3 * slot + 3] = grid
        np.testing.assert_array_equal(to_words(*to_physical(words)), words)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="57"):
        to_physical(np.zeros((2, 56), np.int16))
    with pytest.raises(ValueError, match="19"):
        to_words(np.zeros((2, 18)), np.zeros((2, 18)), np.zeros((2, 18)))
