"""A table of text cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A `header` and `rows` of as many cells each.

    `align` has a letter a column, l (text) or r (numbers); the last one stands for all that follow.
    Raises ValueError for another letter, or a row of another length.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str = "lr"

    def __post_init__(self) -> None:
        if not self.align or set(self.align) - {"l", "r"}:
            raise ValueError(f"align {self.align!r} is not of l and r")
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"a row has {len(row)} cells, the header {len(self.header)}: {row}")

    @property
    def sides(self) -> list[str]:
        """l or r of every column."""
        return list(self.align.ljust(len(self.header), self.align[-1]))[: len(self.header)]

    def lines(self) -> Iterator[str]:
        """The table for a terminal, columns two blanks apart."""
        rows = [[one_line(cell) for cell in row] for row in (self.header, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = zip(row, widths, self.sides, strict=True)
            padded = (cell.ljust(w) if side == "l" else cell.rjust(w) for cell, w, side in cells)
            yield "  ".join(padded).rstrip()

    def text(self) -> str:
        """`lines`, joined."""
        return "\n".join(self.lines())


def one_line(cell: str) -> str:
    """`cell` without line breaks, which only HTML can show."""
    return " ".join(cell.splitlines())
