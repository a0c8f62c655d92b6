"""Rank trained candidates without a simulated anomaly, and say how a ranking by signals would differ.

  axo select build/train/axo_v3 --data zerobias_test.h5                    the seeds of one training
  axo select axo_v3 axo_nae axo_fad --data zerobias_test.h5                released models
  axo select build/train/first build/train/second --data ZB.h5 --signals sig_*.h5 --json ranking.json

A CANDIDATE is a released model, an artefact folder, a network file, or a folder with seedN.network.json
of several seeds, as axo train leaves in its work folder. Each network is compared with its partners: the
other seeds of its folder, or else all other networks. It is ranked by the mean posterior agreement
(arXiv 2503.16271) with them on zero bias: do independent trainings take the same decisions at the working
point? Beside it stands the mutual information between their latent spaces, the mean over
the fifths of the data. Folders of several seeds are ranked too. axo.physics.selection defines both
quantities.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError

if TYPE_CHECKING:
    from axo.events import Events
    from axo.firmware.models import Model

Json = dict[str, Any]

SUBSETS = 5
SUBSET_EVENTS = 20_000
"""Latent spaces are compared on that many events, or somewhat more, of each fifth of the data in order."""

LEAST_PASSING = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo select``."""
    parser.add_argument(
        "candidates", nargs="+", metavar="CANDIDATE", help="model, network file or folder of seeds"
    )
    parser.add_argument("--data", required=True, metavar="FILE", help="zero-bias events")
    parser.add_argument(
        "--signals", nargs="+", default=[], metavar="FILE", help="only to show what peeking does"
    )
    parser.add_argument(
        "--rate-khz", type=float, default=10.0, metavar="KHZ", help="working point (%(default)g)"
    )
    parser.add_argument("--bunches", type=int, help="colliding bunches (default 2544)")
    parser.add_argument("--json", metavar="FILE", help="write the ranking as JSON")


