"""The part of a network that hls4ml expresses, as an hls4ml project, and the check of what it wrote.

hls4ml's graph is built from the network with every type given, so nothing is inferred. Its passes
may still drop, merge or retype a layer, so the C++ that it wrote is read back and compared.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from axo.errors import UserError, nearest
from axo.firmware.hls.unrolled import read_unrolled
from axo.network import Dense, FixedType, Linear, Network, Operation, Scale, Subtract
from axo.network.types import Ints


@dataclass(frozen=True)
class Strategy:
    """How hls4ml writes dense layers: `name` there, `kernel` that sums, whether weights are transposed.

    Without a kernel each layer is a function of its own (see hls_unrolled), without arrays of weights.
    """

    name: str
    kernel: str | None
    is_transposed: bool = False


# Those of hls4ml 1.3 that take a new event every clock and were seen to be exact. It takes a name
# that it does not know for latency, and resource_unrolled for resource, as the reuse factor is 1.
STRATEGIES = {
    "latency": Strategy("Latency", "nnet::DenseLatency"),
    "resource": Strategy("Resource", "nnet::DenseResource_rf_leq_nin", is_transposed=True),
    "distributed_arithmetic": Strategy("distributed_arithmetic", None),
}


def require_strategy(strategy: str, key: str) -> None:
    """Raise UserError, naming the configuration's `key`, when `strategy` is none of STRATEGIES."""
    if strategy not in STRATEGIES:
        hint = nearest(str(strategy), list(STRATEGIES))
        raise UserError(f"{key} {strategy!r} is none of {', '.join(STRATEGIES)}{hint}")


@dataclass(frozen=True)
class Core:
    """Which of a network's operations hls4ml gets; all names are those of the network's tensors.

    `inputs` are read by it, `outputs` are read from it; `operations` are in order. `aliases` are
    assignments to the same type, which hls4ml would drop: name of the result -> name of the source.
    """

    network: Network
    operations: tuple[Operation, ...]
    aliases: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @cached_property
    def ids(self) -> dict[str, str]:
        """C++ (and hls4ml) name of every tensor of the network, unique whatever its case."""
        return {name: f"t{index}_{name}" for index, name in enumerate(self.network.types)}

    def source(self, name: str) -> str:
        """The tensor that holds the values of `name`: itself, or what it is an alias of."""
        return self.aliases.get(name, name)


def find_core(network: Network) -> Core:
    """Split off the dense layers and what stands between and after them.

    Raises UserError naming the operation when there is none, or when a dense layer depends on
    something that only the code around hls4ml's computes.
    """
    inside: list[Operation] = []
    aliases: dict[str, str] = {}
    core: set[str] = set()
    behind: set[str] = set()  # computed from the core by operations outside it
    for operation in network.operations:
        sources = set(operation.inputs)
        if isinstance(operation, Dense) and sources & behind:
            raise UserError(
                f"network {network.name!r}: hls4ml cannot express operation {operation.name!r} (dense): its "
                f"input {operation.input!r} follows one that hls4ml has no exact layer for"
            )
        is_inside = isinstance(operation, Dense) or (
            isinstance(operation, Linear | Subtract | Scale) and bool(sources & core) and not sources & behind
        )
        if is_inside:
            core.add(operation.name)
            if _is_identity(operation, network):
                aliases[operation.name] = aliases.get(operation.input, operation.input)
            else:
                inside.append(operation)
        elif sources & (core | behind):
            behind.add(operation.name)
    if not inside:
        raise UserError(
            f"network {network.name!r}: has no dense layer, so there is nothing for hls4ml to compile"
        )
    read_inside = [aliases.get(name, name) for operation in inside for name in operation.inputs]
    read_outside = [name for op in network.operations if op.name not in core for name in op.inputs]
    wanted = {aliases.get(name, name) for name in (*read_outside, network.score, network.embedding)}
    made = [operation.name for operation in inside]
    return Core(
        network,
        tuple(inside),
        aliases,
        tuple(name for name in network.types if name in read_inside and name not in made),
        tuple(name for name in made if name in wanted),
    )


def _is_identity(operation: Operation, network: Network) -> bool:
    return type(operation) is Linear and operation.type == network.types[operation.input]


