"""Imports go one way: programs use the library, never the reverse, and never each other.

Strings count as imports: a module may be named in one and imported, or its files read, by that name.
"""

import ast
import configparser
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("training", "emulator", "rate_monitor")
APPLICATION = ROOT / "axo" / "cli.py"  # puts the programs together: the one place that names them all
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


def names_in_strings(source: str) -> set[str]:
    """Every text of the code, f-strings' parts too, that is nothing but the name of a module of axo."""
    texts = {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in texts if re.fullmatch(r"axo(\.\w+)+[.:]?\w*", text)}


def named_modules(path: Path) -> set[str]:
    return imported_modules(path) | names_in_strings(path.read_text())


def of_programs(names: set[str], programs: tuple[str, ...]) -> set[str]:
    return {name for name in names if re.match(rf"axo\.({'|'.join(programs)})\b", name)}


def module_files() -> dict[str, Path]:
    """Every module of axo, by its import name."""
    folders = {"axo": ROOT / "axo", **{f"axo.{program}": ROOT / program for program in PROGRAMS}}
    files: dict[str, Path] = {}
    for name, folder in folders.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            files[".".join([name, *parts]).removesuffix(".__init__")] = path
    return files


def imports_at_run_time(node: ast.AST, package: list[str]) -> set[str]:
    """Modules and names that are imported anywhere, in functions too, but not for types alone."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return set()
    names: set[str] = set()
    if isinstance(node, ast.Import):
        names = {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
        start = package[: len(package) + 1 - node.level] if node.level else []
        module = ".".join([*start, *([node.module] if node.module else [])])
        names = {f"{module}.{alias.name}" for alias in node.names}
    return names.union(*(imports_at_run_time(child, package) for child in ast.iter_child_nodes(node)))


def test_no_modules_import_each_other():
    files = module_files()
    sources: dict[str, set[str]] = {}
    for module, path in files.items():
        package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
        names = imports_at_run_time(ast.parse(path.read_text()), package)
        found = {name if name in files else name.rpartition(".")[0] for name in names}
        sources[module] = found.intersection(files) - {module}
    assert sources["axo.controllers.make"] == {
        "axo.controllers.guard",
        "axo.controllers.interface",
        "axo.plugins",
    }
    assert "axo.rate_monitor.engine" in sources["axo.rate_monitor.service"]  # a relative import
    list(TopologicalSorter(sources).static_order())  # CycleError names a circle


@pytest.mark.parametrize("path", sorted({*(ROOT / "axo").rglob("*.py")} - {APPLICATION}), ids=str)
def test_the_library_imports_no_program(path):
    assert not of_programs(named_modules(path), PROGRAMS)


def test_the_application_names_programs_in_its_table_alone():
    from axo.cli import VERBS

    modules = {module for module, _ in VERBS.values()}
    assert of_programs(named_modules(APPLICATION), PROGRAMS) <= modules
    assert not of_programs(imported_modules(APPLICATION), PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_do_not_import_each_other(program):
    others = tuple(other for other in PROGRAMS if other != program)
    for path in (ROOT / program).rglob("*.py"):
        assert not of_programs(named_modules(path), others), path


def test_a_program_named_in_a_string_is_seen():
    named = [
        'KERNEL = ("axo.emulator.kernel", "Kernel")',
        'resources.files("axo.training")',
        'importlib.import_module(f"axo.rate_monitor.{name}")',
        'EntryPoint("k", "axo.emulator:Kernel", "g")',
    ]
    for source in named:
        assert of_programs(names_in_strings(source), PROGRAMS), source
    assert not names_in_strings('"""axo.training trains."""')


def test_what_the_programs_offer_is_what_the_set_up_says():
    from axo.firmware.models import OFFER as MODELS
    from axo.plugins import offered
    from axo.scorer import OFFER as EVALUATOR

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    for group in (MODELS, EVALUATOR):
        said = dict(line.split(" = ") for line in config["options.entry_points"][group].strip().splitlines())
        mend = "the installed axo is older than setup.cfg: pip install --editable ."
        assert {entry.name: entry.value for entry in offered(group)} == said, mend
        assert all(entry.load() is not None for entry in offered(group))


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
    """setup.cfg lists each folder of modules by its import name: what it does not list is in no wheel."""
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
