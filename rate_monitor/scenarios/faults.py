"""What goes wrong at 3 a.m.: faults that a scenario injects, from a file or one of each kind."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.config import parse, read_yaml, to_plain
from axo.errors import UserError, nearest
from axo.files import read_json


@dataclass(frozen=True)
class FaultKind:
    """A kind of fault: what it does, for how many lumi sections, and the meaning of its size."""

    summary: str
    duration: int
    size: float
    least_size: float = 0.0


FAULTS = {
    "hot_tower": FaultKind(
        "the true rate is `size` times as high, from one lumi section to the next", 60, 2.0
    ),
    "drift": FaultKind(
        "the true rate drifts to `size` times over `duration` lumi sections, and stays", 80, 1.5
    ),
    "dead_region": FaultKind("the true rate is `size` times as high: part of the detector is off", 60, 0.6),
    "missing": FaultKind("no record arrives", 3, 0),
    "late": FaultKind("the record arrives `size` lumi sections late", 1, 3, 1),
    "repeated": FaultKind("the record arrives twice", 1, 0),
    "out_of_order": FaultKind("the record arrives after its successor", 1, 0),
    "counter_reset": FaultKind(
        "counters restart inside the lumi section: `size` of the counts are left", 1, 0.3
    ),
    "prescale": FaultKind("the seed's prescale is `size`", 60, 10, 1),
    "zero_rate": FaultKind("the counters stand still", 10, 0),
    "beam_dump": FaultKind("no beams, then the fill goes on where its profile is", 20, 0),
    "controller_stop": FaultKind("the controller itself is down; records are lost", 26, 0),
}
"""Kinds of faults by name. A size of 0 has no meaning."""

MOST_SECTIONS = 100_000


@dataclass(frozen=True)
class Fault:
    """One fault of `kind`, from lumi section `at` on; duration and size default to those of its kind."""

    kind: str
    at: int
    duration: int | None = None
    size: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise UserError(f"unknown fault {self.kind!r}{nearest(self.kind, list(FAULTS))}")
        if self.at < 1 or not 1 <= self.sections <= MOST_SECTIONS:
            raise UserError(f"fault {self.kind}: at and duration must be at least 1")
        if not (math.isfinite(self.amount) and self.amount >= FAULTS[self.kind].least_size):
            raise UserError(f"fault {self.kind}: size must be at least {FAULTS[self.kind].least_size:g}")

    @property
    def sections(self) -> int:
        """How many lumi sections it lasts."""
        return FAULTS[self.kind].duration if self.duration is None else self.duration

    @property
    def amount(self) -> float:
        """Its size."""
        return FAULTS[self.kind].size if self.size is None else self.size

    @property
    def edges(self) -> tuple[int, ...]:
        """Lumi sections where something changes suddenly: the start, and the end of what ends."""
        lasting = (
            "hot_tower",
            "drift",
            "dead_region",
            "prescale",
            "beam_dump",
            "zero_rate",
            "controller_stop",
        )
        return (self.at, self.at + self.sections) if self.kind in lasting else (self.at,)


@dataclass(frozen=True)
class _FaultFile:
    faults: tuple[Fault, ...]


def read_faults(path: str | os.PathLike[str]) -> tuple[Fault, ...]:
    """Faults in a YAML or JSON file: ``faults:``, a list of ``kind``, ``at``, maybe ``duration``, ``size``.

    Raises UserError naming the file, entry and key of a fault.
    """
    document: Any = read_json(path) if Path(path).suffix == ".json" else read_yaml(path)
    return parse(_FaultFile, document, str(path)).faults


def standard_faults(pileup: Sequence[float], sections: Sequence[int]) -> tuple[Fault, ...]:
    """One fault of each kind, all at the quietest place of a fill with `pileup` by lumi section.

    Meant to be simulated one at a time. UserError when the fill has no quiet stretch.
    """
    at = _quiet_place(np.asarray(pileup, np.float64))
    return tuple(Fault(kind, int(sections[at])) for kind in FAULTS)


_BEFORE, _AFTER = 30, 110  # lumi sections round a fault that should be quiet


def _quiet_place(pileup: NDArray[np.float64]) -> int:
    """Index with the steadiest pileup from _BEFORE before to _AFTER after it, all above 20."""
    best, place = math.inf, None
    for at in range(_BEFORE, len(pileup) - _AFTER):
        around = pileup[at - _BEFORE : at + _AFTER]
        spread = float(around.max() / around.min()) if around.min() > 20 else math.inf
        if spread < best:
            best, place = spread, at
    if place is None:
        raise UserError(
            f"no {_BEFORE + _AFTER} lumi sections of steady collisions to try faults in; give --faults"
        )
    return place


def faults_to_json(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """Faults as JSON values, with duration and size filled in."""
    return [to_plain(replace(fault, duration=fault.sections, size=fault.amount)) for fault in faults]
