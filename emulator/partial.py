"""Partial results of a replay that add exactly, in any order and any grouping.

Additivity, precisely: for any split of the events into parts, and any order and grouping of the
additions, the sum of the parts' results equals the result of the whole, integer for integer. Counts
are integers. Sums of weights are kept as exact integers too (every float64 is one, times a power of
two), so that float rounding cannot depend on the order. The kept events are the first K of a total
order (falling score, then file, then row), and the first K of a union are among the first K of its parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError
from axo.events import COLUMNS, Events, column_slice, concatenate
from axo.layout import Kind, Layout, layout_document, parse_layout
from axo.physics.rates import pure_mask

OBJECTS_STEP = 1 << 16
"""Keys of objects: more than there are objects of a kind."""

Ints = NDArray[np.int64]
Arrays = dict[str, NDArray[Any]]

# A weight is cut into digits of 24 bits; the lowest digit counts 2**-144. Ten of them hold weights
# and their squares within the limits below, and each digit of a sum has room for 2**39 events.
_DIGIT_BITS, _DIGITS, _LOWEST = 24, 10, -144
WEIGHT_LIMITS = (2.0**-40, 2.0**40)
"""Smallest and largest magnitude of a weight other than 0."""


@dataclass(frozen=True, eq=False)
class Tally:
    """Events by integer key: `keys` (k,) rising, `counts` (k,), and with weights their exact sums.

    `digits` is (k, 2, 10) int64 or None: the digits of the sums of weights and of their squares
    (each square rounded to float64).
    """

    keys: Ints
    counts: Ints
    digits: Ints | None = None

    @classmethod
    def of(cls, keys: ArrayLike, weights: NDArray[np.float64] | None = None) -> Tally:
        """Of one integer key (n,) an event, with optional weights (n,)."""
        unique, index, counts = np.unique(np.asarray(keys, np.int64), return_inverse=True, return_counts=True)
        if weights is None:
            return cls(unique, counts.astype(np.int64))
        # Often few weights differ: each is cut into digits once for a key.
        values, kind = np.unique(weights, return_inverse=True)
        pairs, times = np.unique(index * len(values) + kind, return_counts=True)
        position, chosen = pairs // max(len(values), 1), values[pairs % max(len(values), 1)]
        digits = np.zeros((len(unique), 2, _DIGITS), np.int64)
        np.add.at(digits[:, 0], position, exact_digits(chosen) * times[:, None])
        np.add.at(digits[:, 1], position, exact_digits(chosen * chosen) * times[:, None])
        return cls(unique, counts.astype(np.int64), digits)

    @classmethod
    def empty(cls, weighted: bool = False) -> Tally:
        """No events."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, np.zeros((0, 2, _DIGITS), np.int64) if weighted else None)

    @classmethod
    def sum(cls, tallies: Iterable[Tally]) -> Tally:
        """All of at least one tally together; ValueError when only some have weights."""
        parts = list(tallies)
        if len({part.digits is None for part in parts}) != 1:
            raise ValueError("tallies with and without weights do not add")
        keys, index = np.unique(np.concatenate([part.keys for part in parts]), return_inverse=True)
        counts = np.zeros(len(keys), np.int64)
        np.add.at(counts, index, np.concatenate([part.counts for part in parts]))
        if parts[0].digits is None:
            return cls(keys, counts)
        digits = np.zeros((len(keys), 2, _DIGITS), np.int64)
        np.add.at(digits, index, np.concatenate([part.digits for part in parts if part.digits is not None]))
        return cls(keys, counts, digits)

    def __add__(self, other: Tally) -> Tally:
        return Tally.sum([self, other])

    def sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sums of weights and of their squares (k,), each the float64 nearest to the exact one.

        Without weights both are the counts.
        """
        if self.digits is None:
            return self.counts.astype(np.float64), self.counts.astype(np.float64)
        return _floats(self.digits[:, 0]), _floats(self.digits[:, 1])

    def above(self) -> Tally:
        """For each key the sum of this and all higher ones, and 0 for a last key beyond all."""
        beyond = self.keys[-1:] + 1 if len(self.keys) else np.zeros(1, np.int64)
        counts = np.append(np.cumsum(self.counts[::-1])[::-1], 0)
        digits = None
        if self.digits is not None:
            sums = np.cumsum(self.digits[::-1], axis=0)[::-1]
            digits = np.concatenate([sums, np.zeros((1, 2, _DIGITS), np.int64)])
        return Tally(np.append(self.keys, beyond), counts, digits)

    def __getitem__(self, rows: slice) -> Tally:
        """The entries at `rows`."""
        return Tally(self.keys[rows], self.counts[rows], None if self.digits is None else self.digits[rows])

    def arrays(self, prefix: str) -> Arrays:
        """Its arrays by name, for a file."""
        found = {f"{prefix}.keys": self.keys, f"{prefix}.counts": self.counts}
        return found if self.digits is None else {**found, f"{prefix}.digits": self.digits}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str) -> Tally:
        """What `arrays` gave; KeyError when there is none of that prefix."""
        return cls(arrays[f"{prefix}.keys"], arrays[f"{prefix}.counts"], arrays.get(f"{prefix}.digits"))


def exact_digits(values: NDArray[np.float64]) -> Ints:
    """The digits (n, 10) of float64 `values` (n,): their sum, each times its power of two, is exact.

    Raises ValueError for a magnitude beyond the squares of WEIGHT_LIMITS.
    """
    magnitude = np.abs(values)
    low, high = (limit * limit for limit in WEIGHT_LIMITS)
    if ((magnitude > high) | ((magnitude < low) & (magnitude > 0)) | ~np.isfinite(magnitude)).any():
        raise ValueError("weights are too large or too small to be summed exactly")
    fraction, exponent = np.frexp(magnitude)
    mantissa = np.ldexp(fraction, 53).astype(np.int64)
    # 0 has exponent 0 whatever its digits.
    first, shift = np.divmod(exponent.astype(np.int64) - 53 - _LOWEST, _DIGIT_BITS)
    digits = np.zeros((len(values), _DIGITS + 4), np.int64)
    rows, mask = np.arange(len(values)), (1 << _DIGIT_BITS) - 1
    for i in range(3):
        part = ((mantissa >> (_DIGIT_BITS * i)) & mask) << shift
        digits[rows, first + i] += part & mask
        digits[rows, first + i + 1] += part >> _DIGIT_BITS
    return np.where(values < 0, -1, 1)[:, None] * digits[:, :_DIGITS]


def _floats(digits: Ints) -> NDArray[np.float64]:
    """The float64 nearest to each exact sum."""
    unit = Fraction(2) ** _LOWEST
    totals = (sum(digit << (_DIGIT_BITS * i) for i, digit in enumerate(row)) for row in digits.tolist())
    return np.array([float(total * unit) for total in totals], np.float64)


@dataclass(frozen=True, eq=False)
class Kept:
    """The most anomalous events, in the order of falling `score`, then `file`, then `row`.

    `score` (n,) int32, `file` (n,) int32 counts the files of the job, `row` (n,) int64 the events of
    a file, `pure` (n,) bool; `events` has their words, columns and seed bits, no extras.
    """

    score: NDArray[np.int32]
    file: NDArray[np.int32]
    row: Ints
    pure: NDArray[np.bool_]
    events: Events

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Kept:
        return Kept(self.score[rows], self.file[rows], self.row[rows], self.pure[rows], self.events[rows])

    @classmethod
    def join(cls, parts: list[Kept], limit: int) -> Kept:
        """The first `limit` of all events in `parts`, in order."""
        parts = [part for part in parts if len(part)] or parts[:1]
        score = np.concatenate([part.score for part in parts])
        file, row = np.concatenate([p.file for p in parts]), np.concatenate([p.row for p in parts])
        order = np.lexsort((row, file, -score.astype(np.int64)))[:limit]
        pure = np.concatenate([part.pure for part in parts])
        events = concatenate([part.events for part in parts])
        return cls(score[order], file[order], row[order], pure[order], events[order])

    def arrays(self) -> Arrays:
        """Its arrays by name, for a file."""
        found: Arrays = {f"kept.{name}": getattr(self, name) for name in ("score", "file", "row", "pure")}
        found["kept.words"] = self.events.words
        text = json.dumps(layout_document(self.events.layout))
        found["kept.layout"] = np.frombuffer(text.encode(), np.uint8)
        return found | {f"kept.{name}": getattr(self.events, name) for name in self.events.columns}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], seed_names: tuple[str, ...]) -> Kept:
        """What `arrays` gave."""
        names = (name for name in (*COLUMNS, "seed_bits") if f"kept.{name}" in arrays)
        columns: dict[str, Any] = {name: arrays[f"kept.{name}"] for name in names}
        layout = parse_layout(json.loads(arrays["kept.layout"].tobytes()), "layout of the kept events")
        events = Events(
            arrays["kept.words"],
            **columns,
            layout=layout,
            seed_names=seed_names if "seed_bits" in columns else (),
            pt_ordered=False,
        )
        score, file, row, pure = (arrays[f"kept.{name}"] for name in ("score", "file", "row", "pure"))
        return cls(score, file, row, pure, events)


@dataclass(frozen=True, eq=False)
class Partial:
    """What is known about some events of a sample; `a + b` is what is known about both.

    `tallies` by name, each key of which is

    * ``scores``: the score word; ``pure_scores``: that of events in which no other seed fired;
    * ``seeds``: the position of a seed that fired;
    * ``objects``: OBJECTS_STEP times the position of the kind, plus how many there are, of `counted_kinds`;
    * ``sections``: run * 2**32 + lumi section; ``section_pileup``: the same, weighted with average pileup;
    * ``pileup``: interactions in the crossing, rounded down.

    What the source does not know is not there. `kept` are the `keep` most anomalous events.
    """

    tallies: dict[str, Tally]
    kept: Kept
    keep: int

    def __add__(self, other: Partial) -> Partial:
        return add([self, other])

    @property
    def events(self) -> int:
        """Number of events."""
        return int(self.tallies["scores"].counts.sum())

    def arrays(self) -> Arrays:
        """All arrays by name, for a file."""
        found = self.kept.arrays() | {"keep": np.array(self.keep)}
        for name, tally in self.tallies.items():
            found |= tally.arrays(name)
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], seed_names: tuple[str, ...]) -> Partial:
        """What `arrays` gave; KeyError when something is missing."""
        names = (name.removesuffix(".keys") for name in arrays if name.endswith(".keys"))
        tallies = {name: Tally.from_arrays(arrays, name) for name in names}
        return cls(tallies, Kept.from_arrays(arrays, seed_names), int(arrays["keep"]))


def add(partials: list[Partial]) -> Partial:
    """The sum of at least one partial result.

    Raises UserError when they know different things (lumi sections, pileup, weights) or are of events of
    different layouts.
    """
    layouts = {partial.kept.events.layout.digest: partial.kept.events.layout.name for partial in partials}
    if len(layouts) > 1:
        names = ", ".join(sorted(layouts.values()))
        raise UserError(f"the files have different layouts ({names}); replay them one by one")
    known = [partial.tallies.keys() for partial in partials]
    differ = {name for names in known for name in names if any(name not in other for other in known)}
    if len({partial.tallies["scores"].digits is None for partial in partials}) != 1:
        differ.add("weights")
    if differ:
        raise UserError(
            f"the files do not know the same things: only some have {', '.join(sorted(differ))}; "
            "replay them one by one"
        )
    tallies = {name: Tally.sum(partial.tallies[name] for partial in partials) for name in partials[0].tallies}
    keep = partials[0].keep
    return Partial(tallies, Kept.join([partial.kept for partial in partials], keep), keep)


def measure(
    events: Events,
    score: NDArray[np.int32],
    others: NDArray[np.bool_] | None,
    file: int,
    first_row: int,
    keep: int,
) -> Partial:
    """The partial result of `events` with their `score` words (n,).

    `others` (n_seeds,) are the seeds whose decision makes another one not pure; None without seeds.
    `file` and `first_row` say where the events are from. Raises ValueError for weights beyond
    WEIGHT_LIMITS.
    """
    weights, seeds = events.weight, None if others is None else events.seed_bits
    pure = np.zeros(len(events), bool)
    tallies = {"scores": Tally.of(score, weights), "objects": _objects(events)}
    if seeds is not None:
        pure = pure_mask(np.ones(len(events), bool), seeds, others)
        tallies["pure_scores"] = Tally.of(score[pure], None if weights is None else weights[pure])
        tallies["seeds"] = _fired(seeds, weights)
    if events.luminosity_block is not None:
        run = np.zeros(len(events), np.int64) if events.run is None else events.run.astype(np.int64)
        section = (run << 32) + events.luminosity_block
        tallies["sections"] = Tally.of(section, weights)
        if events.average_pileup is not None:
            tallies["section_pileup"] = Tally.of(section, events.average_pileup.astype(np.float64))
    if events.pileup is not None:
        tallies["pileup"] = Tally.of(np.floor(events.pileup), weights)
    rows = _best(score, keep)
    best = replace(events[rows], extras={}, pt_ordered=False)
    if seeds is None:
        best = replace(best, seed_bits=None, seed_names=())
    kept = Kept(score[rows], np.full(len(rows), file, np.int32), first_row + rows, pure[rows], best)
    return Partial(tallies, Kept.join([kept], keep), keep)


def _best(score: NDArray[np.int32], keep: int) -> NDArray[np.intp]:
    """Rows of the `keep` highest scores, the first of equal ones."""
    if keep >= len(score):
        return np.arange(len(score))
    return np.sort(np.argsort(-score.astype(np.int64), kind="stable")[:keep])


def _fired(seeds: NDArray[np.bool_], weights: NDArray[np.float64] | None) -> Tally:
    if weights is not None:
        rows, positions = np.nonzero(seeds)
        return Tally.of(positions, weights[rows])
    counts = np.count_nonzero(seeds, axis=0)
    ever = np.flatnonzero(counts)
    return Tally(ever.astype(np.int64), counts[ever].astype(np.int64))


def counted_kinds(layout: Layout) -> list[tuple[int, Kind]]:
    """The kinds whose objects may be absent, so that it is told how many there are, with their positions."""
    return [(position, kind) for position, kind in enumerate(layout.kinds) if kind.present == "pt"]


def objects_keys(events: Events) -> Ints:
    """The keys of the tally ``objects`` of every event, (kinds, n)."""
    kinds = counted_kinds(events.layout)
    keys = np.empty((len(kinds), len(events)), np.int64)
    for row, (position, kind) in zip(keys, kinds, strict=True):
        pt = events.words[:, column_slice(events.layout, kind.name, "pt")]
        row[:] = OBJECTS_STEP * position + np.count_nonzero(pt > 0, axis=1)
    return keys


def _objects(events: Events) -> Tally:
    keys = objects_keys(events)
    weights = None if events.weight is None else np.tile(events.weight, len(keys))
    return Tally.of(keys.ravel(), weights)


class Sum:
    """A running sum of partial results that adds in batches, which costs less than one by one."""

    def __init__(self, batch: int = 16) -> None:
        self._parts: list[Partial] = []
        self._batch = batch

    def add(self, partial: Partial) -> None:
        """Count `partial` in."""
        self._parts.append(partial)
        if len(self._parts) >= self._batch:
            self._parts = [add(self._parts)]

    def result(self) -> Partial:
        """The sum of all that were added, at least one."""
        return add(self._parts)
