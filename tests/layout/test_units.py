"""Words against values worked out by hand, and there and back over every word."""

import math

import numpy as np
import pytest

from axo.errors import UserError
from axo.layout import Kind, Layout, Quantity, find_layout, layout_names
from axo.layout.checks import clear_absent
from axo.layout.units import event_words, physical, words_of
from tests.cms_words import CMS_WORDS, LAYOUT, OBJECTS, to_physical, to_words


def one_event(**objects):
    """pt, eta, phi (1, 19) with the named objects (pt, eta, phi) set."""
    values = np.zeros((3, 1, 19))
    for name, value in objects.items():
        values[:, 0, OBJECTS.index(name)] = value
    return values


def word(words, name):
    return int(words[0, [w.name for w in CMS_WORDS].index(name)])


def test_words_worked_out_by_hand():
    words = to_words(
        *one_event(
            MET=(20.0, 0, math.pi), EG0=(10.24, 1.0, 0.1), MU0=(3.26, -2.0, -0.01), JET0=(40.0, -3.0, 6.2)
        )
    )
    assert [word(words, f"MET_{q}") for q in ("pt", "eta", "phi")] == [40, 0, 72]
    assert [word(words, f"EG0_{q}") for q in ("pt", "eta", "phi")] == [20, 23, 2]  # 22.99, 2.29 steps
    assert [word(words, f"MU0_{q}") for q in ("pt", "eta", "phi")] == [7, -184, 575]  # 6.52, -183.9, -0.92
    assert [word(words, f"JET0_{q}") for q in ("pt", "eta", "phi")] == [80, -69, 142]  # -68.97, 142.09
    assert np.count_nonzero(words) == 11


def test_phi_that_rounds_to_a_full_turn_is_zero():
    assert word(to_words(*one_event(EG0=(5, 0, 2 * math.pi - 0.001))), "EG0_phi") == 0


def test_pt_saturates_at_the_largest_word():
    words = to_words(*one_event(MET=(1e6, 0, 0), EG0=(255.6, 0, 0), MU0=(255.7, 0, 0), JET0=(1023.8, 0, 0)))
    assert [word(words, f"{name}_pt") for name in ("MET", "EG0", "MU0", "JET0")] == [4095, 511, 511, 2047]


def test_an_object_below_half_a_step_is_absent_but_met_keeps_its_phi():
    words = to_words(*one_event(MET=(0.2, 0, 1.0), MU0=(0.2, 1.0, 1.0)))
    assert [word(words, f"MU0_{q}") for q in ("pt", "eta", "phi")] == [0, 0, 0]
    assert [word(words, f"MET_{q}") for q in ("pt", "eta", "phi")] == [0, 0, 23]


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"JET3": (10, 5.6, 0)}, "event 7: JET3_eta = 5.6 does not fit in the hardware word"),
        ({"MU1": (10, -2.8, 0)}, "event 7: MU1_eta = -2.8 does not fit"),
        ({"MET": (10, 0.5, 0)}, "event 7: MET_eta = 0.5 does not fit"),
        ({"EG2": (-1, 0, 0)}, "event 7: EG2_pt = -1 is negative"),
        ({"EG2": (1, 0, 7)}, "event 7: EG2_phi = 7 is not within"),
        ({"JET9": (1, math.nan, 0)}, "event 7: JET9_eta = nan is not a finite number"),
        ({"JET9": (math.inf, 0, 0)}, "event 7: JET9_pt = inf is not a finite number"),
    ],
)
def test_everything_else_out_of_range_is_an_error(objects, message):
    with pytest.raises(UserError, match=message):
        to_words(*one_event(**objects), first_event=7)


def test_every_word_comes_back():
    """All eta and phi words that there are, in every slot, at the smallest and largest pt."""
    for slot in range(1, 19):
        pt, eta, _ = CMS_WORDS[3 * slot : 3 * slot + 3]
        steps = LAYOUT.objects[slot].kind.quantity("phi").period
        grid = np.array(
            [
                (p, e, f)
                for p in (1, pt.max_int)
                for e in range(eta.min_int, eta.max_int + 1)
                for f in {0, 1, steps // 2, steps - 1}
            ]
            + [(p, 0, f) for p in range(1, pt.max_int + 1, 7) for f in range(0, steps, 5)]
        )
        words = np.zeros((len(grid), 57), np.int16)
        words[:, 3 * slot : 3 * slot + 3] = grid
        np.testing.assert_array_equal(to_words(*to_physical(words)), words)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="57"):
        to_physical(np.zeros((2, 56), np.int16))


