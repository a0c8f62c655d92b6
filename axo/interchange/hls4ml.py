"""hls4ml firmware folder -> Network: what a deployed trigger network computes, read from its C++.

Read are the layer calls of the top function, the types and sizes they name, their configurations, and
the weights: arrays in any included header or other source file of the folder, or ``weights/NAME.txt``.
Beside it a CMS ``scales.h`` gives offsets and shifts of the inputs (arrays ``ad_offsets``, ``ad_shift``).
Only C++ that a Network expresses exactly is accepted; anything else is named by layer and line.

A dense layer is hls4ml's latency strategy (nnet_dense_latency.h): products and sums in ``accum_t``, then
a cast to the result's type. The score is the sum of squares of the last layer, squared and added in
``resultsq_t`` (v1 to v4 of cms-hls4ml/AXOL1TL), or the single output of the top function assigned to it
(v5: an encoder, a decoder, the dot product of their difference with itself).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from axo.errors import UserError
from axo.interchange.hls4ml_source import File, Unit
from axo.layout import Layout, default_layout
from axo.network.convention import HALF_KEPT, scaled_inputs
from axo.network.network import Network
from axo.network.operations import (
    WORDS,
    Dense,
    Dot,
    Linear,
    Operation,
    Relu,
    Subtract,
    SumOfSquares,
)
from axo.network.types import FixedType, Ints

SCORE_TYPE, UNSCALED_TYPE = "resultsq_t", "unscaled_t"
"""Typedefs of the CMS emulators: of the score, and of an input before its offset is taken."""


def import_hls(
    folder: str | PathLike[str],
    name: str | None = None,
    scales: str | PathLike[str] | None = None,
    scale_inputs: bool = True,
    score_type: FixedType | None = None,
    unscaled_type: FixedType | None = None,
    pt_convention: str = HALF_KEPT,
    layout: Layout | None = None,
) -> Network:
    """Import the hls4ml project or its firmware folder `folder`, whose inputs are the words of `layout`.

    Without `layout` they are those of CMS's AXOL1TL.

    `scales` is the file with ad_shift and ad_offsets (default: scales.h in the folder or the one above);
    with `scale_inputs` false the network reads the words as they are. The two types default to the
    typedefs ``resultsq_t`` and ``unscaled_t``. `pt_convention` is HALF_KEPT, as in the firmware, or
    WHOLE_GEV, as in old test vectors (only with `scale_inputs`). Raises UserError naming file and line of
    what cannot be expressed, or what is missing.
    """
    if pt_convention != HALF_KEPT and not scale_inputs:
        raise UserError(
            f"{folder}: a network that reads the words as they are keeps the half GeV; {pt_convention!r} "
            "needs scales"
        )
    layout = layout or default_layout()
    place = _firmware_folder(Path(folder))
    unit = Unit(place)
    top = _Top(unit)
    if top.inputs[1] != len(layout.words):
        raise top.fault(
            f"reads {top.inputs[1]} numbers, but layout {layout.name!r} has {len(layout.words)} words; "
            "name the layout of this network",
            top.line,
        )
    input_type = unit.type(top.inputs[0])
    if scale_inputs:
        path = _scales_file(place) if scales is None else Path(scales)
        operations = _scaled(unit, layout, path, unscaled_type, input_type, pt_convention)
    else:
        operations = [Linear("network_input", WORDS, input_type)]
    layers = top.layers(operations[-1].name)
    operations += layers
    score_type = score_type or unit.typedef(SCORE_TYPE)
    if score_type is None:
        raise UserError(
            f"{place}: no typedef {SCORE_TYPE} says in what type the score is computed: give --score-type"
        )
    last = layers[-1].name
    if top.outputs[1] == 1:
        operations.append(Linear("score", last, score_type))
    else:
        operations.append(SumOfSquares("score", last, score_type, score_type))
    inner = [operation.other for operation in layers if isinstance(operation, Subtract)]
    provenance = {"source": "hls4ml firmware", "top_function": top.name, "files": unit.digests()}
    return Network(
        name or top.name,
        layout,
        tuple(operations),
        "score",
        inner[0] if inner else last,
        provenance=provenance,
    )


def _firmware_folder(folder: Path) -> Path:
    for place in (folder, folder / "firmware", folder / "NN"):
        if (place / "defines.h").is_file():
            return place
    raise UserError(f"{folder}: has no defines.h, nor firmware/defines.h; is it an hls4ml project?")


def _scales_file(place: Path) -> Path:
    for path in (place / "scales.h", place.parent / "scales.h"):
        if path.is_file():
            return path
    raise UserError(
        f"{place}: no scales.h here or above: give --scales FILE, or --scales none if the network reads the "
        "words as they are"
    )


def _scaled(
    unit: Unit,
    layout: Layout,
    path: Path,
    unscaled_type: FixedType | None,
    input_type: FixedType,
    pt_convention: str,
) -> list[Operation]:
    unscaled_type = unscaled_type or unit.typedef(UNSCALED_TYPE)
    if unscaled_type is None:
        raise UserError(
            f"{unit.folder}: no typedef {UNSCALED_TYPE} says of what type inputs are: give --unscaled-type"
        )
    file = File(path)
    unit.add(file)
    values = {}
    for name in ("ad_offsets", "ad_shift"):
        array = file.array(name)
        if array is None:
            raise UserError(f"{path}: has no array {name}")
        if len(array.values) != len(layout.words):
            raise UserError(
                f"{path}:{array.line}: {name} has {len(array.values)} values, not {len(layout.words)}"
            )
        kind = unit.type(array.type)
        values[name] = kind, array.integers(kind)
    shift_type, shift = values["ad_shift"]
    if shift_type.fraction:
        raise UserError(f"{path}: ad_shift of type {shift_type} has a fraction, but shifts are whole bits")
    offset_type, offset = values["ad_offsets"]
    return scaled_inputs(layout, pt_convention, unscaled_type, offset, offset_type, shift, input_type)


# The top function


class _Top:
    """The top function: its arguments (type name and size each) and its statements."""

    def __init__(self, unit: Unit) -> None:
        self.unit, file = unit, unit.top
        functions = list(re.finditer(r"\bvoid\s+(\w+)\s*\(([^()]*)\)\s*\{", file.text))
        if len(functions) != 1:
            raise UserError(f"{file.path}: has {len(functions)} functions, but one top function is due")
        match = functions[0]
        self.name, self.line = match[1], file.line(match.start())
        declared = [self._declaration(text, self.line) for text in match[2].split(",")]
        arguments = [argument for argument in declared if argument is not None]
        if not len(declared) == len(arguments) == 2:
            raise self.fault("must have one input and one output array of stated size", self.line)
        (input_name, self.inputs), (output_name, self.outputs) = arguments
        self._variables: dict[str, tuple[str, int]] = {input_name: self.inputs, output_name: self.outputs}
        self._tensors: dict[str, str] = {}
        self._names = (input_name, output_name)
        self._body = (match.end(), _closing(file.text, match.end()))

    def fault(self, message: str, line: int, layer: str | None = None) -> UserError:
        """An error that names file, line and layer."""
        where = f"{self.unit.top.path}:{line}: " + (f"layer {layer}: " if layer else f"{self.name} ")
        return UserError(where + message)

    def layers(self, source: str) -> list[Operation]:
        """The operations of all layer calls, in order, reading tensor `source`."""
        self._tensors[self._names[0]] = source
        operations: list[Operation] = []
        for line, statement in self._statements():
            call = re.fullmatch(r"nnet::(\w+)\s*<(.*)>\s*\(([^()]*)\)", statement)
            if call is None:
                declared = self._declaration(statement, line)
                if declared is None:
                    raise self.fault(f"{statement[:60]!r} is neither a layer nor an array", line)
                self._variables[declared[0]] = declared[1]
            elif call[1] not in _NO_LAYERS:
                operations += self._layer(
                    _Call(call[1], _fields(call[2]), _fields(call[3]), line, self._label(line))
                )
        if self._tensors.get(self._names[1]) is None:
            raise self.fault(f"never writes its output {self._names[1]}", self.line)
        if operations[-1].name != self._tensors[self._names[1]]:
            raise self.fault(f"does not end with the layer that writes {self._names[1]}", self.line)
        return operations

    def _statements(self) -> Iterator[tuple[int, str]]:
        """Line number and text of every statement, without preprocessor lines and the loading of weights."""
        file, (start, end) = self.unit.top, self._body
        body = re.sub(r"^[ \t]*#[^\n]*", lambda m: " " * len(m[0]), file.text[start:end], flags=re.MULTILINE)
        for match in re.finditer(r"[^;]+", body):
            begin = re.match(r"(?:\s|\}|if\s*\(\s*!\s*loaded_weights\s*\)\s*\{)*", match[0])
            text = " ".join(match[0][begin.end() if begin else 0 :].split())
            if text and not re.fullmatch(r"(static bool )?loaded_weights = (true|false)", text):
                yield file.line(start + match.start() + (begin.end() if begin else 0)), text

    def _label(self, line: int) -> str | None:
        """The layer's name, which hls4ml writes behind the call."""
        match = re.search(r"//\s*(\w+)\s*$", self.unit.top.raw.split("\n")[line - 1])
        return match[1] if match else None

    def _declaration(self, text: str, line: int) -> tuple[str, tuple[str, int]] | None:
        """Name, type name and size of ``type name[size]``."""
        match = re.fullmatch(r"\s*([\w:]+)\s+(\w+)\s*\[\s*(\w+)\s*\]\s*", text)
        if match is None:
            return None
        size = self.unit.number(match[3])
        if size is None:
            raise self.fault(f"array {match[2]} has the size {match[3]}, which no header says", line)
        return match[2], (match[1], size)

    def _layer(self, call: _Call) -> list[Operation]:
        build = _LAYERS.get(call.function)
        if build is None:
            raise self.fault(
                f"nnet::{call.function} has no exact operation (known: {', '.join(_LAYERS)})",
                call.line,
                call.layer,
            )
        inputs, weights = build[1:]
        if len(call.arguments) != inputs + 1 + weights or len(call.types) != inputs + 2:
            raise self.fault(
                f"nnet::{call.function} with other arguments than expected", call.line, call.layer
            )
        output = call.arguments[inputs]
        for name in call.arguments[:inputs]:
            if name not in self._tensors:
                raise self.fault(f"reads {name}, which no layer before wrote", call.line, call.layer)
        if output not in self._variables or output in self._tensors:
            raise self.fault(f"writes {output}, which is no array, or written twice", call.line, call.layer)
        for name, kind in zip(call.arguments[: inputs + 1], call.types, strict=False):
            if self.unit.type(kind) != self.unit.type(self._variables[name][0]):
                raise self.fault(
                    f"calls {name} a {kind}, but it is a {self._variables[name][0]}", call.line, call.layer
                )
        operations = build[0](self, call, [self._tensors[name] for name in call.arguments[:inputs]])
        self._tensors[output] = operations[-1].name
        return operations

    # One method for each kind of layer: the operations it stands for.

    def dense(self, call: _Call, sources: list[str]) -> list[Operation]:
        """Dense, and a cast where the result is of another type than the accumulator."""
        unit, config = self.unit, self.configuration(call)
        (_, n_in), (kind, n_out) = (self._variables[name] for name in call.arguments[:2])
        for key, expected in (("n_in", n_in), ("n_out", n_out)):
            if unit.number(config.get(key, "")) != expected:
                raise self.fault(
                    f"{key} is {config.get(key)}, but the array has {expected}", call.line, call.layer
                )
        for key, allowed in _DENSE_LATENCY.items():
            if config.get(key, allowed[0]) not in allowed:
                raise self.fault(f"{key} = {config[key]} is not {allowed[0]}", call.line, call.layer)
        accum, weight_type, bias_type = (
            unit.type(self.required(config, key, call)) for key in ("accum_t", "weight_t", "bias_t")
        )
        weight, bias = (
            self._constants(call, position, type, size)
            for position, type, size in ((2, weight_type, n_in * n_out), (3, bias_type, n_out))
        )
        result = unit.type(kind)
        name = call.layer if result == accum else f"{call.layer}_accum"
        dense = Dense(
            name, sources[0], weight.reshape(n_in, n_out), weight_type.plain, bias, bias_type.plain, accum
        )
        return [dense] if result == accum else [dense, Linear(call.layer, name, result)]

    def _constants(self, call: _Call, position: int, kind: FixedType, size: int) -> Ints:
        name = call.arguments[position]
        from_text = re.search(rf"load_weights_from_txt<[^>]*>\(\s*{name}\s*,", self.unit.top.text) is not None
        array = self.unit.weights(name, call.layer, from_text)
        if len(array.values) != size:
            raise UserError(
                f"{array.path}:{array.line}: layer {call.layer}: {name} has {len(array.values)} values, "
                f"not {size}"
            )
        return array.integers(kind)

    def relu(self, call: _Call, sources: list[str]) -> list[Operation]:
        """max(0, x) assigned to the result's type."""
        return [Relu(call.layer, sources[0], self._result(call, 1))]

    def linear(self, call: _Call, sources: list[str]) -> list[Operation]:
        """An assignment."""
        return [Linear(call.layer, sources[0], self._result(call, 1))]

    def subtract(self, call: _Call, sources: list[str]) -> list[Operation]:
        """Element by element; both must have the size of the result, for hls4ml repeats shorter ones."""
        sizes = {self._variables[name][1] for name in call.arguments}
        if len(sizes) != 1:
            raise self.fault(f"arrays of {sorted(sizes)} elements", call.line, call.layer)
        return [Subtract(call.layer, sources[0], sources[1], self._result(call, 2))]

    def dot1d(self, call: _Call, sources: list[str]) -> list[Operation]:
        """Products and sums in ``accum_t``, and a cast where the result is of another type."""
        accum = self.unit.type(self.required(self.configuration(call), "accum_t", call))
        result = self._result(call, 2)
        name = call.layer if result == accum else f"{call.layer}_accum"
        dot = Dot(name, sources[0], accum, accum, sources[1])
        return [dot] if result == accum else [dot, Linear(call.layer, name, result)]

    def configuration(self, call: _Call) -> dict[str, str]:
        """What the call's configuration sets."""
        config = self.unit.configuration(call.types[-1])
        if config is None:
            raise self.fault(f"no header defines struct {call.types[-1]}", call.line, call.layer)
        return config

    def required(self, config: dict[str, str], key: str, call: _Call) -> str:
        """An entry of a configuration."""
        if key not in config:
            raise self.fault(f"{call.types[-1]} does not say {key}", call.line, call.layer)
        return config[key]

    def _result(self, call: _Call, position: int) -> FixedType:
        return self.unit.type(self._variables[call.arguments[position]][0])


