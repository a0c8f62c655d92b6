"""Checkpoints of a training: whole or absent, and only ever resumed by the training that wrote them."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from axo.errors import UserError
from axo.files import replacing


@dataclass(frozen=True)
class Checkpoint:
    """The state after `epochs` epochs: `values` of all variables in order, and metrics per epoch."""

    epochs: int
    values: list[np.ndarray]
    history: list[dict[str, float]]


def write_checkpoint(path: Path, fingerprint: str, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` atomically; `fingerprint` says which training it belongs to."""
    arrays: dict[str, Any] = {f"value{i}": value for i, value in enumerate(checkpoint.values)}
    about = {"fingerprint": fingerprint, "epochs": checkpoint.epochs, "history": checkpoint.history}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)


def read_checkpoint(path: str | os.PathLike[str], fingerprint: str) -> Checkpoint | None:
    """The checkpoint at `path`; None when there is none or another training wrote it.

    Raises UserError when the file is damaged.
    """
    if not Path(path).exists():
        return None
    try:
        with Path(path).open("rb") as file, np.load(file) as arrays:
            about = json.loads(str(arrays["about"]))
            values = [arrays[f"value{i}"] for i in range(len(arrays.files) - 1)]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: is no readable checkpoint ({error}); remove it to start afresh") from error
    if about["fingerprint"] != fingerprint:
        return None
    return Checkpoint(about["epochs"], values, about["history"])
