"""The answers of a replay as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Json = dict[str, Any]

TOP_SEEDS = 12
TOP_EVENTS = 5
PILEUP_RANGES = 5


def text_of(answers: Json) -> str:
    """The report: rates and purity, signals, overlaps, steadiness, pileup, multiplicities, top events."""
    parts = [
        _heading(answers),
        _working_points(answers),
        _signals(answers),
        *(part for point in answers["working_points"][:1] for part in _details(answers, point)),
        _top_events(answers),
    ]
    return "\n\n".join("\n".join(lines) for lines in map(list, parts) if lines)


def _heading(answers: Json) -> Iterator[str]:
    zero_bias = [sample for sample in answers["samples"] if not sample["signal"]]
    files = ", ".join(sample["file"] for sample in zero_bias[:3]) + (", ..." if len(zero_bias) > 3 else "")
    yield f"{answers['network']['name']} on {answers['events']:,} events of {files}"
    norm = answers["normalisation"]
    if norm is None:
        yield "triggered data: fractions of these events, no rates"
    else:
        khz = norm["collision_rate_khz"]
        yield f"rates: as zero bias, {norm['bunches']} bunches colliding ({khz / 1000:.3f} MHz)"
    yield f"intervals: Clopper-Pearson at {answers['confidence']:.1%}" + (
        ", of effective numbers of weighted events" if answers["weighted"] else ""
    )
    seeds = answers["seeds"]
    if seeds is None:
        yield "seeds: none, so no purity"
        return
    union = seeds["any_unprescaled"]
    rate = "" if union["rate_khz"] is None else f", together {_interval(union['rate_khz'])} kHz"
    yield f"seeds: {seeds['origin']}; {seeds['unprescaled']} of {seeds['number']} unprescaled{rate}"
    if missing := seeds["not_in_the_prescale_table"]:
        yield f"  {len(missing)} seeds are not in the prescale table and count as off: {_some(missing)}"


def _working_points(answers: Json) -> Iterator[str]:
    has_rate, has_seeds = answers["normalisation"] is not None, answers["seeds"] is not None
    header = ["working point", "threshold", "passed"]
    header += ["rate kHz"] if has_rate else ["fraction"]
    if has_seeds:
        header += ["pure", *(["pure rate kHz"] if has_rate else []), "purity"]
    rows = []
    for point in answers["working_points"]:
        row = [point["name"], str(point["threshold_word"]), str(point["passed"])]
        row += [_interval(point["rate_khz"] if has_rate else point["fraction"])]
        if has_seeds:
            row += [str(point["pure"]), *([_interval(point["pure_rate_khz"])] if has_rate else [])]
            row += [_interval(point["purity"])]
        rows.append(row)
    yield from _table(header, rows)


def _signals(answers: Json) -> Iterator[str]:
    if not answers["signals"]:
        return
    points = answers["working_points"]
    yield "signal efficiencies (in brackets: events that no other seed has)"
    header = [
        "signal",
        "events",
        *(["other seeds"] if answers["seeds"] else []),
        *(p["name"] for p in points),
    ]
    rows = []
    for name, signal in answers["signals"].items():
        row = [name, str(signal["events"])]
        row += [_percent(signal["any_unprescaled"])] if answers["seeds"] else []
        for point in points:
            found = point["signals"][name]
            pure = found["pure_efficiency"]
            row.append(_percent(found["efficiency"]) + (f" ({_percent(pure)})" if pure else ""))
        rows.append(row)
    yield from _table(header, rows)


def _details(answers: Json, point: Json) -> Iterator[Iterator[str]]:
    """What is listed for the first working point."""
    if point["details"] is None:
        yield iter([f"{point['name']}: for overlaps and profiles use --keep {point['keep_needed']} or more"])
        return
    yield _overlaps(point)
    yield _steadiness(point)
    yield _pileup(point)
    yield _multiplicities(answers, point)


def _overlaps(point: Json) -> Iterator[str]:
    overlaps = point["details"]["overlaps"]
    if overlaps is None:
        return
    name, threshold = point["name"], point["threshold_word"]
    yield f"seeds that fire with {name} (threshold {threshold}), unprescaled ones first"
    rows = [
        [
            entry["seed"] + (" (own)" if entry["own"] else ""),
            f"{entry['prescale']:g}",
            str(entry["both"]),
            _percent(entry["of_accepted"]),
            str(entry["fired"]),
            _percent(entry["of_seed"]),
        ]
        for entry in overlaps[:TOP_SEEDS]
    ]
    yield from _table(["seed", "prescale", "both", "of ours", "seed fired", "of the seed's"], rows)
    if len(overlaps) > TOP_SEEDS:
        yield f"  and {len(overlaps) - TOP_SEEDS} more (--json has all)"


def _steadiness(point: Json) -> Iterator[str]:
    sections = point["details"]["sections"]
    if sections is None or sections["steadiness"] is None:
        return
    chi2, degrees = sections["steadiness"]["chi2"], sections["steadiness"]["degrees_of_freedom"]
    yield (
        f"{point['name']} over {len(sections['sections'])} lumi sections: chi2 {chi2:.0f} for {degrees} "
        "degrees of freedom of a steady fraction"
    )


def _pileup(point: Json) -> Iterator[str]:
    rows = point["details"]["pileup"]
    if not rows:
        return
    yield f"{point['name']} against pileup, in ranges of about as many events each"
    table = []
    for group in grouped(rows, PILEUP_RANGES):
        events, passed = sum(r["events"] for r in group), sum(r["passed"] for r in group)
        pure = None if group[0]["pure"] is None else sum(r["pure"] for r in group)
        label = f"{group[0]['pileup']} to {group[-1]['pileup']}"
        table.append(
            [label, str(events), str(passed), f"{passed / events:.2e}", "-" if pure is None else str(pure)]
        )
    yield from _table(["pileup", "events", "passed", "fraction", "pure"], table)


def grouped(rows: Sequence[Json], number: int) -> Iterator[list[Json]]:
    """`rows` in order, in at most `number` groups of about as many events each."""
    share = max(sum(row["events"] for row in rows) / number, 1)
    group: list[Json] = []
    seen = 0
    for row in rows:
        group.append(row)
        seen += row["events"]
        if seen >= share * (1 - 1e-9) or row is rows[-1]:
            yield group
            group, seen = [], 0


def _multiplicities(answers: Json, point: Json) -> Iterator[str]:
    details = point["details"]
    if not answers["objects"]:
        return
    yield f"mean number of objects: of all events, of those {point['name']} accepts, of the pure ones"
    rows = []
    for kind, everything in answers["objects"].items():
        columns = [everything, details["objects"][kind]]
        columns += [details["pure_objects"][kind]] if details["pure_objects"] else []
        rows.append([kind, *(_mean(counts) for counts in columns)])
    yield from _table(["kind", "all", "accepted", "pure"][: len(rows[0])], rows)


def _top_events(answers: Json) -> Iterator[str]:
    events = answers["top_events"]
    if not events:
        return
    yield f"the {min(TOP_EVENTS, len(events))} most anomalous events" + (
        f" (--json has {len(events)})" if len(events) > TOP_EVENTS else ""
    )
    for event in events[:TOP_EVENTS]:
        where = [f"{event[key]}" for key in ("run", "luminosity_block", "event") if key in event]
        place = ":".join(where) or f"{event['file']} row {event['row']}"
        seeds = ""
        if "pure" in event:
            seeds = ", pure" if event["pure"] else f", {len(event['seeds'])} seeds"
        objects = "  ".join(_object(o) for o in event["objects"])
        yield f"  {event['score_word']:6}  {place}{seeds}: {objects}"


def _object(found: Json) -> str:
    """Kind, pt or energy (whatever comes first), and eta or the place in an image."""
    value = next(value for key, value in found.items() if key != "kind")
    where = f" ({found['eta']:.1f})" if "eta" in found else f" ({found['place']})" if "place" in found else ""
    return f"{found['kind']} {value:g}{where}"


def _table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        yield "  " + "  ".join([first, *rest]).rstrip()


def _interval(value: Json | None) -> str:
    if value is None:
        return "-"
    return f"{value['value']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"


def _percent(value: Json | None) -> str:
    if value is None:
        return "-"
    up, down = value["high"] - value["value"], value["value"] - value["low"]
    return f"{100 * value['value']:.2f} +{100 * up:.2f} -{100 * down:.2f} %"


def _mean(counts: list[int]) -> str:
    return f"{sum(i * n for i, n in enumerate(counts)) / sum(counts):.2f}" if sum(counts) else "-"


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
