"""Lumi-section records: one JSON object a line, read strictly.

The format is `lumi_section_record.schema.json` beside this module, and is what
``axo.config.to_plain`` makes of a Measurement. Whatever cannot be understood exactly (an
unknown or doubled key, a wrong type, a histogram that is none) is refused with one line; numbers that are
only implausible (negative, NaN) are left to the guard, which holds the threshold and says why.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from axo.controllers.interface import (
    Measurement,
    ScoreCounts,
    SeedMeasurement,
)
from axo.errors import UserError, nearest

SCHEMA_PATH = Path(__file__).with_name("lumi_section_record.schema.json")

LARGEST = 2**53
"""Integers beyond this are no counts, and not exact in other languages' JSON."""

_RECORD_KEYS = (
    "run",
    "lumi_section",
    "pileup",
    "colliding_bunches",
    "seeds",
    "start_time_s",
    "duration_s",
    "live_fraction",
    "total_passed",
)
_SEED_KEYS = ("name", "threshold_word", "passed", "prescale", "pure", "histogram")
_HISTOGRAM_KEYS = ("words", "counts", "sampled")


def read_record(text: str) -> Measurement:
    """The measurement in one line of JSON. Raises UserError saying what is wrong, and with which key."""
    try:
        mapping = json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise UserError(f"is not JSON ({error or 'nested too deeply'})") from error
    _check_keys(mapping, "the record", _RECORD_KEYS, 5)
    seeds = mapping["seeds"]
    if not isinstance(seeds, list):
        raise UserError(f"key 'seeds': must be a list, not {_shown(seeds)}")
    read = tuple(_seed(item, number) for number, item in enumerate(seeds))
    names = [seed.name for seed in read]
    if len(set(names)) != len(names):
        raise UserError("key 'seeds': two have the same name")
    values = {key: _number(mapping[key], key) for key in _RECORD_KEYS[5:] if key in mapping}
    return Measurement(
        run=_integer(mapping["run"], "run"),
        lumi_section=_integer(mapping["lumi_section"], "lumi_section"),
        pileup=_number(mapping["pileup"], "pileup"),
        colliding_bunches=None
        if mapping["colliding_bunches"] is None
        else _integer(mapping["colliding_bunches"], "colliding_bunches"),
        seeds=read,
        **values,
    )


def _seed(mapping: Any, number: int) -> SeedMeasurement:
    place = f"seeds[{number}]"
    _check_keys(mapping, place, _SEED_KEYS, 3)
    name = mapping["name"]
    if not isinstance(name, str):
        raise UserError(f"key '{place}.name': must be a text, not {_shown(name)}")
    prescale = _number(mapping.get("prescale", 1.0), f"{place}.prescale")
    if prescale is None:
        raise UserError(f"key '{place}.prescale': must be a number, not null")
    return SeedMeasurement(
        name=name,
        threshold_word=_integer(mapping["threshold_word"], f"{place}.threshold_word"),
        passed=_number(mapping["passed"], f"{place}.passed"),
        prescale=prescale,
        pure=_number(mapping.get("pure"), f"{place}.pure"),
        histogram=_histogram(mapping.get("histogram"), f"{place}.histogram"),
    )


def _histogram(mapping: Any, place: str) -> ScoreCounts | None:
    if mapping is None:
        return None
    _check_keys(mapping, place, _HISTOGRAM_KEYS, 2)
    words, counts = (_integers(mapping[key], f"{place}.{key}") for key in ("words", "counts"))
    if len(words) != len(counts) or not words:
        raise UserError(f"key '{place}': {len(words)} words and {len(counts)} counts; needs as many of both")
    if words[0] < 0 or words != tuple(sorted(set(words))):
        raise UserError(f"key '{place}.words': must rise from 0 or more")
    if min(counts) < 0:
        raise UserError(f"key '{place}.counts': has {min(counts)}, below 0")
    sampled = _number(mapping.get("sampled", 1.0), f"{place}.sampled")
    if sampled is None or not 0 < sampled <= 1:
        raise UserError(f"key '{place}.sampled': must be above 0 and at most 1")
    return ScoreCounts(words, counts, sampled)


def _check_keys(mapping: Any, place: str, keys: tuple[str, ...], required: int) -> None:
    if not isinstance(mapping, dict):
        raise UserError(f"{place} must be a JSON object, not {_shown(mapping)}")
    for key in mapping:
        if key not in keys:
            raise UserError(f"{place} has an unknown key {key!r}{nearest(key, list(keys))}")
    for key in keys[:required]:
        if key not in mapping:
            raise UserError(f"{place} has no key {key!r}")


def _integer(value: Any, place: str) -> int:
    if type(value) is not int or abs(value) > LARGEST:
        raise UserError(f"key '{place}': must be an integer up to {LARGEST}, not {_shown(value)}")
    return value


def _integers(value: Any, place: str) -> tuple[int, ...]:
    if not isinstance(value, list) or set(map(type, value)) - {int}:
        raise UserError(f"key '{place}': must be a list of integers")
    if value and max(max(value), -min(value)) > LARGEST:
        raise UserError(f"key '{place}': has an integer beyond {LARGEST}")
    return tuple(value)


def _number(value: Any, place: str) -> float | None:
    if value is None:
        return None
    if type(value) is int:
        return float(value) if abs(value) < 10**300 else math.nan
    if type(value) is not float:
        raise UserError(f"key '{place}': must be a number, not {_shown(value)}")
    return value if math.isfinite(value) else math.nan


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} twice")
    return mapping


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge integer"
    return text if len(text) <= 40 else text[:37] + "..."
