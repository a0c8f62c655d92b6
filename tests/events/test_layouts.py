"""Events of any layout: their quantities, what networks read of them, files and what is refused."""

import hashlib
import json

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.cli import main
from axo.errors import UserError
from axo.events import Events, concatenate
from axo.events.sources import iter_events, read_events, write_events
from axo.layout import Kind, Layout, Quantity, Word, bare_layout, find_layout, layout_document, layout_names
from axo.provenance import words_digest
from tests.events.conftest import hardware_words


def wide_layout():
    """Words of 12 to 31 bits, an image, and a kind whose quantities have no role of their own."""
    return Layout(
        "wide",
        "made up",
        (
            Kind("CLUSTER", 3, (Quantity("pt", "pt", 20, step=1 / 32), Quantity("eta", "eta", 12, True))),
            Kind("TOWER", 6, (Quantity("et", "energy", 31),), order="place", shape=(2, 3)),
            Kind("RAW", 1, (Quantity("a", "value", 5), Quantity("b", "value", 0)), order="place"),
        ),
    )


def gt_part(**changes):
    """MET (with an eta that is always 0), 12 e/gamma, 12 taus, 10 jets, 4 muons: 117 words of cms_gt."""
    angles = ["pt", "eta", "phi"]
    parts = {"EG": (12, angles), "TAU": (12, angles), "JET": (10, angles), "MU": (4, angles)} | changes
    part = find_layout("cms_gt").select([(kind, *part) for kind, part in parts.items()], "part")
    return Layout("part", "a part of cms_gt", (find_layout("cms_axol1tl").kind("MET"), *part.kinds))


LAYOUTS = [
    *layout_names(),
    gt_part(),
    wide_layout(),
    bare_layout([Word("a", 3, True), Word("run2", 31, False), Word("c", 0, False)]),
]


def layout_of(given):
    return find_layout(given) if isinstance(given, str) else given


@pytest.mark.parametrize("given", LAYOUTS, ids=lambda given: layout_of(given).name)
def test_events_of_any_layout_are_written_and_read_exactly(given, tmp_path, make_events, assert_same, capsys):
    layout = layout_of(given)
    events = make_events(7, 60, layout)
    assert events.words.dtype == layout.dtype
    path = tmp_path / "e.h5"
    write_events(path, (events[i : i + 17] for i in range(0, 60, 17)))
    assert_same(read_events(path), events)
    assert_same(concatenate(list(iter_events(path, chunk=13))), events)
    with h5py.File(path) as file:
        assert ("layout" in file.attrs) == (layout.name != "cms_axol1tl")
    assert main(["events", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"layout           {layout.name}, {len(layout.words)} words" in said
    assert main(["events", str(path), "--every", "2", "--output", str(tmp_path / "half.h5")]) == 0
    assert_same(read_events(tmp_path / "half.h5"), events[::2])


def test_datasets_are_named_by_kind_and_quantity(tmp_path):
    layout = wide_layout()
    words = hardware_words(np.random.default_rng(1), 9, layout)
    write_events(tmp_path / "e.h5", Events(words, layout=layout))
    with h5py.File(tmp_path / "e.h5") as file:
        assert set(file) == {"CLUSTER_pt", "CLUSTER_eta", "TOWER_et", "RAW_a"}
        np.testing.assert_array_equal(file["CLUSTER_pt"], words[:, [0, 2, 4]])
        np.testing.assert_array_equal(file["TOWER_et"], words[:, 6:12])
        np.testing.assert_array_equal(file["RAW_a"], words[:, 12])
        assert json.loads(file.attrs["layout"]) == layout_document(layout)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("TOWER_et"), r"dataset TOWER_et is missing; layout 'wide' needs it"),
        (lambda f: f.create_dataset("L1Jet_hwPt", data=[0] * 5), r"unknown dataset 'L1Jet_hwPt'"),
        (lambda f: f.attrs.update(layout="{"), r"attribute layout: is not JSON"),
        (lambda f: f.attrs.update(layout=3), r"attribute layout: is not JSON"),
        (lambda f: f.attrs.update(layout='{"name": "a"}'), r"attribute layout: .*source"),
        (lambda f: f["RAW_a"].write_direct(np.full(5, 32)), r"event 0: RAW_a = 32 is outside .*\(0 to 31\)"),
        (lambda f: f["CLUSTER_pt"].write_direct(np.full((5, 3), 2**20)), r"event 0: CLUSTER0_pt = 1048576"),
    ],
)
def test_bad_files_of_any_layout_say_what_is_wrong(change, message, tmp_path):
    path = tmp_path / "bad.h5"
    layout = wide_layout()
    write_events(path, Events(hardware_words(np.random.default_rng(1), 5, layout), layout=layout))
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=r"bad\.h5: " + message) as caught:
        read_events(path)
    assert "\n" not in str(caught.value)


