"""A trigger menu in YAML, evaluated on recorded words: which seeds fired in each event.

A menu names its prescale columns and, for each seed, the conditions that must all hold. A condition is
about objects of one ``kind``: MU, EG, JET, or the sums ETM, ETMHF, HTT, ETT. ``pt_gev`` has one threshold
an object; as many different objects must pass. Per object (a list, or one entry for all): ``eta_max``
and ``eta_min`` on |eta|, ``quality`` (least muon quality word), ``isolation`` (allowed e/gamma isolation
words). Two objects may further be asked for ``charge: opposite`` and for ``delta_eta``, ``delta_phi``,
``delta_r`` or ``mass_gev`` within [low, high], null where open.

Conventions of the CMS global trigger: a muon pt word w means (w - 1) / 2 GeV and its eta word is the
nearest step; any other pt word w means w / 2 GeV, and a calorimeter eta word i spans [i, i + 1) steps
(CMSSW L1ScoutingRawToDigi/interface/scales.h; ranges of the scales in the public menus). Correlations
are computed in float64 from the middles of the pt bins, which is what the trigger's tables hold with
limited precision: the tests say how far both agree on recorded crossings.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.config import parse, read_yaml
from axo.errors import UserError
from axo.events import Events
from axo.layout.units import KINDS, PT_GEV
from axo.provenance import json_digest

OBJECTS = ("MU", "EG", "JET")
SUMS = {"ETM": None, "ETMHF": "methf_pt", "HTT": "htt_pt", "ETT": "ett_pt"}
"""Sums, and which of `Events.extras` each is in (ETM is the network's MET)."""

DEFAULT = "default"

ANY_ISOLATION = (0, 1, 2, 3)

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]
Range = tuple[float | None, float | None]


@dataclass(frozen=True)
class Leg:
    """One object that a condition asks for: its least pt word, and cuts as in `Condition`."""

    pt_word: int
    eta_max: float | None
    eta_min: float | None
    quality: int
    isolation: tuple[int, ...]


@dataclass(frozen=True)
class Condition:
    """See the module. Lists have one entry for every threshold of `pt_gev`, or one for all of them."""

    kind: str
    pt_gev: tuple[float, ...]
    eta_max: tuple[float | None, ...] = (None,)
    eta_min: tuple[float | None, ...] = (None,)
    quality: tuple[int, ...] = (0,)
    isolation: tuple[tuple[int, ...], ...] = (ANY_ISOLATION,)
    charge: str | None = None
    delta_eta: Range | None = None
    delta_phi: Range | None = None
    delta_r: Range | None = None
    mass_gev: Range | None = None

    def __post_init__(self) -> None:
        if self.kind not in (*OBJECTS, *SUMS):
            raise UserError(f"kind {self.kind!r} is none of {', '.join((*OBJECTS, *SUMS))}")
        n = len(self.pt_gev)
        if not 1 <= n <= (1 if self.kind in SUMS else KINDS[self.kind].count):
            raise UserError(f"pt_gev: {n} thresholds for {self.kind}")
        for name in _PER_OBJECT:
            if len(getattr(self, name)) not in (1, n):
                raise UserError(f"{name} has {len(getattr(self, name))} entries, but pt_gev has {n}")
        for name, kinds in _ONLY_FOR.items():
            if getattr(self, name) != _DEFAULTS[name] and self.kind not in kinds:
                raise UserError(f"{name} means nothing for {self.kind}")
        if any(getattr(self, name) is not None for name in _DISTANCES) and n != 2:
            raise UserError("delta_eta, delta_phi and delta_r need two thresholds")
        if self.is_related and n not in (2, 3):
            raise UserError("charge and mass_gev need two or three thresholds")
        if self.charge not in (None, "opposite"):
            raise UserError(f"charge {self.charge!r} must be opposite, or left out")

    @property
    def is_related(self) -> bool:
        """Whether the objects are compared with each other."""
        return any(getattr(self, name) is not None for name in (*_DISTANCES, "charge", "mass_gev"))

    @property
    def needs(self) -> set[str]:
        """Names of `Events.extras` that it reads."""
        extra = SUMS.get(self.kind)
        needs = {extra} if extra else set()
        needs |= {"mu_qual"} if any(self.quality) else set()
        needs |= {"eg_iso"} if self.isolation != _DEFAULTS["isolation"] else set()
        return needs | ({"mu_charge"} if self.charge else set())

    @cached_property
    def legs(self) -> tuple[Leg, ...]:
        """The objects asked for, each with its own cuts."""
        n = len(self.pt_gev)
        columns = [
            entry * n if len(entry) == 1 else entry for entry in map(self.__getattribute__, _PER_OBJECT)
        ]
        words = [pt_word(self.kind, pt_gev) for pt_gev in self.pt_gev]
        return tuple(Leg(*values) for values in zip(words, *columns, strict=True))

    @property
    def is_pt_only(self) -> bool:
        """Whether thresholds are all that it asks for."""
        return all(
            getattr(self, name) == _DEFAULTS[name] for name in _DEFAULTS if name not in ("kind", "pt_gev")
        )