def write_core(
    core: Core,
    folder: Path,
    *,
    project: str,
    namespace: str,
    backend: str,
    part: str,
    clock_period_ns: float,
    stamp: str,
    strategy: str = "latency",
) -> None:
    """Write hls4ml's project (firmware/, Tcl scripts) into `folder` and check it.

    Raises UserError when a type, a weight or a layer in the C++ is not the network's, when `strategy`
    (of STRATEGIES) would not be exact, or without hls4ml.
    """
    graph = hls4ml_graph(
        core,
        folder,
        project=project,
        namespace=namespace,
        backend=backend,
        part=part,
        clock_period_ns=clock_period_ns,
        stamp=stamp,
        trace=True,
        strategy=strategy,
    )
    import hls4ml.writer

    _writer(hls4ml.writer.get_writer(backend)).write_hls(graph)
    _adapt(folder / "firmware", project)
    if STRATEGIES[strategy].kernel is None:
        _adapt_unrolled(folder / "firmware")
    check_core(core, folder, project, strategy)


def hls4ml_graph(
    core: Core,
    folder: Path,
    *,
    project: str,
    namespace: str,
    backend: str,
    part: str,
    clock_period_ns: float,
    stamp: str,
    trace: bool,
    strategy: str = "latency",
) -> Any:
    """hls4ml's own ModelGraph of `core`, to be written or compiled into `folder`.

    Raises UserError when hls4ml's passes change the layers, when `strategy` would not be exact, or
    without hls4ml.
    """
    try:
        from hls4ml.model.graph import ModelGraph
    except ImportError as error:
        raise UserError(f"hls4ml cannot be imported ({error}); pip install 'axo[firmware]'") from error
    if STRATEGIES[strategy].kernel is None:
        _require_exact_sums(core, strategy)

    config = {
        "Backend": backend,
        "OutputDir": str(folder),
        "ProjectName": project,
        "Part": part,
        "ClockPeriod": clock_period_ns,
        "IOType": "io_parallel",
        "Stamp": stamp,
        "TraceOutput": trace,
        "HLSConfig": {
            # The default precision applies to lookup tables only, which relu and linear do not use.
            "Model": {
                "Precision": "ap_fixed<16,6>",
                "ReuseFactor": 1,
                "Strategy": STRATEGIES[strategy].name,
                "PipelineStyle": "pipeline",
                "PipelineInterval": 1,
                "BitExact": False,
            },
            "LayerName": _layer_configurations(core),
        },
        "WriterConfig": {
            "Namespace": namespace,
            "WriteWeightsTxt": False,
            "WriteTar": False,
            "TBOutputStream": "file",
        },
    }
    layers = _layers(core)
    graph = ModelGraph.from_layer_list(
        config,
        layers,
        inputs=[core.ids[name] for name in core.inputs],
        outputs=[core.ids[name] for name in core.outputs],
    )
    if list(graph.graph) != [layer["name"] for layer in layers]:
        raise UserError(
            f"network {core.network.name!r}: hls4ml's passes changed the layers to {', '.join(graph.graph)}; "
            "this hls4ml version cannot express the network"
        )
    return graph


def _require_exact_sums(core: Core, strategy: str) -> None:
    """Unrolled functions sum exactly: as the accumulator does only if it drops no bit and wraps."""
    if importlib.util.find_spec("da4ml") is None:
        raise UserError(f"hls_strategy {strategy}: da4ml is not installed; pip install 'axo[firmware]'")
    types = core.network.types
    for operation in core.operations:
        if not isinstance(operation, Dense):
            continue
        accum = operation.accum_type
        product = types[operation.input].fraction + operation.weight_type.fraction
        if accum.overflow != "WRAP" or accum.fraction < max(product, operation.bias_type.fraction):
            others = " or ".join(name for name in STRATEGIES if name != strategy)
            raise UserError(
                f"network {core.network.name!r}: hls_strategy {strategy} sums exactly, but dense layer "
                f"{operation.name!r} rounds or saturates its sums in {accum}; use {others}"
            )