def run(args: argparse.Namespace) -> int:
    """Run ``axo select``."""
    from axo.files import write_json

    document = select(args)
    print(text_of(document))
    if args.json:
        write_json(args.json, document)
    return 0


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network of a `group` (the argument that named it), with what it says of every event."""

    name: str
    group: str
    model: Model
    scores: NDArray[np.int32]
    latent: NDArray[np.int32]
    margins: NDArray[np.float64]


def select(args: argparse.Namespace) -> Json:
    """The ranking. Raises UserError for bad input, a single network, or too few events for the rate."""
    from axo.physics.figures import ONE_SIGMA
    from axo.physics.rates import DEFAULT_BUNCHES, collision_rate_hz
    from axo.physics.roc import allowed_events

    from .evaluation_samples import read_samples

    bunches = DEFAULT_BUNCHES if args.bunches is None else args.bunches
    if bunches < 1 or not args.rate_khz > 0:
        raise UserError("--rate-khz must be positive, and --bunches at least 1")
    named = _find(args.candidates)
    samples = read_samples(args.data, args.signals, None, None)
    events = samples.background.events
    fraction = args.rate_khz * 1000 / collision_rate_hz(bunches)
    allowed = allowed_events(fraction, len(events))
    if allowed < LEAST_PASSING or fraction >= 1:
        raise UserError(
            f"{args.data}: {args.rate_khz:g} kHz is {allowed} of {len(events)} events, not enough to "
            f"compare decisions (at least {LEAST_PASSING}, not all); give more events or another rate"
        )
    candidates = [_candidate(name, group, model, events, allowed) for name, group, model in named]
    pairs = {
        (a.name, b.name): _pair(a, b)
        for a, b in itertools.combinations(candidates, 2)
        if _are_partners(a, b, candidates)
    }
    rows = [_row(candidate, pairs) for candidate in candidates]
    if samples.signals:
        signals = {name: s.events for name, s in samples.signals.items()}
        for row, candidate in zip(rows, candidates, strict=True):
            row |= _peek(candidate, signals, allowed)
    rows.sort(key=lambda row: -row["posterior_agreement"])
    return {
        "format": "axo-selection",
        "version": 1,
        "data": samples.background.document(),
        "signals": {name: s.document() for name, s in samples.signals.items()},
        "rate_khz": args.rate_khz,
        "bunches": bunches,
        "confidence": ONE_SIGMA,
        "candidates": rows,
        "groups": _groups(rows, pairs),
        "pairs": [{"first": a, "second": b, **found} for (a, b), found in pairs.items()],
        "against_signals": _against_signals(rows) if samples.signals else None,
    }


def _find(arguments: Sequence[str]) -> list[tuple[str, str, Model]]:
    """(name, group, model) of every network; UserError for one given twice, or fewer than two."""
    from axo.firmware.models import find_model
    from axo.network import digest

    from .candidates import seed_files

    found: list[tuple[str, str, Model]] = []
    for argument in arguments:
        seeds = seed_files(argument)
        group = Path(argument).name or argument
        if seeds:
            found += [
                (f"{group}/{path.name.split('.')[0]}", argument, find_model(str(path))) for path in seeds
            ]
        else:
            found.append((group, argument, find_model(argument)))
    seen: dict[str, str] = {}
    names: set[str] = set()
    for name, argument, model in found:
        same = dataclasses.replace(model.network, name="", thresholds={}, provenance={})
        if (other := seen.setdefault(digest(same), name)) != name or name in names:
            raise UserError(f"{argument}: {name} is the same network, or has the same name, as {other}")
        names.add(name)
    if len(found) < 2:
        raise UserError(
            f"{arguments[0]}: one network has nothing to agree with; give several, or the work folder "
            "of axo train with several seeds"
        )
    return found


def _candidate(name: str, group: str, model: Model, events: Events, allowed: int) -> Candidate:
    from axo.physics.selection import margins
    from axo.scorer import exact_evaluator

    scores, latent = exact_evaluator(model.network)(events.for_network(model.network))
    return Candidate(name, group, model, scores, latent, margins(scores, allowed))


def _are_partners(a: Candidate, b: Candidate, candidates: Sequence[Candidate]) -> bool:
    """Seeds of one folder have each other; a network that is alone in its group has all others."""
    sizes = [sum(c.group == one.group for c in candidates) for one in (a, b)]
    return a.group == b.group or min(sizes) == 1


def _pair(a: Candidate, b: Candidate) -> Json:
    from axo.config import to_plain
    from axo.physics.figures import Moments
    from axo.physics.selection import latent_information, posterior_agreement

    agreement = posterior_agreement(a.margins, b.margins)
    size = len(a.latent) // SUBSETS
    step = max(size // SUBSET_EVENTS, 1)
    subsets = [slice(i * size, (i + 1) * size, step) for i in range(SUBSETS)]
    information = [latent_information(a.latent[rows], b.latent[rows]) for rows in subsets]
    data = [c.model.network.provenance.get("train_words_sha256") for c in (a, b)]
    return {
        "posterior_agreement": agreement.value,
        "standard_error": agreement.standard_error,
        "beta": agreement.beta,
        "events": agreement.events,
        "latent_information": to_plain(Moments.of(information)),
        "same_training_data": None if None in data else data[0] == data[1],
    }


def _row(candidate: Candidate, pairs: dict[tuple[str, str], Json]) -> Json:
    mine = [found for names, found in pairs.items() if candidate.name in names]
    agreements = [found["posterior_agreement"] for found in mine]
    return {
        "candidate": candidate.name,
        "group": candidate.group,
        "partners": len(mine),
        "posterior_agreement": float(np.mean(agreements)),
        "standard_error": float(np.mean([found["standard_error"] for found in mine])),
        "lowest_agreement": min(agreements),
        "latent_information": float(np.mean([found["latent_information"]["mean"] for found in mine])),
    }


def _peek(candidate: Candidate, signals: dict[str, Events], allowed: int) -> Json:
    """Efficiencies at the working point: what the ranking above has not seen."""
    from axo.physics.figures import geometric_mean
    from axo.physics.roc import cut_at
    from axo.scorer import exact_evaluator

    evaluate = exact_evaluator(candidate.model.network)
    cut = cut_at(candidate.scores, allowed)
    words = {name: events.for_network(candidate.model.network) for name, events in signals.items()}
    efficiency = {name: float((evaluate(words[name])[0] > cut).mean()) for name in words}
    return {"efficiency": efficiency, "geometric_mean": float(geometric_mean(list(efficiency.values())))}


def _groups(rows: Sequence[Json], pairs: dict[tuple[str, str], Json]) -> list[Json]:
    """Folders of several seeds, the one whose seeds agree best first."""
    result = []
    for group in dict.fromkeys(row["group"] for row in rows):
        names = {row["candidate"] for row in rows if row["group"] == group}
        inside = [found["posterior_agreement"] for pair, found in pairs.items() if set(pair) <= names]
        if inside:
            entry = {"group": group, "seeds": len(names), "posterior_agreement": float(np.mean(inside))}
            means = [
                row["geometric_mean"] for row in rows if row["group"] == group and "geometric_mean" in row
            ]
            result.append(entry | ({"geometric_mean": float(np.mean(means))} if means else {}))
    return sorted(result, key=lambda entry: -entry["posterior_agreement"])


def _against_signals(rows: Sequence[Json]) -> Json:
    """How the blind rankings compare with the one by geometric-mean efficiency; null below three."""
    by_signals = [row["geometric_mean"] for row in rows]
    best = int(np.argmax(by_signals))
    result: Json = {"best_by_signals": rows[best]["candidate"], "its_blind_rank": best + 1}
    # What the blind choice costs, and what choosing at random would on average.
    result["chosen_over_best"] = by_signals[0] / by_signals[best] if by_signals[best] else None
    result["mean_over_best"] = float(np.mean(by_signals)) / by_signals[best] if by_signals[best] else None
    for key in ("posterior_agreement", "latent_information"):
        result[f"rank_correlation_{key}"] = _rank_correlation([row[key] for row in rows], by_signals)
    return result


def _rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's; None when there are fewer than three, or all are equal."""
    from scipy.stats import spearmanr

    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    return float(spearmanr(first, second).statistic)


