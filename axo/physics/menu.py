"""A trigger menu in YAML, evaluated on recorded words: which seeds fired in each event.

A menu names its prescale columns and, for each seed, the conditions that must all hold. A condition is
about objects of one ``kind`` of the menu's ``layout`` (default `cms_gt`: MU, EG, TAU, JET, and sums such
as HTT or ETM, the menus' name of MET). ``pt_gev`` has one threshold an object; as many different objects
must pass. Per object (a list, or one entry for all): ``eta_max`` and ``eta_min`` on |eta|, ``quality``
(least quality word), ``isolation`` (allowed isolation words). Two objects may further be asked for
``charge: opposite`` and for ``delta_eta``, ``delta_phi``, ``delta_r`` or ``mass_gev`` within [low, high],
null where open. Events of any layout that has these quantities, or has them beside its words, will do.

Conventions of the CMS global trigger: a muon pt word w means (w - 1) / 2 GeV and its eta word is the
nearest step; any other pt word w means w / 2 GeV, and a calorimeter eta word i spans [i, i + 1) steps
(CMSSW L1ScoutingRawToDigi/interface/scales.h; ranges of the scales in the public menus). Correlations
are computed in float64 from the middles of the pt bins, which is what the trigger's tables hold with
limited precision: the tests say how far both agree on recorded crossings. In a menu of another layout
every word means just what the layout says.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
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
from axo.layout import Kind, Layout, find_layout
from axo.provenance import json_digest

LAYOUT = "cms_gt"
"""The layout whose kinds and quantities a menu names unless it says another."""

DEFAULT = "default"

ANY_ISOLATION = (0, 1, 2, 3)

_OTHER_NAMES = {"ETM": "MET"}
"""What menus call the kinds of LAYOUT by another name."""

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
        n = len(self.pt_gev)
        if n < 1:
            raise UserError(f"pt_gev: {n} thresholds for {self.kind}")
        for name in _PER_OBJECT:
            if len(getattr(self, name)) not in (1, n):
                raise UserError(f"{name} has {len(getattr(self, name))} entries, but pt_gev has {n}")
        if any(getattr(self, name) is not None for name in _DISTANCES) and n != 2:
            raise UserError("delta_eta, delta_phi and delta_r need two thresholds")
        if self.is_related and n not in (2, 3):
            raise UserError("charge and mass_gev need two or three thresholds")
        if self.charge not in (None, "opposite"):
            raise UserError(f"charge {self.charge!r} must be opposite, or left out")

    def check(self, layout: Layout) -> None:
        """Raise UserError naming what means nothing for the kinds of `layout`."""
        if self.kind_name not in layout:
            known = ", ".join(kind.name for kind in layout.kinds)
            raise UserError(f"kind {self.kind!r} is none of {known}")
        kind = layout.kind(self.kind_name)
        if len(self.pt_gev) > kind.count:
            raise UserError(f"pt_gev: {len(self.pt_gev)} thresholds for {self.kind}")
        for role, setting in self._read_for():
            if role not in kind or not kind.quantity(role).bits:
                raise UserError(f"{setting} means nothing for {self.kind}")

    @property
    def kind_name(self) -> str:
        """The name of its kind in the layout."""
        return _OTHER_NAMES.get(self.kind, self.kind)

    @property
    def roles(self) -> tuple[str, ...]:
        """The quantities of its kind that it reads."""
        return tuple(dict.fromkeys(role for role, _ in self._read_for()))

    def _read_for(self) -> Iterator[tuple[str, str]]:
        """Each quantity that it reads, with the setting that it is read for."""
        yield "pt", "pt_gev"
        for setting, roles in _ROLES.items():
            if getattr(self, setting) != _DEFAULTS[setting]:
                yield from ((role, setting) for role in roles)

    @property
    def is_related(self) -> bool:
        """Whether the objects are compared with each other."""
        return any(getattr(self, name) is not None for name in (*_DISTANCES, "charge", "mass_gev"))

    def legs(self, scale: Scale) -> tuple[Leg, ...]:
        """The objects asked for, each with its own cuts, in words of `scale`."""
        n = len(self.pt_gev)
        columns = [
            entry * n if len(entry) == 1 else entry for entry in map(self.__getattribute__, _PER_OBJECT)
        ]
        words = [scale.pt_word(pt_gev) for pt_gev in self.pt_gev]
        return tuple(Leg(*values) for values in zip(words, *columns, strict=True))

    @property
    def is_pt_only(self) -> bool:
        """Whether thresholds are all that it asks for."""
        return all(
            getattr(self, name) == _DEFAULTS[name] for name in _DEFAULTS if name not in ("kind", "pt_gev")
        )


_PER_OBJECT = ("eta_max", "eta_min", "quality", "isolation")
_DISTANCES = ("delta_eta", "delta_phi", "delta_r")
_ROLES = {
    "eta_max": ("eta",),
    "eta_min": ("eta",),
    "quality": ("quality",),
    "isolation": ("isolation",),
    "charge": ("charge",),
    "delta_eta": ("eta",),
    "delta_phi": ("phi",),
    "delta_r": ("eta", "phi"),
    "mass_gev": ("eta", "phi"),
}
"""What a setting of a condition reads, besides pt."""
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
    """`seeds` by name, `columns` of prescales (the first one is used unless asked), and their sources.

    `layout` is the name (or file) of the layout whose kinds the conditions name.
    """

    name: str
    seeds: dict[str, Seed]
    columns: tuple[str, ...] = ("nominal",)
    sources: tuple[str, ...] = field(default=())
    layout: str = LAYOUT

    def __post_init__(self) -> None:
        for name, seed in self.seeds.items():
            for number, condition in enumerate(seed.when):
                try:
                    condition.check(self.kinds)
                except UserError as error:
                    raise UserError(f"seeds.{name}.when[{number}]: {error}") from error
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
        said = dataclasses.asdict(self)
        if self.layout == LAYOUT:
            del said["layout"]  # as before menus had one
        return json_digest(said)

    @cached_property
    def kinds(self) -> Layout:
        """The layout whose kinds it names."""
        return find_layout(self.layout)

    def lacks(self, events: Events) -> list[str]:
        """What it reads and `events` do not have, in words; empty when it can be evaluated on them."""
        found: dict[str, None] = {}
        conditions = itertools.chain.from_iterable(seed.when for seed in self.seeds.values())
        for condition in conditions:
            kind, number = condition.kind_name, len(condition.pt_gev)
            missing = [role for role in condition.roles if not events.has(kind, role)]
            whole = len(missing) == len(condition.roles) and kind not in events.layout
            found |= dict.fromkeys([kind] if whole else [f"{kind} {role}" for role in missing])
            if not missing and events.quantity(kind, "pt").shape[1] < number:
                found[f"{number} {kind}"] = None
        return sorted(found)

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

        Raises UserError naming what the menu reads and the events lack, or have in other steps.
        """
        if missing := self.lacks(events):
            raise UserError(
                f"menu {self.name!r} reads {', '.join(missing)}, which these events do not have; "
                "use a menu without them, or none (no pure rates)"
            )
        # One seed's decisions lie together: they are written and read seed by seed.
        fired = np.zeros((len(events), len(self.seeds)), bool, order="F")
        view = _View(events, self)
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


