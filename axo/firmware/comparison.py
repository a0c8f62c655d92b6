"""Independent evaluations of one network, compared as integers, every pair."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from axo.firmware.stimuli import KINDS, Stimuli
from axo.network import Network, evaluate
from axo.network.types import Ints


@dataclass(frozen=True)
class Result:
    """What one evaluation gave.

    `rows` (m,) numbers the events of the stimuli that it saw; `score_word` (m,) int32;
    `embedding_word` (m, k) int32 and `trigger_bits` (m, n_thresholds) bool, where it has them;
    `latency_cycles` where it runs in clock cycles.
    """

    name: str
    rows: NDArray[np.int64]
    score_word: NDArray[np.int32]
    embedding_word: NDArray[np.int32] | None = None
    trigger_bits: NDArray[np.bool_] | None = None
    latency_cycles: int | None = None

    def __post_init__(self) -> None:
        for values in (self.score_word, self.embedding_word, self.trigger_bits):
            if values is not None and len(values) != len(self.rows):
                raise ValueError(f"{self.name}: {len(values)} results for {len(self.rows)} events")


@dataclass(frozen=True)
class Comparison:
    """`events` seen by both, by kind; `mismatched` rows; which `quantities` were compared."""

    first: str
    second: str
    events: dict[str, int]
    quantities: tuple[str, ...]
    mismatched: NDArray[np.int64]

    @property
    def mismatches(self) -> int:
        """Number of events in which any compared quantity differs."""
        return len(self.mismatched)


QUANTITIES = ("score_word", "embedding_word", "trigger_bits")


def compare_all(results: Sequence[Result], stimuli: Stimuli) -> list[Comparison]:
    """Every pair of `results`, on the events that both saw."""
    return [compare(first, second, stimuli) for first, second in itertools.combinations(results, 2)]


def compare(first: Result, second: Result, stimuli: Stimuli) -> Comparison:
    """Compare every quantity that both have, on the events that both saw, as integers."""
    rows, in_first, in_second = np.intersect1d(first.rows, second.rows, return_indices=True)
    differs = np.zeros(len(rows), bool)
    quantities = []
    for quantity in QUANTITIES:
        ours, theirs = getattr(first, quantity), getattr(second, quantity)
        if ours is None or theirs is None:
            continue
        quantities.append(quantity)
        unequal = ours[in_first] != theirs[in_second]
        differs |= unequal.reshape(len(rows), -1).any(axis=1)
    return Comparison(first.name, second.name, stimuli.counts(rows), tuple(quantities), rows[differs])


def describe_mismatches(
    comparisons: Sequence[Comparison],
    results: Sequence[Result],
    stimuli: Stimuli,
    network: Network,
    traces: Mapping[str, Callable[[NDArray[np.integer]], Mapping[str, Ints]]] | None = None,
    limit: int = 3,
) -> str:
    """Which pairs differ, and the first `limit` such events, layer by layer; empty when all agree.

    Shows each event's words, every evaluation's answer and all tensors of the reference. `traces`
    give the tensors of other evaluations, by name, of words (n, n_words): theirs are shown where they
    differ from the reference's.
    """
    wrong = [comparison for comparison in comparisons if comparison.mismatches]
    if not wrong:
        return ""
    lines = [f"{entry.first} and {entry.second} differ in {entry.mismatches} events" for entry in wrong]
    for row in np.unique(np.concatenate([entry.mismatched for entry in wrong]))[:limit]:
        lines += _describe_event(int(row), results, stimuli, network, traces or {})
    return "\n".join(lines)


def _describe_event(
    row: int,
    results: Sequence[Result],
    stimuli: Stimuli,
    network: Network,
    traces: Mapping[str, Callable[[NDArray[np.integer]], Mapping[str, Ints]]],
) -> list[str]:
    words = stimuli.words[row]
    lines = [f"event {row} ({list(KINDS)[stimuli.kind[row]]}): words {words.tolist()}"]
    for result in results:
        where = np.flatnonzero(result.rows == row)
        if len(where):
            lines.append(f"  {result.name}: {_answer(result, int(where[0]))}")
    lines.append("  layer by layer, reference:")
    tensors = evaluate(network, words[None]).tensors
    others = {name: trace(words[None]) for name, trace in traces.items()}
    for name, values in tensors.items():
        lines.append(f"    {name} {network.types[name]}: {values[0].tolist()}")
        for other, theirs in others.items():
            if name in theirs and not np.array_equal(theirs[name], values):
                lines.append(f"    {name} of {other} DIFFERS: {np.asarray(theirs[name])[0].tolist()}")
    return lines


def _answer(result: Result, index: int) -> str:
    parts = [f"score word {result.score_word[index]}"]
    if result.embedding_word is not None:
        parts.append(f"embedding {result.embedding_word[index].tolist()}")
    if result.trigger_bits is not None:
        parts.append(f"bits {result.trigger_bits[index].astype(int).tolist()}")
    return ", ".join(parts)
