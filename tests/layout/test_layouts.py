"""What a layout is, what it refuses, and the layouts that ship with axo."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from axo import cli
from axo.errors import UserError
from axo.layout import (
    ROLES,
    Kind,
    Layout,
    Links,
    Quantity,
    Word,
    bare_layout,
    find_layout,
    layout_document,
    layout_names,
    layout_of_words,
    parse_layout,
    read_layout,
)
from tests.layout.strategies import layouts, words_of

REPOSITORY = Path(__file__).resolve().parents[2]

GOOD = {
    "name": "mine",
    "source": "a test",
    "kinds": [
        {
            "name": "JET",
            "count": 2,
            "bits": 32,
            "present": "pt",
            "order": "pt",
            "quantities": [
                {"name": "pt", "role": "pt", "bits": 11, "lsb": 0, "step": 0.5, "unit": "GeV"},
                {"name": "phi", "role": "phi", "bits": 8, "lsb": 11, "step": "2*pi/144", "period": 144},
                {"name": "b", "role": "flag", "bits": 1, "lsb": 19},
            ],
        },
        {
            "name": "REGION",
            "count": 6,
            "bits": 16,
            "shape": [2, 3],
            "links": {"objects": 4, "bits": 70, "first": 6},
            "quantities": [{"name": "et", "role": "energy", "bits": 10, "lsb": 0}],
        },
    ],
}


def changed(path, value):
    """GOOD with the value at `path` (keys and indices) replaced, or removed when it is None."""
    document = json.loads(json.dumps(GOOD))
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


JET, REGION = ("kinds", 0), ("kinds", 1)
PT, PHI, FLAG = (*JET, "quantities", 0), (*JET, "quantities", 1), (*JET, "quantities", 2)

BAD = {
    "overlap": ((*PHI, "lsb"), 10, "kinds[0]: kind 'JET': quantities 'pt' and 'phi' overlap in bit 10"),
    "beyond": ((*PHI, "lsb"), 25, "quantity 'phi': bit 32 is beyond the 32 bits"),
    "no lsb": ((*PHI, "lsb"), None, "quantity 'phi': its lsb is missing"),
    "negative lsb": ((*PHI, "lsb"), -1, "quantity 'phi': its least bit is -1, below 0"),
    "lsb beside the packed object": ((*PHI, "packed"), False, "has an lsb, but packed is false"),
    "step of zero": ((*PT, "step"), 0, "kinds[0]: quantities[0]: quantity 'pt': step 0 is not a positive"),
    "negative step": ((*PT, "step"), -0.5, "step -0.5 is not a positive number"),
    "step no number": ((*PT, "step"), "half", "step 'half' is no number and not like 2*pi/144"),
    "step in YAML 1.1": ((*PT, "step"), "1e-3", "'1e-3' is no number and not like 2*pi/144; write 0.001"),
    "step pi / 0": ((*PHI, "step"), "2*pi/0", "step '2*pi/0' is not a positive number"),
    "step of many points": ((*PHI, "step"), "2..*pi", "step '2..*pi' is not a positive number"),
    "step a switch": ((*PT, "step"), True, "step True is no number"),
    "unknown role": ((*PT, "role"), "pts", "role 'pts' is unknown; did you mean 'pt'? (known: pt, energy"),
    "role twice": ((*PHI, "role"), "pt", "role 'pt' is there twice"),
    "quantity twice": ((*PHI, "name"), "pt", "quantity 'pt' is there twice"),
    "name is a role": ((*FLAG, "name"), "energy2", None),
    "name of another's role": ((*PHI, "name"), "flag", "'flag' is the name of one quantity and the role of"),
    "kind twice": ((*REGION, "name"), "JET", "kind 'JET' is there twice"),
    "port twice": ((*REGION, "port"), "jet", "port 'jet' is there twice"),
    "word twice": ((*REGION, "name"), "JET1", None),
    "odd name": ((*JET, "name"), "jet 1", "kind 'jet 1': a name has letters, digits and _"),
    "odd quantity": ((*PT, "name"), "p.t", "quantity 'p.t': a name has letters"),
    "odd layout": (("name",), "1st", "layout '1st': a name has letters"),
    "no kinds": (("kinds",), [], "layout 'mine': has no kinds"),
    "no quantities": ((*JET, "quantities"), [], "kind 'JET': has no quantities"),
    "no objects": ((*JET, "count"), 0, "kind 'JET': count 0 is below 1"),
    "shape": ((*REGION, "shape"), [2, 4], "kind 'REGION': shape [2, 4] is not 6"),
    "links too narrow": ((*REGION, "links", "bits"), 69, "4 objects from bit 6 do not fit a link of 69 bits"),
    "links too late": ((*REGION, "links", "first"), 7, "4 objects from bit 7 do not fit a link of 70 bits"),
    "links before 0": ((*REGION, "links", "first"), -1, "4 objects from bit -1 do not fit"),
    "links without bits": ((*REGION, "bits"), 0, "has places in packed words, but no bits"),
    "presence": ((*JET, "present"), "ever", "present 'ever' is none of always, pt"),
    "order": ((*JET, "order"), "eta", "order 'eta' is none of pt, trigger, place"),
    "presence by no pt": ((*REGION, "present"), "pt", "its presence or order is by pt, but it has no pt"),
    "order by no pt": ((*REGION, "order"), "pt", "its presence or order is by pt, but it has no pt"),
    "too wide": ((*PT, "bits"), 32, "quantity 'pt': 32 bits; a word has 0 to 31, signed one more"),
    "negative bits": ((*PT, "bits"), -1, "quantity 'pt': -1 bits"),
    "period": ((*PHI, "period"), 257, "a period of 257 is not within its bits"),
    "period of zero": ((*PHI, "period"), 0, "a period of 0 is not within its bits"),
    "origin": ((*PT, "origin"), float("inf"), "origin inf is not a finite number"),
    "object too wide": ((*JET, "bits"), 1025, "packed objects of 1025 bits are not 1 to 1024"),
    "unknown key": ((*PT, "lbs"), 3, "kinds[0]: quantities[0]: unknown key 'lbs'; did you mean 'lsb'?"),
    "missing key": ((*PT, "role"), None, "kinds[0]: quantities[0]: key 'role' is missing"),
    "no source": (("source",), None, "key 'source' is missing"),
    "wrong type": ((*JET, "count"), "two", "kinds[0]: count: must be an integer, not 'two'"),
}
BAD = {name: case for name, case in BAD.items() if case[2] is not None}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_a_bad_layout_is_one_line_and_exit_code_2(case, tmp_path, capsys):
    path, value, message = case
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(changed(path, value)))
    assert cli.main(["layouts", str(file)]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    assert shown.err.startswith(f"axo: error: {file}: ") and message in shown.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "is not YAML"),
        ("- 1", "must be a mapping of keys to values"),
        ("name: a\nname: b", "key 'name' twice"),
        ("kinds: 3\nname: a\nsource: b", "kinds: must be a list, not 3"),
    ],
)
def test_a_file_that_is_no_layout_is_refused(text, message, tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert cli.main(["layouts", str(file)]) == 2
    assert message in capsys.readouterr().err


def test_a_word_named_twice_is_refused():
    """JET1 of two JETs, and a kind called JET1."""
    document = changed((*REGION, "name"), "JET1")
    document["kinds"][1] = {
        "name": "JET1",
        "count": 1,
        "quantities": [{"name": "pt", "role": "pt", "bits": 3}],
    }
    with pytest.raises(UserError, match="word 'JET1_pt' is there twice"):
        parse_layout(document, "here")


def test_unknown_layout_and_missing_file(tmp_path, capsys):
    assert cli.main(["layouts", "cms_gtt"]) == 2
    assert "did you mean 'cms_gt'? (known: atlas_gelato, cicada" in capsys.readouterr().err
    assert cli.main(["layouts", str(tmp_path / "no.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert cli.main(["layouts", "--words"]) == 2
    assert "give its name or path" in capsys.readouterr().err


def test_the_verb_lists_and_shows(tmp_path, capsys):
    assert cli.main(["layouts"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in listed] == layout_names()
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    assert cli.main(["layouts", str(file), "--words"]) == 0
    shown = capsys.readouterr().out
    assert "mine: 12 words (int16): 2 JET, 6 REGION" in shown
    assert f"sha256 {read_layout(file).digest}" in shown and "a test" in shown
    assert "JET0 to JET1 (columns 0 to 5): present pt, order pt, 32 bits each, port jet of 64 bits" in shown
    assert "bits 11 to 18" in shown and "step 2*pi/144, period 144" in shown and "bit 19 " in shown
    assert "port region of 140 bits: 2 links of 70 bits, 4 objects on each from bit 6" in shown
    assert "   11 REGION5_et" in shown


@settings(max_examples=40, deadline=None)
@given(layouts())
def test_random_layouts_come_back_from_json_and_yaml(layout):
    document = layout_document(layout)
    for text in (json.loads(json.dumps(document)), yaml.safe_load(yaml.safe_dump(document))):
        again = parse_layout(text, "here")
        assert again == layout and again.digest == layout.digest


def test_a_digest_is_of_what_words_mean():
    layout = parse_layout(GOOD, "here")
    assert layout.digest == parse_layout(changed(("source",), "other"), "x").digest
    other = [
        changed((*PT, "step"), 0.25),
        changed((*PT, "bits"), 10),
        changed((*FLAG, "lsb"), 20),
        changed((*JET, "count"), 3),
        changed((*JET, "present"), "always"),
        changed((*REGION, "links", "first"), 5),
        changed(("name",), "yours"),
    ]
    digests = {parse_layout(document, "here").digest for document in other}
    assert len(digests) == len(other) and layout.digest not in digests


def test_digests_of_shipped_layouts_do_not_change_by_accident():
    """Files of networks name these: a change of a shipped layout must be meant."""
    assert {name: find_layout(name).digest[:16] for name in layout_names()} == {
        "atlas_gelato": "2914cc60b70aa448",
        "cicada": "c34cfc398e422ae6",
        "cms_axol1tl": "bdeddc3b35fdca16",
        "cms_gt": "b0889709e3a3601f",
        "cms_phase2_gt": "aef19832f4aa608d",
        "topo_hhbbww": "c338ad7c2c6c5a5b",
    }


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_part_reads_its_words_from_the_whole(data):
    """select and columns_for: every word of the part is the word of that name of the whole."""
    layout = data.draw(layouts())
    chosen = data.draw(st.lists(st.sampled_from(layout.kinds), min_size=1, unique=True))
    parts = []
    for kind in chosen:
        count = data.draw(st.one_of(st.none(), st.integers(1, kind.count)))
        names = [q.name for q in kind.quantities]
        needed = [q.name for q in kind.quantities if q.role == "pt"]
        wanted = data.draw(st.lists(st.sampled_from(names), unique=True))
        wanted += [name for name in needed if name not in wanted]
        in_object = any(kind.quantity(name).packed for name in wanted)
        parts.append((kind.name, count, wanted if wanted and in_object else None))
    part = layout.select(parts, "part")
    columns = layout.columns_for(part)
    assert len(columns) == len(part.words)
    by_name = {word.name: place for place, word in enumerate(layout.words)}
    for column, word in zip(columns, part.words, strict=True):
        assert column == (by_name[word.name] if word.width else -1)
        assert column == -1 or layout.words[column] == word
    np.testing.assert_array_equal(
        layout.columns_for(layout), [place if word.width else -1 for place, word in enumerate(layout.words)]
    )


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_columns_presence_and_ports_agree_with_names(data):
    layout = data.draw(layouts())
    words = data.draw(words_of(layout))
    names = [word.name for word in layout.words]
    assert len(layout.quantities) == len(layout.object_of_word) == len(names)
    for kind in layout.kinds:
        for quantity in kind.quantities:
            expected = [names.index(f"{kind.object_name(i)}_{quantity.name}") for i in range(kind.count)]
            assert layout.columns(kind.name, quantity.name).tolist() == expected
            assert layout.columns(kind.name, quantity.role).tolist() == expected
            assert set(expected) <= set(layout.columns(None, quantity.name))
    assert sorted(layout.columns()) == list(range(len(names)))
    number = 0
    present = layout.present(words)
    for kind in layout.kinds:
        for index in range(kind.count):
            if kind.present == "pt":
                column = names.index(f"{kind.object_name(index)}_{kind.quantity('pt').name}")
                assert (present[:, number] == (words[:, column] > 0)).all()
            else:
                assert present[:, number].all()
            number += 1
    carried = sorted(field.column for port in layout.ports for field in port.fields)
    assert carried == [i for i, q in enumerate(layout.quantities) if q.bits and q.packed]


def test_select_and_columns_for_refuse_what_is_not_there():
    layout = find_layout("cms_gt")
    with pytest.raises(UserError, match="it has 1 to 12 JET, not 13"):
        layout.select([("JET", 13, None)], "x")
    with pytest.raises(UserError, match="has no kind 'JETS'; did you mean 'JET'"):
        layout.select([("JETS", 1, None)], "x")
    with pytest.raises(UserError, match="kind 'JET' has no charge"):
        layout.select([("JET", 1, ["pt", "charge"])], "x")
    with pytest.raises(UserError, match="presence or order is by pt, but it has no pt"):
        layout.select([("JET", 1, ["phi"])], "x")
    with pytest.raises(UserError, match="kind 'MET' has several of role value: name one of asymmetry, minb"):
        layout.columns("MET", "value")
    with pytest.raises(UserError, match="kind 'JET' has no iso"):
        layout.columns("JET", "isolation")
    assert len(layout.columns(None, "isolation")) == 8 + 12 + 12
    with pytest.raises(UserError, match="'cms_axol1tl' has no kind 'TAU'"):
        find_layout("cms_axol1tl").columns_for(layout.select([("TAU", 2, None)], "x"))
    with pytest.raises(UserError, match="has 4 EG, but 'x' reads 12"):
        find_layout("cms_axol1tl").columns_for(layout.select([("EG", None, ["pt"])], "x"))
    other = Layout("other", "a test", (Kind("EG", 1, (Quantity("pt", "pt", 9, step=0.25),)),))
    with pytest.raises(UserError, match="layouts 'cms_gt' and 'other' differ in the step of EG pt"):
        layout.columns_for(other)


def test_cms_gt_holds_the_inputs_of_the_networks_that_run_on_it():
    layout = find_layout("cms_gt")
    names = [word.name for word in layout.words]
    for part in ("cms_axol1tl", "topo_hhbbww"):
        reads = find_layout(part)
        columns = layout.columns_for(reads)
        for column, word in zip(columns, reads.words, strict=True):
            assert names[column] == word.name if word.width else column == -1
    public = layout.select(  # 39 objects, 116 numbers, as published studies of the public dataset read
        [
            ("EG", None, ["pt", "eta", "phi"]),
            ("TAU", None, ["pt", "eta", "phi"]),
            ("JET", 10, ["pt", "eta", "phi"]),
            ("MU", 4, ["pt", "eta", "phi"]),
            ("ETMHF", 1, ["pt", "phi"]),
        ],
        "public",
    )
    assert len(public.objects) == 39 and len(public.words) == 116
    assert layout.packed_part().columns_for(public).min() >= 0
    assert "MU0_eta_station" in names
    assert "MU0_eta_station" not in [word.name for word in layout.packed_part().words]
    assert find_layout("cms_axol1tl").packed_part() is find_layout("cms_axol1tl")


def test_packed_objects_agree_among_the_layouts_of_one_trigger():
    """The same quantity of the same kind lies at the same bits, so one packed object serves all."""
    whole = find_layout("cms_gt")
    for name in ("cms_axol1tl", "topo_hhbbww"):
        for kind in find_layout(name).kinds:
            mine = whole.kind(kind.name)
            assert (mine.bits, mine.port_name, mine.present) == (kind.bits, kind.port_name, kind.present)
            for quantity in kind.quantities:
                if quantity.bits:
                    assert mine.quantity(quantity.name) == quantity


def test_words_of_golden_networks_find_their_layout(shared):
    document = json.loads((shared / "golden/gelato_l1.json").read_text())
    words = [Word(word["name"], word["width"], word["signed"]) for word in document["words"]]
    layout = layout_of_words(words)
    assert layout == find_layout("atlas_gelato")
    assert len(layout.ports) == 44
    document = json.loads((shared / "golden/cicada_ctp7.json").read_text())
    cicada = find_layout("cicada")
    assert len(cicada.words) == document["regions"] and cicada.kind("REGION").shape == (18, 14)
    assert layout_of_words(cicada.words) is cicada
    # Fewer objects of it, and words of no layout.
    assert layout_of_words(find_layout("cms_axol1tl").words[:6]).kind("EG").count == 1
    bare = layout_of_words([Word("x", 4, True), Word("y", 0, False)])
    assert bare == bare_layout([Word("x", 4, True), Word("y", 0, False)])
    assert [port.name for port in bare.ports] == ["x"]


def test_golden_gelato_words_fit_the_layout(shared):
    from axo.layout.checks import check_widths

    with np.load(shared / "golden/gelato_l1_vectors.npz") as vectors:
        words = vectors["x"]
    layout = find_layout("atlas_gelato")
    check_widths(layout, words)
    assert words[:, layout.columns(None, "phi")].max() < layout.kind("jet").quantity("phi").period


def test_cicada_links_lie_where_the_card_has_them(shared):
    region = find_layout("cicada").kind("REGION")
    assert region.port_bits == 36 * 128
    for r in range(252):
        assert region.first_bit(r) == (r // 7) * 128 + (r % 7) * 16 + 8


def test_phase_2_words_are_wide_and_their_bits_are_those_of_l1gt():
    """Positions counted from the fields' widths, in the order that CMSSW packs them."""
    layout = find_layout("cms_phase2_gt")
    assert layout.dtype is np.int32
    widths = {
        "JET": [1, 16, 13, 14, 10, *[8] * 9],
        "ELECTRON": [1, 16, 13, 14, 4, 11, 1, 10],
        "PHOTON": [1, 16, 13, 14, 4, 11],
        "TAU": [1, 16, 13, 14, 10, 10, 1, 2, 10, 2, 2],
        "MU": [1, 16, 13, 14, 10, 10, 1, 6, 6, 4],
        "SAMU": [1, 16, 13, 14, 5, 7, 1, 4],
        "DISPMU": [1, 16, 13, 14, 5, 7, 1, 4],
        "MET": [1, 16, 13, 16],
        "HTM": [1, 16, 13, 16],
        "VERTEX": [1, 15, 8, 12, 3, 10],
    }
    for name, bits in widths.items():
        quantities = layout.kind(name).quantities
        assert [quantity.bits for quantity in quantities] == bits
        assert [quantity.lsb for quantity in quantities] == [sum(bits[:i]) for i in range(len(bits))]
    wide = {quantity.name: quantity for quantity in layout.kind("WIDEJET").quantities}
    assert (wide["n_prong_score"].lsb, wide["mass_squared"].lsb) == (54, 64)
    jet = layout.kind("JET")
    assert jet.quantity("pt").step_value == 1 / 32
    assert jet.quantity("phi").step_value == jet.quantity("eta").step_value == np.pi / 4096
    assert jet.quantity("phi").signed and jet.quantity("phi").period == 8192


def test_topo_reads_20_words_of_which_one_is_always_zero():
    words = find_layout("topo_hhbbww").words
    assert [word.name for word in words[:5]] == ["HTT_pt", "HTT_phi", "MU0_pt", "MU0_eta", "MU0_phi"]
    assert len(words) == 20 and [word.name for word in words if not word.width] == ["HTT_phi"]


def test_every_shipped_layout_names_its_source_and_its_file():
    for name in layout_names():
        layout = find_layout(name)
        assert layout.name == name and len(layout.source) > 100
        assert parse_layout(layout_document(layout), "again") == layout


def test_the_documentation_names_every_key_role_and_layout():
    text = (REPOSITORY / "docs/layouts.md").read_text()
    keys = [f.name for kind in (Layout, Kind, Quantity, Links) for f in dataclasses.fields(kind)]
    for name in (*keys, *ROLES, *layout_names()):
        assert f"`{name}`" in text, name
    for name in layout_names():
        assert f"| `{name}` | {len(find_layout(name).words)} |" in text
    example = yaml.safe_load(text.split("```yaml")[1].split("```")[0])
    assert len(parse_layout(example, "docs").words) == 6 * 3 + 252
