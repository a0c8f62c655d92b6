"""Score words of many events: by the fast exact kernel where it is installed, else by the reference.

The library names the kernel's module as `axo.cli` names its verbs, and imports it only when asked, so
that it depends on no program; both evaluations give the same integers.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.network import Network, evaluate

KERNEL = ("axo.emulator.kernel", "Kernel")

Evaluate = Callable[[NDArray[np.int16]], tuple[NDArray[np.int32], NDArray[np.int32]]]


def exact_evaluator(network: Network) -> Evaluate:
    """A function of C-contiguous words (n, n_words) of the network's type: score words (n,) int32, embedding
    words (n, k) int32."""
    module, name = KERNEL
    try:
        kernel: Any = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        return lambda words: _reference(network, words)
    return kernel(network).evaluate


def _reference(network: Network, words: NDArray[np.int16]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    result = evaluate(network, words)
    return result.score_word, result.embedding_word
