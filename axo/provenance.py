"""Where a model came from: digests of data and files, versions of what made it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import axo

PACKAGES = ("numpy", "tensorflow-cpu", "keras", "hgq2", "hls4ml", "alkaid")


def file_digest(path: str | os.PathLike[str]) -> str:
    """sha256 (hex) of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def words_digest(words: NDArray[np.int16] | NDArray[np.int32]) -> str:
    """sha256 (hex) of words (n, n_words), row by row, little-endian: the same for every file format."""
    return hashlib.sha256(np.ascontiguousarray(words, words.dtype.newbyteorder("<")).tobytes()).hexdigest()


def json_digest(value: Any) -> str:
    """sha256 (hex) of a JSON value: keys sorted, no blanks."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of axo, Python and the packages that shape a model; those not installed are left out."""
    found = {"axo": axo.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
