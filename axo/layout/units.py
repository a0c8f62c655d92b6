"""Hardware words <-> physical units, by the steps, origins and periods of a layout.

A word w of a quantity is ``origin + w * step`` in its unit; see the layout's source for where they
are from. `physical` and `words_of` do one kind, `event_words` an event.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError, nearest
from axo.layout.layout import Kind as LayoutKind
from axo.layout.layout import Layout, Quantity

_SATURATE = ("pt", "energy")
"""Roles whose words stop at the largest one, as the trigger's sums do; all else must fit."""

Floats = NDArray[np.float64]


def physical(layout: Layout, words: ArrayLike, kind: str, role: str) -> Floats:
    """The quantity of a role (or name) of every object of a kind, (n, count) float64, in its unit.

    `words` is (n, n_words of `layout`). Angles of a period stay in the words' own range: [0, 2 pi) for
    unsigned words, [-pi, pi) for signed ones. Absent objects give 0. ValueError for another shape,
    UserError for a kind or role that is not there.
    """
    words = np.asarray(words)
    if words.ndim != 2 or words.shape[1] != len(layout.words):
        raise ValueError(f"words of {layout.name!r} must be (n, {len(layout.words)}), not {words.shape}")
    quantity = layout.kind(kind).quantity(role)
    columns, width = layout.columns(kind, role), len(layout.kind(kind).quantities)
    values = words[:, columns[0] : columns[-1] + 1 : width] * quantity.step_value
    if quantity.origin:
        values = np.where(layout.present(words, kind), values + quantity.origin, 0.0)
    return values


def words_of(
    layout: Layout, kind: str, values: Mapping[str, ArrayLike], first_event: int = 0
) -> NDArray[Any]:
    """Words of a kind, (n, count x quantities) in the layout's order and type, from physical `values`.

    `values` has an array (n, count) for every quantity, by role or name; one that has no bits may be
    left out. Values round to the nearest word, ties to even. A pt or energy above the largest word
    saturates there, as the trigger hardware does; an angle with a period, given within one turn either
    way, wraps into the word's range. Where presence is by pt, an object whose pt word is 0 is absent:
    all its words are 0.

    Raises UserError naming the event (counted from `first_event`) and the word for a value that is not
    finite, a negative pt, an angle beyond a turn, or what does not fit its bits; and for a quantity that
    is missing or unknown. ValueError for another shape.
    """
    known = layout.kind(kind)
    arrays = _arrays(known, values)
    n = len(next(iter(arrays.values())))
    rows = np.zeros((n, known.count, len(known.quantities)), np.float64)
    for place, quantity in enumerate(known.quantities):
        if quantity.name in arrays:
            rows[:, :, place] = _Given(known, quantity, arrays[quantity.name], first_event).words()
    if known.present == "pt":
        pt = next(place for place, quantity in enumerate(known.quantities) if quantity.role == "pt")
        rows[rows[:, :, pt] == 0] = 0
    for place, quantity in enumerate(known.quantities):
        if quantity.name in arrays:
            _Given(known, quantity, arrays[quantity.name], first_event).check_fits(rows[:, :, place])
    return rows.reshape(n, -1).astype(layout.dtype)


def event_words(
    layout: Layout, values: Mapping[str, Mapping[str, ArrayLike]], first_event: int = 0
) -> NDArray[Any]:
    """Words (n, n_words), in the layout's type, from the values of every kind: `values[kind][role]`.

    As `words_of`; UserError also for a kind that is missing or unknown.
    """
    for name in values:
        layout.kind(name)
    missing = [kind.name for kind in layout.kinds if kind.name not in values]
    if missing:
        raise UserError(f"layout {layout.name!r}: no values of {', '.join(missing)}")
    return np.concatenate(
        [words_of(layout, kind.name, values[kind.name], first_event) for kind in layout.kinds], axis=1
    )


def _arrays(kind: LayoutKind, values: Mapping[str, ArrayLike]) -> dict[str, Floats]:
    """`values` by quantity name, each (n, count); checks that every one is there once."""
    arrays: dict[str, Floats] = {}
    for key, value in values.items():
        name = kind.quantity(key).name
        if name in arrays:
            raise UserError(f"kind {kind.name!r}: {name} is given twice")
        arrays[name] = np.asarray(value, np.float64)
    missing = [q.name for q in kind.quantities if q.bits and q.name not in arrays]
    if missing:
        hint = nearest(missing[0], list(arrays))
        raise UserError(f"kind {kind.name!r}: no values of {', '.join(missing)}{hint}")
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or (shape := shapes.pop())[1:] != (kind.count,) or len(shape) != 2:
        raise ValueError(f"values of {kind.name} must all be (n, {kind.count})")
    return arrays


@dataclass(frozen=True)
class _Given:
    """Values (n, count) given for a quantity of a kind."""

    kind: LayoutKind
    quantity: Quantity
    values: Floats
    first_event: int

    def words(self) -> Floats:
        """Their words, not yet checked to fit, (n, count) float64."""
        quantity, values = self.quantity, self.values
        self._refuse(~np.isfinite(values), "is not a finite number")
        if quantity.role == "pt":
            self._refuse(values < 0, "is negative")
        if quantity.period is not None:
            turn = quantity.period * quantity.step_value
            # A step written as a product may be a last bit off the value of a full turn.
            beyond = np.abs(values - quantity.origin) > turn * (1 + 1e-12)
            shown = "2 pi" if math.isclose(turn, 2 * math.pi) else f"{turn:g}"
            self._refuse(beyond, f"is not within ±{shown}")
        words = np.rint((values - quantity.origin) / quantity.step_value)
        if quantity.period is not None:
            words %= quantity.period
            if quantity.signed:
                words[words >= quantity.period / 2] -= quantity.period
        if quantity.role in _SATURATE:
            words = np.minimum(words, self._high)
        return words

    def check_fits(self, words: Floats) -> None:
        """Raise UserError for one of their `words` that has not enough bits."""
        self._refuse((words < self._low) | (words > self._high), "does not fit in the hardware word")

    @property
    def _low(self) -> int:
        bits = self.quantity.bits
        return -(1 << (bits - 1)) if self.quantity.signed and bits else 0

    @property
    def _high(self) -> int:
        bits = self.quantity.bits
        return (1 << (bits - self.quantity.signed)) - 1 if bits else 0

    def _refuse(self, bad: NDArray[np.bool_], fault: str) -> None:
        if not bad.any():
            return
        event, index = (int(place) for place in np.argwhere(bad)[0])
        name = f"{self.kind.object_name(index)}_{self.quantity.name}".removesuffix("_")
        raise UserError(f"event {self.first_event + event}: {name} = {self.values[event, index]:g} {fault}")
