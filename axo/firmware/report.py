"""The firmware report: one checked JSON document, and its rendering as Markdown and HTML."""

from __future__ import annotations

import base64
import html
import os
from pathlib import Path
from typing import Any

from axo.errors import UserError
from axo.files import check_document, read_json, write_json, write_text

FORMAT = "axo-firmware-report"
FORMAT_VERSION = 1

Document = dict[str, Any]
Table = tuple[list[str], list[list[str]]]


def check_report(document: Document) -> None:
    """ValueError when `document` violates the report schema, naming the place."""
    check_document(document, "axo.firmware", "report_schema.json")


def read_report(path: str | os.PathLike[str]) -> Document:
    """Read and check a report.json; UserError names the file and the fault."""
    document = read_json(path)
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
    write_text(folder / "report.md", to_markdown(document))
    write_text(folder / "report.html", to_html(document, pictures))
    write_json(folder / "report.json", document)


def to_markdown(document: Document) -> str:
    """The report as Markdown."""
    parts = [f"# Firmware report: {document['model']}", "", verdict_line(document), ""]
    for title, (header, rows) in tables(document).items():
        parts += [f"## {title}", "", _markdown_row(header), _markdown_row(["---"] * len(header))]
        parts += [_markdown_row(row) for row in rows] + [""]
    parts += ["## Notes", "", *(f"- {note}" for note in document["notes"]), ""]
    return "\n".join(parts)


def to_html(document: Document, pictures: dict[str, bytes]) -> str:
    """The report as one self-contained HTML page; `pictures` maps captions to PNG bytes."""
    passed = document["verdict"]["passed"]
    body = [
        f"<h1>Firmware report: {html.escape(document['model'])}</h1>",
        f"<p class='{'good' if passed else 'bad'}'>{html.escape(verdict_line(document))}</p>",
    ]
    for caption, picture in pictures.items():
        data = base64.b64encode(picture).decode()
        body.append(
            f"<figure><img alt='{html.escape(caption)}' src='data:image/png;base64,{data}'>"
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )
    for title, (header, rows) in tables(document).items():
        body.append(f"<h2>{html.escape(title)}</h2><table><tr>{_html_cells(header, 'th')}</tr>")
        body += [f"<tr>{_html_cells(row, 'td')}</tr>" for row in rows]
        body.append("</table>")
    body.append("<h2>Notes</h2><ul>")
    body += [f"<li>{html.escape(note)}</li>" for note in document["notes"]]
    body.append("</ul>")
    title = html.escape(f"{document['model']} firmware")
    return _PAGE.replace("@title@", title).replace("@body@", "\n".join(body))


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
        "Latency": (
            ["source", "cycles", "clock MHz", "latency ns", "initiation interval (cycles)"],
            [
                [number(entry[key]) for key in
                 ("source", "cycles", "clock_mhz", "latency_ns", "initiation_interval_cycles")]
                for entry in document["latency"]
            ],
        ),
        "Resources": (
            ["source", "LUT", "FF", "carry", "DSP", "BRAM", "what it is"],
            [
                [number(entry[key]) for key in ("source", "lut", "ff", "carry", "dsp", "bram", "what")]
                for entry in document["resources"]
            ],
        ),
        "Budget": budget_table(document),
        "Layers": (
            ["tensor", "operation", "size", "type", "bits needed"],
            [
                [layer["name"], layer["op"], str(layer["size"]), layer["type"], str(layer["bits_needed"])]
                for layer in document["layers"]
            ],
        ),
        "Tools": (["tool", "state"], [[name, state] for name, state in document["tools"].items()]),
        "Versions": (["what", "version"], [[name, text] for name, text in document["versions"].items()]),
        "Digests": (["what", "sha256"], [[name, text] for name, text in document["digests"].items()]),
        "Wall times": (["step", "s"], [[name, number(value)] for name, value in document["wall_s"].items()]),
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
    return header, rows


def number(value: Any) -> str:
    """A cell: 'missing' for None, at most one decimal for floats."""
    if value is None:
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) and not value.is_integer() else str(value)


def text_table(table: Table) -> str:
    """A table for the terminal."""
    header, rows = table
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in [header, *rows]]  # fmt: skip
    return "\n".join(lines)


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
    return ["first", "second", "compared", *kinds, "events", "mismatches"], rows


def _evaluations(document: Document) -> Table:
    rows = []
    for name, entry in document["evaluations"].items():
        events = f"absent: {entry['absent']}" if entry["absent"] else str(entry["events"])
        rows.append([name, entry["what"], events, number(entry["wall_s"])])
    return ["evaluation", "what", "events", "wall s"], rows


def _change(now: float | None, before: float | None) -> str:
    if now is None or before is None:
        return "-"
    if now == before:
        return "none"
    relative = f" ({100 * (now - before) / before:+.1f} %)" if before else ""
    return f"{now - before:+.4g}{relative}"


def _markdown_row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _html_cells(cells: list[str], tag: str) -> str:
    return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>@title@</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; display: block; overflow-x: auto; }
th, td { border: 1px solid #8886; padding: .25rem .6rem; text-align: left; }
th { background: #8882; }
.good, .bad { font-weight: 600; padding: .6rem 1rem; border-radius: .4rem; color: #fff; }
.good { background: #1a6e3c; } .bad { background: #a3262a; }
figure { margin: 1.5rem 0; } img { max-width: 100%; background: #fff; border-radius: .4rem; }
figcaption { opacity: .75; }
</style></head><body>
@body@
</body></html>
"""
