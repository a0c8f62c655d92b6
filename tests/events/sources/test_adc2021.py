"""ADC2021 files, made here in their public layout (the real ones cannot be had offline)."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.events.sources import count_events, iter_events, read_events
from tests.cms_words import to_physical

CLASSES = np.array([1] + [2] * 4 + [3] * 4 + [4] * 10)


def particles(n=3):
    """n events: MET, one electron, one muon, two jets."""
    values = np.zeros((n, 19, 4), np.float32)
    values[:, 0] = (20.0, 0, -1.0, 1)
    values[:, 1] = (10.0, 1.0, 3.0, 2)
    values[:, 5] = (25.0, -2.0, -3.0, 3)
    values[:, 9] = (50.0, 3.0, 0.0, 4)
    values[:, 10] = (30.0, -3.0, 0.5, 4)
    return values


@pytest.fixture
def written(tmp_path):
    def write(values, key="Particles"):
        with h5py.File(tmp_path / "adc.h5", "w") as file:
            file[key] = values
            file["Particles_Names"] = ["Pt", "Eta", "Phi", "Class"]
        return tmp_path / "adc.h5"

    return write


def test_values_become_words(written):
    path = written(particles())
    events = read_events(path)
    assert (len(events), count_events(path), events.columns) == (3, 3, ())
    for first, expected in {
        0: (40, 0, 121),  # (2 pi - 1) / 2 pi x 144 = 121.08
        3: (20, 23, 69),  # 22.99, 68.75
        15: (50, -184, 301),  # -183.9, 300.98
        27: (100, 69, 0),
        30: (60, -69, 11),  # 11.46
    }.items():
        assert tuple(events.words[0, first : first + 3]) == expected
    assert np.count_nonzero(events.words[0]) == 13


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 7))
def test_words_in_gev_come_back(tmp_path_factory, make_events, seed, chunk):
    words = make_events(seed, 20).words
    words[:, 2::3] %= np.repeat([144, 576, 144], [5, 4, 10])  # a full turn is where phi ends
    pt, eta, phi = to_physical(words)
    values = np.stack([pt, eta, phi, np.where(pt > 0, CLASSES, 0)], axis=2).astype(np.float32)
    values[:, 0, 3] = 1
    path = tmp_path_factory.mktemp("adc") / "a.h5"
    with h5py.File(path, "w") as file:
        file["Particles"] = values
    parts = list(iter_events(path, chunk=chunk))
    np.testing.assert_array_equal(np.concatenate([part.words for part in parts]), words)


def changed(where, value):
    values = particles()
    values[where] = value
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (changed((1, 1, 3), 4), r"event 1: EG0 has class 4 where 2 was due"),
        (
            changed((2, 18, 1), 0.1),
            r"event 2: JET9 has class 0 where 4 was due, or pT 0 without being all zero",
        ),
        (changed((2, 1, 0), 0), r"event 2: EG0 has class 2 where 2 was due, or pT 0 without"),
        (changed((0, 9, 1), np.nan), r"event 0: JET0_eta = nan is not a finite number"),
        (changed((0, 9, 0), np.nan), r"event 0: JET0_pt = nan"),
        (changed((1, 9, 1), 7.0), r"event 1: JET0_eta = 7 does not fit"),
        (changed((1, 10, 0), 90.0), r"event 1: JET0 has less pt than the one after it"),
        (particles()[:, :18], r"Particles has shape \(3, 18, 4\), not \(n, 19, 4\)"),
        (particles()[:, :, :3], r"Particles has shape \(3, 19, 3\)"),
        (particles()[0], r"Particles has shape \(19, 4\)"),
        (particles().astype(int), r"Particles holds int64, not floating-point numbers"),
        (particles()[:0], r"holds no events"),
    ],
)
def test_bad_files_say_what_is_wrong(written, values, message):
    path = written(values)
    with pytest.raises(UserError, match=r"^.*adc\.h5: " + message):
        read_events(path)


def test_another_hdf5_file(written):
    path = written(particles(), key="Jets")
    with pytest.raises(UserError, match=r"adc\.h5: is none of the formats"):
        read_events(path)
    with pytest.raises(UserError, match=r"adc\.h5: dataset Particles is missing"):
        read_events(path, format="adc2021")
