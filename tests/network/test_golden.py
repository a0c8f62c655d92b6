"""Known answers from outside: CMS's own C++ emulator on 20,001 inputs."""

import numpy as np

from axo.interchange.axol1tl import read_cms_network
from axo.network import PT_COLUMNS, evaluate, read_network, write_network


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
    import pytest

    from axo.errors import UserError

    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(UserError, match=r"no\.json.*'inputs'"):
        read_cms_network(tmp_path / "no.json")
