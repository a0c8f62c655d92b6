"""Operations as plain C loops over lanes, for every network and every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from axo.emulator.kernel.lane import Lane
from axo.emulator.kernel.plan import Packing, Plan
from axo.emulator.kernel.text import Function, block_function, table
from axo.network import (
    Dense,
    Dot,
    FixedType,
    Linear,
    Offset,
    Operation,
    Relu,
    Scale,
    Shift,
    Subtract,
    SumOfSquares,
)
from axo.network.types import Ints

EACH_EVENT = "for (int e = 0; e < BLOCK; e++)"


def loop_function(plan: Plan, operation: Operation) -> Function:
    """The function that computes the lanes of `operation` from the lanes of its inputs."""
    match operation:
        case Dense():
            body = _dense(plan, operation)
        case SumOfSquares():
            body = _sum(plan, operation)
        case _:
            body = _elementwise(plan, operation)
    return block_function(f"compute_{operation.name}", body)


def words_function(n_words: int) -> Function:
    """The lanes of the words, from the rows of the block."""
    body = [
        EACH_EVENT,
        f"    for (int i = 0; i < {n_words}; i++) b->words[i][e] = b->rows[{n_words} * e + i];",
    ]
    return block_function("compute_words", body)


def unpack_function(name: str, packing: Packing) -> Function:
    """The lanes of a tensor from its packed form."""
    places = np.array(packing.places())
    bits = 32 // len(packing.groups[0])
    kind = "int32_t" if packing.form == "pairs" else "uint32_t"
    body = [
        table("int16_t", "group", places[:, 0]),
        table("int16_t", "up", (32 - bits) - bits * places[:, 1]),
        f"for (int i = 0; i < {len(places)}; i++)",
        f"    {EACH_EVENT} {{",
        f"        {kind} v = ({kind})((uint32_t)b->{name}_packed[group[i]][e] << up[i]) >> {32 - bits};",
        f"        b->{name}[i][e] = (int32_t)v + {packing.zero};",
        "    }",
    ]
    return block_function(f"unpack_{name}", body)


def _elementwise(plan: Plan, operation: Operation) -> list[str]:
    types, source = plan.network.types, operation.input
    fraction = types[source].fraction
    lane, tables = Lane(*plan.hull(source)), {}
    match operation:
        case Relu():
            lane.relu().cast(fraction, operation.type)
        case Linear():
            lane.cast(fraction, operation.type)
        case Shift():
            tables = _shift(plan, operation, lane)
        case Offset():
            common = max(fraction, operation.offset_type.fraction)
            tables["offset"] = operation.offset << (common - operation.offset_type.fraction)
            lane.shift_left(common - fraction)
            lane.subtract("offset[i]", int(tables["offset"].min()), int(tables["offset"].max()))
            lane.cast(common, operation.type)
        case Scale():
            tables = _scale(plan, operation, lane)
        case Subtract():
            common = max(fraction, types[operation.other].fraction)
            other = Lane(*plan.hull(operation.other)).shift_left(common - types[operation.other].fraction)
            up = common - types[operation.other].fraction if other.code else 0
            lane.shift_left(common - fraction)
            lane.subtract(f"((__typeof__(v))b->{operation.other}[i][e] << {up})", other.low, other.high)
            lane.cast(common, operation.type)
        case _:
            raise TypeError(f"no loop for {operation.op!r}")
    c_type = _c_type(lane)
    return [
        *(table(c_type, name, values) for name, values in tables.items()),
        f"for (int i = 0; i < {plan.network.sizes[source]}; i++)",
        f"    {EACH_EVENT} {{",
        *_statements(c_type, f"b->{source}[i][e]", lane.code, f"b->{operation.name}[i][e]"),
        "    }",
    ]


def _statements(c_type: str, source: str, code: list[str], target: str) -> list[str]:
    return [f"        {line}" for line in (f"{c_type} v = {source};", *code, f"{target} = v;")]


def _shift(plan: Plan, operation: Shift, lane: Lane) -> dict[str, Ints]:
    """A right shift never grows; a left shift does, then wraps. Returns the tables it reads."""
    kind, interval = plan.network.types[operation.input], plan.interval(operation.input)
    up, down = np.maximum(-operation.shift, 0), np.maximum(operation.shift, 0)
    low, high = interval.low << up, interval.high << up
    if up.any():
        lane.step("v = v << up[i];", int(low.min()), int(high.max()))
    if down.any():
        lane.step("v = v >> down[i];", int((low >> down).min()), int((high >> down).max()))
    lane.wrap(FixedType(kind.width, kind.width, kind.signed))
    return {name: values for name, values in (("up", up), ("down", down)) if values.any()}


def _scale(plan: Plan, operation: Scale, lane: Lane) -> dict[str, Ints]:
    """The product, the bias at the finer of both fractions, and the cast. Returns the tables read."""
    interval, scale = plan.interval(operation.input), operation.scale
    product = plan.network.types[operation.input].fraction + operation.scale_type.fraction
    common = max(product, operation.bias_type.fraction)
    bias = operation.bias << (common - operation.bias_type.fraction)
    ends = np.stack([interval.low * scale, interval.high * scale])
    lane.hold(int(scale.min()), int(scale.max()))
    lane.step("v = v * scale[i];", int(ends.min()), int(ends.max()))
    lane.shift_left(common - product).add("bias[i]", int(bias.min()), int(bias.max()))
    lane.cast(common, operation.type)
    return {"scale": scale, "bias": bias}


def _dense(plan: Plan, operation: Dense) -> list[str]:
    accum, interval = operation.accum_type, plan.interval(operation.input)
    fraction = plan.network.types[operation.input].fraction + operation.weight_type.fraction
    up = accum.fraction - fraction
    # A product is extreme at an end of its input's interval; the order of the ends is the weight's sign's.
    ends = np.stack([interval.low[:, None] * operation.weight, interval.high[:, None] * operation.weight])
    wraps = accum.overflow == "WRAP"
    if up >= 0 and (wraps or plan.never_saturates(operation, ends << up)):
        # As Python's integers: where a total wraps, its bounds may be beyond int64.
        return _dense_at_once(plan, operation, up, ends.astype(object))
    return _dense_in_order(plan, operation, fraction, ends)


def _dense_at_once(plan: Plan, operation: Dense, up: int, ends: NDArray[np.object_]) -> list[str]:
    """The exact total, wrapped once: wrapping commutes with addition."""
    accum, weight = operation.accum_type, operation.weight << up
    bias = accum.cast(operation.bias, operation.bias_type.fraction)
    low, high = (bias + (end.sum(0) << up) for end in (ends.min(0), ends.max(0)))
    lane = Lane(int(min(low)), int(max(high)))
    lane.hold(int(weight.min()), int(weight.max()))
    if accum.overflow == "WRAP":
        lane.wrap(accum)
    c_type = _c_type(lane)
    accumulate = f"total[e] += ({c_type})b->{operation.input}[i][e] * w;"
    return _each_output(operation, c_type, weight, bias, [accumulate], lane.code)


def _dense_in_order(plan: Plan, operation: Dense, fraction: int, ends: Ints) -> list[str]:
    """Every product and every running total assigned to the accumulator's type."""
    accum = operation.accum_type
    bias = accum.cast(operation.bias, operation.bias_type.fraction)
    lane = Lane(int(ends.min()), int(ends.max()))
    lane.hold(*plan.hull(operation.input))
    lane.hold(int(operation.weight.min()), int(operation.weight.max()))
    lane.cast(fraction, accum).add("total[e]", accum.min_int, accum.max_int).cast(accum.fraction, accum)
    c_type = _c_type(lane)
    product = f"{c_type} v = ({c_type})b->{operation.input}[i][e] * w;"
    return _each_output(operation, c_type, operation.weight, bias, [product, *lane.code, "total[e] = v;"], [])


