"""The strength of a decorrelation against what it gives and costs: train at each, measure, draw.

  axo decorrelate axo_v3_decade --strengths 0 0.3 1 3 10 --models training/models/axo_v3

The configuration has a ``decorrelation`` section; its strength is replaced by each of --strengths (0:
without it), its first seed is trained, and the network is measured on the configuration's test events
and signals:

- mutual information of the score with every trigger variable, in zero bias (nats);
- efficiency of each signal at fixed rate, and pure efficiency at fixed pure rate: events that pass and
  that no unprescaled seed of the menu takes, the threshold set on the pure rate of zero bias;
- how the rate changes with pileup.

The network of strength 0 is also carried through the software transport (axo.decorrelators.transport)
learned on the training events. --models adds released networks. Writes decorrelation.json, .md and .png
into the output folder; interrupt it at will, the same command resumes.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.report import Page, Section, Table

if TYPE_CHECKING:
    from axo.events import Events
    from axo.network import Network
    from axo.physics.figures import Accepted, Interval
    from axo.physics.menu import Menu
    from axo.physics.rates import ScoreHistogram
    from axo.physics.sample import Sample

    from .config import Config

Json = dict[str, Any]
Scores = NDArray[np.int64]

NATS = 4096
"""Score words a nat, when the transport's score is made an integer like the others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo decorrelate``."""
    parser.add_argument("config", help="name of a shipped configuration, or a YAML file")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 1.0], help="(default: 0 1)")
    parser.add_argument("--models", nargs="*", default=[], metavar="FOLDER", help="measure these, too")
    parser.add_argument("--menu", default="default", help="menu to be pure of (default: %(default)s)")
    parser.add_argument("--data", help="folder of the events (default: the configuration's)")
    parser.add_argument("--train-events", type=int, help="train on as many (default: the configuration's)")
    parser.add_argument("--epochs", type=int, help="passes over them (default: the configuration's)")
    parser.add_argument("--output", default="build/decorrelation", help="(default: %(default)s)")
    parser.add_argument("--work", help="folder of the checkpoints (default: OUTPUT/work)")


def run(args: argparse.Namespace) -> int:
    """Run ``axo decorrelate``."""
    from axo.files import write_bytes, write_json, write_text
    from axo.physics.menu import read_menu

    from .config import read_training

    if args.strengths and min(args.strengths) < 0:
        raise UserError("--strengths must not be negative")
    config, model = read_training(args.config, args.data)
    config = _shortened(config, args.train_events, args.epochs)
    if config.decorrelation is None:
        raise UserError(f"{args.config}: has no decorrelation section; add one")
    output = Path(args.output)
    points = measure_all(
        config,
        model,
        sorted(set(args.strengths)),
        [Path(folder) for folder in args.models],
        read_menu(args.menu),
        Path(args.work) if args.work else output / "work",
        lambda line: print(line, flush=True),
    )
    document = {"config": config.document(), "menu": args.menu, "points": points}
    write_json(output / "decorrelation.json", document)
    write_text(output / "decorrelation.md", to_markdown(document))
    write_bytes(output / "decorrelation.png", draw(document))
    print(f"wrote {output}/decorrelation.json, .md and .png")
    return 0


def measure_all(
    config: Config,
    model_config: Any,
    strengths: Sequence[float],
    models: Sequence[Path],
    menu: Menu,
    work: Path,
    say: Any,
) -> list[Json]:
    """One point (see `measure`) for each strength, for the transport if 0 is one, and for each model."""
    from axo.events.sources import read_events
    from axo.network import digest, read_network

    data = config.data
    train = read_events(data.path(data.train), limit=data.train_events)
    bench = Bench.of(
        read_events(data.path(data.test)),
        {name: read_events(data.path(file)) for name, file in data.signals.items()},
        menu,
        config.release.figures_khz,
        config.release.bunches,
    )
    points = []
    for strength in strengths:
        network = _train(config, model_config, strength, train, work, say)
        point = {"name": f"strength {strength:g}", "strength": strength, **bench.network(network)}
        points.append(point)
        say(_line(point))
        if strength == 0:
            points.append({"name": "software transport", **bench.transported(network, train)})
            say(_line(points[-1]))
    for folder in models:
        network = read_network(folder / "network.json")
        point = {"name": folder.name, "network_sha256": digest(network), **bench.network(network)}
        points.append(point)
        say(_line(point))
    return points


