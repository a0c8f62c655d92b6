"""The training loop: one seed of one family on raw words, reproducible and resumable."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.decorrelators.method import Method, make_method
from axo.errors import UserError
from axo.events import Events, Words
from axo.models.family import Family, find_family
from axo.models.scaling import Scaling, learn_scaling
from axo.provenance import json_digest, versions, words_digest

from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .config import Config
from .scalars import Scalars

Rows = NDArray[np.int64]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Fitted:
    """A trained `model`, its metrics per epoch, those on the `validation` events, and the speed."""

    seed: int
    model: Family
    history: list[dict[str, float]]
    validation: dict[str, float]
    events_per_s: float


def fit_seeds(
    config: Config,
    model_config: Any,
    events: Events,
    checkpoint: Callable[[int], Path],
    say: Say,
) -> tuple[Scaling, list[Fitted]]:
    """Train every seed of `config` on zero-bias `events`; the input scaling, and the models.

    Every `data.validation_stride`-th event is held out, of the scaling as well; `checkpoint` gives the
    file of a seed. See `fit`. Raises UserError for events without the objects that the network reads.
    """
    layout = config.inputs.network_layout()
    words = events.for_network(layout)
    held_out = np.arange(len(events)) % config.data.validation_stride == 0
    train, validation = events[~held_out], words[held_out]
    scaling = learn_scaling(words[~held_out], config.scaling, layout)
    shaping = {"config": config.training_document(), "words": words_digest(words), "versions": versions()}
    fitted = [
        fit(
            config,
            model_config,
            scaling,
            train,
            validation,
            seed,
            checkpoint(seed),
            json_digest({**shaping, "seed": seed}),
            say,
        )
        for seed in config.seeds
    ]
    return scaling, fitted


def fit(
    config: Config,
    model_config: Any,
    scaling: Scaling,
    events: Events,
    validation: Words,
    seed: int,
    checkpoint: Path,
    fingerprint: str,
    say: Say,
) -> Fitted:
    """Train one seed on `events`; `validation` are the held-out words (n, n_words).

    Resumes from `checkpoint` if a training of this `fingerprint` wrote it. An interrupted and resumed
    training ends in the same weights as an uninterrupted one: the order of events depends on seed and
    epoch alone, noise on seed and step. `events_per_s` is the median over epochs. Raises UserError when
    the loss is no longer finite.
    """
    train = events.for_network(scaling.layout)
    model = find_family(config.family)(model_config, scaling, seed, train)
    epochs, batch = config.training.epochs, min(config.training.batch, len(train))
    steps = len(train) // batch
    state = read_checkpoint(checkpoint, fingerprint)
    done, history = (state.epochs, state.history) if state else (0, [])
    if state:
        for variable, value in zip(model.variables, state.values, strict=True):
            variable.assign(value)
        say(f"seed {seed}: resumed after epoch {done} of {epochs}")
    held_out = model.prepare(validation)
    # The same rows for every seed, for their losses are compared.
    drawn = _order(model.frequency(validation), len(validation), np.random.default_rng(0))
    frequency = model.frequency(train)
    method = None
    if config.decorrelation is not None:
        method = make_method(config.decorrelation, "decorrelation")
    run_epoch = None
    if done < epochs:
        beside = () if method is None else method.prepare(events, frequency)
        run_epoch = _epoch(model, method, model.prepare(train), beside, batch, steps, epochs)
    scalars = Scalars(checkpoint.parent / "tensorboard" / f"seed{seed}", history)
    while run_epoch is not None and done < epochs:
        begun = time.perf_counter()
        order = _order(frequency, len(train), np.random.default_rng([seed, done]))
        metrics = run_epoch(order[: steps * batch], done)
        done += 1
        model.end_epoch(done / epochs)
        spent = time.perf_counter() - begun
        metrics |= {f"validation_{name}": value for name, value in model.validate(held_out, drawn).items()}
        if not np.isfinite(list(metrics.values())).all():
            raise UserError(f"seed {seed}, epoch {done}: the loss is not finite; lower the learning rate")
        history = [*history, metrics | {"events_per_s": steps * batch / spent}]
        write_checkpoint(
            checkpoint, fingerprint, Checkpoint(done, [v.numpy() for v in model.variables], history)
        )
        scalars.write(history[-1])
        say(
            f"seed {seed}: epoch {done}/{epochs}  loss {metrics['loss']:.4f}  validation "
            f"{metrics['validation_loss']:.4f}  {steps * batch / spent:,.0f} events/s"
        )
    scalars.close()
    speed = float(np.median([metrics["events_per_s"] for metrics in history]))
    metrics = model.validate(held_out, drawn)
    if method is not None:
        # Seeds are compared by what was minimised; the last epoch's mean is of a million events.
        penalty = history[-1]["penalty"]
        metrics |= {"loss": metrics["loss"] + penalty, "penalty": penalty}
    return Fitted(seed, model, history, metrics, speed)


def _order(frequency: NDArray[np.float64] | None, events: int, generator: np.random.Generator) -> Rows:
    """Row numbers (events,): a permutation, or drawn with replacement by `frequency`."""
    if frequency is None:
        return generator.permutation(events)
    return generator.choice(events, events, p=frequency / frequency.sum())


def _epoch(
    model: Family,
    method: Method | None,
    arrays: tuple[NDArray[Any], ...],
    beside: tuple[NDArray[Any], ...],
    batch: int,
    steps: int,
    epochs: int,
) -> Callable[[NDArray[np.int64], int], dict[str, float]]:
    """A function (order of events, epoch) -> mean metrics, that runs a whole epoch inside TensorFlow.

    `arrays` are the model's, `beside` those of the decorrelation, if any: rows of both are drawn together.
    """
    from axo.models.backend import import_tensorflow

    tf = import_tensorflow()
    constants = tuple(tf.constant(array) for array in (*arrays, *beside))
    total = float(steps * epochs)

    # Compiling with XLA takes half a minute and gives a third more speed.
    @tf.function(jit_compile=total > 500)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def one(rows: Any, step: Any) -> Any:
        rows, known = rows[: len(arrays)], rows[len(arrays) :]
        penalty = None if method is None else lambda scores: method.penalty(scores, known)
        return model.train_step(rows, step, tf.cast(step, tf.float32) / total, penalty)

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def whole(order: Any, first: Any) -> Any:
        def body(i: Any, totals: Any) -> Any:
            rows = tuple(tf.gather(array, order[i * batch : (i + 1) * batch]) for array in constants)
            metrics = one(rows, first + i)
            return i + 1, {name: totals[name] + metrics[name] for name in totals}

        rows = tuple(tf.zeros((batch, *array.shape[1:]), array.dtype) for array in constants)
        names = one.get_concrete_function(rows, tf.constant(0)).structured_outputs
        zeros = {name: tf.constant(0.0) for name in names}
        return tf.while_loop(lambda i, _: i < steps, body, (tf.constant(0), zeros))[1]

    def run(order: NDArray[np.int64], epoch: int) -> dict[str, float]:
        totals = whole(tf.constant(order), tf.constant(epoch * steps))
        return {name: float(value) / steps for name, value in totals.items()}

    return run
