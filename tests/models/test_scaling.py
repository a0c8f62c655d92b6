"""The input scaling learned from zero bias."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.layout import find_layout
from axo.models.scaling import Scaling, ScalingConfig, learn_scaling
from axo.network import Network, SumOfSquares, evaluate
from axo.network.convention import CONVENTIONS, WHOLE_GEV
from axo.network.types import FixedType
from tests.cms_words import CMS_WORDS

JET0, MU3 = slice(27, 30), slice(24, 27)


def events(n=1000):
    """Every object present: pt 2..201 half GeV, eta -50..49, phi 0..99; MET eta 0."""
    step = np.arange(n, dtype=np.int16)
    words = np.zeros((n, 57), np.int16)
    words[:, 0::3] = (2 + step % 200)[:, None]
    words[:, 1::3] = (step % 100 - 50)[:, None]
    words[:, 2::3] = (step % 100)[:, None]
    words[:, 1] = 0
    return words


def test_known_ranges():
    """pt is 1..100 whole GeV: 1 % and 99 % at 2 and 99, offset 50 (ties to even), half range 48.5."""
    config = ScalingConfig(low=0.0, high=1.0, half_range=3.0, pt_half_range=3.0, pt_convention="whole-gev")
    scaling = learn_scaling(events(), config)
    assert scaling.offset[JET0] == (50, 0, 50)  # eta -50..49 is centred at -0.5, phi 0..99 at 49.5
    assert scaling.shift[JET0] == (4, 4, 4)  # 48.5 / 3 and 49.5 / 3 are nearest to 16
    assert (scaling.offset[1], scaling.shift[1]) == (0, -3)  # a constant word: half range 0.5


def test_absent_objects_do_not_count():
    words = events()
    kept = learn_scaling(words, ScalingConfig())
    words[::2, JET0] = 0
    present = learn_scaling(words[1::2], ScalingConfig())
    assert learn_scaling(words, ScalingConfig()).offset[JET0] == present.offset[JET0]
    assert learn_scaling(words, ScalingConfig()).offset[:27] == kept.offset[:27]


def test_a_rare_object_takes_the_range_of_its_kind():
    words = events()
    words[10:, MU3] = 0
    words[:10, MU3.start] = 500
    scaling = learn_scaling(words, ScalingConfig(min_present=200))
    assert abs(scaling.offset[MU3.start] - scaling.offset[15]) <= 1  # MU0: the 10 hardly move it
    alone = learn_scaling(words, ScalingConfig(min_present=5))
    assert alone.offset[MU3.start] == 250


def test_no_object_of_a_kind():
    words = events()
    words[:, 15:27] = 0
    with pytest.raises(UserError, match="kind MU"):
        learn_scaling(words, ScalingConfig())


@pytest.mark.parametrize(
    "bad", [{"low": 0.9, "high": 0.1}, {"pt_high": 1.5}, {"half_range": 0.0}, {"bits": 0}]
)
def test_bad_configuration(bad):
    with pytest.raises(UserError):
        ScalingConfig(**bad)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_inputs_are_those_of_the_network(data):
    """`inputs` against the formula of the module's docstring, in floating point."""
    offset = data.draw(st.lists(st.integers(-300, 300), min_size=57, max_size=57))
    shift = data.draw(st.lists(st.integers(0, 7), min_size=57, max_size=57))
    shift[15:17] = -2, -1  # a left shift, of words that have the room
    convention = data.draw(st.sampled_from(sorted(CONVENTIONS.values())))
    kind = FixedType(8, 6, True, "RND_CONV", "SAT")
    scaling = Scaling(tuple(offset), tuple(shift), kind, pt_convention=convention)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    words = np.stack([rng.integers(word.min_int, word.max_int + 1, 50) for word in CMS_WORDS], axis=1).astype(
        np.int16
    )
    whole = words.astype(float)
    whole[:, 0::3] /= 2
    if convention == WHOLE_GEV:
        whole[:, 0::3] = np.floor(whole[:, 0::3])
    moved = np.floor((whole - offset) * 32 / 2.0 ** np.array(shift)) / 32
    expected = np.clip(np.round(moved * 4), -128, 127)
    np.testing.assert_array_equal(scaling.inputs(words, chunk=17), expected)
    square = FixedType(30, 30, False, "TRN", "SAT")
    operations = (*scaling.operations(), SumOfSquares("score", "network_input", square, square))
    network = Network("n", find_layout("cms_axol1tl"), operations, "score", "network_input")
    np.testing.assert_array_equal(evaluate(network, words).embedding_word, expected)


def test_no_word_of_the_hardware_wraps():
    """All MET between 1 and 2 GeV asks for a left shift, which would wrap 2047 GeV to a low value."""
    words = events()
    words[:, 0] = 2 + np.arange(len(words)) % 3
    scaling = learn_scaling(words, ScalingConfig(pt_half_range=16.0))
    assert scaling.shift[0] == -1
    words[0, 0] = 4095
    assert scaling.inputs(words[:1])[0, 0] == 127


def test_json_round_trip():
    scaling = learn_scaling(events(), ScalingConfig(bits=7, integer=5))
    assert Scaling.from_json(json.loads(json.dumps(scaling.to_json()))) == scaling
    assert scaling.input_type == FixedType(7, 5, True, "RND_CONV", "SAT")
