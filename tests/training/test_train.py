"""axo train and axo export, end to end on the shipped sample."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from axo.cli import main
from axo.errors import UserError
from axo.events.sources import read_events
from axo.network import evaluate, read_network
from axo.physics.rates import collision_rate_hz
from axo.training import fit as fit_module
from axo.training.config import read_training
from axo.training.train import train

CONFIGS = Path(fit_module.__file__).parent / "configs"

TINY = {
    "name": "tiny",
    "family": "vae",
    "seeds": [1, 2],
    "data": {
        "train": "sample:zerobias_train",
        "train_events": 4000,
        "test": "sample:zerobias_test",
        "signals": {"ttbar": "sample:sig_ttbar"},
    },
    "training": {"epochs": 2, "batch": 512},
    "release": {"rates_khz": [1000, 5000], "figures_khz": [1000], "compared_events": 8000},
    "model": {"pruning": {"sparsity": [0.5, 0.3, 0.1]}},
}


def write_config(folder, **changes):
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return str(path)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    """The folder that ``axo train`` writes for TINY."""
    folder = tmp_path_factory.mktemp("train")
    arguments = ["--output", str(folder / "out"), "--work", str(folder / "work")]
    assert main(["train", write_config(folder), *arguments]) == 0
    return folder / "out"


def test_artefact_is_whole(artefact):
    names = {path.name for path in artefact.iterdir()}
    assert names == {"network.json", "model.keras", "model_card.json", "model_card.md"}
    assert sum(path.stat().st_size for path in artefact.iterdir()) < 1_000_000


def test_card_agrees_with_the_network(artefact):
    """Rates and efficiencies of the card, counted again with the reference evaluation."""
    card = json.loads((artefact / "model_card.json").read_text())
    network = read_network(artefact / "network.json")
    zero_bias = evaluate(network, read_events("sample:zerobias_test").words).score_word
    ttbar = evaluate(network, read_events("sample:sig_ttbar").words).score_word
    assert set(network.thresholds) == {"rate_1000khz", "rate_5000khz"}
    for name, target in (("rate_1000khz", 1e6), ("rate_5000khz", 5e6)):
        threshold = network.thresholds[name]
        point = card["figures"]["rates"][name]
        assert point["threshold_word"] == threshold
        assert point["passed"] == (zero_bias >= threshold).sum()
        full = collision_rate_hz(2544)
        assert (zero_bias >= threshold).mean() * full <= target < (zero_bias >= threshold - 1).mean() * full
        assert point["rate_low_khz"] < point["rate_khz"] < point["rate_high_khz"]
    result = card["figures"]["signals"]["ttbar"]
    assert (
        result["efficiency"]["rate_1000khz"]["value"] == (ttbar >= network.thresholds["rate_1000khz"]).mean()
    )
    from scipy.stats import mannwhitneyu

    area = mannwhitneyu(ttbar, zero_bias).statistic / len(ttbar) / len(zero_bias)
    assert result["auc"] == pytest.approx(area, abs=1e-12)


def test_released_seed_has_the_lowest_validation_loss(artefact):
    card = json.loads((artefact / "model_card.json").read_text())
    losses = {seed["seed"]: seed["validation_loss"] for seed in card["seeds"]}
    assert set(losses) == {1, 2}
    assert card["released_seed"] == min(losses, key=losses.get)
    assert "(released)" in (artefact / "model_card.md").read_text()


def test_exactness_was_checked_on_every_kind(artefact):
    exactness = json.loads((artefact / "model_card.json").read_text())["exactness"]
    assert set(exactness["events"]) == {"simulated", "random", "extreme", "overrange"}
    assert not any(exactness["mismatches"].values())
    assert sum(exactness["events"].values()) >= 8000


def test_export_gives_the_same_network(artefact, tmp_path, capsys):
    output = tmp_path / "again.json"
    assert main(["export", str(artefact), "--output", str(output), "--events", "2000"]) == 0
    assert output.read_bytes() == (artefact / "network.json").read_bytes()
    assert "0 mismatches" in capsys.readouterr().out


def run(folder, say=lambda line: None, **changes):
    config, model = read_training(write_config(folder, **changes))
    return train(config, model, folder / "out", folder / "work", say)


def test_an_interrupted_training_resumes_to_the_same_network(artefact, tmp_path, monkeypatch):
    writes = []

    def interrupt(path, fingerprint, checkpoint):
        original(path, fingerprint, checkpoint)
        writes.append((path.stem, checkpoint.epochs))
        if len(writes) == 1:
            raise KeyboardInterrupt

    original = fit_module.write_checkpoint
    monkeypatch.setattr(fit_module, "write_checkpoint", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert not (tmp_path / "out").exists()
    lines = []
    assert run(tmp_path, lines.append)["events_per_s"] > 0
    assert writes == [("seed1", 1), ("seed1", 2), ("seed2", 1), ("seed2", 2)]
    assert "seed 1: resumed after epoch 1 of 2" in lines
    assert (tmp_path / "out/network.json").read_bytes() == (artefact / "network.json").read_bytes()


def test_a_checkpoint_belongs_to_one_training(tmp_path):
    from axo.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

    path = tmp_path / "seed1.npz"
    assert read_checkpoint(path, "this") is None
    write_checkpoint(path, "this", Checkpoint(2, [np.arange(3.0), np.ones((2, 2))], [{"loss": 1.5}]))
    back = read_checkpoint(path, "this")
    assert (back.epochs, back.history) == (2, [{"loss": 1.5}])
    np.testing.assert_array_equal(back.values[0], [0, 1, 2])
    assert back.values[1].shape == (2, 2)
    assert read_checkpoint(path, "another") is None
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match="no readable checkpoint"):
        read_checkpoint(path, "this")


def test_diverging_training_is_named(tmp_path):
    with pytest.raises(UserError, match="loss is not finite"):
        run(tmp_path, model={"learning_rate": 1e30})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"famly": "vae"}, "tiny.yaml: unknown key 'famly'; did you mean 'family'"),
        ({"family": "vea"}, "unknown model family 'vea'; did you mean 'vae'"),
        ({"model": {"latnt": 8}}, "tiny.yaml: model: unknown key 'latnt'; did you mean 'latent'"),
        ({"model": {"loss": {"beta": -1}}}, "tiny.yaml: model: loss: weights must not be negative"),
        ({"seeds": [1, 1]}, "seeds must be different"),
        ({"training": {"epochs": 0}}, "tiny.yaml: training: epochs and batch must be positive"),
        ({"data": {**TINY["data"], "train": "sample:none"}}, "unknown sample 'none'"),
        ({"data": {**TINY["data"], "train_events": 50}}, "50 events are too few"),
        ({"release": {"rates_khz": [0.01], "figures_khz": []}}, "cannot be told from 31250"),
        ({"release": {"rates_khz": [1.0], "figures_khz": [2.0]}}, "figures_khz must be among rates_khz"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, changes, message):
    assert main(["train", write_config(tmp_path, **changes), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_unknown_configuration(capsys):
    assert main(["train", "axo_v3x"]) == 2
    assert "did you mean 'axo_v3'" in capsys.readouterr().err


def test_export_of_a_damaged_card(tmp_path, capsys):
    (tmp_path / "model_card.json").write_text("{}")
    assert main(["export", str(tmp_path)]) == 2
    assert "model_card.json" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_shipped_configurations_are_valid(name):
    config, model = read_training(name)
    assert config.name == name
    assert dataclasses.is_dataclass(model)
    folder = read_training(name, "/elsewhere")[0].data.folder
    assert folder == "/elsewhere"


def test_figures_by_hand():
    """Eight zero-bias events, of which two may pass: 5 and 7, at 5; of four signal events three do."""
    from types import SimpleNamespace

    from axo.physics.figures import clopper_pearson
    from axo.training.config import Release
    from axo.training.figures import figures

    network = SimpleNamespace(score_type=SimpleNamespace(max_int=7))
    khz = collision_rate_hz(2544) / 1000
    release = Release(rates_khz=(khz / 4,), figures_khz=(khz / 4,))
    signals = {"a": np.array([5, 6, 7, 1]), "b": np.array([0, 5, 3, 4])}
    found = figures(np.array([0, 1, 1, 2, 3, 4, 5, 7]), signals, network, release)
    (point,) = found["rates"]
    low, high = clopper_pearson(2, 8)
    assert found["rates"][point] == pytest.approx(
        {"threshold_word": 5, "passed": 2, "total": 8, "rate_khz": khz / 4,
         "rate_low_khz": low * khz, "rate_high_khz": high * khz}
    )  # fmt: skip
    assert [found["signals"][name]["efficiency"][point]["value"] for name in "ab"] == [0.75, 0.25]
    assert found["geometric_mean"][point] == pytest.approx(np.sqrt(0.75 * 0.25))
    # Pairs won, ties half: 5 beats six and ties one, 6 beats seven, 7 also ties one, 1 beats one, ties two.
    assert found["signals"]["a"]["auc"] == (6.5 + 7 + 7.5 + 2) / 32
    with pytest.raises(UserError, match="signal a holds no events"):
        figures(np.arange(8), {"a": np.zeros(0, np.int64)}, network, release)


def test_names_of_working_points():
    from axo.training.figures import rate_name

    assert [rate_name(rate) for rate in (0.5, 1.0, 10.0)] == ["rate_0p5khz", "rate_1khz", "rate_10khz"]
