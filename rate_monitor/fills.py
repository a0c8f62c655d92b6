"""Lumi sections of real fills, from brilcalc's CSV output.

``brilcalc lumi --byls --output-style csv`` writes comment lines (``#``) and rows
``run:fill,ls,time,beamstatus,E(GeV),delivered(/fb),recorded(/fb),avgpu,source``; ls is ``A:B`` with A the
lumi section and B the same, or 0 when CMS was not recording. Units of luminosity are read from the
header. Times are UTC.
"""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from axo.errors import UserError
from axo.physics.rates import DEFAULT_BUNCHES, LUMI_SECTION_S, ORBIT_RATE_HZ

INELASTIC_MB = 80.0
"""Cross-section that brilcalc's pileup is made with, in millibarn (its default for Run 3 is 80 mb)."""

_COLUMNS = ("run:fill", "ls", "time", "beamstatus", "E(GeV)", "delivered", "recorded", "avgpu", "source")
_PER_FB = {"/fb": 1.0, "/pb": 1e-3, "/nb": 1e-6, "/ub": 1e-9}
_FB_PER_MB = 1e12  # 1 mb is 1e12 fb


@dataclass(frozen=True)
class FillSection:
    """One lumi section of a fill: luminosities in inverse femtobarn, mean pileup."""

    run: int
    fill: int
    lumi_section: int
    start_time_s: float
    beam_status: str
    delivered_fb: float
    recorded_fb: float
    pileup: float

    @property
    def live_fraction(self) -> float:
        """Recorded over delivered luminosity; 0 when nothing was delivered."""
        return min(self.recorded_fb / self.delivered_fb, 1.0) if self.delivered_fb > 0 else 0.0


def read_fill(path: str | os.PathLike[str]) -> list[FillSection]:
    """The lumi sections in a brilcalc CSV file, in order.

    Raises UserError naming file and line for anything that is not as brilcalc writes it: a wrong number
    of columns, a value that is no number or cannot be, lumi sections that do not rise, more than one run.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not text; give a brilcalc CSV file") from error
    scales: tuple[float, float] | None = None
    sections: list[FillSection] = []
    for number, line in enumerate(lines, 1):
        place = f"{path} line {number}"
        if line.startswith("#run:fill"):
            scales = _scales(line, place)
        elif line.strip() and not line.startswith("#"):
            if scales is None:
                raise UserError(f"{place}: data before the header #run:fill,...; is it brilcalc CSV?")
            sections.append(_section(line, scales, place))
            _require_order(sections, place)
    if not sections:
        raise UserError(
            f"{path}: holds no lumi sections; write it with brilcalc lumi --byls --output-style csv"
        )
    return sections


def colliding_bunches(sections: list[FillSection]) -> int:
    """The number of colliding bunches that delivered luminosity and pileup imply (their median).

    delivered = bunches x orbit rate x pileup x time / cross-section (INELASTIC_MB); the usual number when
    no lumi section had collisions.
    """
    ratios = sorted(s.delivered_fb / s.pileup for s in sections if s.pileup >= 5 and s.delivered_fb > 0)
    if not ratios:
        return DEFAULT_BUNCHES
    per_bunch = ORBIT_RATE_HZ * LUMI_SECTION_S / (INELASTIC_MB * _FB_PER_MB)
    return min(max(round(ratios[len(ratios) // 2] / per_bunch), 1), 3564)


def _scales(header: str, place: str) -> tuple[float, float]:
    """Factors to inverse femtobarn of the delivered and recorded columns."""
    names = header.lstrip("#").split(",")
    plain = [name if name.startswith("E(") else name.split("(")[0] for name in names]
    if tuple(plain) != _COLUMNS:
        raise UserError(f"{place}: the columns are {', '.join(names)}, not {', '.join(_COLUMNS)}")
    units = [name[name.find("(") + 1 : -1] for name in names[5:7]]
    for unit in units:
        if unit not in _PER_FB:
            raise UserError(f"{place}: unknown unit {unit!r} of luminosity (known: {', '.join(_PER_FB)})")
    return _PER_FB[units[0]], _PER_FB[units[1]]


def _section(line: str, scales: tuple[float, float], place: str) -> FillSection:
    row = next(csv.reader([line]))
    if len(row) != len(_COLUMNS):
        raise UserError(f"{place}: has {len(row)} columns, not {len(_COLUMNS)}")
    run, fill = _pair(row[0], "run:fill", place)
    section, _ = _pair(row[1], "ls", place)
    try:
        start = datetime.strptime(row[2], "%m/%d/%y %H:%M:%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise UserError(f"{place}: time {row[2]!r} is not as in 05/24/24 12:38:03") from error
    delivered, recorded, pileup = (
        _number(value, name, place) for value, name in zip(row[5:8], _COLUMNS[5:8], strict=True)
    )
    return FillSection(
        run,
        fill,
        section,
        start.timestamp(),
        row[3],
        delivered * scales[0],
        recorded * scales[1],
        pileup,
    )


def _pair(text: str, name: str, place: str) -> tuple[int, int]:
    first, _, second = text.partition(":")
    if not (first.isdecimal() and second.isdecimal()):
        raise UserError(f"{place}: {name} {text!r} is not two integers with a colon")
    return int(first), int(second)


def _number(text: str, name: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UserError(f"{place}: {name} {text!r} is not a number of at least 0")
    return value


def _require_order(sections: list[FillSection], place: str) -> None:
    if len(sections) < 2:
        return
    before, now = sections[-2:]
    if now.run != before.run:
        raise UserError(f"{place}: run {now.run} after run {before.run}; give one run a file")
    if now.lumi_section <= before.lumi_section:
        raise UserError(f"{place}: lumi section {now.lumi_section} comes after {before.lumi_section}")
