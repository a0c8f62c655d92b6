"""Whether words are ones that the hardware of a layout can carry. Runs over millions of events."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.layout.layout import Kind, Layout

_ROWS = 1 << 13
"""Events looked at together, so that they stay in the processor's cache."""


def check_words(
    layout: Layout, words: NDArray[Any], first_event: int = 0, absent: bool = True, falling: bool = False
) -> None:
    """Raise UserError unless the trigger hardware can carry `words` (n, n_words of `layout`), integers.

    Checked: widths and signs; with `absent`, that objects whose pt word is 0 are all zero (kinds with
    presence by pt); with `falling`, falling pt of the kinds whose order is pt. The message names the
    event, counted from `first_event`, and the word or object. ValueError when the shape is another.
    """
    words = _integers(layout, words)
    for start in range(0, len(words), _ROWS):
        part, first = words[start : start + _ROWS], first_event + start
        _check_widths(layout, part, first)
        for kind in layout.kinds:
            if absent and kind.present == "pt":
                _check_absent(layout, kind, part, first)
            if falling and kind.order == "pt":
                _check_falling(layout, kind, part, first)


def check_widths(layout: Layout, words: NDArray[Any], first_event: int = 0) -> None:
    """Raise UserError, naming event and word, unless `words` (n, n_words) fit their bits."""
    check_words(layout, words, first_event, absent=False)


def clear_absent(layout: Layout, words: NDArray[Any]) -> NDArray[Any]:
    """`words` (n, n_words), of the same type, with all words of absent objects zero.

    Recorded hardware words can have other bits set where the pt word is 0; the trigger takes such an
    object as not there.
    """
    words = _integers(layout, words).copy()
    for kind in layout.kinds:
        if kind.present == "pt":
            objects = _objects(layout, kind, words)
            objects[objects[:, :, _pt_place(kind)] == 0] = 0
    return words


def _integers(layout: Layout, words: NDArray[Any]) -> NDArray[Any]:
    words = np.asarray(words)
    if words.ndim != 2 or words.shape[1] != len(layout.words):
        raise ValueError(
            f"words of layout {layout.name!r} must be (n, {len(layout.words)}), not {words.shape}"
        )
    if words.dtype.kind not in "iu":
        raise ValueError(f"words must be integers, not {words.dtype}")
    return words


def _check_widths(layout: Layout, words: NDArray[Any], first_event: int) -> None:
    bad = (words.min(axis=0) < layout.low) | (words.max(axis=0) > layout.high)
    if not bad.any():
        return
    event, column = np.argwhere((words < layout.low) | (words > layout.high))[0]
    word = layout.words[column]
    raise UserError(
        f"event {first_event + event}: {word.name} = {words[event, column]} is outside its hardware width "
        f"({word.min_int} to {word.max_int})"
    )


def _check_absent(layout: Layout, kind: Kind, words: NDArray[Any], first_event: int) -> None:
    objects = _objects(layout, kind, words)
    # One word at a time: reducing the short last axis is several times slower.
    rest = np.zeros(objects.shape[:2], objects.dtype)
    for place in range(objects.shape[2]):
        if place != _pt_place(kind):
            rest |= objects[:, :, place]
    ghost = (objects[:, :, _pt_place(kind)] == 0) & (rest != 0)
    _refuse(ghost, kind, "has pt 0 but other words that are not 0", first_event)


def _check_falling(layout: Layout, kind: Kind, words: NDArray[Any], first_event: int) -> None:
    pt = _objects(layout, kind, words)[:, :, _pt_place(kind)]
    _refuse(pt[:, 1:] > pt[:, :-1], kind, "has less pt than the one after it", first_event)


def _objects(layout: Layout, kind: Kind, words: NDArray[Any]) -> NDArray[Any]:
    """The words of a kind, (n, count, n_quantities), as a view."""
    first = int(layout.columns(kind.name)[0])
    width = len(kind.quantities)
    return words[:, first : first + kind.count * width].reshape(len(words), kind.count, width)


def _pt_place(kind: Kind) -> int:
    return next(place for place, quantity in enumerate(kind.quantities) if quantity.role == "pt")


def _refuse(bad: NDArray[np.bool_], kind: Kind, fault: str, first_event: int) -> None:
    if bad.any():
        event, index = np.argwhere(bad)[0]
        raise UserError(f"event {first_event + event}: {kind.object_name(index)} {fault}")
