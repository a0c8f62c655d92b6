"""Answers from partial results: rates, purity, overlaps, efficiencies, each with its interval.

All are fractions of events (of their weight, if they have any) with a central Clopper-Pearson interval;
with weights that of the effective numbers of events, (sum w)^2 / sum w^2 (Kish), which is approximate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.emulator.partial import Kept, Partial, Tally
from axo.emulator.replay import Result
from axo.errors import UserError, nearest
from axo.layout.units import KINDS, to_physical
from axo.network import Network, digest
from axo.physics.rates import (
    DEFAULT_BUNCHES,
    ONE_SIGMA,
    ScoreHistogram,
    clopper_pearson,
    collision_rate_hz,
    threshold_for_rate,
)

Json = dict[str, Any]

OVERLAP_SEEDS = 8
"""Seeds whose overlap is given against threshold."""

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
    total = _Sample(result.zero_bias, question, bins=result.document["bins"])
    points = _working_points(result.network, total, question)
    signals = {
        samples[group]["name"]: _Sample(partial, question, total.bins)
        for group, partial in sorted(result.partials.items())
        if group >= 0
    }
    found: Json = {
        "format": "axo-replay",
        "network": {"name": result.network.name, "sha256": digest(result.network)},
        "normalisation": None if question.triggered else _normalisation(question),
        "confidence": question.confidence,
        "samples": samples,
        "events": total.partial.events,
        "weighted": total.weighted,
        "seeds": None if seeds is None else _seeds(seeds, total),
        "working_points": [_working_point(name, t, total, signals, seeds) for name, t in points],
        "scan": [_rates(t, total) for t in _scan_thresholds(total)],
        "overlap_scan": _overlap_scan(total, seeds),
        "objects": _multiplicities(total.objects()),
        "signals": {name: _signal(sample, total) for name, sample in signals.items()},
        "top_events": _top_events(total.partial.kept[: question.top], samples, seeds),
    }
    return found


class _Sample:
    """A partial result with what is derived from it once."""

    def __init__(self, partial: Partial, question: Question, bins: int) -> None:
        self.partial, self.question, self.bins = partial, question, bins
        self.weighted = partial.tallies["scores"].digits is not None
        self.above = partial.tallies["scores"].above()
        pure = partial.tallies.get("pure_scores")
        self._pure_above = None if pure is None else pure.above()

    @property
    def has_pure(self) -> bool:
        """Whether there are seeds to be pure of."""
        return self._pure_above is not None

    def count(self) -> Amount:
        """All events."""
        return self.passed(0)

    def passed(self, threshold: int) -> Amount:
        """Events at or above the threshold."""
        return Amount.at_least(threshold, self.above)

    def purely_passed(self, threshold: int) -> Amount | None:
        """Those in which no other seed fired; None without seeds."""
        return None if self._pure_above is None else Amount.at_least(threshold, self._pure_above)

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
        return above if len(above) == self.passed(threshold).events else None

    def objects(self) -> dict[int, Amount]:
        """Events by key of the tally ``objects``."""
        return _amounts(self.partial.tallies["objects"])

    def rate(self, part: Amount) -> Json | None:
        """The rate of `part` of the events in kHz; None for triggered data."""
        if self.question.triggered:
            return None
        fraction = self.share(part, self.count())
        khz = collision_rate_hz(self.question.bunches) / 1000
        return None if fraction is None else {key: value * khz for key, value in fraction.items()}

    def share(self, part: Amount | None, whole: Amount | None) -> Json | None:
        """`part` over `whole` with the bounds of its interval; None of nothing."""
        return None if part is None or whole is None else share(part, whole, self.question.confidence)


@dataclass(frozen=True)
class Amount:
    """Some events: their number, and the sums of their weights and of the squares of these."""

    events: int
    w: float
    w2: float

    @classmethod
    def at_least(cls, threshold: int, above: Tally) -> Amount:
        """Events with a key of at least `threshold`, from `Tally.above`."""
        position = min(int(np.searchsorted(above.keys, threshold)), len(above.keys) - 1)
        (amount,) = _amounts(above[position : position + 1]).values()
        return amount

    @classmethod
    def of(cls, kept: Kept, chosen: NDArray[np.bool_] | None = None) -> Amount:
        """Kept events, or the `chosen` (n,) of them."""
        events = len(kept) if chosen is None else int(chosen.sum())
        weights = kept.events.weight
        if weights is None:
            return cls(events, events, events)
        weights = weights if chosen is None else weights[chosen]
        return cls(events, math.fsum(weights), math.fsum(weights * weights))


def share(part: Amount, whole: Amount, confidence: float) -> Json | None:
    """`part` of `whole` as value, low, high; None when the whole has no (positive) weight."""
    if whole.w <= 0 or whole.w2 <= 0:
        return None
    value = part.w / whole.w
    # Without weights both are the numbers of events themselves.
    effective = whole.w**2 / whole.w2
    passed = min(max(value, 0.0), 1.0) * effective if whole.w2 != whole.events else part.events
    low, high = clopper_pearson(passed, effective, confidence)
    return {"value": value, "low": float(low), "high": float(high)}


def _amounts(tally: Tally) -> dict[int, Amount]:
    w, w2 = tally.sums()
    return {
        int(key): Amount(int(n), float(a), float(b))
        for key, n, a, b in zip(tally.keys, tally.counts, w, w2, strict=True)
    }


# Thresholds


def _working_points(network: Network, total: _Sample, question: Question) -> list[tuple[str, int]]:
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
        points.append((f"{khz:g} kHz pure", _pure_threshold(total, khz, question.bunches)))
    return points or list(network.thresholds.items())


def _pure_threshold(total: _Sample, khz: float, bunches: int) -> int:
    """The smallest threshold whose pure rate does not exceed `khz`."""
    everything, pure = total.histogram("scores"), total.histogram("pure_scores")
    # All events that are not pure go where no threshold above 0 counts them.
    for whole, part in (
        (everything.counts, pure.counts),
        (everything.sum_w, pure.sum_w),
        (everything.sum_w2, pure.sum_w2),
    ):
        if whole is not None and part is not None:
            part[0] += whole.sum() - part.sum()
    return threshold_for_rate(pure, khz * 1000, bunches)


def _scan_thresholds(total: _Sample) -> list[int]:
    """Thresholds from all events passing to one, evenly spaced in the logarithm of their number."""
    above = total.above.counts[:-1]
    # The first key at which no more than the wanted number passes.
    wanted = np.geomspace(max(total.partial.events, 1), 1, SCAN_POINTS)
    found = np.unique(np.searchsorted(-above, -wanted, side="left"))
    return total.above.keys[found[found < len(above)]].tolist()


# Parts of the answer


def _normalisation(question: Question) -> Json:
    return {
        "bunches": question.bunches,
        "collision_rate_khz": collision_rate_hz(question.bunches) / 1000,
        "meaning": "all samples that are no signals are taken as zero bias",
    }


def _seeds(seeds: Json, total: _Sample) -> Json:
    """What is said of the other seeds: each one's events and rate, and those of their union."""
    fired = _amounts(total.partial.tallies["seeds"])
    nothing = Amount(0, 0.0, 0.0)
    everything, pure = total.count(), total.purely_passed(0)
    assert pure is not None
    others = Amount(everything.events - pure.events, everything.w - pure.w, everything.w2 - pure.w2)
    return {
        "origin": seeds["origin"],
        "number": len(seeds["names"]),
        "unprescaled": sum(p == 1 and n not in seeds["own"] for n, p in _prescales(seeds)),
        "own": seeds["own"],
        "not_in_the_prescale_table": seeds["unknown"],
        "any_unprescaled": {"events": others.events, "rate_khz": total.rate(others)},
        "seeds": [
            {
                "seed": name,
                "prescale": prescale,
                "fired": (amount := fired.get(position, nothing)).events,
                "rate_khz": _prescaled(total.rate(amount), prescale),
            }
            for position, (name, prescale) in enumerate(_prescales(seeds))
        ],
    }


