"""The answers of a replay as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from axo.report import Page, Section, Table
from axo.report.cells import bracketed, listed, percent

Json = dict[str, Any]

TOP_SEEDS = 12
TOP_EVENTS = 5
PILEUP_RANGES = 5


def text_of(answers: Json) -> str:
    """The report: rates and purity, signals, overlaps, steadiness, pileup, multiplicities, top events."""
    sections = [
        _working_points(answers),
        _signals(answers),
        *(part for point in answers["working_points"][:1] for part in _details(answers, point)),
        _top_events(answers),
    ]
    shown = [section for section in sections if section is not None]
    return Page("", shown, list(_heading(answers))).terminal()


def _heading(answers: Json) -> Iterator[str]:
    zero_bias = [sample for sample in answers["samples"] if not sample["signal"]]
    files = ", ".join(sample["file"] for sample in zero_bias[:3]) + (", ..." if len(zero_bias) > 3 else "")
    yield f"{answers['network']['name']} on {answers['events']:,} events of {files}"
    yield f"it reads {answers['network']['reads']}"
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
    rate = "" if union["rate_khz"] is None else f", together {bracketed(union['rate_khz'])} kHz"
    yield f"seeds: {seeds['origin']}; {seeds['unprescaled']} of {seeds['number']} unprescaled{rate}"
    if missing := seeds["not_in_the_prescale_table"]:
        yield f"  {len(missing)} seeds are not in the prescale table and count as off: {listed(missing, 4)}"


def _working_points(answers: Json) -> Section:
    has_rate, has_seeds = answers["normalisation"] is not None, answers["seeds"] is not None
    header = ["working point", "threshold", "passed"]
    header += ["rate kHz"] if has_rate else ["fraction"]
    if has_seeds:
        header += ["pure", *(["pure rate kHz"] if has_rate else []), "purity"]
    rows = []
    for point in answers["working_points"]:
        row = [point["name"], str(point["threshold_word"]), str(point["passed"])]
        row += [bracketed(point["rate_khz"] if has_rate else point["fraction"])]
        if has_seeds:
            row += [str(point["pure"]), *([bracketed(point["pure_rate_khz"])] if has_rate else [])]
            row += [bracketed(point["purity"])]
        rows.append(row)
    return Section(table=Table(header, rows))


def _signals(answers: Json) -> Section | None:
    if not answers["signals"]:
        return None
    points = answers["working_points"]
    header = [
        "signal",
        "events",
        *(["other seeds"] if answers["seeds"] else []),
        *(p["name"] for p in points),
    ]
    rows = []
    for name, signal in answers["signals"].items():
        row = [name, str(signal["events"])]
        row += [percent(signal["any_unprescaled"])] if answers["seeds"] else []
        for point in points:
            found = point["signals"][name]
            pure = found["pure_efficiency"]
            row.append(percent(found["efficiency"]) + (f" ({percent(pure)})" if pure else ""))
        rows.append(row)
    title = "signal efficiencies (in brackets: events that no other seed has)"
    return Section(title, table=Table(header, rows))


def _details(answers: Json, point: Json) -> Iterator[Section | None]:
    """What is listed for the first working point."""
    if point["details"] is None:
        yield Section(f"{point['name']}: for overlaps and profiles use --keep {point['keep_needed']} or more")
        return
    yield _overlaps(point)
    yield _steadiness(point)
    yield _pileup(point)
    yield _multiplicities(answers, point)


def _overlaps(point: Json) -> Section | None:
    overlaps = point["details"]["overlaps"]
    if overlaps is None:
        return None
    rows = [
        [
            entry["seed"] + (" (own)" if entry["own"] else ""),
            f"{entry['prescale']:g}",
            str(entry["both"]),
            percent(entry["of_accepted"]),
            str(entry["fired"]),
            percent(entry["of_seed"]),
        ]
        for entry in overlaps[:TOP_SEEDS]
    ]
    more = len(overlaps) - TOP_SEEDS
    return Section(
        f"seeds that fire with {point['name']} (threshold {point['threshold_word']}), unprescaled ones first",
        table=Table(["seed", "prescale", "both", "of ours", "seed fired", "of the seed's"], rows),
        items=[f"and {more} more (--json has all)"] if more > 0 else [],
    )


def _steadiness(point: Json) -> Section | None:
    sections = point["details"]["sections"]
    if sections is None or sections["steadiness"] is None:
        return None
    chi2, degrees = sections["steadiness"]["chi2"], sections["steadiness"]["degrees_of_freedom"]
    return Section(
        f"{point['name']} over {len(sections['sections'])} lumi sections: chi2 {chi2:.0f} for {degrees} "
        "degrees of freedom of a steady fraction"
    )


def _pileup(point: Json) -> Section | None:
    rows = point["details"]["pileup"]
    if not rows:
        return None
    table = []
    for group in grouped(rows, PILEUP_RANGES):
        events, passed = sum(r["events"] for r in group), sum(r["passed"] for r in group)
        pure = None if group[0]["pure"] is None else sum(r["pure"] for r in group)
        label = f"{group[0]['pileup']} to {group[-1]['pileup']}"
        table.append(
            [label, str(events), str(passed), f"{passed / events:.2e}", "-" if pure is None else str(pure)]
        )
    return Section(
        f"{point['name']} against pileup, in ranges of about as many events each",
        table=Table(["pileup", "events", "passed", "fraction", "pure"], table),
    )


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


def _multiplicities(answers: Json, point: Json) -> Section | None:
    details = point["details"]
    if not answers["objects"]:
        return None
    rows = []
    for kind, everything in answers["objects"].items():
        columns = [everything, details["objects"][kind]]
        columns += [details["pure_objects"][kind]] if details["pure_objects"] else []
        rows.append([kind, *(_mean(counts) for counts in columns)])
    return Section(
        f"mean number of objects: of all events, of those {point['name']} accepts, of the pure ones",
        table=Table(["kind", "all", "accepted", "pure"][: len(rows[0])], rows),
    )


def _top_events(answers: Json) -> Section | None:
    events = answers["top_events"]
    if not events:
        return None
    title = f"the {min(TOP_EVENTS, len(events))} most anomalous events" + (
        f" (--json has {len(events)})" if len(events) > TOP_EVENTS else ""
    )
    lines = []
    for event in events[:TOP_EVENTS]:
        where = [f"{event[key]}" for key in ("run", "luminosity_block", "event") if key in event]
        place = ":".join(where) or f"{event['file']} row {event['row']}"
        seeds = ""
        if "pure" in event:
            seeds = ", pure" if event["pure"] else f", {len(event['seeds'])} seeds"
        objects = "  ".join(_object(found) for found in event["objects"])
        lines.append(f"{event['score_word']:6}  {place}{seeds}: {objects}")
    return Section(title, items=lines)


def _object(found: Json) -> str:
    """Kind, pt or energy (whatever comes first), and eta or the place in an image."""
    value = next(value for key, value in found.items() if key != "kind")
    where = f" ({found['eta']:.1f})" if "eta" in found else f" ({found['place']})" if "place" in found else ""
    return f"{found['kind']} {value:g}{where}"


def _mean(counts: list[int]) -> str:
    return f"{sum(i * n for i, n in enumerate(counts)) / sum(counts):.2f}" if sum(counts) else "-"
