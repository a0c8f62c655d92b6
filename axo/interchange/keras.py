"""Keras -> Network: quantised layers of the ``qkeras`` API become operations with exact types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError
from axo.layout import Layout
from axo.network.intervals import Interval, analyse, require_sound
from axo.network.network import Network
from axo.network.operations import Dense, Linear, Operation, Relu, Subtract, SumOfSquares
from axo.network.types import FixedType, Ints

# float32 holds integers exactly up to here; a sum in any order is exact if no partial sum passes it.
FLOAT32_EXACT = 1 << 24

SCORE_BITS = 18
"""Of a CMS anomaly score."""


def layer_operations(
    layout: Layout, model: Any, source: str, head: tuple[Operation, ...], prefix: str = ""
) -> list[Operation]:
    """The operations of the functional Keras `model` of QDense, QActivation and Subtract on tensor `source`.

    `head` are the operations before it (from the words of `layout` on), whose bounds give each
    accumulator the fewest bits that cannot overflow. Every QDense is followed by a QActivation; a
    quantiser that keeps no negative values is a Relu, another one a Linear; a difference gets a type
    that holds it. Names are those of the layers, after `prefix`.

    Raises UserError for a layer or quantiser that has no exact operation.
    """
    operations, tensors = list(head), {}
    for layer, inputs in _graph(model):
        kind = type(layer).__name__
        if kind == "InputLayer":
            tensors[layer.name] = source
            continue
        build = {"QDense": _dense, "Quantizer": _activation, "Subtract": _subtract}.get(kind)
        if build is None:
            raise UserError(
                f"layer {layer.name!r}: {kind} has no fixed-point operation; use QDense, QActivation and "
                "Subtract"
            )
        tensors[layer.name] = f"{prefix}{layer.name}"
        sources = [tensors[name] for name in inputs]
        operations.append(build(layer, tensors[layer.name], sources, _Before(layout, operations)))
    return operations[len(head) :]


def squared_length_network(
    name: str,
    layout: Layout,
    head: Sequence[Operation],
    model: Any,
    score_type: FixedType | None = None,
) -> Network:
    """The network of `head` on the words of `layout`, and the Keras `model` behind it.

    The score is the squared length of the model's output.
    `score_type` is that of the score and its squares; None: the 18 bits, saturating, that keep the
    last bit of every square. Raises what `layer_operations` raises.
    """
    body = layer_operations(layout, model, head[-1].name, tuple(head))
    output = body[-1].name
    if score_type is None:
        fraction = _bounds(_Before(layout, [*head, *body]), output)[0].fraction
        score_type = FixedType(SCORE_BITS, SCORE_BITS - 2 * fraction, False, "TRN", "SAT")
    score = SumOfSquares("score", output, score_type, score_type)
    return Network(name, layout, (*head, *body, score), score.name, output)


def require_exact_in_float32(network: Network) -> int:
    """Require that float32 evaluates every dense sum exactly; the largest magnitude reached.

    That magnitude is in units of the products' last bit and bounds every partial sum in any order,
    so it must not pass 2**24. Raises UserError naming the operation otherwise.
    """
    analysis = require_sound(network)
    largest = 0
    for operation in network.operations:
        if isinstance(operation, Dense):
            x = analysis.intervals[operation.input]
            bits = network.types[operation.input].fraction + operation.weight_type.fraction
            common = max(bits, operation.bias_type.fraction)
            products = np.maximum(np.abs(x.low), np.abs(x.high)) @ np.abs(operation.weight)
            bias = np.abs(operation.bias) << (common - operation.bias_type.fraction)
            reach = int(((products << (common - bits)) + bias).max())
            largest = max(largest, reach)
            if reach > FLOAT32_EXACT:
                raise UserError(
                    f"operation {operation.name!r}: sums reach {reach}, beyond the 2**24 that float32 holds "
                    "exactly: the Keras model could not be compared; use fewer bits"
                )
    return largest


@dataclass(frozen=True)
class Cost:
    """What drives the size of the logic, per dense operation.

    `nonzero_weights`, `csd_digits` (non-zero digits of the weights in canonical signed-digit form:
    each is one adder), `weights` in all, and `rows` that have any non-zero weight.
    """

    operation: str
    weights: int
    nonzero_weights: int
    csd_digits: int
    rows: int


def cost(network: Network) -> list[Cost]:
    """The cost of each dense operation of `network`."""
    return [
        Cost(
            operation.name,
            operation.weight.size,
            int(np.count_nonzero(operation.weight)),
            int(csd_digits(operation.weight).sum()),
            int(np.count_nonzero(operation.weight.any(axis=1))),
        )
        for operation in network.operations
        if isinstance(operation, Dense)
    ]


def csd_digits(values: ArrayLike) -> Ints:
    """Number of non-zero digits of each integer in canonical signed-digit form.

    It is the number of ones of x XOR 3x (Prodinger, "On binary representations of integers with
    digits -1, 0, 1", Integers 0 (2000) A8).
    """
    magnitude = np.abs(np.asarray(values, np.int64))
    digits: Ints = np.bitwise_count(magnitude ^ (3 * magnitude)).astype(np.int64)
    return digits


@dataclass(frozen=True)
class _Before:
    """What a layer stands behind: the words of `layout`, and `operations` on them."""

    layout: Layout
    operations: list[Operation]


def _graph(model: Any) -> list[tuple[Any, list[str]]]:
    """The layers of a functional model, each behind those that it reads, with the names of those."""
    nodes = [node for depth in sorted(model._nodes_by_depth)[::-1] for node in model._nodes_by_depth[depth]]
    graph = [
        (node.operation, [tensor._keras_history.operation.name for tensor in node.input_tensors])
        if node.parent_nodes
        else (node.operation, [])
        for node in nodes
    ]
    kinds = {layer.name: type(layer).__name__ for layer, _ in graph}
    followed = {name for layer, inputs in graph if kinds[layer.name] == "Quantizer" for name in inputs}
    for name, kind in kinds.items():
        if kind == "QDense" and name not in followed:
            raise UserError(f"layer {name!r}: a QDense must be followed by a QActivation")
    return graph


def _subtract(layer: Any, name: str, sources: list[str], before: _Before) -> Subtract:
    kinds, bounds = zip(*(_bounds(before, source) for source in sources), strict=True)
    fraction = max(kind.fraction for kind in kinds)
    (low, high), (other_low, other_high) = (
        (bound.low << (fraction - kind.fraction), bound.high << (fraction - kind.fraction))
        for kind, bound in zip(kinds, bounds, strict=True)
    )
    width = _signed_width(low - other_high, high - other_low)
    return Subtract(name, sources[0], sources[1], FixedType(width, width - fraction))


def _activation(layer: Any, name: str, sources: list[str], before: _Before) -> Linear:
    kind = _fixed_type(layer.quantizer, layer.name)
    return Linear(name, sources[0], kind) if kind.signed else Relu(name, sources[0], kind)


def _dense(layer: Any, name: str, sources: list[str], before: _Before) -> Dense:
    if getattr(layer.activation, "__name__", "linear") != "linear":
        raise UserError(f"layer {name!r}: put the activation into a QActivation of its own")
    weight_type = _common_type(layer.kq.quantizer, name)
    weight = _integers(layer.qkernel, weight_type, f"{name} kernel")
    if layer.use_bias:
        bias_type = _fixed_type(layer.bq.quantizer, name)
        bias = _integers(layer.qbias, bias_type, f"{name} bias")
    else:
        bias_type, bias = weight_type, np.zeros(weight.shape[1], np.int64)
    source_type, bounds = _bounds(before, sources[0])
    bits = source_type.fraction + weight_type.fraction
    accum = _accumulator(weight, bias, bits, bias_type.fraction, bounds)
    return Dense(name, sources[0], weight, weight_type.plain, bias, bias_type.plain, accum)


def _bounds(before: _Before, source: str) -> tuple[FixedType, Interval]:
    """Type and interval of tensor `source`; a throw-away score completes the network so far."""
    wide = FixedType(31, 31, False, "TRN", "SAT")
    score = SumOfSquares("throw_away", source, wide, wide)
    network = Network("unfinished", before.layout, (*before.operations, score), score.name, source)
    return network.types[source], analyse(network, hardware_words=False).intervals[source]


def _accumulator(weight: Ints, bias: Ints, bits: int, bias_bits: int, x: Interval) -> FixedType:
    """The narrowest exact type that holds the bias, every product and the total."""
    fraction = max(bits, bias_bits)
    ends = np.stack([x.low[:, None] * weight, x.high[:, None] * weight]) << (fraction - bits)
    low, high = ends.min(0), ends.max(0)
    start = bias << (fraction - bias_bits)
    extremes = [low, high, start, start + low.sum(0), start + high.sum(0)]
    width = _signed_width(*extremes)
    return FixedType(width, width - fraction)


def _signed_width(*values: Ints) -> int:
    """Bits of the narrowest two's complement integer that holds all `values`."""
    return max(max(int(v.max()).bit_length(), int(~v.min()).bit_length()) for v in values) + 1


def _integers(values: Any, kind: FixedType, what: str) -> Ints:
    scaled = np.asarray(values, np.float64) * 2.0**kind.fraction
    integers = np.rint(scaled).astype(np.int64)
    if not np.array_equal(integers, scaled) or not kind.holds(integers):
        raise UserError(f"{what}: values are not of the type {kind} of their quantiser")
    return integers


def _fixed_type(quantizer: Any, name: str) -> FixedType:
    """The type of a frozen fixed-point quantiser: `b` bits and `i` integer bits beside the sign."""
    try:
        keep, bits, integer = (
            np.unique(np.asarray(value)) for value in (quantizer.k, quantizer.b, quantizer.i)
        )
        rounding, overflow = quantizer.round_mode, quantizer.overflow_mode
    except AttributeError as error:
        raise UserError(f"layer {name!r}: its quantiser is no fixed-point one ({error})") from error
    if any(len(values) != 1 for values in (keep, bits, integer)):
        raise UserError(f"layer {name!r}: its quantiser has one width per element; one per tensor is needed")
    sign = int(keep[0])
    return FixedType(int(bits[0]) + sign, int(integer[0]) + sign, bool(sign), rounding, overflow)


def _common_type(quantizer: Any, name: str) -> FixedType:
    """The narrowest signed type of all elements of a weight quantiser, whose widths may differ."""
    integer, fraction = np.asarray(quantizer.i), np.asarray(quantizer.f)
    used = np.asarray(quantizer.k) + integer + fraction > 0
    if integer.size == 1 or not used.any():
        return _fixed_type(quantizer, name)
    integer_bits = int(integer[used].max()) + 1
    return FixedType(integer_bits + int(fraction[used].max()), integer_bits)


def as_values(integers: NDArray[np.integer[Any]], kind: FixedType) -> NDArray[np.float32]:
    """The values, float32, of `integers` of type `kind` (exact for at most 24 bits)."""
    return integers.astype(np.float32) * np.float32(2.0**-kind.fraction)
