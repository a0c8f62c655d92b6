"""Describe, check or convert files of recorded events.

  axo events zerobias_test.h5                      what is in it
  axo events TestVector.txt.gz --seed-names seeds.csv
  axo events *.h5 --check                          check every word, say nothing else
  axo events big.h5 --every 32 --output small.h5   cut a sample
  axo events TestVector.txt.gz --layout cms_gt     all objects of the global trigger

Formats are recognised by content: the toolkit's HDF5, ADC2021 HDF5 (GeV), and test vectors of the
CMS global trigger (text or gzip). Every command that reads events checks them as --check does.
sample:NAME names a sample that ships with axo (zerobias_train, zerobias_test, sig_ttbar, sig_A_4l).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from axo.events import Events
    from axo.layout import Kind, Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo events``."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="files of events, or sample:NAME")
    parser.add_argument("--format", help="toolkit, adc2021 or ugt (default: recognised by content)")
    parser.add_argument("--seed-names", metavar="CSV", help="table index,name that names the algorithm bits")
    parser.add_argument("--every", type=_positive, default=1, metavar="K", help="take every K-th event only")
    parser.add_argument("--limit", type=_positive, metavar="N", help="take at most N events")
    parser.add_argument(
        "--layout",
        metavar="NAME",
        help="layout to give the events in, by name or as a YAML file (default: that of each file; "
        "cms_axol1tl of test vectors)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="only check")
    what.add_argument("--output", metavar="H5", help="write the events, joined, as toolkit HDF5")


def run(args: argparse.Namespace) -> int:
    """Run ``axo events``."""
    from axo.events.sources import source_of, write_events

    if args.output:
        n = write_events(args.output, _selected(args, args.files), _origin(args))
        print(f"{args.output}: wrote {n} events")
        return 0
    for file in args.files:
        summary = _Summary()
        for events in _selected(args, [file]):
            summary.add(events)
        format = source_of(file, args.format).__name__.rpartition(".")[2]
        print(f"{file}: {format}, {summary.n} events{', all words right' if args.check else ''}")
        if not args.check:
            print("\n".join(summary.lines()))
    return 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _selected(args: argparse.Namespace, files: list[str]) -> Iterator[Events]:
    """Every K-th event of each file, at most N in all."""
    from axo.events.sources import iter_events

    left = args.limit
    for file in files:
        seen = 0
        stop = None if left is None else left * args.every
        for events in iter_events(
            file, format=args.format, seed_names=args.seed_names, stop=stop, layout=args.layout
        ):
            taken = events[(-seen) % args.every :: args.every][:left]
            seen += len(events)
            left = None if left is None else left - len(taken)
            yield taken
        if left == 0:
            return


def _origin(args: argparse.Namespace) -> dict[str, Any]:
    """Attributes that say where the events are from; those of a single toolkit file are kept."""
    import hashlib

    from axo.events.sources import resolve, source_of, toolkit

    paths = [resolve(file) for file in args.files]
    kept = (
        toolkit.attributes(paths[0])
        if len(paths) == 1 and source_of(paths[0], args.format) is toolkit
        else {}
    )
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    limit = "" if args.limit is None else f", at most {args.limit} in all"
    return kept | {
        "cut_from": ", ".join(path.name for path in paths),
        "cut_from_sha256": ", ".join(digests),
        "selection": f"one event in {args.every} of each file, from the first one on{limit}",
    }


class _Summary:
    """What is said about events, gathered chunk by chunk."""

    def __init__(self) -> None:
        self.n = 0
        self.layout: Layout | None = None
        self.values: dict[str, set[int]] = {"run": set(), "luminosity_block": set(), "bunch_crossing": set()}
        self.ranges: dict[str, tuple[float, float, float]] = {}
        self.objects: dict[str, NDArray[np.int64]] = {}
        self.extremes: dict[tuple[str, str], tuple[int, int]] = {}
        self.seeds: dict[str, int] = {}

    def add(self, events: Events) -> None:
        """Count `events` in."""
        import numpy as np

        self.layout = events.layout
        if not len(events):
            return
        self.n += len(events)
        for name, values in self.values.items():
            if (column := getattr(events, name)) is not None:
                values.update(np.unique(column).tolist())
        for name in ("pileup", "average_pileup", "weight"):
            if (column := getattr(events, name)) is not None:
                low, high, total = self.ranges.get(name, (np.inf, -np.inf, 0.0))
                self.ranges[name] = (
                    min(low, float(column.min())),
                    max(high, float(column.max())),
                    total + float(column.sum(dtype=np.float64)),
                )
        self._add_objects(events)
        if events.seed_bits is not None:
            for name, fired in zip(events.seed_names, events.seed_bits.sum(axis=0).tolist(), strict=True):
                self.seeds[name] = self.seeds.get(name, 0) + fired

    def _add_objects(self, events: Events) -> None:
        from axo.events import column_slice

        for kind in events.layout.kinds:
            present = events.layout.present(events.words, kind.name).sum(axis=0)
            self.objects[kind.name] = self.objects.get(kind.name, 0) + present
            for quantity in kind.quantities:
                words = events.words[:, column_slice(events.layout, kind.name, quantity.name)]
                found = int(words.min()), int(words.max())
                low, high = self.extremes.get((kind.name, quantity.name), found)
                self.extremes[kind.name, quantity.name] = min(low, found[0]), max(high, found[1])

    def lines(self) -> Iterator[str]:
        """The description, line by line."""
        for name, values in self.values.items():
            if values:
                count = "" if len(values) == 1 else f" to {max(values)} ({len(values)} different)"
                yield f"  {name.replace('_', ' '):16} {min(values)}{count}"
        for name, (low, high, total) in self.ranges.items():
            yield f"  {name.replace('_', ' '):16} mean {total / self.n:.2f}, {low:g} to {high:g}"
        if self.layout is not None and self.objects:
            yield f"  layout           {self.layout.name}, {len(self.layout.words)} words"
            yield "  object  mean number  first in  quantity           words             in units"
            for kind in self.layout.kinds:
                yield from self._kind_lines(kind)
        if self.seeds:
            fired = sorted(self.seeds.items(), key=lambda item: -item[1])
            most = ", ".join(f"{name} {count / self.n:.1%}" for name, count in fired[:5])
            ever = sum(count > 0 for _, count in fired)
            yield f"  seeds            {len(fired)}, {ever} ever fired; most: {most}"

    def _kind_lines(self, kind: Kind) -> Iterator[str]:
        """A line for every quantity of a kind, the first with how many objects there are."""
        present = self.objects[kind.name]
        start = f"  {kind.name:6}  {present.sum() / self.n:11.3f}  {present[0] / self.n:8.1%}"
        for quantity in kind.quantities:
            if not quantity.bits:
                continue
            low, high = self.extremes[kind.name, quantity.name]
            units = [f"{quantity.origin + word * quantity.step_value:g}" for word in (low, high)]
            said = (
                f"  {' to '.join(units)} {quantity.unit}" if quantity.unit or quantity.step_value != 1 else ""
            )
            yield f"{start}  {quantity.name:16}  {low:6} to {high:<6}{said}".rstrip()
            start = " " * len(start)
