"""The words that every evaluation of a network is compared on, by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from axo.network import Network, Offset, Shift

Words = NDArray[np.int16]

RECORDED, SIMULATED, RANDOM, EXTREME, OVERRANGE = "recorded", "simulated", "random", "extreme", "overrange"

KINDS = {
    RECORDED: "words that a real trigger recorded",
    SIMULATED: "simulated zero-bias and signal events",
    RANDOM: "uniform over each word's hardware width",
    EXTREME: "words at the ends of their ranges, zero, and where the input scaling turns or saturates",
    OVERRANGE: "uniform over all of int16, beyond the hardware widths (software only)",
}


@dataclass(frozen=True)
class Stimuli:
    """`words` (n, n_words) int16 and, per event, its `kind` (n,) as an index into KINDS.

    Only events within the hardware widths may be given to RTL: see `in_hardware`.
    """

    words: Words
    kind: NDArray[np.int8]

    @property
    def in_hardware(self) -> NDArray[np.bool_]:
        """(n,) bool: the event can occur on the trigger's wires."""
        return self.kind != list(KINDS).index(OVERRANGE)

    def counts(self, rows: NDArray[np.int64] | None = None) -> dict[str, int]:
        """Events of each kind, of all or of the given rows."""
        kinds = self.kind if rows is None else self.kind[rows]
        return {name: int(np.sum(kinds == index)) for index, name in enumerate(KINDS)}

    def hardware_rows(self, n_events: int, possible: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Row numbers of up to `n_events` events within the hardware widths (and `possible`, (n,) bool).

        All kinds keep their share; recorded events are taken first, as they are few.
        """
        rows = np.flatnonzero(self.in_hardware if possible is None else self.in_hardware & possible)
        if len(rows) <= n_events:
            return rows
        first = rows[self.kind[rows] == 0][: n_events // 4]
        rest = np.setdiff1d(rows, first)
        step = len(rest) / (n_events - len(first))
        return np.concatenate([first, rest[(np.arange(n_events - len(first)) * step).astype(np.int64)]])


def make_stimuli(
    network: Network, n_events: int, recorded: Sequence[Words], simulated: Sequence[Words], seed: int = 1
) -> Stimuli:
    """At least `n_events` events: all recorded and up to half simulated ones, the rest generated.

    Of the generated ones half are random, three eighths extreme and one eighth beyond the widths.
    """
    generator = np.random.default_rng(seed)
    real = [np.concatenate(list(parts)) if parts else _no_words(network) for parts in (recorded, simulated)]
    real[1] = real[1][: max(n_events // 2, 1)]
    n_generated = max(n_events - sum(map(len, real)), 64)
    n_extreme, n_overrange = 3 * n_generated // 8, n_generated // 8
    groups = [
        *real,
        random_words(network, n_generated - n_extreme - n_overrange, generator),
        extreme_words(network, n_extreme, generator),
        generator.integers(-(1 << 15), 1 << 15, (n_overrange, len(network.words))).astype(np.int16),
    ]
    kind = np.repeat(np.arange(len(groups), dtype=np.int8), [len(group) for group in groups])
    return Stimuli(np.ascontiguousarray(np.concatenate(groups), np.int16), kind)


def random_words(network: Network, n_events: int, generator: np.random.Generator) -> Words:
    """(n_events, n_words) int16, uniform over each word's hardware width."""
    low, high = _limits(network)
    return generator.integers(low, high + 1, (n_events, len(network.words))).astype(np.int16)


def extreme_words(network: Network, n_events: int, generator: np.random.Generator) -> Words:
    """(n_events, n_words) int16: words drawn from the places where arithmetic turns.

    Those are both ends of the width, zero, the offset of the input scaling, and the words where a
    shifted input crosses a power of two (rounding ties, saturation), each with its neighbours.
    The first events are all-zero, all-lowest and all-highest.
    """
    low, high = _limits(network)
    columns = []
    for column, turns in enumerate(_turning_points(network)):
        near = np.unique(np.clip(np.concatenate([turns - 1, turns, turns + 1]), low[column], high[column]))
        columns.append(generator.choice(near, n_events))
    words = np.stack(columns, axis=1)
    # Half of the events have some objects empty, as real events do: all words of an object are zero.
    objects = [word.name.rpartition("_")[0] for word in network.words]
    _, object_of_word = np.unique(objects, return_inverse=True)
    share = generator.choice([0.0, 0.5], (n_events, 1))
    empty = generator.random((n_events, object_of_word.max() + 1)) < share
    words[empty[:, object_of_word]] = 0
    for row, values in enumerate((np.zeros_like(low), low, high)):
        words[row : row + 1] = values
    return words.astype(np.int16)


def _turning_points(network: Network) -> list[NDArray[np.int64]]:
    low, high = _limits(network)
    offset = np.zeros(len(network.words), np.int64)
    halving = np.zeros_like(offset)
    for operation in network.operations:
        if isinstance(operation, Offset):
            offset = np.round(operation.offset * 2.0**-operation.offset_type.fraction).astype(np.int64)
            break
        if isinstance(operation, Shift):
            halving = operation.shift
    powers = np.concatenate([-(1 << np.arange(14)), [0], 1 << np.arange(14)])
    centre = offset << np.maximum(halving, 0)
    return [
        np.concatenate([[low[i], high[i], 0], centre[i] + (powers << max(int(halving[i]), 0))])
        for i in range(len(network.words))
    ]


def _limits(network: Network) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    low = np.array([word.min_int for word in network.words], np.int64)
    return low, np.array([word.max_int for word in network.words], np.int64)


def _no_words(network: Network) -> Words:
    return np.zeros((0, len(network.words)), np.int16)
