"""The events of an evaluation: zero bias and signals, what other seeds say of them, what is published."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from axo.errors import UserError
from axo.physics.menu import Menu
from axo.physics.sample import Sample, pure_of

ADC2021 = "adc2021"


@dataclass(frozen=True, eq=False)
class Samples:
    """The `background`, the `signals` by name, and the menu of whose seeds they are pure."""

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
        return self.background.pure is not None

    def all(self) -> list[Sample]:
        """Background first."""
        return [self.background, *self.signals.values()]


def read_samples(background: str, signals: Sequence[str], menu: Menu | None, column: str | None) -> Samples:
    """Read all files; purity is left out when a file lacks what the menu reads (ADC2021 does).

    Raises UserError for a file that cannot be read or has a fault, has weights, is given twice, shares
    its name with another, or has another layout than the first.
    """
    if menu is not None:
        menu.prescales(column)  # an unknown column is found before anything is read
    read = [_read(file, menu, column) for file in (background, *signals)]
    names: dict[str, Sample] = {}
    digests: dict[str, Sample] = {}
    for sample in read:
        if (same := digests.setdefault(sample.digest, sample)) is not sample:
            raise UserError(f"{sample.file}: has the same events as {same.file}; name each file once")
        if (same := names.setdefault(sample.name, sample)) is not sample:
            raise UserError(f"{sample.file}: would be called {sample.name!r} like {same.file}; rename one")
    for sample in read:
        if sample.events.layout.digest != read[0].events.layout.digest:
            layouts = [some.events.layout.name for some in (sample, read[0])]
            raise UserError(
                f"{sample.file}: has words of layout {layouts[0]!r}, {read[0].file} {layouts[1]!r}"
            )
    if menu is not None and any(sample.pure is None for sample in read):
        read = [replace(sample, pure=None) for sample in read]
        menu = None
    if menu is not None and column is None:
        column = menu.columns[0]
    return Samples(read[0], {s.name: s for s in read[1:]}, menu, column if menu else None)


def _read(file: str, menu: Menu | None, column: str | None) -> Sample:
    from axo.events.sources import read_events, resolve, source_of

    format = source_of(file).__name__.rsplit(".", 1)[-1]
    events = read_events(file)
    if not len(events):
        raise UserError(f"{file}: holds no events")
    if events.weight is not None:
        raise UserError(f"{file}: has weights; axo evaluate counts events, so give unweighted ones")
    known = menu is not None and not menu.lacks(events)
    pure = pure_of(menu, events, column) if menu is not None and known else None
    name = resolve(file).name.split(".")[0].removeprefix("sig_")
    return Sample(name, events, pure, file, format)


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