def test_a_dataset_name_that_is_taken(tmp_path):
    layout = bare_layout([Word("run", 3, False)])
    events = Events(np.zeros((2, 1), np.int16), layout=layout)
    with pytest.raises(UserError, match="two datasets called 'run'"):
        write_events(tmp_path / "e.h5", events)
    assert not list(tmp_path.iterdir())


def test_different_layouts_are_not_joined(tmp_path, make_events, capsys):
    one, other = make_events(1, 4), make_events(1, 4, gt_part())
    with pytest.raises(UserError, match=r"their layouts differ \('cms_axol1tl' and 'part'\)"):
        concatenate([one, other])
    namesake = make_events(1, 4, gt_part(JET=(9, ["pt", "eta", "phi"])))
    with pytest.raises(UserError, match="both are called 'part', but say different things"):
        concatenate([other, namesake])
    for name, events in (("a.h5", one), ("b.h5", other)):
        write_events(tmp_path / name, events)
    with pytest.raises(UserError, match="layouts differ"):
        read_events([tmp_path / "a.h5", tmp_path / "b.h5"])
    files = [str(tmp_path / "a.h5"), str(tmp_path / "b.h5")]
    assert main(["events", *files, "--output", str(tmp_path / "c.h5")]) == 2
    error = capsys.readouterr().err
    assert "c.h5: cannot be written" in error and "layouts differ" in error and error.count("\n") == 1


# What a network reads of them.


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(0, 20))
def test_words_for_a_network_are_those_of_its_objects(seed, n):
    """Gathered by hand from cms_gt: 57 words, whose MET has an eta that is always 0, and 117."""
    gt = find_layout("cms_gt")
    events = Events(hardware_words(np.random.default_rng(seed), n, gt), layout=gt, pt_ordered=False)
    column = {word.name: place for place, word in enumerate(gt.words)}

    def by_hand(names):
        columns = [np.zeros(n) if name == "MET_eta" else events.words[:, column[name]] for name in names]
        return np.array(columns).T.reshape(n, len(names))

    def names(kind, count):
        return [f"{kind}{i}_{quantity}" for i in range(count) for quantity in ("pt", "eta", "phi")]

    met = ["MET_pt", "MET_eta", "MET_phi"]
    small = [*met, *names("EG", 4), *names("MU", 4), *names("JET", 10)]
    large = [*met, *names("EG", 12), *names("TAU", 12), *names("JET", 10), *names("MU", 4)]
    assert (len(small), len(large)) == (57, 117)
    for layout, wanted in ((find_layout("cms_axol1tl"), small), (gt_part(), large)):
        found = events.for_network(layout)
        assert found.dtype == layout.dtype and found.flags.c_contiguous
        np.testing.assert_array_equal(found, by_hand(wanted))


def test_equal_layouts_are_not_copied():
    events = read_events("sample:sig_ttbar", limit=10)
    again = Layout("cms_axol1tl", "", find_layout("cms_axol1tl").kinds)
    assert events.for_network(events.layout) is events.words
    assert events.for_network(again) is events.words


def test_types_follow_the_reader():
    wide = wide_layout()
    events = Events(hardware_words(np.random.default_rng(3), 20, wide), layout=wide)
    part = wide.select([("RAW", None, None), ("CLUSTER", 2, ["eta"])], "narrow")
    found = events.for_network(part)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, events.words[:, [12, 13, 1, 3]])


@pytest.mark.parametrize(
    ("layout", "lacking"),
    [
        (gt_part(EG=(4, ["pt"])), "has no kind 'TAU'"),
        (gt_part(EG=(5, ["pt"])), "has 4 EG, but 'part' reads 5"),
        (find_layout("cms_gt").select([("MU", 2, ["pt", "qual"])], "m"), "kind 'MU' has no qual"),
        (Layout("j", "", (Kind("JET", 1, (Quantity("pt", "pt", 12, step=0.5),)),)), "differ in the bits"),
    ],
)
def test_what_events_lack_for_a_network_is_named(layout, lacking):
    events = read_events("sample:sig_ttbar", limit=3)
    with pytest.raises(UserError, match=f"not what layout '{layout.name}' reads: .*{lacking}") as caught:
        events.for_network(layout)
    assert "\n" not in str(caught.value)


