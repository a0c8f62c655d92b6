"""Score words of many events: by the fast exact kernel where one is installed, else by the reference.

The library depends on no program: the emulator offers its kernel as axo's entry point
``axo.exact_evaluator`` (setup.cfg); both evaluations give the same integers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from axo.network import Network, evaluate
from axo.plugins import offered

OFFER = "axo.exact_evaluator"
"""Entry points: a class made of a network, with a method `evaluate` like an `Evaluate`."""

Evaluate = Callable[[NDArray[np.int16]], tuple[NDArray[np.int32], NDArray[np.int32]]]


def exact_evaluator(network: Network) -> Evaluate:
    """A function of C-contiguous words (n, n_words) of the network's type: score words (n,) int32, embedding
    words (n, k) int32."""
    for entry in offered(OFFER):
        evaluator: Evaluate = entry.load()(network).evaluate
        return evaluator
    return lambda words: _reference(network, words)


def _reference(network: Network, words: NDArray[np.int16]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    result = evaluate(network, words)
    return result.score_word, result.embedding_word
