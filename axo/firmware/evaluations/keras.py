"""The Keras model that the network was exported from."""

from __future__ import annotations

import importlib.metadata

import numpy as np
from numpy.typing import NDArray

from axo.firmware.comparison import Result
from axo.firmware.context import Context
from axo.firmware.stages import all_rows, stimuli

SUMMARY = "the trained Keras model (TensorFlow)"
ORDER = 0
ROWS = all_rows


def absent(context: Context) -> str | None:
    """Without the model, or TensorFlow."""
    if context.model.keras_path is None:
        return "no model.keras lies beside the network file"
    try:
        importlib.metadata.version("hgq2")
    except importlib.metadata.PackageNotFoundError:
        return "TensorFlow and hgq2 are not installed (pip install 'axo[train]')"
    return None


def run(context: Context, rows: NDArray[np.int64]) -> Result:
    """Score and embedding words."""
    from axo.models.evaluate import evaluate_keras

    assert context.model.keras_path is not None
    words = context.get(stimuli).words[rows]
    score, embedding = evaluate_keras(context.model.keras_path, context.network, words)
    return Result("keras", rows, score, embedding)
