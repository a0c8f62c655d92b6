"""Train a model from a YAML configuration and export it: network file, Keras model, model card.

  axo train axo_v3                          the shipped configuration, into build/models/axo_v3
  axo train axo_v3 --data /path/to/data     the events are there
  axo train my.yaml --output models/mine

Every seed of the configuration is trained on zero bias; the one with the lowest validation loss is
released (signals are looked at afterwards, for the card). Interrupt it at will: the same command
resumes after the last finished epoch and ends in the same weights. The work folder has the loss of every
epoch for TensorBoard (tensorboard --logdir build/train/NAME/tensorboard) and the network of every seed,
for axo select.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from axo.config import to_plain
from axo.errors import UserError

if TYPE_CHECKING:
    from axo.events import Events
    from axo.models.scaling import Scaling
    from axo.network import Network

    from .config import Config
    from .fit import Fitted

Words = NDArray[Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo train``."""
    parser.add_argument("config", help="name of a shipped configuration, or a YAML file")
    parser.add_argument("--data", help="folder of the events (default: the configuration's)")
    parser.add_argument("--output", help="folder of the artefact (default: build/models/NAME)")
    parser.add_argument("--work", help="folder of the checkpoints (default: build/train/NAME)")


def run(args: argparse.Namespace) -> int:
    """Run ``axo train``."""
    from .config import read_training

    config, model_config = read_training(args.config, args.data)
    output = Path(args.output or f"build/models/{config.name}")
    work = Path(args.work or f"build/train/{config.name}")
    card = train(config, model_config, output, work, say=lambda line: print(line, flush=True))
    print(f"wrote {output}: released seed {card['released_seed']}, network sha256 {card['network_sha256']}")
    return 0


def train(config: Config, model_config: Any, output: Path, work: Path, say: Any) -> dict[str, Any]:
    """Train all seeds, release one into folder `output`; returns the model card.

    `work` keeps the checkpoints; `say` gets lines of progress. Raises UserError for data that
    cannot be read or are too few for the working points.
    """
    from .fit import fit_seeds

    train, test, signals = _read(config)
    scaling, fitted = fit_seeds(config, model_config, train, lambda seed: work / f"seed{seed}.npz", say)
    words = train.for_network(scaling.layout)
    say("evaluating on the test events and the signals")
    evaluated = [_evaluate(config, one, work, test, signals) for one in fitted]
    chosen = min(range(len(fitted)), key=lambda i: fitted[i].validation["loss"])
    return _release(config, scaling, fitted, evaluated, chosen, (words, test, signals), output)


@dataclasses.dataclass(frozen=True)
class _Evaluated:
    """One seed after training: its network (with thresholds), the saved Keras model, its figures."""

    network: Network
    keras_path: Path
    figures: dict[str, Any]


def _read(config: Config) -> tuple[Events, Words, dict[str, Words]]:
    """Training events, and the words that the network reads of the test events and of each signal."""
    from axo.events.sources import read_events

    data, layout = config.data, config.inputs.network_layout()

    def words(name: str) -> Words:
        path = data.path(name)
        try:
            return read_events(path).for_network(layout)
        except UserError as error:
            raise error if path in str(error) else UserError(f"{path}: {error}") from error

    train = read_events(data.path(data.train), limit=data.train_events)
    test = words(data.test)
    signals = {name: words(file) for name, file in data.signals.items()}
    if len(train) < 10 * data.validation_stride:
        raise UserError(f"{data.path(data.train)}: {len(train)} events are too few to train on")
    # Fail before the training, not after it, when the rarest working point cannot be told.
    _require_events(config, len(test))
    return train, test, signals


def _require_events(config: Config, events: int) -> None:
    from axo.physics.rates import ScoreHistogram

    from .figures import thresholds

    try:
        thresholds(ScoreHistogram(np.array([events], np.int64)), config.release)
    except UserError as error:
        raise UserError(f"{config.data.path(config.data.test)}: {error}") from error


def _evaluate(
    config: Config, fitted: Fitted, work: Path, test: Words, signals: dict[str, Words]
) -> _Evaluated:
    from axo.models.evaluate import write_keras
    from axo.network import write_network
    from axo.scorer import exact_evaluator

    from .figures import figures

    network = fitted.model.export(config.name)
    path = work / f"seed{fitted.seed}.keras"
    write_keras(path, fitted.model.encoder)
    # The released seed's Keras model is compared with the network before it is written.
    evaluate = exact_evaluator(network)
    scores = evaluate(test)[0]
    found = {name: evaluate(words)[0] for name, words in signals.items()}
    result = figures(scores, found, network, config.release)
    points = {name: point["threshold_word"] for name, point in result["rates"].items()}
    network = dataclasses.replace(network, thresholds=points)
    write_network(work / f"seed{fitted.seed}.network.json", network)  # for axo select
    return _Evaluated(network, path, result)


