"""The toolkit's own HDF5, read and written: one dataset per quantity, raw hardware words.

Integers of length n: ``run, luminosityBlock, event, bunchCrossing, orbitNumber``; numbers ``npu,
avgpu, weight`` (all optional). Words of the layout `cms_axol1tl`: ``L1Jet_hw{Pt,Eta,Phi}`` (n, 10),
``L1EG_hw{Pt,Eta,Phi}`` (n, 4), ``L1Mu_hw{Pt,Eta,Phi}`` (n, 4), ``L1MET_hw{Pt,Phi}`` (n). Words of any
other: ``<Kind>_<quantity>`` (n, count), (n) for a kind of one object, and the layout itself as JSON in the
file attribute ``layout``. Beside the words, where known: ``L1EG_hwIso, L1Mu_hwQual, L1Mu_hwCharge``
(n, count), ``L1METHF_hwPt, L1HTT_hwPt, L1ETT_hwPt`` (n); seed bits are ``seedBits`` (n, n_seeds) 0 or 1
with ``seedNames`` (n_seeds). Only the words are required. The file attribute ``pt_ordered`` = False
says that objects are in the order of the hardware instead of falling pt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from axo.errors import UserError, nearest
from axo.events import COLUMNS, EXTRAS, Events, column_slice, concatenate
from axo.events.sources import _hdf5
from axo.files import replacing
from axo.layout import Layout, default_layout, layout_document, parse_layout

SUMMARY = "the toolkit's own HDF5 (L1Jet_hwPt, ...)"
HAS_SEED_BITS = False  # seed bits carry their names inside the file

_COLUMN_KEYS = {
    "run": "run",
    "luminosity_block": "luminosityBlock",
    "event": "event",
    "bunch_crossing": "bunchCrossing",
    "orbit": "orbitNumber",
    "pileup": "npu",
    "average_pileup": "avgpu",
    "weight": "weight",
}
_EXTRA_KEYS = {
    "htt_pt": "L1HTT_hwPt",
    "ett_pt": "L1ETT_hwPt",
    "methf_pt": "L1METHF_hwPt",
    "eg_iso": "L1EG_hwIso",
    "mu_qual": "L1Mu_hwQual",
    "mu_charge": "L1Mu_hwCharge",
}
_SEED_KEYS = ("seedBits", "seedNames")
_LAYOUT_KEY = "layout"

_WORD_KEYS = {
    "L1MET_hwPt": ("MET", "pt"),
    "L1MET_hwPhi": ("MET", "phi"),
    "L1EG_hwPt": ("EG", "pt"),
    "L1EG_hwEta": ("EG", "eta"),
    "L1EG_hwPhi": ("EG", "phi"),
    "L1Mu_hwPt": ("MU", "pt"),
    "L1Mu_hwEta": ("MU", "eta"),
    "L1Mu_hwPhi": ("MU", "phi"),
    "L1Jet_hwPt": ("JET", "pt"),
    "L1Jet_hwEta": ("JET", "eta"),
    "L1Jet_hwPhi": ("JET", "phi"),
}
"""Kind and quantity of the datasets that hold the words of the default layout."""

_STEPS = {
    "pt_lsb_GeV": ("JET", "pt"),
    "calo_eta_lsb": ("JET", "eta"),
    "calo_phi_lsb": ("JET", "phi"),
    "muon_eta_lsb": ("MU", "eta"),
    "muon_phi_lsb": ("MU", "phi"),
}
"""Attributes that state the steps of these words; a file that states others holds other words."""

_CHUNK_ROWS = 16384

# The chunk indexes of HDF5 1.10 and later save some 50 kB a file, which small ones feel.
_LIBVER = ("v110", "v110")


@dataclass(frozen=True)
class _Naming:
    """Which datasets hold the words of a `layout`: `words` is (kind, quantity) by name."""

    layout: Layout
    words: dict[str, tuple[str, str]]

    @property
    def first(self) -> str:
        """The dataset that says how many events there are."""
        return next(iter(self.words))

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape after the first axis of every dataset but the seed ones."""
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_COLUMN_KEYS.values(), ())
        for key, (kind, _) in self.words.items():
            shapes[key] = _tail(self.layout.kind(kind).count)
        for name, key in _EXTRA_KEYS.items():
            if columns := EXTRAS[name].columns(self.layout):
                shapes[key] = _tail(columns)
        return shapes


def _tail(columns: int) -> tuple[int, ...]:
    return () if columns == 1 else (columns,)


