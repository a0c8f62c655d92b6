"""The CMSSW library: its answers, its ABI as a foreign caller states it, and what it refuses."""

from __future__ import annotations

import dataclasses
import subprocess

import numpy as np
import pytest

from axo.errors import UserError
from axo.firmware.hls.library import (
    CMSSW_EMBEDDING_TYPE,
    CMSSW_WORD_TYPE,
    caller_input,
    caller_type,
    compile_library,
    possible_words,
    run_libraries,
    run_library,
    time_library,
)
from axo.firmware.hls.project import write_project
from axo.layout import Kind, Layout, Quantity, Word, bare_layout, find_layout
from axo.network import HALF_KEPT, WHOLE_GEV, FixedType, evaluate, read_network, with_pt_convention
from tests.cms_words import PT_COLUMNS
from tests.firmware.any_layouts import network_on
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


# What L1TGlobal's AXOL1TLCondition (since CMSSW pull request 49753: the half GeV is kept) and
# hls4mlEmulatorExtras' loader compile in, stated here anew: the order of the virtual functions, the
# types behind std::any, the pt word times 0.5, the score times 16.
FOREIGN_CALLER = """
#include <any>
#include <array>
#include <cstdio>
#include <dlfcn.h>
#include <string>
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
typedef ap_fixed<18, 13> inputtype;
typedef ap_fixed<18, 14, AP_RND_CONV, AP_SAT> valuetype;
typedef std::array<ap_fixed<10, 7, AP_RND_CONV, AP_SAT>, 8> arraytype;
double other(const valuetype &value) { return value.to_double(); }
double other(const arraytype &values) { return values[7].to_double(); }
template <class First> void run(hls4mlEmulator::Model *model) {
    int word;
    while (true) {
        inputtype input[57] = {};
        for (int i = 0; i < 57; i++) {
            if (scanf("%d", &word) != 1)
                return;
            input[i] = i % 3 ? inputtype(word) : inputtype(word * 0.5);
        }
        std::pair<First, ap_ufixed<18, 14>> result;
        model->prepare_input(input);
        model->predict();
        model->read_result(&result);
        printf("%.0f %.4f\\n", result.second.to_float() * 16.0, other(result.first));
    }
}
int main(int, char **argv) {
    void *library = dlopen(argv[1], RTLD_LAZY | RTLD_LOCAL);
    auto create = (hls4mlEmulator::Model * (*)()) dlsym(library, "create_model");
    auto destroy = (void (*)(hls4mlEmulator::Model *))dlsym(library, "destroy_model");
    hls4mlEmulator::Model *model = create();
    std::string(argv[2]) == "v3" ? run<arraytype>(model) : run<valuetype>(model);
    destroy(model);
}
"""


@pytest.fixture(scope="module")
def foreign_caller(golden_project, tmp_path_factory):
    """Calls a library with CMSSW's own types: scores (n,), and the other result (last number, or score)."""
    folder = tmp_path_factory.mktemp("caller")
    (folder / "caller.cpp").write_text(FOREIGN_CALLER)
    flags = ["-std=c++17", "-w", f"-I{golden_project.folder / 'firmware/ap_types'}"]
    subprocess.run(["g++", *flags, "caller.cpp", "-o", "caller", "-ldl"], cwd=folder, check=True)

    def call(library, words, kind="v3"):
        text = "\n".join(" ".join(map(str, event)) for event in words)
        command = [folder / "caller", library.path, kind]
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
    golden_network, golden_words, foreign_caller, tmp_path
):
    network = narrow_network(golden_network)
    library = compile_library(write_project(network, tmp_path / "hls"))
    rows = np.r_[0:150, 16000:16050, 20000]
    expected = evaluate(network, golden_words[rows])
    result = run_library(library, golden_words[rows])
    np.testing.assert_array_equal(result.score_word, expected.score_word)
    np.testing.assert_array_equal(result.embedding_word, expected.embedding_word)
    scores, last = foreign_caller(library, golden_words[rows])
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


def test_a_caller_with_cmssw_types_gets_the_same_score(
    golden_library, golden_words, golden_vectors, foreign_caller
):
    rows = np.r_[0:100, 16000:16100, 20000]
    scores, last = foreign_caller(golden_library, golden_words[rows])
    np.testing.assert_array_equal(scores, golden_vectors["score_word"][rows])
    np.testing.assert_array_equal(last * 8, golden_vectors["mu_word"][rows, 7])


