"""The event table: 57 hardware words an event, and what is known beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.layout.cms import CMS_WORDS
from axo.layout.units import KINDS

Words = NDArray[np.int16]

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
    """A quantity beyond the 57 words: columns a row (1: the array is (n,)), type, and range."""

    columns: int
    dtype: type[np.integer[Any]]
    low: int
    high: int


EXTRAS = {
    "htt_pt": Extra(1, np.int16, 0, 4095),
    "ett_pt": Extra(1, np.int16, 0, 4095),
    "methf_pt": Extra(1, np.int16, 0, 4095),
    "eg_iso": Extra(4, np.int8, 0, 3),
    "mu_qual": Extra(4, np.int8, 0, 15),
    "mu_charge": Extra(4, np.int8, -1, 1),
}
"""What `Events.extras` may hold. Charge 0 is absent or unknown; pt words have 0.5 GeV a step."""


@dataclass(frozen=True, eq=False)
class Events:
    """n events. `words` is (n, 57) int16, C-contiguous, in the order of `axo.network.CMS_WORDS`.

    Optional columns are (n,) or None (see COLUMNS): `luminosity_block` is the lumi section, `pileup`
    the interactions in this crossing, `average_pileup` that of its lumi section. `extras` holds some
    of EXTRAS. `seed_bits` is (n, n_seeds) bool with one name each in `seed_names`, or None.
    `pt_ordered` says that objects of a kind come in falling pt; recorded hardware vectors need not
    (muons are ranked by quality too). Types are converted; raises ValueError for a wrong shape or name.
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

    def __post_init__(self) -> None:
        words = np.asarray(self.words)
        if words.ndim != 2 or words.shape[1] != len(CMS_WORDS) or words.dtype != np.int16:
            raise ValueError(f"words must be (n, {len(CMS_WORDS)}) int16, not {words.shape} {words.dtype}")
        self._set("words", np.ascontiguousarray(words))
        for name, dtype in COLUMNS.items():
            if (column := getattr(self, name)) is not None:
                self._set(name, _array(name, column, dtype, (len(words),)))
        if unknown := set(self.extras) - set(EXTRAS):
            raise ValueError(f"extras {sorted(unknown)} are none of {', '.join(EXTRAS)}")
        extras = {}
        for name, array in self.extras.items():
            columns = EXTRAS[name].columns
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

    def check(self, source: str = "events", first_event: int = 0) -> None:
        """Raise UserError unless every word is one that the trigger hardware can carry.

        Checked: widths and signs, absent objects (pt word 0; MET is never absent) all zero, falling
        pt where `pt_ordered`, ranges of extras, finite pileup and weight. The message names `source`
        and the event, counted from `first_event`.
        """
        try:
            check_words(self.words, self.pt_ordered, first_event)
            for name, array in self.extras.items():
                _check_range(name, array, EXTRAS[name].low, EXTRAS[name].high, first_event)
            for name in ("pileup", "average_pileup", "weight"):
                if getattr(self, name) is not None:
                    _check_finite(name, getattr(self, name), first_event)
        except UserError as error:
            raise UserError(f"{source}: {error}") from error


def check_words(words: Words, pt_ordered: bool = True, first_event: int = 0) -> None:
    """Raise UserError, naming event and word, unless `words` (n, 57) pass as in `Events.check`."""
    if not len(words):
        return
    low, high = words.min(axis=0), words.max(axis=0)
    for column, word in enumerate(CMS_WORDS):
        if low[column] < word.min_int or high[column] > word.max_int:
            _check_range(word.name, words[:, column], word.min_int, word.max_int, first_event)
    for name, kind in KINDS.items():
        pt, eta, phi = (words[:, kind.words][:, quantity::3] for quantity in range(3))
        if name == "MET":
            continue
        ghost = (pt == 0) & ((eta | phi) != 0)
        _refuse(ghost, name, "has pt 0 but eta or phi words that are not 0", first_event)
        if pt_ordered:
            _refuse(pt[:, 1:] > pt[:, :-1], name, "has less pt than the one after it", first_event)


def concatenate(parts: Sequence[Events]) -> Events:
    """All events of `parts`, in order.

    Raises UserError when the parts know different things (columns, extras, seed names,
    order), and ValueError when there are none.
    """
    if not parts:
        raise ValueError("nothing to concatenate")
    head = parts[0]
    for part in parts[1:]:
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


def _array(name: str, values: Any, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    values = np.asarray(values)
    if values.shape != shape:
        raise ValueError(f"{name} must be {shape}, not {values.shape}")
    array = values.astype(dtype, copy=False)
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


def _refuse(bad: NDArray[np.bool_], kind: str, fault: str, first_event: int) -> None:
    if bad.any():
        event, item = np.argwhere(bad)[0]
        raise UserError(f"event {first_event + event}: {kind}{item} {fault}")
