"""Controllers by name: an algorithm of axo.controllers.algorithms, with the guard around it."""

from __future__ import annotations

from typing import Protocol

from axo.controllers.guard import Guarded
from axo.controllers.interface import Algorithm, Controller, ControllerConfig
from axo.plugins import Plugins


class AlgorithmModule(Protocol):
    """A module of axo.controllers.algorithms."""

    Controller: type[Algorithm]


ALGORITHMS: Plugins[AlgorithmModule] = Plugins("axo.controllers.algorithms", "controller", ("Controller",))


def controller_names() -> tuple[str, ...]:
    """Names of all controllers; none is imported."""
    return tuple(ALGORITHMS.names())


def make_controller(name: str, config: ControllerConfig) -> Controller:
    """The controller `name`, guarded. UserError for an unknown name (with the nearest) or wrong options."""
    return Guarded(name, ALGORITHMS.load(name).Controller(config), config)
