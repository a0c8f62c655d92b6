"""Configurations from YAML."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axo.config import parse, read_config, to_plain
from axo.errors import UserError


@dataclass(frozen=True)
class Inner:
    size: int = 3

    def __post_init__(self):
        if self.size < 1:
            raise UserError("size must be positive")


@dataclass(frozen=True)
class Outer:
    name: str
    rate_khz: float = 1.0
    strict: bool = False
    limit: int | None = None
    shape: tuple[int, int] = (1, 2)
    files: tuple[str, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)


def test_every_kind_of_value(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "name: x\nrate_khz: 2\nstrict: true\nlimit: null\nshape: [3, 4]\nfiles: [a, b]\n"
        "weights: {MET: 1}\ninner: {size: 5}\n"
    )
    config = read_config(path, Outer)
    assert config == Outer("x", 2.0, True, None, (3, 4), ("a", "b"), {"MET": 1.0}, Inner(5))
    assert type(config.rate_khz) is float


def test_defaults_stay():
    assert parse(Outer, {"name": "x"}, "c") == Outer("x")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"name": "x", "rate_kh": 1}, "c: unknown key 'rate_kh'; did you mean 'rate_khz'?"),
        ({"name": "x", "inner": {"siz": 1}}, "c: inner: unknown key 'siz'; did you mean 'size'?"),
        ({}, "c: key 'name' is missing"),
        ({"name": 3}, "c: name: must be a text, not 3"),
        ({"name": "x", "strict": 1}, "c: strict: must be true or false, not 1"),
        ({"name": "x", "rate_khz": True}, "c: rate_khz: must be a number, not True"),
        ({"name": "x", "rate_khz": "1e-3"}, "c: rate_khz: must be a number, not '1e-3'; write 0.001"),
        ({"name": "x", "limit": 1.5}, "c: limit: must be an integer, not 1.5"),
        ({"name": "x", "shape": [1]}, "c: shape: must have 2 entries, not 1"),
        ({"name": "x", "files": "a"}, "c: files: must be a list, not 'a'"),
        ({"name": "x", "files": ["a", 1]}, "c: files[1]: must be a text, not 1"),
        ({"name": "x", "weights": [1]}, "c: weights: must be a mapping"),
        ({"name": "x", "weights": {"MET": "much"}}, "c: weights: MET: must be a number, not 'much'"),
        ({"name": "x", "inner": {"size": 0}}, "c: inner: size must be positive"),
        ({"name": "x", "inner": None}, "c: inner: must be a mapping"),
    ],
)
def test_faults_name_place_and_key(mapping, message):
    with pytest.raises(UserError) as error:
        parse(Outer, mapping, "c")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "is not YAML"),
        ("- a\n- b\n", "must be a mapping"),
        ("", "must be a mapping"),
        ("1: a\n", "must be a mapping"),
        ("name: x\nname: y\n", "key 'name' twice"),
        ("inner: {size: 1, size: 2}\n", "key 'size' twice"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_config(path, Outer)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_absent_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_config(tmp_path / "none.yaml", Outer)


CONFIGS = st.builds(
    Outer,
    name=st.text(),
    rate_khz=st.floats(allow_nan=False, allow_infinity=False),
    strict=st.booleans(),
    limit=st.none() | st.integers(),
    shape=st.tuples(st.integers(), st.integers()),
    files=st.lists(st.text(), max_size=3).map(tuple),
    weights=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    inner=st.builds(Inner, st.integers(1, 9)),
)


@given(config=CONFIGS, defaults=st.booleans())
def test_plain_values_are_read_back_through_json(config, defaults):
    document = json.loads(json.dumps(to_plain(config, defaults), allow_nan=False))
    assert parse(Outer, document, "c") == config


def test_plain_values():
    config = Outer("x", shape=(3, 4), inner=Inner(5))
    assert to_plain(config, defaults=False) == {
        "name": "x",
        "shape": [3, 4],
        "weights": {},  # made by a factory: always there
        "inner": {"size": 5},
    }
    assert to_plain((Inner(), {"a": Inner(2)})) == [{"size": 3}, {"a": {"size": 2}}]


@pytest.mark.parametrize("value", [{1, 2}, object(), Inner, b"bytes"])
def test_what_has_no_place_in_json_is_refused(value):
    with pytest.raises(TypeError, match="no JSON value"):
        to_plain({"key": value})
