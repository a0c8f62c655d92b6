"""Packed bits against a loop over single bits, recorded trigger words, and CICADA's images."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.events.sources import read_events
from axo.layout import find_layout, parse_layout
from axo.layout.checks import clear_absent
from axo.layout.packing import (
    from_integers,
    n_limbs,
    pack,
    pack_links,
    pack_objects,
    to_integers,
    unpack,
    unpack_links,
    unpack_objects,
)
from tests.layout.strategies import layouts, words_of

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")


def bit(word, place):
    """Bit `place` of a Python integer in two's complement."""
    return (int(word) >> place) & 1


def slow_object(kind, words):
    """The packed object of one event, bit by bit; `words` by quantity name."""
    value = 0
    for quantity in kind.quantities:
        if quantity.packed:
            for place in range(quantity.bits):
                value += bit(words[quantity.name], place) * 2 ** (quantity.lsb + place)
    return value


def slow_ports(layout, event):
    """Every port of one event as a Python integer, bit by bit, by the rules of the documentation."""
    ports, column = {}, 0
    for kind in layout.kinds:
        objects = []
        for index in range(kind.count):
            values = {}
            for quantity in kind.quantities:
                values[quantity.name] = event[column]
                if not kind.bits and quantity.bits and quantity.packed:
                    name = layout.words[column].name
                    ports[name] = sum(bit(event[column], p) * 2**p for p in range(quantity.bits))
                column += 1
            objects.append((index, values))
        if not kind.bits:
            continue
        total = 0
        for index, values in objects:
            begin = index * kind.bits
            if kind.links is not None:
                per = kind.links.objects
                begin = (index // per) * kind.links.bits + kind.links.first + (index % per) * kind.bits
            total += slow_object(kind, values) * 2**begin
        ports[kind.name.lower()] = total
    return ports


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_ports_are_those_of_a_loop_over_bits(data):
    layout = data.draw(layouts())
    words = data.draw(words_of(layout))
    packed = pack(layout, words)
    assert {port.name: port.bits for port in layout.ports}.keys() == packed.keys()
    for event in range(len(words)):
        slow = slow_ports(layout, words[event])
        assert {name: to_integers(limbs)[event] for name, limbs in packed.items()} == slow
    for port in layout.ports:
        assert packed[port.name].shape == (len(words), n_limbs(port.bits))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_words_come_back_from_ports_objects_and_links(data):
    layout = data.draw(layouts())
    assume(layout.ports and layout.packed_part() is layout)
    words = data.draw(words_of(layout))
    back = unpack(layout, pack(layout, words))
    assert back.dtype == layout.dtype
    np.testing.assert_array_equal(back, words)
    for kind in layout.kinds:
        mine = words[:, layout.columns(kind.name)]
        if not kind.bits:
            continue
        objects = pack_objects(layout, words, kind.name)
        np.testing.assert_array_equal(unpack_objects(layout, objects, kind.name), mine)
        for event in range(len(words)):
            for index, limbs in enumerate(objects[event]):
                part = mine[event].reshape(kind.count, -1)[index]
                named = dict(zip([q.name for q in kind.quantities], part, strict=True))
                assert to_integers(limbs[None])[0] == slow_object(kind, named)
        if kind.links is not None:
            links = pack_links(layout, words, kind.name)
            np.testing.assert_array_equal(unpack_links(layout, links, kind.name), mine)
            port = to_integers(pack(layout, words)[kind.port_name])
            for event in range(len(words)):
                whole = sum(
                    value << (kind.links.bits * i) for i, value in enumerate(to_integers(links[event]))
                )
                assert whole == port[event]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, 2**n - 1)))))
