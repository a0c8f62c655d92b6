"""Recorded events: one file per input format, found by its module name (see axo.plugins).

A source is a module of this folder with

* ``SUMMARY``: one line;
* ``recognises(path) -> bool``: whether a file looks like this format (by content, not by name);
* ``count(path) -> int``: its number of events;
* ``iterate(path, start, stop, chunk, seed_names) -> Iterator[Events]``: checked events, in order;
* ``HAS_SEED_BITS``: whether a seed-name table means anything to it;
* ``READ_AS``, where its files hold more than is mostly wanted: the layout in which its events are given
  unless another is asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from axo.errors import UserError, nearest
from axo.events import Events, concatenate
from axo.layout import Layout, find_layout
from axo.plugins import Plugins

StrPath = str | PathLike[str]
Paths = StrPath | Iterable[StrPath]

CHUNK = 65536
"""Events in memory at a time, unless asked otherwise (about 10 MB)."""

SAMPLE_PREFIX = "sample:"
"""``sample:NAME`` stands for a shipped sample wherever a path of events is taken."""


class Source(Protocol):
    """A module of this folder."""

    __name__: str
    SUMMARY: str
    HAS_SEED_BITS: bool

    def recognises(self, path: Path) -> bool: ...

    def count(self, path: Path) -> int: ...

    def iterate(
        self, path: Path, start: int, stop: int | None, chunk: int, seed_names: StrPath | None
    ) -> Iterator[Events]: ...


SOURCES: Plugins[Source] = Plugins(
    __name__, "format", ("SUMMARY", "HAS_SEED_BITS", "recognises", "count", "iterate")
)


@cache
def sources() -> dict[str, Source]:
    """Every source by name."""
    return SOURCES.load_all()


def source_of(path: StrPath, format: str | None = None) -> Source:
    """The source that reads `path`: the one named `format`, or else the one that recognises it.

    Raises UserError for a file that is absent or empty, an unknown format, or a file that no source,
    or not this one, recognises.
    """
    path = resolve(path)
    if format is not None:
        SOURCES.require(format)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name the files in it")
    try:
        if not path.stat().st_size:
            raise UserError(f"{path}: the file is empty")
        if format is not None:
            return sources()[format]
        for module in sources().values():
            if module.recognises(path):
                return module
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    raise UserError(
        f"{path}: is none of the formats {', '.join(sources())}; name one with --format for a precise reason"
    )


def iter_events(
    paths: Paths,
    chunk: int = CHUNK,
    format: str | None = None,
    seed_names: StrPath | None = None,
    start: int = 0,
    stop: int | None = None,
    layout: Layout | str | None = None,
) -> Iterator[Events]:
    """Yield the events of all `paths`, in order, at most `chunk` at a time, checked as `Events.check` does.

    `format` names a source (default: recognised by content); `seed_names` is a CSV table
    ``index,name`` that picks and names the algorithm bits. `start` and `stop` are a range of events
    of each file. `layout` (or its name) is the one to give the events in (default: that of each file);
    of hardware's packed objects, what they have of it.
    Memory stays bounded by the chunk. Raises UserError naming file and event or key, or what events lack
    for the layout.
    """
    if chunk < 1:
        raise ValueError("chunk must be at least 1")
    for path in _paths(paths):
        module = source_of(path, format)
        if seed_names is not None and not module.HAS_SEED_BITS:
            raise UserError(
                f"{path}: files of this format carry no seed bits that a seed-name table could name"
            )
        wanted = getattr(module, "READ_AS", None) if layout is None else layout
        wanted = find_layout(wanted) if isinstance(wanted, str) else wanted
        for events in module.iterate(path, start, stop, chunk, seed_names):
            yield events if wanted is None else _in_layout(path, events, wanted)


def _in_layout(path: Path, events: Events, layout: Layout) -> Events:
    if events.layout == layout.packed_part():
        return events
    try:
        return events.in_layout(layout)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_events(
    paths: Paths,
    limit: int | None = None,
    format: str | None = None,
    seed_names: StrPath | None = None,
    layout: Layout | str | None = None,
) -> Events:
    """All events of `paths`, or the first `limit` of them. Raises UserError as `iter_events` does."""
    parts: list[Events] = []
    left = limit
    for path in _paths(paths):
        for part in iter_events(path, CHUNK, format, seed_names, stop=left, layout=layout):
            parts.append(part)
            left = None if left is None else left - len(part)
        if left == 0:
            break
    if not parts:
        raise UserError("no events were read; give at least one file, and a limit of at least 1")
    return concatenate(parts)


def count_events(paths: Paths, format: str | None = None) -> int:
    """Number of events in all `paths`."""
    return sum(source_of(path, format).count(path) for path in _paths(paths))


def write_events(
    path: StrPath, events: Events | Iterable[Events], attributes: dict[str, Any] | None = None
) -> int:
    """Write `events` (a table, or tables in turn, all with the same columns) as toolkit HDF5, atomically.

    `attributes` are kept with the file (where it came from). Returns the number of events; raises
    UserError when the events are no hardware words, differ in what they know, or cannot be written.
    """
    from axo.events.sources import toolkit

    return toolkit.write(Path(path), [events] if isinstance(events, Events) else events, attributes or {})


def sample_names() -> list[str]:
    """Names of the samples that ship with the package."""
    with _data_folder() as folder:
        return sorted(path.stem for path in folder.glob("*.h5"))


def sample_path(name: str) -> Path:
    """The file of the shipped sample `name` (see `sample_names`); UserError for an unknown one."""
    if name not in sample_names():
        raise UserError(f"unknown sample {name!r}{nearest(name, sample_names())}")
    with _data_folder() as folder:
        return folder / f"{name}.h5"


def resolve(path: StrPath) -> Path:
    """`path` itself, or the file of a shipped sample for ``sample:NAME``. UserError for an unknown sample."""
    if isinstance(path, str) and path.startswith(SAMPLE_PREFIX):
        return sample_path(path.removeprefix(SAMPLE_PREFIX))
    return Path(path)


def _data_folder() -> contextlib.AbstractContextManager[Path]:
    return resources.as_file(resources.files("axo") / "data")


def _paths(paths: Paths) -> list[Path]:
    return [resolve(path) for path in ([paths] if isinstance(paths, str | PathLike) else paths)]
