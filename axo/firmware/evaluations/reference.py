"""The reference: what all others are held against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from axo.firmware.comparison import Result
from axo.firmware.context import Context
from axo.firmware.stages import all_rows, stimuli
from axo.network import evaluate

SUMMARY = "axo's reference evaluation (numpy integers)"
ORDER = 1
ROWS = all_rows


def absent(context: Context) -> None:
    """Always there."""


def run(context: Context, rows: NDArray[np.int64]) -> Result:
    """Score, embedding and trigger bits."""
    answer = evaluate(context.network, context.get(stimuli).words[rows])
    bits = answer.score_word[:, None] >= np.array(context.thresholds, np.int64)
    return Result("reference", rows, answer.score_word, answer.embedding_word, bits)