def text_of(document: Json) -> str:
    """The ranking for a terminal."""
    from axo.report import Page, Section, Table

    peeked = document["against_signals"] is not None
    rows = [
        [
            str(rank),
            f"{row['posterior_agreement']:.4f} +- {row['standard_error']:.4f}",
            f"{row['latent_information']:.3f}",
            *([f"{row['geometric_mean']:.4f}"] if peeked else []),
            row["candidate"],
        ]
        for rank, row in enumerate(document["candidates"], start=1)
    ]
    means = ["geometric mean"] if peeked else []
    header = ["rank", "posterior agreement", "latent information (nats)", *means, "candidate"]
    table = Table(header, rows, "r" * (len(header) - 1) + "l")
    groups = [
        f"{entry['group']}: {entry['seeds']} seeds, mean agreement {entry['posterior_agreement']:.4f}"
        for entry in (document["groups"] if len(document["groups"]) > 1 else ())
    ]
    chosen = [f"chosen without signals: {document['candidates'][0]['candidate']}"]
    if peeked:
        found = document["against_signals"]
        chosen.append(
            f"signals would choose {found['best_by_signals']} (blind rank {found['its_blind_rank']}); rank "
            f"correlation with the geometric-mean efficiency: posterior agreement "
            f"{_number(found['rank_correlation_posterior_agreement'])}, latent information "
            f"{_number(found['rank_correlation_latent_information'])}"
        )
    about = (
        f"{len(document['candidates'])} networks on {document['data']['events']:,} events of "
        f"{document['data']['file']}, decisions at {document['rate_khz']:g} kHz"
    )
    return Page("", [Section(table=table, after=groups), Section(text=chosen)], [about]).terminal()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
