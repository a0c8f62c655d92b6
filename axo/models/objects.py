"""The objects of a layout as detectors see them: how hard each is, where it points, whose kind it is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.layout import Layout, Object
from axo.layout.units import physical


class Objects:
    """The objects of `layout` that have a pt (else an energy): what a family weighs and reconstructs.

    `count` of them, in the layout's order; `columns` (count,) are those of their pt words. Raises
    UserError for a layout without any.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.items = [item for item in layout.objects if _role(item) is not None]
        if not self.items:
            raise UserError(
                f"layout {layout.name!r} has no object with a pt or an energy: nothing to learn from"
            )
        self.count = len(self.items)
        self.columns = np.array([item.columns[_role(item) or ""] for item in self.items], np.intp)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds that have such objects."""
        return tuple(dict.fromkeys(item.kind.name for item in self.items))

    def names(self) -> list[str]:
        """Names of the objects."""
        return [item.name for item in self.items]

    def with_role(self, role: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which of the objects have a quantity of `role`, and its columns: (m,) each."""
        found = [(place, item.columns[role]) for place, item in enumerate(self.items) if role in item.columns]
        places, columns = np.array(found, np.intp).reshape(-1, 2).T
        return places, columns

    def values(self, words: NDArray[np.integer], role: str) -> NDArray[np.float64]:
        """Their quantity of `role` in its unit, (n, m), from raw `words` (n, n_words); see `physical`."""
        having = [name for name in self.kinds if role in self.layout.kind(name)]
        parts = [physical(self.layout, words, name, role) for name in having]
        return np.concatenate([np.empty((len(words), 0)), *parts], axis=1)

    def require_kinds(self, numbers: Mapping[str, float], what: str) -> None:
        """UserError, naming `what`, unless `numbers` has one for each of these kinds and no other."""
        if set(numbers) != set(self.kinds):
            raise UserError(f"{what} must give one number for each of {', '.join(self.kinds)}")

    def per_object(self, numbers: Mapping[str, float], what: str) -> NDArray[np.float64]:
        """The number of each object's kind, (count,); as `require_kinds`."""
        self.require_kinds(numbers, what)
        return np.array([numbers[item.kind.name] for item in self.items], np.float64)


def _role(item: Object) -> str | None:
    quantity = item.kind.magnitude
    return None if quantity is None else quantity.role
