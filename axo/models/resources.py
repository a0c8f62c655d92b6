"""Trainable bit widths: the fewest bit operations at which the loss stays below a limit.

Every weight and every activation layer has its own width, trained by gradient (HGQ, Sun et al.
2405.00645). What is minimised is the number of effective bit operations, the sum over all products of
the width of the weight times that of its input, which follows the LUTs of unrolled logic. The loss
becomes a constraint: the strength of the resource term grows while the loss is below the limit and
shrinks while it is above (Rezende & Viola 1810.00597).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from axo.errors import UserError
from axo.models.backend import import_tensorflow

tf = import_tensorflow()

_MEMORY = 0.99
"""Share of the running mean of the loss that one step keeps."""


@dataclass(frozen=True)
class Resources:
    """Ask for the fewest bit operations with a training loss of at most `loss_limit`.

    The loss is that of the family at its final schedule. `strength` per bit operation is where the
    resource term begins, after the first `start` of the training; it changes by at most a factor
    exp(`speed`) a step.
    """

    loss_limit: float
    strength: float = 1e-7
    speed: float = 0.02
    start: float = 0.2

    def __post_init__(self) -> None:
        if min(self.loss_limit, self.strength, self.speed) <= 0 or not 0 <= self.start < 1:
            raise UserError("loss_limit, strength and speed must be positive, and start within 0 and 1")


class ResourceTerm:
    """The resource term of one training; `variables` is its state."""

    def __init__(self, config: Resources) -> None:
        self._config = config
        self._strength = tf.Variable(config.strength, trainable=False, dtype=tf.float32)
        self._mean = tf.Variable(config.loss_limit, trainable=False, dtype=tf.float32)
        self.variables = [self._strength, self._mean]

    def __call__(self, operations: Any, progress: Any) -> Any:
        """What is added to the loss for so many bit `operations`."""
        active = tf.cast(tf.cast(progress, tf.float32) >= self._config.start, tf.float32)
        return active * self._strength * operations

    def follow(self, loss: Any, progress: Any) -> None:
        """After a step with this `loss`: adjust the strength."""
        self._mean.assign(_MEMORY * self._mean + (1 - _MEMORY) * loss)
        room = tf.clip_by_value(10 * (1 - self._mean / self._config.loss_limit), -1.0, 1.0)
        active = tf.cast(tf.cast(progress, tf.float32) >= self._config.start, tf.float32)
        self._strength.assign(self._strength * tf.exp(active * self._config.speed * room))


def bit_operations(encoder: Any, input_bits: int) -> Any:
    """Effective bit operations of a chain of QDense and QActivation that reads `input_bits` wide words."""
    total, bits = 0.0, float(input_bits)
    for layer in encoder.layers:
        kind = type(layer).__name__
        if kind == "QDense":
            total += bits * tf.reduce_sum(layer.kq.bits)
        elif kind == "Quantizer":
            bits = tf.reduce_mean(layer.quantizer.bits)
    return total
