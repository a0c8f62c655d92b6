"""Answers from partial results: rates, purity, overlaps, efficiencies, each with its interval.

All are fractions of events (of their weight, if they have any) as `axo.physics.figures.share` makes them.
What `answer` gives follows answers_schema.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.config import to_plain
from axo.emulator.partial import OBJECTS_STEP, Kept, Partial, Tally, counted_kinds, objects_keys
from axo.emulator.replay import Result
from axo.errors import UserError, nearest
from axo.files import check_document, write_json
from axo.layout import Layout
from axo.network import Network, digest
from axo.network.convention import described
from axo.physics.figures import NOTHING, ONE_SIGMA, Accepted, Amount, Interval, share
from axo.physics.rates import (
    DEFAULT_BUNCHES,
    ScoreHistogram,
    collision_rate_khz,
    pure_threshold_for_rate,
    rate_khz,
    threshold_for_rate,
)

Json = dict[str, Any]

OVERLAP_SEEDS = 8
"""Seeds whose overlap is given against threshold."""

DIGITS, ANGLE_DIGITS = 6, 4
"""Decimals of an object's quantities, and of its eta and phi."""

SCAN_POINTS = 60
"""Thresholds at which rate and purity are given against threshold."""


@dataclass(frozen=True)
class Question:
    """What is asked: thresholds (words or names of the network's working points) and target rates.

    `triggered` data are no zero bias: counts and fractions are given, no rates. `top` events and
    seeds are listed.
    """

    thresholds: tuple[str, ...] = ()
    rates_khz: tuple[float, ...] = ()
    pure_rates_khz: tuple[float, ...] = ()
    bunches: int = DEFAULT_BUNCHES
    confidence: float = ONE_SIGMA
    triggered: bool = False
    top: int = 20

    def require_answerable(self, network: Network, has_seeds: bool) -> None:
        """UserError when it asks what a job with or without seeds cannot know, before any event is read."""
        if not (self.thresholds or self.rates_khz or self.pure_rates_khz or network.thresholds):
            raise UserError(
                f"network {network.name!r} has no working points: give --threshold, --rate-khz or "
                "--pure-rate-khz"
            )
        for text in self.thresholds:
            threshold_word(network, text)
        if self.pure_rates_khz and not has_seeds:
            raise UserError(
                "a pure rate needs seeds, but there are none: give --menu, or a source with seed bits"
            )
        if self.triggered and (self.rates_khz or self.pure_rates_khz):
            raise UserError(
                "triggered data have no absolute rate: give thresholds as words, or leave --triggered"
            )
        if not 0 < self.confidence < 1:
            raise UserError(f"confidence {self.confidence} is not within 0 and 1")
        if self.bunches < 1 or self.top < 0:
            raise UserError("bunches must be at least 1 and the number of listed events at least 0")


def threshold_word(network: Network, text: str) -> int:
    """The threshold that `text` means: a score word, or a working point of `network` by name."""
    if text in network.thresholds:
        return network.thresholds[text]
    highest = network.score_type.max_int + 1
    if not text.isdecimal():
        known = list(network.thresholds)
        raise UserError(
            f"threshold {text!r} is neither a score word nor a working point{nearest(text, known)} "
            f"(known: {', '.join(known) or 'none'})"
        )
    if int(text) > highest:
        raise UserError(f"threshold {text} is beyond the largest score word, {highest - 1}")
    return int(text)


def answer(result: Result, question: Question) -> Json:
    """All answers as JSON (no NaN; what cannot be known is null or absent)."""
    seeds, samples = result.document["seeds"], result.document["samples"]
    question.require_answerable(result.network, seeds is not None)
    total = _Counts(result.zero_bias, question, bins=result.document["bins"])
    points = _working_points(result.network, total, question)
    signals = {
        samples[group]["name"]: _Counts(partial, question, total.bins)
        for group, partial in sorted(result.partials.items())
        if group >= 0
    }
    answers: Json = to_plain(
        {
            "format": "axo-replay",
            "network": {
                "name": result.network.name,
                "sha256": digest(result.network),
                "reads": described(result.network.layout, result.network.pt_convention),
            },
            "normalisation": None if question.triggered else _normalisation(question),
            "confidence": question.confidence,
            "samples": samples,
            "events": total.partial.events,
            "weighted": total.weighted,
            "seeds": None if seeds is None else _seeds(seeds, total),
            "working_points": [_working_point(name, t, total, signals, seeds) for name, t in points],
            "scan": [_rates(t, total) for t in _scan_thresholds(total)],
            "overlap_scan": _overlap_scan(total, seeds),
            "objects": _multiplicities(total.objects(), total.partial.kept.events.layout),
            "signals": {name: _signal(counts, total) for name, counts in signals.items()},
            "top_events": _top_events(total.partial.kept[: question.top], samples, seeds),
        }
    )
    return answers