@dataclass(frozen=True)
class Bench:
    """Zero bias and signals on which scores are measured, at `rates_khz` for `bunches`.

    `variables` are the trigger variables of zero bias by name, (n,) each.
    """

    zero_bias: Sample
    signals: dict[str, Sample]
    variables: dict[str, NDArray[np.float64]]
    rates_khz: tuple[float, ...]
    bunches: int

    @classmethod
    def of(
        cls,
        zero_bias: Events,
        signals: dict[str, Events],
        menu: Menu,
        rates_khz: tuple[float, ...],
        bunches: int,
    ) -> Bench:
        """Evaluate `menu` (its first column of prescales) on all events."""
        from axo.physics.sample import Sample, pure_of
        from axo.physics.variables import PILEUP, trigger_variables, variable_names

        names = [n for n in variable_names(zero_bias.layout) if n != PILEUP or zero_bias.pileup is not None]
        values = trigger_variables(zero_bias, names)
        return cls(
            Sample("zero bias", zero_bias, pure_of(menu, zero_bias)),
            {name: Sample(name, events, pure_of(menu, events)) for name, events in signals.items()},
            dict(zip(names, values.T, strict=True)),
            rates_khz,
            bunches,
        )

    def network(self, network: Network) -> Json:
        """`measure` of the network's score words."""
        return self.measure(
            _scores(network, self.zero_bias.events),
            {name: _scores(network, sample.events) for name, sample in self.signals.items()},
        )

    def transported(self, network: Network, train: Events) -> Json:
        """`measure` of the network's score after the software transport, learned on the events `train`."""
        from axo.decorrelators.transport import fit_transport
        from axo.physics.variables import PRIMARY, trigger_variables

        def carry(events: Events) -> Scores:
            nats = transport.apply(_scores(network, events), trigger_variables(events, PRIMARY))
            return np.minimum(np.rint(nats * NATS), LARGEST).astype(np.int64)

        transport = fit_transport(
            _scores(network, train),
            trigger_variables(train, PRIMARY),
            PRIMARY,
            leaf_events=max(min(4000, len(train) // 20), 200),
        )
        return self.measure(
            carry(self.zero_bias.events), {name: carry(s.events) for name, s in self.signals.items()}
        )

    def measure(self, zero_bias: Scores, signals: dict[str, Scores]) -> Json:
        """All figures of a score, from its words on zero bias and on the signals."""
        from axo.decorrelators.information import mutual_information

        return {
            "mutual_information": {
                name: mutual_information(zero_bias, column) for name, column in self.variables.items()
            },
            "points": {
                f"{khz:g} kHz": {
                    "total": self._total(zero_bias, signals, khz),
                    "pure": self._pure(zero_bias, signals, khz),
                }
                for khz in self.rates_khz
            },
        }

    def _total(self, zero_bias: Scores, signals: dict[str, Scores], khz: float) -> Json:
        from axo.physics.rates import threshold_for_rate

        threshold = threshold_for_rate(_histogram(zero_bias), khz * 1000, self.bunches)
        accepted = {name: self._accepted(name, score >= threshold) for name, score in signals.items()}
        return {
            "threshold_word": threshold,
            "pileup_slope": pileup_slope(zero_bias >= threshold, self.zero_bias.events.pileup),
            **_with_mean({name: found.efficiency for name, found in accepted.items()}),
        }

    def _pure(self, zero_bias: Scores, signals: dict[str, Scores], khz: float) -> Json:
        from axo.physics.figures import Accepted
        from axo.physics.rates import pure_threshold_for_rate, rate_khz

        pure = _histogram(zero_bias[self.zero_bias.pure])
        threshold = pure_threshold_for_rate(_histogram(zero_bias), pure, khz * 1000, self.bunches)
        total = rate_khz(Accepted.of(zero_bias >= threshold).efficiency, self.bunches)
        accepted = {name: self._accepted(name, score >= threshold) for name, score in signals.items()}
        return {
            "threshold_word": threshold,
            "total_rate_khz": total and total.value,
            **_with_mean({name: found.pure_efficiency for name, found in accepted.items()}),
        }

    def _accepted(self, name: str, passing: NDArray[np.bool_]) -> Accepted:
        from axo.physics.figures import Accepted

        return Accepted.of(passing, self.signals[name].pure)


def _histogram(scores: Scores) -> ScoreHistogram:
    from axo.physics.rates import ScoreHistogram

    return ScoreHistogram.of(scores, LARGEST + 1)


def _with_mean(signals: dict[str, Interval | None]) -> Json:
    """Efficiencies by signal and, where there are any, their geometric mean."""
    from axo.config import to_plain
    from axo.physics.figures import geometric_mean

    values = [found.value for found in signals.values() if found is not None]
    mean = {"geometric_mean": float(geometric_mean(values))} if values else {}
    document: Json = to_plain({"signals": signals, **mean})
    return document


LARGEST = (1 << 18) - 1
"""The largest score word that is measured."""


def pileup_slope(passed: NDArray[np.bool_], pileup: NDArray[Any] | None) -> Json | None:
    """Relative change of the rate per further interaction at the mean pileup, by least squares.

    With its standard error from the accepted events alone (they are few). None without known or
    varying pileup, or when nothing passes.
    """
    if pileup is None or not passed.any():
        return None
    away = pileup.astype(np.float64) - pileup.mean(dtype=np.float64)
    scale = (away**2).sum() * passed.mean()
    if scale == 0:
        return None
    return {
        "value": float(away[passed].sum() / scale),
        "error": float(np.sqrt((away[passed] ** 2).sum()) / scale),
    }


def _shortened(config: Config, train_events: int | None, epochs: int | None) -> Config:
    if train_events is not None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, train_events=train_events))
    if epochs is not None:
        config = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=epochs))
    return config


