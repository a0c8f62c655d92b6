"""The float parent of a network: the same operations in real numbers, with unrounded weights.

No rounding and no wrapping anywhere, inputs included: what the fixed-point network would be if bits
were free. Not exact by design; used to say what quantisation costs.
"""

from __future__ import annotations

from collections.abc import Mapping

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
from axo.network.types import FixedType

Reals = NDArray[np.float64]
Weights = Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating]]]
"""Kernel (inputs, outputs) and bias (outputs,) of each dense operation, by its name."""


def evaluate_real(
    network: Network, weights: Weights, words: ArrayLike, saturate: bool = False, chunk: int = 65536
) -> Reals:
    """Scores (n,) of raw `words` (n, n_words) in real numbers, in units of the score's value.

    Values are unbounded; with `saturate`, where a type of the network saturates (SAT), so do they.
    Raises KeyError for a dense operation without `weights`, ValueError for weights of another shape.
    """
    for operation in network.operations:
        if isinstance(operation, Dense):
            kernel, bias = weights[operation.name]
            if kernel.shape != operation.weight.shape or bias.shape != operation.bias.shape:
                raise ValueError(f"operation {operation.name!r}: weights are {kernel.shape} and {bias.shape}")
    words = np.asarray(words)
    scores = np.empty(len(words))
    for start in range(0, len(words), chunk):
        tensors: dict[str, Reals] = {WORDS: words[start : start + chunk].astype(np.float64)}
        for operation in network.operations:
            value = _apply(operation, tensors, weights)
            tensors[operation.name] = _saturated(value, network.types[operation.name]) if saturate else value
        scores[start : start + chunk] = tensors[network.score][:, 0]
    return scores


def _saturated(value: Reals, kind: FixedType) -> Reals:
    if not kind.overflow.startswith("SAT"):
        return value
    step = 2.0**-kind.fraction
    return value.clip(kind.min_int * step, kind.max_int * step)


def _apply(operation: Operation, tensors: dict[str, Reals], weights: Weights) -> Reals:
    x = tensors[operation.input]
    match operation:
        case Relu():
            return np.maximum(x, 0)
        case Linear():
            return x
        case Shift():
            return x * 2.0 ** -operation.shift.astype(np.float64)
        case Offset():
            return x - operation.offset * 2.0**-operation.offset_type.fraction
        case Subtract():
            return x - tensors[operation.other]
        case Scale():
            scale = operation.scale * 2.0**-operation.scale_type.fraction
            return x * scale + operation.bias * 2.0**-operation.bias_type.fraction
        case Dense():
            kernel, bias = weights[operation.name]
            return x @ kernel + bias
        case Dot():
            return (x * tensors[operation.other]).sum(axis=1, keepdims=True)
        case SumOfSquares():
            return (x * x).sum(axis=1, keepdims=True)
    raise TypeError(f"no evaluation in real numbers for {operation.op!r}")
