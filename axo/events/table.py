"""The event table: hardware words as a layout says, and what is known beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.layout import Layout, Quantity, default_layout, find_layout
from axo.layout.checks import check_words
from axo.layout.units import physical

if TYPE_CHECKING:
    from axo.network import Network

Words = NDArray[Any]
"""(n, n_words) of the layout's dtype, int16 or int32."""

COLUMNS = {
    "run": np.uint32,
    "luminosity_block": np.uint32,
    "event": np.uint64,
    "bunch_crossing": np.uint16,
    "orbit": np.uint32,
    "pileup": np.float32,
    "average_pileup": np.float32,
    "weight": np.float64,
}
"""The optional columns of Events, (n,) each, with their types."""


@dataclass(frozen=True)
class Extra:
    """A quantity of the layout `cms_gt` that may stand beside the words of a layout without it.

    It has one column for every object of `kind` in the words, and is (n,) for a kind of one object.
    """

    kind: str
    role: str

    @cached_property
    def quantity(self) -> Quantity:
        """The quantity as `cms_gt` says."""
        return find_layout("cms_gt").kind(self.kind).quantity(self.role)

    @property
    def low(self) -> int:
        """Smallest value; a charge is -1, 0 (absent or unknown) or 1."""
        return -1 if self.role == "charge" else 0

    @property
    def high(self) -> int:
        """Largest value."""
        return (1 << self.quantity.bits) - 1

    @property
    def dtype(self) -> type[np.integer[Any]]:
        """Smallest signed type that holds them."""
        return np.int8 if self.high <= np.iinfo(np.int8).max else np.int16

    def columns(self, layout: Layout) -> int:
        """Columns a row beside words of `layout`; 0 where it has no place: no such kind, or in the words."""
        if _in_words(layout, self.kind, self.role):
            return 0
        if self.kind in layout:
            return layout.kind(self.kind).count
        whole = find_layout("cms_gt").kind(self.kind).count
        return whole if whole == 1 else 0


EXTRAS = {
    "htt_pt": Extra("HTT", "pt"),
    "ett_pt": Extra("ETT", "pt"),
    "methf_pt": Extra("ETMHF", "pt"),
    "eg_iso": Extra("EG", "isolation"),
    "mu_qual": Extra("MU", "quality"),
    "mu_charge": Extra("MU", "charge"),
}
"""What `Events.extras` may hold, beside words that lack it."""

_EXTRA_OF = {(extra.kind, extra.role): name for name, extra in EXTRAS.items()}


