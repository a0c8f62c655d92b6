"""The words that every evaluation of a network is compared on, by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from axo.network import Linear, Network, Offset, Shift

Words = NDArray[np.integer]

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
    """`words` (n, n_words) of the layout's dtype and, per event, its `kind` (n,) as an index into KINDS.

    Only events within the hardware widths may be given to RTL: see `in_hardware`.
    """

    words: Words
    kind: NDArray[np.int8]

    @property
    def in_hardware(self) -> NDArray[np.bool_]:
        """(n,) bool: the event can occur on the trigger's wires."""
        possible: NDArray[np.bool_] = self.kind != list(KINDS).index(OVERRANGE)
        return possible

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
    overrange = (n_overrange, len(network.words))
    low, high = network.word_bounds
    groups = [
        *real,
        random_words(network, n_generated - n_extreme - n_overrange, generator),
        extreme_words(network, n_extreme, generator),
        generator.integers(low, high + 1, overrange),
    ]
    kind = np.repeat(np.arange(len(groups), dtype=np.int8), [len(group) for group in groups])
    return Stimuli(np.ascontiguousarray(np.concatenate(groups), network.layout.dtype), kind)


def random_words(network: Network, n_events: int, generator: np.random.Generator) -> Words:
    """(n_events, n_words) of the layout's dtype, uniform over each word's hardware width."""
    layout = network.layout
    words = generator.integers(layout.low, layout.high + 1, (n_events, len(layout.words)))
    return words.astype(layout.dtype)


def extreme_words(network: Network, n_events: int, generator: np.random.Generator) -> Words:
    """(n_events, n_words) of the layout's dtype: words drawn from the places where arithmetic turns.

    Those are both ends of the width, zero, the offset of the input scaling, and the words where a
    shifted input crosses a power of two (rounding ties, saturation), each with its neighbours.
    The first events are all-zero, all-lowest and all-highest.
    """
    layout = network.layout
    low, high = layout.low, layout.high
    columns = []
    for column, turns in enumerate(_turning_points(network)):
        near = np.unique(np.clip(np.concatenate([turns - 1, turns, turns + 1]), low[column], high[column]))
        columns.append(generator.choice(near, n_events))
    words = np.stack(columns, axis=1)
    # Half of the events have some objects empty, as real events do: all words of an object are zero.
    share = generator.choice([0.0, 0.5], (n_events, 1))
    empty = generator.random((n_events, len(layout.objects))) < share
    words[empty[:, layout.object_of_word]] = 0
    for row, values in enumerate((np.zeros_like(low), low, high)):
        words[row : row + 1] = values
    return words.astype(layout.dtype)


def _turning_points(network: Network) -> list[NDArray[np.int64]]:
    """By word: its ends, zero, and those that the first operations bring to 0 and powers of two.

    The first operations are the assignments, shifts and one offset that each word goes through alone.
    """
    low, high = network.layout.low, network.layout.high
    fraction, offset = np.zeros(len(low), np.int64), np.zeros(len(low))
    for operation in network.operations:
        if isinstance(operation, Shift):
            fraction += operation.shift
        elif isinstance(operation, Offset):
            # What is subtracted, in units of the word: the shifts before it are undone.
            offset = operation.offset * 2.0 ** (fraction - operation.offset_type.fraction)
            break
        elif type(operation) is not Linear:
            break
    ups = 1 << np.arange(network.word_type.width - 2)
    powers = np.concatenate([-ups, [0], ups])
    centre = np.round(offset).astype(np.int64)
    return [
        np.concatenate([[low[i], high[i], 0], centre[i] + (powers << max(int(fraction[i]), 0))])
        for i in range(len(low))
    ]


def _no_words(network: Network) -> Words:
    return np.zeros((0, len(network.words)), network.layout.dtype)
