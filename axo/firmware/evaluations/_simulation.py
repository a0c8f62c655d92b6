"""The simulated RTL, under one pattern of clocks or another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.firmware import stages
from axo.firmware.comparison import Result
from axo.firmware.context import Context, reason
from axo.firmware.rtl import simulate


def absent(context: Context) -> str | None:
    """Without Verilator, or what it needs; where it is there the simulation is built."""
    lacking = reason(simulate.require_tools)
    if lacking is not None:
        context.journal.tools["verilator"] = f"absent; {lacking}"
        return lacking
    context.get(stages.simulator)
    return None


def run(context: Context, name: str, rows: NDArray[np.int64], pattern: simulate.Pattern) -> Result:
    """Score words and trigger bits, as evaluation `name`, and the latency that was seen."""
    thresholds, timeout_s = context.thresholds, context.config.simulation.timeout_s
    words = context.get(stages.stimuli).words[rows]
    found = context.get(stages.simulator).run(words, thresholds, pattern, timeout_s)
    if not np.array_equal(found.trigger_bits, found.score_word[:, None] >= found.threshold_word):
        raise UserError(f"{name}: a trigger bit is not its score word against the threshold in force")
    # The first events come while the threshold registers are still being written.
    settled = (found.threshold_word == thresholds).all(axis=1)
    return Result(
        name,
        rows[found.event][settled],
        found.score_word[settled],
        trigger_bits=found.trigger_bits[settled],
        latency_cycles=found.latency_cycles,
    )