@pytest.mark.parametrize(
    ("version", "convention", "suffix"),
    [
        ("v4", HALF_KEPT, "_half_pt"),
        pytest.param("v3", HALF_KEPT, "_half_pt", marks=pytest.mark.slow),
        pytest.param("v4", WHOLE_GEV, "", marks=pytest.mark.slow),
        pytest.param("v3", WHOLE_GEV, "", marks=pytest.mark.slow),
    ],
)
def test_either_convention_is_that_of_cms_own_emulator(
    golden_network, foreign_caller, shared, tmp_path, version, convention, suffix
):
    """All 60,000 events, odd pt words among them, fed as CMSSW feeds them, by two callers."""
    network = golden_network if version == "v3" else read_network(shared / "golden/axol1tl_v4.json")
    network = with_pt_convention(network, convention)
    library = compile_library(write_project(network, tmp_path / "hls"))
    with np.load(shared / f"golden/axol1tl_{version}_two_conventions.npz") as vectors:
        words, score = vectors["x"], vectors[f"score_word{suffix}"]
        embedding = vectors[f"mu_word{suffix}"]
    assert np.any(words[:, PT_COLUMNS] & 1)
    result = run_library(library, words)
    np.testing.assert_array_equal(result.score_word, score)
    np.testing.assert_array_equal(result.embedding_word, embedding)
    rows = np.arange(0, len(words), 100)
    for kind in ("v3", "v5"):
        scores, other = foreign_caller(library, words[rows], kind)
        np.testing.assert_array_equal(scores, score[rows])
        if kind == "v5":  # the score again, up to the largest ap_fixed<18,14>
            np.testing.assert_array_equal(other, np.minimum(score[rows], (1 << 17) - 1) / 16)


# ModelLoader as hls4mlEmulatorExtras has it, for the client in ../shared.
LOADER = """
#pragma once
#include <any>
#include <dlfcn.h>
#include <memory>
#include <stdexcept>
#include <string>
namespace hls4mlEmulator {
class Model {
  public:
    virtual void prepare_input(std::any input) = 0;
    virtual void predict() = 0;
    virtual void read_result(std::any result) = 0;
    virtual ~Model() = default;
};
class ModelLoader {
    std::string name_;
    void *library_ = nullptr;
  public:
    ModelLoader(const std::string &name) : name_(name) {}
    ~ModelLoader() { if (library_) dlclose(library_); }
    std::shared_ptr<Model> load_model() {
        library_ = dlopen((name_ + ".so").c_str(), RTLD_LAZY | RTLD_LOCAL);
        if (!library_) throw std::runtime_error(dlerror());
        auto create = (Model * (*)()) dlsym(library_, "create_model");
        auto destroy = (void (*)(Model *))dlsym(library_, "destroy_model");
        return std::shared_ptr<Model>(create(), destroy);
    }
};
}
"""


def test_the_loader_gets_either_kind_of_result(golden_library, golden_project, shared, tmp_path):
    (tmp_path / "hls4ml").mkdir()
    (tmp_path / "hls4ml/emulator.h").write_text(LOADER)
    includes = (tmp_path, golden_project.folder / "firmware/ap_types")
    source = shared / "cases/loader_result_type/client.cpp"
    flags = ["-std=c++17", "-w", *(f"-I{folder}" for folder in includes)]
    subprocess.run(["g++", *flags, source, "-o", "client", "-ldl"], cwd=tmp_path, check=True)
    # What the client hands over, as words.
    words = np.array([[81 - i if i % 3 == 0 else -3 if i % 3 == 1 else 70 for i in range(57)]])
    score = evaluate(golden_library.network, words).score_word[0] / 16
    for kind, prefix in (("v5", "v5"), ("v3", "v3/v4")):
        command = [tmp_path / "client", golden_library.path.with_suffix(""), kind]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, f"{prefix} result: score {score:g}\n")


def test_two_versions_in_one_process_keep_their_own_answers(compiler, tmp_path):
    # The same name, so that only the digest in the namespace tells them apart.
    networks = [autoencoder(seed=seed) for seed in (0, 1)]
    libraries = [
        compile_library(write_project(network, tmp_path / str(i) / "hls"), tmp_path / str(i) / "lib")
        for i, network in enumerate(networks)
    ]
    words = any_words(networks[0], 4000)[:2000]  # those within the hardware widths
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


