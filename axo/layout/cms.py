"""The layout of the 57 words as constants. On its way out: what reads them is to follow a layout."""

from __future__ import annotations

from axo.layout.document import find_layout

_LAYOUT = find_layout("cms_axol1tl")

OBJECTS = tuple(item.name for item in _LAYOUT.objects)
"""The 19 objects in network order; each gives three words: pt, eta, phi."""

CMS_WORDS = _LAYOUT.words
"""The 57 raw hardware words (pt LSB 0.5 GeV), object-major."""

PT_COLUMNS = slice(0, 57, 3)
"""Columns of the pt words in a (n, 57) array."""