# Quantities.


def test_quantities_are_found_in_the_words_or_beside_them(shared):
    """All of the trigger's objects and their 57 words with extras say the same."""
    path = shared / "real" / "ugt" / "TestVector_L1Menu_Collisions2025_v1_0_0_data.txt.gz"
    whole, small = read_events(path, layout="cms_gt"), read_events(path)
    assert small.layout.name == "cms_axol1tl" and len(small.extras) == 6 and not whole.extras
    for kind, role in [
        ("HTT", "pt"), ("ETT", "pt"), ("ETMHF", "pt"), ("MET", "phi"), ("EG", "pt"), ("EG", "isolation"),
        ("MU", "quality"), ("MU", "charge"), ("MU", "eta"), ("JET", "phi"),
    ]:  # fmt: skip
        found = small.quantity(kind, role)
        assert found.any() and whole.has(kind, role) and small.has(kind, role)
        np.testing.assert_array_equal(found, whole.quantity(kind, role)[:, : found.shape[1]])
    assert whole.quantity("MU", "charge").shape[1] == 8
    # A readout has it beside the packed muon; test vectors do not.
    assert not whole.has("MU", "eta_station") and whole.layout.name == "cms_gt_packed"
    assert set(np.unique(small.quantity("MU", "charge"))) == {-1, 0, 1}
    for kind, role in [("TAU", "pt"), ("MU", "isolation"), ("HTM", "pt"), ("MET", "eta")]:
        assert not small.has(kind, role)
        with pytest.raises(UserError, match=f"'cms_axol1tl' have no {kind} {role}"):
            small.quantity(kind, role)


def test_a_file_in_another_layout(shared, tmp_path, assert_same, capsys):
    path = shared / "real" / "ugt" / "TestVector_L1Menu_Collisions2025_v1_0_0_data.txt.gz"
    all_objects, cut = str(tmp_path / "gt.h5"), str(tmp_path / "cut.h5")
    assert main(["events", str(path), "--layout", "cms_gt", "--output", all_objects]) == 0
    assert main(["events", all_objects, "--layout", "cms_axol1tl", "--output", cut]) == 0
    assert_same(read_events(cut), read_events(path))
    assert main(["events", "sample:sig_ttbar", "--layout", "cms_gt"]) == 2
    error = capsys.readouterr().err
    assert "sig_ttbar.h5: these events are not what layout 'cms_gt" in error and error.count("\n") == 1
    assert main(["events", "sample:sig_ttbar", "--layout", "cms_gtt"]) == 2
    assert "did you mean 'cms_gt'" in capsys.readouterr().err


def test_objects_that_may_be_out_of_order_in_another_layout(make_events):
    """Muons of cms_gt come in the trigger's order, those of cms_axol1tl in falling pt."""
    events = make_events(5, 30, find_layout("cms_gt"))
    events.check()
    assert events.pt_ordered and not events.in_layout(find_layout("cms_axol1tl")).pt_ordered


@pytest.mark.parametrize(
    ("name", "layout"),
    [("eg_iso", "cms_gt"), ("htt_pt", "cms_gt"), ("mu_qual", wide_layout()), ("eg_iso", wide_layout())],
)
def test_extras_have_a_place_beside_the_words_alone(name, layout):
    layout = layout_of(layout)
    words = np.zeros((1, len(layout.words)), layout.dtype)
    with pytest.raises(ValueError, match=f"extra '{name}' must be beside words"):
        Events(words, layout=layout, extras={name: np.zeros((1, 4), int)})


def test_digests_of_int16_words_are_what_they_were():
    """As in the cards of the released models: sha256 over little-endian int16."""
    words = np.array([[1, -2, 300], [4, 5, -32768]], np.int16)
    expected = hashlib.sha256(words.astype("<i2").tobytes()).hexdigest()
    assert words_digest(words) == expected
    assert words_digest(words.astype(np.int32)) != expected
    large = np.array([[1 << 16]], np.int32)
    assert words_digest(large) != words_digest(np.array([[0]], np.int32))
