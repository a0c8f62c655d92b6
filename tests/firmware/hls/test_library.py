"""The CMSSW library: its answers, its ABI as a foreign caller states it, and what it refuses."""

from __future__ import annotations

import dataclasses
import subprocess

import numpy as np
import pytest

from axo.errors import UserError
from axo.firmware.hls.library import (
    CMSSW_EMBEDDING_TYPE,
    caller_type,
    compile_library,
    run_libraries,
    run_library,
    time_library,
    unscaled_words,
)
from axo.firmware.hls.path import entry_of
from axo.firmware.hls.project import write_project
from axo.network import CMS_WORDS, PT_COLUMNS, WORDS, FixedType, Linear, Shift, evaluate
from tests.firmware.small_networks import any_words, autoencoder


@pytest.fixture(scope="module")
def golden_library(golden_project):
    return compile_library(golden_project)


@pytest.fixture(scope="module")
def golden_words(golden_vectors):
    words = golden_vectors["x"].copy()
    words[:, PT_COLUMNS] *= 2
    return words


def test_every_golden_vector_is_exact(golden_library, golden_words, golden_vectors):
    result = run_library(golden_library, golden_words)
    np.testing.assert_array_equal(result.score_word, golden_vectors["score_word"])
    np.testing.assert_array_equal(result.embedding_word, golden_vectors["mu_word"])


def test_timing_counts_every_event(golden_library, golden_words):
    timing = time_library(golden_library, golden_words[:500])
    assert timing.events == 500
    assert 0 < timing.predict_s <= timing.call_s < 60


# What L1TGlobal's AXOL1TLCondition and hls4mlEmulatorExtras' loader compile in, stated here anew:
# the order of the virtual functions, the types behind std::any, the score times 16.
FOREIGN_CALLER = """
#include <any>
#include <array>
#include <cstdio>
#include <dlfcn.h>
#include <utility>
#include "ap_fixed.h"
namespace hls4mlEmulator {
class Model {
  public:
    virtual void prepare_input(std::any input) = 0;
    virtual void predict() = 0;
    virtual void read_result(std::any result) = 0;
    virtual ~Model() = default;
};
}
int main(int, char **argv) {
    void *library = dlopen(argv[1], RTLD_LAZY | RTLD_LOCAL);
    auto create = (hls4mlEmulator::Model * (*)()) dlsym(library, "create_model");
    auto destroy = (void (*)(hls4mlEmulator::Model *))dlsym(library, "destroy_model");
    hls4mlEmulator::Model *model = create();
    ap_fixed<18, 13> input[57] = {};
    int word;
    while (scanf("%d", &word) == 1) {
        input[0] = word;
        for (int i = 1; i < 57 && scanf("%d", &word) == 1; i++)
            input[i] = word;
        std::pair<std::array<ap_fixed<10, 7, AP_RND_CONV, AP_SAT>, 8>, ap_ufixed<18, 14>> result;
        model->prepare_input(input);
        model->predict();
        model->read_result(&result);
        printf("%.0f %g\\n", result.second.to_float() * 16.0, result.first[7].to_double());
    }
    destroy(model);
}
"""


@pytest.fixture(scope="module")
def foreign_caller(golden_project, tmp_path_factory):
    """Calls a library with CMSSW's own types: scores (n,) and the last embedding value (n,)."""
    folder = tmp_path_factory.mktemp("caller")
    (folder / "caller.cpp").write_text(FOREIGN_CALLER)
    flags = ["-std=c++17", "-w", f"-I{golden_project.folder / 'firmware/ap_types'}"]
    subprocess.run(["g++", *flags, "caller.cpp", "-o", "caller", "-ldl"], cwd=folder, check=True)

    def call(library, whole_gev):
        text = "\n".join(" ".join(map(str, event)) for event in whole_gev)
        command = [folder / "caller", library.path]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        return np.loadtxt(done.stdout.splitlines()).T

    return call


def narrow_network(golden_network):
    """The golden network with an embedding of 8 bits and a score that saturates, as axo_v3 has."""
    narrow = FixedType(8, 6, True, "RND_CONV", "SAT")
    *before, linear, score = golden_network.operations
    sum_type = dataclasses.replace(score.sum_type, overflow="SAT")
    operations = (
        *before,
        dataclasses.replace(linear, type=narrow),
        dataclasses.replace(score, sum_type=sum_type),
    )
    return dataclasses.replace(golden_network, operations=operations, name="narrow")


