"""The toolkit's HDF5: there and back, the shared files, and one clear line for everything wrong."""

import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.events import concatenate
from axo.events.sources import count_events, iter_events, read_events, sample_path, write_events
from tests.cms_words import CMS_WORDS


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 50))
def test_what_was_written_is_read(tmp_path_factory, make_events, assert_same, seed, n, chunk):
    events = make_events(seed, n)
    path = tmp_path_factory.mktemp("round") / "events.h5"
    assert write_events(path, events) == n == count_events(path)
    assert_same(read_events(path), events)
    parts = list(iter_events(path, chunk=chunk))
    assert [len(part) for part in parts[:-1]] == [chunk] * (len(parts) - 1)
    assert_same(concatenate(parts), events)


def test_tables_in_turn_are_joined_across_hdf5_chunks(tmp_path, make_events, assert_same):
    events = make_events(1, 40_000)
    write_events(tmp_path / "e.h5", (events[i : i + 7001] for i in range(0, 40_000, 7001)))
    assert_same(read_events(tmp_path / "e.h5"), events)


def test_words_alone_and_order_of_the_hardware(tmp_path, make_events, assert_same):
    events = make_events(2, 9)
    bare = replace(events[:3], **dict.fromkeys(events.columns), seed_names=(), extras={})
    write_events(tmp_path / "bare.h5", bare)
    assert_same(read_events(tmp_path / "bare.h5"), bare)
    words = events.words.copy()
    words[:, 15:27] = words[:, 15:27].reshape(-1, 4, 3)[:, ::-1].reshape(-1, 12)
    unordered = replace(events, words=words, pt_ordered=False)
    write_events(tmp_path / "u.h5", unordered)
    assert_same(read_events(tmp_path / "u.h5"), unordered)


def test_range_and_limit(tmp_path, make_events, assert_same):
    events = make_events(3, 30)
    write_events(tmp_path / "e.h5", events)
    (part,) = iter_events(tmp_path / "e.h5", start=10, stop=25)
    assert_same(part, events[10:25])
    assert_same(read_events(tmp_path / "e.h5", limit=4), events[:4])
    assert_same(read_events([tmp_path / "e.h5"] * 2, limit=45), concatenate([events, events[:15]]))
    assert list(iter_events(tmp_path / "e.h5", start=30)) == []


def test_shared_files_word_for_word(shared):
    path = shared / "data2" / "sig_ttbar.h5"
    events = read_events(path, limit=3000)
    names = [word.name for word in CMS_WORDS]
    with h5py.File(path) as file:
        for kind, key, count in (("EG", "L1EG", 4), ("MU", "L1Mu", 4), ("JET", "L1Jet", 10)):
            for i in range(count):
                for quantity in ("Pt", "Eta", "Phi"):
                    column = names.index(f"{kind}{i}_{quantity.lower()}")
                    expected = file[f"{key}_hw{quantity}"][:3000, i]
                    np.testing.assert_array_equal(events.words[:, column], expected)
        np.testing.assert_array_equal(events.words[:, 0], file["L1MET_hwPt"][:3000])
        assert not events.words[:, 1].any()
        np.testing.assert_array_equal(events.words[:, 2], file["L1MET_hwPhi"][:3000])
        np.testing.assert_array_equal(events.extras["htt_pt"], file["L1HTT_hwPt"][:3000])
        np.testing.assert_array_equal(events.extras["mu_charge"], file["L1Mu_hwCharge"][:3000])
        np.testing.assert_array_equal(events.luminosity_block, file["luminosityBlock"][:3000])
        np.testing.assert_array_equal(events.pileup, file["npu"][:3000])


@pytest.fixture
def edited(tmp_path):
    """edited(change) -> path of a copy of a sample to which change(h5py file) was done."""

    def make(change):
        path = tmp_path / "bad.h5"
        shutil.copy(sample_path("sig_ttbar"), path)
        path.chmod(0o644)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return make


def put(key, where, value):
    def change(file):
        file[key][where] = value

    return change


