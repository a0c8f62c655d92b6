"""Replay of events of any layout: what a network reads of them, their objects, and what is refused."""

import json

import numpy as np
import pytest

from axo.cli import main
from axo.emulator.kernel import Kernel
from axo.events import Events
from axo.events.sources import read_events, write_events
from axo.firmware.models import find_model
from axo.layout import Kind, Layout, Quantity, find_layout
from axo.network import WORDS, Dense, Dot, FixedType, Linear, Network, Relu, Shift, evaluate, write_network
from tests.events.conftest import hardware_words
from tests.events.test_layouts import gt_part


def small_network(layout, seed=3):
    """Every word, scaled to 6 bits, through 8 neurons; score = their squared length."""
    rng = np.random.default_rng(seed)
    n = len(layout.words)
    shift = np.maximum(np.array([word.width for word in layout.words]) - 5, 0)
    weights = rng.integers(-32, 32, (n, 8))
    weight, bias, accum = FixedType(6, 2), FixedType(10, 7), FixedType(28, 20)
    operations = (
        Shift("scaled", WORDS, shift),
        Linear("network_input", "scaled", FixedType(8, 7, True, "RND_CONV", "SAT")),
        Dense("dense", "network_input", weights, weight, rng.integers(-99, 99, 8), bias, accum),
        Relu("embedding", "dense", FixedType(12, 9, False, "RND_CONV", "SAT")),
        Dot("score", "embedding", FixedType(28, 24, False), FixedType(28, 24, False), "embedding"),
    )  # fmt: skip
    return Network("small", layout, operations, "score", "embedding")


