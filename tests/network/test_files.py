"""The network file: what is written is read, and whatever is wrong is one clear line."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axo.cli import main
from axo.errors import UserError
from axo.layout import Kind, Layout, Quantity, find_layout, layout_of_words
from axo.network import (
    Dense,
    FixedType,
    Network,
    Relu,
    SumOfSquares,
    Word,
    digest,
    evaluate,
    read_network,
    write_network,
)
from axo.network.files import digest_document, to_document
from tests.network.strategies import any_networks, words_for


@pytest.fixture
def network():
    """Two words, a dense layer, a ReLU, a score and a working point."""
    dense = Dense(
        "layer",
        "words",
        np.array([[3, -4], [0, 7]]),
        FixedType(4, 2),
        np.array([1, -1]),
        FixedType(3, 3),
        FixedType(20, 18),
    )
    relu = Relu("mu", "layer", FixedType(6, 6, False, "RND_CONV", "SAT"))
    score = SumOfSquares("score", "mu", FixedType(18, 18, False), FixedType(18, 18, False))
    words = (Word("pt", 11, False), Word("eta", 8, True))
    return Network(
        "tiny", layout_of_words(words), (dense, relu, score), "score", "mu", {"nominal": 900}, {"seed": 7}
    )


@pytest.fixture
def document(network):
    return json.loads(json.dumps(to_document(network)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.json"


def write_sealed(path, document):
    """Write `document` with the digest that belongs to its content."""
    path.write_text(json.dumps({**document, "sha256": digest_document(document)}))


def fault(path):
    """The message of the one error that reading `path` gives: a single line that names the file."""
    with pytest.raises(UserError) as caught:
        read_network(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip_keeps_everything(data, tmp_path):
    network = data.draw(any_networks())
    words = data.draw(words_for(network))
    path = tmp_path / "any.json"
    assert write_network(path, network) == digest(network)
    again = read_network(path)
    assert to_document(again) == to_document(network)
    whole, copy = evaluate(network, words), evaluate(again, words)
    np.testing.assert_array_equal(whole.score_word, copy.score_word)
    np.testing.assert_array_equal(whole.embedding_word, copy.embedding_word)


def test_the_digest_does_not_depend_on_layout_or_key_order(network, document, path):
    path.write_text(json.dumps(dict(reversed(document.items())), indent=4))
    assert digest(read_network(path)) == document["sha256"]


def test_one_changed_weight_breaks_the_digest(document, path):
    document["operations"][0]["weight"][1][0] = 1
    path.write_text(json.dumps(document))
    assert "sha256" in fault(path)


def test_a_changed_digest_is_refused(document, path):
    document["sha256"] = "0" * 64
    path.write_text(json.dumps(document))
    assert "sha256" in fault(path)


@pytest.mark.parametrize("keep", [0, 1, 40, 300])
def test_a_truncated_file_is_damaged(network, path, keep):
    write_network(path, network)
    path.write_text(path.read_text()[:keep])
    assert "is not JSON" in fault(path)


def test_bytes_that_are_no_text_are_damaged(path):
    path.write_bytes(b"\x80\x04\x95")
    assert "is not JSON" in fault(path)


def test_a_missing_file_is_named(path):
    assert "cannot be read" in fault(path)


@pytest.mark.parametrize("content", [[], {}, {"format": "onnx"}, 3, None])
def test_other_json_is_no_network(path, content):
    path.write_text(json.dumps(content))
    assert "is not an axo network file" in fault(path)


def test_another_format_version_is_refused(document, path):
    for version in (3, "2", True):
        write_sealed(path, {**document, "format_version": version})
        assert f"format version {version!r} is none of 1, 2" in fault(path)


def version_1(document):
    """The document as version 1 had it: words alone."""
    return {
        **{key: value for key, value in document.items() if key not in ("layout", "pt_convention")},
        "format_version": 1,
    }


@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_version_1_reads_as_before_and_is_written_as_version_2(data, tmp_path):
    network = data.draw(any_networks())
    words = data.draw(words_for(network))
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    document = version_1(to_document(network))
    write_sealed(old, document)
    read = read_network(old)
    assert read.words == network.words
    write_network(new, read)
    again = read_network(new)
    assert again.provenance["version_1"] == {"sha256": digest_document(document)}
    whole, copy = evaluate(network, words), evaluate(again, words)
    np.testing.assert_array_equal(whole.score_word, copy.score_word)
    np.testing.assert_array_equal(whole.embedding_word, copy.embedding_word)


def test_version_1_gets_the_layout_whose_words_have_its_names(golden_network, path):
    document = json.loads(json.dumps(to_document(golden_network)))
    write_sealed(path, version_1(document))
    network = read_network(path)
    assert network.layout == find_layout("cms_axol1tl")
    assert network.pt_convention == "whole GeV"
    # CMS's objects come packed: narrower fields would cut what the hardware sends.
    document["words"][0]["width"] = 11
    write_sealed(path, version_1(document))
    network = read_network(path)
    assert network.layout.name == "words" and network.words[0] == Word("MET_pt", 11, False)


def test_version_1_words_of_ports_of_their_own_stay_narrower(monkeypatch, network, document, path):
    """A quantity is as wide as the widest of its kind; what that widened is noted."""
    pt, eta = Quantity("pt", "pt", 14, step=0.1), Quantity("eta", "eta", 9, True, step=0.025)
    known = Layout("known", "a test", (Kind("jet", 3, (pt, eta)), Kind("mu", 2, (pt,))))
    monkeypatch.setattr("axo.layout.document.layout_names", lambda: ["known"])
    monkeypatch.setattr("axo.layout.document._shipped", lambda name: known)
    widths = {"jet0_pt": 12, "jet0_eta": 8, "jet1_pt": 11, "jet1_eta": 8}
    words = [{"name": name, "width": width, "signed": "eta" in name} for name, width in widths.items()]
    dense = {**document["operations"][0], "weight": [[1, 0], [0, 1], [1, 1], [0, 0]]}
    document = version_1(document) | {"words": words, "operations": [dense, *document["operations"][1:]]}
    write_sealed(path, document)
    read = read_network(path)
    assert read.layout.name == "known" and read.layout.kind("jet").quantity("pt").step == 0.1
    assert [word.width for word in read.words] == [12, 8, 12, 8]
    assert read.provenance["version_1"]["narrower_words"] == {"jet1_pt": 11}
    # Wider than the layout's, or of another sign: it is something else.
    for change in ({"width": 15}, {"signed": True}):
        write_sealed(path, {**document, "words": [{**words[0], **change}, *words[1:]]})
        assert read_network(path).layout.name == "words"


def test_version_2_carries_its_own_layout(golden_network, path):
    layout = dataclasses.replace(golden_network.layout, name="mine", source="elsewhere")
    write_network(path, dataclasses.replace(golden_network, layout=layout))
    network = read_network(path)
    assert network.layout == layout and "version_1" not in network.provenance
    assert network.layout.digest == layout.digest


CMS_FAULTS = {
    "width of a word": (
        lambda d: d["words"][3].update(width=8),
        r"words\[3\] is EG0_pt of 8 bits, but EG0_pt of 9 bits in its layout 'cms_axol1tl'",
    ),
    "sign of a word": (lambda d: d["words"][3].update(signed=True), r"EG0_pt of 9 bits, signed, but EG0_pt"),
    "name of a word": (lambda d: d["words"][4].update(name="eg0_eta"), r"words\[4\] is eg0_eta.*EG0_eta"),
    "a word less": (lambda d: d["words"].pop(), r"has 56 words, but its layout 'cms_axol1tl' has 57"),
    "an object less": (lambda d: d["layout"]["kinds"][3].update(count=9), r"57 words.*'cms_axol1tl' has 54"),
    "other bits": (
        lambda d: d["layout"]["kinds"][0]["quantities"][0].update(bits=11),
        r"MET_pt of 12 bits, but MET_pt of 11 bits",
    ),
    "no layout": (lambda d: d.pop("layout"), r"'layout' is a required"),
    "no words": (lambda d: d.pop("words"), r"'words' is a required"),
    "layout of nothing": (lambda d: d.update(layout={}), r"layout: key 'name' is missing"),
    "unknown role": (
        lambda d: d["layout"]["kinds"][0]["quantities"][0].update(role="ptt"),
        r"layout: kinds\[0\]: quantities\[0\].*'ptt'.*'pt'",
    ),
    "overlapping bits": (
        lambda d: d["layout"]["kinds"][1]["quantities"][1].update(lsb=8),
        r"'pt' and 'eta' overlap in bit 8",
    ),
    "other convention": (
        lambda d: d.update(pt_convention="half kept"),
        r"pt_convention is 'half kept', but the operations are those of 'whole GeV'",
    ),
    "no convention": (lambda d: d.pop("pt_convention"), r"'pt_convention' is a required"),
    "unknown convention": (lambda d: d.update(pt_convention="half"), r"pt_convention: 'half' is not one of"),
}


@pytest.mark.parametrize("case", CMS_FAULTS)
def test_a_layout_that_does_not_fit_is_one_line(golden_network, path, case, capsys):
    damage, expected = CMS_FAULTS[case]
    document = json.loads(json.dumps(to_document(golden_network)))
    damage(document)
    write_sealed(path, document)
    message = fault(path)
    assert re.search(expected, message), message
    assert main(["inspect", str(path)]) == 2
    assert capsys.readouterr().err == f"axo: error: {message}\n"


# What is changed in a sound document, and what the error must say beside the file's name.
FAULTS = {
    "weight out of type": (
        lambda d: d["operations"][0]["weight"][1].__setitem__(0, 8),
        r"'layer'.*weight\[1, 0\] = 8",
    ),
    "bias out of type": (lambda d: d["operations"][0]["bias"].__setitem__(1, -5), r"'layer'.*bias\[1\] = -5"),
    "unknown op": (lambda d: d["operations"][1].update(op="rleu"), r"'mu'.*'rleu'; did you mean 'relu'\?"),
    "op far from any": (lambda d: d["operations"][1].update(op="xyzzy"), r"'xyzzy' \(known: dense, "),
    "missing weight": (lambda d: d["operations"][0].pop("weight"), r"'layer' \(dense\).*weight"),
    "field of another op": (lambda d: d["operations"][1].update(shift=[1, 1]), r"'mu' \(relu\).*shift"),
    "unknown field": (lambda d: d["operations"][1].update(wieght=1), r"operations/1.*wieght"),
    "ragged weight": (lambda d: d["operations"][0]["weight"].__setitem__(0, [1]), r"'layer'.*'weight'"),
    "weight beyond int64": (lambda d: d["operations"][0]["bias"].__setitem__(0, 2**70), r"'layer'.*'bias'"),
    "weight with a fraction": (
        lambda d: d["operations"][0]["bias"].__setitem__(0, 0.5),
        r"operations/0/bias/0",
    ),
    "integral float": (lambda d: d["operations"][0]["bias"].__setitem__(0, 1.0), r"operations/0/bias/0"),
    "float width": (lambda d: d["operations"][1]["type"].update(width=6.0), r"operations/1/type/width"),
    "weight of another height": (lambda d: d["operations"][0]["weight"].pop(), r"'layer'.*2 rows"),
    "too few biases": (lambda d: d["operations"][0]["bias"].pop(), r"'layer'.*2 biases"),
    "unknown rounding": (
        lambda d: d["operations"][1]["type"].update(rounding="UP"),
        r"'mu'.*'type'.*rounding",
    ),
    "unknown overflow": (
        lambda d: d["operations"][1]["type"].update(overflow="?"),
        r"'mu'.*'type'.*overflow",
    ),
    "width of 63 bits": (lambda d: d["operations"][1]["type"].update(width=63), r"'mu'.*'type'.*width"),
    "type without a width": (lambda d: d["operations"][1]["type"].pop("width"), r"operations/1/type.*width"),
    "unknown input": (lambda d: d["operations"][1].update(input="leyer"), r"'mu'.*'leyer'"),
    "input of a later one": (lambda d: d["operations"][0].update(input="mu"), r"'layer'.*'mu'"),
    "defined twice": (lambda d: d["operations"][1].update(name="layer"), r"'layer'.*twice"),
    "score of nothing": (lambda d: d.update(score="scor"), r"'scor'"),
    "score of two numbers": (lambda d: d.update(score="mu"), r"'mu'.*one number"),
    "threshold beyond the score": (lambda d: d["thresholds"].update(nominal=2**18 + 1), r"'nominal'"),
    "negative threshold": (lambda d: d["thresholds"].update(nominal=-1), r"thresholds/nominal"),
    "word of 33 bits": (lambda d: d["words"][0].update(width=33), r"words/0/width"),
    "word of 32 bits": (
        lambda d: d["layout"]["kinds"][0]["quantities"][0].update(bits=32),
        r"layout: .*0 to 31, signed one more",
    ),
    "two words of one name": (lambda d: d["layout"]["kinds"][0].update(name="eta"), r"'eta'.*twice"),
    "no words": (lambda d: d.update(words=[]), r"words"),
    "missing score": (lambda d: d.pop("score"), r"'score'"),
    "unknown key": (lambda d: d.update(extra=1), r"'extra'"),
    "NaN": (lambda d: d["provenance"].update(loss=float("nan")), r"NaN"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_faulty_document_is_one_line_that_names_the_place(document, path, case):
    damage, expected = FAULTS[case]
    damage(document)
    document.pop("sha256")
    text = json.dumps(document)
    sealed = json.loads(text, parse_constant=lambda _: 0)
    path.write_text(json.dumps({**document, "sha256": digest_document(sealed)}))
    message = fault(path)
    assert re.search(expected, message), message


def test_what_cannot_be_read_back_is_not_written(network, path):
    with pytest.raises(UserError, match="name"):
        write_network(path, dataclasses.replace(network, name="my network"))
    assert not path.exists()


def test_a_failed_write_leaves_the_old_file(network, path):
    write_network(path, network)
    before = path.read_text()
    with pytest.raises(UserError):
        write_network(path, dataclasses.replace(network, name="1st"))
    assert path.read_text() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_folder_in_the_way_is_one_line(network, tmp_path):
    (tmp_path / "net.json").mkdir()
    with pytest.raises(UserError, match=r"net\.json.*cannot be written"):
        write_network(tmp_path / "net.json", network)
