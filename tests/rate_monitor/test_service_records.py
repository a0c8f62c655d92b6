"""Records are read as their schema says, and what is refused is refused with one line."""

import copy
import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.config import to_plain
from axo.controllers.interface import measurement_from_json
from axo.errors import UserError
from axo.rate_monitor.records import SCHEMA_PATH, read_record

WHOLE = {
    "run": 386554,
    "lumi_section": 17,
    "pileup": 61.3,
    "colliding_bunches": 2544,
    "seeds": [
        {
            "name": "AXO_NOMINAL",
            "threshold_word": 18500,
            "passed": 22611,
            "prescale": 1.0,
            "pure": 9000,
            "histogram": {"words": [0, 100, 20000], "counts": [5, 0, 7], "sampled": 0.01},
        },
        {"name": "HTT280", "threshold_word": 560, "passed": None},
    ],
    "start_time_s": 1.7e9,
    "duration_s": 23.31,
    "live_fraction": 0.97,
    "total_passed": 30000,
}
SCHEMA = json.loads(SCHEMA_PATH.read_text())


def test_a_whole_record_is_read_exactly():
    measurement = read_record(json.dumps(WHOLE))
    assert measurement == measurement_from_json(WHOLE)
    assert read_record(json.dumps(to_plain(measurement))) == measurement


def test_numbers_that_are_none_are_not_known():
    text = json.dumps(WHOLE | {"pileup": float("nan"), "live_fraction": float("inf")})
    measurement = read_record(text)
    assert measurement.pileup is None and measurement.live_fraction is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1, 2]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ("[" * 100_000, "not JSON"),
        ('{"run": 1, "run": 2}', "'run' twice"),
        (json.dumps(WHOLE | {"lumisection": 3}), "unknown key 'lumisection'; did you mean 'lumi_section'?"),
        (json.dumps({key: WHOLE[key] for key in WHOLE if key != "pileup"}), "no key 'pileup'"),
        (json.dumps(WHOLE | {"run": "386554"}), "'run': must be an integer"),
        (json.dumps(WHOLE | {"run": 10**30}), "'run': must be an integer up to"),
        (json.dumps(WHOLE | {"run": True}), "'run': must be an integer"),
        (json.dumps(WHOLE).replace("386554", "1" * 6000), "not JSON"),
        (json.dumps(WHOLE | {"seeds": WHOLE["seeds"][:1] * 2}), "same name"),
        (json.dumps(WHOLE | {"seeds": {}}), "must be a list"),
    ],
)
def test_what_cannot_be_understood_is_one_line(text, said):
    with pytest.raises(UserError) as error:
        read_record(text)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    "histogram",
    [
        {"words": [1, 2], "counts": [1]},
        {"words": [2, 1], "counts": [1, 1]},
        {"words": [], "counts": []},
        {"words": [1], "counts": [-1]},
        {"words": [1], "counts": [1], "sampled": 0},
        {"words": [1], "counts": [1.5]},
    ],
)
def test_a_histogram_that_is_none_is_refused(histogram):
    wrong = copy.deepcopy(WHOLE)
    wrong["seeds"][0]["histogram"] = histogram
    with pytest.raises(UserError, match="histogram"):
        read_record(json.dumps(wrong))


def places(value, path=()):
    """Every place inside a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(place, new):
    """WHOLE with `new` at `place`; a missing value removes it."""
    value = copy.deepcopy(WHOLE)
    if not place:
        return new
    holder = value
    for key in place[:-1]:
        holder = holder[key]
    if new is None and isinstance(holder, dict) and place[-1] in ("pure", "sampled", "run", "name"):
        del holder[place[-1]]
    else:
        holder[place[-1]] = new
    return value


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**17),
    st.floats(-2, 2),
    st.text(max_size=3),
    st.just([]),
    st.just({}),
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(places(WHOLE), key=str)), JUNK)
def test_reader_and_schema_agree_on_what_a_record_is(place, new):
    """Beyond the schema's reach are only: names that are unique, words that rise, counts as many as words.

    JSON Schema takes 1.0 for an integer; the reader does not, and neither should a writer write it.
    """
    value = changed(place, new)
    valid = not list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(value))
    try:
        read_record(json.dumps(value))
    except UserError as error:
        beyond = ("same name", "must rise", "as many of both")
        whole_float = isinstance(new, float) and new.is_integer()
        assert not valid or whole_float or any(text in str(error) for text in beyond), error
    else:
        assert valid
