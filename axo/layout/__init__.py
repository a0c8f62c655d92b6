"""What a trigger sees, declared: kinds of objects, their quantities, bits, steps and order."""

from axo.layout.document import (
    DEFAULT_LAYOUT,
    default_layout,
    find_layout,
    layout_document,
    layout_names,
    layout_of_words,
    parse_layout,
    read_layout,
)
from axo.layout.layout import (
    ROLES,
    Field,
    Kind,
    Layout,
    Links,
    Object,
    Port,
    Quantity,
    Word,
    bare_layout,
)

__all__ = [
    "DEFAULT_LAYOUT",
    "ROLES",
    "Field",
    "Kind",
    "Layout",
    "Links",
    "Object",
    "Port",
    "Quantity",
    "Word",
    "bare_layout",
    "default_layout",
    "find_layout",
    "layout_document",
    "layout_names",
    "layout_of_words",
    "parse_layout",
    "read_layout",
]