def test_integers_come_back_from_limbs(case):
    bits, values = case
    limbs = from_integers(values, bits)
    assert limbs.shape == (len(values), n_limbs(bits))
    assert to_integers(limbs) == values
    for row, value in zip(limbs, values, strict=True):
        for place in range(bits):
            assert int(row[place // 64]) >> (place % 64) & 1 == bit(value, place)
    with pytest.raises(ValueError, match="does not fit"):
        from_integers([2**bits], bits)


def ugt_columns(path):
    """Columns of a test vector as Python integers: muons, e/gamma, taus, jets and the six sums."""
    with gzip.open(path, "rt") as file:
        rows = [line.split() for line in file]
    table = np.array([[int(word, 16) for word in row[1:51]] for row in rows], np.uint64)
    edges = {"MU": (0, 8), "EG": (8, 20), "TAU": (20, 32), "JET": (32, 44)}
    sums = ("ETT", "HTT", "MET", "HTM", "ETMHF", "HTMHF")
    return {
        **{name: table[:, low:high] for name, (low, high) in edges.items()},
        **{name: table[:, 44 + i : 45 + i] for i, name in enumerate(sums)},
    }


@pytest.fixture(scope="module", params=["2024_v1_2_0_ttBar", "2025_v1_0_0_data"])
def vectors(request, shared):
    return shared / "real/ugt" / f"TestVector_L1Menu_Collisions{request.param}.txt.gz"


FIELDS = {  # least bit, bits, signed: as the README of the shared material states them
    "JET": {"pt": (0, 11, False), "eta": (11, 8, True), "phi": (19, 8, False)},
    "EG": {"pt": (0, 9, False), "eta": (9, 8, True), "phi": (17, 8, False), "isolation": (25, 2, False)},
    "TAU": {"pt": (0, 9, False), "eta": (9, 8, True), "phi": (17, 8, False), "isolation": (25, 2, False)},
    "MU": {"phi": (0, 10, False), "pt": (10, 9, False), "quality": (19, 4, False), "eta": (23, 9, True)},
    "MET": {"pt": (0, 12, False), "phi": (12, 8, False)},
}


def test_cms_gt_reads_recorded_words_at_the_places_stated(vectors):
    """Layout against shifts and masks by hand, and the source of test vectors against the same."""
    layout, objects = find_layout("cms_gt").packed_part(), ugt_columns(vectors)
    words = np.concatenate(
        [unpack_objects(layout, objects[kind.name], kind.name) for kind in layout.kinds], axis=1
    )
    words = clear_absent(layout, words)
    events = read_events(vectors)
    assert len(events) == len(words) == 3564
    for kind, fields in FIELDS.items():
        pt = by_hand(objects[kind], *fields["pt"])
        for role, place in fields.items():
            expected = by_hand(objects[kind], *place)
            if kind != "MET":  # which always is there
                expected = np.where(pt == 0, 0, expected)
            np.testing.assert_array_equal(words[:, layout.columns(kind, role)], expected, err_msg=kind)
            if kind != "TAU":
                count = find_layout("cms_axol1tl").kind(kind).count
                np.testing.assert_array_equal(events.quantity(kind, role), expected[:, :count])


def by_hand(objects, low, bits, signed):
    values = (objects >> np.uint64(low) & np.uint64(2**bits - 1)).astype(np.int64)
    return np.where(signed & (values >= 2 ** (bits - 1)), values - 2**bits, values)


def test_cms_gt_leaves_out_no_bit_of_recorded_calorimeter_words(vectors):
    """Packed again, every bit is there: the layout has all that the trigger sends."""
    layout = find_layout("cms_gt").packed_part()
    for name, objects in ugt_columns(vectors).items():
        words = np.zeros((len(objects), len(layout.words)), layout.dtype)
        words[:, layout.columns(name)] = unpack_objects(layout, objects, name)
        again = pack_objects(layout, words, name)[..., 0]
        # Bit 61 of a muon is reserved (MuonRawDigiTranslator reads all others).
        used = ~np.uint64(1 << 61) if name == "MU" else np.uint64(2**64 - 1)
        np.testing.assert_array_equal(again, objects & used, name)


def test_cms_gt_angles_at_the_station_and_displaced_muons_are_plausible(shared):
    """Facts of the recorded file that a bit read at a wrong place would break."""
    path = shared / "real/ugt/TestVector_L1Menu_Collisions2025_v1_0_0_data.txt.gz"
    layout = find_layout("cms_gt").packed_part()
    muons = unpack_objects(layout, ugt_columns(path)["MU"], "MU").reshape(-1, 11)
    names = [quantity.name for quantity in layout.kind("MU").quantities]
    here = muons[muons[:, names.index("pt")] > 0]
    column = {name: here[:, names.index(name)].astype(int) for name in names}
    assert len(here) > 2000
    assert column["phi"].max() < 576 and column["phi_station"].max() < 576
    bend = (column["phi"] - column["phi_station"] + 288) % 576 - 288
    # A muon is bent by its charge: extrapolation turns it one way (bit 0: plus), the other for minus.
    known = column["charge_valid"] == 1
    assert np.mean(np.where(column["charge"] == 0, bend >= 0, bend <= 0)[known]) > 0.99
    assert np.abs(column["eta"]).max() <= 226  # 2.45
    assert column["index"].max() < 108


def test_cicada_image_on_its_links(shared):
    with np.load(shared / "golden/cicada_ctp7_vectors.npz") as vectors:
        images = vectors["region_et"]
    layout = find_layout("cicada")
    links = pack_links(layout, images, "REGION")
    assert links.shape == (256, 36, 2)
    for event in range(0, 256, 16):
        whole = [to_integers(links[event, i : i + 1])[0] for i in range(36)]
        for region in range(252):
            low = (region % 7) * 16 + 8  # golden/cicada_ctp7.json
            assert whole[region // 7] >> low & 0x3FF == images[event, region]
        assert sum(value.bit_count() for value in whole) == sum(int(v).bit_count() for v in images[event])
    np.testing.assert_array_equal(unpack_links(layout, links, "REGION"), images)
    # The two veto bits above ET do not disturb it.
    links[:, :, 0] |= np.uint64(3 << 18)
    np.testing.assert_array_equal(unpack_links(layout, links, "REGION"), images)


def test_one_port_a_word(shared):
    with np.load(shared / "golden/gelato_l1_vectors.npz") as vectors:
        words = vectors["x"]
    layout = find_layout("atlas_gelato")
    ports = pack(layout, words)
    assert len(ports) == 44 and ports["jet0_eta"].shape == (20000, 1)
    np.testing.assert_array_equal(ports["jet0_eta"][:, 0], words[:, 1].astype(np.int64) & 0x1FF)
    np.testing.assert_array_equal(unpack(layout, ports), words)
    with pytest.raises(UserError, match="has no packed objects"):
        pack_objects(layout, words, "jet")


def test_bad_input_is_refused():
    layout = find_layout("cms_axol1tl")
    words = np.zeros((3, len(layout.words)), np.int16)
    words[2, 3] = 512
    with pytest.raises(UserError, match=r"event 2: EG0_pt = 512 is outside its hardware width \(0 to 511\)"):
        pack(layout, words)
    words[2, 3] = -1
    with pytest.raises(UserError, match="event 2: EG0_pt = -1 is outside"):
        pack_objects(layout, words, "EG")
    with pytest.raises(ValueError, match="must be"):
        pack(layout, words[:, 1:])
    with pytest.raises(ValueError, match="integers"):
        pack(layout, words * 1.0)
    words[2, 3] = 0
    with pytest.raises(UserError, match="has no kind 'TAU'"):
        pack_objects(layout, words, "TAU")
    with pytest.raises(UserError, match="is not on links"):
        pack_links(layout, words, "EG")
    with pytest.raises(ValueError, match="do not agree: jet"):
        unpack(layout, {name: np.zeros(1, np.uint64) for name in ("etm", "eg", "mu")})
    with pytest.raises(ValueError, match=r"packed EG must be \(n, 4, 1\)"):
        unpack_objects(layout, np.zeros((1, 5), np.uint64), "EG")
    with pytest.raises(ValueError, match="unsigned"):
        unpack_objects(layout, np.full((1, 4), -1), "EG")
    with pytest.raises(UserError, match=r"MU eta_station is not in the packed object; .*packed_part\(\)"):
        unpack_objects(find_layout("cms_gt"), np.zeros((1, 8), np.uint64), "MU")


def test_a_field_across_limbs():
    """Worked out by hand: 20 bits from bit 58 of a 96-bit object, -2 in two's complement."""
    layout = parse_layout(
        {
            "name": "wide",
            "source": "by hand",
            "kinds": [
                {
                    "name": "X",
                    "count": 1,
                    "bits": 96,
                    "quantities": [{"name": "v", "role": "value", "bits": 20, "signed": True, "lsb": 58}],
                }
            ],
        },
        "here",
    )
    (row,) = pack_objects(layout, np.array([[-2]]), "X")[0]
    assert row.tolist() == [0b111110 << 58, (1 << 14) - 1]
