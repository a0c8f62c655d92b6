"""Gradual magnitude pruning (Zhu & Gupta 1710.01878): weights that become zero cost no logic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError


@dataclass(frozen=True)
class Pruning:
    """Fraction of zero weights to reach per layer, growing from `start` to `stop` of the training."""

    sparsity: tuple[float, ...] = (0.0, 0.0, 0.0)
    start: float = 0.2
    stop: float = 0.7

    def __post_init__(self) -> None:
        if not all(0 <= value < 1 for value in self.sparsity):
            raise UserError("every sparsity must be at least 0 and below 1")
        if not 0 <= self.start < self.stop <= 1:
            raise UserError("start and stop must satisfy 0 <= start < stop <= 1")

    def at(self, layer: int, progress: float) -> float:
        """Sparsity of `layer` at `progress` (0 to 1): a cubic that slows towards the end."""
        done = np.clip((progress - self.start) / (self.stop - self.start), 0.0, 1.0)
        return float(self.sparsity[layer] * (1 - (1 - done) ** 3))

    def mask(self, kernel: NDArray[np.floating], layer: int, progress: float) -> NDArray[np.float32]:
        """1 for the weights of `kernel` to keep, 0 for the smallest ones (ties: the first go)."""
        count = int(self.at(layer, progress) * kernel.size)
        mask = np.ones(kernel.size, np.float32)
        mask[np.argsort(np.abs(kernel), axis=None, kind="stable")[:count]] = 0
        return mask.reshape(kernel.shape)
