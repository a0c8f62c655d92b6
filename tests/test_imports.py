"""Imports go one way: programs use the library, never the reverse, and never each other."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("training", "emulator", "rate_monitor")
HEAVY = ("tensorflow", "keras", "hls4ml", "alkaid", "matplotlib", "sklearn", "scipy")


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("path", sorted((ROOT / "axo").rglob("*.py")), ids=str)
def test_the_library_imports_no_program(path):
    wrong = {name for name in imported_modules(path) if name.startswith(tuple(f"axo.{p}" for p in PROGRAMS))}
    assert not wrong


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_do_not_import_each_other(program):
    others = tuple(f"axo.{other}" for other in PROGRAMS if other != program)
    for path in (ROOT / program).rglob("*.py"):
        assert not {name for name in imported_modules(path) if name.startswith(others)}, path


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["firmware", "--help"], ["train", "--help"]]
)
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom axo.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\nassert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_package_is_installed():
    """setup.cfg lists each folder of modules, with its import name: what is not listed is not in the wheel."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    roots = {"axo": "axo", **{name: f"axo.{name}" for name in (*PROGRAMS, "firmware_templates")}}
    found = {
        ".".join((package, *path.parent.relative_to(ROOT / root).parts))
        for root, package in roots.items()
        for path in (ROOT / root).rglob("__init__.py")
    }
    assert listed == found
