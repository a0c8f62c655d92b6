"""What the existing triggers cut on, from raw words: one place for their names and definitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError, nearest
from axo.events import Events, column_slice
from axo.layout import Kind, Layout, Quantity, default_layout

HTT_JET_PT_GEV = 30.0
HTT_JET_ETA = 2.4
"""Jets that CMS's HTT adds up: at least this pt, at most this |eta| (JINST 15 (2020) P10017, sec. 5)."""

PILEUP = "pileup"

PRIMARY = ("htt_gev", "jet_pt_gev", "eg_pt_gev", "mu_pt_gev", "met_gev")
"""The variables of the primary triggers of CMS."""

Variable = Callable[[NDArray[Any]], NDArray[Any]]


def trigger_variables(events: Events, names: Sequence[str] = PRIMARY) -> NDArray[np.float64]:
    """The variables `names` of the words of `events`, (n, k) float64, in that order.

    Their layout says which there are: ``jet_pt_gev`` and so on for every kind are the largest pt (0: no
    such object), ``n_jet`` and so on the objects present, ``met_gev`` and so on the pt of a sum, which
    is always there, ``region_sum_gev`` and so on the energy of all objects of a kind that has one.
    ``htt_gev`` is the trigger's own where the words have it, else the sum of the jets' pt as CMS's HTT
    counts them (of the jets in the words). ``pileup`` is that of the events.

    Raises UserError for a name that the layout does not have (saying the nearest), and for pileup where
    it is not known.
    """
    variables = _variables(events.layout)
    result = np.empty((len(events), len(names)))
    for column, name in enumerate(names):
        check_name(name, events.layout)
        if name != PILEUP:
            result[:, column] = variables[name](events.words)
        elif events.pileup is None:
            raise UserError(f"variable {PILEUP!r} needs events whose pileup is known; leave it out")
        else:
            result[:, column] = events.pileup
    return result


def variable_names(layout: Layout | None = None) -> list[str]:
    """All names that `trigger_variables` knows of words of `layout` (None: the default one)."""
    return [*_variables(layout or default_layout()), PILEUP]


def primary_names(layout: Layout | None = None) -> tuple[str, ...]:
    """The variables of the primary triggers: those of PRIMARY that the layout has, else every pt and sum."""
    known = variable_names(layout)
    found = tuple(name for name in PRIMARY if name in known)
    return found or tuple(name for name in known if name.endswith("_gev"))


def check_name(name: str, layout: Layout | None = None) -> None:
    """Raise UserError, with the nearest known one, unless `name` is a variable of `layout`."""
    known = variable_names(layout)
    if name not in known:
        of = "" if layout is None else f" of layout {layout.name!r}"
        raise UserError(
            f"unknown trigger variable {name!r}{nearest(name, known)} (known{of}: {', '.join(known)})"
        )


def _variables(layout: Layout) -> dict[str, Variable]:
    """The variables of words of `layout`, by name."""
    largest: dict[str, Variable] = {}
    counts: dict[str, Variable] = {}
    sums: dict[str, Variable] = {}
    for kind in layout.kinds:
        name = kind.name.lower()
        pt = _quantity(kind, "pt")
        if pt is not None and kind.present == "pt":
            largest[f"{name}_pt_gev"] = partial(_largest, _columns(layout, kind, "pt"), pt)
            counts[f"n_{name}"] = partial(_count, _columns(layout, kind, "pt"))
            eta = _quantity(kind, "eta")
            if name == "jet" and eta is not None:
                sums["htt_gev"] = partial(_htt, layout, kind, pt, eta)
    for kind in layout.kinds:
        pt = _quantity(kind, "pt")
        if pt is not None and kind.present == "always" and kind.count == 1:
            sums[f"{kind.name.lower()}_gev"] = partial(_largest, _columns(layout, kind, "pt"), pt)
        energy = _quantity(kind, "energy")
        if energy is not None:
            sums[f"{kind.name.lower()}_sum_gev"] = partial(_sum, _columns(layout, kind, "energy"), energy)
    return {**sums, **largest, **counts}


def _quantity(kind: Kind, role: str) -> Quantity | None:
    """The quantity of that role, if hardware carries it."""
    quantity = kind.quantity(role) if role in kind else None
    return quantity if quantity is not None and quantity.bits else None


def _columns(layout: Layout, kind: Kind, role: str) -> slice:
    return column_slice(layout, kind.name, role)


def _sum(columns: slice, energy: Quantity, words: NDArray[Any]) -> NDArray[np.float64]:
    energies = energy.origin + words[:, columns] * energy.step_value
    total: NDArray[np.float64] = energies.sum(axis=1)
    return total


def _largest(columns: slice, pt: Quantity, words: NDArray[Any]) -> NDArray[np.float64]:
    largest: NDArray[np.float64] = pt.origin + words[:, columns].max(axis=1) * pt.step_value
    return largest


def _count(columns: slice, words: NDArray[Any]) -> NDArray[Any]:
    present: NDArray[Any] = (words[:, columns] > 0).sum(axis=1)
    return present


def _htt(layout: Layout, kind: Kind, pt: Quantity, eta: Quantity, words: NDArray[Any]) -> NDArray[np.float64]:
    of_jets = words[:, _columns(layout, kind, "pt")].astype(np.int64)
    eta_of_jets = eta.origin + words[:, _columns(layout, kind, "eta")] * eta.step_value
    counted = (np.abs(eta_of_jets) <= HTT_JET_ETA) & (of_jets >= HTT_JET_PT_GEV / pt.step_value)
    total: NDArray[np.float64] = (of_jets * counted).sum(axis=1) * pt.step_value
    return total
