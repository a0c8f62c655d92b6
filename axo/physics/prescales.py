"""Prescale tables: a CSV with one line a seed and one column a luminosity point (0: the seed is off)."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from axo.errors import UserError, nearest


@dataclass(frozen=True)
class PrescaleTable:
    """`values` by seed name, one prescale for each of `columns`."""

    columns: tuple[str, ...]
    values: dict[str, tuple[float, ...]]

    def column(self, name: str) -> dict[str, float]:
        """The prescale of every seed in the column `name`; UserError for an unknown one."""
        if name not in self.columns:
            known = list(self.columns)
            raise UserError(
                f"unknown prescale column {name!r}{nearest(name, known)} (known: {', '.join(known)})"
            )
        position = self.columns.index(name)
        return {seed: values[position] for seed, values in self.values.items()}


def read_prescales(path: str | PathLike[str]) -> PrescaleTable:
    """Read a CSV table whose header is ``Index,Name,COLUMN,...`` as CMS publishes them.

    Raises UserError naming the line: a prescale that is no number of at least 0, a wrong number of
    fields, a seed that is there twice.
    """
    values: dict[str, tuple[float, ...]] = {}
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            columns = tuple(header[2:])
            if [field.lower() for field in header[:2]] != ["index", "name"] or not columns:
                raise UserError(f"{path}: the first line must be Index,Name and the names of columns")
            if len(set(columns)) != len(columns):
                raise UserError(f"{path}: line 1: two columns have the same name")
            for row in rows:
                where = f"{path}: line {rows.line_num}"
                if len(row) != len(header):
                    raise UserError(f"{where}: has {len(row)} fields, but the first line has {len(header)}")
                if row[1] in values:
                    raise UserError(f"{where}: seed {row[1]} is there twice")
                values[row[1]] = tuple(_prescale(field, where) for field in row[2:])
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is not a CSV table ({error})") from error
    if not values:
        raise UserError(f"{path}: names no seed")
    return PrescaleTable(columns, values)


def _prescale(field: str, where: str) -> float:
    try:
        value = float(field)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UserError(f"{where}: prescale {field!r} is not a number of at least 0")
    return value