def _train(
    config: Config, model_config: Any, strength: float, train: Events, work: Path, say: Any
) -> Network:
    """The network of the first seed, at `strength` (0: without decorrelation)."""
    from .fit import fit_seeds

    section = {**(config.decorrelation or {}), "strength": strength}
    config = dataclasses.replace(config, seeds=config.seeds[:1], decorrelation=section if strength else None)
    say(f"strength {strength:g}")
    _, (fitted,) = fit_seeds(config, model_config, train, lambda _: work / f"strength{strength:g}.npz", say)
    return fitted.model.export(config.name)


def _scores(network: Network, events: Events) -> Scores:
    from axo.scorer import exact_evaluator

    scores = exact_evaluator(network)(events.for_network(network))[0].astype(np.int64)
    if scores.max() > LARGEST:
        raise UserError(
            f"{network.name}: score word {scores.max()} is beyond {LARGEST}; measure another network"
        )
    return scores


def _line(point: Json) -> str:
    from axo.physics.variables import PRIMARY

    largest = max(point["mutual_information"][name] for name in PRIMARY)
    pure = [f"{khz} {found['pure'].get('geometric_mean', 0):.5f}" for khz, found in point["points"].items()]
    return (
        f"{point['name']}: largest mutual information {largest:.4f} nats; pure efficiency {', '.join(pure)}"
    )


def to_markdown(document: Json) -> str:
    """The points as tables."""
    points = document["points"]
    section = document["config"]["decorrelation"]
    weights = section.get("variables")
    about = (
        f"Configuration `{document['config']['name']}`, method `{section['method']}`"
        + (f", variables and weights {weights}" if isinstance(weights, dict) else "")
        + f"; {document['config']['training']['epochs']} epochs of "
        f"{document['config']['data']['train_events'] or 'all'} events, one seed a strength; menu "
        f"`{document['menu']}`. Intervals of the efficiencies (Clopper-Pearson, 68.3 %) are in "
        "`decorrelation.json`."
    )
    information = Table(
        ["", *points[0]["mutual_information"]],
        [[p["name"], *(f"{v:.4f}" for v in p["mutual_information"].values())] for p in points],
    )
    sections = [
        Section("Mutual information with the trigger variables (nats)", table=information),
        *(
            Section(f"{title} {khz}", table=_efficiencies(points, khz, kind))
            for khz in points[0]["points"]
            for kind, title in (("pure", "Pure efficiency at a pure rate of"), ("total", "Efficiency at"))
        ),
    ]
    return Page("Decorrelation from the existing triggers", sections, [about]).markdown()


def _efficiencies(points: Sequence[Json], khz: str, kind: str) -> Table:
    signals = list(points[0]["points"][khz][kind]["signals"])
    last = "total rate (kHz)" if kind == "pure" else "rate per interaction (%)"
    rows = []
    for point in points:
        found = point["points"][khz][kind]
        cells = [f"{found['signals'][name]['value']:.4f}" for name in signals]
        mean = f"{found['geometric_mean']:.5f}" if signals else ""
        if kind == "pure":
            extra = f"{found['total_rate_khz']:.1f}"
        else:
            slope = found["pileup_slope"]
            extra = f"{100 * slope['value']:.2f} ± {100 * slope['error']:.2f}" if slope else ""
        rows.append([point["name"], mean, *cells, extra])
    return Table(["", "geometric mean", *signals, last], rows)


def draw(document: Json) -> bytes:
    """Mutual information and efficiencies against the strength, PNG; other points as levels."""
    from axo.report.pictures import panels, png

    curve = [point for point in document["points"] if point.get("strength")]
    zero = next((point for point in document["points"] if point.get("strength") == 0), None)
    figure, (left, right) = panels((11, 4.5), columns=2)
    strengths = [point["strength"] for point in curve]
    for name in document["points"][0]["mutual_information"]:
        values = [max(point["mutual_information"][name], 1e-5) for point in curve]
        (drawn,) = left.plot(strengths, values, "o-", markersize=4, label=name)
        if zero is not None:
            left.axhline(max(zero["mutual_information"][name], 1e-5), color=drawn.get_color(), lw=0.7, ls=":")
    left.set(xscale="log", yscale="log", xlabel="strength", ylabel="mutual information (nats)")
    left.set_title("dotted: without decorrelation", fontsize=9)
    left.legend(fontsize=7)
    for khz in document["points"][0]["points"]:
        for kind, style in (("pure", "o-"), ("total", "s--")):
            means = [point["points"][khz][kind].get("geometric_mean", 0.0) for point in curve]
            label = f"pure efficiency, {khz} pure" if kind == "pure" else f"efficiency, {khz}"
            (drawn,) = right.plot(strengths, means, style, markersize=4, label=label)
            if zero is not None:
                level = zero["points"][khz][kind].get("geometric_mean", 0.0)
                right.axhline(level, color=drawn.get_color(), lw=0.7, ls=":")
    right.set(xscale="log", yscale="log", xlabel="strength", ylabel="geometric mean over the signals")
    right.legend(fontsize=7)
    for axes in (left, right):
        axes.set_xticks(strengths, [f"{strength:g}" for strength in strengths])
        axes.set_xticks([], minor=True)
    return png(figure)
