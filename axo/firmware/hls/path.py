"""C++ of the whole path of a network: the operations around hls4ml's function, and the call of it."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, localcontext

from axo.errors import UserError
from axo.firmware.hls.core import Core
from axo.network import (
    WORDS,
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
from axo.network.types import FixedType, Ints


def path_fields(core: Core, core_function: str) -> dict[str, str]:
    """Fields of path.h.in (and of the templates that include it) that depend on the operations."""
    network, ids = core.network, core.ids
    outside = {op.name for op in network.operations} - {op.name for op in core.operations}
    outside -= set(core.aliases)
    glue = [operation for operation in network.operations if operation.name in outside]
    return {
        "words": ids[WORDS],
        "word_width": str(network.word_type.width),
        "embedding_type": network.types[network.embedding].cpp,
        "score_type": network.types[network.score].cpp,
        "types": "\n".join(_typedefs(core, [WORDS, *(op.name for op in glue)], glue)),
        "constants": "\n".join(line for operation in glue for line in _constants(core, operation)),
        "infer": _indented([_trace(core, WORDS), *_infer(core, glue, core_function)]),
        "tensors": ", ".join(f'{{"{ids[name]}", {size}}}' for name, size in traced(core)),
    }


def traced(core: Core) -> list[tuple[str, int]]:
    """Name and size of every tensor that the tracing emulator writes, in its order."""
    return [(name, size) for name, size in core.network.sizes.items() if name not in core.aliases]


def _infer(core: Core, glue: list[Operation], core_function: str) -> list[str]:
    """Operations outside hls4ml in order, its function called as soon as its inputs are there."""
    network, ids = core.network, core.ids
    lines: list[str] = []
    behind_core: list[Operation] = []
    ready_late = set(core.outputs)
    for operation in glue:
        if ready_late & {core.source(name) for name in operation.inputs}:
            ready_late.add(operation.name)
            behind_core.append(operation)
        else:
            lines += _statements(core, operation)
    for name in core.outputs:
        lines += _declaration(core, name)
    arguments = ", ".join(ids[name] for name in (*core.inputs, *core.outputs))
    lines.append(f"{core_function}({arguments});")
    for operation in behind_core:
        lines += _statements(core, operation)
    embedding, score = ids[core.source(network.embedding)], ids[core.source(network.score)]
    lines.append(_call("linear", (network.sizes[network.embedding],), embedding, "embedding"))
    lines.append(f"score = {score}[0];")
    return lines


def _typedefs(core: Core, names: Iterable[str], glue: Iterable[Operation]) -> list[str]:
    ids, types = core.ids, core.network.types
    lines = [f"typedef {types[name].cpp} {ids[name]}_t;" for name in (*names, *core.outputs)]
    for operation in glue:
        if isinstance(operation, SumOfSquares):
            lines.append(f"typedef {operation.product_type.cpp} {ids[operation.name]}_product_t;")
        for what, (_, kind) in _fixed_constants(operation).items():
            lines.append(f"typedef {kind.plain.cpp} {ids[operation.name]}_{what}_t;")
    return lines


def _fixed_constants(operation: Operation) -> dict[str, tuple[Ints, FixedType]]:
    """The arrays of constants of an operation outside hls4ml, and their types."""
    match operation:
        case Offset():
            return {"offset": (operation.offset, operation.offset_type)}
        case Scale():
            return {
                "scale": (operation.scale, operation.scale_type),
                "bias": (operation.bias, operation.bias_type),
            }
    return {}


def _constants(core: Core, operation: Operation) -> list[str]:
    name = core.ids[operation.name]
    if isinstance(operation, Shift):
        values = ", ".join(str(amount) for amount in operation.shift)
        return [f"static const int {name}_amount[{len(operation.shift)}] = {{{values}}};"]
    lines = []
    for what, (integers, kind) in _fixed_constants(operation).items():
        values = ", ".join(_literal(int(value), kind, operation, what) for value in integers)
        lines.append(f"static const {name}_{what}_t {name}_{what}[{len(integers)}] = {{{values}}};")
    return lines


def _literal(value: int, kind: FixedType, operation: Operation, what: str) -> str:
    """The exact decimal of a constant, which a C++ double must hold."""
    if abs(value) >= 1 << 53:
        raise UserError(
            f"operation {operation.name!r} ({operation.op}): {what} of more than 53 bits is not C++"
        )
    with localcontext(prec=200):
        return f"{Decimal(value) * Decimal(2) ** -kind.fraction:f}"


def _statements(core: Core, operation: Operation) -> list[str]:
    """Declaration of the result, the call that fills it, and the trace of it."""
    size = core.network.sizes[operation.input]
    name = core.ids[operation.name]
    x, *others = [core.ids[core.source(source)] for source in operation.inputs]
    match operation:
        case Shift():
            call = _call("shift", (size,), x, f"{name}_amount", name)
        case Offset():
            call = _call("subtract", (size,), x, f"{name}_offset", name)
        case Scale():
            call = _call("scale", (size,), x, f"{name}_scale", f"{name}_bias", name)
        case Subtract():
            call = _call("subtract", (size,), x, others[0], name)
        case Relu():
            call = _call("relu", (size,), x, name)
        case Linear():
            call = _call("linear", (size,), x, name)
        case SumOfSquares():
            factors = (x, others[0]) if isinstance(operation, Dot) else (x, x)
            call = _call(_sum_function(operation), (size, f"{name}_product_t"), *factors, name)
        case _:
            raise TypeError(f"no C++ for {operation.op!r}")
    return [*_declaration(core, operation.name), call, _trace(core, operation.name)]


def _sum_function(operation: SumOfSquares) -> str:
    """A tree of adders where the order cannot matter: sums wrap, and no bit of a product is dropped."""
    total, product = operation.sum_type, operation.product_type
    return "dot_tree" if total.overflow == "WRAP" and product.fraction <= total.fraction else "dot"


def _declaration(core: Core, name: str) -> list[str]:
    variable = core.ids[name]
    return [
        f"{variable}_t {variable}[{core.network.sizes[name]}];",
        f"#pragma HLS ARRAY_PARTITION variable={variable} complete dim=0",
    ]


def _call(function: str, parameters: tuple[int | str, ...], *arguments: str) -> str:
    return f"axo::{function}<{', '.join(map(str, parameters))}>({', '.join(arguments)});"


def _trace(core: Core, name: str) -> str:
    variable = core.ids[name]
    return f"AXO_TRACE_TENSOR({variable}_t, {variable}, {core.network.sizes[name]})"


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