def _release(
    config: Config,
    scaling: Scaling,
    fitted: list[Fitted],
    evaluated: list[_Evaluated],
    chosen: int,
    data: tuple[Words, Words, dict[str, Words]],
    output: Path,
) -> dict[str, Any]:
    from axo.files import write_json, write_text
    from axo.interchange.keras import cost
    from axo.models.evaluate import read_keras, write_keras
    from axo.network import digest, write_network
    from axo.provenance import json_digest, versions

    from .card import card_markdown

    words, test, signals = data
    described = _describe_data(config, words, test, signals)
    network = dataclasses.replace(
        evaluated[chosen].network,
        provenance={
            "source": f"axo train {config.name}",
            "family": config.family,
            "seed": fitted[chosen].seed,
            "config_sha256": json_digest(config.document()),
            "train_words_sha256": described["train"]["words_sha256"],
            "versions": versions(),
        },
    )
    exactness = _exactness(config, evaluated[chosen].keras_path, network, test, signals)
    seeds = [
        {
            "seed": one.seed,
            "validation_loss": one.validation["loss"],
            "validation": one.validation,
            "geometric_mean": found.figures["geometric_mean"],
            "signals": found.figures["signals"],
            "csd_digits": sum(part.csd_digits for part in cost(found.network)),
        }
        for one, found in zip(fitted, evaluated, strict=True)
    ]
    card = {
        "name": config.name,
        "family": config.family,
        "network_sha256": digest(network),
        "released_seed": fitted[chosen].seed,
        "selection": _selection(len(fitted)),
        "seeds": seeds,
        "seed_spread": _spread(seeds),
        "figures": evaluated[chosen].figures,
        "provenance": network.provenance,
        "cost": to_plain(cost(network)),
        "exactness": exactness,
        "scaling": scaling.to_json(),
        "data": described,
        "config": config.document(),
        "versions": versions(),
        "events_per_s": float(np.median([one.events_per_s for one in fitted])),
    }
    write_network(output / "network.json", network)
    write_keras(output / "model.keras", read_keras(evaluated[chosen].keras_path))
    write_json(output / "model_card.json", card)
    write_text(output / "model_card.md", card_markdown(card))
    return card


def _selection(seeds: int) -> str:
    if seeds == 1:
        return "One seed was trained, so there was no choice."
    return (
        f"{seeds} seeds were trained; the released one has the lowest loss on held-out zero bias. "
        "No signal was looked at for the choice."
    )


def _spread(seeds: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and sample standard deviation of the geometric means over seeds (two or more)."""
    from axo.physics.figures import Moments

    if len(seeds) < 2:
        return {}
    points = seeds[0]["geometric_mean"]
    means = {point: [seed["geometric_mean"][point] for seed in seeds] for point in points}
    return {point: to_plain(Moments.of(values)) for point, values in means.items()}


def _describe_data(config: Config, words: Words, test: Words, signals: dict[str, Words]) -> dict[str, Any]:
    from axo.provenance import words_digest

    named = {
        "train": (config.data.train, words),
        "test": (config.data.test, test),
        **{name: (config.data.signals[name], table) for name, table in signals.items()},
    }
    return {
        name: {"file": file, "events": len(table), "words_sha256": words_digest(table)}
        for name, (file, table) in named.items()
    }


def _exactness(
    config: Config, keras_path: Path, network: Network, test: Words, signals: dict[str, Words]
) -> dict[str, Any]:
    """Compare Keras with the reference on every kind of words; UserError at the first mismatch."""
    from axo.firmware.stimuli import KINDS, make_stimuli
    from axo.interchange.keras import require_exact_in_float32
    from axo.models.evaluate import compare

    wanted = config.release.compared_events
    simulated = [test[: wanted // 4], *(table[: wanted // 20] for table in signals.values())]
    stimuli = make_stimuli(network, wanted, [], simulated)
    events, mismatches = {}, {}
    for index, kind in enumerate(KINDS):
        words = stimuli.words[stimuli.kind == index]
        if len(words):
            agreement = compare(keras_path, network, words)
            if agreement.mismatches:
                raise UserError(f"{keras_path}: differs from the exported network at {agreement.first}")
            events[kind], mismatches[kind] = agreement.events, agreement.mismatches
    return {"events": events, "mismatches": mismatches, "largest_sum": require_exact_in_float32(network)}