EXACT, NEAREST, SPANNING = "exact", "nearest", "spanning"


@dataclass(frozen=True)
class Scale:
    """What words of a `kind` of objects mean to a condition.

    An eta word means its value alone (EXACT), all that it is the NEAREST step of, or what the next step
    ends (SPANNING). `offset` is the pt word of 0, `middle` what is added to a pt word for its bin's middle.
    """

    kind: Kind
    eta_bins: str = EXACT
    offset: int = 0
    middle: float = 0.0

    @classmethod
    def of(cls, kind: Kind, layout: str = LAYOUT) -> Scale:
        """That of the CMS global trigger for its own layout, else just what the layout says."""
        if layout != LAYOUT:
            return cls(kind)
        return cls(kind, NEAREST, 1, 0.5) if kind.name == "MU" else cls(kind, SPANNING, 0, 0.5)

    def pt_word(self, pt_gev: float) -> int:
        """The least pt word of `pt_gev` or more; 0 is an absent object, except of kinds always there."""
        pt = self.kind.quantity("pt")
        word = math.ceil((pt_gev - pt.origin) / pt.step_value) + self.offset
        return word if self.kind.present == "always" else max(word, 1)

    def pt_gev(self, words: NDArray[np.float64]) -> NDArray[np.float64]:
        """The middles of the bins of pt words."""
        pt = self.kind.quantity("pt")
        return pt.origin + (words - self.offset + self.middle) * pt.step_value

    def eta_words(self, eta_max: float) -> tuple[int, int]:
        """The lowest and highest eta word of |eta| <= `eta_max`: up to the bins that hold the two limits."""
        eta = self.kind.quantity("eta")
        # Steps are finite decimal numbers: without the small excess 0.087 / 0.0435 would be 1.99...
        low, high = ((limit - eta.origin) / eta.step_value * (1 + 1e-12) for limit in (-eta_max, eta_max))
        if self.eta_bins == NEAREST:
            return math.ceil(low - 0.5), math.floor(high + 0.5)
        return math.ceil(low) - (self.eta_bins == SPANNING), math.floor(high)


