"""One-sided limits on latency and resources, from YAML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from axo.config import read_config
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
    """Upper limits by quantity: `budget` gates, `target` is only reported.

    Raises UserError for an unknown quantity or a negative limit.
    """

    budget: dict[str, float]
    target: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for section, limits in (("budget", self.budget), ("target", self.target)):
            for quantity, limit in limits.items():
                if quantity not in QUANTITIES:
                    hint = nearest(quantity, list(QUANTITIES))
                    raise UserError(f"{section}: unknown quantity {quantity!r}{hint}")
                if not limit >= 0:
                    raise UserError(f"{section}: {quantity} = {limit} is not a number of at least 0")

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
    shipped = resources.files("axo.firmware").joinpath("budget.yaml")
    return read_config(Path(str(shipped)) if path is None else path, Budget)
