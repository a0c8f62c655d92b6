"""`axo events` from the command line: what it says, converts and refuses."""

import gzip

import numpy as np
import pytest

from axo.cli import main
from axo.events.sources import read_events, sample_path, write_events


@pytest.fixture
def vectors(shared):
    return shared / "real" / "ugt" / "TestVector_L1Menu_Collisions2024_v1_2_0_ttBar.txt.gz"


@pytest.fixture
def seeds(shared):
    return shared / "real" / "menus" / "L1Menu_Collisions2024_v1_2_0_seeds.csv"


def test_describes(tmp_path, make_events, capsys):
    events = make_events(1, 50)
    write_events(tmp_path / "e.h5", events)
    assert main(["events", str(tmp_path / "e.h5")]) == 0
    said = capsys.readouterr().out
    assert "e.h5: toolkit, 50 events" in said
    assert f"run              {events.run.min()} to {events.run.max()} (50 different)" in said
    assert f"mean {events.pileup.mean():.2f}, {events.pileup.min():g} to {events.pileup.max():g}" in said
    jets = next(text for text in said.splitlines() if text.lstrip().startswith("JET")).split()
    present = events.words[:, 27::3] > 0
    assert jets[1:] == [
        f"{present.sum() / 50:.3f}",
        f"{present[:, 0].mean():.1%}",
        *("pt", "0", "to", str(events.words[:, 27].max()), "0", "to"),
        *(f"{events.words[:, 27].max() / 2:g}", "GeV"),
    ]
    assert "layout           cms_axol1tl, 57 words" in said
    assert "seeds            3, 3 ever fired" in said


def test_describes_seeds_by_name(vectors, seeds, capsys):
    assert main(["events", str(vectors), "--seed-names", str(seeds)]) == 0
    said = capsys.readouterr().out
    assert "ugt, 3564 events" in said and "seeds            395" in said and "L1_ZeroBias 100.0%" in said


def test_checks_several_files(capsys):
    assert main(["events", "--check", "sample:sig_ttbar", "sample:sig_A_4l"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "sample:sig_ttbar: toolkit, 1250 events, all words right",
        "sample:sig_A_4l: toolkit, 1250 events, all words right",
    ]


def test_converts_vectors_with_their_seeds(vectors, seeds, tmp_path, assert_same):
    output = tmp_path / "v.h5"
    assert main(["events", str(vectors), "--seed-names", str(seeds), "--output", str(output)]) == 0
    assert_same(read_events(output), read_events(vectors, seed_names=seeds))


def test_cuts_every_kth_of_each_file_up_to_a_limit(tmp_path, make_events, capsys):
    one, two = make_events(1, 10), make_events(2, 11)
    for name, events in (("1.h5", one), ("2.h5", two)):
        write_events(tmp_path / name, events)
    inputs = [str(tmp_path / "1.h5"), str(tmp_path / "2.h5")]
    assert main(["events", *inputs, "--every", "3", "--output", str(tmp_path / "a.h5")]) == 0
    np.testing.assert_array_equal(
        read_events(tmp_path / "a.h5").words, np.concatenate([one.words[::3], two.words[::3]])
    )
    assert main(["events", *inputs, "--every", "3", "--limit", "6", "--output", str(tmp_path / "b.h5")]) == 0
    np.testing.assert_array_equal(
        read_events(tmp_path / "b.h5").words, np.concatenate([one.words[::3], two.words[:6:3]])
    )
    assert f"{tmp_path / 'b.h5'}: wrote 6 events" in capsys.readouterr().out


def test_every_kth_across_chunks(tmp_path, monkeypatch, assert_same):
    monkeypatch.setattr("axo.events.sources.iter_events.__defaults__", (7, None, None, 0, None, None))
    assert main(["events", "sample:sig_ttbar", "--every", "5", "--output", str(tmp_path / "c.h5")]) == 0
    assert_same(read_events(tmp_path / "c.h5"), read_events(sample_path("sig_ttbar"))[::5])


@pytest.mark.parametrize(
    "content", [b"", b"0000 " + b"0" * 16 + b"\n", gzip.compress(b"0000 00", mtime=0)[:15]]
)
def test_bad_input_is_one_line_and_exit_2(tmp_path, capsys, content):
    (tmp_path / "bad").write_bytes(content)
    assert main(["events", str(tmp_path / "bad"), "--output", str(tmp_path / "out.h5")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("axo: error: ") and error.count("\n") == 1 and "/bad: " in error
    assert not (tmp_path / "out.h5").exists()
