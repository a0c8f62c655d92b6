"""Langevin chains in a box: samples of the density exp(-E(x)) from the gradient of E alone.

x <- x - step * dE/dx + noise * N(0, 1), reflected at the bounds (Roberts & Tweedie, Bernoulli 2
(1996) 341, the unadjusted algorithm). For small steps the stationary density is exp(-2 step / noise^2 E):
noise^2 = 2 step samples exp(-E) itself. A finite step biases it: that of a Gaussian of variance v
has variance v / (1 - step / (2 v)), when noise^2 = 2 step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from axo.errors import UserError
from axo.models.backend import import_tensorflow

tf = import_tensorflow()


@dataclass(frozen=True)
class Chain:
    """Length and steps of a chain. `noise` null: sqrt(2 step), which samples exp(-E).

    step and noise^2 fall geometrically to `anneal` times their first value at the last step, so that
    the temperature stays. No element of the gradient exceeds `clip` in magnitude (null: no limit).
    """

    steps: int = 10
    step: float = 0.1
    noise: float | None = None
    anneal: float = 1.0
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or self.step <= 0 or not 0 < self.anneal <= 1:
            raise UserError("steps and step must be positive, and anneal above 0 and at most 1")
        if (self.noise is not None and self.noise < 0) or (self.clip is not None and self.clip <= 0):
            raise UserError("noise must not be negative, and clip must be positive")


def sample(
    energy: Callable[[Any], Any],
    start: Any,
    chain: Chain,
    seed: Any,
    bounds: tuple[Any, Any],
    steps: Any = None,
) -> Any:
    """Run `chain` from `start` (n, d), one chain a row; returns (n, d) float32.

    `energy` maps (n, d) to (n,); `seed` are two integers; `bounds` (low, high) broadcast to (d,).
    `steps` (an integer tensor) runs fewer than the chain's own, 0 returns `start`.
    """
    steps = chain.steps if steps is None else steps

    def body(i: Any, x: Any) -> Any:
        return i + 1, langevin_step(energy, x, chain, i, seed, bounds)

    return tf.while_loop(lambda i, _: i < steps, body, (tf.constant(0), start))[1]


def langevin_step(
    energy: Callable[[Any], Any], x: Any, chain: Chain, i: Any, seed: Any, bounds: tuple[Any, Any]
) -> Any:
    """Step number `i` of `chain` from `x` (n, d): differentiable with respect to what `energy` holds."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(energy(x))
    gradient = tape.gradient(total, x)
    if chain.clip is not None:
        gradient = tf.clip_by_value(gradient, -chain.clip, chain.clip)
    fall = chain.anneal ** (tf.cast(i, tf.float32) / max(chain.steps - 1, 1))
    variance = 2 * chain.step if chain.noise is None else chain.noise**2
    seed = tf.random.experimental.stateless_fold_in(seed, i)
    kick = tf.sqrt(variance * fall) * tf.random.stateless_normal(tf.shape(x), seed)
    return reflect(x - chain.step * fall * gradient + kick, *bounds)


def reflect(x: Any, low: Any, high: Any) -> Any:
    """`x` folded back into [low, high] as by mirrors at both ends."""
    width = high - low
    folded = tf.math.floormod(x - low, 2 * width)
    return low + tf.minimum(folded, 2 * width - folded)
