"""``axo control --simulate``: controllers and oracles through a recorded fill, compared."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axo.config import to_plain

if TYPE_CHECKING:
    from axo.controllers import ControllerConfig
    from axo.physics.pileup_model import ScoreByPileup, TailFit

    from .fills import FillSection
    from .scenarios import Fault, SeedTruth
    from .scenarios.simulator import Player, Trace

CONTROLLERS = ("fixed", "pd", "log_pi", "predictive")
SEED_NAME = "AXO"

MENU_PILEUP = 60.0
"""Pileup for which a static menu's thresholds are made, before any fill."""

PD_GAIN = 0.3
"""Of `pd`, in e-folds for a rate of twice the target: near the fastest that does not ring with the delay."""


def add_simulation_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the simulation, as a group of `parser`."""
    group = parser.add_argument_group("simulation")
    group.add_argument("--simulate", type=Path, metavar="FILL.csv", help="a fill as brilcalc writes it")
    group.add_argument(
        "--controller",
        nargs="+",
        metavar="NAME",
        help=f"controllers to compare (default: {' '.join(CONTROLLERS)}; menu: several seeds at once)",
    )
    group.add_argument(
        "--faults",
        metavar="FILE",
        help="faults to inject (YAML or JSON), or 'standard': one of each kind, each by itself",
    )
    group.add_argument("--json", type=Path, metavar="OUT", help="write all figures and bars")
    group.add_argument(
        "--plot", type=Path, metavar="PICTURE", help="plot rates and thresholds (png, pdf, svg)"
    )
    group.add_argument("--target-khz", type=float, default=1.0, help="rate to hold (default: 1)")
    group.add_argument("--noise-seed", type=int, default=1, help="of the simulated counts (default: 1)")
    group.add_argument("--bunches", type=int, help="colliding bunches (default: what the fill implies)")
    group.add_argument(
        "--delay", type=int, default=2, help="lumi sections to a decision's effect (default: 2)"
    )
    group.add_argument(
        "--truth", type=Path, metavar="FILE", help="scores by pileup that rates are drawn from"
    )
    group.add_argument(
        "--prior", type=Path, metavar="FILE", help="scores by pileup that predictive starts from"
    )


@dataclasses.dataclass(frozen=True)
class Setting:
    """All that a comparison needs beside the fill (see `add_simulation_arguments`)."""

    truth: SeedTruth
    counts: ScoreByPileup
    prior: TailFit
    target_khz: float = 1.0
    band: float = 0.1
    noise_seed: int = 1
    delay: int = 2


def run_simulation(args: argparse.Namespace) -> int:
    """Run ``axo control --simulate``; prints the comparison, returns 0."""
    from axo.errors import UserError, nearest

    from .compare import plot
    from .fills import colliding_bunches, read_fill

    names = list(dict.fromkeys(args.controller or CONTROLLERS))
    if "menu" in names:
        from .simulate_menu import run_menu

        if names != ["menu"]:
            raise UserError("the menu controller steers several seeds; simulate it by itself")
        return run_menu(args)
    for name in names:
        if name not in CONTROLLERS:
            raise UserError(f"unknown controller {name!r}{nearest(name, [*CONTROLLERS, 'menu'])}")
    sections = read_fill(args.simulate)
    setting = setting_of(args, args.bunches or colliding_bunches(sections))
    document, traces = compare(sections, names, setting, args.faults, str(args.simulate))
    if args.json:
        from axo.files import write_json

        write_json(args.json, document)
    if args.plot:
        plot(args.plot, traces, setting.target_khz, setting.band, Path(args.simulate).name)
    return 0


def setting_of(args: argparse.Namespace, bunches: int) -> Setting:
    """The setting that the arguments ask for; UserError for values that cannot be."""
    from axo.errors import UserError
    from axo.physics.pileup_model import fit_pileup_model, fit_tail, read_score_by_pileup

    from .scenarios import SeedTruth, shipped_counts

    if not (args.target_khz > 0 and 1 <= bunches <= 3564 and args.delay >= 1 and args.noise_seed >= 0):
        raise UserError(
            "needs --target-khz above 0, --bunches from 1 to 3564, --delay of at least 1, "
            "--noise-seed not negative"
        )
    counts = read_score_by_pileup(args.truth) if args.truth else shipped_counts("truth")[1]
    prior = read_score_by_pileup(args.prior) if args.prior else shipped_counts("prior")[1]
    return Setting(
        SeedTruth(fit_pileup_model(counts), bunches),
        counts,
        fit_tail(prior),
        args.target_khz,
        noise_seed=args.noise_seed,
        delay=args.delay,
    )


def compare(
    sections: Sequence[FillSection], names: Sequence[str], setting: Setting, faults: str | None, title: str
) -> tuple[dict[str, Any], list[Trace]]:
    """Simulate, print the tables, and return them as a JSON value, with the traces of the fill."""
    from .compare import bars, figures, table
    from .scenarios import read_faults
    from .scenarios.faults import faults_to_json

    given = read_faults(faults) if faults not in (None, "standard") else ()
    traces = run_all(sections, names, setting, given)
    results = [figures(t, setting.target_khz, setting.band, setting.truth, setting.counts) for t in traces]
    print(f"{title}: target {setting.target_khz:g} kHz, {setting.truth.bunches} bunches")
    print(table(results))
    by_name = {item.name: item for item in results}
    document: dict[str, Any] = {
        "fill": title,
        "run": sections[0].run,
        "target_khz": setting.target_khz,
        "band": setting.band,
        "bunches": setting.truth.bunches,
        "delay_lumi_sections": setting.delay,
        "noise_seed": setting.noise_seed,
        "network": setting.counts.network,
        "truth": setting.counts.origin,
        "controllers": to_plain(results),
        "bars": {name: bars(by_name, name) for name in names},
        "faults": faults_to_json(given),
    }
    if faults == "standard":
        document["recovery"] = _recoveries(sections, names, setting)
    return document, traces


def run_all(
    sections: Sequence[FillSection], names: Sequence[str], setting: Setting, faults: Sequence[Fault] = ()
) -> list[Trace]:
    """Traces of both oracles and all controllers `names`."""
    from axo.controllers import make_controller

    from .scenarios import Oracle, Scenario, simulate
    from .scenarios.simulator import ControllerPlayer

    scenario = Scenario.of_fill(sections, setting.truth, SEED_NAME, faults)
    word = initial_word(sections, setting)
    players: list[Player] = [
        Oracle.last(scenario, setting.target_khz, word, setting.delay),
        Oracle.forecast(scenario, setting.target_khz, word, setting.delay),
    ]
    players += [ControllerPlayer(make_controller(n, controller_config(n, setting, word))) for n in names]
    return [simulate(scenario, player, setting.noise_seed) for player in players]


def initial_word(sections: Sequence[FillSection], setting: Setting) -> int:
    """Where all start, and `fixed` stays: a static menu's threshold, exact at MENU_PILEUP."""
    from axo.errors import UserError

    if all(s.pileup < 20 for s in sections):
        raise UserError("the fill has no lumi section with pileup of 20 or more: there is nothing to hold")
    return round(setting.truth.word(setting.target_khz, MENU_PILEUP))


