"""Layouts as YAML files and JSON documents: read, found by name, written into other files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from axo.config import parse, read_config
from axo.errors import UserError, nearest
from axo.layout.layout import Layout, Word, bare_layout


def layout_names() -> list[str]:
    """Names of the layouts that ship with axo."""
    folder = resources.files("axo.layout")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def find_layout(name: str | os.PathLike[str]) -> Layout:
    """The layout called `name`, or the one in a YAML file of that path.

    Raises UserError naming the file and key of a fault, or the layouts there are.
    """
    text = os.fspath(name)
    if text in layout_names():
        return _shipped(text)
    if text.endswith((".yaml", ".yml")) or Path(text).exists():
        return read_layout(text)
    known = layout_names()
    raise UserError(
        f"layout {text!r} is unknown{nearest(text, known)} (known: {', '.join(known)}; or give the path of "
        "a YAML file)"
    )


def read_layout(path: str | os.PathLike[str]) -> Layout:
    """The layout in the YAML file `path`; UserError names the file and key of a fault."""
    return read_config(path, Layout)


@cache
def _shipped(name: str) -> Layout:
    with resources.as_file(resources.files("axo.layout") / f"{name}.yaml") as path:
        return read_layout(path)


def layout_document(layout: Layout) -> dict[str, Any]:
    """`layout` as plain JSON values; defaults are left out, so that it reads like its YAML."""
    document = _plain(layout)
    assert isinstance(document, dict)
    return document


def parse_layout(document: Any, place: str) -> Layout:
    """The layout that `layout_document` wrote; UserError names `place` and the key of a fault."""
    return parse(Layout, document, place)


def layout_digest(layout: Layout) -> str:
    """sha256 (hex) of a layout's document without its source."""
    content = {key: value for key, value in layout_document(layout).items() if key != "source"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def layout_of_words(words: Sequence[Word]) -> Layout:
    """The shipped layout, or first objects of one, whose words have the names of `words`, in order.

    Words may be narrower than the layout's (a network file of version 1 has no layout, and may say
    less than the hardware's width). A bare layout of single words when there is none.
    """
    names = [word.name for word in words]
    for known in layout_names():
        part = _first_objects(_shipped(known), names)
        if part is not None and all(
            (word.width <= mine.width and word.signed == mine.signed)
            for word, mine in zip(words, part.words, strict=True)
        ):
            return part
    return bare_layout(words)


def _first_objects(layout: Layout, names: list[str]) -> Layout | None:
    """`layout` cut to the objects that `names` are the words of; None when they are not."""
    if [word.name for word in layout.words] == names:
        return layout
    parts: list[tuple[str, int | None, Sequence[str] | None]] = []
    for kind in layout.kinds:
        count = 0
        while count < kind.count and all(
            f"{kind.object_name(count)}_{quantity.name}" in names for quantity in kind.quantities
        ):
            count += 1
        if count:
            parts.append((kind.name, count, None))
    if not parts:
        return None
    part = layout.select(parts, layout.name)
    return part if [word.name for word in part.words] == names else None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.default is dataclasses.MISSING or getattr(value, field.name) != field.default
        }
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
