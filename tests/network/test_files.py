"""The network file: what is written is read, and whatever is wrong is one clear line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.layout import layout_of_words
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
    write_sealed(path, {**document, "format_version": 2})
    assert "format version 2" in fault(path)


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
    "word of 32 bits": (lambda d: d["words"][0].update(width=32), r"words/0/width.*32"),
    "two words of one name": (lambda d: d["words"][0].update(name="eta"), r"names must differ"),
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
    import re

    assert re.search(expected, message), message


def test_what_cannot_be_read_back_is_not_written(network, path):
    import dataclasses

    with pytest.raises(UserError, match="name"):
        write_network(path, dataclasses.replace(network, name="my network"))
    assert not path.exists()


def test_a_failed_write_leaves_the_old_file(network, path):
    import dataclasses

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
