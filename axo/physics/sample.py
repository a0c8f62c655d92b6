"""A sample: events of one kind, and which of them the other seeds leave to an anomaly trigger."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from axo.events import Events
from axo.physics.rates import pure_mask
from axo.provenance import words_digest

if TYPE_CHECKING:
    from axo.physics.menu import Menu


@dataclass(frozen=True, eq=False)
class Sample:
    """`events` under a `name`; `pure` (n,) bool: no unprescaled seed fires (None: no menu, not known).

    `file` and `format` say where the events are from, as `document` writes it.
    """

    name: str
    events: Events
    pure: NDArray[np.bool_] | None = None
    file: str = ""
    format: str = ""

    @cached_property
    def digest(self) -> str:
        """sha256 of the words."""
        return words_digest(self.events.words)

    def document(self) -> dict[str, Any]:
        """What is written about it."""
        return {
            "file": Path(self.file).name,
            "format": self.format,
            "events": len(self.events),
            "words_sha256": self.digest,
            "fires_unprescaled_seed": None if self.pure is None else float((~self.pure).mean()),
        }


def pure_of(menu: Menu, events: Events, column: str | None = None) -> NDArray[np.bool_]:
    """Events (n,) that no seed of `menu` takes which is unprescaled in the `column` (default: the first)."""
    prescales = menu.prescales(column)
    return pure_mask(
        np.ones(len(events), bool), menu.evaluate(events), [prescales[seed] for seed in menu.seeds]
    )
