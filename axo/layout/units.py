"""Hardware words <-> physical units: the one table of steps.

Sources: CMS global-trigger inputs (EventFilter/L1ScoutingRawToDigi/interface/scales.h of CMSSW:
pt 0.5 GeV; calorimeter eta 0.0435, phi 2 pi / 144; muon eta 0.087 / 8, phi 2 pi / 576). Widths are
those of `axo.network.CMS_WORDS`. A word times its step is the physical value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError
from axo.layout.cms import CMS_WORDS, OBJECTS

PT_GEV = 0.5
"""Step of every pt word, in GeV."""


@dataclass(frozen=True)
class Kind:
    """One kind of object: its slots among the 19 objects, and the steps of its angle words."""

    first: int
    count: int
    eta_step: float
    phi_steps: int

    @property
    def objects(self) -> slice:
        """Its slots among the 19 objects."""
        return slice(self.first, self.first + self.count)

    @property
    def words(self) -> slice:
        """Its columns among the 57 words."""
        return slice(3 * self.first, 3 * (self.first + self.count))

    @property
    def phi_step(self) -> float:
        """Radians per phi word."""
        return 2 * math.pi / self.phi_steps


CALO_ETA, CALO_PHI_STEPS = 0.0435, 144
MUON_ETA, MUON_PHI_STEPS = 0.010875, 576

KINDS = {
    "MET": Kind(0, 1, CALO_ETA, CALO_PHI_STEPS),
    "EG": Kind(1, 4, CALO_ETA, CALO_PHI_STEPS),
    "MU": Kind(5, 4, MUON_ETA, MUON_PHI_STEPS),
    "JET": Kind(9, 10, CALO_ETA, CALO_PHI_STEPS),
}
"""The four kinds of objects, in network order."""


def _per_object(quantity: str) -> NDArray[np.float64]:
    return np.concatenate([np.full(kind.count, getattr(kind, quantity)) for kind in KINDS.values()])


_ETA_STEP, _PHI_STEPS, _PHI_STEP = _per_object("eta_step"), _per_object("phi_steps"), _per_object("phi_step")
_LOW = np.array([word.min_int for word in CMS_WORDS]).reshape(-1, 3)
_HIGH = np.array([word.max_int for word in CMS_WORDS]).reshape(-1, 3)


def to_physical(words: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Convert words (n, 57) to pt in GeV, eta, and phi in radians within [0, 2 pi), each (n, 19) float64."""
    words = np.asarray(words)
    if words.ndim != 2 or words.shape[1] != len(CMS_WORDS):
        raise ValueError(f"words must be (n, {len(CMS_WORDS)}), not {words.shape}")
    return words[:, 0::3] * PT_GEV, words[:, 1::3] * _ETA_STEP, words[:, 2::3] * _PHI_STEP


def to_words(pt_gev: ArrayLike, eta: ArrayLike, phi: ArrayLike, first_event: int = 0) -> NDArray[np.int16]:
    """Convert pt in GeV, eta and phi in radians, each (n, 19) in network order, to words (n, 57) int16.

    All three round to the nearest step, ties to even. A pt above the largest word saturates there,
    as the trigger hardware does; phi, given within [-2 pi, 2 pi], is taken modulo 2 pi. An object
    (not MET) whose pt word is 0 is absent: its three words are 0; so is the eta of MET.

    Raises UserError naming the event (counted from `first_event`) and the object for a value that
    is not finite, a negative pt, or an angle out of range.
    """
    values = np.stack([np.asarray(array, np.float64) for array in (pt_gev, eta, phi)], axis=2)
    if values.shape[1:] != (len(OBJECTS), 3):
        raise ValueError(f"pt, eta and phi must be (n, {len(OBJECTS)}), not {values.shape[:2]}")
    _refuse(~np.isfinite(values), values, "is not a finite number", first_event)
    _refuse(values[..., :1] < 0, values, "is negative", first_event)
    _refuse(np.abs(values) > [np.inf, np.inf, 2 * np.pi], values, "is not within ±2 pi", first_event)
    words = np.rint(values / np.stack([np.full(len(OBJECTS), PT_GEV), _ETA_STEP, _PHI_STEP], axis=1))
    words[..., 0] = np.minimum(words[..., 0], _HIGH[:, 0])
    words[..., 2] %= _PHI_STEPS
    absent = words[..., 0] == 0
    absent[:, KINDS["MET"].objects] = False
    words[absent] = 0
    _refuse((words < _LOW) | (words > _HIGH), values, "does not fit in the hardware word", first_event)
    return words.astype(np.int16).reshape(len(words), -1)


def _refuse(bad: NDArray[np.bool_], values: NDArray[np.float64], fault: str, first_event: int) -> None:
    """Raise UserError for the first set element of `bad` (n, 19, up to 3), if any."""
    if not bad.any():
        return
    event, item, quantity = (int(index) for index in np.argwhere(bad)[0])
    name = CMS_WORDS[3 * item + quantity].name
    raise UserError(f"event {first_event + event}: {name} = {values[event, item, quantity]:g} {fault}")
