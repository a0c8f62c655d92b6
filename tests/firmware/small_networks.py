"""A small network with every operation around hls4ml's layers, for tests that compile C++."""

from __future__ import annotations

import numpy as np

from axo.layout import layout_of_words
from axo.network import (
    WORDS,
    Dense,
    Dot,
    FixedType,
    Linear,
    Network,
    Offset,
    Relu,
    Shift,
    Subtract,
    Word,
)

INPUT = FixedType(8, 6, True, "RND_CONV", "SAT")
HIDDEN = FixedType(10, 6, False, "RND_CONV", "SAT")
SCORE = FixedType(18, 14, False)
WORDS_6 = tuple(Word(f"w{i}", width, i % 3 == 1) for i, width in enumerate((12, 8, 8, 11, 9, 10)))


def autoencoder(name: str = "small", seed: int = 0, unscaled: FixedType | None = None) -> Network:
    """Six words -> 4 -> 6, score (decoded - input)·(decoded - input); other weights for each seed."""
    rng = np.random.default_rng(seed)
    # Constants with modes, among them the lowest value, which SAT_SYM would not let an assignment reach.
    weight, bias = FixedType(6, 3, True, "RND", "SAT_SYM"), FixedType(10, 7, True, "TRN", "SAT_SYM")
    accum = FixedType(21, 14)

    def dense(tensor: str, source: str, n_in: int, n_out: int) -> Dense:
        weights, biases = rng.integers(-32, 32, (n_in, n_out)), rng.integers(-512, 512, n_out)
        weights[0, 0], biases[-1] = -32, -512
        return Dense(tensor, source, weights, weight, biases, bias, accum)

    unscaled = unscaled or FixedType(18, 13)
    offset = FixedType(10, 9, True, "TRN", "SAT_SYM")
    operations = (
        Shift("halved", WORDS, np.array([1, 0, 0, 1, 0, 0])),
        Linear("unscaled", "halved", unscaled),
        Offset("centred", "unscaled", np.array([30, 0, 9, 7, -3, -512]), offset, unscaled),
        Shift("scaled", "centred", np.array([3, 2, 6, -1, 0, 5])),
        Linear("network_input", "scaled", INPUT),
        dense("encoded", "network_input", 6, 4),
        Relu("embedding", "encoded", HIDDEN),
        dense("decoder", "embedding", 4, 6),
        Linear("decoded", "decoder", INPUT),
        Linear("same", "decoded", INPUT),
        Subtract("difference", "same", "network_input", FixedType(9, 7, True, "TRN", "SAT_SYM")),
        Dot("score", "difference", SCORE, SCORE, "difference"),
    )
    return Network(
        name, layout_of_words(WORDS_6), operations, "score", "embedding", thresholds={"tight": 9000}
    )


def any_words(network: Network, n: int, seed: int = 5) -> np.ndarray:
    """(n, n_words) int16: half within the hardware widths, half anything, the ends among them."""
    rng = np.random.default_rng(seed)
    low = np.array([word.min_int for word in network.words])
    high = np.array([word.max_int for word in network.words])
    inside = rng.integers(low, high + 1, (n - n // 2, len(low)))
    anything = rng.integers(-(1 << 15), 1 << 15, (n // 2, len(low)))
    anything[: n // 8] = rng.choice([-(1 << 15), -1, 0, 1, (1 << 15) - 1], (n // 8, len(low)))
    return np.concatenate([inside, anything]).astype(np.int16)