def controller_config(name: str, setting: Setting, word: int) -> ControllerConfig:
    """The configuration that controller `name` is simulated with: all know what `setting.prior` says."""
    from axo.controllers import ControllerConfig, SeedConfig

    from .scenarios.oracle import PILEUP_FLOOR

    least = setting.truth.model.first_word
    seed = SeedConfig(SEED_NAME, setting.target_khz, max(word, least), min_word=least, band=setting.band)
    options: dict[str, Any] = {}
    if name == "pd":
        options = {"kp_words": PD_GAIN * _efold_words(setting)}
    if name == "log_pi":
        options = {"efold_words": _efold_words(setting)}
    if name == "predictive":
        options = {"models": {SEED_NAME: to_plain(setting.prior)}, "pileup_floor": PILEUP_FLOOR}
    return ControllerConfig(
        (seed,), delay_lumi_sections=setting.delay, min_pileup=PILEUP_FLOOR, options=options
    )


def _efold_words(setting: Setting) -> float:
    """Words in which the rate falls by e about the target, at MENU_PILEUP in the prior."""
    from axo.physics.pileup_model import PileupModel
    from axo.physics.rates import collision_rate_khz

    model = PileupModel(setting.prior)
    crossings_khz = collision_rate_khz(setting.truth.bunches)
    target = math.log(setting.target_khz / crossings_khz)
    return model.word_at(target - 0.5, MENU_PILEUP) - model.word_at(target + 0.5, MENU_PILEUP)


def _recoveries(
    sections: Sequence[FillSection], names: Sequence[str], setting: Setting
) -> list[dict[str, Any]]:
    """Each standard fault by itself: print how soon all recover, and return it with the bars."""
    from .compare import recovery, recovery_met, recovery_table
    from .scenarios import standard_faults

    every = []
    faults = standard_faults([s.pileup for s in sections], [s.lumi_section for s in sections])
    for fault in faults:
        window = [s for s in sections if fault.at - 100 <= s.lumi_section < fault.edges[-1] + 40]
        traces = run_all(window, names, setting, [fault])
        every += [recovery(trace, fault, setting.target_khz, setting.band) for trace in traces]
    print("\nlumi sections from a fault (its start and its end) until the rate is back in band")
    print("(in brackets: lumi sections above twice the target)")
    print(recovery_table(every))
    oracles = [item for item in every if item.name.startswith("oracle")]
    return [
        {**row, "met": recovery_met(item, [o for o in oracles if o.fault == item.fault])}
        for row, item in zip(to_plain(every), every, strict=True)
    ]
