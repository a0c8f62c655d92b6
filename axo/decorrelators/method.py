"""What a decorrelation method is, and how one is found: module ``axo.decorrelators.NAME`` with METHOD."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

import axo.decorrelators
from axo.config import parse
from axo.errors import UserError, nearest
from axo.plugins import modules_defining

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
        words: NDArray[np.int16],
        frequency: NDArray[np.float64] | None = None,
        pileup: NDArray[Any] | None = None,
    ) -> Arrays:
        """Arrays with n rows each, of raw zero-bias `words` (n, 57) and their `pileup` (n,) if known.

        `frequency` (n,) is how often events are drawn, relative to others; None: all alike.
        """

    def penalty(self, scores: Any, batch: Arrays) -> Any:
        """A scalar tensor, differentiable in the `scores` (b,) of a batch with the rows `batch`."""


def method_names() -> list[str]:
    """The modules of axo.decorrelators that have a METHOD; none is imported."""
    return modules_defining(axo.decorrelators, "METHOD")


def make_method(section: dict[str, Any], place: str) -> Method:
    """The method of a ``decorrelation`` section: its key ``method``, the rest is the method's own.

    Raises UserError headed by `place` for an unknown method (naming the nearest), key or value.
    """
    name = section.get("method")
    known = method_names()
    if name not in known:
        close = nearest(str(name), known)
        raise UserError(f"{place}: unknown method {name!r}{close} (known: {', '.join(known)})")
    kind: type[Method] = importlib.import_module(f"axo.decorrelators.{name}").METHOD
    options = {key: value for key, value in section.items() if key != "method"}
    return kind(parse(kind.Config, options, place))