class _View:
    """Events as the conditions see them: one row an object, made once for all seeds."""

    def __init__(self, events: Events, menu: Menu) -> None:
        self.events, self.menu = events, menu
        self._rows: dict[tuple[str, str], NDArray[Any]] = {}
        self._scales: dict[str, Scale] = {}
        self._falling_pt: dict[str, NDArray[Any]] = {}

    def row(self, kind: str, role: str) -> NDArray[Any]:
        """A quantity (count, n) of a kind; UserError when the events have it in other steps."""
        if (kind, role) not in self._rows:
            self._require_same_steps(kind, role)
            self._rows[kind, role] = np.ascontiguousarray(self.events.quantity(kind, role).T)
        return self._rows[kind, role]

    def scale(self, kind: str) -> Scale:
        if kind not in self._scales:
            self._scales[kind] = Scale.of(self.menu.kinds.kind(kind), self.menu.layout)
        return self._scales[kind]

    def falling_pt(self, kind: str) -> NDArray[Any]:
        """The pt words (count, n) of a kind, largest first."""
        if kind not in self._falling_pt:
            pt, layout = self.row(kind, "pt"), self.events.layout
            ordered = self.events.pt_ordered and kind in layout and layout.kind(kind).order == "pt"
            self._falling_pt[kind] = pt if ordered or len(pt) == 1 else np.sort(pt, axis=0)[::-1]
        return self._falling_pt[kind]

    def _require_same_steps(self, kind: str, role: str) -> None:
        """Extras are those of the menus' own layout; words are what the events' layout says."""
        layout = self.events.layout
        if kind not in layout or role not in layout.kind(kind):
            return
        ours, theirs = (some.kind(kind).quantity(role) for some in (self.menu.kinds, layout))
        for what in ("step_value", "origin", "period"):
            if getattr(ours, what) != getattr(theirs, what):
                raise UserError(
                    f"menu {self.menu.name!r} is one of layout {self.menu.kinds.name!r}, and events of "
                    f"{layout.name!r} have {kind} {role} with another {what.removesuffix('_value')}"
                )

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
        kind = condition.kind_name
        scale = self.scale(kind)
        thresholds = sorted((scale.pt_word(pt_gev) for pt_gev in condition.pt_gev), reverse=True)
        for pt, threshold in zip(self.falling_pt(kind), thresholds, strict=False):
            rows = _where(pt, threshold, rows)
        assert rows is not None
        return rows

    def _holds(self, condition: Condition, rows: Rows) -> Mask:
        """Whether the condition on objects holds, for each of `rows`."""
        kind = condition.kind_name
        legs = condition.legs(self.scale(kind))
        serving = {leg: self._candidates(kind, leg, rows) for leg in set(legs)}
        candidates = [serving[leg] for leg in legs]
        holds = _matching(candidates)
        if condition.is_related:
            left = np.flatnonzero(holds)
            candidates = [leg[:, left] for leg in candidates]
            holds[left] = self._related(condition, candidates, rows[left])
        return holds

    def _candidates(self, kind: str, leg: Leg, rows: Rows) -> Mask:
        """Which objects (count, rows) may serve as `leg`."""
        good = self.row(kind, "pt")[:, rows] >= leg.pt_word
        if leg.eta_max is not None:
            low, high = self.scale(kind).eta_words(leg.eta_max)
            eta = self.row(kind, "eta")[:, rows]
            good &= (eta >= low) & (eta <= high)
        if leg.eta_min is not None:
            low, high = self.scale(kind).eta_words(leg.eta_min)
            eta = self.row(kind, "eta")[:, rows]
            good &= (eta < low) | (eta > high)
        if leg.quality:
            good &= self.row(kind, "quality")[:, rows] >= leg.quality
        if leg.isolation != ANY_ISOLATION:
            good &= np.isin(self.row(kind, "isolation")[:, rows], leg.isolation)
        return good

    def _related(self, condition: Condition, candidates: list[Mask], rows: Rows) -> Mask:
        """Where some different objects pass a leg each and, together, what is asked of them."""
        holds = np.zeros(len(rows), bool)
        legs = condition.legs(self.scale(condition.kind_name))
        choose = itertools.combinations if len(set(legs)) == 1 else itertools.permutations
        for chosen in choose(range(len(candidates[0])), len(candidates)):
            passing = [leg[item] for leg, item in zip(candidates, chosen, strict=True)]
            at = np.flatnonzero(np.logical_and.reduce(passing) & ~holds)
            if len(at):
                holds[at] = self._together(condition, rows[at], chosen)
        return holds

    def _together(self, condition: Condition, rows: Rows, chosen: tuple[int, ...]) -> Mask:
        """Where the objects at the positions `chosen` have the charge, distance and mass asked for."""
        kind = condition.kind_name
        scale = self.scale(kind)

        def of_chosen(role: str) -> list[NDArray[np.float64]]:
            return [self.row(kind, role)[item][rows].astype(np.float64) for item in chosen]

        good = np.ones(len(rows), bool)
        if any(getattr(condition, name) is not None for name in (*_DISTANCES, "mass_gev")):
            good &= _near(condition, scale, of_chosen)
        if condition.charge == "opposite":
            charge = self.row(kind, "charge")[list(chosen)][:, rows]
            good &= (charge.min(axis=0) < 0) & (charge.max(axis=0) > 0)
        return good


