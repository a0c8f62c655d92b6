"""Events: the table of hardware words and what is known beside them, and where they come from."""

from axo.events.table import (
    COLUMNS,
    DEFAULT_LAYOUT,
    EXTRAS,
    Events,
    Extra,
    Words,
    column_slice,
    concatenate,
    default_layout,
)

__all__ = [
    "COLUMNS",
    "DEFAULT_LAYOUT",
    "EXTRAS",
    "Events",
    "Extra",
    "Words",
    "column_slice",
    "concatenate",
    "default_layout",
]