_PER_OBJECT = ("eta_max", "eta_min", "quality", "isolation")
_DISTANCES = ("delta_eta", "delta_phi", "delta_r")
_ONLY_FOR = {
    **dict.fromkeys(("eta_max", "eta_min", "delta_eta", "delta_phi", "delta_r", "mass_gev"), OBJECTS),
    **dict.fromkeys(("quality", "charge"), ("MU",)),
    "isolation": ("EG",),
}
_DEFAULTS = {entry.name: entry.default for entry in dataclasses.fields(Condition)}


@dataclass(frozen=True)
class Seed:
    """A seed: `when` (all must hold), `prescale` (one for each column of the menu, or one for all), `bit`."""

    when: tuple[Condition, ...]
    prescale: tuple[float, ...] = (1.0,)
    bit: int | None = None

    def __post_init__(self) -> None:
        if not self.when:
            raise UserError("when: no condition")
        if any(not 0 <= value < math.inf for value in self.prescale):
            raise UserError(f"prescale {list(self.prescale)}: a prescale is at least 0")


@dataclass(frozen=True)
class Menu:
    """`seeds` by name, `columns` of prescales (the first one is used unless asked), and their sources."""

    name: str
    seeds: dict[str, Seed]
    columns: tuple[str, ...] = ("nominal",)
    sources: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.seeds or not self.columns or len(set(self.columns)) != len(self.columns):
            raise UserError("a menu needs seeds and columns of different names")
        for name, seed in self.seeds.items():
            if len(seed.prescale) not in (1, len(self.columns)):
                raise UserError(
                    f"seeds: {name}: prescale has {len(seed.prescale)} entries, but there are "
                    f"{len(self.columns)} columns"
                )

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of all that it says."""
        return json_digest(dataclasses.asdict(self))

    @cached_property
    def needs(self) -> frozenset[str]:
        """Names of `Events.extras` without which it cannot be evaluated."""
        conditions = itertools.chain.from_iterable(seed.when for seed in self.seeds.values())
        return frozenset().union(*(condition.needs for condition in conditions))

    def prescales(self, column: str | None = None) -> dict[str, float]:
        """The prescale of every seed in `column` (None: the first); UserError for an unknown one."""
        from axo.physics.prescales import PrescaleTable

        values = {
            name: seed.prescale * len(self.columns) if len(seed.prescale) == 1 else seed.prescale
            for name, seed in self.seeds.items()
        }
        return PrescaleTable(self.columns, values).column(self.columns[0] if column is None else column)

    def evaluate(self, events: Events) -> Mask:
        """Which seeds fired: (n, seeds) bool, in the order of `seeds`, prescales not applied.

        Raises UserError when the events lack an extra that the menu reads.
        """
        if missing := self.needs - set(events.extras):
            raise UserError(
                f"menu {self.name!r} reads {', '.join(sorted(missing))}, which these events do not have; "
                "use a menu without them, or none (no pure rates)"
            )
        # One seed's decisions lie together: they are written and read seed by seed.
        fired = np.zeros((len(events), len(self.seeds)), bool, order="F")
        view = _View(events)
        for column, seed in enumerate(self.seeds.values()):
            fired[view.passing(seed), column] = True
        return fired


def read_menu(path: str | PathLike[str] = DEFAULT) -> Menu:
    """Read the menu in the YAML file `path`, or the shipped one of that name (see `menu_names`).

    Raises UserError naming the file and the key of a fault.
    """
    if str(path) in menu_names():
        with resources.as_file(_folder() / f"{path}.yaml") as file:
            return parse(Menu, read_yaml(file), f"menu {path}")
    return parse(Menu, read_yaml(Path(path)), str(path))


def menu_names() -> list[str]:
    """Names of the shipped menus."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in _folder().iterdir() if entry.name.endswith(".yaml")
    )


