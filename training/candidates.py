"""The networks of all seeds of a training, as axo train leaves them in its work folder."""

from __future__ import annotations

from pathlib import Path


def seed_files(argument: str) -> list[Path]:
    """The files seedN.network.json in the folder `argument`, by N; none when it is anything else."""
    return sorted(Path(argument).glob("seed*.network.json"), key=_seed_number)


def _seed_number(path: Path) -> tuple[int, str]:
    digits = path.name.split(".")[0].removeprefix("seed")
    return (int(digits) if digits.isdecimal() else -1, path.name)