def check_answers(answers: Json) -> None:
    """ValueError, naming the place, when `answers` break their schema."""
    check_document(answers, "axo.emulator", "answers_schema.json")


def write_answers(path: str, answers: Json) -> None:
    """Check `answers` and write them as JSON."""
    check_answers(answers)
    write_json(path, answers)


class _Counts:
    """A partial result with what is derived from it once: what any threshold accepts."""

    def __init__(self, partial: Partial, question: Question, bins: int) -> None:
        self.partial, self.question, self.bins = partial, question, bins
        self.weighted = partial.tallies["scores"].digits is not None
        self.above = partial.tallies["scores"].above()
        pure = partial.tallies.get("pure_scores")
        self._pure_above = None if pure is None else pure.above()
        self.total = _at_least(0, self.above)

    @property
    def has_pure(self) -> bool:
        """Whether there are seeds to be pure of."""
        return self._pure_above is not None

    def accepted(self, threshold: int) -> Accepted:
        """Events at or above the threshold, and those of them in which no other seed fired."""
        pure = None if self._pure_above is None else _at_least(threshold, self._pure_above)
        return Accepted(_at_least(threshold, self.above), self.total, pure, self.question.confidence)

    def others(self) -> Accepted | None:
        """Events in which some other unprescaled seed fired; None without seeds."""
        everything = self.accepted(0)
        if everything.pure is None:
            return None
        return Accepted(everything.passed - everything.pure, self.total, confidence=self.question.confidence)

    def histogram(self, name: str) -> ScoreHistogram:
        """The score histogram of a tally of score words."""
        tally = self.partial.tallies[name]
        counts = np.zeros(self.bins, np.int64)
        counts[tally.keys] = tally.counts
        if not self.weighted:
            return ScoreHistogram(counts)
        sums = (np.zeros(self.bins), np.zeros(self.bins))
        for array, values in zip(sums, tally.sums(), strict=True):
            array[tally.keys] = values
        return ScoreHistogram(counts, *sums)

    def kept(self, threshold: int) -> Kept | None:
        """All events at or above the threshold in detail; None when more passed than were kept."""
        kept = self.partial.kept
        above = kept[: int(np.searchsorted(-kept.score.astype(np.int64), -threshold, side="right"))]
        return above if len(above) == _at_least(threshold, self.above).events else None

    def objects(self) -> dict[int, Amount]:
        """Events by key of the tally ``objects``."""
        return _amounts(self.partial.tallies["objects"])

    def rate(self, fraction: Interval | None, prescale: float = 1) -> Interval | None:
        """The rate in kHz of a fraction of these events; None for triggered data."""
        return None if self.question.triggered else rate_khz(fraction, self.question.bunches, prescale)

    def share(self, part: Amount, whole: Amount) -> Interval | None:
        """`part` over `whole` with the bounds of its interval; None of nothing."""
        return share(part, whole, self.question.confidence)


def _at_least(threshold: int, above: Tally) -> Amount:
    """Events with a key of at least `threshold`, from `Tally.above`."""
    position = min(int(np.searchsorted(above.keys, threshold)), len(above.keys) - 1)
    (amount,) = _amounts(above[position : position + 1]).values()
    return amount


def _amount_of(kept: Kept, chosen: NDArray[np.bool_] | None = None) -> Amount:
    """Kept events, or the `chosen` (n,) of them."""
    return Amount.of(np.ones(len(kept), bool) if chosen is None else chosen, kept.events.weight)


