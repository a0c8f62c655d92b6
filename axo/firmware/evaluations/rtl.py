"""The simulated RTL, as it is used: an event every clock."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from axo.firmware.comparison import Result
from axo.firmware.context import Context
from axo.firmware.evaluations import _simulation
from axo.firmware.evaluations._simulation import absent as absent
from axo.firmware.rtl.simulate import BACK_TO_BACK
from axo.firmware.stages import wire_rows

SUMMARY = "Verilator simulation of the trigger top, an event every clock"
ORDER = 4
ROWS = wire_rows


def run(context: Context, rows: NDArray[np.int64]) -> Result:
    """Score words and trigger bits."""
    return _simulation.run(context, "rtl", rows, BACK_TO_BACK)