def _writer(writer: Any) -> Any:
    """hls4ml's writer less what is replaced: test bench, Python bridge, and the YAML (imports Keras)."""

    class Writer(type(writer)):  # type: ignore[misc]
        def write_test_bench(self, model: Any) -> None:
            pass

        def write_bridge(self, model: Any) -> None:
            pass

        def write_yml(self, model: Any) -> None:
            pass

    return Writer()


def _layers(core: Core) -> list[dict[str, Any]]:
    sizes, ids = core.network.sizes, core.ids
    layers: list[dict[str, Any]] = [
        {"class_name": "InputLayer", "name": ids[name], "input_shape": [sizes[name]]} for name in core.inputs
    ]
    for operation in core.operations:
        layer: dict[str, Any] = {
            "name": ids[operation.name],
            "inputs": [ids[core.source(name)] for name in operation.inputs],
        }
        match operation:
            case Dense():
                n_in, n_out = operation.weight.shape
                layer |= {
                    "class_name": "Dense",
                    "n_in": n_in,
                    "n_out": n_out,
                    "weight_data": _floats(operation.weight, operation.weight_type),
                    "bias_data": _floats(operation.bias, operation.bias_type),
                }
            case Scale():
                layer |= {
                    "class_name": "BatchNormalization",
                    "n_in": sizes[operation.name],
                    "n_filt": -1,
                    "scale_data": _floats(operation.scale, operation.scale_type),
                    "bias_data": _floats(operation.bias, operation.bias_type),
                }
            case Subtract():
                layer |= {"class_name": "Merge", "op": "subtract"}
            case _:
                layer |= {
                    "class_name": "Activation",
                    "activation": operation.op,
                    "n_in": sizes[operation.name],
                }
        layers.append(layer)
    return layers


def _floats(values: Ints, kind: FixedType) -> np.ndarray:
    """Weights as hls4ml wants them; constants beyond 2**53 would not survive, which check_core sees."""
    return values * 2.0**-kind.fraction


def _layer_configurations(core: Core) -> dict[str, Any]:
    types = core.network.types
    layers: dict[str, Any] = {}
    for name in core.inputs:
        layers[core.ids[name]] = {"Precision": {"result": types[name].cpp}}
    for operation in core.operations:
        precision = {"result": types[operation.name].cpp}
        if isinstance(operation, Dense):
            precision |= {
                "accum": operation.accum_type.cpp,
                "weight": operation.weight_type.plain.cpp,
                "bias": operation.bias_type.plain.cpp,
            }
        if isinstance(operation, Scale):
            precision |= {
                "scale": operation.scale_type.plain.cpp,
                "bias": operation.bias_type.plain.cpp,
            }
        layers[core.ids[operation.name]] = {"Precision": precision, "Trace": True}
    return layers


def _adapt(firmware: Path, project: str) -> None:
    """What must change in hls4ml's C++ for a function that our top calls, and that g++ compiles here.

    The interface pragma goes (it is not the top), tracing is on request only, and outside synthesis
    the weights are converted when the program starts: thousands of constructors of ap_fixed in one
    initialiser take g++ three times as long as all the rest.
    """
    source = firmware / f"{project}.cpp"
    text = re.sub(r"^ *#pragma HLS INTERFACE .*\n", "", source.read_text(), flags=re.MULTILINE)
    source.write_text(text.replace("#ifndef __SYNTHESIS__", "#ifdef AXO_TRACE"))
    for header in sorted((firmware / "weights").glob("*.h")):
        header.write_text(_ARRAY.sub(_LOADED, header.read_text().replace("\nnamespace", _INCLUDE, 1)))


def _adapt_unrolled(firmware: Path) -> None:
    """hls4ml 1.3 writes the functions into our namespace, and what they call stays in its own."""
    source = firmware / "nnet_utils/nnet_code_gen.h"
    mark = "// hls4ml insert code\n"
    source.write_text(source.read_text().replace(mark, f"{mark}using nnet::bit_shift;\n\n", 1))


_ARRAY = re.compile(r"^(?P<array>\w+ (?P<name>\w+)\[(?P<size>\d+)\]) = (?P<values>\{.*\});$", re.MULTILINE)
_INCLUDE = "\n#include <algorithm>\n\nnamespace"
_LOADED = r"""#ifdef __SYNTHESIS__
\g<array> = \g<values>;
#else
\g<array>;
static const double \g<name>_values[] = \g<values>;
static const bool \g<name>_loaded = std::copy(\g<name>_values, \g<name>_values + \g<size>, \g<name>);
#endif"""


