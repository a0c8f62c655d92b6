"""Continuous normalising flows by conditional flow matching: path, vector field, likelihood.

A field v(x, t) carries a unit Gaussian at t = 0 to the data, blurred by a Gaussian of width sigma,
at t = 1. It is trained by regression (Lipman et al. 2210.02747): draw data x1, noise x0 and a time
t, and fit v to the velocity of the straight path from one to the other. The optimal field is the
mean velocity of the paths through x; since the noise of x has mean -width(t) grad log p_t(x)
(Tweedie's formula), it is at t = 1

  v(x, 1) = x + sigma grad log p(x),

so that |v(x, 1)|^2 tells in one evaluation how far out, and how far up the density's slope, x is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from axo.models.backend import import_keras, import_tensorflow

tf, keras = import_tensorflow(), import_keras()

Field = Callable[[Any, Any], Any]
"""Velocities (n, d) at positions (n, d) and one time."""


@dataclass(frozen=True)
class Path:
    """The optimal-transport path (2210.02747, eq. 20-23): x_t = width(t) x0 + t x1."""

    sigma: float

    def width(self, t: Any) -> Any:
        """How much of the noise is left at `t`: from 1 to sigma."""
        return 1 - (1 - self.sigma) * t

    def position(self, noise: Any, data: Any, t: Any) -> Any:
        """x_t."""
        return self.width(t) * noise + t * data

    def velocity(self, noise: Any, data: Any) -> Any:
        """dx_t / dt, the same at every time."""
        return data - (1 - self.sigma) * noise

    def unit_slope(self, t: Any) -> Any:
        """c in v = c x, the optimal field where the data are themselves a unit Gaussian."""
        width = self.width(t)
        return (t - (1 - self.sigma) * width) / (t**2 + width**2)


class VectorField:
    """v(x, t) = c(t) x + a float network of (x, t), where c is that of Gaussian data.

    The network has only the difference to learn, and far from all data, where it has nothing to learn
    from, the field goes on growing with the distance.
    """

    def __init__(self, size: int, hidden: tuple[int, ...], path: Path) -> None:
        self.path = path
        self._network = keras.Sequential(
            [keras.layers.Dense(n, "silu") for n in hidden]
            + [keras.layers.Dense(size, kernel_initializer="zeros")]
        )
        self._network.build((None, size + 1))

    @property
    def trainable_variables(self) -> list[Any]:
        """All of it."""
        variables: list[Any] = self._network.trainable_variables
        return variables

    def __call__(self, x: Any, t: Any) -> Any:
        """Velocities (n, d) at `x` (n, d); `t` is one time, or (n, 1)."""
        t = tf.broadcast_to(tf.cast(t, x.dtype), (tf.shape(x)[0], 1))
        return self.path.unit_slope(t) * x + self._network(tf.concat([x, t], axis=1))

    def matching_errors(self, data: Any, seed: Any) -> Any:
        """Mean over coordinates of the squared error, (n,), one time and one noise for each of `data` (n, d).

        `seed` are two integers. Times are spread evenly over the batch, which leaves less noise in
        the mean than independent ones.
        """
        events = tf.shape(data)[0]
        noise = tf.random.stateless_normal(tf.shape(data), seed)
        first = tf.random.stateless_uniform((), seed)
        t = (tf.range(events, dtype=data.dtype)[:, None] / tf.cast(events, data.dtype) + first) % 1.0
        error = self(self.path.position(noise, data, t), t) - self.path.velocity(noise, data)
        return tf.reduce_mean(error**2, axis=1)


def log_likelihood(field: Field, x: Any, steps: int = 32, probes: Any | None = None) -> Any:
    """log p_1(x), (n,), of the flow along `field`: the change of variables, integrated from t = 1 to 0.

    log p_1(x) = log N(x_0) - integral of div v along the path that ends in x (Chen et al.
    1806.07366), with `steps` Runge-Kutta steps of fourth order. The divergence is exact (d
    derivatives an evaluation) or, with `probes` (k, n, d), entries +1 or -1, Hutchinson's unbiased
    estimate from k derivatives (Grathwohl et al. 1810.01367).
    """
    x = tf.convert_to_tensor(x)
    events, size = x.shape
    if probes is None:
        directions = tf.repeat(tf.eye(size, dtype=x.dtype)[:, None], events, axis=1)
        weight = 1.0
    else:
        directions = tf.cast(probes, x.dtype)
        weight = 1.0 / len(probes)

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def slopes(x: Any, t: Any) -> tuple[Any, Any]:
        divergence = tf.zeros_like(x[:, 0])
        for k in range(directions.shape[0]):
            with tf.autodiff.ForwardAccumulator(x, directions[k]) as accumulator:
                velocity = field(x, t)
            divergence += weight * tf.reduce_sum(directions[k] * accumulator.jvp(velocity), axis=1)
        return velocity, divergence

    total = tf.zeros_like(x[:, 0])
    h = -1.0 / steps
    for step in range(steps):
        t = tf.constant(1 + step * h, x.dtype)
        v1, d1 = slopes(x, t)
        v2, d2 = slopes(x + h / 2 * v1, t + h / 2)
        v3, d3 = slopes(x + h / 2 * v2, t + h / 2)
        v4, d4 = slopes(x + h * v3, t + h)
        x += h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
        total += h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    return total - 0.5 * tf.reduce_sum(x**2, axis=1) - 0.5 * size * np.log(2 * np.pi)
