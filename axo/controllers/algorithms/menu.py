"""Several seeds under one bandwidth and one compute budget, all thresholds together.

Given are a total rate (events, not sums: an event that fires two seeds counts once), a compute budget
(the cost of each stream an event goes to), and a utility: the sum over streams of

    weight x (pure rate)^exponent.

Seeds of one `group` are working points of the same score, so the tighter one's events are the looser
one's too, and purity is with respect to the other groups. Rates of groups overlap as in the logistic
model of multivariate extremes (Gumbel 1960): with l_g the rate of the loosest seed of group g,

    total = (sum_g l_g^t)^(1/t),     pure_i = total(i and other groups) - total(other groups),

where t = 1 is no overlap and t = 20 nearly full overlap; what is measured of totals and pure rates corrects
the model by a factor each, forgotten exponentially. All of it scales with the rates, so the budgets are
met exactly by one common factor, and only shares are searched, by gradient ascent from the last shares.
Each seed's threshold then follows from its share as in `predictive`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from axo.config import parse
from axo.controllers._steering import Steering
from axo.controllers.interface import ControllerConfig, Proposal, Reading, State
from axo.errors import UserError
from axo.physics.pileup_model import TailFit

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stream:
    """What a seed's events are worth and cost: `weight` in the utility, `cost` of one accepted event in
    any unit, `group` of the score it is a working point of (its own when None), and bounds of its rate."""

    weight: float = 1.0
    cost: float = 0.0
    group: str | None = None
    least_khz: float = 0.01
    most_khz: float = 1000.0

    def __post_init__(self) -> None:
        if not (self.weight >= 0 and self.cost >= 0 and 0 < self.least_khz < self.most_khz):
            raise UserError("needs weight and cost not negative, and 0 < least_khz < most_khz")


@dataclass(frozen=True)
class Options:
    """`budget_khz` is the total rate, after prescales; `compute_khz` the total of cost x rate (None: no
    limit). The controller stays `headroom` below both. `overlap` is t. `models` as in `predictive`."""

    models: dict[str, TailFit]
    streams: dict[str, Stream]
    budget_khz: float
    compute_khz: float | None = None
    exponent: float = 0.5
    overlap: float = 1.25
    headroom: float = 0.03
    pileup_floor: float = 20.0

    def __post_init__(self) -> None:
        if not (self.budget_khz > 0 and (self.compute_khz is None or self.compute_khz > 0)):
            raise UserError("budget_khz and compute_khz must be above 0")
        if not (0 < self.exponent <= 1 and 1 <= self.overlap <= 20 and 0 <= self.headroom < 1):
            raise UserError("needs 0 < exponent <= 1, overlap from 1 to 20, and 0 <= headroom < 1")


_STEP_FRACTION = 0.3  # part of the way to the best shares made at each lumi section
_SMOOTHING = 0.1  # weight of a lumi section in the measured corrections
_STEPS = 8  # of the search at each lumi section, which goes on at the next
_FIRST_STEP, _LAST_STEP, _STEP_DECAY = 0.5, 0.005, 0.3  # in log(rate)


class Controller:
    """Shares of the budgets, and thresholds that give them."""

    VERSION = "2"

    def __init__(self, config: ControllerConfig) -> None:
        self._config = config
        self._options = parse(Options, config.options, "options of menu")
        self._names = [seed.name for seed in config.seeds]
        for name in self._names:
            if name not in self._options.streams:
                raise UserError(f"options of menu: streams has none for seed {name}")
        self._steering = Steering(config, self._options.models, self._options.pileup_floor)
        self.problem = Problem(self._names, self._options)

    def initial_state(self) -> State:
        """No lumi section seen; the configured targets are the first shares."""
        return {
            "steering": self._steering.initial_state(),
            "log_share": [math.log(seed.target_khz) for seed in self._config.seeds],
            "total": 1.0,
            "pure": [1.0] * len(self._names),
        }

    def propose(self, state: State, reading: Reading) -> tuple[State, dict[str, Proposal]]:
        """Thresholds of all seeds for the best shares at the pileup to come."""
        steering, update = self._steering.observe(state["steering"], reading)
        state = self._correct({**state, "steering": steering}, reading)
        best = self.problem.best(np.exp(state["log_share"]), state["total"], np.array(state["pure"]))
        log_share = [
            old + _STEP_FRACTION * (math.log(new) - old)
            for old, new in zip(state["log_share"], best, strict=True)
        ]
        targets_khz = [
            math.exp(log_rate) * self._prescale(reading, name)
            for log_rate, name in zip(log_share, self._names, strict=True)
        ]
        return {**state, "log_share": log_share}, self._steering.aim(steering, reading, targets_khz, update)

    def _prescale(self, reading: Reading, name: str) -> float:
        """The prescale of a seed; 1 for one that is off or not in the record."""
        seed = reading.measurement.seed(name)
        return seed.prescale if seed is not None and seed.prescale > 0 else 1.0

    def _correct(self, state: State, reading: Reading) -> State:
        """State with the factors of totals and pure rates moved towards what was measured."""
        measurement = reading.measurement
        if len(reading.rates) != len(self._names):
            return state
        measured = [measurement.seed(name) for name in self._names]
        live_ms = (measurement.live_s or 0.0) * 1000
        rates = np.array([seed.passed or 0.0 for seed in measured if seed is not None]) / live_ms
        if not (rates > 0).all():
            return state
        pure = self.problem.pure(rates)
        factors = list(state["pure"])
        for position, seed in enumerate(measured):
            if seed is not None and seed.pure is not None and pure[position] > 0:
                ratio = seed.pure / live_ms / float(pure[position])
                factors[position] += _SMOOTHING * (ratio - factors[position])
        total = state["total"]
        if measurement.total_passed is not None:
            ratio = measurement.total_passed / live_ms / float(self.problem.total(rates))
            total += _SMOOTHING * (ratio - total)
        return {**state, "total": total, "pure": factors}


class Problem:
    """The optimisation: rates (n,) in kHz after prescale, in the order of `names`."""

    def __init__(self, names: list[str], options: Options) -> None:
        streams = [options.streams[name] for name in names]
        groups = [stream.group or f" {name}" for stream, name in zip(streams, names, strict=True)]
        order = sorted(set(groups))
        self._group = np.array([order.index(group) for group in groups])
        self._groups = len(order)
        self._other_groups = 1.0 - np.eye(len(order))
        self._by_group = np.argsort(self._group, kind="stable")
        self._first_of_group = np.searchsorted(self._group[self._by_group], np.arange(len(order)))
        self._t = options.overlap
        self._exponent = options.exponent
        self._weights = np.array([stream.weight for stream in streams])
        self._costs = np.array([stream.cost for stream in streams])
        self._least = np.array([stream.least_khz for stream in streams])
        self._most = np.array([stream.most_khz for stream in streams])
        self._budget = options.budget_khz * (1 - options.headroom)
        self._compute = None if options.compute_khz is None else options.compute_khz * (1 - options.headroom)

    def total(self, rates: Floats) -> Floats:
        """Events that fire any seed (...), in kHz, before correction, for `rates` (..., n)."""
        total: Floats = (self._loosest(rates) ** self._t).sum(axis=-1) ** (1 / self._t)
        return total

    def pure(self, rates: Floats) -> Floats:
        """Pure rates (..., n) in kHz, before correction."""
        others, alone = self._others(rates), rates**self._t
        pure: Floats = (others + alone) ** (1 / self._t) - others ** (1 / self._t)
        return pure

    def utility(self, rates: Floats, pure_factors: Floats) -> Floats:
        """What is maximised (...)."""
        pure = np.maximum(self.pure(rates) * pure_factors, 0.0)
        utility: Floats = pure**self._exponent @ self._weights
        return utility

    def use(self, rates: Floats, total_factor: float) -> Floats:
        """The larger of the two budgets' used fractions (...)."""
        used = self.total(rates) * (total_factor / self._budget)
        if self._compute is not None:
            used = np.maximum(used, rates @ self._costs / self._compute)
        return used

    def best(self, rates: Floats, total_factor: float, pure_factors: Floats) -> Floats:
        """Rates (n,) near the best within the budgets, searched from `rates` (n,)."""
        best = self._fitted(rates, total_factor)
        most = self.utility(best, pure_factors)
        step = _FIRST_STEP
        for _ in range(_STEPS):
            uphill = self._gradient(best, pure_factors) * best
            along = self._directions(uphill, best)
            if step < _LAST_STEP or not len(along):
                break
            along *= step / abs(along).max(axis=1, keepdims=True)
            tried = self._fitted(best * np.exp(along), total_factor)
            utilities = self.utility(tried, pure_factors)
            if utilities.max() > most:
                most = utilities.max()
                best = tried[utilities.argmax()]
            else:
                step *= _STEP_DECAY
        return best

    def _directions(self, uphill: Floats, rates: Floats) -> Floats:
        """Steps in log(rate) (up to 3, n) along one budget, the other, or both (where they cross); any may
        be best."""
        total, compute = self._loosest_slope(rates) * rates, self._costs * rates
        first = _without(uphill, total)
        directions = [first]
        if self._compute is not None and compute.any():
            second = _without(uphill, compute)
            across = _without(compute, total)
            directions += [second, _without(first, across)]
        steps = np.array(directions)
        kept: Floats = steps[abs(steps).max(axis=1) > 1e-9 * abs(uphill).max()]
        return kept

    def _loosest(self, rates: Floats) -> Floats:
        return np.maximum.reduceat(rates[..., self._by_group], self._first_of_group, axis=-1)

    def _others(self, rates: Floats) -> Floats:
        """The sum of l_g^t of the groups that a seed is not in (..., n)."""
        powers = self._loosest(rates) ** self._t
        # Not the sum less the own one: that would lose small groups beside a large one.
        return (powers @ self._other_groups)[..., self._group]

    def _gradient(self, rates: Floats, pure_factors: Floats) -> Floats:
        """The slope of the utility with each rate (n,)."""
        t, others = self._t, self._others(rates)
        both = others + rates**t
        pure = np.maximum((both ** (1 / t) - others ** (1 / t)) * pure_factors, 1e-12)
        worth = self._weights * self._exponent * pure ** (self._exponent - 1) * pure_factors
        own = worth * both ** (1 / t - 1) * rates ** (t - 1)
        less = np.where(others > 0, both ** (1 / t - 1) - np.maximum(others, 1e-300) ** (1 / t - 1), 0.0) / t
        by_group = np.bincount(self._group, worth * less, self._groups)
        loosest = self._loosest(rates)
        harm = t * loosest ** (t - 1) * (by_group.sum() - by_group)
        return own + np.where(rates == loosest[self._group], harm[self._group], 0.0)

    def _loosest_slope(self, rates: Floats) -> Floats:
        """The direction in which the total rises with each rate (n,)."""
        loosest = self._loosest(rates)
        slope = loosest ** (self._t - 1)
        return np.where(rates == loosest[self._group], slope[self._group], 0.0)

    def _fitted(self, rates: Floats, total_factor: float) -> Floats:
        """`rates` (..., n) inside their bounds, scaled to use the budgets exactly where bounds allow it."""
        for _ in range(4):
            scaled = rates / self.use(rates, total_factor)[..., None]
            rates = np.minimum(np.maximum(scaled, self._least), self._most)
            if (rates == scaled).all():
                break
        return rates


def _without(vector: Floats, direction: Floats) -> Floats:
    """`vector` less its part along `direction`."""
    return vector - (vector @ direction) / max(float(direction @ direction), 1e-300) * direction