def replayed(tmp_path, network, events, *arguments):
    """The answers of `axo replay` on `events`, by way of files, at a threshold that some of them pass."""
    write_network(tmp_path / "n.network.json", network)
    write_events(tmp_path / "e.h5", events)
    score = evaluate(network, events.for_network(network)).score_word
    cut = int(np.sort(score)[-max(len(score) // 8, 1)])
    command = ["replay", tmp_path / "n.network.json", tmp_path / "e.h5", "--threshold", cut, *arguments]
    command += ["--json", tmp_path / "answers.json", "--plots", tmp_path / "plots"]
    assert main([str(part) for part in command]) == 0
    answers = json.loads((tmp_path / "answers.json").read_text())
    assert answers["working_points"][0]["passed"] == (score >= cut).sum() > 0
    assert [event["score_word"] for event in answers["top_events"]] == sorted(score.tolist())[-20:][::-1]
    return answers, score


@pytest.mark.parametrize("name", ["atlas_gelato", "cicada", "cms_gt", "topo_hhbbww"])
def test_events_of_other_layouts_are_replayed(name, tmp_path, capsys):
    layout = find_layout(name)
    events = Events(hardware_words(np.random.default_rng(2), 400, layout), layout=layout)
    network = small_network(layout)
    read = find_model_of(network, tmp_path)
    answers, score = replayed(tmp_path, read, events, "--menu", "none", "--top", 20)
    first = 0
    for kind in layout.kinds:
        block = events.words[:, first : first + kind.count * len(kind.quantities)]
        first += block.shape[1]
        if kind.present == "pt":
            pt = block[:, [q.role for q in kind.quantities].index("pt") :: len(kind.quantities)]
            expected = np.bincount((pt > 0).sum(axis=1), minlength=kind.count + 1)
            assert answers["objects"][kind.name] == expected.tolist()
        else:
            assert kind.name not in answers["objects"]
    top = events.words[np.argsort(-score, kind="stable")[0]]
    listed = answers["top_events"][0]["objects"]
    if name == "atlas_gelato":
        jets = [o["pt_gev"] for o in listed if o["kind"] == "jet"]
        np.testing.assert_allclose(jets, [pt * 0.1 for pt in top[:18:3] if pt > 0])
        assert "met " in capsys.readouterr().out
    if name == "cicada":
        assert [o["place"] for o in listed] == np.flatnonzero(top).tolist() and not answers["objects"]


def find_model_of(network, tmp_path):
    """The network as it is read from its file."""
    write_network(tmp_path / "again.network.json", network)
    return find_model(str(tmp_path / "again.network.json")).network


def test_one_file_of_all_objects_feeds_57_and_117_words(tmp_path):
    """Columns gathered by hand; random words, and those of the reader of test vectors."""
    gt = find_layout("cms_gt")
    events = Events(hardware_words(np.random.default_rng(4), 500, gt), layout=gt, pt_ordered=False)
    column = {word.name: place for place, word in enumerate(gt.words)}

    def by_hand(kinds):
        names = [
            f"{kind}{i}_{q}" for kind, count in kinds for i in range(count) for q in ("pt", "eta", "phi")
        ]
        met = [events.words[:, column["MET_pt"]], np.zeros(500, np.int16), events.words[:, column["MET_phi"]]]
        return np.ascontiguousarray(np.array([*met, *(events.words[:, column[n]] for n in names)]).T)

    small, large = find_model("axo_v3").network, find_model_of(small_network(gt_part()), tmp_path)
    assert (len(small.words), len(large.words)) == (57, 117)
    for network, kinds in (
        (small, [("EG", 4), ("MU", 4), ("JET", 10)]),
        (large, [("EG", 12), ("TAU", 12), ("JET", 10), ("MU", 4)]),
    ):
        expected = evaluate(network, by_hand(kinds)).score_word
        assert len(np.unique(expected)) > 100
        np.testing.assert_array_equal(Kernel(network, 1).scores(events.for_network(network)), expected)
        _, score = replayed(tmp_path, network, events, "--menu", "none")
        np.testing.assert_array_equal(score, expected)


def test_test_vectors_feed_a_network_of_all_objects(shared, tmp_path, capsys):
    path = shared / "real" / "ugt" / "TestVector_L1Menu_Collisions2025_v1_0_0_data.txt.gz"
    network = small_network(gt_part())
    write_network(tmp_path / "n.network.json", network)
    command = ["replay", str(tmp_path / "n.network.json"), str(path), "--threshold", "1000", "--triggered"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{path.resolve()}: these events are not what network 'small' reads" in error
    assert "layout 'cms_axol1tl' has 4 EG, but 'part' reads 12" in error
    answers = tmp_path / "answers.json"
    assert main([*command, "--layout", "cms_gt", "--json", str(answers)]) == 0
    words = read_events(path, layout="cms_gt").for_network(network)
    assert words[:, 3 + 3 * 12 :: 3][:, :12].any()  # taus
    document = json.loads(answers.read_text())
    score = evaluate(network, words).score_word
    assert document["working_points"][0]["passed"] == (score >= 1000).sum() > 0
    assert len(document["objects"]["TAU"]) == 13 and len(document["objects"]["MU"]) == 9


@pytest.fixture
def gelato(tmp_path):
    layout = find_layout("atlas_gelato")
    path = tmp_path / "gelato.h5"
    write_events(path, Events(hardware_words(np.random.default_rng(1), 64, layout), layout=layout))
    return str(path)


@pytest.mark.parametrize(
    "command",
    [
        ["replay", "axo_v3", "{}", "--menu", "none"],
        ["replay", "axo_v3", "sample:sig_ttbar", "--menu", "none", "--signal", "{}"],
        ["evaluate", "axo_v3", "--background", "{}", "--signals", "sample:sig_ttbar", "--menu", "none"],
        ["select", "axo_v3", "axo_nae", "--data", "{}", "--rate-khz", "9000"],
        ["firmware", "axo_v3", "--recorded", "{}", "--events", "100", "--rtl-events", "10"],
    ],
    ids=lambda command: command[0],
)
def test_events_that_a_network_cannot_read_are_one_line_and_exit_2(command, gelato, tmp_path, capsys):
    output = ["--output", str(tmp_path / "out")] if command[0] in ("evaluate", "firmware") else []
    assert main([part.format(gelato) for part in command] + output) == 2
    error = capsys.readouterr().err
    last = error.splitlines()[-1]
    assert last.startswith("axo: error: ") and "layout" in last and "gelato" in last, error


def test_zero_bias_of_two_layouts_is_not_added(tmp_path, capsys):
    gt = find_layout("cms_gt")
    path = tmp_path / "gt.h5"
    write_events(path, Events(hardware_words(np.random.default_rng(1), 64, gt), layout=gt))
    assert main(["replay", "axo_v3", "sample:sig_ttbar", str(path), "--menu", "none"]) == 2
    assert "the files have different layouts (cms_axol1tl, cms_gt)" in capsys.readouterr().err


def test_a_menu_says_what_other_events_lack(gelato, tmp_path, capsys):
    network = small_network(find_layout("atlas_gelato"))
    write_network(tmp_path / "n.network.json", network)
    assert main(["replay", str(tmp_path / "n.network.json"), gelato, "--threshold", "9"]) == 2
    assert "reads EG, ETMHF, ETT, HTT, JET, MET, MU, which these events do not" in capsys.readouterr().err


def test_an_image_and_a_kind_without_objects_are_drawn(tmp_path):
    """A layout of one kind that may be absent: one panel of multiplicities."""
    quantities = (Quantity("pt", "pt", 8, step=0.5, unit="GeV"), Quantity("flags", "flag", 2))
    layout = Layout("one", "made up", (Kind("J", 3, quantities, present="pt"),))
    events = Events(hardware_words(np.random.default_rng(3), 300, layout), layout=layout, pt_ordered=False)
    network = small_network(layout)
    answers, _ = replayed(tmp_path, network, events, "--menu", "none")
    assert set(answers["objects"]) == {"J"} and (tmp_path / "plots" / "multiplicities.png").exists()
    assert set(answers["top_events"][0]["objects"][0]) == {"kind", "pt_gev", "flags"}
