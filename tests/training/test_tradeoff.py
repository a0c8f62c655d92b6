"""LUTs against efficiency, on the small network with a card of round figures."""

import json

import pytest

from axo import cli
from axo.network import digest, write_network
from tests.firmware.test_build import small_network

EFFICIENCY = {"value": 0.25, "low": 0.2, "high": 0.3}


@pytest.fixture
def model(tmp_path):
    network = small_network()
    folder = tmp_path / "variant"
    write_network(folder / "network.json", network)
    card = {
        "network_sha256": digest(network),
        "figures": {
            "geometric_mean": {"rate_10khz": 0.25},
            "signals": {"ttbar": {"efficiency": {"rate_10khz": EFFICIENCY}}},
        },
        "cost": [{"nonzero_weights": 70, "csd_digits": 100}, {"nonzero_weights": 8, "csd_digits": 11}],
    }
    (folder / "model_card.json").write_text(json.dumps(card))
    return folder


def test_one_model_is_measured_tabled_and_drawn(model, tmp_path):
    assert cli.main(["tradeoff", str(model), "--output", str(tmp_path / "out")]) == 0
    document = json.loads((tmp_path / "out" / "tradeoff.json").read_text())
    (point,) = document["models"]
    assert point["lut"] > 100 and point["period_ns"] > 1 and point["efficiency"]["ttbar"] == EFFICIENCY
    assert (point["nonzero_weights"], point["csd_digits"]) == (78, 111)
    assert "| variant |" in (tmp_path / "out" / "tradeoff.md").read_text()
    assert (tmp_path / "out" / "tradeoff.png").read_bytes().startswith(b"\x89PNG")


def test_a_card_of_another_network_is_refused(model, tmp_path, capsys):
    card = json.loads((model / "model_card.json").read_text())
    (model / "model_card.json").write_text(json.dumps({**card, "network_sha256": "0" * 64}))
    assert cli.main(["tradeoff", str(model), "--output", str(tmp_path / "out")]) == 2
    assert "is of another network" in capsys.readouterr().err


def test_an_unknown_working_point_is_named(model, tmp_path, capsys):
    arguments = ["tradeoff", str(model), "--working-point", "rate_7khz", "--output", str(tmp_path / "out")]
    assert cli.main(arguments) == 2
    assert "no working point 'rate_7khz' (it has rate_10khz)" in capsys.readouterr().err
