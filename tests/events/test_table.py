"""The event table: what it refuses, names, slices and joins."""

import numpy as np
import pytest

from axo.errors import UserError
from axo.events import Events, concatenate
from tests.cms_words import CMS_WORDS

NAMES = [word.name for word in CMS_WORDS]


def words_with(n=4, **values):
    """n empty events; `MU0_pt=(2, 10)` sets that word of event 2 to 10."""
    words = np.zeros((n, 57), np.int16)
    for name, (event, value) in values.items():
        words[event, NAMES.index(name)] = value
    return words


def table(n, **columns):
    words = np.zeros((n, 57), np.int16)
    words[:, 0] = np.arange(n)
    return Events(words, **columns)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"MET_pt": (2, 4096)},
            r"f\.h5: event 102: MET_pt = 4096 is outside its hardware width \(0 to 4095\)",
        ),
        ({"MET_eta": (0, 1)}, r"event 100: MET_eta = 1 is outside"),
        ({"JET9_pt": (3, -1)}, r"event 103: JET9_pt = -1 is outside"),
        ({"EG0_pt": (1, 512)}, r"event 101: EG0_pt = 512 is outside"),
        ({"MU3_eta": (1, 256)}, r"event 101: MU3_eta = 256 is outside .*\(-256 to 255\)"),
        ({"EG0_pt": (1, 5), "EG0_phi": (1, 256)}, r"event 101: EG0_phi = 256"),
        ({"MU2_phi": (3, 1)}, r"event 103: MU2 has pt 0 but other words"),
        ({"JET0_eta": (0, -1)}, r"event 100: JET0 has pt 0 but other words"),
        ({"JET1_pt": (2, 7), "JET0_pt": (2, 6)}, r"event 102: JET0 has less pt than the one after it"),
        ({"MU3_pt": (2, 7)}, r"event 102: MU2 has less pt"),
    ],
)
def test_check_names_file_event_and_word(values, message):
    with pytest.raises(UserError, match=message):
        Events(words_with(**values)).check("f.h5", 100)


def test_check_accepts_the_extremes_of_every_word():
    high = np.array([[word.max_int for word in CMS_WORDS]], np.int16)
    low = np.array([[word.min_int for word in CMS_WORDS]], np.int16)
    low[:, 0::3] = high[:, 0::3]
    Events(np.concatenate([high, low])).check()


def test_met_of_pt_zero_may_have_phi():
    Events(words_with(MET_phi=(1, 143))).check()


def test_order_of_the_hardware_is_accepted_where_said():
    Events(words_with(MU3_pt=(2, 7)), pt_ordered=False).check()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"extras": {"mu_qual": np.array([[0, 0, 0, 0], [0, 16, 0, 0]])}}, r"event 1: mu_qual = 16"),
        ({"extras": {"htt_pt": np.array([0, -1])}}, r"event 1: htt_pt = -1"),
        ({"pileup": [1, np.nan]}, r"event 1: pileup is nan"),
        ({"weight": [np.inf, 1]}, r"event 0: weight is inf"),
    ],
)
def test_check_covers_what_stands_beside_the_words(columns, message):
    with pytest.raises(UserError, match=message):
        table(2, **columns).check()


@pytest.mark.parametrize(
    "arguments",
    [
        {"words": np.zeros((2, 56), np.int16)},
        {"words": np.zeros((2, 57), np.int32)},
        {"words": np.zeros(57, np.int16)},
        {"run": [1]},
        {"run": [1, -1]},
        {"bunch_crossing": [1, 70000]},
        {"event": [1.5, 2]},
        {"extras": {"htt": [1, 2]}},
        {"extras": {"eg_iso": np.zeros((2, 3), int)}},
        {"seed_names": ("a",)},
        {"seed_bits": np.zeros((2, 2), bool), "seed_names": ("a",)},
    ],
)
def test_a_table_that_is_none_is_refused(arguments):
    with pytest.raises(ValueError, match=r"must be|holds|none of|without"):
        Events(**({"words": np.zeros((2, 57), np.int16)} | arguments))


def full_table(n, offset=0):
    return table(
        n,
        run=np.arange(n) + offset,
        pileup=np.arange(n) / 2,
        extras={"ett_pt": np.arange(n), "eg_iso": np.arange(4 * n).reshape(n, 4) % 4},
        seed_bits=np.arange(2 * n).reshape(n, 2) % 3 == 0,
        seed_names=("L1_A", "L1_B"),
    )


@pytest.mark.parametrize("rows", [slice(1, 4), slice(None, None, 3), np.array([4, 0]), np.arange(5) % 2 == 0])
def test_slicing_takes_everything_along(rows):
    whole, part = full_table(5), full_table(5)[rows]
    assert len(part) == len(np.arange(5)[rows])
    assert part.words.flags.c_contiguous
    for of_whole, of_part in (
        (whole.words, part.words),
        (whole.run, part.run),
        (whole.pileup, part.pileup),
        (whole.extras["ett_pt"], part.extras["ett_pt"]),
        (whole.extras["eg_iso"], part.extras["eg_iso"]),
        (whole.seed_bits, part.seed_bits),
    ):
        np.testing.assert_array_equal(of_part, of_whole[rows])
    assert part.event is None and part.seed_names == whole.seed_names


def test_joining_undoes_cutting():
    whole = full_table(7)
    joined = concatenate([whole[:2], whole[2:2], whole[2:]])
    np.testing.assert_array_equal(joined.words, whole.words)
    np.testing.assert_array_equal(joined.run, whole.run)
    np.testing.assert_array_equal(joined.extras["eg_iso"], whole.extras["eg_iso"])
    np.testing.assert_array_equal(joined.seed_bits, whole.seed_bits)


def test_joining_what_does_not_fit_says_why():
    with pytest.raises(UserError, match=r"only some have event, run"):
        concatenate([table(2, run=[1, 1]), table(2, event=[1, 2])])
    with pytest.raises(UserError, match=r"only some have ett_pt"):
        concatenate([table(1, extras={"ett_pt": [1]}), table(1)])
    bits = {"seed_bits": np.zeros((1, 1), bool)}
    with pytest.raises(UserError, match="seed names"):
        concatenate([table(1, **bits, seed_names=("a",)), table(1, **bits, seed_names=("b",))])
    with pytest.raises(ValueError, match="nothing"):
        concatenate([])
