"""CMS's descriptions of the production AXOL1TL networks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from axo.errors import UserError
from axo.files import read_json
from axo.layout import find_layout
from axo.network.convention import HALF_KEPT, scaled_inputs
from axo.network.network import Network
from axo.network.operations import (
    Dense,
    Linear,
    Operation,
    Relu,
    SumOfSquares,
)
from axo.network.types import FixedType


def read_cms_network(
    path: str | os.PathLike[str], name: str = "axol1tl_v3", pt_convention: str = HALF_KEPT
) -> Network:
    """Import a description like ``golden/axol1tl_v3.json`` (see its keys) as a Network.

    `pt_convention` is HALF_KEPT, as in the firmware, or WHOLE_GEV, as in old test vectors.
    Raises UserError naming the file and the key that is missing or cannot be expressed.
    """
    description = read_json(path)
    try:
        return _network(description, name, pt_convention)
    except KeyError as error:
        raise UserError(f"{path}: key {error} is missing; is this a CMS network description?") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _network(description: dict[str, Any], name: str, pt_convention: str) -> Network:
    layout = find_layout("cms_axol1tl")
    objects = [item.name for item in layout.objects]
    if description["inputs"] != objects:
        raise UserError(f"inputs {description['inputs']} are not the objects {', '.join(objects)}")
    operations = scaled_inputs(
        layout,
        pt_convention,
        FixedType(**description["unscaled_type"]),
        np.array(description["offset"], np.int64),
        FixedType(**description["offset_type"]),
        np.array(description["shift"], np.int64),
        FixedType(**description["input_type"]),
    )
    for index, layer in enumerate(description["layers"]):
        build = _LAYERS.get(layer["op"])
        if build is None:
            raise UserError(f"layers[{index}]: op {layer['op']!r} is none of {', '.join(_LAYERS)}")
        operations.append(build(f"layer{index}_{layer['op']}", operations[-1].name, layer))
    score = description["score"]
    if score["op"] != "sum_of_squares":
        raise UserError(f"score: op {score['op']!r} is not sum_of_squares")
    embedding = operations[-1].name
    operations.append(
        SumOfSquares("score", embedding, FixedType(**score["square_type"]), FixedType(**score["sum_type"]))
    )
    return Network(
        name,
        layout,
        tuple(operations),
        "score",
        embedding,
        provenance={"source": description["source"], "description": description["name"]},
    )


def _dense(name: str, source: str, layer: dict[str, Any]) -> Dense:
    weight = np.array(layer["weight"], np.int64)
    if weight.size != layer["n_in"] * layer["n_out"]:
        raise UserError(f"{name}: {weight.size} weights are not {layer['n_in']} x {layer['n_out']}")
    return Dense(
        name,
        source,
        weight.reshape(layer["n_in"], layer["n_out"]),
        FixedType(**layer["weight_type"]),
        np.array(layer["bias"], np.int64),
        FixedType(**layer["bias_type"]),
        FixedType(**layer["accum_type"]),
    )


_LAYERS: dict[str, Callable[[str, str, dict[str, Any]], Operation]] = {
    "dense": _dense,
    "relu": lambda name, source, layer: Relu(name, source, FixedType(**layer["output_type"])),
    "linear": lambda name, source, layer: Linear(name, source, FixedType(**layer["output_type"])),
}
