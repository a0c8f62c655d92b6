"""Events: the table of hardware words and what is known beside them, and where they come from."""

from axo.events.table import (
    COLUMNS,
    EXTRAS,
    Events,
    Extra,
    Words,
    column_slice,
    concatenate,
)

__all__ = [
    "COLUMNS",
    "EXTRAS",
    "Events",
    "Extra",
    "Words",
    "column_slice",
    "concatenate",
]
