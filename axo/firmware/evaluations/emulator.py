"""The C++ of the HLS project, whole: words to trigger bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from axo.firmware import stages
from axo.firmware.comparison import Result
from axo.firmware.context import Context
from axo.firmware.hls import project as hls
from axo.network.types import Ints

SUMMARY = "hls4ml C++, words to score, compiled here"
ORDER = 2
ROWS = stages.all_rows
TRACES = ("emulator", "library")


def absent(context: Context) -> None:
    """Never: a network that hls4ml cannot express is no firmware."""


def run(context: Context, rows: NDArray[np.int64]) -> Result:
    """Score, embedding and trigger bits."""
    project = context.get(stages.emulator)
    answer = hls.run_emulator(project, context.get(stages.stimuli).words[rows], context.thresholds)
    return Result("emulator", rows, answer.score_word, answer.embedding_word, answer.trigger_bits)


def trace(context: Context, words: NDArray[np.int16]) -> dict[str, Ints]:
    """Every tensor of the C++, compiled for that when it is first needed."""
    return hls.trace_emulator(context.get(_traced), words)


def _traced(context: Context) -> hls.HlsProject:
    project = context.get(stages.hls_project)
    hls.compile_emulator(project, trace=True)
    return project
