"""A menu of seeds on several quantities, with true overlaps: zero-bias events far out in any of them.

The file holds events that are in the tail of at least one quantity (the network's score, HTT), with
their numbers of interactions, and how many events of each number there were in all, so that any mean
pileup is a reweighting. A quantity x of an event stands for a log-normal of width SMEARING round x,
independently for each quantity: rates are then smooth in thresholds, as those of many more events are.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from axo.controllers import Controller, Decision, Measurement, SeedMeasurement
from axo.errors import UserError
from axo.files import read_json
from axo.physics.rates import LUMI_SECTION_S, collision_rate_khz

from ..fills import FillSection

TAIL_FORMAT = "axo-tail-events-1"

SMEARING = 0.05
"""Relative width of the kernel."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TailEvents:
    """Events far out: `interactions` (n,), and `values` (n,) by quantity; `events` (N,) by number of
    interactions says how many there were in all. At or above `floors` the sample is complete."""

    interactions: NDArray[np.int64]
    values: Mapping[str, NDArray[np.int64]]
    events: NDArray[np.int64]
    floors: Mapping[str, int]
    network: str
    origin: str


def read_tail_events(path: str | os.PathLike[str]) -> TailEvents:
    """Read what `scenarios.count --tail` wrote; UserError names the file and the fault."""
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != TAIL_FORMAT:
        raise UserError(f"{path}: is not a file of tail events (format {TAIL_FORMAT})")
    try:
        interactions = np.array(document["interactions"].split(), dtype=np.int64)
        values = {name: np.array(text.split(), dtype=np.int64) for name, text in document["values"].items()}
        events = np.array(document["events"], dtype=np.int64)
        floors = {name: int(document["floors"][name]) for name in values}
        if not values or any(len(column) != len(interactions) for column in values.values()):
            raise ValueError("columns of different lengths")
        if (events[interactions] == 0).any():
            raise ValueError("events with a number of interactions that no event had")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"{path}: is damaged ({error})") from error
    return TailEvents(interactions, values, events, floors, document["network"], document["origin"])


def shipped_tail_events() -> TailEvents:
    """The tail events that ship with axo."""
    return read_tail_events(Path(str(resources.files("axo.rate_monitor"))) / "menu_tail.json")


@dataclass(frozen=True)
class MenuSeed:
    """A seed: its name, and the quantity it cuts on. Seeds of one quantity are one group."""

    name: str
    quantity: str


class MenuTruth:
    """True rates of seeds on `tail` with `bunches` colliding."""

    def __init__(self, tail: TailEvents, seeds: Sequence[MenuSeed], bunches: int) -> None:
        self.seeds = tuple(seeds)
        self._tail = tail
        self._crossings_khz = collision_rate_khz(bunches)
        self.bunches = bunches
        self._log = {
            name: np.log(np.maximum(column, 0.5).astype(np.float64)) for name, column in tail.values.items()
        }

    def alone(self, seed: MenuSeed) -> MenuTruth:
        """The truth of one seed by itself."""
        return MenuTruth(self._tail, (seed,), self.bunches)

    def least_word(self, seed: MenuSeed) -> int:
        """The lowest threshold that the sample is complete for."""
        return math.ceil(self._tail.floors[seed.quantity] * (1 + 4 * SMEARING))

    def cells(self, words: Mapping[str, int], pileup: float) -> dict[tuple[str, ...], float]:
        """Rate in kHz, before prescale, of events that fire exactly these seeds (in their order)."""
        near = self._near(words)
        weights = self._weights(pileup, near)
        choices = []
        for quantity in dict.fromkeys(seed.quantity for seed in self.seeds):
            own = sorted(
                (seed for seed in self.seeds if seed.quantity == quantity), key=lambda s: words[s.name]
            )
            above = [self._above(quantity, words[seed.name], near) for seed in own]
            edges = [np.ones(len(weights)), *above, np.zeros(len(weights))]
            choices.append(
                [
                    (tuple(seed.name for seed in own[:passed]), edges[passed] - edges[passed + 1])
                    for passed in range(len(own) + 1)
                ]
            )
        cells = {}
        for cell in product(*choices):
            fired = {name for names, _ in cell for name in names}
            if fired:
                key = tuple(seed.name for seed in self.seeds if seed.name in fired)
                share = weights * np.prod([part for _, part in cell], axis=0)
                cells[key] = float(share.sum()) * self._crossings_khz
        return cells

    def rates(self, words: Mapping[str, int], pileup: float) -> MenuRates:
        """True rates in kHz at thresholds `words`, before prescale."""
        return menu_rates(self.seeds, self.cells(words, pileup))

    def _near(self, words: Mapping[str, int]) -> NDArray[np.int64]:
        """Indices of the events that may fire any seed: within six widths of a threshold, or above it."""
        near = np.zeros(len(self._tail.interactions), np.bool_)
        for seed in self.seeds:
            near |= self._log[seed.quantity] > math.log(max(words[seed.name], 1)) - 6 * SMEARING
        return np.flatnonzero(near)

    def _above(self, quantity: str, word: int, near: NDArray[np.int64]) -> Floats:
        """The probability that each of the events `near` has the quantity at or above `word`."""
        from scipy.special import ndtr

        probabilities: Floats = ndtr((self._log[quantity][near] - math.log(max(word - 0.5, 0.5))) / SMEARING)
        return probabilities

    def _weights(self, pileup: float, near: NDArray[np.int64]) -> Floats:
        """The probability that a crossing of mean `pileup` is like each of the events `near`."""
        n = np.arange(len(self._tail.events))
        log_factorial = np.concatenate([[0.0], np.cumsum(np.log(n[1:]))])
        poisson = np.exp(n * math.log(max(pileup, 1e-9)) - pileup - log_factorial)
        by_number = np.where(self._tail.events > 0, poisson / np.maximum(self._tail.events, 1), 0.0)
        return by_number[self._tail.interactions[near]]