@dataclass(frozen=True, eq=False)
class Events:
    """n events. `words` is (n, n_words) of the dtype of `layout`, C-contiguous, in its order.

    Optional columns are (n,) or None (see COLUMNS): `luminosity_block` is the lumi section, `pileup`
    the interactions in this crossing, `average_pileup` that of its lumi section. `extras` holds some
    of EXTRAS. `seed_bits` is (n, n_seeds) bool with one name each in `seed_names`, or None.
    `pt_ordered` says that objects of a kind come as the layout's order says; recorded hardware vectors
    need not (muons are ranked by quality too). Types of columns are converted; raises ValueError for a
    wrong shape or name.
    """

    words: Words
    run: NDArray[np.uint32] | None = None
    luminosity_block: NDArray[np.uint32] | None = None
    event: NDArray[np.uint64] | None = None
    bunch_crossing: NDArray[np.uint16] | None = None
    orbit: NDArray[np.uint32] | None = None
    pileup: NDArray[np.float32] | None = None
    average_pileup: NDArray[np.float32] | None = None
    weight: NDArray[np.float64] | None = None
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)
    seed_bits: NDArray[np.bool_] | None = None
    seed_names: tuple[str, ...] = ()
    pt_ordered: bool = True
    layout: Layout = field(default_factory=default_layout)

    def __post_init__(self) -> None:
        words, due, dtype = np.asarray(self.words), len(self.layout.words), self.layout.dtype
        if words.ndim != 2 or words.shape[1] != due or words.dtype != dtype:
            raise ValueError(
                f"words of layout {self.layout.name!r} must be (n, {due}) {np.dtype(dtype)}, not "
                f"{words.shape} {words.dtype}"
            )
        self._set("words", np.ascontiguousarray(words))
        for name, column_dtype in COLUMNS.items():
            if (column := getattr(self, name)) is not None:
                self._set(name, _array(name, column, column_dtype, (len(words),)))
        if unknown := set(self.extras) - set(EXTRAS):
            raise ValueError(f"extras {sorted(unknown)} are none of {', '.join(EXTRAS)}")
        extras = {}
        for name, array in self.extras.items():
            columns = EXTRAS[name].columns(self.layout)
            if not columns:
                raise ValueError(f"extra {name!r} must be beside words that have its kind, and not it")
            shape = (len(words), columns) if columns > 1 else (len(words),)
            extras[name] = _array(name, array, EXTRAS[name].dtype, shape)
        self._set("extras", extras)
        if self.seed_bits is None and self.seed_names:
            raise ValueError("seed_names without seed_bits")
        if self.seed_bits is not None:
            shape = (len(words), len(self.seed_names))
            self._set("seed_bits", _array("seed_bits", self.seed_bits, np.bool_, shape))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Events:
        """The events at `rows`: a slice, a boolean mask (n,), or an array of indices."""
        kept: dict[str, Any] = {
            name: getattr(self, name)[rows] for name in self.columns if getattr(self, name) is not None
        }
        kept["extras"] = {name: array[rows] for name, array in self.extras.items()}
        return replace(self, words=self.words[rows], **kept)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the optional columns that are there, `seed_bits` among them."""
        return tuple(name for name in (*COLUMNS, "seed_bits") if getattr(self, name) is not None)

    def has(self, kind: str, role: str) -> bool:
        """Whether `quantity` knows it."""
        return _in_words(self.layout, kind, role) or _EXTRA_OF.get((kind, role)) in self.extras

    def quantity(self, kind: str, role: str) -> NDArray[Any]:
        """A role (or name) of every object of `kind`, (n, count): from the words, else from `extras`.

        A charge is given as -1 or 1, and 0 for one that is not known or of an absent object, (n, count)
        int8. Raises UserError naming what the events lack.
        """
        if _in_words(self.layout, kind, role):
            if self.layout.kind(kind).quantity(role).role == "charge":
                return self._charge(kind)
            return self._column(kind, role)
        name = _EXTRA_OF.get((kind, role))
        if name not in self.extras:
            raise UserError(
                f"events of layout {self.layout.name!r} have no {kind} {role}, neither in their words nor "
                "beside them"
            )
        return self.extras[name].reshape(len(self), -1)

    def values(self, kind: str, role: str) -> NDArray[np.float64]:
        """`quantity` in its unit, (n, count) float64 (a charge as it is); see `axo.layout.units.physical`."""
        words = self.quantity(kind, role)
        if role == "charge":
            return words.astype(np.float64)
        if _in_words(self.layout, kind, role):
            return physical(self.layout, self.words, kind, role)
        return words * EXTRAS[_EXTRA_OF[kind, role]].quantity.step_value

    def for_network(self, reader: Network | Layout) -> Words:
        """The words that a network, or what else has the layout `reader`, reads: (n, n_words), C-contiguous.

        The same array when the layout is that of the events. Raises UserError naming what they lack.
        """
        layout = reader if isinstance(reader, Layout) else reader.layout
        if layout is self.layout:
            return self.words
        try:
            columns = _columns_for(self.layout, layout)
        except UserError as error:
            reads = f"layout {layout.name!r}" if reader is layout else f"network {reader.name!r}"
            raise UserError(f"these events are not what {reads} reads: {error}") from error
        if columns is None:
            return self.words
        words = np.take(self.words, columns, axis=1).astype(layout.dtype, copy=False)
        words[:, columns < 0] = 0
        return words

    def in_layout(self, layout: Layout) -> Events:
        """The same events in a layout that theirs holds; what that lacks goes to `extras` if it can.

        Raises UserError naming what the events lack.
        """
        words = self.for_network(layout)
        if layout == self.layout:
            return self
        extras = {}
        for name, extra in EXTRAS.items():
            columns = extra.columns(layout)
            if columns and self.has(extra.kind, extra.role):
                values = self.quantity(extra.kind, extra.role)[:, :columns]
                extras[name] = values if columns > 1 else values[:, 0]
        ordered = all(
            self.layout.kind(kind.name).order == "pt" for kind in layout.kinds if kind.order == "pt"
        )
        return replace(
            self, words=words, extras=extras, layout=layout, pt_ordered=self.pt_ordered and ordered
        )

    def check(self, source: str = "events", first_event: int = 0) -> None:
        """Raise UserError unless every word is one that the trigger hardware can carry.

        Checked: widths and signs, absent objects all zero, falling pt where the
        layout and `pt_ordered` say so, ranges of extras, finite pileup and weight. The message names
        `source` and the event, counted from `first_event`.
        """
        try:
            check_words(self.layout, self.words, first_event, falling=self.pt_ordered)
            for name, array in self.extras.items():
                _check_range(name, array, EXTRAS[name].low, EXTRAS[name].high, first_event)
            for name in ("pileup", "average_pileup", "weight"):
                if getattr(self, name) is not None:
                    _check_finite(name, getattr(self, name), first_event)
        except UserError as error:
            raise UserError(f"{source}: {error}") from error

    def _column(self, kind: str, role: str) -> NDArray[Any]:
        """A view (n, count) of the words of one quantity."""
        return self.words[:, column_slice(self.layout, kind, role)]

    def _charge(self, kind: str) -> NDArray[np.int8]:
        known = self.layout.kind(kind)
        charge = self._column(kind, "charge").astype(np.int8)
        if known.quantity("charge").signed:
            return charge
        there = self.layout.present(self.words, kind)
        if "charge_valid" in known:
            there &= self._column(kind, "charge_valid") != 0
        # A charge bit b means (-1)^b.
        return np.where(there, 1 - 2 * charge, 0).astype(np.int8)


def column_slice(layout: Layout, kind: str, role: str) -> slice:
    """The columns of one quantity of every object of `kind` (see `Layout.columns`), as a slice."""
    columns = layout.columns(kind, role)
    return slice(int(columns[0]), int(columns[-1]) + 1, len(layout.kind(kind).quantities))


@lru_cache(maxsize=1024)
def _in_words(layout: Layout, kind: str, role: str) -> bool:
    """Whether the words have this quantity, and hardware carries it."""
    if kind not in layout:
        return False
    return any(role in (q.role, q.name) and q.bits > 0 for q in layout.kind(kind).quantities)


@lru_cache(maxsize=64)
def _columns_for(layout: Layout, part: Layout) -> NDArray[np.intp] | None:
    """As `Layout.columns_for`; None when the words of `part` are just those of `layout`."""
    columns = layout.columns_for(part)
    if len(columns) == len(layout.words) and layout.dtype == part.dtype:
        # A word that hardware does not carry (-1) is zero here too.
        same = [
            column == place or (column < 0 and not word.width)
            for place, (column, word) in enumerate(zip(columns.tolist(), layout.words, strict=True))
        ]
        if all(same):
            return None
    return columns


def concatenate(parts: Sequence[Events]) -> Events:
    """All events of `parts`, in order.

    Raises UserError when the parts have different layouts or know different things (columns, extras,
    seed names, order), and ValueError when there are none.
    """
    if not parts:
        raise ValueError("nothing to concatenate")
    head = parts[0]
    for part in parts[1:]:
        _require_same_layout(head.layout, part.layout)
        if (part.columns, set(part.extras)) != (head.columns, set(head.extras)):
            known, other = ({*some.columns, *some.extras} for some in (head, part))
            raise UserError(f"events cannot be joined: only some have {', '.join(sorted(known ^ other))}")
        if (part.seed_names, part.pt_ordered) != (head.seed_names, head.pt_ordered):
            raise UserError("events cannot be joined: their seed names or orders of objects differ")
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in ("words", *head.columns)
    }
    joined["extras"] = {name: np.concatenate([part.extras[name] for part in parts]) for name in head.extras}
    return replace(head, **joined)


def _require_same_layout(one: Layout, other: Layout) -> None:
    if one is other or one.digest == other.digest:
        return
    differ = f"{one.name!r} and {other.name!r}"
    if one.name == other.name:
        differ = f"both are called {one.name!r}, but say different things"
    raise UserError(f"events cannot be joined: their layouts differ ({differ})")


def _array(name: str, values: Any, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    values = np.asarray(values)
    if values.shape != shape:
        raise ValueError(f"{name} must be {shape}, not {values.shape}")
    array: NDArray[Any] = values.astype(dtype, copy=False)
    if array.dtype.kind != "f" and not np.array_equal(array, values):
        raise ValueError(f"{name} holds values that {array.dtype} cannot")
    return array


def _check_range(name: str, values: NDArray[Any], low: int, high: int, first_event: int) -> None:
    bad = (values < low) | (values > high)
    if bad.any():
        at = tuple(np.argwhere(bad)[0])
        raise UserError(
            f"event {first_event + at[0]}: {name} = {values[at]} is outside its hardware width "
            f"({low} to {high})"
        )


def _check_finite(name: str, values: NDArray[Any], first_event: int) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(f"event {first_event + row}: {name} is {values[row]}, not a finite number")
