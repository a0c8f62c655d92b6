"""Partial results add exactly: any split, any order, any grouping, weights included."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.emulator.partial import OBJECTS_STEP, WEIGHT_LIMITS, Partial, Tally, add, exact_digits, measure
from axo.errors import UserError
from axo.events import Events
from tests.events.conftest import hardware_words

weights = st.floats(*WEIGHT_LIMITS) | st.floats(*WEIGHT_LIMITS).map(lambda w: -w) | st.just(0.0)


@given(st.lists(weights, max_size=30))
def test_sums_of_weights_are_the_nearest_to_the_exact_ones(values):
    array = np.array(values, np.float64)
    (total,), (squares,) = Tally.of(np.zeros(len(array)), array).sums() if values else ([0.0], [0.0])
    assert total == float(sum(map(Fraction, values)))
    assert squares == float(sum(Fraction(w * w) for w in values))


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_weight_that_cannot_be_summed_exactly_is_refused(value):
    low, high = (limit**2 for limit in WEIGHT_LIMITS)
    if value == 0 or low <= abs(value) <= high:
        digits = exact_digits(np.array([value]))[0].tolist()
        assert sum(Fraction(d) * Fraction(2) ** (24 * i - 144) for i, d in enumerate(digits)) == Fraction(
            value
        )
    else:
        with pytest.raises(ValueError, match="too large or too small"):
            exact_digits(np.array([value]))


def events_of(rng, n, weighted):
    return Events(
        hardware_words(rng, n),
        run=rng.integers(1, 3, n),
        luminosity_block=rng.integers(1, 5, n),
        pileup=rng.uniform(0, 80, n),
        average_pileup=rng.uniform(0, 80, n),
        # Magnitudes far apart: float sums of these depend on their order.
        weight=np.exp2(rng.uniform(-39, 39, n)) * rng.choice([-1, 1], n) if weighted else None,
        seed_bits=rng.random((n, 4)) < 0.1,
        seed_names=("a", "b", "c", "d"),
    )


def assert_equal(a: Partial, b: Partial):
    left, right = a.arrays(), b.arrays()
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], name, strict=True)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.booleans(), st.integers(0, 60), st.data())
def test_parts_add_to_the_whole_in_any_order_and_grouping(seed, weighted, keep, data):
    rng = np.random.default_rng(seed)
    n = 200
    events = events_of(rng, n, weighted)
    score = rng.integers(0, 12, n).astype(np.int32)  # few values, so that equal ones compete for a place
    others = np.array([True, False, True, False])
    file = rng.integers(0, 3)
    whole = measure(events, score, others, file, 0, keep)
    cuts = sorted(data.draw(st.lists(st.integers(1, n - 1), unique=True, max_size=8)))
    parts = [
        measure(events[a:b], score[a:b], others, file, a, keep)
        for a, b in zip([0, *cuts], [*cuts, n], strict=True)
    ]
    while len(parts) > 1:
        i, j = data.draw(st.lists(st.integers(0, len(parts) - 1), min_size=2, max_size=2, unique=True))
        joined = parts[i] + parts[j]
        parts = [part for k, part in enumerate(parts) if k not in (i, j)] + [joined]
    assert_equal(parts[0], whole)


def test_what_is_measured():
    rng = np.random.default_rng(1)
    events = events_of(rng, 300, weighted=True)
    score = rng.integers(0, 50, 300).astype(np.int32)
    partial = measure(events, score, np.array([True, False, True, True]), 7, 1000, 10)
    pure = ~events.seed_bits[:, [0, 2, 3]].any(axis=1)
    np.testing.assert_array_equal(partial.tallies["scores"].keys, np.unique(score))
    assert partial.tallies["pure_scores"].counts.sum() == pure.sum() and partial.events == 300
    np.testing.assert_array_equal(partial.tallies["seeds"].counts, events.seed_bits.sum(axis=0))
    weight_of_b = partial.tallies["seeds"].sums()[0][1]
    assert weight_of_b == math.fsum(events.weight[events.seed_bits[:, 1]])
    kept = partial.kept
    assert kept.score.tolist() == sorted(score.tolist(), reverse=True)[:10] and set(kept.file) == {7}
    np.testing.assert_array_equal(kept.events.words, events.words[kept.row - 1000])
    np.testing.assert_array_equal(kept.pure, pure[kept.row - 1000])
    jets = (events.words[:, 27::3] > 0).sum(axis=1)
    objects = dict(zip(partial.tallies["objects"].keys, partial.tallies["objects"].counts, strict=True))
    assert [objects.get(OBJECTS_STEP * 3 + k, 0) for k in range(11)] == np.bincount(
        jets, minlength=11
    ).tolist()
    section = (2 << 32) + 3
    here = (events.run == 2) & (events.luminosity_block == 3)
    position = partial.tallies["sections"].keys.tolist().index(section)
    assert partial.tallies["sections"].counts[position] == here.sum()
    assert partial.tallies["section_pileup"].sums()[0][position] == math.fsum(
        events.average_pileup[here].astype(float)
    )


def test_files_that_know_different_things_do_not_add():
    rng = np.random.default_rng(2)
    events = events_of(rng, 10, weighted=False)
    score = np.zeros(10, np.int32)
    bare = Events(events.words)
    with pytest.raises(
        UserError, match="only some have pileup, pure_scores, section_pileup, sections, seeds"
    ):
        add([measure(events, score, np.ones(4, bool), 0, 0, 5), measure(bare, score, None, 1, 0, 5)])
    with pytest.raises(UserError, match="only some have weights"):
        add([measure(e, score, None, 0, 0, 5) for e in (bare, Events(events.words, weight=np.ones(10)))])


def test_weights_of_any_size_are_refused_by_name():
    events = Events(np.zeros((2, 57), np.int16), weight=np.array([1.0, 1e30]))
    with pytest.raises(ValueError, match="too large or too small"):
        measure(events, np.zeros(2, np.int32), None, 0, 0, 1)
