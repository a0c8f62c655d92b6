"""The 57 words of CMS's AXOL1TL, for tests that are about them: constants, and units by object."""

import numpy as np

from axo.layout import find_layout
from axo.layout.units import event_words, physical

LAYOUT = find_layout("cms_axol1tl")

CMS_WORDS = LAYOUT.words

OBJECTS = tuple(item.name for item in LAYOUT.objects)

PT_COLUMNS = slice(0, 57, 3)


def to_physical(words):
    """pt in GeV, eta and phi in radians, (n, 19) each, of words (n, 57)."""
    return tuple(
        np.concatenate([physical(LAYOUT, words, kind.name, role) for kind in LAYOUT.kinds], axis=1)
        for role in ("pt", "eta", "phi")
    )


def to_words(pt_gev, eta, phi, first_event=0):
    """Words (n, 57) of values (n, 19) each."""
    values, first = {}, 0
    for kind in LAYOUT.kinds:
        slots = slice(first, first + kind.count)
        values[kind.name] = {"pt": pt_gev[:, slots], "eta": eta[:, slots], "phi": phi[:, slots]}
        first += kind.count
    return event_words(LAYOUT, values, first_event)
