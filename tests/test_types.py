"""mypy, as `make lint` runs it, sees the real types of what one folder imports from another."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / ".ci" / "check_types.py"

PROBE = """
from axo.emulator.kernel import Kernel
from axo.rate_monitor.records import read_record
from axo.training.config import Config

reveal_type(Kernel)
reveal_type(Kernel.scores)
reveal_type(read_record)
reveal_type(Config)
"""


def mypy(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, cwd=ROOT, timeout=300
    )


@pytest.mark.slow
def test_nothing_imported_from_a_program_folder_is_any(tmp_path):
    probe = tmp_path / "probe.py"
    probe.write_text(PROBE)
    done = mypy(str(probe))
    revealed = [line.split("Revealed type is ")[1] for line in done.stdout.splitlines() if "Revealed" in line]
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(revealed) == 4
    assert "axo.emulator.kernel.kernel.Kernel" in revealed[0]
    assert "ndarray" in revealed[1]
    assert "Measurement" in revealed[2]
    assert "axo.training.config.Config" in revealed[3]


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("check_types", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_messages_name_the_real_files(script):
    tree = ROOT / "build/types/axo"
    links = {tree / "emulator": ROOT / "emulator", tree / "cli.py": ROOT / "axo/cli.py"}
    said = "build/types/axo/emulator/kernel/dot.py:3: error: no\nbuild/types/axo/cli.py:1: note: see x\n"
    real = "emulator/kernel/dot.py:3: error: no\naxo/cli.py:1: note: see x\n"
    assert script.with_real_names(said, links) == real


def test_every_folder_of_setup_cfg_is_in_the_tree(script):
    links = script.link_tree()
    targets = set(links.values())
    assert {ROOT / name for name in ("training", "emulator", "rate_monitor", "firmware_templates")} <= targets
    assert {ROOT / "axo/network", ROOT / "axo/cli.py"} <= targets
    assert all(link.resolve() == real for link, real in links.items())


def test_every_module_is_strict():
    """`strict`, and nothing that takes back any of it: for some modules, by a switch or inside a file."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["strict"] is True
    harmless = {
        "python_version",
        "mypy_path",
        "strict",
        "ignore_missing_imports",
        "untyped_calls_exclude",
    }
    assert settings.keys() <= harmless
    for folder in ("axo", "training", "emulator", "rate_monitor", "firmware_templates"):
        for path in (ROOT / folder).rglob("*.py"):
            loosened = re.search(r"^\s*#\s*(mypy:|type:\s*ignore\b)", path.read_text(), re.MULTILINE)
            assert loosened is None, f"{path}: {loosened}"


def test_what_strict_refuses_is_refused(tmp_path):
    probe = tmp_path / "probe.py"
    probe.write_text(
        "from typing import Any\n\n\ndef bare(x):\n    return x\n\n\n"
        "def of_any(x: Any) -> int:\n    return x\n"
    )
    done = mypy(str(probe))
    assert done.returncode == 1
    assert "[no-untyped-def]" in done.stdout and "[no-any-return]" in done.stdout
