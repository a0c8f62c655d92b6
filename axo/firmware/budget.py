"""One-sided limits on latency and resources, from YAML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from axo.errors import UserError, nearest

QUANTITIES = ("latency_ns", "initiation_interval_ns", "lut", "ff", "carry", "dsp", "bram")


@dataclass(frozen=True)
class Check:
    """A measured `value` (None: not measured) against a `limit`; a target does not gate."""

    quantity: str
    value: float | None
    limit: float
    gates: bool

    @property
    def within(self) -> bool:
        """At or below the limit; what was not measured is not within it."""
        return self.value is not None and self.value <= self.limit


@dataclass(frozen=True)
class Budget:
    """Upper limits by quantity: `budget` gates, `target` is only reported."""

    budget: dict[str, float]
    target: dict[str, float]

    def check(self, measured: Mapping[str, float | None]) -> list[Check]:
        """Every limit against the measured values (an absent key counts as not measured)."""
        return [
            Check(quantity, measured.get(quantity), limit, gates)
            for limits, gates in ((self.budget, True), (self.target, False))
            for quantity, limit in limits.items()
        ]


def read_budget(path: str | os.PathLike[str] | None = None) -> Budget:
    """Read a budget file (default: the one that ships with axo).

    Raises UserError naming the file and the key that is unknown or not a number >= 0.
    """
    source = resources.files("axo.firmware").joinpath("budget.yaml") if path is None else Path(path)
    try:
        document = yaml.safe_load(source.read_text())
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{source}: is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(document, dict):
        raise UserError(f"{source}: must have the sections 'budget' and 'target'")
    for key in document:
        if key not in ("budget", "target"):
            raise UserError(f"{source}: unknown section {key!r}{nearest(str(key), ['budget', 'target'])}")
    return Budget(*(_limits(document.get(key) or {}, f"{source}: {key}") for key in ("budget", "target")))


def _limits(section: object, place: str) -> dict[str, float]:
    if not isinstance(section, dict):
        raise UserError(f"{place}: must be a mapping of quantities to limits")
    for quantity, limit in section.items():
        if quantity not in QUANTITIES:
            raise UserError(
                f"{place}: unknown quantity {quantity!r}{nearest(str(quantity), list(QUANTITIES))}"
            )
        if isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 0:
            raise UserError(f"{place}: {quantity} = {limit!r} is not a number of at least 0")
    return dict(section)
