"""What a decorrelation method is, and how one is found: ``axo.decorrelators.methods.NAME`` with METHOD."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from axo.config import parse
from axo.events import Events
from axo.plugins import Plugins

Arrays = tuple[NDArray[Any], ...]


class Method(Protocol):
    """Adds a penalty to the loss of a network in training; one file per method, `METHOD` names the class.

    `Config` is a frozen dataclass: the ``decorrelation`` section of a training configuration, without
    the key ``method``. What the penalty needs to know of each event is made once, by `prepare`; the
    training program hands the rows of the batch to `penalty`, inside a tf.function.
    """

    Config: ClassVar[type]

    def __init__(self, config: Any) -> None: ...

    def prepare(
        self,
        events: Events,
        frequency: NDArray[np.float64] | None = None,
    ) -> Arrays:
        """Arrays with n rows each, of zero-bias `events`.

        `frequency` (n,) is how often events are drawn, relative to others; None: all alike.
        """

    def penalty(self, scores: Any, batch: Arrays) -> Any:
        """A scalar tensor, differentiable in the `scores` (b,) of a batch with the rows `batch`."""


class MethodModule(Protocol):
    """A module of axo.decorrelators.methods."""

    METHOD: type[Method]


METHODS: Plugins[MethodModule] = Plugins("axo.decorrelators.methods", "method", ("METHOD",))


def method_names() -> list[str]:
    """The names of all methods; none is imported."""
    return METHODS.names()


def make_method(section: dict[str, Any], place: str) -> Method:
    """The method of a ``decorrelation`` section: its key ``method``, the rest is the method's own.

    Raises UserError headed by `place` for an unknown method (naming the nearest), key or value.
    """
    kind = METHODS.load(section.get("method"), place).METHOD
    options = {key: value for key, value in section.items() if key != "method"}
    return kind(parse(kind.Config, options, place))
