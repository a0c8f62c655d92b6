"""Random layouts in every style of input port, and small networks that read them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from axo.layout import Kind, Layout, Links, Quantity
from axo.network import WORDS, Dense, FixedType, Linear, Network, Offset, Relu, Shift, SumOfSquares

STYLES = ("packed", "words", "links")
ROLES = ("pt", "eta", "phi", "isolation", "quality")


@st.composite
def layouts(draw, styles=STYLES, max_bits=12):
    """One to three kinds; fields of an object lie in any order with gaps between them."""
    return Layout(
        "random",
        "a test",
        tuple(draw(kinds(f"K{number}", styles, max_bits)) for number in range(draw(st.integers(1, 3)))),
    )


@st.composite
def kinds(draw, name, styles=STYLES, max_bits=12):
    style = draw(st.sampled_from(styles))
    present = draw(st.sampled_from(["always", "pt"]))
    roles = draw(st.permutations(ROLES))[: draw(st.integers(1, 4))]
    if present == "pt" and "pt" not in roles:
        roles[0] = "pt"
    quantities, lsb = [], draw(st.integers(0, 3))
    for role in roles:
        bits = draw(st.integers(1 if role == "pt" else 0, max_bits))
        place = lsb if style != "words" and bits else None
        signed = bits > 1 and role == "eta"
        quantities.append(Quantity(role, role, bits, signed, place))
        lsb += bits + draw(st.integers(0, 3))
    count = draw(st.integers(1, 4))
    packed = {"bits": max(lsb, 1), "port": draw(st.sampled_from([None, f"p{name}"]))}
    if all(quantity.lsb is None for quantity in quantities):
        packed = {}
    if style == "links" and packed:
        objects = draw(st.integers(1, 3))
        packed["links"] = Links(objects, objects * packed["bits"] + draw(st.integers(0, 9)))
    return Kind(name, count, tuple(quantities), present=present, order="trigger", **packed)


def network_on(layout: Layout, seed: int = 0) -> Network:
    """A network that reads every word of `layout`, its scores spread over their range; half a unit kept."""
    generator = np.random.default_rng(seed)
    n_words = len(layout.words)
    widths = np.array([word.width for word in layout.words])
    dtype_bits = np.dtype(layout.dtype).itemsize * 8
    fine = FixedType(dtype_bits + 4, dtype_bits + 2)
    weight, accumulator = FixedType(5, 2), FixedType(22, 16)

    def dense(name, source, n_in, n_out):
        weights = generator.integers(-15, 16, (n_in, n_out))
        return Dense(name, source, weights, weight, generator.integers(-7, 8, n_out), weight, accumulator)

    square = FixedType(16, 14, False)
    operations = (
        Linear("fine", WORDS, fine),
        Shift("halved", "fine", np.array([int("pt" in word.name) for word in layout.words])),
        Linear("unscaled", "halved", fine),
        Offset("centred", "unscaled", (1 << np.maximum(widths - 2, 0)), FixedType(34, 34), fine),
        Shift("scaled", "centred", widths - 5),
        Linear("network_input", "scaled", FixedType(8, 6, True, "RND_CONV", "SAT")),
        dense("hidden", "network_input", n_words, 3),
        Relu("active", "hidden", FixedType(8, 6, False, "RND_CONV", "SAT")),
        dense("latent", "active", 3, 2),
        Linear("mu", "latent", FixedType(9, 6, True, "RND_CONV", "SAT")),
        SumOfSquares("score", "mu", square, square),
    )
    return Network("random", layout, operations, "score", "mu", {"one": 500, "two": 9000})
