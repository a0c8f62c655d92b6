"""check_types.py [MYPY ARGUMENT ...]: mypy over everything, with the real types across the folders.

The folder tree is not the import tree: `package_dir` of setup.cfg puts emulator/ at axo.emulator. mypy
finds modules by folder alone, so all of `from axo.emulator import ...` would be Any, silently. It is shown
the import tree instead, links in build/types; its messages are given the names of the real files again.
"""

import configparser
import sys
from pathlib import Path

import mypy.api

ROOT = Path(__file__).resolve().parent.parent
LINKS = ROOT / "build" / "types"
CONFIGURATION = ROOT / "pyproject.toml"


def folders() -> dict[str, Path]:
    """Folder of each package that has its own, by dotted name: `package_dir` of setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    pairs = (line.split("=") for line in setup["options"]["package_dir"].strip().splitlines())
    return {package.strip(): ROOT / folder.strip() for package, folder in pairs}


def link_tree() -> dict[Path, Path]:
    """Bring build/types/axo up to date: a link to each entry of axo/, and to each folder imported from axo.

    Links that are right stay, so that another mypy that reads them at this moment is not disturbed.
    """
    tree = LINKS / "axo"
    tree.mkdir(parents=True, exist_ok=True)
    entries = {package.partition(".")[2]: folder for package, folder in folders().items()}
    library = entries.pop("")
    entries |= {entry.name: entry for entry in library.iterdir() if entry.name != "__pycache__"}
    links = {tree / name: real for name, real in entries.items()}
    for old in tree.iterdir():
        if old not in links or old.readlink() != links[old]:
            old.unlink()
    for link, real in links.items():
        if not link.is_symlink():
            link.symlink_to(real)
    return links


def with_real_names(text: str, links: dict[Path, Path]) -> str:
    """mypy's messages, the link that begins a line's file name replaced by what it links to."""
    lines = []
    for line in text.splitlines(keepends=True):
        for link, real in links.items():
            name = str(link.relative_to(ROOT))
            if line.startswith((f"{name}/", f"{name}:")):
                line = str(real.relative_to(ROOT)) + line.removeprefix(name)
        lines.append(line)
    return "".join(lines)


def check(arguments: list[str]) -> tuple[str, int]:
    """What mypy says, and its exit status; its file names are relative to the root of the checkout."""
    links = link_tree()
    what = arguments or ["--package", "axo"]
    text, error, status = mypy.api.run(["--config-file", str(CONFIGURATION), *what])
    return with_real_names(text + error, links), status


if __name__ == "__main__":
    said, status = check(sys.argv[1:])
    print(said, end="")
    sys.exit(status)
