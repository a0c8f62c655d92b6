"""What a trigger sees, declared: kinds of objects, their quantities, bits, steps and order."""

from axo.layout.document import (
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
    "find_layout",
    "layout_document",
    "layout_names",
    "layout_of_words",
    "parse_layout",
    "read_layout",
]
