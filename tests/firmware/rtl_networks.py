"""Small networks for the RTL tests, covering what a network file can say."""

from __future__ import annotations

import numpy as np

from axo.layout import find_layout, layout_of_words
from axo.network import (
    Dense,
    FixedType,
    Linear,
    Network,
    Offset,
    Relu,
    Shift,
    SumOfSquares,
    Word,
)

OBJECTS = (("MET", 1, None), ("EG", 2, None), ("MU", 2, None), ("JET", 3, None))


def trigger_network(seed: int = 1, n_hidden: int = 4, thresholds: int = 3) -> Network:
    """The layout of a production network on eight of the objects: every kind of port and field."""
    generator = np.random.default_rng(seed)
    layout = find_layout("cms_axol1tl").select(OBJECTS, "some_objects")
    words = layout.words
    halve = np.isin(np.arange(len(words)), layout.columns(role="pt")).astype(int)
    unscaled = FixedType(18, 13)
    weight, bias = FixedType(6, 2), FixedType(8, 4)
    activation = FixedType(8, 4, False, "RND_CONV", "SAT")
    square = FixedType(14, 11, False)
    operations = (
        Shift("halved", "words", halve),
        Linear("unscaled", "halved", unscaled),
        Offset("centred", "unscaled", generator.integers(-20, 60, len(words)), FixedType(9, 8), unscaled),
        Shift("scaled", "centred", generator.integers(-1, 7, len(words))),
        Linear("network_input", "scaled", FixedType(8, 6, True, "RND_CONV", "SAT")),
        _dense("hidden", "network_input", len(words), n_hidden, weight, bias, generator),
        Relu("active", "hidden", activation),
        _dense("latent", "active", n_hidden, 2, weight, bias, generator),
        Linear("mu", "latent", FixedType(8, 5, True, "RND_CONV", "SAT")),
        SumOfSquares("score", "mu", square, square),
    )
    names = {f"point{i}": 100 * i for i in range(1, thresholds + 1)}
    return Network("small", layout, operations, "score", "mu", names)


def _dense(name, source, n_in, n_out, weight, bias, generator):
    return Dense(
        name,
        source,
        generator.integers(weight.min_int, weight.max_int + 1, (n_in, n_out)),
        weight,
        generator.integers(bias.min_int, bias.max_int + 1, n_out),
        bias,
        FixedType(24, 14),
    )


def word_network(*operations, width: int = 8, signed: bool = True, n_words: int = 1) -> Network:
    """`operations` on plain words; the last one defines the score, which must be unsigned."""
    words = tuple(Word(f"w{i}", width, signed) for i in range(n_words))
    return Network(
        "plain", layout_of_words(words), tuple(operations), operations[-1].name, operations[-1].name
    )


def lifted(name: str, source: str, kind: FixedType) -> Offset:
    """x - min: any tensor of type `kind` as an unsigned score with the same bits."""
    score = FixedType(kind.width, kind.width - kind.fraction, False)
    offset_type = FixedType(kind.width, kind.width - kind.fraction, kind.signed)
    return Offset(name, source, np.array([kind.min_int]), offset_type, score)
