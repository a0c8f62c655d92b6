"""The reference evaluation: short, slow, obviously right. Every other evaluation must agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.network.network import Network
from axo.network.operations import (
    WORDS,
    Dense,
    Dot,
    Linear,
    Offset,
    Operation,
    Relu,
    Scale,
    Shift,
    Subtract,
    SumOfSquares,
)
from axo.network.types import FixedType, Ints

Tensors = dict[str, Ints]


@dataclass(frozen=True)
class Evaluation:
    """`score_word` (n,) int32, `embedding_word` (n, size) int32; `tensors` (n, size) int64 by name."""

    score_word: NDArray[np.int32]
    embedding_word: NDArray[np.int32]
    tensors: Tensors


def evaluate(network: Network, words: ArrayLike, chunk: int = 65536) -> Evaluation:
    """Evaluate `network` on `words`, (n, len(network.words)) integers within network.word_bounds.

    So any int16 is accepted, also beyond a word's hardware width, and all that a wider word can carry.
    `tensors` of the result holds every tensor only when n <= chunk, to bound memory. Raises ValueError
    for other words or another shape.
    """
    words = np.asarray(words)
    if words.ndim != 2 or words.shape[1] != len(network.words):
        raise ValueError(f"words must be (n, {len(network.words)}), not {words.shape}")
    if not np.issubdtype(words.dtype, np.integer) or not network.word_type.holds(words):
        raise ValueError(f"words must be integers that fit in int{network.word_type.width}")
    require_word_bounds(network, words)
    if len(words) <= chunk:
        return _evaluate(network, words.astype(np.int64))
    parts = [_evaluate(network, words[i : i + chunk].astype(np.int64)) for i in range(0, len(words), chunk)]
    return Evaluation(
        np.concatenate([part.score_word for part in parts]),
        np.concatenate([part.embedding_word for part in parts]),
        {},
    )


def require_word_bounds(network: Network, words: NDArray[np.integer[Any]]) -> None:
    """Raise ValueError naming the first of `words` (n, n_words) that `network` does not take.

    An int16 that its word type holds is always taken, so only wide words are looked at.
    """
    if network.layout.dtype is np.int16:
        return
    low, high = network.word_bounds
    outside = ((words < low) | (words > high)).any(axis=1)
    for event in np.flatnonzero(outside)[:1]:
        column = int(np.flatnonzero((words[event] < low) | (words[event] > high))[0])
        word = network.words[column]
        raise ValueError(
            f"event {event}: {word.name} = {words[event, column]} is beyond int16 and its {word.width} bits"
        )


def _evaluate(network: Network, words: Ints) -> Evaluation:
    tensors: Tensors = {WORDS: words}
    for operation in network.operations:
        tensors[operation.name] = apply(operation, tensors, network.types)
    return Evaluation(
        tensors[network.score][:, 0].astype(np.int32),
        tensors[network.embedding].astype(np.int32),
        tensors,
    )


def apply(operation: Operation, tensors: Tensors, types: dict[str, FixedType]) -> Ints:
    """The tensor (n, size) int64 that `operation` defines."""
    x, fraction = tensors[operation.input], types[operation.input].fraction
    match operation:
        case Relu():
            return operation.type.cast(np.maximum(x, 0), fraction)
        case Linear():
            return operation.type.cast(x, fraction)
        case Shift():
            return _shift(x, operation.shift, types[operation.input])
        case Offset():
            return _subtract(operation.type, x, fraction, operation.offset, operation.offset_type.fraction)
        case Subtract():
            y, y_fraction = tensors[operation.other], types[operation.other].fraction
            return _subtract(operation.type, x, fraction, y, y_fraction)
        case Scale():
            return _scale(operation, x, fraction)
        case Dense():
            return _dense(operation, x, fraction)
        case Dot():
            products, bits = x * tensors[operation.other], fraction + types[operation.other].fraction
            return _sum(operation, products, bits)
        case SumOfSquares():
            return _sum(operation, x * x, 2 * fraction)
    raise TypeError(f"no reference evaluation for {operation.op!r}")


def _shift(x: Ints, shift: Ints, kind: FixedType) -> Ints:
    wrap = FixedType(kind.width, kind.width, kind.signed)
    return wrap.cast(np.where(shift >= 0, x >> np.maximum(shift, 0), x << np.maximum(-shift, 0)), 0)


def _subtract(kind: FixedType, x: Ints, x_fraction: int, y: Ints, y_fraction: int) -> Ints:
    common = max(x_fraction, y_fraction)
    return kind.cast((x << (common - x_fraction)) - (y << (common - y_fraction)), common)


def _scale(operation: Scale, x: Ints, fraction: int) -> Ints:
    product = fraction + operation.scale_type.fraction
    common = max(product, operation.bias_type.fraction)
    bias = operation.bias << (common - operation.bias_type.fraction)
    return operation.type.cast((x * operation.scale << (common - product)) + bias, common)


def _dense(operation: Dense, x: Ints, fraction: int) -> Ints:
    """bias first, then products in input order, as nnet::dense_latency of hls4ml does."""
    accum = operation.accum_type
    total = np.broadcast_to(
        accum.cast(operation.bias, operation.bias_type.fraction), (len(x), len(operation.bias))
    )
    for i, row in enumerate(operation.weight):
        product = accum.cast(x[:, i, None] * row, fraction + operation.weight_type.fraction)
        total = accum.cast(total + product, accum.fraction)
    return total


def _sum(operation: SumOfSquares, products: Ints, fraction: int) -> Ints:
    """Each product truncated to product_type before it is added, as in CMSSW's AXOL1TL."""
    total = np.zeros(len(products), np.int64)
    for column in operation.product_type.cast(products, fraction).T:
        # Both operands at the finer of the two fractions, so that the addition is exact.
        common = max(operation.product_type.fraction, operation.sum_type.fraction)
        added = (total << (common - operation.sum_type.fraction)) + (
            column << (common - operation.product_type.fraction)
        )
        total = operation.sum_type.cast(added, common)
    return total[:, None]
