"""The network file: JSON with a layout, integers and types; schema-checked, with a digest.

Version 2 carries its layout; a file of version 1 has words alone, whose layout is found by their names
(axo.layout.layout_of_words). Both are read, version 2 is written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from importlib import resources
from typing import Any

import numpy as np

from axo.config import to_plain
from axo.errors import UserError, nearest
from axo.files import read_json, write_text
from axo.layout import Layout, Word, layout_document, layout_of_words, parse_layout
from axo.network.network import Network
from axo.network.operations import OPERATIONS, Operation
from axo.network.types import FixedType

FORMAT = "axo-network"
FORMAT_VERSION = 2
READ_VERSIONS = (1, 2)

_NEW_IN_2 = ("layout", "pt_convention")


def read_network(path: str | os.PathLike[str]) -> Network:
    """Read and check a network file.

    Raises UserError naming the file and the fault: not JSON, another format or version, a schema
    violation, a digest that does not match the content, or a network that is not well formed.
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f'{path}: is not an axo network file (no "format": "{FORMAT}")')
    version = document.get("format_version")
    if type(version) is not int or version not in READ_VERSIONS:
        raise UserError(
            f"{path}: format version {version!r} is none of {', '.join(map(str, READ_VERSIONS))}; "
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
    """The JSON document of `network`, version 2, digest included."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": network.name,
        "layout": layout_document(network.layout),
        "words": to_plain(network.words),
        "pt_convention": network.pt_convention,
        "operations": [_operation_document(operation) for operation in network.operations],
        "score": network.score,
        "embedding": network.embedding,
        "thresholds": network.thresholds,
        "provenance": network.provenance,
    }
    return {**document, "sha256": digest_document(document)}


def from_document(document: dict[str, Any]) -> Network:
    """The Network that a schema-valid document describes; UserError when it is not well formed.

    The provenance of one of version 1 gets its digest, and the words of it that became wider.
    """
    words = [Word(**word) for word in document["words"]]
    provenance = document["provenance"]
    if document["format_version"] == 1:
        layout = layout_of_words(words)
        provenance = {**provenance, "version_1": _version_1(document, words, layout)}
    else:
        layout = parse_layout(document["layout"], "layout")
        _require_same_words(words, layout)
    network = Network(
        name=document["name"],
        layout=layout,
        operations=tuple(_operation(entry) for entry in document["operations"]),
        score=document["score"],
        embedding=document["embedding"],
        thresholds=dict(document["thresholds"]),
        provenance=provenance,
    )
    if document.get("pt_convention", network.pt_convention) != network.pt_convention:
        raise UserError(
            f"pt_convention is {document['pt_convention']!r}, but the operations are those of "
            f"{network.pt_convention!r}; export or import it again"
        )
    return network


def _version_1(document: dict[str, Any], words: list[Word], layout: Layout) -> dict[str, Any]:
    widened = {word.name: word.width for word, mine in zip(words, layout.words, strict=True) if word != mine}
    return {"sha256": document["sha256"]} | ({"narrower_words": widened} if widened else {})


def _require_same_words(words: list[Word], layout: Layout) -> None:
    """UserError naming the first word that is not the layout's."""
    if len(words) != len(layout.words):
        raise UserError(f"has {len(words)} words, but its layout {layout.name!r} has {len(layout.words)}")
    for index, (word, mine) in enumerate(zip(words, layout.words, strict=True)):
        if word != mine:
            raise UserError(
                f"words[{index}] is {_spelt(word)}, but {_spelt(mine)} in its layout {layout.name!r}"
            )


def _spelt(word: Word) -> str:
    return f"{word.name} of {word.width} bits{', signed' if word.signed else ''}"


def schema(version: int = FORMAT_VERSION) -> dict[str, Any]:
    """The JSON schema of the network file."""
    document: dict[str, Any] = json.loads(resources.files("axo.network").joinpath("schema.json").read_text())
    if version == 1:
        for key in _NEW_IN_2:
            document["required"].remove(key)
            del document["properties"][key]
        document["properties"]["format_version"] = {"const": 1}
    return document


def _check_schema(document: dict[str, Any], path: str | os.PathLike[str]) -> None:
    import jsonschema

    # JSON schema counts 1.0 as an integer; this file does not.
    draft = jsonschema.Draft202012Validator
    integers = draft.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    validator = jsonschema.validators.extend(draft, type_checker=integers)(schema(document["format_version"]))
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path) or "top level"
        raise UserError(f"{path}: at {place}: {error.message[:200]}")


def _operation_document(operation: Operation) -> dict[str, Any]:
    document: dict[str, Any] = {"op": operation.op}
    for field in dataclasses.fields(operation):
        value = getattr(operation, field.name)
        if isinstance(value, FixedType):
            value = to_plain(value)
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