def _naming(layout: Layout) -> _Naming:
    """The names of the datasets for `layout`; UserError when two would be the same."""
    if layout.digest == default_layout().digest:
        return _Naming(layout, _WORD_KEYS)
    words: dict[str, tuple[str, str]] = {}
    taken = {*_COLUMN_KEYS.values(), *_EXTRA_KEYS.values(), *_SEED_KEYS}
    for kind in layout.kinds:
        for quantity in kind.quantities:
            key = f"{kind.name}_{quantity.name}".removesuffix("_")
            if key in taken or key in words:
                raise UserError(
                    f"layout {layout.name!r}: its words would be in two datasets called {key!r}; "
                    f"rename the kind {kind.name!r}"
                )
            if quantity.bits:
                words[key] = (kind.name, quantity.name)
    return _Naming(layout, words)


def _steps() -> dict[str, Any]:
    """The attributes of _STEPS."""
    layout = default_layout()
    steps = {name: layout.kind(kind).quantity(role).step for name, (kind, role) in _STEPS.items()}
    return {name: step.replace("*", "") if isinstance(step, str) else step for name, step in steps.items()}


def recognises(path: Path) -> bool:
    """Whether the file states a layout, or has at least one dataset that makes up the default one's words."""
    if not _hdf5.is_hdf5(path):
        return False
    with _hdf5.opened(path) as file:
        return _LAYOUT_KEY in file.attrs or not _WORD_KEYS.keys().isdisjoint(file)


def count(path: Path) -> int:
    """Number of events."""
    with _hdf5.opened(path) as file:
        naming = _naming_of(file, path)
        return int(_open_datasets(file, path, naming)[naming.first].shape[0])


def iterate(
    path: Path, start: int, stop: int | None, chunk: int, seed_names: str | PathLike[str] | None
) -> Iterator[Events]:
    """Events `start` to `stop` of the file, `chunk` at a time."""
    with _hdf5.opened(path) as file:
        naming = _naming_of(file, path)
        datasets = _open_datasets(file, path, naming)
        n = datasets[naming.first].shape[0]
        names = _seed_names(file, path)
        pt_ordered = bool(file.attrs.get("pt_ordered", True))
        stop = n if stop is None else min(stop, n)
        for first in range(start, stop, chunk):
            rows = slice(first, min(first + chunk, stop))
            events = _read(path, naming, datasets, rows, names, pt_ordered)
            events.check(str(path), first)
            yield events


def _naming_of(file: h5py.File, path: Path) -> _Naming:
    """That of the layout which the file states, or of the default one."""
    if _LAYOUT_KEY not in file.attrs:
        return _naming(default_layout())
    place = f"{path}: attribute {_LAYOUT_KEY}"
    try:
        document = json.loads(file.attrs[_LAYOUT_KEY])
    except (TypeError, ValueError) as error:
        raise UserError(f"{place}: is not JSON ({error})") from error
    return _naming(parse_layout(document, place))


def attributes(path: Path) -> dict[str, Any]:
    """The file's attributes: how the events were made, steps of the words."""
    with _hdf5.opened(path) as file:
        return dict(file.attrs)


def write(path: Path, tables: Iterable[Events], attributes: dict[str, Any]) -> int:
    """Write tables in turn (see `axo.events.sources.write_events`); returns the number of events."""
    n = 0
    with replacing(path) as temporary, h5py.File(temporary, "w", libver=_LIBVER) as file:
        for table in _whole_chunks(path, tables):
            table.check(f"{path}: cannot be written", n)
            if n == 0:
                naming = _naming(table.layout)
                _create(file, table, naming, attributes)
            for key, values in _datasets_of(table, naming).items():
                data = file[key]
                data.resize(n + len(table), axis=0)
                data[n:] = values
            n += len(table)
        if n == 0:
            raise UserError(f"{path}: there are no events to write")
    return n


def _whole_chunks(path: Path, tables: Iterable[Events]) -> Iterator[Events]:
    """The same events in tables of whole HDF5 chunks: each chunk is compressed once, in one place."""
    waiting: Events | None = None
    for table in tables:
        try:
            waiting = table if waiting is None else concatenate([waiting, table])
        except UserError as error:
            raise UserError(f"{path}: cannot be written: {error}") from error
        whole = len(waiting) // _CHUNK_ROWS * _CHUNK_ROWS
        if whole:
            yield waiting[:whole]
            waiting = waiting[whole:]
    if waiting is not None and len(waiting):
        yield waiting


