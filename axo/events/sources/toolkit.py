"""The toolkit's own HDF5 layout, read and written: one dataset per quantity, raw hardware words.

Integers of length n: ``run, luminosityBlock, event, bunchCrossing, orbitNumber``; numbers ``npu,
avgpu, weight`` (all optional); ``L1Jet_hw{Pt,Eta,Phi}`` (n, 10), ``L1EG_hw{Pt,Eta,Phi,Iso}`` (n, 4),
``L1Mu_hw{Pt,Eta,Phi,Charge,Qual}`` (n, 4), ``L1MET_hw{Pt,Phi}, L1METHF_hwPt, L1HTT_hwPt,
L1ETT_hwPt`` (n). Only the datasets that make up the 57 words are required. Seed bits, where known, are
``seedBits`` (n, n_seeds) 0 or 1 with ``seedNames`` (n_seeds). The file attribute ``pt_ordered`` = False
says that objects are in the order of the hardware instead of falling pt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from axo.errors import UserError, nearest
from axo.events import COLUMNS, EXTRAS, Events, concatenate
from axo.events.sources import _hdf5
from axo.files import replacing
from axo.layout.cms import CMS_WORDS
from axo.layout.units import CALO_ETA, KINDS, MUON_ETA, PT_GEV

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
_PREFIXES = {"MET": "L1MET", "EG": "L1EG", "MU": "L1Mu", "JET": "L1Jet"}
_WORD_KEYS = {
    f"{prefix}_hw{quantity}": (kind, position)
    for kind, prefix in _PREFIXES.items()
    for position, quantity in enumerate(("Pt", "Eta", "Phi"))
    if (kind, quantity) != ("MET", "Eta")
}
_SEED_KEYS = ("seedBits", "seedNames")
_KNOWN = [*_COLUMN_KEYS.values(), *_WORD_KEYS, *_EXTRA_KEYS.values(), *_SEED_KEYS]

# Attributes that state the steps of the words; a file that states others holds other words.
_STEPS = {
    "pt_lsb_GeV": PT_GEV,
    "calo_eta_lsb": CALO_ETA,
    "calo_phi_lsb": "2pi/144",
    "muon_eta_lsb": MUON_ETA,
    "muon_phi_lsb": "2pi/576",
}
_CHUNK_ROWS = 16384

# The chunk indexes of HDF5 1.10 and later save some 50 kB a file, which small ones feel.
_LIBVER = ("v110", "v110")


def recognises(path: Path) -> bool:
    """Whether the file has at least one dataset that makes up the words."""
    return bool(_hdf5.keys(path) & set(_WORD_KEYS))


def count(path: Path) -> int:
    """Number of events."""
    with _hdf5.opened(path) as file:
        return _open_datasets(file, path)["L1MET_hwPt"].shape[0]


def iterate(
    path: Path, start: int, stop: int | None, chunk: int, seed_names: str | PathLike[str] | None
) -> Iterator[Events]:
    """Events `start` to `stop` of the file, `chunk` at a time."""
    with _hdf5.opened(path) as file:
        datasets = _open_datasets(file, path)
        n = datasets["L1MET_hwPt"].shape[0]
        names = _seed_names(file, path)
        pt_ordered = bool(file.attrs.get("pt_ordered", True))
        stop = n if stop is None else min(stop, n)
        for first in range(start, stop, chunk):
            rows = slice(first, min(first + chunk, stop))
            events = _read(path, datasets, rows, names, pt_ordered)
            events.check(str(path), first)
            yield events


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
                _create(file, table, attributes)
            for key, values in _datasets_of(table).items():
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


def _open_datasets(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """The file's datasets, once their names, types, shapes and lengths are found right."""
    for key in sorted(set(file) - set(_KNOWN)):
        raise UserError(f"{path}: unknown dataset {key!r}{nearest(key, _KNOWN)}; rename or remove it")
    for key in _WORD_KEYS:
        if key not in file:
            raise UserError(f"{path}: dataset {key} is missing; the 57 words need it")
    for name, step in _STEPS.items():
        if name in file.attrs and file.attrs[name] != step:
            raise UserError(f"{path}: attribute {name} is {file.attrs[name]}, but words have steps of {step}")
    datasets = {
        key: _hdf5.dataset(file, path, key, *_kind_and_shape(key)) for key in file if key in _shapes()
    }
    if ("seedBits" in file) != ("seedNames" in file):
        raise UserError(f"{path}: seedBits and seedNames must come together")
    if "seedBits" in file:
        datasets["seedBits"] = _hdf5.dataset(file, path, "seedBits", "iu", (file["seedNames"].size,))
    n = datasets["L1MET_hwPt"].shape[0]
    for key, data in datasets.items():
        if data.shape[0] != n:
            raise UserError(f"{path}: {key} has {data.shape[0]} events, but L1MET_hwPt has {n}")
    if n == 0:
        raise UserError(f"{path}: holds no events")
    return datasets


def _shapes() -> dict[str, tuple[int, ...]]:
    """Shape after the first axis of every dataset but the seed ones."""
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_COLUMN_KEYS.values(), ())
    for key, (kind, _) in _WORD_KEYS.items():
        shapes[key] = () if kind == "MET" else (KINDS[kind].count,)
    for name, key in _EXTRA_KEYS.items():
        shapes[key] = () if EXTRAS[name].columns == 1 else (EXTRAS[name].columns,)
    return shapes


def _kind_and_shape(key: str) -> tuple[str, tuple[int, ...]]:
    return "iuf" if key in ("npu", "avgpu", "weight") else "iu", _shapes()[key]


def _seed_names(file: h5py.File, path: Path) -> tuple[str, ...]:
    if "seedNames" not in file:
        return ()
    data = file["seedNames"]
    if data.ndim != 1 or h5py.check_string_dtype(data.dtype) is None:
        raise UserError(f"{path}: seedNames must be a list of strings")
    return tuple(data.asstr()[:])


def _read(
    path: Path, datasets: dict[str, h5py.Dataset], rows: slice, names: tuple[str, ...], pt_ordered: bool
) -> Events:
    words = np.zeros((rows.stop - rows.start, len(CMS_WORDS)), np.int16)

    def integers(key: str, dtype: Any) -> Any:
        return _hdf5.integers(path, key, datasets[key][rows], dtype, rows.start)

    for key, (kind, position) in _WORD_KEYS.items():
        values = integers(key, np.int16)
        words[:, KINDS[kind].words][:, position::3] = values.reshape(len(words), -1)
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
    )


def _datasets_of(table: Events) -> dict[str, Any]:
    """What is written for `table`, by dataset name."""
    values: dict[str, Any] = {}
    for name, key in _COLUMN_KEYS.items():
        if (column := getattr(table, name)) is not None:
            values[key] = column
    for key, (kind, position) in _WORD_KEYS.items():
        words = table.words[:, KINDS[kind].words][:, position::3]
        values[key] = words[:, 0] if kind == "MET" else words
    for name, array in table.extras.items():
        values[_EXTRA_KEYS[name]] = array
    if table.seed_bits is not None:
        values["seedBits"] = table.seed_bits.astype(np.uint8)
    return values


def _create(file: h5py.File, table: Events, attributes: dict[str, Any]) -> None:
    """Empty, growable datasets for tables like `table`, and the attributes."""
    file.attrs.update(attributes | _STEPS | {"pt_ordered": table.pt_ordered})
    for key, values in _datasets_of(table).items():
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
