"""Evaluation of a released Keras model on raw words, as integers: one of the firmware's five."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError
from axo.files import replacing
from axo.interchange.keras import as_values, require_exact_in_float32
from axo.models.backend import import_keras, import_qkeras
from axo.network import WORDS, Network, evaluate
from axo.network.reference import apply

INPUT = "network_input"
"""The tensor that a released Keras model reads."""


def read_keras(path: str | os.PathLike[str]) -> Any:
    """Load a saved Keras model; UserError when it is absent or damaged."""
    keras = import_keras()
    import_qkeras()  # registers the layers
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be read as a Keras model ({line}); export it again") from error


def write_keras(path: str | os.PathLike[str], model: Any) -> None:
    """Save a Keras model atomically, without optimiser state; `path` ends in ``.keras``."""
    with replacing(path) as temporary:
        named = temporary.with_name(f"{temporary.name}.keras")  # Keras insists on the suffix
        model.save(named)
        named.replace(temporary)


def evaluate_keras(
    model_path: str | os.PathLike[str], network: Network, words: ArrayLike, batch: int = 16384
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Score words (n,) and embedding words (n, k), int32, of the Keras model on `words` (n, n_words).

    The network's operations up to ``network_input`` give the model its exact inputs, TensorFlow does
    the layers, and the operations after the embedding make the score.

    Raises UserError when float32 could not be exact for this network (see
    `require_exact_in_float32`), when an output is not on the grid of the embedding's type, or when
    the file is no Keras model.
    """
    require_exact_in_float32(network)
    model = read_keras(model_path)
    words = np.asarray(words)
    scores, embeddings = [], []
    for start in range(0, max(len(words), 1), batch):
        score, embedding = _evaluate(model, network, words[start : start + batch])
        scores.append(score)
        embeddings.append(embedding)
    return np.concatenate(scores), np.concatenate(embeddings)


def _evaluate(
    model: Any, network: Network, words: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    names = [operation.name for operation in network.operations]
    first, last = names.index(INPUT), names.index(network.embedding)
    tensors = {WORDS: words.astype(np.int64)}
    for operation in network.operations[: first + 1]:
        tensors[operation.name] = apply(operation, tensors, network.types)
    outputs = np.asarray(model(as_values(tensors[INPUT], network.types[INPUT]), training=False))
    kind = network.types[network.embedding]
    scaled = outputs.astype(np.float64) * 2.0**kind.fraction
    integers = np.rint(scaled).astype(np.int64)
    if not np.array_equal(integers, scaled) or not kind.holds(integers):
        raise UserError(f"the Keras model's outputs are not of the type {kind} of {network.embedding!r}")
    tensors[network.embedding] = integers
    for operation in network.operations[last + 1 :]:
        tensors[operation.name] = apply(operation, tensors, network.types)
    return tensors[network.score][:, 0].astype(np.int32), integers.astype(np.int32)


@dataclass(frozen=True)
class Agreement:
    """`events` compared, and how many differ in the score or in any embedding word."""

    events: int
    mismatches: int
    first: str


def compare(model_path: str | os.PathLike[str], network: Network, words: NDArray[Any]) -> Agreement:
    """Compare the Keras model with the reference evaluation, as integers, on `words` (n, n_words)."""
    reference = evaluate(network, words)
    score, embedding = evaluate_keras(model_path, network, words)
    wrong = (score != reference.score_word) | (embedding != reference.embedding_word).any(axis=1)
    first = ""
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        first = (
            f"event {i}: Keras {score[i]} {embedding[i].tolist()}, reference {reference.score_word[i]} "
            f"{reference.embedding_word[i].tolist()}, words {words[i].tolist()}"
        )
    return Agreement(len(words), int(wrong.sum()), first)
