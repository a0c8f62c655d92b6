"""What the HDF5 sources share: opening, naming faults, checking shapes and types."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Datasets are cut in columns and rows; a cache of this size holds what two neighbouring reads share.
_CACHE_BYTES = 4 << 20


def is_hdf5(path: Path) -> bool:
    """Whether the file starts as an HDF5 file does (it may still be truncated)."""
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The open file; UserError for a damaged one, also when a read inside the block finds it."""
    try:
        with h5py.File(path, "r", rdcc_nbytes=_CACHE_BYTES) as file:
            yield file
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise UserError(f"{path}: cannot be read ({os.strerror(error.errno or 0)})") from error
    except OSError as error:
        raise UserError(f"{path}: is not a whole HDF5 file ({_reason(error)}); is it truncated?") from error


def keys(path: Path) -> set[str]:
    """Names at the top of the file; empty when it is no HDF5 file."""
    if not is_hdf5(path):
        return set()
    with opened(path) as file:
        return set(file)


def dataset(file: h5py.File, path: Path, key: str, kinds: str, tail: tuple[int, ...]) -> h5py.Dataset:
    """Dataset `key`, whose dtype kind must be one of `kinds` and shape (n, *tail)."""
    data = file[key]
    if not isinstance(data, h5py.Dataset):
        raise UserError(f"{path}: {key} is not a dataset")
    if data.dtype.kind not in kinds:
        wanted = "integers" if "i" in kinds else "floating-point numbers"
        raise UserError(f"{path}: {key} holds {data.dtype}, not {wanted}")
    if data.ndim != 1 + len(tail) or data.shape[1:] != tail:
        wanted = ", ".join(["n", *map(str, tail)]) + ("" if tail else ",")
        raise UserError(f"{path}: {key} has shape {data.shape}, not ({wanted})")
    return data


def integers(
    path: Path, key: str, values: NDArray[Any], dtype: type[np.generic], first_event: int
) -> NDArray[Any]:
    """`values` as integer `dtype`; UserError names the first event whose value does not fit."""
    bounds = np.iinfo(dtype)  # type: ignore[type-var]
    if not np.can_cast(values.dtype, dtype, "safe") and values.size:
        bad = (values < bounds.min) | (values > bounds.max)
        if bad.any():
            at = tuple(np.argwhere(bad)[0])
            raise UserError(
                f"{path}: event {first_event + at[0]}: {key} = {values[at]} is not within "
                f"{bounds.min} to {bounds.max}"
            )
    return values.astype(dtype, copy=False)


def _reason(error: OSError) -> str:
    """The last bracketed part of HDF5's message, which says what is wrong, on one line."""
    return " ".join(str(error).split()).rpartition("(")[2].rstrip(")")
