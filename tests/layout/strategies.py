"""Random layouts and words of them, for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from axo.layout import ROLES, Kind, Layout, Links, Quantity

FREE_ROLES = [role for role in ROLES if role != "pt"]


@st.composite
def kinds(draw, name):
    """A kind: packed with gaps, on links, or with a port a word; presence and order of any sort."""
    is_packed = draw(st.booleans())
    roles = draw(st.permutations(FREE_ROLES))
    n = draw(st.integers(1, 5))
    has_pt = draw(st.booleans())
    quantities, place = [], 0
    for i in range(n):
        bits = draw(st.one_of(st.integers(0, 31), st.just(31)))
        is_signed = draw(st.booleans()) and not (has_pt and i == 0)
        if has_pt and i == 0:
            bits = max(bits, 1)  # what presence and order are by
        is_here = is_packed and bits and (i == 0 or draw(st.integers(0, 9)))
        place += draw(st.integers(0, 40)) if is_packed else 0
        quantities.append(
            Quantity(
                f"q{i}",
                "pt" if has_pt and i == 0 else roles[i],
                bits,
                is_signed,
                lsb=place if is_here else None,
                packed=bool(is_here or not is_packed or not bits),
                step=draw(st.sampled_from([1, 0.5, "pi/4096", "2*pi/144"])),
                origin=draw(st.sampled_from([0.0, 0.0, -1.5])),
            )
        )
        place += bits if is_here else 0
    order = draw(st.permutations(quantities))
    width = max(place, 1) + draw(st.integers(0, 20)) if is_packed else 0
    links = None
    if is_packed and draw(st.booleans()):
        objects, first = draw(st.integers(1, 3)), draw(st.integers(0, 70))
        links = Links(objects, first + objects * width + draw(st.integers(0, 70)), first)
    return Kind(
        name,
        draw(st.integers(1, 4)),
        tuple(order),
        bits=width,
        present=draw(st.sampled_from(["always", "pt"])) if has_pt else "always",
        order=draw(st.sampled_from(["pt", "trigger", "place"] if has_pt else ["trigger", "place"])),
        links=links,
        numbered=draw(st.sampled_from([None, True])),
    )


@st.composite
def layouts(draw):
    """A layout of one to three kinds."""
    choice = st.sampled_from(["MU", "EG", "JET", "MET", "region"])
    names = draw(st.lists(choice, min_size=1, max_size=3, unique=True))
    return Layout("random", "drawn", tuple(draw(kinds(name)) for name in names))


def words_of(layout):
    """Words (n, n_words) of `layout` over their whole range."""

    def table(n_events):
        columns = [
            hnp.arrays(np.int64, n_events, elements=st.integers(word.min_int, word.max_int))
            for word in layout.words
        ]
        return st.tuples(*columns).map(lambda parts: np.stack(parts, axis=1).astype(layout.dtype))

    return st.integers(0, 5).flatmap(table)