def _folder() -> Any:
    return resources.files("axo.physics") / "menus"


def pt_word(kind: str, pt_gev: float) -> int:
    """The least pt word of `pt_gev` or more. Muon words start at 1 for 0 GeV; 0 is an absent object."""
    word = math.ceil(pt_gev / PT_GEV)
    return word + 1 if kind == "MU" else word if kind in SUMS else max(word, 1)


def eta_words(kind: str, eta_max: float) -> tuple[int, int]:
    """The lowest and highest eta word of |eta| <= `eta_max`: up to the bins that hold the two limits."""
    # Steps are finite decimal numbers: without the small excess 0.087 / 0.0435 would be 1.99...
    steps = eta_max / KINDS[kind].eta_step * (1 + 1e-12)
    if kind == "MU":
        return -math.floor(steps + 0.5), math.floor(steps + 0.5)
    return -math.floor(steps) - 1, math.floor(steps)


class _View:
    """Events as the conditions see them: one row an object, made once for all seeds."""

    def __init__(self, events: Events) -> None:
        self.events = events
        columns = np.ascontiguousarray(events.words.T)
        self.words = {kind: [columns[KINDS[kind].words][i::3] for i in range(3)] for kind in OBJECTS}
        self.falling_pt = {
            kind: pt if events.pt_ordered else np.sort(pt, axis=0)[::-1]
            for kind, (pt, _, _) in self.words.items()
        }
        self.extras = {name: np.ascontiguousarray(array.T) for name, array in events.extras.items()}
        self.sums = {kind: self.extras.get(extra or "") for kind, extra in SUMS.items()}
        self.sums["ETM"] = columns[KINDS["MET"].words.start]

    def passing(self, seed: Seed) -> Rows:
        """The events in which all conditions of `seed` hold."""
        rows: Rows | None = None
        for condition in seed.when:
            rows = self._enough_pt(condition, rows)
        assert rows is not None
        for condition in seed.when:
            if not condition.is_pt_only:
                rows = rows[self._holds(condition, rows)]
        return rows

    def _enough_pt(self, condition: Condition, rows: Rows | None) -> Rows:
        """Those of `rows` (None: all) whose i-th largest pt reaches the i-th largest threshold."""
        if condition.kind in SUMS:
            values = self.sums[condition.kind]
            assert values is not None
            return _where(values, condition.legs[0].pt_word, rows)
        thresholds = sorted((leg.pt_word for leg in condition.legs), reverse=True)
        for pt, threshold in zip(self.falling_pt[condition.kind], thresholds, strict=False):
            rows = _where(pt, threshold, rows)
        assert rows is not None
        return rows

    def _holds(self, condition: Condition, rows: Rows) -> Mask:
        """Whether the condition on objects holds, for each of `rows`."""
        legs = {leg: self._candidates(condition.kind, leg, rows) for leg in set(condition.legs)}
        candidates = [legs[leg] for leg in condition.legs]
        holds = _matching(candidates)
        if condition.is_related:
            left = np.flatnonzero(holds)
            candidates = [leg[:, left] for leg in candidates]
            holds[left] = self._related(condition, candidates, rows[left])
        return holds

    def _candidates(self, kind: str, leg: Leg, rows: Rows) -> Mask:
        """Which objects (count, rows) may serve as `leg`."""
        pt, eta, _ = self.words[kind]
        good = pt[:, rows] >= leg.pt_word
        if leg.eta_max is not None:
            low, high = eta_words(kind, leg.eta_max)
            good &= (eta[:, rows] >= low) & (eta[:, rows] <= high)
        if leg.eta_min is not None:
            low, high = eta_words(kind, leg.eta_min)
            good &= (eta[:, rows] < low) | (eta[:, rows] > high)
        if leg.quality:
            good &= self.extras["mu_qual"][:, rows] >= leg.quality
        if leg.isolation != ANY_ISOLATION:
            good &= np.isin(self.extras["eg_iso"][:, rows], leg.isolation)
        return good

    def _related(self, condition: Condition, candidates: list[Mask], rows: Rows) -> Mask:
        """Where some different objects pass a leg each and, together, what is asked of them."""
        holds = np.zeros(len(rows), bool)
        choose = itertools.combinations if len(set(condition.legs)) == 1 else itertools.permutations
        for chosen in choose(range(len(candidates[0])), len(candidates)):
            passing = [leg[item] for leg, item in zip(candidates, chosen, strict=True)]
            at = np.flatnonzero(np.logical_and.reduce(passing) & ~holds)
            if len(at):
                holds[at] = self._together(condition, rows[at], chosen)
        return holds

    def _together(self, condition: Condition, rows: Rows, chosen: tuple[int, ...]) -> Mask:
        """Where the objects at the positions `chosen` have the charge, distance and mass asked for."""
        kind = condition.kind
        pt, eta, phi = (
            [words[item][rows].astype(np.float64) for item in chosen] for words in self.words[kind]
        )
        middle = -0.5 if kind == "MU" else 0.5
        pt_gev = [(words + middle) * PT_GEV for words in pt]
        mass_squared = np.zeros(len(rows))
        for i, j in itertools.combinations(range(len(chosen)), 2):
            delta_eta = np.abs(eta[i] - eta[j]) * KINDS[kind].eta_step
            steps = np.abs(phi[i] - phi[j]) % KINDS[kind].phi_steps
            delta_phi = np.minimum(steps, KINDS[kind].phi_steps - steps) * KINDS[kind].phi_step
            if condition.mass_gev is not None:
                mass_squared += 2 * pt_gev[i] * pt_gev[j] * (np.cosh(delta_eta) - np.cos(delta_phi))
        good = (
            _within(delta_eta, condition.delta_eta)
            & _within(delta_phi, condition.delta_phi)
            & _within(np.hypot(delta_eta, delta_phi), condition.delta_r)
            & _within(np.sqrt(mass_squared), condition.mass_gev)
        )
        if condition.charge == "opposite":
            charge = self.extras["mu_charge"][list(chosen)][:, rows]
            good &= (charge.min(axis=0) < 0) & (charge.max(axis=0) > 0)
        return good


def _within(values: NDArray[np.float64], limits: Range | None) -> Mask:
    low, high = limits or (None, None)
    return (values >= (-math.inf if low is None else low)) & (values <= (math.inf if high is None else high))


def _where(values: NDArray[Any], threshold: int, rows: Rows | None) -> Rows:
    if rows is None:
        return np.flatnonzero(values >= threshold)
    return rows[values[rows] >= threshold]


def _matching(candidates: list[Mask]) -> Mask:
    """Where every leg can have an object of its own: P. Hall's theorem (J. London Math. Soc. 10 (1935) 26).

    That is, where any k of the legs have at least k candidates among them.
    """
    holds = np.ones(candidates[0].shape[1], bool)
    for legs in _subsets(candidates):
        holds &= np.logical_or.reduce(legs).sum(axis=0) >= len(legs)
    return holds


def _subsets(items: list[Mask]) -> Iterable[tuple[Mask, ...]]:
    return itertools.chain.from_iterable(
        itertools.combinations(items, size) for size in range(1, len(items) + 1)
    )