def check_core(core: Core, folder: Path, project: str, strategy: str = "latency") -> None:
    """Compare the C++ in `folder` with the network: layers in order, every type, every weight.

    Raises UserError naming the first operation that differs.
    """
    written = _Written(folder / "firmware", project)
    dense = "dense_da" if STRATEGIES[strategy].kernel is None else "dense"
    calls = [re.sub(r"^(dense_da)_\d+$", r"\1", call.function) for call in written.calls]
    expected_calls = [(_FUNCTIONS | {"dense": dense})[operation.op] for operation in core.operations]
    if calls != expected_calls:
        raise _differs(core, f"layers {calls}", f"{expected_calls}")
    variables = {core.ids[name]: name for name in core.inputs}
    for name in core.inputs:
        _check_type(core, written, name, "input", written.argument_types[core.ids[name]])
    for operation, call in zip(core.operations, written.calls, strict=True):
        name, n_in = operation.name, len(operation.inputs)
        if call.name != core.ids[name]:
            raise _differs(core, f"layer {call.name}", f"layer {core.ids[name]}")
        read = [variables.get(argument) for argument in call.arguments[:n_in]]
        if read != [core.source(source) for source in operation.inputs]:
            raise _differs(core, f"operation {name!r} reading {read}", f"{operation.inputs}")
        for source, kind in zip(operation.inputs, call.types[:n_in], strict=True):
            _check_type(core, written, source, f"{name!r} input", kind)
        _check_type(core, written, name, f"{name!r} result", call.types[n_in])
        if written.sizes[call.arguments[n_in]] != core.network.sizes[name]:
            raise _differs(core, f"size of {name!r}", str(core.network.sizes[name]))
        variables[call.arguments[n_in]] = name
        if isinstance(operation, Scale):
            _check_scale(core, written, operation, call)
        if isinstance(operation, Dense):
            if STRATEGIES[strategy].kernel is None:
                _check_unrolled(core, written, operation, call)
            else:
                _check_dense(core, written, operation, call, STRATEGIES[strategy])


_FUNCTIONS = {"relu": "relu", "linear": "linear", "subtract": "subtract", "scale": "normalize"}


def _differs(core: Core, found: str, expected: str) -> UserError:
    return UserError(
        f"network {core.network.name!r}: hls4ml wrote {found}, not {expected}; "
        "this hls4ml version cannot express the network"
    )


def _check_type(core: Core, written: _Written, tensor: str, what: str, type_name: str) -> None:
    found, expected = written.type(type_name), core.network.types[tensor]
    if found != expected:
        raise _differs(core, f"{what} of type {found}", str(expected))


def _check_dense(core: Core, written: _Written, operation: Dense, call: _Call, strategy: Strategy) -> None:
    config = written.configuration(call.types[2])
    _check_types(
        core,
        written,
        operation,
        config,
        {
            "accum_t": operation.accum_type,
            "weight_t": operation.weight_type.plain,
            "bias_t": operation.bias_type.plain,
        },
    )
    kernel = tuple(config[key] for key in ("kernel", "product", "n_in", "n_out", "reuse_factor"))
    n_in, n_out = operation.weight.shape
    if kernel != (strategy.kernel, "nnet::product::mult", str(n_in), str(n_out), "1"):
        raise _differs(core, f"{operation.name!r} with {kernel}", f"a plain product by {strategy.kernel}")
    weight = operation.weight.T if strategy.is_transposed else operation.weight
    _check_constants(core, written, operation, call.arguments[2], weight, operation.weight_type)
    _check_constants(core, written, operation, call.arguments[3], operation.bias, operation.bias_type)


def _check_scale(core: Core, written: _Written, operation: Scale, call: _Call) -> None:
    config = written.configuration(call.types[2])
    kinds = {
        "scale_t": operation.scale_type.plain,
        "bias_t": operation.bias_type.plain,
    }
    _check_types(core, written, operation, config, kinds)
    form = tuple(config[key] for key in ("product", "n_in", "n_filt", "reuse_factor"))
    if form != ("nnet::product::mult", str(len(operation.scale)), "-1", "1"):
        raise _differs(core, f"{operation.name!r} with {form}", "a plain product of every element")
    _check_constants(core, written, operation, call.arguments[2], operation.scale, operation.scale_type)
    _check_constants(core, written, operation, call.arguments[3], operation.bias, operation.bias_type)