def test_a_narrower_network_is_loaded_with_cmssw_types_too(
    golden_network, golden_vectors, golden_words, foreign_caller, tmp_path
):
    network = narrow_network(golden_network)
    library = compile_library(write_project(network, tmp_path / "hls"))
    rows = np.r_[0:150, 16000:16050, 20000]
    expected = evaluate(network, golden_words[rows])
    result = run_library(library, golden_words[rows])
    np.testing.assert_array_equal(result.score_word, expected.score_word)
    np.testing.assert_array_equal(result.embedding_word, expected.embedding_word)
    scores, last = foreign_caller(library, golden_vectors["x"][rows])
    np.testing.assert_array_equal(scores, expected.score_word)
    np.testing.assert_array_equal(last * 4, expected.embedding_word[:, 7])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FixedType(8, 6, True, "RND_CONV", "SAT"), CMSSW_EMBEDDING_TYPE),
        (FixedType(9, 7, False), FixedType(9, 7, False)),
        (FixedType(6, 3, False), CMSSW_EMBEDDING_TYPE),
        (FixedType(9, 5), FixedType(9, 5)),
        (FixedType(11, 8), FixedType(11, 8)),
    ],
)
def test_cmssw_types_are_used_only_where_they_hold_every_value(kind, expected):
    assert caller_type(kind, CMSSW_EMBEDDING_TYPE) == expected


def test_a_caller_with_cmssw_types_gets_the_same_score(golden_library, golden_vectors, foreign_caller):
    rows = np.r_[0:100, 16000:16100, 20000]
    scores, last = foreign_caller(golden_library, golden_vectors["x"][rows])
    np.testing.assert_array_equal(scores, golden_vectors["score_word"][rows])
    np.testing.assert_array_equal(last * 8, golden_vectors["mu_word"][rows, 7])


def test_two_versions_in_one_process_keep_their_own_answers(compiler, tmp_path):
    # The same name, so that only the digest in the namespace tells them apart.
    networks = [autoencoder(seed=seed) for seed in (0, 1)]
    libraries = [
        compile_library(write_project(network, tmp_path / str(i) / "hls"), tmp_path / str(i) / "lib")
        for i, network in enumerate(networks)
    ]
    words = any_words(networks[0], 2000)
    references = [evaluate(network, words) for network in networks]
    assert np.any(references[0].score_word != references[1].score_word)
    results = run_libraries([*libraries, libraries[0]], words)
    for reference, result in zip([*references, references[0]], results, strict=True):
        np.testing.assert_array_equal(result.score_word, reference.score_word)
        np.testing.assert_array_equal(result.embedding_word, reference.embedding_word)


def test_only_the_two_functions_of_the_abi_have_our_names(golden_library):
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", golden_library.path], capture_output=True, text=True, check=True
    ).stdout
    strong = {line.split()[2] for line in symbols.splitlines() if line.split()[1] == "T"}
    assert strong == {"create_model", "destroy_model"}
    assert "axo_" not in symbols


def test_a_library_that_is_none_is_named(golden_library, golden_words, tmp_path):
    (tmp_path / "broken.so").write_bytes(b"not a library")
    broken = dataclasses.replace(golden_library, path=tmp_path / "broken.so")
    with pytest.raises(UserError, match=r"broken\.so"):
        run_library(broken, golden_words[:2])


def test_cmssw_enters_behind_the_halving(golden_network):
    network = autoencoder()
    assert entry_of(golden_network) == "unscaled"
    assert entry_of(network) == "unscaled"
    assert entry_of(autoencoder(unscaled=FixedType(16, 14))) == "halved"
    # Something else reads the raw words: no single place to enter.
    operations = list(network.operations)
    operations[10] = dataclasses.replace(operations[10], other=WORDS)
    assert entry_of(dataclasses.replace(network, operations=tuple(operations))) == WORDS


def test_a_network_that_cmssw_cannot_call_is_refused(tmp_path, golden_network):
    network = autoencoder()
    unhalved = [Linear("halved", WORDS, FixedType(16, 16)), *network.operations[1:]]
    project = write_project(dataclasses.replace(network, operations=tuple(unhalved)), tmp_path / "hls")
    with pytest.raises(UserError, match="CMSSW hands over halved pt"):
        compile_library(project)
    quartered = dataclasses.replace(golden_network.operations[0], shift=np.full(57, 2))
    operations = (quartered, *golden_network.operations[1:])
    assert golden_network.words == CMS_WORDS and isinstance(quartered, Shift)
    project = write_project(dataclasses.replace(golden_network, operations=operations), tmp_path / "hls2")
    with pytest.raises(UserError, match="'halved' is not CMSSW's halving"):
        compile_library(project)


def test_words_beyond_the_callers_type_are_refused_unless_the_network_wraps_alike():
    words = np.zeros((3, 6), np.int16)
    words[2, 1] = 4096
    assert unscaled_words(autoencoder(), words)[2, 1] == 4096
    with pytest.raises(UserError, match=r"event 2: word w1 = 4096 does not fit in ap_fixed<18,13"):
        unscaled_words(autoencoder(unscaled=FixedType(16, 16)), words)


def test_a_network_without_cmssw_s_own_type_is_exact_too(compiler, tmp_path):
    network = autoencoder(unscaled=FixedType(16, 14))
    library = compile_library(write_project(network, tmp_path / "hls"))
    words = any_words(network, 1000)[:500]  # those within the hardware widths
    reference = evaluate(network, words)
    result = run_library(library, words)
    np.testing.assert_array_equal(result.score_word, reference.score_word)
    np.testing.assert_array_equal(result.embedding_word, reference.embedding_word)
