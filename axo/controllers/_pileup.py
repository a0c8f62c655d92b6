"""The pileup to expect when a decision acts, from that of past lumi sections."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

PileupState = Mapping[str, Any]

# Chosen on the pileup of the four fills in ../shared/real/fills, all of which agree (no noise enters).
_WINDOW = 6  # lumi sections remembered
_SCAN = 0.6  # a spread beyond this ratio is a scan, a stop or a ramp, not levelling
_SETTLED = 0.98  # two lumi sections in a row closer than this ratio: the scan is over
_LATEST = 4  # lumi sections that say where a scan is
_RAMP, _FASTEST = 0.02, 0.1  # rises a lumi section, in log, that make a ramp when there are two in a row
_RAMP_LENGTH = 1.5  # how many lumi sections a ramp is expected to go on, of the two before the decision acts
_SMOOTHING = 1 / 3  # weight of the newest lumi section in the mean that levelling returns to
_REVERSION = 0.3  # part of the way back to the mean that is made before the decision acts
_MARGIN = 0.0005  # relative: levelling steps are upward and sudden, losses are slow


def initial_pileup() -> PileupState:
    """Nothing seen yet."""
    return {"recent": [], "mean": None}


def observe_pileup(state: PileupState, pileup: float, floor: float) -> PileupState:
    """State after a lumi section of mean `pileup`; one of less than `floor` says nothing of those to come."""
    if pileup < floor or pileup <= 0:
        return state
    recent = [*state["recent"], pileup][-_WINDOW:]
    mean = state["mean"]
    if mean is None or _scanning(recent):
        return {"recent": recent, "mean": pileup}
    return {"recent": recent, "mean": mean + _SMOOTHING * (pileup - mean)}


def expected_pileup(state: PileupState) -> float | None:
    """The pileup to expect when a decision on the newest lumi section acts, two lumi sections on.

    While the beams are levelled, pileup saws about: a part of its departure from the recent mean is
    expected back. In a fast change (an emittance scan, a separation) the expectation is half-way, in
    logarithm, between where the scan is and the largest pileup of the memory: beams that were brought out
    of collision come back at any moment, and a threshold that had followed them down would be far too
    low. A ramp upward, as beams are brought together, is expected to go on. None before the first lumi
    section observed.
    """
    recent = state["recent"]
    if not recent:
        return None
    if _scanning(recent):
        latest = recent[-_LATEST:]
        here = sum(math.log(pileup) for pileup in latest) / len(latest)
        return math.exp((here + math.log(max(recent))) / 2)
    newest = recent[-1]
    rises = [math.log(after / before) for before, after in itertools.pairwise(recent[-3:])]
    if len(rises) == 2 and min(rises) > _RAMP and max(rises) < _FASTEST:
        return float(newest * math.exp(_RAMP_LENGTH * min(rises)))
    return float((newest + _REVERSION * (state["mean"] - newest)) * (1 + _MARGIN))


def _scanning(recent: list[float]) -> bool:
    newest = recent[-2:]
    return min(recent) < _SCAN * max(recent) and min(newest) < _SETTLED * max(newest)
