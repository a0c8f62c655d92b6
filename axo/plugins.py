"""Plug-in modules: a package's modules that define a given name; none is imported to find out."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType


def modules_defining(package: ModuleType, name: str) -> list[str]:
    """The modules of `package` that assign `name` at top level, sorted."""
    folder = Path(package.__path__[0])
    return sorted(path.stem for path in folder.glob("*.py") if f"\n{name} = " in path.read_text("utf-8"))
