"""What the families' trainings share: steps of a pruned quantised network, and means on held-out events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.models.backend import import_keras, import_tensorflow
from axo.models.family import Arrays, Metrics
from axo.models.pruning import Pruning

tf, keras = import_tensorflow(), import_keras()


def quantised_dense(layers: Sequence[Any]) -> list[Any]:
    """The quantised dense layers among `layers`, in their order."""
    return [layer for layer in layers if type(layer).__name__ == "QDense"]


def require_damping(damping: float) -> None:
    """Require a `damping` that `PrunedAdam` can take."""
    if not 0 <= damping <= 1:
        raise UserError("damping must be within 0 (none) and 1")


class PrunedAdam:
    """Adam on `trainable`; the kernels of the `dense` layers keep their pruned weights at zero.

    The rate falls by half a cosine from `learning_rate` to a hundredth of it: the quantised weights
    settle. Each step also takes the weights and biases of `dense` a part of the way to their rounded
    values, a part that rises by half a cosine from 0 to `damping`: without it weights end where they
    oscillate, half-way between two values (Nagel et al. 2203.11086, section 4.1). `wired`, 1 or 0 like
    each kernel, says which weights exist at all (None: all of them).
    """

    def __init__(
        self,
        learning_rate: float,
        trainable: list[Any],
        dense: list[Any],
        pruning: Pruning,
        damping: float = 0.0,
        wired: list[NDArray[np.float32]] | None = None,
    ) -> None:
        self.trainable, self._dense, self._pruning = trainable, dense, pruning
        self._learning_rate, self._damping = learning_rate, damping
        self._kernels = kernels = [layer.kernel for layer in dense]
        self._adam = keras.optimizers.Adam(learning_rate)
        self._adam.build(trainable)
        self._wired = wired or [np.ones(kernel.shape, np.float32) for kernel in kernels]
        self._masks = [tf.Variable(wired, trainable=False) for wired in self._wired]
        self.mask()

    @property
    def variables(self) -> list[Any]:
        """The trainable variables and the optimiser's state."""
        return [*self.trainable, *self._adam.variables, *self._masks]

    def step(self, gradients: Sequence[Any], progress: Any) -> None:
        """One step at `progress` (0 to 1); `mask` is still to be called."""
        falling = 0.5 * (1 + tf.cos(np.pi * tf.cast(progress, tf.float32)))
        rate = 0.01 + 0.99 * falling
        self._adam.learning_rate.assign(self._learning_rate * rate)
        self._adam.apply(gradients, self.trainable)
        if self._damping:
            self._damp(self._damping * (1 - falling))

    def _damp(self, part: Any) -> None:
        for layer in self._dense:
            for weight, rounded in ((layer.kernel, layer.qkernel), (layer.bias, layer.qbias)):
                weight.assign_add(part * (rounded - weight))

    def mask(self) -> None:
        """Set the pruned weights to zero."""
        for kernel, mask in zip(self._kernels, self._masks, strict=True):
            kernel.assign(kernel * mask)

    def prune(self, progress: float) -> None:
        """Choose anew, between epochs, which weights are pruned."""
        for i, (kernel, mask, wired) in enumerate(zip(self._kernels, self._masks, self._wired, strict=True)):
            mask.assign(self._pruning.mask(kernel.numpy(), i, progress) * wired)
        self.mask()


def mean_metrics(
    loss: Callable[[Arrays, int], Metrics], arrays: Arrays, order: NDArray[np.int64], chunk: int = 16384
) -> Metrics:
    """Means over the rows in `order` of what `loss` gives for each part of them, by name.

    `loss` gets a part of the `arrays` as tensors, and where in `order` it starts, to seed noise with.
    """
    total: Metrics = {}
    for start in range(0, len(order), chunk):
        rows = order[start : start + chunk]
        for name, value in loss(tuple(tf.constant(array[rows]) for array in arrays), start).items():
            total[name] = total.get(name, 0.0) + float(value) * len(rows)
    return {name: value / len(order) for name, value in total.items()}