@dataclass(frozen=True)
class _Call:
    """``nnet::function<types>(arguments); // label``."""

    function: str
    types: tuple[str, ...]
    arguments: tuple[str, ...]
    line: int
    label: str | None

    @property
    def layer(self) -> str:
        """The layer's name, or else that of the array it writes."""
        return self.label or self.arguments[min(1, len(self.arguments) - 1)]


_Build = Callable[[_Top, _Call, list[str]], list[Operation]]

# Function -> how its operations are made, its numbers of input and of weight arrays.
_LAYERS: dict[str, tuple[_Build, int, int]] = {
    "dense": (_Top.dense, 1, 2),
    "relu": (_Top.relu, 1, 0),
    "linear": (_Top.linear, 1, 0),
    "subtract": (_Top.subtract, 2, 0),
    "dot1d": (_Top.dot1d, 2, 0),
}
_NO_LAYERS = ("load_weights_from_txt", "save_layer_output")

# What makes a dense layer sum as the network's does; the first entry is also what is assumed.
_DENSE_LATENCY = {
    "strategy": ("nnet::latency",),
    "io_type": ("nnet::io_parallel",),
    "kernel": ("nnet::DenseLatency",),
    "product": ("nnet::product::mult",),
}


def _fields(text: str) -> tuple[str, ...]:
    """Comma-separated fields, commas inside angle brackets kept, namespaces but nnet's left out."""
    fields = re.split(r",(?![^<]*>)", text)
    return tuple(field.strip().rpartition("::")[2] if "<" not in field else field.strip() for field in fields)


def _closing(text: str, start: int) -> int:
    """Position of the brace that closes the one just before `start`."""
    depth = 1
    for match in re.finditer(r"[{}]", text[start:]):
        depth += 1 if match[0] == "{" else -1
        if not depth:
            return start + match.start()
    return len(text)