def _amounts(tally: Tally) -> dict[int, Amount]:
    w, w2 = tally.sums()
    return {
        int(key): Amount(int(n), float(a), float(b))
        for key, n, a, b in zip(tally.keys, tally.counts, w, w2, strict=True)
    }


# Thresholds


def _working_points(network: Network, total: _Counts, question: Question) -> list[tuple[str, int]]:
    """Names and thresholds asked for, or else those of the network."""
    points = [
        (text if text in network.thresholds else f"word {text}", threshold_word(network, text))
        for text in question.thresholds
    ]
    for khz in question.rates_khz:
        points.append(
            (f"{khz:g} kHz", threshold_for_rate(total.histogram("scores"), khz * 1000, question.bunches))
        )
    for khz in question.pure_rates_khz:
        threshold = pure_threshold_for_rate(
            total.histogram("scores"), total.histogram("pure_scores"), khz * 1000, question.bunches
        )
        points.append((f"{khz:g} kHz pure", threshold))
    return points or list(network.thresholds.items())


def _scan_thresholds(total: _Counts) -> list[int]:
    """Thresholds from all events passing to one, evenly spaced in the logarithm of their number."""
    above = total.above.counts[:-1]
    # The first key at which no more than the wanted number passes.
    wanted = np.geomspace(max(total.partial.events, 1), 1, SCAN_POINTS)
    found = np.unique(np.searchsorted(-above, -wanted, side="left"))
    keys: list[int] = total.above.keys[found[found < len(above)]].tolist()
    return keys


# Parts of the answer


def _normalisation(question: Question) -> Json:
    return {
        "bunches": question.bunches,
        "collision_rate_khz": collision_rate_khz(question.bunches),
        "meaning": "all samples that are no signals are taken as zero bias",
    }


def _seeds(seeds: Json, total: _Counts) -> Json:
    """What is said of the other seeds: each one's events and rate, and those of their union."""
    fired = _amounts(total.partial.tallies["seeds"])
    others = total.others()
    assert others is not None
    return {
        "origin": seeds["origin"],
        "number": len(seeds["names"]),
        "unprescaled": sum(p == 1 and n not in seeds["own"] for n, p in _prescales(seeds)),
        "own": seeds["own"],
        "not_in_the_prescale_table": seeds["unknown"],
        "any_unprescaled": {"events": others.passed.events, "rate_khz": total.rate(others.efficiency)},
        "seeds": [
            {
                "seed": name,
                "prescale": prescale,
                "fired": (amount := fired.get(position, NOTHING)).events,
                "rate_khz": total.rate(total.share(amount, total.total), prescale),
            }
            for position, (name, prescale) in enumerate(_prescales(seeds))
        ],
    }


def _prescales(seeds: Json) -> list[tuple[str, float]]:
    return list(zip(seeds["names"], seeds["prescales"], strict=True))


@dataclass(frozen=True)
class RatePoint:
    """What one threshold gives in zero bias: rates in kHz (None: triggered data), purity (None: no seeds)."""

    threshold_word: int
    passed: int
    fraction: Interval | None
    rate_khz: Interval | None
    pure: int | None
    pure_rate_khz: Interval | None
    purity: Interval | None


def _rates(threshold: int, counts: _Counts) -> RatePoint:
    accepted = counts.accepted(threshold)
    return RatePoint(
        threshold,
        accepted.passed.events,
        accepted.efficiency,
        counts.rate(accepted.efficiency),
        None if accepted.pure is None else accepted.pure.events,
        counts.rate(accepted.pure_efficiency),
        accepted.purity,
    )


@dataclass(frozen=True)
class SignalPoint:
    """What one threshold catches of a signal, and what of it no other seed has (None: no seeds)."""

    efficiency: Interval | None
    pure_efficiency: Interval | None

    @classmethod
    def of(cls, accepted: Accepted) -> SignalPoint:
        """Of what is accepted."""
        return cls(accepted.efficiency, accepted.pure_efficiency)


