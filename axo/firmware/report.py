"""The firmware report: one checked JSON document, and the page that shows it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from axo.errors import UserError
from axo.files import check_document, read_json, write_json, write_text
from axo.report import Page, Picture, Section, Table
from axo.report.cells import number

FORMAT = "axo-firmware-report"
FORMAT_VERSION = 1

Document = dict[str, Any]


def check_report(document: Document) -> None:
    """ValueError when `document` violates the report schema, naming the place."""
    check_document(document, "axo.firmware", "report_schema.json")


def read_report(path: str | os.PathLike[str]) -> Document:
    """Read and check a report.json; UserError names the file and the fault."""
    document: Document = read_json(path)
    try:
        check_report(document)
    except ValueError as error:
        raise UserError(f"{path}: is not a firmware report: {error}") from error
    return document


def write_report(folder: Path, document: Document, pictures: dict[str, bytes]) -> None:
    """Write report.html, report.md and, last, report.json: its presence means a finished build.

    `pictures` maps captions to PNG bytes for the HTML page.
    """
    check_report(document)
    shown = page(document, pictures)
    write_text(folder / "report.md", shown.markdown())
    write_text(folder / "report.html", shown.html())
    write_json(folder / "report.json", document)


def page(document: Document, pictures: dict[str, bytes]) -> Page:
    """The report to be shown; `pictures` maps captions to PNG bytes."""
    return Page(
        f"Firmware report: {document['model']}",
        [
            *(Section(title, table=table) for title, table in tables(document).items()),
            Section("Notes", items=document["notes"]),
        ],
        [verdict_line(document), *_reads(document)],
        [Picture(png, caption) for caption, png in pictures.items()],
        document["verdict"]["passed"],
    )


def _reads(document: Document) -> list[str]:
    """What the network reads; nothing for reports of before it was said."""
    network = document["network"]
    return [f"{network['name']} reads {network['reads']}."] if "reads" in network else []


def verdict_line(document: Document) -> str:
    """One sentence: passed or not, and why."""
    verdict = document["verdict"]
    total = sum(comparison["mismatches"] for comparison in document["comparisons"])
    compared = sum(comparison["events"] for comparison in document["comparisons"])
    broken = [check["quantity"] for check in document["checks"] if check["gates"] and not check["within"]]
    budget = "every budget kept" if not broken else f"budget broken or not measured: {', '.join(broken)}"
    return (
        f"{'PASSED' if verdict['passed'] else 'FAILED'}: {total} mismatches in {compared} comparisons of "
        f"{len(document['comparisons'])} pairs of evaluations; {budget}."
    )


def tables(document: Document) -> dict[str, Table]:
    """Every table of the report, as text cells."""
    return {
        "Comparisons": _comparisons(document),
        "Evaluations": _evaluations(document),
        "Latency": Table(
            ["source", "cycles", "clock MHz", "latency ns", "initiation interval (cycles)"],
            [
                [number(entry[key]) for key in
                 ("source", "cycles", "clock_mhz", "latency_ns", "initiation_interval_cycles")]
                for entry in document["latency"]
            ],
        ),
        "Resources": Table(
            ["source", "LUT", "FF", "carry", "DSP", "BRAM", "what it is"],
            [
                [number(entry[key]) for key in ("source", "lut", "ff", "carry", "dsp", "bram", "what")]
                for entry in document["resources"]
            ],
            "lrrrrrl",
        ),
        "Budget": budget_table(document),
        "Layers": Table(
            ["tensor", "operation", "size", "type", "bits needed"],
            [
                [layer["name"], layer["op"], str(layer["size"]), layer["type"], str(layer["bits_needed"])]
                for layer in document["layers"]
            ],
            "llrlr",
        ),
        "Tools": Table(["tool", "state"], list(document["tools"].items()), "l"),
        "Versions": Table(["what", "version"], list(document["versions"].items()), "l"),
        "Digests": Table(["what", "sha256"], list(document["digests"].items()), "l"),
        "Wall times": Table(["step", "s"], [[name, number(s)] for name, s in document["wall_s"].items()]),
    }  # fmt: skip


def budget_table(document: Document, baseline: Document | None = None) -> Table:
    """Measured values against limits and, with a `baseline` report, the change since then."""
    before = {
        (check["quantity"], check["gates"]): check["value"] for check in (baseline or {}).get("checks", ())
    }
    header = ["quantity", "measured", "limit", "", "source"]
    rows = []
    for check in document["checks"]:
        state = "within" if check["within"] else "not measured" if check["value"] is None else "BROKEN"
        if not check["gates"]:
            state = "target reached" if check["within"] else "target not reached"
        row = [
            check["quantity"],
            number(check["value"]),
            number(check["limit"]),
            state,
            check["source"] or "-",
        ]
        if baseline is not None:
            row.insert(2, _change(check["value"], before.get((check["quantity"], check["gates"]))))
        rows.append(row)
    if baseline is not None:
        header.insert(2, "change against baseline")
    return Table(header, rows, "lrrll" if baseline is None else "lrrrll")


def _comparisons(document: Document) -> Table:
    kinds = list(document["stimuli"])
    rows = [
        [
            entry["first"],
            entry["second"],
            ", ".join(entry["quantities"]),
            *(str(entry["events_by_kind"].get(kind, 0)) for kind in kinds),
            str(entry["events"]),
            str(entry["mismatches"]),
        ]
        for entry in document["comparisons"]
    ]
    return Table(["first", "second", "compared", *kinds, "events", "mismatches"], rows, "lllr")


def _evaluations(document: Document) -> Table:
    rows = []
    for name, entry in document["evaluations"].items():
        events = f"absent: {entry['absent']}" if entry["absent"] else str(entry["events"])
        rows.append([name, entry["what"], events, number(entry["wall_s"])])
    return Table(["evaluation", "what", "events", "wall s"], rows, "lllr")


def _change(now: float | None, before: float | None) -> str:
    if now is None or before is None:
        return "-"
    if now == before:
        return "none"
    relative = f" ({100 * (now - before) / before:+.1f} %)" if before else ""
    return f"{now - before:+.4g}{relative}"
