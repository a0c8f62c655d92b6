"""Scores of everything that is compared: models from their exact networks, and the baselines."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.firmware.models import Model
from axo.network import Dense, digest
from axo.physics.sample import Sample

from .evaluation_samples import Samples

Say = Callable[[str], None]
Rows = NDArray[np.int64]
Values = NDArray[Any]

HELD_OUT = 5
"""Every fifth zero-bias event, and every second signal event, fits the ceiling and does not test it."""

LEAST_FIT = 500

COMPARED = 100_000
"""Zero-bias events on which the Keras model is compared with the network, besides all signal events."""


@dataclass(frozen=True, eq=False)
class Tested:
    """Scores of one signal and of the zero bias that it is compared with, and which rows these are."""

    background: Values
    background_rows: Rows
    signal: Values
    signal_rows: Rows


@dataclass(frozen=True, eq=False)
class Detector:
    """A score: `kind` is model, baseline or ceiling. `about` goes to the document as it is.

    `background` (n,) are its scores of all zero bias, None where each signal has a score of its own.
    """

    name: str
    kind: str
    tested: dict[str, Tested]
    background: Values | None
    about: dict[str, Any] = field(default_factory=dict)
    parents: dict[str, Detector] = field(default_factory=dict)


def detector_of(
    name: str, kind: str, score: Callable[[Sample], Values], samples: Samples, **more: Any
) -> Detector:
    """A detector with one score for all events."""
    background = score(samples.background)
    rows = np.arange(len(background))
    tested = {
        signal: Tested(background, rows, score(sample), np.arange(len(sample.events)))
        for signal, sample in samples.signals.items()
    }
    return Detector(name, kind, tested, background, **more)


# Models


def model_detectors(models: Sequence[Model], samples: Samples, say: Say) -> list[Detector]:
    """One detector a model, with its float parents. Raises UserError for the same network twice."""
    seen: dict[str, Model] = {}
    for model in models:
        bare = replace(model.network, name="", thresholds={}, provenance={})
        if (same := seen.setdefault(digest(bare), model)) is not model:
            raise UserError(f"{model.path}: is the same network as {same.path}; name each once")
    names = _names(models)
    return [_model(model, name, samples, say) for model, name in zip(models, names, strict=True)]


def _names(models: Sequence[Model]) -> list[str]:
    """The networks' names; with folder and file where several share one."""
    plain = [model.name for model in models]
    return [
        name
        if plain.count(name) == 1
        else f"{name} ({model.path.parent.name}/{model.path.name.split('.')[0]})"
        for name, model in zip(plain, models, strict=True)
    ]


def _model(model: Model, name: str, samples: Samples, say: Say) -> Detector:
    from axo.scorer import exact_evaluator

    say(f"{name}: exact scores")
    evaluate = exact_evaluator(model.network)
    about: dict[str, Any] = {"network_sha256": digest(model.network), "card": _card(model)}
    detector = detector_of(
        name, "model", lambda s: evaluate(s.events.for_network(model.network))[0], samples, about=about
    )
    parents, arithmetic = _parents(model, name, detector, samples, say)
    about["arithmetic"] = arithmetic
    return Detector(name, "model", detector.tested, detector.background, about, parents)


def _card(model: Model) -> dict[str, Any] | None:
    """What the model card beside the network says of its training, when it is that network's."""
    from axo.files import read_json

    path = model.path.with_name("model_card.json")
    if not path.is_file():
        return None
    card = read_json(path)
    if not isinstance(card, dict) or card.get("network_sha256") != digest(model.network):
        raise UserError(f"{path}: is of another network than {model.path.name}; train or export again")
    return {key: card.get(key) for key in ("family", "released_seed", "selection", "seeds", "seed_spread")}


def _parents(
    model: Model, name: str, detector: Detector, samples: Samples, say: Say
) -> tuple[dict[str, Detector], dict[str, Any]]:
    """The same weights without quantisers, and how the quantised Keras model compares."""
    if model.keras_path is None:
        return {}, {"absent": f"{model.path.name} has no model.keras beside it"}
    say(f"{name}: Keras model, quantised and float")
    from axo.network.real import evaluate_real

    network, weights = model.network, _weights(model)
    lacking = [o.name for o in network.operations if isinstance(o, Dense) and o.name not in weights]
    arithmetic = _quantised(model, detector, samples)
    if lacking:
        return {}, arithmetic | {"absent": f"the Keras model has no layer called {lacking[0]!r}"}
    parents = {
        kind: detector_of(
            f"{name} {kind}",
            "float",
            lambda s, clip=clip: evaluate_real(network, weights, s.events.for_network(network), clip),  # type: ignore[misc]
            samples,
        )
        for kind, clip in (("float", False), ("float_saturating", True))
    }
    return parents, arithmetic