@pytest.mark.parametrize("name", layout_names())
def test_every_quantity_of_every_layout_comes_back(name):
    """All words of narrow quantities, and a spread over wide ones, there and back, absent objects too."""
    layout = find_layout(name)
    rng = np.random.default_rng(0)
    words = np.stack([rng.integers(w.min_int, w.max_int + 1, 300) for w in layout.words], axis=1)
    words[0], words[1] = layout.low, layout.high
    words = words.astype(layout.dtype)
    for column, quantity in enumerate(layout.quantities):
        if quantity.period is not None:  # words beyond a turn do not come back as themselves
            low = -(quantity.period // 2) if quantity.signed else 0
            words[:, column] = (words[:, column].astype(int) - low) % quantity.period + low
    words = clear_absent(layout, words)
    values = {
        kind.name: {q.name: physical(layout, words, kind.name, q.name) for q in kind.quantities}
        for kind in layout.kinds
    }
    again = event_words(layout, values)
    assert again.dtype == layout.dtype
    np.testing.assert_array_equal(again, words)


def phase2(**values):
    """Words of twelve Phase-2 photons, the first with `values`."""
    layout = find_layout("cms_phase2_gt")
    names = [quantity.name for quantity in layout.kind("PHOTON").quantities]
    given = {name: np.zeros((1, 12)) for name in names}
    for name, value in values.items():
        given[name][0, 0] = value
    words = words_of(layout, "PHOTON", given, first_event=3)
    return dict(zip(names, words[0].tolist(), strict=False))


@pytest.mark.parametrize(
    ("phi", "word"),
    [
        (0, 0),
        (math.pi / 4096, 1),
        (-math.pi / 4096, -1),
        (math.pi, -4096),
        (-math.pi, -4096),
        (math.pi - 0.0001, -4096),  # rounds to half a turn
        (math.pi * 4095 / 4096, 4095),
        (1.5 * math.pi, -2048),
        (-1.5 * math.pi, 2048),
        (2 * math.pi, 0),
        (-2 * math.pi, 0),
    ],
)
def test_signed_angles_wrap_into_half_a_turn_either_way(phi, word):
    assert phase2(pt=10, phi=phi)["phi"] == word


def test_only_pt_and_energy_saturate_and_absent_objects_are_zero():
    assert phase2(pt=1e6)["pt"] == 65535
    assert phase2(pt=2047.96875)["pt"] == 65535
    assert set(phase2(pt=0.01, eta=1.0, phi=1.0, iso=3).values()) == {0}
    for faulty in ({"iso": 512}, {"eta": 6.3}, {"qual": 16}, {"qual": -1}, {"eta": -6.3}):
        with pytest.raises(UserError, match=r"event 3: PHOTON0_\w+ = \S+ does not fit in the hardware word"):
            phase2(pt=10, **faulty)
    cicada = find_layout("cicada")
    words = words_of(cicada, "REGION", {"energy": np.full((1, 252), 600.0)})
    assert set(words.ravel().tolist()) == {1023}
    with pytest.raises(UserError, match="REGION0_et = -1 does not fit"):
        words_of(cicada, "REGION", {"energy": np.full((1, 252), -1.0)})


def test_an_origin_shifts_values_but_not_absent_objects():
    layout = Layout(
        "shifted",
        "CMS muons: word 1 is 0 GeV",
        (Kind("MU", 2, (Quantity("pt", "pt", 9, step=0.5, origin=-0.5),), present="pt"),),
    )
    assert physical(layout, np.array([[0, 1], [45, 511]]), "MU", "pt").tolist() == [[0, 0], [22, 255]]
    assert words_of(layout, "MU", {"pt": [[22.0, 255.0], [21.9, 300]]}).tolist() == [[45, 511], [45, 511]]


def test_missing_unknown_and_repeated_values_are_refused():
    layout = find_layout("cms_gt")
    zeros = np.zeros((2, 12))
    with pytest.raises(UserError, match="kind 'JET': no values of phi, qual"):
        words_of(layout, "JET", {"pt": zeros, "eta": zeros})
    with pytest.raises(UserError, match="kind 'JET' has no iso"):
        words_of(layout, "JET", {"pt": zeros, "eta": zeros, "phi": zeros, "qual": zeros, "iso": zeros})
    with pytest.raises(UserError, match="qual is given twice"):
        words_of(layout, "JET", {"quality": zeros, "qual": zeros})
    with pytest.raises(UserError, match="no values of EG, TAU"):
        event_words(layout, {"MU": {}})
    with pytest.raises(UserError, match="has no kind 'FOO'"):
        event_words(layout, {"FOO": {}})
    with pytest.raises(ValueError, match=r"values of TAU must all be \(n, 12\)"):
        words_of(layout, "TAU", dict.fromkeys(("pt", "eta", "phi", "iso", "qual"), np.zeros((2, 11))))
    with pytest.raises(ValueError, match=r"must be \(n, 286\)"):
        physical(layout, np.zeros((2, 57), np.int16), "JET", "pt")


def test_steps_are_those_of_the_sources():
    """CMSSW's scales, ATLAS's notebook and l1gt, worked out here."""
    gt = find_layout("cms_gt")
    words = np.zeros((1, len(gt.words)), np.int16)
    for kind, role, word, value in (
        ("MU", "pt", 45, 22.5),
        ("MU", "eta", -100, -1.0875),
        ("MU", "phi", 144, math.pi / 2),
        ("MU", "pt_unconstrained", 20, 20.0),
        ("JET", "eta", 100, 4.35),
        ("TAU", "phi", 36, math.pi / 2),
        ("ETMHF", "pt", 181, 90.5),
        ("HTT", "tower_count", 200, 200.0),
    ):
        words[:] = 0
        words[0, gt.columns(kind, "pt")[0]] = 1
        words[0, gt.columns(kind, role)[0]] = word
        assert physical(gt, words, kind, role)[0, 0] == pytest.approx(value, rel=1e-12)
    gelato = find_layout("atlas_gelato")
    words = np.zeros((1, 44), np.int16)
    words[0, :3] = 505, -40, 32
    assert [physical(gelato, words, "jet", role)[0, 0] for role in ("pt", "eta", "phi")] == pytest.approx(
        [50.5, -1.0, math.pi / 2]
    )