def _working_point(
    name: str, threshold: int, total: _Counts, signals: dict[str, _Counts], seeds: Json | None
) -> Json:
    """Everything about one threshold. Details are null when more events passed than were kept."""
    kept = total.kept(threshold)
    point: Json = {"name": name, **to_plain(_rates(threshold, total))}
    point["signals"] = {
        signal: SignalPoint.of(counts.accepted(threshold)) for signal, counts in signals.items()
    }
    if kept is None:
        point["details"] = None
        point["keep_needed"] = point["passed"]
        return point
    point["details"] = {
        "overlaps": _overlaps(kept, total, seeds),
        "objects": _multiplicities(_objects_of(kept), kept.events.layout),
        "pure_objects": _multiplicities(_objects_of(kept[kept.pure]), kept.events.layout) if seeds else None,
        "sections": _sections(kept, total),
        "pileup": _by_pileup(kept, total),
    }
    return point


def _overlaps(kept: Kept, total: _Counts, seeds: Json | None) -> list[Json] | None:
    """For each seed that fired with this one: how often, of ours and of its own.

    Unprescaled ones first, which take the purity; then the most frequent first.
    """
    if seeds is None or kept.events.seed_bits is None:
        return None
    fired = _amounts(total.partial.tallies["seeds"])
    accepted = _amount_of(kept)
    found = []
    for position, (name, prescale) in enumerate(_prescales(seeds)):
        both = _amount_of(kept, kept.events.seed_bits[:, position])
        if both.events:
            found.append(
                {
                    "seed": name,
                    "prescale": prescale,
                    "own": name in seeds["own"],
                    "both": both.events,
                    "fired": fired[position].events,
                    "of_accepted": total.share(both, accepted),
                    "of_seed": total.share(both, fired[position]),
                }
            )
    return sorted(found, key=lambda entry: (entry["prescale"] != 1, -entry["both"], entry["seed"]))


def _overlap_scan(total: _Counts, seeds: Json | None) -> list[Json] | None:
    """The share of accepted events that the most overlapping seeds have too, against threshold."""
    points = {t: kept for t in _scan_thresholds(total) if (kept := total.kept(t)) is not None}
    if seeds is None or not points:
        return None
    others = [
        o for o in _overlaps(points[min(points)], total, seeds) or [] if not o["own"] and o["prescale"] == 1
    ]
    top = [entry["seed"] for entry in others[:OVERLAP_SEEDS]]
    positions = {name: seeds["names"].index(name) for name in top}
    return [
        {
            "threshold_word": t,
            "of_accepted": {
                name: total.share(_amount_of(kept, kept.events.seed_bits[:, i]), _amount_of(kept))
                for name, i in positions.items()
                if kept.events.seed_bits is not None
            },
        }
        for t, kept in points.items()
    ]


def _objects_of(kept: Kept) -> dict[int, Amount]:
    keys: dict[int, Amount] = {}
    for keys_of_kind in objects_keys(kept.events):
        for key in np.unique(keys_of_kind).tolist():
            keys[key] = _amount_of(kept, keys_of_kind == key)
    return keys


def _multiplicities(amounts: dict[int, Amount], layout: Layout) -> Json:
    """By kind of object, the events with 0, 1, 2, ... of them."""
    return {
        kind.name: [amounts.get(OBJECTS_STEP * position + i, NOTHING).events for i in range(kind.count + 1)]
        for position, kind in counted_kinds(layout)
    }


def _sections(kept: Kept, total: _Counts) -> Json | None:
    """Accepted and purely accepted events of every lumi section, and whether their rate is steady."""
    if "sections" not in total.partial.tallies:
        return None
    events = kept.events
    assert events.luminosity_block is not None
    run = np.zeros(len(kept), np.int64) if events.run is None else events.run.astype(np.int64)
    tallies = total.partial.tallies
    pileup = {}
    if "section_pileup" in tallies:
        sums = tallies["section_pileup"].sums()[0]
        pileup = dict(
            zip(tallies["section_pileup"].keys.tolist(), sums / tallies["section_pileup"].counts, strict=True)
        )
    rows = _profile(kept, (run << 32) + events.luminosity_block, tallies["sections"], total)
    for row in rows:
        key = row.pop("key")
        row |= {"run": key >> 32, "lumi_section": key & 0xFFFFFFFF}
        if key in pileup:
            row["average_pileup"] = float(pileup[key])
    return {"steadiness": _steadiness(rows), "sections": rows}