def _each_output(
    operation: Dense, c_type: str, weight: Ints, bias: Ints, accumulate: list[str], finish: list[str]
) -> list[str]:
    n_in, n_out = weight.shape
    return [
        table(c_type, "weight", weight.T),
        table(c_type, "bias", bias),
        f"for (int j = 0; j < {n_out}; j++) {{",
        f"    {c_type} total[BLOCK];",
        f"    {EACH_EVENT} total[e] = bias[j];",
        f"    for (int i = 0; i < {n_in}; i++) {{",
        f"        const {c_type} w = weight[j][i];",
        "        if (w == 0) continue;",
        f"        {EACH_EVENT} {{",
        *(f"            {line}" for line in accumulate),
        "        }",
        "    }",
        f"    {EACH_EVENT} {{",
        *_statements(c_type, "total[e]", finish, f"b->{operation.name}[j][e]"),
        "    }",
        "}",
    ]


def _sum(plan: Plan, operation: SumOfSquares) -> list[str]:
    product_type, sum_type, types = operation.product_type, operation.sum_type, plan.network.types
    other = operation.inputs[-1]
    fraction = types[operation.input].fraction + types[other].fraction
    common = max(product_type.fraction, sum_type.fraction)
    down = common - sum_type.fraction
    products = _products(plan, operation)
    # First the bounds of the running total, product by product. Then the loop's body, which is one for all
    # of them: it holds the widest product, and any of the totals before it.
    total, totals = Lane(0, 0), [(0, 0)]
    for low, high in products:
        term = Lane(low, high).cast(fraction, product_type).shift_left(common - product_type.fraction)
        total.shift_left(down).add("", term.low, term.high).cast(common, sum_type)
        totals.append((total.low, total.high))
    lane = Lane(min(low for low, _ in products), max(high for _, high in products))
    lane.hold(*plan.hull(operation.input))
    lane.hold(*plan.hull(other))
    lane.cast(fraction, product_type).shift_left(common - product_type.fraction)
    before = Lane(min(low for low, _ in totals), max(high for _, high in totals)).shift_left(down)
    if (before.low, before.high) != (0, 0):
        lane.add(f"(total[e] << {down})", before.low, before.high)
    lane.cast(common, sum_type)
    c_type = _c_type(lane)
    product = f"({c_type})b->{operation.input}[i][e] * b->{other}[i][e]"
    return [
        f"{c_type} total[BLOCK];",
        f"{EACH_EVENT} total[e] = 0;",
        f"for (int i = 0; i < {plan.network.sizes[operation.input]}; i++)",
        f"    {EACH_EVENT} {{",
        *_statements(c_type, product, lane.code, "total[e]"),
        "    }",
        f"{EACH_EVENT} b->{operation.name}[0][e] = total[e];",
    ]


def _products(plan: Plan, operation: SumOfSquares) -> list[tuple[int, int]]:
    """Exact bounds of each product."""
    x, y = plan.interval(operation.input), plan.interval(operation.inputs[-1])
    ends = np.stack([x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high])
    low, high = ends.min(0), ends.max(0)
    if not isinstance(operation, Dot):
        # x and y are the same number here, so that a square is never the product of opposite ends.
        low = np.where((x.low < 0) & (x.high > 0), 0, np.minimum(x.low**2, x.high**2))
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _c_type(*lanes: Lane) -> str:
    return "int32_t" if max(lane.bits for lane in lanes) <= 32 else "int64_t"
