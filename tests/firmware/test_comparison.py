"""Comparisons must find a single wrong bit, and stimuli must cover what they promise."""

import numpy as np
import pytest

from axo.firmware.comparison import Result, compare, compare_all, describe_mismatches
from axo.firmware.stimuli import KINDS, make_stimuli
from axo.interchange.axol1tl import halved_pt
from axo.layout import find_layout
from axo.network import FixedType, Linear, Network, Shift, SumOfSquares, evaluate


@pytest.fixture(scope="module")
def network():
    small = FixedType(8, 8, True, "TRN", "SAT")
    wide = FixedType(18, 18, False, "TRN", "SAT")
    shift = np.full(57, 4, np.int64)
    operations = (
        halved_pt(),
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
