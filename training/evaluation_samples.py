"""The events of an evaluation: zero bias and signals, what other seeds say of them, what is published."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.events import Events
from axo.physics.menu import Menu
from axo.provenance import words_digest

ADC2021 = "adc2021"


@dataclass(frozen=True, eq=False)
class Sample:
    """`events` of one file; `others` (n,) bool: some unprescaled seed of the menu fired (None: no menu)."""

    name: str
    file: str
    format: str
    events: Events
    others: NDArray[np.bool_] | None

    @cached_property
    def digest(self) -> str:
        """sha256 of the words."""
        return words_digest(self.events.words)

    def document(self) -> dict[str, Any]:
        """What is written about it."""
        return {
            "file": Path(self.file).name,
            "format": self.format,
            "events": len(self.events),
            "words_sha256": self.digest,
            "fires_unprescaled_seed": None if self.others is None else float(self.others.mean()),
        }


@dataclass(frozen=True, eq=False)
class Samples:
    """The `background`, the `signals` by name, and the menu that `others` come from."""

    background: Sample
    signals: dict[str, Sample]
    menu: Menu | None
    column: str | None

    @property
    def is_zero_bias(self) -> bool:
        """Whether fractions of the background are rates: ADC2021 asks for a lepton first."""
        return self.background.format != ADC2021

    @property
    def has_seeds(self) -> bool:
        """Whether purity is known."""
        return self.background.others is not None

    def all(self) -> list[Sample]:
        """Background first."""
        return [self.background, *self.signals.values()]


def read_samples(background: str, signals: Sequence[str], menu: Menu | None, column: str | None) -> Samples:
    """Read all files; purity is left out when a file lacks what the menu reads (ADC2021 does).

    Raises UserError for a file that cannot be read or has a fault, has weights, is given twice, or
    shares its name with another.
    """
    unprescaled = _unprescaled(menu, column) if menu else None
    read = [_read(file, menu, unprescaled) for file in (background, *signals)]
    names: dict[str, Sample] = {}
    digests: dict[str, Sample] = {}
    for sample in read:
        if (same := digests.setdefault(sample.digest, sample)) is not sample:
            raise UserError(f"{sample.file}: has the same events as {same.file}; name each file once")
        if (same := names.setdefault(sample.name, sample)) is not sample:
            raise UserError(f"{sample.file}: would be called {sample.name!r} like {same.file}; rename one")
    if menu is not None and any(sample.others is None for sample in read):
        read = [Sample(s.name, s.file, s.format, s.events, None) for s in read]
        menu = None
    if menu is not None and column is None:
        column = menu.columns[0]
    return Samples(read[0], {s.name: s for s in read[1:]}, menu, column if menu else None)


def _read(file: str, menu: Menu | None, unprescaled: NDArray[np.bool_] | None) -> Sample:
    from axo.events.sources import read_events, resolve, source_of

    format = source_of(file).__name__.rsplit(".", 1)[-1]
    events = read_events(file)
    if not len(events):
        raise UserError(f"{file}: holds no events")
    if events.weight is not None:
        raise UserError(f"{file}: has weights; axo evaluate counts events, so give unweighted ones")
    others: NDArray[np.bool_] | None = None
    if menu is not None and menu.needs <= set(events.extras):
        others = np.asarray(menu.evaluate(events)[:, unprescaled].any(axis=1), np.bool_)
    name = resolve(file).name.split(".")[0].removeprefix("sig_")
    return Sample(name, file, format, events, others)


def _unprescaled(menu: Menu, column: str | None) -> NDArray[np.bool_]:
    prescales = menu.prescales(column)
    return np.array([prescales[name] == 1 for name in menu.seeds])


@dataclass(frozen=True)
class Published:
    """A signal of ADC2021, its figures in Vaselli et al. 2508.11594 (FAD), and its usual file name."""

    signal: str
    auc: float
    efficiency_at_1em5: float
    pattern: str


PUBLISHED = (
    Published("A -> 4l", 0.817, 3.4e-2, r"(^|_)A_?to_?4l|^A_4l"),
    Published("LQ -> b tau", 0.800, 3.8e-4, r"leptoquark|^LQ"),
    Published("h0 -> tau tau", 0.679, 6.3e-4, r"^h0|^hToTauTau"),
    Published("h+- -> tau nu", 0.841, 4e-4, r"^hCh|^hpm"),
)


def published_for(samples: Samples) -> dict[str, Published]:
    """The published figures by signal name, when the background is ADC2021 data; else none."""
    if samples.is_zero_bias:
        return {}
    return {
        name: entry
        for name in samples.signals
        for entry in PUBLISHED
        if re.search(entry.pattern, name, re.IGNORECASE)
    }
