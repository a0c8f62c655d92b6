"""Describe, check or convert files of recorded events.

  axo events zerobias_test.h5                      what is in it
  axo events TestVector.txt.gz --seed-names seeds.csv
  axo events *.h5 --check                          check every word, say nothing else
  axo events big.h5 --every 32 --output small.h5   cut a sample

Formats are recognised by content: the toolkit's HDF5, ADC2021 HDF5 (GeV), and test vectors of the
CMS global trigger (text or gzip). Every command that reads events checks them as --check does.
sample:NAME names a sample that ships with axo (zerobias_train, zerobias_test, sig_ttbar, sig_A_4l).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from axo.events import Events


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo events``."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="files of events, or sample:NAME")
    parser.add_argument("--format", help="toolkit, adc2021 or ugt (default: recognised by content)")
    parser.add_argument("--seed-names", metavar="CSV", help="table index,name that names the algorithm bits")
    parser.add_argument("--every", type=_positive, default=1, metavar="K", help="take every K-th event only")
    parser.add_argument("--limit", type=_positive, metavar="N", help="take at most N events")
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
        for events in iter_events(file, format=args.format, seed_names=args.seed_names, stop=stop):
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
        import numpy as np

        from axo.layout.cms import CMS_WORDS

        self.n = 0
        self.values: dict[str, set[int]] = {"run": set(), "luminosity_block": set(), "bunch_crossing": set()}
        self.ranges: dict[str, tuple[float, float, float]] = {}
        self.present = np.zeros(len(CMS_WORDS) // 3, np.int64)
        self.highest = np.zeros(len(CMS_WORDS), np.int64)
        self.lowest = np.zeros(len(CMS_WORDS), np.int64)
        self.seeds: dict[str, int] = {}

    def add(self, events: Events) -> None:
        """Count `events` in."""
        import numpy as np

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
        self.present += (events.words[:, 0::3] > 0).sum(axis=0)
        self.highest = np.maximum(self.highest, events.words.max(axis=0))
        self.lowest = np.minimum(self.lowest, events.words.min(axis=0))
        if events.seed_bits is not None:
            for name, fired in zip(events.seed_names, events.seed_bits.sum(axis=0).tolist(), strict=True):
                self.seeds[name] = self.seeds.get(name, 0) + fired

    def lines(self) -> Iterator[str]:
        """The description, line by line."""
        from axo.layout.units import KINDS, PT_GEV

        for name, values in self.values.items():
            if values:
                count = "" if len(values) == 1 else f" to {max(values)} ({len(values)} different)"
                yield f"  {name.replace('_', ' '):16} {min(values)}{count}"
        for name, (low, high, total) in self.ranges.items():
            yield f"  {name.replace('_', ' '):16} mean {total / self.n:.2f}, {low:g} to {high:g}"
        yield "  object  mean number  in events  largest pt word          eta words     largest phi word"
        for name, kind in KINDS.items():
            number = self.present[kind.objects].sum() / max(self.n, 1)
            leading = self.present[kind.first] / max(self.n, 1)
            words = slice(kind.words.start, kind.words.stop)
            pt, eta, phi = (self.highest[words][position::3].max() for position in range(3))
            low = self.lowest[words][1::3].min()
            yield (
                f"  {name:6}  {number:11.3f}  {leading:9.1%}  {pt:6} ({pt * PT_GEV:6.1f} GeV)"
                f"  {low:9} to {eta:4}  {phi:12}"
            )
        if self.seeds:
            fired = sorted(self.seeds.items(), key=lambda item: -item[1])
            most = ", ".join(f"{name} {count / self.n:.1%}" for name, count in fired[:5])
            ever = sum(count > 0 for _, count in fired)
            yield f"  seeds            {len(fired)}, {ever} ever fired; most: {most}"