def _near(condition: Condition, scale: Scale, of_chosen: Callable[[str], list[NDArray[np.float64]]]) -> Mask:
    """Where the chosen objects have the distance and mass asked for; `of_chosen` gives words by role."""
    roles = condition.roles
    n = len(condition.pt_gev)
    pt_gev = [scale.pt_gev(words) for words in of_chosen("pt")]
    eta, phi = (of_chosen(role) if role in roles else [np.zeros(1)] * n for role in ("eta", "phi"))
    mass_squared = np.zeros(len(pt_gev[0]))
    for i, j in itertools.combinations(range(n), 2):
        delta_eta = np.abs(eta[i] - eta[j]) * _step(scale.kind, "eta")
        delta_phi = _angle(np.abs(phi[i] - phi[j]), scale.kind)
        if condition.mass_gev is not None:
            mass_squared += 2 * pt_gev[i] * pt_gev[j] * (np.cosh(delta_eta) - np.cos(delta_phi))
    return (
        _within(delta_eta, condition.delta_eta)
        & _within(delta_phi, condition.delta_phi)
        & _within(np.hypot(delta_eta, delta_phi), condition.delta_r)
        & _within(np.sqrt(mass_squared), condition.mass_gev)
    )


def _step(kind: Kind, role: str) -> float:
    return kind.quantity(role).step_value if role in kind else 1.0


def _angle(words: NDArray[np.float64], kind: Kind) -> NDArray[np.float64]:
    """The difference of two phi words, at least 0, as an angle of at most half a turn."""
    if "phi" not in kind:
        return words
    phi = kind.quantity("phi")
    if phi.period is None:
        return words * phi.step_value
    steps = words % phi.period
    return np.minimum(steps, phi.period - steps) * phi.step_value


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