def _open_datasets(file: h5py.File, path: Path, naming: _Naming) -> dict[str, h5py.Dataset]:
    """The file's datasets, once their names, types, shapes and lengths are found right."""
    known = [*naming.shapes, *_SEED_KEYS]
    for key in sorted(set(file) - set(known)):
        raise UserError(f"{path}: unknown dataset {key!r}{nearest(key, known)}; rename or remove it")
    for key in naming.words:
        if key not in file:
            raise UserError(f"{path}: dataset {key} is missing; layout {naming.layout.name!r} needs it")
    if naming.words is _WORD_KEYS:
        for name, step in _steps().items():
            if name in file.attrs and file.attrs[name] != step:
                raise UserError(
                    f"{path}: attribute {name} is {file.attrs[name]}, but words have steps of {step}"
                )
    datasets = {
        key: _hdf5.dataset(file, path, key, _number_kinds(key), naming.shapes[key])
        for key in file
        if key in naming.shapes
    }
    if ("seedBits" in file) != ("seedNames" in file):
        raise UserError(f"{path}: seedBits and seedNames must come together")
    if "seedBits" in file:
        datasets["seedBits"] = _hdf5.dataset(file, path, "seedBits", "iu", (file["seedNames"].size,))
    n = datasets[naming.first].shape[0]
    for key, data in datasets.items():
        if data.shape[0] != n:
            raise UserError(f"{path}: {key} has {data.shape[0]} events, but {naming.first} has {n}")
    if n == 0:
        raise UserError(f"{path}: holds no events")
    return datasets


def _number_kinds(key: str) -> str:
    return "iuf" if key in ("npu", "avgpu", "weight") else "iu"


def _seed_names(file: h5py.File, path: Path) -> tuple[str, ...]:
    if "seedNames" not in file:
        return ()
    data = file["seedNames"]
    if data.ndim != 1 or h5py.check_string_dtype(data.dtype) is None:
        raise UserError(f"{path}: seedNames must be a list of strings")
    return tuple(data.asstr()[:])


def _read(
    path: Path,
    naming: _Naming,
    datasets: dict[str, h5py.Dataset],
    rows: slice,
    names: tuple[str, ...],
    pt_ordered: bool,
) -> Events:
    layout = naming.layout
    words = np.zeros((rows.stop - rows.start, len(layout.words)), layout.dtype)

    def integers(key: str, dtype: Any) -> Any:
        return _hdf5.integers(path, key, datasets[key][rows], dtype, rows.start)

    for key, (kind, quantity) in naming.words.items():
        words[:, column_slice(layout, kind, quantity)] = integers(key, layout.dtype).reshape(len(words), -1)
    columns: dict[str, Any] = {}
    for name, key in _COLUMN_KEYS.items():
        if key in datasets:
            dtype = COLUMNS[name]
            is_float = np.issubdtype(dtype, np.floating)
            columns[name] = datasets[key][rows].astype(dtype) if is_float else integers(key, dtype)
    extras = {name: integers(key, EXTRAS[name].dtype) for name, key in _EXTRA_KEYS.items() if key in datasets}
    bits = integers("seedBits", np.int8) if names else None
    if bits is not None and ((bits < 0) | (bits > 1)).any():
        raise UserError(f"{path}: seedBits must be 0 or 1")
    return Events(
        words,
        **columns,
        extras=extras,
        seed_bits=None if bits is None else bits.astype(bool),
        seed_names=names,
        pt_ordered=pt_ordered,
        layout=layout,
    )


def _datasets_of(table: Events, naming: _Naming) -> dict[str, Any]:
    """What is written for `table`, by dataset name."""
    values: dict[str, Any] = {}
    for name, key in _COLUMN_KEYS.items():
        if (column := getattr(table, name)) is not None:
            values[key] = column
    for key, (kind, quantity) in naming.words.items():
        words = table.words[:, column_slice(table.layout, kind, quantity)]
        values[key] = words[:, 0] if words.shape[1] == 1 else words
    for name, array in table.extras.items():
        values[_EXTRA_KEYS[name]] = array
    if table.seed_bits is not None:
        values["seedBits"] = table.seed_bits.astype(np.uint8)
    return values


def _create(file: h5py.File, table: Events, naming: _Naming, attributes: dict[str, Any]) -> None:
    """Empty, growable datasets for tables like `table`, and the attributes."""
    others = {key: value for key, value in attributes.items() if key not in (*_STEPS, _LAYOUT_KEY)}
    said = _steps()
    if naming.words is not _WORD_KEYS:
        said = {_LAYOUT_KEY: json.dumps(layout_document(table.layout))}
    file.attrs.update(others | said | {"pt_ordered": table.pt_ordered})
    for key, values in _datasets_of(table, naming).items():
        tail = values.shape[1:]
        file.create_dataset(
            key,
            shape=(0, *tail),
            maxshape=(None, *tail),
            chunks=(_CHUNK_ROWS, *tail),
            dtype=values.dtype,
            compression="gzip",
            shuffle=True,
        )
    if table.seed_bits is not None:
        file["seedNames"] = list(table.seed_names)