def _weights(model: Model) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Unrounded kernels and biases of the Keras model, by layer name."""
    from axo.models.evaluate import read_keras

    assert model.keras_path is not None
    found = {}
    for layer in read_keras(model.keras_path).layers:
        if hasattr(layer, "kernel"):
            kernel = np.asarray(layer.kernel, np.float64)
            bias = np.zeros(kernel.shape[1]) if layer.bias is None else np.asarray(layer.bias, np.float64)
            found[layer.name] = kernel, bias
    return found


def _quantised(model: Model, detector: Detector, samples: Samples) -> dict[str, Any]:
    """Compare the quantised Keras model with the network: all signal events, and zero bias in part."""
    from axo.models.evaluate import evaluate_keras

    assert model.keras_path is not None and detector.background is not None
    stride = max(len(detector.background) // COMPARED, 1)
    network = model.network
    pairs = [(samples.background.events[::stride].for_network(network), detector.background[::stride])]
    pairs += [
        (s.events.for_network(network), detector.tested[name].signal) for name, s in samples.signals.items()
    ]
    words = np.concatenate([pair[0] for pair in pairs])
    exact = np.concatenate([pair[1] for pair in pairs])
    keras = evaluate_keras(model.keras_path, network, words)[0]
    return {"quantised_events": len(words), "quantised_mismatches": int((keras != exact).sum())}


# Baselines


def baseline_detectors(samples: Samples, cache: Path, say: Say) -> list[Detector]:
    """HT cut, isolation forest and the supervised ceiling; scores are kept in `cache` for the same events."""
    from axo.physics.baselines import leading_ht

    forest = _forest(samples, cache, say)
    ceiling = {name: _supervised(samples, name, cache, say) for name in samples.signals}
    return [
        detector_of("HT cut", "baseline", lambda s: leading_ht(s.events), samples),
        detector_of("isolation forest", "baseline", lambda s: forest[s.name], samples),
        Detector("supervised", "ceiling", ceiling, None),
    ]


def require_enough_to_fit(samples: Samples) -> None:
    """Raise UserError when a sample is too small for the baselines."""
    events = [(samples.background, len(samples.background.events) // HELD_OUT)]
    events += [(s, len(s.events) // 2) for s in samples.signals.values()]
    for sample, left in events:
        if left < LEAST_FIT:
            raise UserError(
                f"{sample.file}: leaves {left} events to fit the baselines on, fewer than {LEAST_FIT}; "
                "give more, or --no-baselines"
            )


def _forest(samples: Samples, cache: Path, say: Say) -> dict[str, Values]:
    from axo.physics.baselines import FOREST, IsolationForest

    def compute() -> dict[str, Values]:
        say("isolation forest")
        forest = IsolationForest(samples.background.events.words[::HELD_OUT])
        return {sample.name: forest.scores(sample.events.words) for sample in samples.all()}

    key = ["isolation forest", FOREST, *([s.name, s.digest] for s in samples.all())]
    return _cached(cache, key, compute)


def _supervised(samples: Samples, name: str, cache: Path, say: Say) -> Tested:
    from axo.physics.baselines import BOOSTING, Supervised

    background, signal = samples.background.events.words, samples.signals[name].events.words
    fit = np.arange(len(background)) % HELD_OUT == 0

    def compute() -> dict[str, Values]:
        say(f"supervised classifier of {name}")
        classifier = Supervised(background[fit], signal[::2])
        return {
            "background": classifier.scores(background[~fit]),
            "signal": classifier.scores(signal[1::2]),
        }

    key = ["supervised", BOOSTING, samples.background.digest, samples.signals[name].digest]
    scores = _cached(cache, key, compute)
    rows = np.flatnonzero(~fit), np.arange(1, len(signal), 2)
    return Tested(scores["background"], rows[0], scores["signal"], rows[1])


def default_cache() -> Path:
    """Where fitted baselines' scores are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "axo" / "evaluate"


def _cached(folder: Path, key: list[Any], compute: Callable[[], dict[str, Values]]) -> dict[str, Values]:
    """Arrays of an earlier run with the same events, settings and scikit-learn, or computed now."""
    import sklearn

    from axo.files import replacing
    from axo.provenance import json_digest

    path = folder / f"{json_digest([*key, HELD_OUT, sklearn.__version__])[:32]}.npz"
    if path.is_file():
        try:
            with path.open("rb") as file, np.load(file) as kept:
                return dict(kept)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            pass  # damaged: computed again
    arrays = compute()
    with replacing(path) as temporary, temporary.open("wb") as written:
        np.savez(written, **arrays)  # type: ignore[arg-type]
    return arrays
