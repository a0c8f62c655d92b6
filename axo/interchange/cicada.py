"""Descriptions of CICADA's calorimeter-image networks, as they run on a CTP7 card."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from axo.errors import UserError
from axo.files import read_json
from axo.layout import find_layout
from axo.network.network import Network
from axo.network.operations import WORDS, Dense, Linear, Operation, Relu, Scale
from axo.network.types import FixedType, Ints


def is_cicada(document: Any) -> bool:
    """Whether a JSON document is such a description: it says how many regions its image has."""
    return isinstance(document, dict) and "regions" in document and "layers" in document


def read_cicada_network(path: str | os.PathLike[str], name: str = "cicada") -> Network:
    """Import a description like ``golden/cicada_ctp7.json`` (see its keys) over the layout ``cicada``.

    Each dense layer adds up in its accumulator and is then assigned to its result; a batch normalisation
    is x scale + bias, exact, assigned to its result. The score is the last layer, the embedding what it
    reads. Raises UserError naming the file and the key that is missing or cannot be expressed.
    """
    description = read_json(path)
    try:
        return _network(description, name)
    except KeyError as error:
        raise UserError(f"{path}: key {error} is missing; is this a CICADA description?") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _network(description: dict[str, Any], name: str) -> Network:
    layout = find_layout("cicada")
    if description["regions"] != len(layout.words):
        raise UserError(f"{description['regions']} regions are not the {len(layout.words)} of the layout")
    builder = _Builder(description)
    for index, layer in enumerate(description["layers"]):
        build = _LAYERS.get(layer["op"])
        if build is None:
            raise UserError(f"layers[{index}]: op {layer['op']!r} is none of {', '.join(_LAYERS)}")
        build(builder, f"layer{index}_{layer['op']}", layer)
    last = [operation for operation in builder.operations if isinstance(operation, Dense)][-1]
    score = builder.operations[-1]
    provenance = {"source": description["source"], "description": description["what"]}
    return Network(name, layout, tuple(builder.operations), score.name, last.input, provenance=provenance)


@dataclass
class _Builder:
    """The operations so far; dense layers are counted, for their weights are named by number."""

    description: dict[str, Any]
    operations: list[Operation] = field(default_factory=list)
    dense_layers: int = 0

    @property
    def source(self) -> str:
        return self.operations[-1].name if self.operations else WORDS

    def integers(self, key: str, shape: tuple[int, ...]) -> Ints:
        values = np.array(self.description[key], np.int64)
        if values.size != int(np.prod(shape)):
            raise UserError(f"{key}: {values.size} values are not {' x '.join(map(str, shape))}")
        return values.reshape(shape)

    def dense(self, name: str, layer: dict[str, Any]) -> None:
        if layer["bias"] != "zero":
            raise UserError(f"{name}: bias {layer['bias']!r} is not 'zero'")
        self.dense_layers += 1
        weight = self.integers(f"dense{self.dense_layers}_weight_int", (layer["n_in"], layer["n_out"]))
        weight_type = _narrowest(weight, layer["weight_fraction_bits"])
        accum, bias = FixedType(**layer["accum"]), np.zeros(layer["n_out"], np.int64)
        self.operations.append(
            Dense(f"{name}_sum", self.source, weight, weight_type, bias, weight_type, accum)
        )
        self.operations.append(Linear(name, self.source, FixedType(**layer["result"])))

    def batch_norm(self, name: str, layer: dict[str, Any]) -> None:
        scale, bias = (self.integers(f"bn_{what}_int", (layer["n"],)) for what in ("scale", "bias"))
        scale_type = _narrowest(scale, layer["scale_fraction_bits"])
        bias_type = _narrowest(bias, layer["bias_fraction_bits"])
        result = FixedType(**layer["result"])
        self.operations.append(Scale(name, self.source, scale, scale_type, bias, bias_type, result))

    def relu(self, name: str, layer: dict[str, Any]) -> None:
        self.operations.append(Relu(name, self.source, FixedType(**layer["result"])))


_LAYERS: dict[str, Callable[[_Builder, str, dict[str, Any]], None]] = {
    "dense": _Builder.dense,
    "batch_norm": _Builder.batch_norm,
    "relu": _Builder.relu,
}


def _narrowest(values: Ints, fraction: int) -> FixedType:
    """The narrowest signed type of constants with `fraction` fraction bits: the file does not say widths."""
    width = max(int(values.max()).bit_length(), int(~values.min()).bit_length()) + 1
    return FixedType(width, width - fraction)
