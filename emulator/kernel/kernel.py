"""Words in, score words out: a network compiled for this machine and run on all its cores."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from axo.emulator.kernel.build import NoCompiler, has_vnni, library
from axo.emulator.kernel.source import generate
from axo.network import Network, analyse, evaluate
from axo.network.reference import require_word_bounds

BACKENDS = ("vnni", "c", "numpy")
"""Fastest first: dot-product instructions, portable C, the reference in numpy."""

Function = Callable[..., int]

Words = NDArray[np.int16] | NDArray[np.int32]

CHUNK = 32768
"""Events per task of a thread: a few milliseconds at most, so that cores finish together."""


class Kernel:
    """`network`, ready to evaluate words exactly as axo.network.evaluate does.

    Words are int16; int32 when the layout needs them.

    `threads` defaults to the processors this process may use. `backend` chooses one of BACKENDS;
    by default it is the fastest that this machine has, and a machine without a C compiler is told
    so once on standard error. Raises UserError when the network needs more than int64 or when
    `backend` asks for a compiler that is not there, ValueError for another backend.
    """

    def __init__(self, network: Network, threads: int | None = None, backend: str | None = None) -> None:
        if backend is not None and backend not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, not {backend!r}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.network = network
        self.threads = threads or len(os.sched_getaffinity(0))
        self._embedding_size = network.sizes[network.embedding]
        if backend is None:
            self.backend, self._function = _fastest(network)
        else:
            self.backend, self._function = backend, _build(network, backend)

    def scores(self, words: Words) -> NDArray[np.int32]:
        """Score words (n,) int32 of `words` (n, words), C-contiguous, of the layout's type.

        Raises ValueError for words of another shape, type or order in memory, or that the network does
        not take (Network.word_bounds; any int16 is fine).
        """
        return self._run(words, embedding=False)[0]

    def evaluate(self, words: Words) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Score words (n,) and embedding words (n, size), both int32, of `words` as in scores."""
        score, embedding = self._run(words, embedding=True)
        assert embedding is not None
        return score, embedding

    def _run(self, words: Words, embedding: bool) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
        self._check(words)
        function = self._function
        if function is None:
            result = evaluate(self.network, words, CHUNK)
            return result.score_word, result.embedding_word
        score = np.empty(len(words), np.int32)
        embedded = np.empty((len(words), self._embedding_size), np.int32) if embedding else None

        def run(part: slice) -> int:
            address = None if embedded is None else embedded[part].ctypes.data
            rows = words[part]
            return function(rows.ctypes.data, len(rows), score[part].ctypes.data, address)

        parts = [slice(first, first + CHUNK) for first in range(0, len(words), CHUNK)]
        if self.threads == 1 or len(parts) < 2:
            failures = [run(part) for part in parts]
        else:
            with ThreadPoolExecutor(min(self.threads, len(parts))) as pool:
                failures = list(pool.map(run, parts))
        if any(failures):
            raise MemoryError("no memory for the kernel's buffers")
        return score, embedded

    def _check(self, words: Words) -> None:
        n_words = len(self.network.words)
        if not isinstance(words, np.ndarray) or words.ndim != 2 or words.shape[1] != n_words:
            shape = words.shape if isinstance(words, np.ndarray) else type(words).__name__
            raise ValueError(f"words must be an array (n, {n_words}), not {shape}")
        dtype = np.dtype(self.network.layout.dtype)
        if words.dtype != dtype or not words.flags.c_contiguous:
            order = "C-contiguous" if words.flags.c_contiguous else "not C-contiguous"
            raise ValueError(
                f"words must be C-contiguous {dtype}, not {words.dtype}, {order}; "
                f"use np.ascontiguousarray(words, np.{dtype}) where the values fit"
            )
        require_word_bounds(self.network, words)


def _fastest(network: Network) -> tuple[str, Function | None]:
    """The first backend that can be built here, and its function; a detour is said once."""
    wanted = BACKENDS if has_vnni() else BACKENDS[1:]
    reason = ""
    for backend in wanted:
        try:
            function = _build(network, backend)
        except NoCompiler as error:
            reason = str(error)
            continue
        if reason:
            _say_once(
                f"axo: {reason}; evaluating with {backend}, exactly but {_SLOWER[backend]} times slower"
            )
        return backend, function
    raise AssertionError("numpy needs no compiler")


_SLOWER = {"c": "some ten", "numpy": "about a thousand"}


def _build(network: Network, backend: str) -> Function | None:
    """The C function ``axo_evaluate`` of `network` (ctypes lets other threads run meanwhile).

    None for the backend numpy, which serves any network that the interval analysis accepts.
    """
    if backend == "numpy":
        analyse(network, hardware_words=False)
        return None
    vnni = backend == "vnni"
    function = library(generate(network, vnni), vnni).axo_evaluate
    function.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p]
    function.restype = ctypes.c_int
    return function


_SAID: set[str] = set()


def _say_once(message: str) -> None:
    if message not in _SAID:
        _SAID.add(message)
        print(message, file=sys.stderr)