def swap(key, make):
    """Replace dataset `key` by make(its array)."""

    def change(file):
        old = file[key][:]
        del file[key]
        file[key] = make(old)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("L1EG_hwPt", (1200, 0), 512), r"event 1200: EG0_pt = 512 is outside .*\(0 to 511\)"),
        (put("L1Jet_hwPt", (3, 0), -2), r"event 3: JET0_pt = -2 is outside"),
        (put("L1Jet_hwPt", (5, 1), 2047), r"event 5: JET0 has less pt than the one after it"),
        (put("L1MET_hwPhi", 8, 256), r"event 8: MET_phi = 256"),
        (put("L1Mu_hwQual", (8, 0), 16), r"event 8: mu_qual = 16"),
        (put("avgpu", 17, np.nan), r"event 17: average_pileup is nan"),
        (swap("L1EG_hwEta", lambda a: a.astype(np.float32)), r"L1EG_hwEta holds float32, not integers"),
        (swap("L1EG_hwEta", lambda a: a[:, :3]), r"L1EG_hwEta has shape \(1250, 3\), not \(n, 4\)"),
        (swap("L1HTT_hwPt", lambda a: a[:, None]), r"L1HTT_hwPt has shape \(1250, 1\), not \(n,\)"),
        (swap("L1Jet_hwPhi", lambda a: a[:1000]), r"L1Jet_hwPhi has 1000 events, but L1MET_hwPt has 1250"),
        (swap("run", lambda a: a.astype(np.int64) - 2), r"event 0: run = -1 is not within 0 to 4294967295"),
        (swap("L1Mu_hwPt", lambda a: a.astype(np.int64) + 65536), r"event 0: L1Mu_hwPt = \d+ is not within"),
        (swap("npu", lambda a: np.array(["many"] * len(a), "S4")), r"npu holds \|S4"),
        (lambda f: f.pop("L1EG_hwPhi"), r"dataset L1EG_hwPhi is missing"),
        (lambda f: f.move("L1EG_hwIso", "L1EG_Iso"), r"unknown dataset 'L1EG_Iso'; did you mean 'L1EG_hw"),
        (lambda f: (f.pop("run"), f.create_group("run")), r"run is not a dataset"),
        (lambda f: f.attrs.update(pt_lsb_GeV=1.0), r"attribute pt_lsb_GeV is 1\.0, but words have"),
        (lambda f: f.create_dataset("seedBits", data=np.zeros((9, 2), int)), r"seedBits and seedNames must"),
        (lambda f: [swap(key, lambda a: a[:0])(f) for key in list(f)], r"holds no events"),
    ],
)  # fmt: skip
def test_bad_files_say_what_is_wrong(edited, change, message):
    path = edited(change)
    with pytest.raises(UserError, match=r"^.*bad\.h5: " + message) as caught:
        read_events(path)
    assert "\n" not in str(caught.value)


def test_bad_seeds(edited):
    def change(file, bits=0, names=("a", "b")):
        file["seedBits"] = np.full((1250, 2), bits)
        file["seedNames"] = names

    with pytest.raises(UserError, match="seedBits must be 0 or 1"):
        read_events(edited(lambda file: change(file, bits=2)))
    with pytest.raises(UserError, match="seedNames must be a list of strings"):
        read_events(edited(lambda file: change(file, names=(1, 2))))
    with pytest.raises(UserError, match=r"seedBits has shape \(1250, 2\), not \(n, 3\)"):
        read_events(edited(lambda file: change(file, names=("a", "b", "c"))))


def test_truncated_and_damaged_files(tmp_path):
    whole = sample_path("sig_ttbar").read_bytes()
    for name, content in (("half", whole[: len(whole) // 2]), ("start", whole[:40])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}: is not a whole HDF5 file .*truncated"):
            read_events(tmp_path / name)


def test_damage_inside_a_compressed_chunk(tmp_path):
    path = tmp_path / "flipped.h5"
    whole = bytearray(sample_path("sig_ttbar").read_bytes())
    with h5py.File(sample_path("sig_ttbar")) as file:
        where = file["L1Jet_hwPt"].id.get_chunk_info(0).byte_offset
    whole[where + 5 : where + 300] = bytes(295)
    path.write_bytes(whole)
    with pytest.raises(UserError, match=r"flipped\.h5: is not a whole HDF5 file"):
        read_events(path)


def test_nothing_is_written_when_the_events_are_wrong(tmp_path, make_events):
    events = make_events(4, 5)
    words = events.words.copy()
    words[2, 0] = -1
    with pytest.raises(UserError, match=r"out\.h5: cannot be written: event 2: MET_pt = -1"):
        write_events(tmp_path / "out.h5", replace(events, words=words))
    with pytest.raises(UserError, match=r"out\.h5: cannot be written: .*only some have run"):
        write_events(tmp_path / "out.h5", [events, replace(events, run=None)])
    with pytest.raises(UserError, match=r"no events to write"):
        write_events(tmp_path / "out.h5", [])
    assert list(tmp_path.iterdir()) == []
