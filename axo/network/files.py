"""The network file: JSON with integers and types, never floats; schema-checked, with a digest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from importlib import resources
from typing import Any

import numpy as np

from axo.errors import UserError, nearest
from axo.files import read_json, write_text
from axo.layout import Word, layout_of_words
from axo.network.network import Network
from axo.network.operations import OPERATIONS, Operation
from axo.network.types import FixedType

FORMAT = "axo-network"
FORMAT_VERSION = 1


def read_network(path: str | os.PathLike[str]) -> Network:
    """Read and check a network file.

    Raises UserError naming the file and the fault: not JSON, another format or version, a schema
    violation, a digest that does not match the content, or a network that is not well formed.
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f'{path}: is not an axo network file (no "format": "{FORMAT}")')
    if document.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path}: format version {document.get('format_version')!r} is not {FORMAT_VERSION}; "
            "use the axo that wrote it"
        )
    _check_schema(document, path)
    if document["sha256"] != digest_document(document):
        raise UserError(
            f"{path}: the content does not match its sha256 digest; the file was damaged or edited. "
            "Fetch or export it again"
        )
    try:
        return from_document(document)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def is_network_file(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is JSON that calls itself an axo network file, sound or not."""
    document = read_json(path)
    return isinstance(document, dict) and document.get("format") == FORMAT


def write_network(path: str | os.PathLike[str], network: Network) -> str:
    """Write `network` atomically; returns the digest written into the file.

    Raises UserError when the file could not be read back (a name that the schema refuses).
    """
    document = to_document(network)
    _check_schema(document, path)
    write_text(path, _layout(document))
    return document["sha256"]


def digest(network: Network) -> str:
    """sha256 (hex) over the canonical JSON of the network, the digest field left out."""
    return to_document(network)["sha256"]


def digest_document(document: dict[str, Any]) -> str:
    """sha256 (hex) of a network document: keys sorted, no blanks, without its ``sha256`` field."""
    content = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def to_document(network: Network) -> dict[str, Any]:
    """The JSON document of `network`, digest included."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": network.name,
        "words": [dataclasses.asdict(word) for word in network.words],
        "operations": [_operation_document(operation) for operation in network.operations],
        "score": network.score,
        "embedding": network.embedding,
        "thresholds": network.thresholds,
        "provenance": network.provenance,
    }
    return {**document, "sha256": digest_document(document)}


def from_document(document: dict[str, Any]) -> Network:
    """The Network that a schema-valid document describes; UserError when it is not well formed."""
    return Network(
        name=document["name"],
        layout=layout_of_words([Word(**word) for word in document["words"]]),
        operations=tuple(_operation(entry) for entry in document["operations"]),
        score=document["score"],
        embedding=document["embedding"],
        thresholds=dict(document["thresholds"]),
        provenance=document["provenance"],
    )


def schema() -> dict[str, Any]:
    """The JSON schema of the network file."""
    return json.loads(resources.files("axo.network").joinpath("schema.json").read_text())


def _check_schema(document: dict[str, Any], path: str | os.PathLike[str]) -> None:
    import jsonschema

    # JSON schema counts 1.0 as an integer; this file does not.
    draft = jsonschema.Draft202012Validator
    integers = draft.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    validator = jsonschema.validators.extend(draft, type_checker=integers)(schema())
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path) or "top level"
        raise UserError(f"{path}: at {place}: {error.message[:200]}")


def _operation_document(operation: Operation) -> dict[str, Any]:
    document: dict[str, Any] = {"op": operation.op}
    for field in dataclasses.fields(operation):
        value = getattr(operation, field.name)
        if isinstance(value, FixedType):
            value = dataclasses.asdict(value)
        elif isinstance(value, np.ndarray):
            value = value.tolist()
        if value is not None:
            document[field.name] = value
    return document


def _operation(entry: dict[str, Any]) -> Operation:
    kind = OPERATIONS.get(entry["op"])
    if kind is None:
        known = sorted(OPERATIONS)
        raise UserError(
            f"operation {entry['name']!r}: unknown op {entry['op']!r}{nearest(entry['op'], known)} "
            f"(known: {', '.join(known)})"
        )
    arguments = {key: _value(entry, key) for key in entry if key != "op"}
    try:
        return kind(**arguments)
    except TypeError as error:
        raise UserError(f"operation {entry['name']!r} ({kind.op}): {error}") from error


def _value(entry: dict[str, Any], key: str) -> Any:
    value = entry[key]
    if isinstance(value, dict):
        try:
            return FixedType(**value)
        except UserError as error:
            raise UserError(f"operation {entry['name']!r}: {key!r}: {error}") from error
    if not isinstance(value, list):
        return value
    try:
        return np.array(value, np.int64)
    except (ValueError, OverflowError) as error:
        message = f"operation {entry['name']!r}: {key!r} is not a rectangular array of integers"
        raise UserError(message) from error


def _layout(document: dict[str, Any]) -> str:
    """Indented JSON with one line per innermost array or flat object: readable and diffable."""
    return _pretty(document, 0) + "\n"


def _pretty(value: Any, depth: int) -> str:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not any(isinstance(child, dict | list) for child in children):
        return json.dumps(value, allow_nan=False)
    pad = " " * (depth + 1)
    if isinstance(value, dict):
        lines = [f"{pad}{json.dumps(key)}: {_pretty(child, depth + 1)}" for key, child in value.items()]
    else:
        lines = [f"{pad}{_pretty(child, depth + 1)}" for child in value]
    brackets = "{}" if isinstance(value, dict) else "[]"
    return brackets[0] + "\n" + ",\n".join(lines) + "\n" + " " * depth + brackets[1]
