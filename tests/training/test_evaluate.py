"""axo evaluate, end to end on the shipped samples: every figure counted again another way."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest

from axo.cli import main
from axo.events import Events
from axo.events.sources import read_events, write_events
from axo.firmware.models import find_model
from axo.layout import find_layout
from axo.network import Dense, FixedType, Network, Relu, evaluate, write_network
from axo.physics.menu import read_menu
from axo.physics.rates import collision_rate_hz

BACKGROUND, SIGNALS = "sample:zerobias_test", ["sample:sig_A_4l", "sample:sig_ttbar"]
RATES = ["100", "1000"]


def call(*arguments):
    return main(["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """No test reads what another program left in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def output(tmp_path_factory, cache):
    """The folder of a full evaluation of axo_v3."""
    folder = tmp_path_factory.mktemp("evaluate")
    assert call("axo_v3", "--background", BACKGROUND, "--signals", *SIGNALS, "--rate-khz", *RATES,
                "--output", folder) == 0  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def document(output):
    return json.loads((output / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def counted():
    """Reference scores of the samples, and which events an unprescaled seed of the default menu takes."""
    network, menu = find_model("axo_v3").network, read_menu()
    unprescaled = [menu.prescales()[name] == 1 for name in menu.seeds]
    result = {}
    for name in (BACKGROUND, *SIGNALS):
        events = read_events(name)
        scores = evaluate(network, events.words).score_word
        result[name] = scores, menu.evaluate(events)[:, unprescaled].any(axis=1)
    return result


def test_efficiencies_at_fixed_rate(document, counted):
    """The threshold is the smallest whose rate is not above the target, by trial of every score."""
    scores, others = counted[BACKGROUND]
    allowed = 100e3 / collision_rate_hz(2544) * len(scores)
    cut = min(t for t in np.unique(scores) if (scores > t).sum() <= allowed)
    point = document["detectors"]["axo_v3"]["points"]["rate_100khz"]
    assert (point["cut"], point["passed"]) == (cut, (scores > cut).sum())
    assert point["purity"]["value"] == pytest.approx(1 - others[scores > cut].mean())
    for name, sample in zip(("A_4l", "ttbar"), SIGNALS, strict=True):
        signal, taken = counted[sample]
        assert point["efficiency"][name]["value"] == pytest.approx((signal > cut).mean())
        assert point["pure_efficiency"][name]["value"] == pytest.approx(((signal > cut) & ~taken).mean())
    values = [point["efficiency"][name]["value"] for name in ("A_4l", "ttbar")]
    assert point["geometric_mean"]["value"] == pytest.approx(np.sqrt(values[0] * values[1]))
    assert point["geometric_mean"]["low"] < point["geometric_mean"]["value"] < point["geometric_mean"]["high"]


def test_pure_efficiencies_at_fixed_pure_rate(document, counted):
    scores, others = counted[BACKGROUND]
    allowed = 100e3 / collision_rate_hz(2544) * len(scores)
    cut = min(t for t in np.unique(scores) if ((scores > t) & ~others).sum() <= allowed)
    point = document["detectors"]["axo_v3"]["points"]["pure_rate_100khz"]
    assert point["pure_rate_khz"]["value"] == pytest.approx(
        ((scores > cut) & ~others).mean() * collision_rate_hz(2544) / 1000
    )
    signal, taken = counted["sample:sig_ttbar"]
    assert point["pure_efficiency"]["ttbar"]["value"] == pytest.approx(((signal > cut) & ~taken).mean())


def test_all_detectors_are_in_every_table(document):
    assert set(document["detectors"]) == {"axo_v3", "HT cut", "isolation forest", "supervised"}
    for detector in document["detectors"].values():
        assert set(detector["points"]) == set(document["points"])
        assert set(detector["auc"]) == {"A_4l", "ttbar"}
    assert set(document["points"]) == {
        "rate_100khz", "pure_rate_100khz", "rate_1000khz", "pure_rate_1000khz", "fpr_1em4",
    }  # fmt: skip
    assert any("1e-05 cannot be told" in note for note in document["notes"])


def test_the_way_from_trivial_to_supervised(document):
    low, mine, high = (
        document["detectors"][name]["points"]["rate_1000khz"]["efficiency"]["A_4l"]["value"]
        for name in ("HT cut", "axo_v3", "supervised")
    )
    way = document["detectors"]["axo_v3"]["points"]["rate_1000khz"]["of_the_way_efficiency"]["A_4l"]
    assert way["value"] == pytest.approx((mine - low) / (high - low))
    assert way["low"] < way["value"] < way["high"]


def test_arithmetic_is_compared(document):
    arithmetic = document["detectors"]["axo_v3"]["arithmetic"]
    assert arithmetic["quantised_events"] >= 31_250 and arithmetic["quantised_mismatches"] == 0
    assert set(arithmetic["ratios"]) == {"float", "float_saturating"}
    ratio = arithmetic["ratios"]["float"]["rate_1000khz"]["geometric_mean"]
    assert 0.8 < ratio["low"] <= ratio["value"] <= ratio["high"] < 1.25


def test_information_dependence_and_seeds(document):
    from axo.decorrelators.information import mutual_information
    from axo.physics.variables import trigger_variables

    mine = document["detectors"]["axo_v3"]
    words = read_events(BACKGROUND).words
    scores = evaluate(find_model("axo_v3").network, words).score_word
    met = trigger_variables(read_events(BACKGROUND), ["met_gev"])[:, 0]
    assert mine["mutual_information"]["met_gev"] == pytest.approx(mutual_information(scores, met))
    assert document["detectors"]["HT cut"]["mutual_information"]["htt_gev"] > 0.5
    rows = mine["dependence"]["n_mu"]
    assert [row["mean"] for row in rows] == list(range(len(rows)))
    assert sum(row["events"] for row in rows) == len(words)
    assert sum(row["passed"] for row in rows) == mine["points"]["rate_1000khz"]["passed"]
    assert len(mine["card"]["seeds"]) == 5 and "rate_10khz" in mine["card"]["seed_spread"]


def test_document_follows_the_schema(document):
    from importlib import resources

    import jsonschema

    schema = json.loads((resources.files("axo.training") / "evaluation_schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    del document["detectors"]["axo_v3"]["points"]["rate_100khz"]["geometric_mean"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def test_page_is_self_contained(output):
    page = (output / "evaluation.html").read_text()
    assert page.count('src="data:image/png;base64,') == 5 == len(list(output.glob("*.png")))
    assert "http" not in page.replace("http-equiv", "")
    for text in (
        "Pure efficiency at a pure rate of 100 kHz",
        "isolation forest",
        "Fixed point against float",
    ):
        assert text in page


def test_baselines_come_from_the_cache_the_second_time(output, document, tmp_path, capsys):
    capsys.readouterr()
    assert call("axo_v3", "--background", BACKGROUND, "--signals", *SIGNALS, "--rate-khz", *RATES,
                "--json", tmp_path / "again.json") == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "\nsupervised classifier of" not in said and "\nisolation forest\n" not in said
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["detectors"]["supervised"] == document["detectors"]["supervised"]


def write_adc2021(path, events, seed, scale):
    """`events` with MET, one electron and one muon of about `scale` GeV."""
    rng = np.random.default_rng(seed)
    particles = np.zeros((events, 19, 4), np.float32)
    for row, kind in ((0, 1), (1, 2), (5, 3)):
        particles[:, row, 0] = rng.exponential(scale, events) + 3
        particles[:, row, 1] = 0 if row == 0 else rng.uniform(-2, 2, events)
        particles[:, row, 2] = rng.uniform(-3.1, 3.1, events)
        particles[:, row, 3] = kind
    with h5py.File(path, "w") as file:
        file["Particles"] = particles
    return path


def test_adc2021_files_have_the_published_figures_beside_them(tmp_path, capsys, cache):
    background = write_adc2021(tmp_path / "background_for_training.h5", 12_000, 1, 10)
    signal = write_adc2021(tmp_path / "Ato4l_lepFilter_13TeV_filtered.h5", 500, 2, 40)
    assert call("axo_v3", "--background", background, "--signals", signal, "--no-baselines",
                "--json", tmp_path / "adc.json") == 0  # fmt: skip
    document = json.loads((tmp_path / "adc.json").read_text())
    assert document["zero_bias"] is False and document["menu"] is None and document["bunches"] is None
    assert list(document["points"]) == ["fpr_1em4"]
    assert document["detectors"]["axo_v3"]["points"]["fpr_1em4"]["rate_khz"] is None
    (published,) = document["published"].values()
    assert (published["auc"], published["efficiency_at_1e-5"]) == (0.817, 3.4e-2)
    said = capsys.readouterr().out
    assert "FAD, AUC" in said and "no rates" in said


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("Ato4l_lepFilter_13TeV_filtered", "A -> 4l"),
        ("leptoquark_LOWMASS_lepFilter_13TeV_filtered", "LQ -> b tau"),
        ("hToTauTau_13TeV_PU20_filtered", "h0 -> tau tau"),
        ("hChToTauNu_13TeV_PU20_filtered", "h+- -> tau nu"),
        ("blackbox_2", None),
    ],
)
def test_public_file_names_are_recognised(name, signal):
    import re

    from axo.training.evaluation_samples import PUBLISHED

    found = [entry.signal for entry in PUBLISHED if re.search(entry.pattern, name, re.IGNORECASE)]
    assert found == ([signal] if signal else [])


def test_a_network_without_keras_model_says_so(tmp_path, capsys, cache):
    network = find_model("axo_v3").network
    write_network(tmp_path / "bare.json", network)
    assert call(tmp_path / "bare.json", "--background", BACKGROUND, "--signals", *SIGNALS,
                "--rate-khz", *RATES, "--no-baselines", "--menu", "none",
                "--json", tmp_path / "bare_out.json") == 0  # fmt: skip
    document = json.loads((tmp_path / "bare_out.json").read_text())
    mine = document["detectors"]["axo_v3"]
    assert mine["arithmetic"] == {"absent": "bare.json has no model.keras beside it"}
    assert mine["card"] is None and "pure_efficiency" not in mine["points"]["rate_100khz"]
    assert any("Pure figures are absent" in note for note in document["notes"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["axo_v3x"], "did you mean 'axo_v3'"),
        (["axo_v3", "axo_v3"], "is the same network"),
        (["axo_v3", "--rate-khz", "0.5"], "0.5 kHz cannot be told from 31250 zero-bias events"),
        (["axo_v3", "--rate-khz", "-1"], "cannot be told"),
        (["axo_v3", "--bunches", "0"], "--bunches 0 is not at least 1"),
        (["axo_v3", "--column", "1p9E34"], "1p9E34"),
        (["axo_v3", "--menu", "none", "--column", "x"], "--column needs a menu"),
        (["axo_v3", "--signals", "sample:zerobias_test"], "has the same events as"),
        (["axo_v3", "--signals", "sample:sig_ttbar", "sample:sig_ttbar"], "has the same events as"),
        (["axo_v3", "--signals", "sample:sig_tbar"], "unknown sample"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, cache, arguments, message):
    signals = [] if "--signals" in arguments else ["--signals", *SIGNALS]
    more = ["--background", BACKGROUND, *signals, "--no-baselines", "--json", tmp_path / "out.json"]
    assert call(*arguments, *more) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out.json").exists()


def test_nan_and_empty_files_are_named(tmp_path, capsys, cache):
    bad = write_adc2021(tmp_path / "nan.h5", 100, 3, 10)
    with h5py.File(bad, "r+") as file:
        file["Particles"][7, 1, 0] = np.nan
    empty = tmp_path / "empty.h5"
    with h5py.File(empty, "w") as file:
        file["Particles"] = np.zeros((0, 19, 4), np.float32)
    for path, message in ((bad, "event 7"), (empty, "holds no events")):
        assert call("axo_v3", "--background", BACKGROUND, "--signals", path) == 2
        error = capsys.readouterr().err
        assert message in error and str(path) in error and error.count("\n") == 1


def test_too_few_events_to_fit_the_baselines(tmp_path, capsys, cache):
    signal = write_adc2021(tmp_path / "few.h5", 100, 3, 10)
    arguments = ["--background", BACKGROUND, "--signals", signal, "--rate-khz", "1000", "--menu", "none"]
    assert call("axo_v3", *arguments) == 2
    assert "leaves 50 events to fit the baselines on" in capsys.readouterr().err


def test_a_card_of_another_network_is_refused(tmp_path, capsys, cache):
    folder = find_model("axo_v3").path.parent
    shutil.copy(folder / "network.json", tmp_path)
    card = json.loads((folder / "model_card.json").read_text())
    (tmp_path / "model_card.json").write_text(json.dumps({**card, "network_sha256": "0" * 64}))
    assert call(tmp_path, "--background", BACKGROUND, "--signals", *SIGNALS, "--rate-khz", "1000",
                "--no-baselines") == 2  # fmt: skip
    assert "is of another network" in capsys.readouterr().err


def test_a_damaged_cache_is_computed_again(tmp_path):
    from axo.training.evaluation_scores import _cached

    calls = []

    def compute():
        calls.append(1)
        return {"scores": np.arange(3)}

    for _ in range(2):
        np.testing.assert_array_equal(_cached(tmp_path, ["key"], compute)["scores"], [0, 1, 2])
    assert len(calls) == 1
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:40])
    np.testing.assert_array_equal(_cached(tmp_path, ["key"], compute)["scores"], [0, 1, 2])
    np.testing.assert_array_equal(_cached(tmp_path, ["other"], compute)["scores"], [0, 1, 2])
    assert len(calls) == 3


def test_all_seeds_of_a_work_folder_and_their_spread(tmp_path, capsys, cache):
    from tests.training.test_select import variant

    folder = tmp_path / "work"
    for seed, flipped in ((1, 0.01), (2, 0.2)):
        write_network(folder / f"seed{seed}.network.json", variant(flipped, seed))
    assert call(folder, "--background", BACKGROUND, "--signals", *SIGNALS, "--rate-khz", *RATES,
                "--no-baselines", "--json", tmp_path / "seeds.json") == 0  # fmt: skip
    document = json.loads((tmp_path / "seeds.json").read_text())
    (group,) = document["seed_groups"].values()
    assert group["detectors"] == list(document["detectors"]) == ["axo_v3 (work/seed1)", "axo_v3 (work/seed2)"]
    for key in ("geometric_mean", "pure_geometric_mean"):
        first, second = (d["points"]["rate_1000khz"][key]["value"] for d in document["detectors"].values())
        found = group["points"]["rate_1000khz"][key]
        assert found["mean"] == pytest.approx((first + second) / 2)
        assert found["standard_deviation"] == pytest.approx(abs(first - second) / np.sqrt(2))
    assert "Spread between seeds" in capsys.readouterr().out


def test_a_detector_of_images_is_evaluated_too(tmp_path, cache):
    """No object of it has a pt: all of its energy stands for HT, and no picture of multiplicities is made."""
    layout, rng = find_layout("cicada"), np.random.default_rng(1)
    names = {"zero_bias": (20_000, 2), "signal": (1000, 6)}
    for name, (n, mean) in names.items():
        words = np.minimum(rng.exponential(mean, (n, 252)), 1023).astype(np.int16)
        write_events(tmp_path / f"{name}.h5", Events(words, layout=layout))
    kept = FixedType(18, 18, False, "TRN", "SAT")
    total = Dense("total", "words", np.ones((252, 1), np.int64), FixedType(2, 2), np.zeros(1, np.int64),
                  FixedType(2, 2), FixedType(26, 26))  # fmt: skip
    network = Network("energy", layout, (total, Relu("score", "total", kept)), "score", "score")
    write_network(tmp_path / "energy.json", network)
    assert call(tmp_path / "energy.json", "--background", tmp_path / "zero_bias.h5",
                "--signals", tmp_path / "signal.h5", "--menu", "none", "--rate-khz", "20000",
                "--output", tmp_path / "out") == 0  # fmt: skip
    document = json.loads((tmp_path / "out/evaluation.json").read_text())
    energy, ht = (document["detectors"][name]["roc"]["signal"] for name in ("energy", "HT cut"))
    assert energy == ht  # the same sum, in words and in GeV
    assert not list((tmp_path / "out").glob("*dependence*"))