def _by_pileup(kept: Kept, total: _Counts) -> list[Json] | None:
    """The same against the number of interactions in the crossing."""
    if "pileup" not in total.partial.tallies or kept.events.pileup is None:
        return None
    rows = _profile(kept, np.floor(kept.events.pileup), total.partial.tallies["pileup"], total)
    return [{"pileup": row.pop("key"), **row} for row in rows]


def _profile(kept: Kept, keys: NDArray[Any], everything: Tally, total: _Counts) -> list[Json]:
    """For each key of `everything`: events, accepted and pure ones, and the accepted fraction's rate."""
    accepted = _amounts(Tally.of(keys, kept.events.weight))
    weights = None if kept.events.weight is None else kept.events.weight[kept.pure]
    pure = _amounts(Tally.of(keys[kept.pure], weights))
    rows = []
    for key, amount in _amounts(everything).items():
        found = Accepted(
            accepted.get(key, NOTHING),
            amount,
            pure.get(key, NOTHING) if total.has_pure else None,
            total.question.confidence,
        )
        rows.append(
            {
                "key": key,
                "events": amount.events,
                "passed": found.passed.events,
                "pure": None if found.pure is None else found.pure.events,
                "fraction": found.efficiency,
                "purity": found.purity,
            }
        )
    return rows


def _steadiness(rows: Sequence[Json]) -> Json | None:
    """Pearson's chi-square of a rate that is the same in all sections; null for a single one."""
    events = np.array([row["events"] for row in rows], np.float64)
    passed = np.array([row["passed"] for row in rows], np.float64)
    if len(rows) < 2 or not 0 < passed.sum() < events.sum():
        return None
    expected = events * (passed.sum() / events.sum())
    variance = expected * (1 - passed.sum() / events.sum())
    return {"chi2": float(((passed - expected) ** 2 / variance).sum()), "degrees_of_freedom": len(rows) - 1}


def _signal(counts: _Counts, total: _Counts) -> Json:
    """A signal's efficiency against the zero-bias threshold scan, and what the other seeds catch."""
    others = counts.others()
    return {
        "events": counts.total.events,
        "any_unprescaled": others and others.efficiency,
        "scan": [
            {"threshold_word": t, **vars(SignalPoint.of(counts.accepted(t)))} for t in _scan_thresholds(total)
        ],
    }


def _top_events(kept: Kept, samples: Sequence[Json], seeds: Json | None) -> list[Json]:
    """The most anomalous events: where they are, their objects in units, the seeds that fired."""
    found = []
    for i in range(len(kept)):
        entry: Json = {
            "score_word": int(kept.score[i]),
            "file": samples[int(kept.file[i])]["file"],
            "row": int(kept.row[i]),
        }
        for name in ("run", "luminosity_block", "event", "bunch_crossing", "orbit"):
            if (column := getattr(kept.events, name)) is not None:
                entry[name] = int(column[i])
        for name in ("pileup", "weight"):
            if (column := getattr(kept.events, name)) is not None:
                entry[name] = float(column[i])
        if seeds is not None and kept.events.seed_bits is not None:
            entry["pure"] = bool(kept.pure[i])
            entry["seeds"] = [n for n, on in zip(seeds["names"], kept.events.seed_bits[i], strict=True) if on]
        entry["objects"] = list(_objects(kept.events.layout, kept.events.words[i]))
        found.append(entry)
    return found


def _objects(layout: Layout, words: NDArray[Any]) -> Iterable[Json]:
    """The objects of one event that are there; of those that always are, those with any pt or energy."""
    for item in layout.objects:
        kind = item.kind
        values = dict(zip(item.columns, words[list(item.columns.values())].tolist(), strict=True))
        many = kind.present == "pt" or kind.count > 1
        if many and kind.magnitude is not None and values[kind.magnitude.role] <= 0:
            continue
        found: Json = {}
        for quantity, word in zip(kind.quantities, values.values(), strict=True):
            if quantity.bits:
                key = f"{quantity.name or 'value'}{'_gev' if quantity.unit == 'GeV' else ''}"
                digits = ANGLE_DIGITS if quantity.role in ("eta", "phi") else DIGITS
                found[key] = round(float(quantity.origin + word * quantity.step_value), digits)
        if found:
            yield {"kind": kind.name, **found} | ({"place": item.index} if kind.shape else {})