def _check_types(
    core: Core,
    written: _Written,
    operation: Operation,
    config: Mapping[str, str],
    expected: Mapping[str, FixedType],
) -> None:
    for key, kind in expected.items():
        found = written.type(config[key])
        if found != kind:
            raise _differs(core, f"{operation.name!r} {key} {found}", str(kind))


def _check_constants(
    core: Core, written: _Written, operation: Operation, array: str, values: Ints, kind: FixedType
) -> None:
    if written.integers(array, kind.fraction) != values.ravel().tolist():
        raise _differs(core, f"other constants {array} for {operation.name!r}", "those of the network")


def _check_unrolled(core: Core, written: _Written, operation: Dense, call: _Call) -> None:
    """The function's matrix and biases, found by following its sums, must be the network's."""
    source = core.network.types[operation.input]
    try:
        found = read_unrolled(written.generated, call.function, source, operation.weight.shape)
    except ValueError as error:
        raise _differs(core, str(error), f"exact sums for {operation.name!r}") from error
    rows = (
        (operation.weight, Fraction(2) ** -operation.weight_type.fraction),
        (operation.bias[None], Fraction(2) ** -operation.bias_type.fraction),
    )
    expected = [[int(value) * unit for value in row] for matrix, unit in rows for row in matrix]
    if found != expected:
        raise _differs(
            core, f"other constants {call.function} for {operation.name!r}", "those of the network"
        )


@dataclass(frozen=True)
class _Call:
    """``namespace::function<types>(arguments); // name``."""

    function: str
    types: tuple[str, ...]
    arguments: tuple[str, ...]
    name: str


class _Written:
    """What can be read back from hls4ml's C++."""

    def __init__(self, firmware: Path, project: str) -> None:
        self._weights = firmware / "weights"
        self._parameters = (firmware / "parameters.h").read_text()
        source = (firmware / f"{project}.cpp").read_text()
        defines = (firmware / "defines.h").read_text()
        self.generated = (firmware / "nnet_utils/nnet_code_gen.h").read_text()
        typedefs = re.findall(r"^typedef (.*) (\w+);$", defines, re.MULTILINE)
        self._typedefs = {name: kind for kind, name in typedefs}
        self.calls = [
            _Call(function, _fields(types), _fields(arguments), name)
            for function, types, arguments, name in re.findall(
                r"^ *\w+::(\w+)<(.*)>\((.*)\); // (\w+)$", source, re.MULTILINE
            )
        ]
        declarations = re.findall(r"(\w+) (\w+)\[(\d+)\]", source)
        self.argument_types = {name: kind for kind, name, _ in declarations}
        self.sizes = {name: int(size) for _, name, size in declarations}

    def type(self, name: str) -> FixedType:
        return FixedType.parse(self._typedefs[name])

    def configuration(self, name: str) -> dict[str, str]:
        """Typedefs, aliases and numbers of ``struct name`` in parameters.h."""
        body = re.search(rf"struct {name} : .*?\{{\n(.*?)\n\}};", self._parameters, re.DOTALL)
        text = body[1] if body else ""
        values = {key: kind for kind, key in re.findall(r"typedef (\w+) (\w+);", text)}
        values |= dict(re.findall(r"using (\w+) = ([\w:]+)<", text))
        return values | dict(re.findall(r"static const unsigned (\w+) = (-?\d+);", text))

    def integers(self, array: str, fraction: int) -> list[Fraction]:
        """Constants of an array, in units of the last of `fraction` fraction bits, exactly."""
        text = (self._weights / f"{array}.h").read_text()
        body = re.search(rf" {array}\[\d+\] = \{{(.*?)\}};", text, re.DOTALL)
        unit = Fraction(2) ** fraction
        return [Fraction(value) * unit for value in _fields(body[1] if body else "")]


def _fields(text: str) -> tuple[str, ...]:
    return tuple(field.strip() for field in text.split(",") if field.strip())
