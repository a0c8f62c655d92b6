import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axo.config import to_plain
from axo.errors import UserError
from axo.physics.pileup_model import (
    MOST_INTERACTIONS,
    PileupModel,
    TailFit,
    count_scores,
    fit_pileup_model,
    fit_tail,
    read_score_by_pileup,
    score_bins,
    signal_efficiency,
    write_score_by_pileup,
)

EVENTS = 400_000


def true_survival(score, interactions):
    """Events of n interactions pass a score s > 100 with probability exp(-(s - 100) / (10 + n))."""
    return np.exp(-(score - 100) / (10 + interactions))


@pytest.fixture(scope="module")
def events():
    rng = np.random.default_rng(20261122)
    interactions = rng.poisson(rng.uniform(20, 65, EVENTS))
    scores = 100 + rng.exponential(10.0 + interactions)
    return np.floor(scores).astype(np.int64), interactions


@pytest.fixture(scope="module")
def table(events):
    scores, interactions = events
    return count_scores(scores, interactions, score_bins(scores), "digest", "test")


@pytest.fixture(scope="module")
def model(table):
    return fit_pileup_model(table)


def mixed_survival(score, pileup):
    n = np.arange(200)
    log_poisson = n * math.log(pileup) - pileup - np.array([math.lgamma(k + 1) for k in n])
    return float((np.exp(log_poisson) * true_survival(score, n)).sum())


@pytest.mark.parametrize("pileup", [25.0, 40.0, 60.0])
@pytest.mark.parametrize("fraction", [0.02, 0.002, 0.0002])
def test_the_model_finds_the_truth(model, pileup, fraction):
    """Within 4 standard errors of as many events as the sample has near there, or 15 %."""
    scores = np.arange(100, 3000)
    survival = np.array([mixed_survival(score, pileup) for score in scores])
    word = int(scores[np.argmin(np.abs(np.log(survival / fraction)))])
    expected = mixed_survival(word, pileup)
    error = max(4 / math.sqrt(0.3 * EVENTS * expected), 0.15)
    assert float(np.exp(model.log_fraction(word, pileup))) == pytest.approx(expected, rel=error)


def test_counts_are_of_each_event_once(table, events):
    scores, interactions = events
    assert table.events.sum() == EVENTS
    assert (table.events == np.bincount(interactions, minlength=MOST_INTERACTIONS + 1)).all()
    above = table.counts.sum(axis=0)[::-1].cumsum()[::-1]
    assert above.tolist() == [(scores >= word).sum() for word in table.words]


def test_counts_of_parts_add_to_those_of_the_whole(table, events):
    scores, interactions = events
    parts = [
        count_scores(scores[rows], interactions[rows], table.words, "digest", "part")
        for rows in (slice(0, 1000), slice(1000, None))
    ]
    whole = parts[0] + parts[1]
    assert np.array_equal(whole.counts, table.counts)
    assert np.array_equal(whole.events, table.events)
    with pytest.raises(ValueError):
        _ = whole + count_scores(scores, interactions, table.words, "other", "test")


@given(st.floats(1.0, 90.0), st.floats(-14.0, -4.0))
def test_word_and_fraction_are_inverse(pileup, log_fraction):
    model = PileupModel(
        TailFit((100.0, 200.0, 400.0), (0.5, -1.0, 0.0, 0.0, 0.0), ((0.1, -0.3), (0.2, -0.1)))
    )
    word = model.word_at(log_fraction, pileup)
    if word > 100:
        assert float(model.log_fraction(word, pileup)) == pytest.approx(log_fraction, abs=1e-9)
    else:
        assert float(model.log_fraction(100, pileup)) <= log_fraction + 1e-9


def test_rates_fall_with_the_threshold_and_rise_with_pileup(model):
    words = np.arange(model.first_word, 3000, 7)
    assert (np.diff(model.log_fraction(words, 50.0)) < 0).all()
    assert (np.diff([float(model.log_fraction(900, pileup)) for pileup in range(10, 90)]) > 0).all()


def test_the_model_is_silent_below_its_first_word(model):
    with pytest.raises(ValueError, match="knows no scores below"):
        model.log_fraction(model.first_word - 2, 50.0)


def test_file_and_fit_through_json_are_the_same(table, tmp_path):
    scores = np.array([120, 500, 5000])
    bins = np.searchsorted(table.words, scores, side="right") - 1
    counts = np.bincount(bins[bins >= 0], minlength=len(table.words))
    table = type(table)(**(vars(table) | {"signals": {"h": (3, counts)}}))
    write_score_by_pileup(tmp_path / "t.json", table)
    again = read_score_by_pileup(tmp_path / "t.json")
    assert np.array_equal(again.counts, table.counts)
    assert np.array_equal(again.events, table.events)
    assert (again.network, again.origin) == ("digest", "test")
    assert signal_efficiency(again, "h", table.words[-1]) == pytest.approx(1 / 3)
    fit = fit_tail(again)
    assert fit == fit_tail(table)
    document = json.loads(json.dumps(to_plain(fit)))
    pairs = tuple((a, b) for a, b in document["steps"])
    assert TailFit(tuple(document["knots"]), tuple(document["start"]), pairs) == fit


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("words"),
        lambda d: d["words"].reverse(),
        lambda d: d["counts"].pop(),
        lambda d: d["counts"].__setitem__(30, "9 -1"),
        lambda d: d["counts"].__setitem__(30, "x"),
        lambda d: d["counts"].__setitem__(30, "999999999"),
        lambda d: d.update(signals=3),
    ],
)
def test_a_damaged_file_is_one_clear_line(table, tmp_path, damage):
    path = tmp_path / "t.json"
    write_score_by_pileup(path, table)
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"t.json: is damaged \([^\n]+\)$"):
        read_score_by_pileup(path)


def test_another_file_is_not_taken_for_one(tmp_path):
    (tmp_path / "t.json").write_text("[]")
    with pytest.raises(UserError, match="is not a table of scores by pileup"):
        read_score_by_pileup(tmp_path / "t.json")


def test_too_few_events_are_refused():
    with pytest.raises(UserError, match="too few"):
        score_bins(np.arange(100))
