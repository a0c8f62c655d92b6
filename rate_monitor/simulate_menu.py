"""``axo control --simulate FILL.csv --controller menu``: several seeds under common budgets.

Three seeds (two working points of the network's score, and HTT) share a total rate and a compute budget.
Compared are the menu controller; `split`, where each seed holds the share it has at the start by itself
(`predictive`); and `fixed` thresholds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from axo.config import to_plain
from axo.report import Table

from .fills import colliding_bunches, read_fill
from .scenarios.menu import MenuSeed, MenuTrace, MenuTruth, shipped_tail_events, simulate_menu
from .scenarios.oracle import PILEUP_FLOOR

SEEDS = (MenuSeed("AXO_tight", "score"), MenuSeed("AXO_loose", "score"), MenuSeed("HTT", "htt_pt"))

STREAMS: dict[str, dict[str, Any]] = {
    "AXO_tight": {"weight": 1.0, "cost": 1.0, "group": "AXO", "least_khz": 0.1},
    "AXO_loose": {"weight": 0.5, "cost": 0.05, "group": "AXO", "least_khz": 0.2},
    "HTT": {"weight": 0.5, "cost": 1.0, "least_khz": 0.4},
}
"""Tight and HTT events are read out and reconstructed; loose ones are scouted, at a twentieth of the cost."""

BUDGET_KHZ = 6.0
COMPUTE_KHZ = 2.5
EXPONENT = 0.5

MENU_PILEUP = 60.0


def run_menu(args: argparse.Namespace) -> int:
    """Run the comparison; prints it, returns 0."""
    from axo.files import write_json

    sections = read_fill(args.simulate)
    bunches = args.bunches or colliding_bunches(sections)
    truth = MenuTruth(shipped_tail_events(), SEEDS, bunches)
    traces = [
        simulate_menu(sections, truth, c, name, args.noise_seed) for name, c in _controllers(truth).items()
    ]
    results = [menu_figures(trace) for trace in traces]
    print(f"{args.simulate}: total {BUDGET_KHZ:g} kHz, compute {COMPUTE_KHZ:g} kHz, {bunches} bunches")
    print(menu_table(results))
    if args.json:
        write_json(
            args.json,
            {
                "fill": str(args.simulate),
                "budget_khz": BUDGET_KHZ,
                "compute_khz": COMPUTE_KHZ,
                "exponent": EXPONENT,
                "streams": STREAMS,
                "noise_seed": args.noise_seed,
                "bunches": bunches,
                "controllers": results,
            },
        )
    return 0


def _controllers(truth: MenuTruth) -> dict[str, Any]:
    """The menu controller and what it is compared with, by name, all from the same thresholds."""
    from axo.controllers import ControllerConfig, SeedConfig, make_controller
    from axo.physics.pileup_model import fit_tail

    from .scenarios import shipped_counts

    score, htt = (to_plain(fit_tail(shipped_counts(name)[1])) for name in ("prior", "prior_htt"))
    models = {seed.name: score if seed.quantity == "score" else htt for seed in SEEDS}
    shares = first_shares()
    seeds = tuple(
        SeedConfig(
            seed.name,
            shares[seed.name],
            word_for(truth, seed, shares[seed.name]),
            min_word=truth.least_word(seed),
        )
        for seed in SEEDS
    )
    options = {"models": models, "pileup_floor": PILEUP_FLOOR}
    menu = {
        **options,
        "streams": STREAMS,
        "budget_khz": BUDGET_KHZ,
        "compute_khz": COMPUTE_KHZ,
        "exponent": EXPONENT,
    }
    choices: dict[str, tuple[str, dict[str, Any]]] = {
        "fixed": ("fixed", {}),
        "split": ("predictive", options),
        "menu": ("menu", menu),
    }
    return {
        name: make_controller(kind, ControllerConfig(seeds, min_pileup=PILEUP_FLOOR, options=chosen))
        for name, (kind, chosen) in choices.items()
    }


def first_shares() -> dict[str, float]:
    """Equal parts of the total for the looser seed of each score, within the compute budget."""
    tight = COMPUTE_KHZ / 4
    return {"AXO_tight": tight, "AXO_loose": BUDGET_KHZ / 2, "HTT": COMPUTE_KHZ / 2}


def word_for(truth: MenuTruth, seed: MenuSeed, rate_khz: float) -> int:
    """The lowest threshold of `seed` whose true rate at MENU_PILEUP is at most `rate_khz`."""
    alone = truth.alone(seed)
    low, high = truth.least_word(seed), 1 << 18
    while low < high:
        middle = (low + high) // 2
        if alone.rates({seed.name: middle}, MENU_PILEUP).total > rate_khz:
            low = middle + 1
        else:
            high = middle
    return low


def menu_figures(trace: MenuTrace) -> dict[str, Any]:
    """Mean total, cost, utility and pure rates, and how often the budgets were exceeded by over 5 %;
    lumi sections with pileup below 20 left out."""
    kept = [rates for rates, pileup in zip(trace.rates, trace.pileup, strict=True) if pileup >= PILEUP_FLOOR]
    totals = np.array([rates.total for rates in kept])
    costs = np.array([sum(STREAMS[n]["cost"] * r for n, r in rates.passed.items()) for rates in kept])
    utilities = [true_utility(rates.pure) for rates in kept]
    names = [seed.name for seed in SEEDS]
    return {
        "name": trace.name,
        "lumi_sections": len(kept),
        "total_khz": float(totals.mean()),
        "total_over_budget": float(np.mean(totals > 1.05 * BUDGET_KHZ)),
        "compute_khz": float(costs.mean()),
        "compute_over_budget": float(np.mean(costs > 1.05 * COMPUTE_KHZ)),
        "utility": float(np.mean(utilities)),
        "pure_khz": {name: float(np.mean([rates.pure[name] for rates in kept])) for name in names},
    }


def true_utility(pure_khz: dict[str, float]) -> float:
    """The utility of pure rates, as the menu controller is told to maximise it."""
    utility: float = sum(float(STREAMS[name]["weight"]) * rate**EXPONENT for name, rate in pure_khz.items())
    return utility


def menu_table(results: Sequence[dict[str, Any]]) -> str:
    """The comparison as text."""
    names = [seed.name for seed in SEEDS]
    rows = [
        [
            row["name"],
            f"{row['total_khz']:.3f}",
            f"{row['total_over_budget']:.1%}",
            f"{row['compute_khz']:.3f}",
            f"{row['compute_over_budget']:.1%}",
            f"{row['utility']:.4f}",
            *(f"{row['pure_khz'][name]:.3f}" for name in names),
        ]
        for row in results
    ]
    header = ["controller", "total kHz", "over", "compute", "over", "utility", *(f"pure {n}" for n in names)]
    return Table(header, rows).text()