def _prescales(seeds: Json) -> list[tuple[str, float]]:
    return list(zip(seeds["names"], seeds["prescales"], strict=True))


def _prescaled(rate: Json | None, prescale: float) -> Json | None:
    """A rate after its prescale; 0 is off."""
    return rate and {key: value / prescale if prescale else 0.0 for key, value in rate.items()}


def _rates(threshold: int, sample: _Sample) -> Json:
    """Rate, pure rate and purity at one threshold."""
    passed, pure = sample.passed(threshold), sample.purely_passed(threshold)
    return {
        "threshold_word": threshold,
        "passed": passed.events,
        "fraction": sample.share(passed, sample.count()),
        "rate_khz": sample.rate(passed),
        "pure": None if pure is None else pure.events,
        "pure_rate_khz": None if pure is None else sample.rate(pure),
        "purity": sample.share(pure, passed),
    }


def _working_point(
    name: str, threshold: int, total: _Sample, signals: dict[str, _Sample], seeds: Json | None
) -> Json:
    """Everything about one threshold. Details are null when more events passed than were kept."""
    kept = total.kept(threshold)
    point = {"name": name, **_rates(threshold, total)}
    point["signals"] = {
        signal: {
            "efficiency": sample.share(sample.passed(threshold), sample.count()),
            "pure_efficiency": sample.share(sample.purely_passed(threshold), sample.count()),
        }
        for signal, sample in signals.items()
    }
    if kept is None:
        point["details"] = None
        point["keep_needed"] = total.passed(threshold).events
        return point
    point["details"] = {
        "overlaps": _overlaps(kept, total, seeds),
        "objects": _multiplicities(_objects_of(kept)),
        "pure_objects": _multiplicities(_objects_of(kept[kept.pure])) if seeds else None,
        "sections": _sections(kept, total),
        "pileup": _by_pileup(kept, total),
    }
    return point


