"""Print a firmware report's verdict and budget, and the change against a baseline report.

  axo report build/axo_v3/report.json
  axo report build/axo_v3/report.json --baseline training/models/axo_v3/firmware_baseline.json

Exits with 1 when an evaluation disagrees or a gating budget is broken or was not measured.
With --save-baseline FILE the figures that are compared are written there, to be committed.
"""

from __future__ import annotations

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo report``."""
    parser.add_argument("report", help="report.json of a firmware build")
    parser.add_argument("--baseline", help="baseline to compare with")
    parser.add_argument("--save-baseline", metavar="FILE", help="write this report's figures as a baseline")


def run(args: argparse.Namespace) -> int:
    """Run ``axo report``."""
    from axo.files import write_json
    from axo.firmware.report import budget_table, read_report, verdict_line

    document = read_report(args.report)
    print(f"{document['model']} (network {document['network']['sha256'][:12]})")
    print(verdict_line(document))
    print(budget_table(document, _read_baseline(args.baseline) if args.baseline else None).text())
    if args.save_baseline:
        write_json(args.save_baseline, _baseline(document))
        print(f"wrote {args.save_baseline}")
    return 0 if document["verdict"]["passed"] else 1


def _baseline(document: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": "axo-firmware-baseline",
        "network_sha256": document["network"]["sha256"],
        "checks": document["checks"],
        "tools": {name: text for name, text in document["versions"].items() if name in ("yosys", "alkaid")},
    }


def _read_baseline(path: str) -> dict[str, Any]:
    from axo.errors import UserError
    from axo.files import read_json

    baseline = read_json(path)
    if not isinstance(baseline, dict) or baseline.get("format") != "axo-firmware-baseline":
        raise UserError(f"{path}: is not a firmware baseline; write one with axo report --save-baseline")
    return baseline
