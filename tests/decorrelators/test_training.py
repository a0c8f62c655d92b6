"""The decorrelation section of a configuration, and what it does to a training."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import yaml

from axo.cli import main
from axo.decorrelators.information import mutual_information
from axo.decorrelators.method import method_names
from axo.errors import UserError
from axo.events.sources import read_events
from axo.models.scaling import learn_scaling
from axo.network import evaluate
from axo.physics.sample import Sample
from axo.physics.variables import trigger_variables
from axo.training.config import find_config, read_training
from axo.training.decorrelate import Bench, pileup_slope
from axo.training.fit import fit


def test_methods():
    assert method_names() == ["decade", "disco"]


def test_without_the_section_the_fingerprint_is_what_it_was():
    config, _ = read_training("axo_v3")
    shaping = {"family", "inputs", "scaling", "training", "model", "stride"}
    assert set(config.training_document()) == shaping
    assert "decorrelation" not in config.document()
    config, _ = read_training("axo_v3_decade_fast")
    assert config.training_document()["decorrelation"]["method"] == "decade"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"method": "decad", "strength": 1}, "decorrelation: unknown method 'decad'; did you mean 'decade'"),
        ({"strength": 1}, "decorrelation: unknown method None"),
        ({"method": "decade"}, "decorrelation: key 'strength' is missing"),
        (
            {"method": "decade", "strength": 1, "bin": 3},
            "decorrelation: unknown key 'bin'; did you mean 'bins'",
        ),
        ({"method": "decade", "strength": 1, "variables": {"ht": 1}}, "unknown trigger variable 'ht'"),
        ({"method": "disco", "strength": -1}, "strength must not be negative"),
    ],
)
def test_bad_sections(tmp_path, section, message):
    document = yaml.safe_load(find_config("axo_v3_decade_fast").read_text())
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({**document, "decorrelation": section}))
    with pytest.raises(UserError, match=message):
        read_training(str(path))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(network, validation metrics) by decorrelation section, on the shipped sample."""
    folder = tmp_path_factory.mktemp("fit")
    config, model = read_training("axo_v3_decade_fast")
    events = read_events("sample:zerobias_train")
    held_out = np.arange(len(events)) % 10 == 0
    scaling = learn_scaling(events.words[~held_out], config.scaling)

    def train(name, section):
        changed = dataclasses.replace(config, decorrelation=section)
        fitted = fit(
            changed, model, scaling, events[~held_out], events.words[held_out],
            1, folder / f"{name}.npz", name, lambda line: None,
        )  # fmt: skip
        return fitted.model.export(name), fitted.validation

    return {
        "none": train("none", None),
        "decade": train("decade", {"method": "decade", "strength": 10.0}),
        "disco": train("disco", {"method": "disco", "strength": 10.0}),
    }


@pytest.mark.parametrize("method", ["decade", "disco"])
def test_the_score_tells_less(trained, method):
    """The largest mutual information with a primary variable, on events that were not trained on."""
    events = read_events("sample:zerobias_test")
    variables = trigger_variables(events)

    def largest(name):
        score = evaluate(trained[name][0], events.words).score_word
        return max(mutual_information(score, column) for column in variables.T)

    assert largest(method) < largest("none") / 2


def test_seeds_are_compared_by_what_was_minimised(trained):
    assert "penalty" not in trained["none"][1]
    metrics = trained["decade"][1]
    assert metrics["penalty"] > 0
    assert metrics["loss"] > metrics["reconstruction"] + metrics["penalty"]


def test_pileup_may_be_among_the_variables(tmp_path, capsys):
    document = yaml.safe_load(find_config("axo_v3_decade_fast").read_text())
    section = {"method": "decade", "strength": 1.0, "variables": {"pileup": 1.0}}
    document |= {"decorrelation": section, "training": {"epochs": 1, "batch": 512}}
    path = tmp_path / "pileup.yaml"
    path.write_text(yaml.safe_dump(document))
    arguments = ["--output", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    assert main(["train", str(path), *arguments]) == 0
    card = json.loads((tmp_path / "out/model_card.json").read_text())
    assert card["config"]["decorrelation"] == section
    assert card["seeds"][0]["validation"]["penalty"] > 0


def test_curve(tmp_path, capsys):
    arguments = ["--strengths", "0", "5", "--epochs", "1", "--output", str(tmp_path)]
    assert main(["decorrelate", "axo_v3_decade_fast", *arguments]) == 0
    assert "strength 5: largest mutual information" in capsys.readouterr().out
    document = json.loads((tmp_path / "decorrelation.json").read_text())
    assert [point["name"] for point in document["points"]] == [
        "strength 0",
        "software transport",
        "strength 5",
    ]
    point = document["points"][0]
    assert set(point["points"]) == {"1000 kHz", "5000 kHz"}
    assert set(point["points"]["1000 kHz"]["pure"]["signals"]) == {"A_4l", "ttbar"}
    assert "pileup" in point["mutual_information"]
    text = (tmp_path / "decorrelation.md").read_text()
    assert text.count("## ") == 5
    assert (tmp_path / "decorrelation.png").read_bytes()[:4] == b"\x89PNG"


def test_curve_needs_a_section(capsys):
    assert main(["decorrelate", "axo_v3_fast"]) == 2
    assert "has no decorrelation section" in capsys.readouterr().err


def bench(pure, signal_pure):
    """A bench at 11.2456 kHz for one bunch, whose events differ only in being pure."""
    from axo.events import Events

    def sample(flags, pileup=None):
        flags = np.array(flags, bool)
        events = Events(np.zeros((len(flags), 57), np.int16), pileup=pileup)
        return Sample("", events, flags)

    return Bench(
        sample(pure, np.arange(len(pure), dtype=np.float32)),
        {"s": sample(signal_pure)},
        {"met_gev": np.zeros(len(pure))},
        (11.2456 / 4,),
        1,
    )


def test_measured_by_hand():
    """Eight events: a quarter, two of them, may pass. Scores 8 to 1; the 2nd, 3rd and 5th are not pure."""
    scores = np.arange(8, 0, -1)
    found = bench([1, 0, 0, 1, 0, 1, 1, 1], [1, 1, 0, 1]).measure(scores, {"s": np.array([9, 6, 7, 5])})
    point = found["points"]["2.8114 kHz"]
    # Total: 8 and 7 pass, so 7 is the threshold. Pure: 8 and 5 pass, and no more from 4 on.
    assert point["total"]["threshold_word"] == 7
    assert point["total"]["signals"]["s"]["value"] == 0.5
    assert point["pure"]["threshold_word"] == 4
    assert point["pure"]["signals"]["s"]["value"] == 0.75


def test_pileup_slope_of_a_known_rate():
    """P(pass) = 0.1 (1 + 0.05 (pileup - 20)): 5 % of the mean rate per interaction."""
    rng = np.random.default_rng(1)
    pileup = rng.integers(10, 31, 400_000)
    passed = rng.random(len(pileup)) < 0.1 * (1 + 0.05 * (pileup - 20.0))
    slope = pileup_slope(passed, pileup)
    assert slope["value"] == pytest.approx(0.05, abs=4 * slope["error"])
    assert slope["error"] < 0.002
    assert pileup_slope(passed, None) is None
    assert pileup_slope(np.zeros(3, bool), np.arange(3)) is None
