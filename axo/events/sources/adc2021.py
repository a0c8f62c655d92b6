"""ADC2021 HDF5 ("Unsupervised New Physics detection at 40 MHz", Sci. Data 9 (2022) 118): GeV to words.

``Particles`` is (N, 19, 4): pT in GeV, eta, phi, class; rows MET, 4 electrons, 4 muons, 10 jets in
falling pT, absent ones all zero. The class is 1 to 4 in that order, 0 for an absent object. Values
become words as `axo.layout.units.event_words` says (nearest step; pt saturates at the largest word).
"""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.events import Events
from axo.events.sources import _hdf5
from axo.layout import default_layout
from axo.layout.units import event_words

SUMMARY = "ADC2021 HDF5 (Particles, in GeV)"
HAS_SEED_BITS = False

_KEY = "Particles"
_CLASS_OF = {"MET": 1, "EG": 2, "MU": 3, "JET": 4}


def recognises(path: Path) -> bool:
    """Whether the file is HDF5 with a dataset ``Particles``."""
    return _KEY in _hdf5.keys(path)


def count(path: Path) -> int:
    """Number of events."""
    with _hdf5.opened(path) as file:
        return int(_particles(file, path).shape[0])


def iterate(
    path: Path, start: int, stop: int | None, chunk: int, seed_names: str | PathLike[str] | None
) -> Iterator[Events]:
    """Events `start` to `stop` of the file, `chunk` at a time."""
    with _hdf5.opened(path) as file:
        particles = _particles(file, path)
        stop = particles.shape[0] if stop is None else min(stop, particles.shape[0])
        for first in range(start, stop, chunk):
            values = particles[first : min(first + chunk, stop)]
            try:
                _check_classes(values, first)
                events = Events(event_words(default_layout(), _by_kind(values), first))
            except UserError as error:
                raise UserError(f"{path}: {error}") from error
            events.check(str(path), first)
            yield events


def _by_kind(values: NDArray[np.floating]) -> dict[str, dict[str, NDArray[np.floating]]]:
    """The values (n, 19, 4) by kind and quantity, each (n, count)."""
    found, first = {}, 0
    for kind in default_layout().kinds:
        block = values[:, first : first + kind.count]
        found[kind.name] = {role: block[..., place] for place, role in enumerate(("pt", "eta", "phi"))}
        first += kind.count
    return found


def _particles(file: h5py.File, path: Path) -> h5py.Dataset:
    if _KEY not in file:
        raise UserError(f"{path}: dataset {_KEY} is missing; is this an ADC2021 file?")
    particles = _hdf5.dataset(file, path, _KEY, "f", (len(default_layout().objects), 4))
    if particles.shape[0] == 0:
        raise UserError(f"{path}: holds no events")
    return particles


def _words(values: NDArray[np.floating], first_event: int) -> NDArray[Any]:
    """Words of particles (n, 19, 4); UserError naming event and word for what cannot be one."""
    layout, first, physical = default_layout(), 0, {}
    for kind in layout.kinds:
        rows = values[:, first : first + kind.count].astype(np.float64)
        physical[kind.name] = {role: rows[..., i] for i, role in enumerate(("pt", "eta", "phi"))}
        first += kind.count
    return event_words(layout, physical, first_event)


def _check_classes(values: NDArray[np.floating], first_event: int) -> None:
    """Raise UserError unless every object has the class of its row; absent ones are all zero."""
    objects = default_layout().objects
    classes = np.array([_CLASS_OF[item.kind.name] for item in objects])
    absent = (values[..., 0] == 0) & np.array([item.kind.present == "pt" for item in objects])
    zero = (values == 0).all(axis=2)
    # MET is never absent: its pT may be 0.
    always = np.array([item.kind.present == "always" for item in objects])
    right = np.where(absent, zero, (values[..., 3] == classes) | (zero & always))
    if not right.all():
        event, item = np.argwhere(~right)[0]
        raise UserError(
            f"event {first_event + event}: {objects[item].name} has class {values[event, item, 3]:g} where "
            f"{classes[item]} was due, or pT 0 without being all zero"
        )
