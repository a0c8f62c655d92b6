"""Make the counts that simulations and controllers start from: zero-bias events to scores by pileup.

  python -m axo.rate_monitor.scenarios.count NETWORK --zero-bias FILE --output FILE.json
      [--signal NAME=FILE ...] [--word htt_pt] [--tail FILE.json]

The zero-bias events need their numbers of interactions. With --word, an extra quantity of the events is
counted in place of the network's score. --tail also writes the events themselves that are far out in the
score or in HTT, for menus of both (see scenarios.menu).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.events import EXTRAS, Events
from axo.events.sources import iter_events
from axo.files import write_json
from axo.firmware.models import find_model
from axo.network import Network, digest, evaluate
from axo.physics.pileup_model import count_scores, score_bins, write_score_by_pileup

from .menu import TAIL_FORMAT

_TAIL = 0.003  # of all events, in each quantity


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv`; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", help="a released model's name, a folder, or a network file")
    parser.add_argument("--zero-bias", required=True, nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.json")
    parser.add_argument("--signal", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--word", metavar="EXTRA", help="count this extra quantity, such as htt_pt")
    parser.add_argument("--tail", type=Path, metavar="FILE.json")
    args = parser.parse_args(argv)
    try:
        _count(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _count(args: argparse.Namespace) -> None:
    network = find_model(args.network).network
    quantities = ["score", "htt_pt"] if args.tail else [args.word or "score"]
    columns = _columns(args.zero_bias, network, quantities)
    origin = f"{len(columns['interactions'])} zero-bias events of " + ", ".join(
        p.name for p in args.zero_bias
    )
    counted = columns[args.word or "score"]
    words = score_bins(counted)
    table = count_scores(counted, columns["interactions"], words, digest(network), origin)
    signals = {}
    for item in args.signal:
        name, _, path = item.partition("=")
        values = _columns([Path(path)], network, [args.word or "score"])[args.word or "score"]
        bins = np.searchsorted(words, values, side="right") - 1
        signals[name] = (len(values), np.bincount(bins[bins >= 0], minlength=len(words)))
    write_score_by_pileup(args.output, replace(table, signals=signals))
    if args.tail:
        _write_tail(args.tail, columns, digest(network), origin)


def _columns(paths: list[Path], network: Network, quantities: list[str]) -> dict[str, NDArray[np.int64]]:
    """`quantities` and the numbers of interactions of all events, by name."""
    parts = list(_chunks(paths, network, quantities))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _chunks(
    paths: list[Path], network: Network, quantities: list[str]
) -> Iterator[dict[str, NDArray[np.int64]]]:
    for events in iter_events(paths):
        if events.pileup is None:
            raise UserError(f"{paths[0]}: has no numbers of interactions (npu), which the counts are made by")
        chunk = {name: _quantity(events, network, name).astype(np.int64) for name in quantities}
        yield {**chunk, "interactions": np.rint(events.pileup).astype(np.int64)}


def _quantity(events: Events, network: Network, name: str) -> NDArray[np.integer]:
    if name == "score":
        return evaluate(network, events.for_network(network)).score_word
    extra = EXTRAS.get(name)
    if extra is None or not events.has(extra.kind, extra.role):
        raise UserError(f"the events have no quantity {name!r}")
    words = events.quantity(extra.kind, extra.role)
    if words.shape[1] != 1:
        raise UserError(f"{name!r} has {words.shape[1]} values an event, and only one can be counted")
    return words[:, 0]


def _write_tail(path: Path, columns: dict[str, NDArray[np.int64]], network: str, origin: str) -> None:
    """The events far out in any quantity, with how many events of each number of interactions there were."""
    values = {name: column for name, column in columns.items() if name != "interactions"}
    floors = {name: int(np.quantile(column, 1 - _TAIL)) for name, column in values.items()}
    far = np.any([column >= floors[name] for name, column in values.items()], axis=0)
    write_json(
        path,
        {
            "format": TAIL_FORMAT,
            "network": network,
            "origin": origin,
            "floors": floors,
            "events": np.bincount(columns["interactions"]).tolist(),
            "interactions": " ".join(map(str, columns["interactions"][far])),
            "values": {name: " ".join(map(str, column[far])) for name, column in values.items()},
        },
    )


if __name__ == "__main__":
    sys.exit(main())
