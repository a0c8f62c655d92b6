"""The limits of this machine, measured: clock, dot-product rate, memory bandwidth."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from axo.emulator.kernel.build import has_vnni, library
from axo.emulator.kernel.plan import Plan
from axo.network import Network

LANES = 16
"""Events per 512-bit dot-product instruction."""


@dataclass(frozen=True)
class Limits:
    """Of one core: `clock_ghz` and `dot_products_per_s` under 512-bit load (None without VNNI).

    Of `threads` together: `read_bytes_per_s` from memory.
    """

    clock_ghz: float | None
    dot_products_per_s: float | None
    read_bytes_per_s: dict[int, float]


def measure_limits(words: NDArray[np.int16], threads: list[int], repeats: int = 20) -> Limits:
    """Best of `repeats`; `words` (any int16 array far beyond the caches) is what is read."""
    probe = library(resources.files("axo.emulator").joinpath("limits.c").read_text(), has_vnni())
    probe.axo_read.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    clock = dots = None
    if has_vnni():
        turns = 20_000
        clock = 16 * turns / _best_s(partial(probe.axo_cycles, ctypes.c_int64(turns)), repeats) * 1e-9
        dots = 12 * turns / _best_s(partial(probe.axo_dots, ctypes.c_int64(turns)), repeats)
    flat = words.reshape(-1)
    bandwidth = {n: flat.nbytes / _best_s(partial(_read, probe, flat, n), repeats) for n in threads}
    return Limits(clock, dots, bandwidth)


def dot_products_per_event(network: Network) -> float | None:
    """Dot-product instructions that the kernel spends on one event; None when it uses none."""
    plan = Plan(network, vnni=True)
    used = 0
    for name, product in plan.dots.items():
        packing = plan.packings[plan.network.operation(name).input]
        used += int(packing.weights(product.weight).any(axis=1).sum())
    return used / LANES if used else None


def _read(probe: ctypes.CDLL, flat: NDArray[np.int16], threads: int) -> None:
    parts = np.array_split(flat, threads)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: probe.axo_read(part.ctypes.data, part.nbytes // 8), parts))


def _best_s(work: Callable[[], object], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best
