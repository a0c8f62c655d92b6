"""What the existing triggers cut on, from raw words: one place for their names and definitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError, nearest
from axo.layout.cms import CMS_WORDS
from axo.layout.units import KINDS, PT_GEV

HTT_JET_PT_GEV = 30.0
HTT_JET_ETA = 2.4
"""Jets that CMS's HTT adds up: at least this pt, at most this |eta| (JINST 15 (2020) P10017, sec. 5)."""

PILEUP = "pileup"

PRIMARY = ("htt_gev", "jet_pt_gev", "eg_pt_gev", "mu_pt_gev", "met_gev")
"""The variables of the primary triggers."""

Words = NDArray[np.int16]


def trigger_variables(
    words: ArrayLike, names: Sequence[str] = PRIMARY, pileup: ArrayLike | None = None
) -> NDArray[np.float64]:
    """The variables `names` of raw `words` (n, 57), (n, k) float64, in that order.

    ``htt_gev`` is the sum of the jets' pt as CMS's HTT counts them (of the ten jets here);
    ``jet_pt_gev``, ``eg_pt_gev``, ``mu_pt_gev`` are the largest pt (0: no such object), ``met_gev``
    the missing momentum; ``n_jet``, ``n_eg``, ``n_mu`` the objects present. ``pileup`` is the
    argument of that name (n,): the words do not tell it.

    Raises UserError for an unknown name (saying the nearest), and for pileup when it is not given.
    """
    words = np.asarray(words)
    if words.ndim != 2 or words.shape[1] != len(CMS_WORDS):
        raise ValueError(f"words must be (n, {len(CMS_WORDS)}), not {words.shape}")
    result = np.empty((len(words), len(names)))
    for column, name in enumerate(names):
        check_name(name)
        if name != PILEUP:
            result[:, column] = _VARIABLES[name](words)
        elif pileup is None:
            raise UserError(f"variable {PILEUP!r} needs events whose pileup is known; leave it out")
        else:
            result[:, column] = pileup
    return result


def variable_names() -> list[str]:
    """All names that `trigger_variables` knows."""
    return [*_VARIABLES, PILEUP]


def check_name(name: str) -> None:
    """Raise UserError, with the nearest known one, unless `name` is a variable's."""
    if name not in variable_names():
        close = nearest(name, variable_names())
        raise UserError(f"unknown trigger variable {name!r}{close} (known: {', '.join(variable_names())})")


def _pt(words: NDArray[Any], kind: str) -> NDArray[Any]:
    return words[:, KINDS[kind].words][:, 0::3]


def _leading_pt_gev(kind: str) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    return lambda words: _pt(words, kind).max(axis=1) * PT_GEV


def _count(kind: str) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return lambda words: (_pt(words, kind) > 0).sum(axis=1)


def _htt_gev(words: NDArray[Any]) -> NDArray[np.float64]:
    pt = _pt(words, "JET").astype(np.int64)
    eta = words[:, KINDS["JET"].words][:, 1::3]
    central = np.abs(eta) * KINDS["JET"].eta_step <= HTT_JET_ETA
    return (pt * (central & (pt >= HTT_JET_PT_GEV / PT_GEV))).sum(axis=1) * PT_GEV


_VARIABLES: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "htt_gev": _htt_gev,
    "jet_pt_gev": _leading_pt_gev("JET"),
    "eg_pt_gev": _leading_pt_gev("EG"),
    "mu_pt_gev": _leading_pt_gev("MU"),
    "met_gev": _leading_pt_gev("MET"),
    "n_jet": _count("JET"),
    "n_eg": _count("EG"),
    "n_mu": _count("MU"),
}
