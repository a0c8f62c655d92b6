"""Test vectors of the CMS global trigger (text, plain or gzip): one bunch crossing a line.

Columns, separated by blanks: bunch crossing (decimal); then, hexadecimal, 8 muons (64 bit); 12
e/gamma, 12 taus, 12 jets (32 bit each); sums ETT, HTT, ETM, HTM, ETMHF, HTMHF (32 bit) and further
32-bit words, whose number varies with the menu; 256 external conditions; 512 algorithm bits (bit 0 is
the last binary digit); the final OR. Columns are therefore counted from both ends.

The objects are those of the layout `cms_gt`, which says where their bits lie, without what a readout has
beside them. Where no layout is asked for, its part `cms_axol1tl` is given, and with it what
`axo.events.EXTRAS` names. Words and their order are kept as the hardware saw them. An object whose pt
word is 0 is absent and all zero; sums are never absent.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import string
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.events import Events
from axo.layout import DEFAULT_LAYOUT, Layout, find_layout
from axo.layout.checks import clear_absent
from axo.layout.packing import unpack_objects

SUMMARY = "CMS global-trigger test vectors (text, plain or gzip)"
HAS_SEED_BITS = True
READ_AS = DEFAULT_LAYOUT

N_ALGORITHMS = 512
N_CROSSINGS = 3564

_OBJECTS = ("MU", "EG", "TAU", "JET", "ETT", "HTT", "MET", "HTM", "ETMHF", "HTMHF")
"""Kinds of the layout `cms_gt` in the order of their columns; MET is what the format calls ETM."""

_FURTHER = 8
_TAIL = [64, N_ALGORITHMS // 4, 1]
"""Hexadecimal digits of a further word, and of the columns after them."""

_GZIP_MAGIC = b"\x1f\x8b"


def recognises(path: Path) -> bool:
    """Whether the first line starts with a bunch crossing and a 64-bit word (or gzip cannot tell)."""
    try:
        with _open(path) as file:
            fields = file.readline(64).split()
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return True  # reading it will say what is wrong
    return len(fields) > 1 and fields[0].isdigit() and len(fields[1]) == _object_widths()[0]


def count(path: Path) -> int:
    """Number of bunch crossings."""
    return sum(1 for _ in _lines(path))


def iterate(
    path: Path, start: int, stop: int | None, chunk: int, seed_names: str | PathLike[str] | None
) -> Iterator[Events]:
    """Crossings `start` to `stop` of the file, `chunk` at a time, with their algorithm bits.

    Without a table all 512 bits are given, named bit0 to bit511.
    """
    seeds = {i: f"bit{i}" for i in range(N_ALGORITHMS)} if seed_names is None else read_seed_names(seed_names)
    lines = enumerate(_lines(path), start=1)
    head = next(lines, None)
    if head is None:
        raise UserError(f"{path}: holds no bunch crossings")
    widths = _widths(path, head[1])
    wanted = itertools.islice(itertools.chain([head], lines), start, stop)
    while rows := list(itertools.islice(wanted, chunk)):
        events = _events(*_parse(path, rows, widths), seeds)
        events.check(str(path), rows[0][0] - 1)
        yield events


def read_seed_names(path: str | PathLike[str]) -> dict[int, str]:
    """Seed names by algorithm bit, in rising order, from a CSV table with the header ``index,name``.

    Raises UserError naming the line that is not a bit 0 to 511 and a name, or repeats one.
    """
    names: dict[int, str] = {}
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            if next(rows, None) != ["index", "name"]:
                raise UserError(f"{path}: the first line must be index,name")
            for row in rows:
                where = f"{path}: line {rows.line_num}"
                if len(row) != 2 or not row[0].isdecimal() or int(row[0]) >= N_ALGORITHMS or not row[1]:
                    raise UserError(f"{where}: {','.join(row)!r} is not a bit 0 to 511 and a seed name")
                if int(row[0]) in names or row[1] in names.values():
                    raise UserError(f"{where}: bit {row[0]} or name {row[1]} is there twice")
                names[int(row[0])] = row[1]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is not a CSV table ({error})") from error
    if not names:
        raise UserError(f"{path}: names no seed")
    return dict(sorted(names.items()))


@cache
def _layout() -> Layout:
    return find_layout("cms_gt").packed_part()


def _object_widths() -> list[int]:
    """Hexadecimal digits of every column of an object."""
    kinds = [_layout().kind(name) for name in _OBJECTS]
    return [kind.bits // 4 for kind in kinds for _ in range(kind.count)]


def _open(path: Path) -> Any:
    """The file as bytes, decompressed when it starts like gzip."""
    with path.open("rb") as file:
        compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    return gzip.open(path, "rb") if compressed else path.open("rb")


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with _open(path) as file:
            yield from file
    except EOFError as error:
        raise UserError(f"{path}: the compressed file ends too early; is it truncated?") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: the compressed file is damaged ({error})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _widths(path: Path, line: bytes) -> list[int]:
    """Digits due in each column after the first, from the number of columns of the first line."""
    columns, objects = len(line.split()), _object_widths()
    least = 1 + len(objects) + len(_TAIL)
    if columns < least:
        raise UserError(f"{path}: line 1 has {columns} columns, but a test vector has at least {least}")
    return objects + [_FURTHER] * (columns - least) + _TAIL


def _parse(
    path: Path, rows: Iterable[tuple[int, bytes]], widths: list[int]
) -> tuple[list[int], dict[str, NDArray[Any]]]:
    """Bunch crossings; packed objects (n, count) uint64 by kind, and the bytes of ``algorithms``."""
    crossings, packed = [], []
    for number, line in rows:
        where = f"{path}: line {number} (event {number - 1})"
        bunch_crossing, *words = line.split() or [b""]
        if len(words) != len(widths):
            raise UserError(f"{where}: has {1 + len(words)} columns, but line 1 has {1 + len(widths)}")
        if not bunch_crossing.isdigit() or int(bunch_crossing) >= N_CROSSINGS:
            raise UserError(f"{where}: bunch crossing {_shown(bunch_crossing)} is not 0 to {N_CROSSINGS - 1}")
        if [len(word) for word in words] != widths:
            column = next(i for i, word in enumerate(words) if len(word) != widths[i])
            raise UserError(
                f"{where}: column {column + 2} has {len(words[column])} digits, but {widths[column]} are due"
            )
        crossings.append(int(bunch_crossing))
        try:
            packed.append(bytes.fromhex((b"".join(words[:-1]) + b"0" + words[-1]).decode("ascii")))
        except ValueError as error:
            hexadecimal = set(string.hexdigits.encode())
            column = next(i for i, word in enumerate(words) if not set(word) <= hexadecimal)
            raise UserError(
                f"{where}: column {column + 2}, {_shown(words[column])}, is not hexadecimal"
            ) from error
    table = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), -1)
    ends = np.cumsum([0, *((digits + 1) // 2 for digits in widths)])
    columns, first = {"algorithms": table[:, ends[-3] : ends[-2]]}, 0
    for name in _OBJECTS:
        kind = _layout().kind(name)
        part = np.ascontiguousarray(table[:, ends[first] : ends[first + kind.count]])
        columns[name] = part.view(f">u{kind.bits // 8}").astype(np.uint64)
        first += kind.count
    return crossings, columns


def _events(crossings: list[int], columns: dict[str, NDArray[Any]], seeds: dict[int, str]) -> Events:
    algorithms = np.unpackbits(columns["algorithms"], axis=1)[:, ::-1].astype(bool)
    return Events(
        _words(columns),
        bunch_crossing=np.array(crossings),
        seed_bits=algorithms[:, list(seeds)],
        seed_names=tuple(seeds.values()),
        pt_ordered=False,
        layout=_layout(),
    )


def _words(columns: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """The words of all objects; those of absent ones 0."""
    parts = [unpack_objects(_layout(), columns[kind.name], kind.name) for kind in _layout().kinds]
    return clear_absent(_layout(), np.concatenate(parts, axis=1))


def _shown(field: bytes) -> str:
    """A field for a message, shortened."""
    return repr(field[:20].decode("ascii", "replace"))
