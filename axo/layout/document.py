"""Layouts as YAML files and JSON documents: read, found by name, written into other files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from axo.config import parse, read_config, to_plain
from axo.errors import UserError, nearest
from axo.layout.layout import Layout, Word, bare_layout

DEFAULT_LAYOUT = "cms_axol1tl"
"""What events, configurations and networks to be imported have when they say nothing else."""


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


def default_layout() -> Layout:
    """The layout DEFAULT_LAYOUT, always the same object."""
    return _shipped(DEFAULT_LAYOUT)


def read_layout(path: str | os.PathLike[str]) -> Layout:
    """The layout in the YAML file `path`; UserError names the file and key of a fault."""
    return read_config(path, Layout)


@cache
def _shipped(name: str) -> Layout:
    with resources.as_file(resources.files("axo.layout") / f"{name}.yaml") as path:
        return read_layout(path)


def layout_document(layout: Layout) -> dict[str, Any]:
    """`layout` as plain JSON values; defaults are left out, so that it reads like its YAML."""
    return to_plain(layout, defaults=False)


def parse_layout(document: Any, place: str) -> Layout:
    """The layout that `layout_document` wrote; UserError names `place` and the key of a fault."""
    return parse(Layout, document, place)


def layout_of_words(words: Sequence[Word]) -> Layout:
    """The layout of `words`: a shipped one, or first objects of one, whose words have their names, in order.

    For network files of version 1, which have words alone. Widths stay those of `words`, which may be
    narrower than the shipped layout's: a quantity gets the widest that it has among the objects of its
    kind. Objects that come packed must have the layout's own widths, for narrower fields would cut what
    the hardware sends. Otherwise, and when no layout has the names, a bare layout of single words.
    """
    names = [word.name for word in words]
    for known in layout_names():
        part = _first_objects(_shipped(known), names)
        narrowed = None if part is None else _narrowed(part, words)
        if narrowed is not None:
            return narrowed
    return bare_layout(words)


def _narrowed(layout: Layout, words: Sequence[Word]) -> Layout | None:
    """`layout` with the widths of `words`; None where they do not fit it."""
    kinds, column = [], 0
    for kind in layout.kinds:
        n = len(kind.quantities)
        mine = np.array([word.width for word in words[column : column + n * kind.count]]).reshape(-1, n)
        signed = [word.signed for word in words[column : column + n * kind.count]]
        bits = np.array([quantity.bits for quantity in kind.quantities])
        if signed != [quantity.signed for quantity in kind.quantities] * kind.count or (mine > bits).any():
            return None
        if (mine != bits).any():
            widths = mine.max(0)
            if kind.bits or ((widths == 0) != (bits == 0)).any():
                return None
            quantities = zip(kind.quantities, widths.tolist(), strict=True)
            kind = replace(kind, quantities=tuple(replace(q, bits=width) for q, width in quantities))
        kinds.append(kind)
        column += n * kind.count
    return layout if tuple(kinds) == layout.kinds else replace(layout, kinds=tuple(kinds))


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
