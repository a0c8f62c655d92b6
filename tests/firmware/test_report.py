"""The report: checked, readable, and failing where it should."""

import copy
import json

import pytest

from axo import cli
from axo.errors import UserError
from axo.firmware.pictures import budget_bars, layer_widths, score_distributions
from axo.firmware.report import budget_table, page, read_report, write_report

KINDS = {"recorded": 10, "random": 90}


@pytest.fixture
def document():
    check = {
        "quantity": "lut",
        "value": 120,
        "limit": 100.0,
        "gates": True,
        "within": False,
        "source": "yosys",
    }
    missing = {**check, "quantity": "dsp", "value": None, "source": None}
    kept = {**check, "quantity": "latency_ns", "value": 25.0, "limit": 50.0, "within": True, "source": "rtl"}
    return {
        "format": "axo-firmware-report", "format_version": 1, "model": "tiny",
        "created": "2026-11-22T00:00:00Z",
        "network": {"name": "tiny", "sha256": "0" * 64, "score_type": "t", "thresholds": {"rate_1khz": 5}},
        "verdict": {"agree": False, "within_budget": False, "passed": False},
        "stimuli": KINDS,
        "evaluations": {
            "reference": {"what": "numpy <b>", "events": 100, "wall_s": 1.5, "absent": None},
            "keras": {"what": "Keras", "events": 0, "wall_s": None, "absent": "no Keras model"},
        },
        "comparisons": [
            {"first": "reference", "second": "rtl", "quantities": ["score_word"], "events": 100,
             "events_by_kind": KINDS, "mismatches": 3}
        ],
        "clock": {"clock_mhz": 240.0, "how_chosen": "from depth", "depth": None},
        "latency": [{"source": "rtl", "cycles": 6, "clock_mhz": 240.0, "latency_ns": 25.0,
                     "initiation_interval_cycles": 1}],
        "resources": [{"source": "yosys", "what": "no place and route", "lut": 120, "ff": 7, "carry": None,
                       "dsp": None, "bram": 0}],
        "checks": [check, missing, kept],
        "tools": {"vivado": "absent"}, "versions": {"yosys": "0.70"}, "digests": {"network": "0" * 64},
        "wall_s": {"rtl": 2.0}, "notes": ["a note"], "scores": {"random": [0, 1, 2, 3, 4]},
        "layers": [{"name": "x", "op": "linear", "size": 3, "type": "t", "width": 8, "bits_needed": 7}],
    }  # fmt: skip


def test_round_trip_and_renderings(document, tmp_path):
    write_report(tmp_path, document, {"a picture": b"\x89PNG"})
    assert read_report(tmp_path / "report.json") == document
    markdown = (tmp_path / "report.md").read_text()
    assert "FAILED: 3 mismatches" in markdown and "budget broken or not measured: lut, dsp" in markdown
    html = (tmp_path / "report.html").read_text()
    assert "numpy &lt;b&gt;" in html and "<b>" not in html and "data:image/png;base64," in html


def test_missing_is_shown_as_missing_never_as_zero(document):
    row = next(
        line for line in page(document, {}).markdown().splitlines() if line.startswith("| yosys | 120")
    )
    assert row == "| yosys | 120 | 7 | missing | missing | 0 | no place and route |"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("comparisons",), []),
        (("comparisons", 0, "mismatches"), -1),
        (("verdict", "passed"), "yes"),
        (("resources", 0, "lut"), 1.5),
        (("format_version",), 2),
        (("extra",), 1),
    ],
)
def test_schema_violations_are_found(document, path, value, tmp_path):
    damaged = copy.deepcopy(document)
    place = damaged
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (tmp_path / "report.json").write_text(json.dumps(damaged))
    with pytest.raises(UserError, match="is not a firmware report"):
        read_report(tmp_path / "report.json")


def test_baseline_shows_the_change(document):
    baseline = copy.deepcopy(document)
    baseline["checks"][0]["value"] = 100
    table = budget_table(document, baseline)
    change = table.header.index("change against baseline")
    assert [row[change] for row in table.rows] == ["+20 (+20.0 %)", "-", "none"]
    assert [row[table.header.index("")] for row in table.rows] == ["BROKEN", "not measured", "within"]


def test_report_command_gates_and_compares(document, tmp_path, capsys):
    write_report(tmp_path, document, {})
    report, baseline = str(tmp_path / "report.json"), str(tmp_path / "baseline.json")
    assert cli.main(["report", report, "--save-baseline", baseline]) == 1
    document["verdict"] = {"agree": True, "within_budget": True, "passed": True}
    write_report(tmp_path, document, {})
    assert cli.main(["report", report, "--baseline", baseline]) == 0
    assert "none" in capsys.readouterr().out
    assert cli.main(["report", report, "--baseline", report]) == 2
    assert "is not a firmware baseline" in capsys.readouterr().err


def test_pictures_are_png_and_survive_missing_values(document):
    import numpy as np

    scores = {"random": np.arange(50, dtype=np.int32)}
    for picture in (
        score_distributions(scores, {"rate_1khz": 40}, 2**18),
        budget_bars(document["checks"]),
        layer_widths(document["layers"]),
    ):
        assert picture.startswith(b"\x89PNG")
    assert "<figure>" in page(document, {"p": picture}).html()
