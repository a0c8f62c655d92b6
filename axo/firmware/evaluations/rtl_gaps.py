"""The simulated RTL, when its surroundings are at their worst."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from axo.firmware.comparison import Result
from axo.firmware.context import Context
from axo.firmware.evaluations import _simulation
from axo.firmware.evaluations._simulation import absent as absent
from axo.firmware.rtl.simulate import MIXED
from axo.firmware.stages import wire_rows

SUMMARY = "the same with idle clocks, resets while events are inside, thresholds rewritten"
ORDER = 5
ROWS = wire_rows


def run(context: Context, rows: NDArray[np.int64]) -> Result:
    """Score words and trigger bits."""
    return _simulation.run(context, "rtl_gaps", rows, MIXED)