def test_cmssw_hands_over_gev_in_its_own_type():
    for layout in (find_layout("cms_axol1tl"), find_layout("cms_axol1tl").select([("JET", 2, None)], "two")):
        given = caller_input(layout)
        assert given.type == CMSSW_WORD_TYPE
        pt = np.isin(np.arange(len(layout.words)), layout.columns(role="pt"))
        np.testing.assert_array_equal(given.halvings, pt)


def one_kind(bits, step, unit="GeV", eta_bits=8):
    quantities = (Quantity("pt", "pt", bits, step=step, unit=unit), Quantity("eta", "eta", eta_bits, True))
    return Layout("one", "a test", (Kind("A", 2, quantities),))


@pytest.mark.parametrize(
    ("layout", "expected", "halvings"),
    [
        (one_kind(16, 1 / 32), CMSSW_WORD_TYPE, 5),
        (one_kind(12, 1), CMSSW_WORD_TYPE, 0),
        # No power of two, no GeV, or bits that CMSSW's type does not carry: raw words.
        (one_kind(12, 0.1), FixedType(13, 13), 0),
        (one_kind(12, 0.5, "MeV"), FixedType(13, 13), 0),
        (one_kind(12, 2), FixedType(13, 13), 0),
        (one_kind(12, 0.5, eta_bits=14), FixedType(14, 14), 0),
        (one_kind(16, 0.5), FixedType(17, 17), 0),
        (bare_layout([Word("a", 10, False), Word("b", 10, False)]), FixedType(10, 10, False), 0),
        (bare_layout([Word("a", 31, False), Word("b", 4, True)]), FixedType(32, 32), 0),
    ],
)
def test_other_layouts_have_a_type_that_holds_every_word(layout, expected, halvings):
    given = caller_input(layout)
    assert given.type == expected and given.halvings[0] == halvings
    assert given.holds(np.stack([layout.low, layout.high])).all()


def test_words_beyond_the_callers_type_are_told_and_refused(golden_library):
    words = np.zeros((6, 57), np.int16)
    words[1, 0], words[2, 0] = 8191, 8192  # pt in steps of half a GeV: below 4096 GeV
    words[3, 1], words[4, 1] = -4096, -4097
    possible = possible_words(golden_library.network, words)
    assert possible.tolist() == [True, True, False, True, False, True]
    with pytest.raises(UserError, match=r"event 2: word MET_pt = 8192 does not fit in ap_fixed<18,13"):
        run_library(golden_library, words)
    result = run_library(golden_library, words[possible])
    np.testing.assert_array_equal(
        result.score_word, evaluate(golden_library.network, words[possible]).score_word
    )


WIDE = Layout(
    "wide",
    "a test",
    (Kind("A", 2, (Quantity("pt", "pt", 20, step=0.1, unit="GeV"), Quantity("eta", "eta", 18, True))),),
)


@pytest.mark.parametrize("layout", [one_kind(16, 1 / 32), WIDE], ids=["fine_pt", "raw"])
def test_libraries_of_other_layouts_are_exact(layout, compiler, tmp_path):
    network = network_on(layout)
    library = compile_library(write_project(network, tmp_path / "hls"))
    generator = np.random.default_rng(3)
    words = generator.integers(layout.low, layout.high + 1, (3000, len(layout.words)))
    assert possible_words(network, words).all()
    reference = evaluate(network, words)
    result = run_library(library, words)
    np.testing.assert_array_equal(result.score_word, reference.score_word)
    np.testing.assert_array_equal(result.embedding_word, reference.embedding_word)
    assert len(np.unique(result.score_word)) > 100


def test_a_network_without_cmssw_s_own_type_is_exact_too(compiler, tmp_path):
    network = autoencoder(unscaled=FixedType(16, 14))
    library = compile_library(write_project(network, tmp_path / "hls"))
    words = any_words(network, 1000)[:500]  # those within the hardware widths
    reference = evaluate(network, words)
    result = run_library(library, words)
    np.testing.assert_array_equal(result.score_word, reference.score_word)
    np.testing.assert_array_equal(result.embedding_word, reference.embedding_word)