def _overlaps(kept: Kept, total: _Sample, seeds: Json | None) -> list[Json] | None:
    """For each seed that fired with this one: how often, of ours and of its own.

    Unprescaled ones first, which take the purity; then the most frequent first.
    """
    if seeds is None or kept.events.seed_bits is None:
        return None
    fired = _amounts(total.partial.tallies["seeds"])
    accepted = Amount.of(kept)
    found = []
    for position, (name, prescale) in enumerate(_prescales(seeds)):
        both = Amount.of(kept, kept.events.seed_bits[:, position])
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


def _overlap_scan(total: _Sample, seeds: Json | None) -> list[Json] | None:
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
                name: total.share(Amount.of(kept, kept.events.seed_bits[:, i]), Amount.of(kept))
                for name, i in positions.items()
                if kept.events.seed_bits is not None
            },
        }
        for t, kept in points.items()
    ]


def _objects_of(kept: Kept) -> dict[int, Amount]:
    keys: dict[int, Amount] = {}
    for position, kind in enumerate(KINDS.values()):
        present = (kept.events.words[:, kind.words][:, 0::3] > 0).sum(axis=1)
        for number in np.unique(present):
            keys[64 * position + int(number)] = Amount.of(kept, present == number)
    return keys


def _multiplicities(amounts: dict[int, Amount]) -> Json:
    """By kind of object, the events with 0, 1, 2, ... of them."""
    found = {}
    for position, (name, kind) in enumerate(KINDS.items()):
        if name != "MET":
            numbers = range(kind.count + 1)
            found[name] = [getattr(amounts.get(64 * position + i), "events", 0) for i in numbers]
    return found


def _sections(kept: Kept, total: _Sample) -> Json | None:
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


def _by_pileup(kept: Kept, total: _Sample) -> list[Json] | None:
    """The same against the number of interactions in the crossing."""
    if "pileup" not in total.partial.tallies or kept.events.pileup is None:
        return None
    rows = _profile(kept, np.floor(kept.events.pileup), total.partial.tallies["pileup"], total)
    return [{"pileup": row.pop("key"), **row} for row in rows]


def _profile(kept: Kept, keys: NDArray[Any], everything: Tally, total: _Sample) -> list[Json]:
    """For each key of `everything`: events, accepted and pure ones, and the accepted fraction's rate."""
    has_pure = total.has_pure
    accepted = _amounts(Tally.of(keys, kept.events.weight))
    weights = None if kept.events.weight is None else kept.events.weight[kept.pure]
    pure = _amounts(Tally.of(keys[kept.pure], weights))
    nothing = Amount(0, 0.0, 0.0)
    rows = []
    for key, amount in _amounts(everything).items():
        passed, alone = accepted.get(key, nothing), pure.get(key, nothing)
        rows.append(
            {
                "key": key,
                "events": amount.events,
                "passed": passed.events,
                "pure": alone.events if has_pure else None,
                "fraction": total.share(passed, amount),
                "purity": total.share(alone, passed) if has_pure else None,
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


def _signal(sample: _Sample, total: _Sample) -> Json:
    """A signal's efficiency against the zero-bias threshold scan, and what the other seeds catch."""
    everything, pure = sample.count(), sample.purely_passed(0)
    others = (
        None
        if pure is None
        else Amount(everything.events - pure.events, everything.w - pure.w, everything.w2 - pure.w2)
    )
    return {
        "events": everything.events,
        "any_unprescaled": sample.share(others, everything),
        "scan": [
            {
                "threshold_word": t,
                "efficiency": sample.share(sample.passed(t), everything),
                "pure_efficiency": sample.share(sample.purely_passed(t), everything),
            }
            for t in _scan_thresholds(total)
        ],
    }


def _top_events(kept: Kept, samples: Sequence[Json], seeds: Json | None) -> list[Json]:
    """The most anomalous events: where they are, their objects in GeV, the seeds that fired."""
    pt_gev, eta, phi = to_physical(kept.events.words)
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
        entry["objects"] = list(_objects(pt_gev[i], eta[i], phi[i]))
        found.append(entry)
    return found


def _objects(pt_gev: NDArray[Any], eta: NDArray[Any], phi: NDArray[Any]) -> Iterable[Json]:
    for name, kind in KINDS.items():
        for item in range(kind.first, kind.first + kind.count):
            if name == "MET":
                yield {"kind": name, "pt_gev": float(pt_gev[item]), "phi": round(float(phi[item]), 4)}
            elif pt_gev[item] > 0:
                angles = {"eta": round(float(eta[item]), 4), "phi": round(float(phi[item]), 4)}
                yield {"kind": name, "pt_gev": float(pt_gev[item]), **angles}
