"""Finding the format, the shipped samples, several files, and faults common to all formats."""

import h5py
import numpy as np
import pytest

from axo.errors import UserError
from axo.events.sources import (
    count_events,
    iter_events,
    read_events,
    sample_names,
    sample_path,
    source_of,
    sources,
    write_events,
)


def test_sources_are_found_by_module_name():
    assert set(sources()) == {"adc2021", "toolkit", "ugt"}
    assert all(module.SUMMARY and callable(module.iterate) for module in sources().values())


def test_formats_are_recognised_by_content(shared, tmp_path):
    vectors = next((shared / "real" / "ugt").glob("*.txt.gz"))
    (tmp_path / "no.extension").write_bytes(vectors.read_bytes())
    assert source_of(tmp_path / "no.extension") is sources()["ugt"]
    assert source_of(sample_path("sig_ttbar")) is sources()["toolkit"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello\n", "is none of the formats adc2021, toolkit, ugt"),
        (bytes(range(256)), "is none of the formats"),
    ],
)
def test_files_that_are_none(tmp_path, content, message):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(UserError, match=rf"/f: {message}"):
        read_events(tmp_path / "f")


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r"none\.h5: cannot be read \(No such file"):
        read_events(tmp_path / "none.h5")
    with pytest.raises(UserError, match=r"is a folder"):
        read_events(tmp_path)
    with pytest.raises(UserError, match=r"no events were read"):
        read_events([])


def test_unknown_format_and_needless_seed_table():
    path = sample_path("sig_ttbar")
    with pytest.raises(UserError, match=r"unknown format 'toolbox'; did you mean 'toolkit'"):
        read_events(path, format="toolbox")
    with pytest.raises(UserError, match=r"sig_ttbar\.h5: files of this format carry no seed bits"):
        read_events(path, seed_names="seeds.csv")
    with pytest.raises(UserError, match=r"sig_ttbar\.h5: dataset Particles is missing"):
        read_events(path, format="adc2021")


def test_samples_are_small_spread_and_say_where_they_are_from():
    assert sample_names() == ["sig_A_4l", "sig_ttbar", "zerobias_test", "zerobias_train"]
    assert sum(sample_path(name).stat().st_size for name in sample_names()) < 2_000_000
    zero_bias = read_events("sample:zerobias_test")
    assert len(zero_bias) == 31250 == count_events("sample:zerobias_test")
    assert len(np.unique(zero_bias.luminosity_block)) == 1311
    for name in sample_names():
        with h5py.File(sample_path(name)) as file:
            assert file.attrs["cut_from"] == f"{name}.h5" and len(file.attrs["cut_from_sha256"]) == 64
    with pytest.raises(UserError, match=r"unknown sample 'zerobias'; did you mean 'zerobias_t"):
        sample_path("zerobias")


@pytest.mark.parametrize(("name", "every"), [("zerobias_test", 48), ("sig_ttbar", 16), ("sig_A_4l", 16)])
def test_samples_are_cuts_of_the_shared_files(shared, assert_same, name, every):
    whole = read_events(shared / "data2" / f"{name}.h5", limit=40_000)
    sample = read_events(sample_path(name), limit=len(whole[::every]))
    assert_same(sample, whole[::every])


def test_files_in_turn_and_files_that_differ(tmp_path, make_events):
    one, two = make_events(1, 5), make_events(2, 6)
    write_events(tmp_path / "1.h5", one)
    write_events(tmp_path / "2.h5", two)
    both = [tmp_path / "1.h5", tmp_path / "2.h5"]
    assert [len(part) for part in iter_events(both, chunk=4)] == [4, 1, 4, 2]
    np.testing.assert_array_equal(read_events(both).words, np.concatenate([one.words, two.words]))
    with pytest.raises(UserError, match="only some have"):
        read_events([tmp_path / "1.h5", sample_path("sig_ttbar")])