@dataclass(frozen=True)
class MenuRates:
    """Rates of a menu: by seed its own and its pure one (against other quantities), and the total."""

    passed: dict[str, float]
    pure: dict[str, float]
    total: float


def menu_rates(seeds: Sequence[MenuSeed], cells: Mapping[tuple[str, ...], float]) -> MenuRates:
    """Own, pure and total rates (or counts) from those of exact combinations."""
    quantity = {seed.name: seed.quantity for seed in seeds}
    passed = {seed.name: 0.0 for seed in seeds}
    pure = dict(passed)
    for fired, amount in cells.items():
        for name in fired:
            passed[name] += amount
            if all(quantity[other] == quantity[name] for other in fired):
                pure[name] += amount
    return MenuRates(passed, pure, float(sum(cells.values())))


@dataclass(frozen=True, eq=False)
class MenuTrace:
    """What a menu did, by lumi section: pileup (n,), thresholds in force and true rates."""

    name: str
    lumi_section: NDArray[np.int64]
    pileup: Floats
    words: tuple[dict[str, int], ...]
    rates: tuple[MenuRates, ...]


def simulate_menu(
    sections: Sequence[FillSection], truth: MenuTruth, controller: Controller, name: str, noise_seed: int = 0
) -> MenuTrace:
    """A fill through a controller of several seeds (none prescaled); counts are Poisson in each cell."""
    state = controller.initial_state()
    in_force = {seed.name: seed.initial_word for seed in controller.config.seeds}
    scheduled: list[Decision] = []
    words, rates = [], []
    for section in sections:
        for decision in scheduled:
            if decision.effective_lumi_section <= section.lumi_section:
                in_force = decision.threshold_words
        scheduled = [d for d in scheduled if d.effective_lumi_section > section.lumi_section]
        cells = truth.cells(in_force, section.pileup)
        words.append(in_force)
        rates.append(menu_rates(truth.seeds, cells))
        record = _record(truth, section, in_force, cells, noise_seed)
        state, decision = controller.decide(state, record)
        if decision.accepted:
            scheduled.append(decision)
    return MenuTrace(
        name,
        np.array([s.lumi_section for s in sections]),
        np.array([s.pileup for s in sections]),
        tuple(words),
        tuple(rates),
    )


def _record(
    truth: MenuTruth,
    section: FillSection,
    words: Mapping[str, int],
    cells: Mapping[tuple[str, ...], float],
    noise_seed: int,
) -> Measurement:
    rng = np.random.Generator(np.random.Philox(key=[noise_seed, section.lumi_section]))
    live_ms = section.live_fraction * LUMI_SECTION_S * 1000
    counts = {fired: float(rng.poisson(rate * live_ms)) for fired, rate in cells.items()}
    found = menu_rates(truth.seeds, counts)
    seeds = tuple(
        SeedMeasurement(s.name, words[s.name], found.passed[s.name], 1.0, found.pure[s.name])
        for s in truth.seeds
    )
    return Measurement(
        section.run,
        section.lumi_section,
        section.pileup,
        truth.bunches,
        seeds,
        section.start_time_s,
        LUMI_SECTION_S,
        section.live_fraction,
        found.total,
    )
