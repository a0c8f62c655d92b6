"""What a model family is, and how one is found: module ``axo.models.families.NAME`` with FAMILY in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from axo.layout import Layout
from axo.models.scaling import Scaling
from axo.network import Network
from axo.plugins import Plugins

Arrays = tuple[NDArray[Any], ...]
Metrics = dict[str, Any]
Penalty = Callable[[Any], Any]
"""The scores (n,) of a batch, in units of the network's score up to a factor, to a scalar of the loss."""


class Family(Protocol):
    """A trainable detector. One file per family; `FAMILY` in it names the class.

    `Config` is a frozen dataclass: the ``model`` section of a configuration. The constructor makes
    float decoders, quantised encoders and the optimiser, all from `seed` alone. The training
    program calls `prepare` once, then `train_step` inside a tf.function for every batch, and
    `end_epoch` after each epoch. All that changes while training is in `variables` (Keras or
    TensorFlow variables), so that a checkpoint is complete. `encoder` is the Keras model that goes
    to firmware: it maps the tensor ``network_input`` (values, float32) to the network's embedding.
    """

    Config: ClassVar[type]
    encoder: Any

    @staticmethod
    def check(config: Any, layout: Layout) -> None:
        """Raise UserError, before anything is read, for a `config` that does not go with `layout`."""

    def __init__(self, config: Any, scaling: Scaling, seed: int, words: NDArray[Any]) -> None:
        """`words` (n, n_words) of ``scaling.layout`` are zero bias, to learn further scales from."""

    @property
    def variables(self) -> list[Any]:
        """Everything that a checkpoint must hold."""

    def prepare(self, words: NDArray[np.int16]) -> Arrays:
        """Arrays with n rows each, whatever `train_step` wants of the raw `words` (n, n_words)."""

    def frequency(self, words: NDArray[np.int16]) -> NDArray[np.float64] | None:
        """How often each event is drawn, relative to others, (n,); None: every event once an epoch."""

    def train_step(self, batch: Arrays, step: Any, progress: Any, penalty: Penalty | None = None) -> Metrics:
        """One optimiser step on a `batch` of rows; `step` (int) seeds noise, `progress` is 0 to 1.

        `penalty` of the batch's scores is added to the loss. Returns scalars by name; ``loss`` is among
        them, and ``penalty`` when there is one.
        """

    def validate(self, arrays: Arrays, order: NDArray[np.int64]) -> Metrics:
        """Scalars by name, ``loss`` among them, at the final schedule: means over the rows in `order`.

        `arrays` are held-out events; `order` may repeat rows, drawn by `frequency`.
        """

    def end_epoch(self, progress: float) -> None:
        """Whatever happens between epochs (a pruning mask, say)."""

    def export(self, name: str) -> Network:
        """The fixed-point network, without thresholds."""

    @staticmethod
    def export_encoder(name: str, scaling: Scaling, encoder: Any) -> Network:
        """The same from `encoder` as read back from its file."""


class FamilyModule(Protocol):
    """A module of axo.models.families."""

    FAMILY: type[Family]


FAMILIES: Plugins[FamilyModule] = Plugins("axo.models.families", "model family", ("FAMILY",))


def family_names() -> list[str]:
    """The names of all families; none is imported."""
    return FAMILIES.names()


def find_family(name: str) -> type[Family]:
    """The family `name`; UserError naming the nearest when there is none, or what it lacks here."""
    return FAMILIES.load(name).FAMILY
