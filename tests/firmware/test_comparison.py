"""Comparisons must find a single wrong bit, and stimuli must cover what they promise."""

import numpy as np
import pytest

from axo.firmware.comparison import Result, compare, compare_all, describe_mismatches
from axo.firmware.stimuli import KINDS, extreme_words, make_stimuli
from axo.layout import Kind, Layout, Quantity, find_layout
from axo.network import WORDS, FixedType, Linear, Network, Offset, Shift, SumOfSquares, evaluate
from axo.network.convention import WHOLE_GEV, pt_in_gev
from tests.firmware.any_layouts import network_on


@pytest.fixture(scope="module")
def network():
    small = FixedType(8, 8, True, "TRN", "SAT")
    wide = FixedType(18, 18, False, "TRN", "SAT")
    shift = np.full(57, 4, np.int64)
    operations = (
        *pt_in_gev(find_layout("cms_axol1tl"), WHOLE_GEV),
        Shift("scaled", "halved", shift),
        Linear("embedding", "scaled", small),
        SumOfSquares("score", "embedding", wide, wide),
    )
    return Network("tiny", find_layout("cms_axol1tl"), operations, "score", "embedding")


@pytest.fixture(scope="module")
def stimuli(network):
    return make_stimuli(network, 4000, [], [])


def result(name, network, stimuli, rows):
    answer = evaluate(network, stimuli.words[rows])
    return Result(name, rows, answer.score_word, answer.embedding_word)


def test_stimuli_stay_within_the_hardware_except_where_said(network, stimuli):
    low = np.array([word.min_int for word in network.words])
    high = np.array([word.max_int for word in network.words])
    inside = ((stimuli.words >= low) & (stimuli.words <= high)).all(axis=1)
    np.testing.assert_array_equal(inside, stimuli.in_hardware)
    assert sum(stimuli.counts().values()) >= 4000
    for column in range(57):
        assert {low[column], high[column]} <= set(stimuli.words[stimuli.in_hardware, column].tolist())


def test_recorded_events_all_take_part(network):
    recorded = np.zeros((100, 57), np.int16)
    stimuli = make_stimuli(network, 1000, [recorded[:60], recorded[60:]], [])
    assert stimuli.counts()["recorded"] == 100
    rows = stimuli.hardware_rows(400)
    assert len(rows) == 400 and len(np.unique(rows)) == 400 and stimuli.in_hardware[rows].all()
    assert stimuli.counts(rows)["recorded"] == 100


@pytest.mark.parametrize("quantity", ["score_word", "embedding_word"])
def test_one_wrong_bit_in_one_event_is_found_and_shown(network, stimuli, quantity):
    rows = np.arange(len(stimuli.words))
    right, wrong = (result(name, network, stimuli, rows) for name in ("right", "wrong"))
    getattr(wrong, quantity).flat[-1] ^= 1
    comparison = compare(right, wrong, stimuli)
    assert comparison.mismatches == 1 and comparison.quantities == ("score_word", "embedding_word")

    def off_by_one(words):
        return {
            name: values + (name == "scaled") for name, values in evaluate(network, words).tensors.items()
        }

    text = describe_mismatches([comparison], [right, wrong], stimuli, network, {"wrong": off_by_one})
    assert str(stimuli.words[comparison.mismatched[0]].tolist()) in text
    assert "scaled ap_fixed<16,16,TRN,WRAP>" in text
    assert "scaled of wrong DIFFERS" in text and "halved of wrong" not in text


def test_pairs_are_compared_on_the_events_both_saw(network, stimuli):
    everything = np.arange(len(stimuli.words))
    some = stimuli.hardware_rows(500)
    results = [
        result("a", network, stimuli, everything),
        result("b", network, stimuli, some),
        result("c", network, stimuli, everything),
    ]
    comparisons = compare_all(results, stimuli)
    assert [(c.first, c.second) for c in comparisons] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [sum(c.events.values()) for c in comparisons] == [500, len(everything), 500]
    assert set(comparisons[0].events) == set(KINDS)
    assert not any(c.mismatches for c in comparisons)


def test_a_result_of_another_length_is_refused():
    with pytest.raises(ValueError, match="results for 3 events"):
        Result("short", np.arange(3), np.zeros(2, np.int32))


HEADS = {
    "whole GeV": lambda shift: [Shift("halved", WORDS, shift)],
    "half kept": lambda shift: [
        Linear("widened", WORDS, FixedType(33, 32)),
        Shift("halved", "widened", shift),
    ],
}


@pytest.mark.parametrize("head", HEADS)
def test_extreme_words_are_where_the_scaling_turns_whatever_the_first_operations_are(head):
    """Word 20 is where (word - 2 * 10) changes sign; 20 + 2 * 8 is a power of two behind the shift."""
    layout = Layout("one", "a test", (Kind("A", 1, (Quantity("pt", "pt", 12), Quantity("b", "value", 24))),))
    halved = np.array([1, 0])
    operations = (
        *HEADS[head](halved),
        Linear("unscaled", "halved", FixedType(36, 34)),
        Offset("centred", "unscaled", np.array([80, -40]), FixedType(34, 31), FixedType(36, 34)),
        SumOfSquares("score", "centred", FixedType(18, 18, False), FixedType(18, 18, False)),
    )
    network = Network("turns", layout, operations, "score", "score")
    words = extreme_words(network, 20_000, np.random.default_rng(1))
    assert words.dtype == np.int32
    found = [set(column.tolist()) for column in words.T]
    assert {0, 4095, 19, 20, 21, 20 + 16, 20 + 16 + 1, 20 - 16} <= found[0] and len(found[0]) < 100
    # b is centred at -5, which no word is: the powers of two behind that, and the ends.
    assert {0, (1 << 24) - 1, (1 << 20) - 5, (1 << 23) - 5} <= found[1] and len(found[1]) < 100


def test_stimuli_follow_a_layout_of_wide_words():
    kinds = (
        Kind("A", 2, (Quantity("pt", "pt", 20), Quantity("eta", "eta", 9, True)), present="pt"),
        Kind("B", 1, (Quantity("", "value", 5),)),
    )
    network = network_on(Layout("wide", "a test", kinds))
    stimuli = make_stimuli(network, 8000, [], [])
    assert stimuli.words.dtype == np.int32
    inside = ((stimuli.words >= network.layout.low) & (stimuli.words <= network.layout.high)).all(axis=1)
    np.testing.assert_array_equal(inside[stimuli.in_hardware], True)
    overrange = stimuli.words[~stimuli.in_hardware]
    low, high = network.word_bounds
    assert len(overrange) == 1000 and (overrange >= low).all() and (overrange <= high).all()
    assert overrange.min() < -(1 << 14) and overrange.max() > 1 << 19
    # Objects are emptied as a whole, each by itself.
    extreme = stimuli.words[stimuli.kind == list(KINDS).index("extreme")]
    first, second = (extreme[:, columns] == 0 for columns in ([0, 1], [2, 3]))
    assert (first.all(axis=1) & ~second.any(axis=1)).mean() > 0.02
    assert (second.all(axis=1) & ~first.any(axis=1)).mean() > 0.02
