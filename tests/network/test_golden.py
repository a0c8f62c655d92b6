"""Known answers from outside: CMS's own C++ emulator in both pt conventions, and CMS's production VHDL."""

import dataclasses

import numpy as np
import pytest

from axo.cli import main
from axo.errors import UserError
from axo.interchange.axol1tl import read_cms_network
from axo.network import (
    HALF_KEPT,
    WHOLE_GEV,
    FixedType,
    analyse,
    evaluate,
    read_network,
    require_sound,
    with_pt_convention,
    write_network,
)
from tests.cms_words import PT_COLUMNS


def production(shared, version, convention):
    """v3 from CMS's description, v4 from a file that has whole GeV."""
    if version == "v3":
        return read_cms_network(shared / "golden/axol1tl_v3.json", pt_convention=convention)
    return with_pt_convention(read_network(shared / "golden/axol1tl_v4.json"), convention)


@pytest.mark.parametrize("version", ["v3", "v4"])
@pytest.mark.parametrize(("convention", "suffix"), [(WHOLE_GEV, ""), (HALF_KEPT, "_half_pt")])
@pytest.mark.parametrize("step", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_both_conventions_are_those_of_cms_own_emulator(shared, version, convention, suffix, step):
    network = production(shared, version, convention)
    assert network.pt_convention == convention
    with np.load(shared / f"golden/axol1tl_{version}_two_conventions.npz") as vectors:
        assert (vectors["x"][:, PT_COLUMNS] & 1).any()
        assert (vectors["score_word"] != vectors["score_word_half_pt"]).sum() > 10_000
        result = evaluate(network, vectors["x"][::step])
        np.testing.assert_array_equal(result.score_word, vectors[f"score_word{suffix}"][::step])
        np.testing.assert_array_equal(result.embedding_word, vectors[f"mu_word{suffix}"][::step])


@pytest.mark.parametrize(("version", "differing"), [("v3", 3105), ("v4", 2021)])
def test_the_production_vhdl_keeps_the_half(shared, version, differing):
    with np.load(shared / "golden/production_rtl_v3_v4.npz") as vectors:
        words, expected = vectors["x"], vectors[f"{version}_score_word"]
    score_word = evaluate(production(shared, version, HALF_KEPT), words).score_word
    np.testing.assert_array_equal(score_word, expected)
    whole = evaluate(production(shared, version, WHOLE_GEV), words).score_word
    assert np.count_nonzero(whole != expected) == differing


def gelato(shared):
    """ATLAS's Level-1 network, its words, and z as its published Verilog gives it in simulation."""
    network = read_network(shared / "golden/gelato_l1.json")
    with np.load(shared / "golden/gelato_l1_vectors.npz") as vectors:
        return network, vectors["x"], vectors["z_word"]


def test_gelato_is_what_its_published_verilog_gives(shared):
    network, words, z = gelato(shared)
    result = evaluate(network, words)
    assert len(words) == 20_000
    np.testing.assert_array_equal(result.embedding_word, z)
    np.testing.assert_array_equal(result.score_word, (z.astype(np.int64) ** 2).sum(axis=1))


def test_a_wrapping_accumulator_is_named_not_refused(shared, tmp_path, capsys):
    network, _, _ = gelato(shared)
    assert "dense1" in {overflow.operation for overflow in analyse(network).overflows}
    with pytest.raises(UserError, match=r"'dense1'.*widen the accumulator"):
        require_sound(network)
    assert main(["inspect", str(shared / "golden/gelato_l1.json")]) == 0
    assert "warning: operation 'dense1'" in capsys.readouterr().out


def test_the_convention_is_changed_there_and_back(production_network):
    whole = with_pt_convention(production_network, WHOLE_GEV)
    assert with_pt_convention(whole, WHOLE_GEV) is whole
    back = with_pt_convention(whole, HALF_KEPT)
    assert [(o.name, o.op) for o in back.operations] == [
        (o.name, o.op) for o in production_network.operations
    ]
    assert back.types == production_network.types
    assert back.provenance["pt_convention_was"] == WHOLE_GEV


def test_a_network_whose_half_cannot_be_kept_is_refused(golden_network):
    """Its unscaled type has no fraction bit: the half would be dropped one operation later."""
    operations = [
        dataclasses.replace(operation, type=FixedType(18, 18)) if operation.name == "unscaled" else operation
        for operation in golden_network.operations
    ]
    coarse = dataclasses.replace(golden_network, operations=tuple(operations))
    with pytest.raises(UserError, match=r"cannot be made 'half kept'.*'unscaled' would drop the half"):
        with_pt_convention(coarse, HALF_KEPT)


def test_a_network_with_other_first_operations_is_refused(production_network):
    operations = list(production_network.operations)
    operations[0] = dataclasses.replace(operations[0], type=FixedType(16, 16))
    other = dataclasses.replace(production_network, operations=tuple(operations))
    with pytest.raises(UserError, match=r"cannot be made 'whole GeV': it does not begin by halving"):
        with_pt_convention(other, WHOLE_GEV)


def golden_words(vectors):
    """The vectors hold whole-GeV pt; a raw word is twice that (plus a half-GeV bit)."""
    words = vectors["x"].copy()
    words[:, PT_COLUMNS] *= 2
    return words


def test_reference_reproduces_every_golden_vector(golden_network, golden_vectors):
    result = evaluate(golden_network, golden_words(golden_vectors))
    np.testing.assert_array_equal(result.score_word, golden_vectors["score_word"])
    np.testing.assert_array_equal(result.embedding_word, golden_vectors["mu_word"])


def test_the_half_gev_bit_is_dropped(golden_network, golden_vectors):
    words = golden_words(golden_vectors)
    words[:, PT_COLUMNS] += 1
    result = evaluate(golden_network, words)
    np.testing.assert_array_equal(result.score_word, golden_vectors["score_word"])


def test_network_file_round_trip_keeps_every_score(golden_network, golden_vectors, tmp_path):
    write_network(tmp_path / "v3.json", golden_network)
    words = golden_words(golden_vectors)[15000:17000]
    result = evaluate(read_network(tmp_path / "v3.json"), words)
    np.testing.assert_array_equal(result.score_word, golden_vectors["score_word"][15000:17000])


def test_cms_import_names_a_missing_key(tmp_path):
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(UserError, match=r"no\.json.*'inputs'"):
        read_cms_network(tmp_path / "no.json")
