"""The library that CMSSW loads, called as CMSSW calls it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from axo.firmware import stages
from axo.firmware.comparison import Result
from axo.firmware.context import Context
from axo.firmware.hls import library as abi

SUMMARY = "CMSSW library, loaded with dlopen and called through its ABI"
ORDER = 3
ROWS = stages.all_rows


def absent(context: Context) -> str | None:
    """For a network that CMSSW's caller could not feed."""
    return context.why_not(stages.library)


def run(context: Context, rows: NDArray[np.int64]) -> Result:
    """Score and embedding words."""
    library, words = context.get(stages.library), context.get(stages.stimuli).words
    rows = rows[abi.possible_words(context.network, words[rows])]
    score, embedding = abi.run_library(library, words[rows])
    return Result("library", rows, score, embedding)
