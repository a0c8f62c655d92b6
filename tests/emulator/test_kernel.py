"""The kernel is the reference, only faster: every backend, every network, every int16 word."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axo.emulator.kernel import Kernel, build, kernel
from axo.emulator.kernel.front import _chain, _is_proved, word_program
from axo.emulator.kernel.plan import Plan
from axo.errors import UserError
from axo.interchange.axol1tl import read_cms_network
from axo.layout import layout_of_words
from axo.network import (
    HALF_KEPT,
    WHOLE_GEV,
    Dense,
    FixedType,
    Linear,
    Network,
    Offset,
    Relu,
    Shift,
    SumOfSquares,
    Word,
    evaluate,
    read_network,
    with_pt_convention,
    write_network,
)
from tests.cms_words import PT_COLUMNS
from tests.network.strategies import any_networks, production_networks, words_for

COMPILED = [
    "c",
    pytest.param("vnni", marks=pytest.mark.skipif(not build.has_vnni(), reason="no AVX-512 VNNI")),
]


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(autouse=True)
def own_cache(cache_folder, monkeypatch):
    monkeypatch.setenv("AXO_CACHE", str(cache_folder))
    if build.find_compiler() is None:
        pytest.skip("no C compiler is installed")


@pytest.fixture
def quick_compiler(tmp_path, monkeypatch):
    """A compiler that optimises little: hundreds of kernels are built, to test what generates them."""
    path = tmp_path / "quick-cc"
    path.write_text(f'#!/bin/sh\nexec {build.find_compiler()} "$@" -O1\n')
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))


@pytest.fixture
def network():
    """Two words, dense and ReLU, a score; every storage of the fast path occurs."""
    dense = Dense(
        "layer",
        "centred",
        np.array([[3, -4, 0, 7, 1], [0, 7, 0, 0, -8]]),
        FixedType(4, 2),
        np.array([1, -1, 0, 3, 2]),
        FixedType(3, 3),
        FixedType(20, 18),
    )
    return Network(
        "tiny",
        layout_of_words([Word("pt", 11, False), Word("eta", 8, True)]),
        (
            Offset("offset", "words", np.array([3, -4]), FixedType(4, 4), FixedType(18, 18)),
            Linear("centred", "offset", FixedType(8, 8, True, "RND_CONV", "SAT")),
            dense,
            Relu("mu", "layer", FixedType(6, 6, False, "RND_CONV", "SAT")),
            SumOfSquares("score", "mu", FixedType(18, 18, False), FixedType(18, 18, False)),
        ),
        "score",
        "mu",
    )


@pytest.fixture
def words():
    rng = np.random.default_rng(5)
    return rng.integers(-(1 << 15), 1 << 15, (1000, 2)).astype(np.int16)


def assert_is_the_reference(network: Network, words: np.ndarray, backend: str, threads: int = 1) -> None:
    expected = evaluate(network, words)
    fast = Kernel(network, threads, backend)
    score, embedding = fast.evaluate(words)
    np.testing.assert_array_equal(score, expected.score_word)
    np.testing.assert_array_equal(embedding, expected.embedding_word)
    np.testing.assert_array_equal(fast.scores(words), expected.score_word)
    assert score.dtype == embedding.dtype == np.int32


RANDOM = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("backend", COMPILED)
@given(data=st.data())
@RANDOM
def test_random_networks_equal_the_reference(quick_compiler, backend, data):
    network = data.draw(any_networks())
    assert_is_the_reference(network, data.draw(words_for(network, max_events=150)), backend)


@pytest.mark.parametrize("backend", COMPILED)
@given(data=st.data())
@settings(RANDOM, max_examples=15)
def test_random_production_networks_equal_the_reference(quick_compiler, backend, data):
    network = data.draw(production_networks(max_size=70))
    assert_is_the_reference(network, data.draw(words_for(network, max_events=150)), backend)


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("relu", [FixedType(1, -3, False, "TRN", "SAT"), FixedType(40, 33, False)])
def test_bits_appended_by_a_cast_do_not_overflow_the_lane(backend, relu):
    """A total of 28 bits fits int32, and no longer does with the bits that the ReLU's type appends."""
    dense = Dense(
        "sum",
        "x",
        np.array([[1]]),
        FixedType(2, 2),
        np.array([2582260]),
        FixedType(23, 29, False),
        FixedType(50, 50),
    )
    network = Network(
        "wide",
        layout_of_words([Word("word", 8, True)]),
        (
            Linear("x", "words", FixedType(8, 8)),
            dense,
            Relu("relu", "sum", relu),
            Linear("score", "relu", FixedType(18, 40, False, "TRN", "SAT")),
        ),
        "score",
        "x",
    )
    if relu.width == 1:
        network = dataclasses.replace(network, operations=network.operations[:-1], score="relu")
    words = np.arange(-(1 << 15), 1 << 15, 97, dtype=np.int16)[:, None]
    assert_is_the_reference(network, words, backend)


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("n_words", [32, 33, 57, 64])
def test_scaled_words_with_weights_beyond_8_bits(backend, n_words):
    """They are packed as pairs of 16 bits, 32 words a vector: scaling more is done in several parts."""
    rng = np.random.default_rng(n_words)
    weight = FixedType(12, 4)
    network = Network(
        "pairs",
        layout_of_words([Word(f"word{i}", 12, True) for i in range(n_words)]),
        (
            Offset("centred", "words", rng.integers(-99, 99, n_words), FixedType(8, 8), FixedType(18, 13)),
            Shift("scaled", "centred", rng.integers(0, 4, n_words)),
            Linear("x", "scaled", FixedType(8, 6, True, "RND_CONV", "SAT")),
            Dense(
                "layer",
                "x",
                rng.integers(weight.min_int, weight.max_int, (n_words, 5), endpoint=True),
                weight,
                rng.integers(-8, 8, 5),
                FixedType(4, 4),
                FixedType(30, 20),
            ),
            Linear("mu", "layer", FixedType(10, 8, True, "RND_CONV", "SAT")),
            SumOfSquares("score", "mu", FixedType(18, 16, False), FixedType(18, 16, False, "TRN", "SAT")),
        ),
        "score",
        "mu",
    )
    words = rng.integers(-(1 << 15), 1 << 15, (1000, n_words)).astype(np.int16)
    words[500:] >>= 6
    assert_is_the_reference(network, words, backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", COMPILED)
@given(data=st.data())
@settings(RANDOM, max_examples=40)
def test_random_networks_as_optimised_for_users(backend, data):
    network = data.draw(any_networks())
    assert_is_the_reference(network, data.draw(words_for(network, max_events=150)), backend)


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("version", ["v3", "v4"])
@pytest.mark.parametrize(("convention", "suffix"), [(WHOLE_GEV, ""), (HALF_KEPT, "_half_pt")])
def test_both_pt_conventions_of_cms_own_emulator(shared, backend, version, convention, suffix):
    if version == "v3":
        network = read_cms_network(shared / "golden/axol1tl_v3.json", pt_convention=convention)
    else:
        network = with_pt_convention(read_network(shared / "golden/axol1tl_v4.json"), convention)
    with np.load(shared / f"golden/axol1tl_{version}_two_conventions.npz") as vectors:
        score, embedding = Kernel(network, 2, backend).evaluate(vectors["x"])
        np.testing.assert_array_equal(score, vectors[f"score_word{suffix}"])
        np.testing.assert_array_equal(embedding, vectors[f"mu_word{suffix}"])


@pytest.fixture
def wide_network(network):
    """The small network with words of 31 and 20 bits, scaled down before anything else."""
    first = Linear("least", "words", FixedType(32, 32))
    scaled = Shift("scaled_down", "least", np.array([24, 13]))
    offset = dataclasses.replace(network.operations[0], input="scaled_down")
    words = layout_of_words([Word("pt", 31, False), Word("eta", 20, True)])
    return dataclasses.replace(
        network, layout=words, operations=(first, scaled, offset, *network.operations[1:])
    )


@pytest.mark.parametrize("backend", [*COMPILED, "numpy"])
@pytest.mark.parametrize("n", [0, 1, 63, 65, 1000])
def test_words_of_up_to_31_bits(wide_network, backend, n):
    rng = np.random.default_rng(6)
    low, high = wide_network.word_bounds
    words = rng.integers(low, high, (n, 2), endpoint=True).astype(np.int32)
    words[: n // 4] = rng.choice([low, high, np.zeros(2, np.int64)], n // 4)
    assert_is_the_reference(wide_network, words, backend)
    assert n < 1000 or len(np.unique(evaluate(wide_network, words).score_word)) > 50


@pytest.mark.parametrize("backend", [*COMPILED, "numpy"])
def test_wide_words_that_the_hardware_does_not_carry_are_refused(wide_network, backend):
    """Any int16 is taken; beyond that, everything is proved within the hardware's bounds alone."""
    kernel = Kernel(wide_network, 1, backend)
    words = np.array([[-(1 << 15), -(1 << 19)], [(1 << 31) - 1, (1 << 19) - 1]], np.int32)
    kernel.scores(words)
    for row, column, value in ((0, 0, -(1 << 15) - 1), (1, 1, 1 << 19)):
        bad = words.copy()
        bad[row, column] = value
        with pytest.raises(ValueError, match=rf"event {row}: (pt|eta) = {value} is beyond int16 and its"):
            kernel.scores(bad)
        with pytest.raises(ValueError, match="is beyond int16"):
            evaluate(wide_network, bad)
    with pytest.raises(ValueError, match="C-contiguous int32, not int16"):
        kernel.scores(words.astype(np.int16))


def test_wide_words_still_have_dot_products(wide_network):
    plan = Plan(wide_network, vnni=True)
    assert not plan.narrow and not plan.fronts and list(plan.dots) == ["layer"]


@pytest.mark.parametrize("backend", COMPILED)
def test_gelato_is_what_its_published_verilog_gives(shared, backend):
    """ATLAS's Level-1 network: its accumulators drop bits of every product and wrap."""
    network = read_network(shared / "golden/gelato_l1.json")
    with np.load(shared / "golden/gelato_l1_vectors.npz") as vectors:
        z = vectors["z_word"].astype(np.int64)
        score, embedding = Kernel(network, 2, backend).evaluate(vectors["x"])
    np.testing.assert_array_equal(embedding, z)
    np.testing.assert_array_equal(score, (z * z).sum(axis=1))
    rng = np.random.default_rng(12)
    words = rng.integers(-(1 << 15), 1 << 15, (5000, len(network.words))).astype(np.int16)
    assert_is_the_reference(network, words, backend)


@pytest.mark.parametrize("backend", [*COMPILED, "numpy"])
def test_golden_vectors(golden_network, golden_vectors, backend):
    words = golden_vectors["x"].copy()
    words[:, PT_COLUMNS] *= 2
    score, embedding = Kernel(golden_network, 2, backend).evaluate(words)
    np.testing.assert_array_equal(score, golden_vectors["score_word"])
    np.testing.assert_array_equal(embedding, golden_vectors["mu_word"])


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("convention", ["golden_network", "production_network"])
def test_the_production_network_on_any_int16_words(request, convention, backend):
    network = request.getfixturevalue(convention)
    rng = np.random.default_rng(11)
    words = rng.integers(-(1 << 15), 1 << 15, (5000, 57)).astype(np.int16)
    words[:1000] = rng.choice(np.array([-(1 << 15), -1, 0, 1, (1 << 15) - 1]), (1000, 57))
    assert_is_the_reference(network, words, backend)


@pytest.mark.parametrize("convention", ["golden_network", "production_network"])
def test_the_production_network_takes_the_fast_path_throughout(request, convention):
    """57 bytes straight from the words, three dot products, each with its cast: nothing left to loops."""
    plan = Plan(request.getfixturevalue(convention), vnni=True)
    assert {name: plan.packings[name].form for name in plan.fronts} == {"network_input": "bytes"}
    assert len(plan.dots) == len(plan.fused) == 3
    assert plan.fronts["network_input"] is not None


@pytest.mark.parametrize("backend", COMPILED)
def test_values_beyond_int32_use_a_wider_lane(network, words, backend):
    """The same layers scaled up by 2**24: products of 40 bits, sums of 50."""
    wide = FixedType(50, 26)
    operations = (
        Linear("wide", "words", wide),
        dataclasses.replace(network.operations[2], input="wide", accum_type=FixedType(60, 32)),
        Relu("mu", "layer", FixedType(31, 20, False, "RND_CONV", "SAT")),
        SumOfSquares("score", "mu", FixedType(31, 31, False), FixedType(31, 31, False)),
    )
    large = dataclasses.replace(network, operations=operations)
    plan = Plan(large, vnni=True)
    assert plan.c_type("layer") == "int64_t"
    assert not plan.dots
    assert_is_the_reference(large, words, backend)


@pytest.mark.parametrize(("bias", "fits"), [(131069, True), (131070, False)])
def test_totals_beyond_int32_are_no_dot_product(network, bias, fits):
    """2 x 32767 x 32767 + 131069 = 2**31 - 1; one more, and the fast path must decline."""
    layer = dataclasses.replace(
        network.operations[2],
        input="words",
        weight=np.full((2, 5), 32767),
        weight_type=FixedType(16, 16),
        bias=np.full(5, bias),
        bias_type=FixedType(20, 20),
        accum_type=FixedType(40, 40),
    )
    plan = Plan(dataclasses.replace(network, operations=(layer, *network.operations[3:])), vnni=True)
    assert bool(plan.dots) == fits


@pytest.mark.parametrize("backend", [*COMPILED, "numpy"])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 63, 64, 65, 129])
def test_any_number_of_events(network, words, backend, n):
    assert_is_the_reference(network, words[:n].copy(), backend)


@pytest.mark.parametrize("backend", COMPILED)
@given(data=st.data())
@settings(RANDOM, max_examples=20)
def test_threads_and_chunks_do_not_matter(network, words, backend, data):
    threads, chunk = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 700))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "CHUNK", chunk)
        assert_is_the_reference(network, words, backend, threads)


@given(cut=st.integers(0, 1000))
@settings(RANDOM)
def test_events_do_not_influence_each_other(network, words, cut):
    fast = Kernel(network, 1)
    parts = [fast.scores(words[:cut]), fast.scores(words[cut:])]
    np.testing.assert_array_equal(np.concatenate(parts), fast.scores(words))


def test_words_at_any_address(golden_network, golden_vectors):
    """Rows of 57 words start anywhere; so may the whole array."""
    words = golden_vectors["x"][:500]
    buffer = np.zeros(words.nbytes + 2, np.uint8)
    for shift in (0, 1, 2):
        moved = buffer[shift : shift + words.nbytes].view(np.int16).reshape(words.shape)
        moved[:] = words
        np.testing.assert_array_equal(
            Kernel(golden_network, 1).scores(moved), evaluate(golden_network, words).score_word
        )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((3, 3), np.int16), r"\(n, 2\), not \(3, 3\)"),
        (np.zeros(4, np.int16), r"\(n, 2\), not \(4,\)"),
        ([[1, 2]], "not list"),
        (np.zeros((3, 2), np.int32), "not int32"),
        (np.zeros((3, 2), np.uint16), "not uint16"),
        (np.zeros((3, 2)), "not float64"),
        (np.zeros((3, 4), np.int16)[:, ::2], "not C-contiguous"),
        (np.zeros((2, 3), np.int16).T, "not C-contiguous"),
    ],
)
@pytest.mark.parametrize("backend", [None, "numpy"])
def test_other_words_are_refused(network, bad, message, backend):
    with pytest.raises(ValueError, match=message):
        Kernel(network, 1, backend).scores(bad)


def test_an_unknown_backend_and_no_threads_are_refused(network):
    with pytest.raises(ValueError, match="backend"):
        Kernel(network, backend="cuda")
    with pytest.raises(ValueError, match="threads"):
        Kernel(network, threads=0)


def test_a_network_beyond_int64_is_refused(network):
    huge = Linear("offset", "words", FixedType(62, 10))
    with pytest.raises(UserError, match="62 bits"):
        Kernel(dataclasses.replace(network, operations=(huge, *network.operations[1:])))


# -- the word program ---------------------------------------------------------------------------------


@given(data=st.data())
@settings(RANDOM, max_examples=40)
def test_a_wrong_word_program_is_not_believed(data):
    network = data.draw(production_networks(max_size=5))
    low = min(0, network.types["network_input"].min_int)
    program = word_program(network, "network_input", low)
    if program is None:
        return
    chain = _chain(network, "network_input")
    assert _is_proved(program, network, chain)
    shifted = dataclasses.replace(program, zero=program.zero + 1)
    assert not _is_proved(shifted, network, chain)


# -- building and caching -----------------------------------------------------------------------------


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("AXO_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert build.cache_folder() == tmp_path / "a"
    monkeypatch.delenv("AXO_CACHE")
    assert build.cache_folder() == tmp_path / "b" / "axo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert build.cache_folder() == tmp_path / "c" / ".cache" / "axo"


def test_a_second_kernel_is_not_compiled_again(network, monkeypatch, tmp_path):
    monkeypatch.setenv("AXO_CACHE", str(tmp_path))
    Kernel(network)
    (built,) = tmp_path.iterdir()
    before = built.stat().st_mtime_ns
    Kernel(network)
    assert [entry.name for entry in tmp_path.iterdir()] == [built.name]
    assert built.stat().st_mtime_ns == before


def test_another_network_is_another_library(network, monkeypatch, tmp_path):
    monkeypatch.setenv("AXO_CACHE", str(tmp_path))
    Kernel(network)
    dense = network.operations[2]
    other = dataclasses.replace(dense, bias=dense.bias + np.array([1, 0, 0, 0, 0]))
    Kernel(dataclasses.replace(network, operations=(*network.operations[:2], other, *network.operations[3:])))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_library_is_built_anew(network, words, monkeypatch, tmp_path):
    # Another process built it: this one has not loaded it yet.
    monkeypatch.setenv("AXO_CACHE", str(tmp_path))
    run_kernel(network, words, tmp_path, os.environ)
    (built,) = tmp_path.glob("*.so")
    built.write_bytes(built.read_bytes()[:1000])
    assert_is_the_reference(network, words, Kernel(network).backend)


def run_kernel(network, words, folder, environment, processes: int = 1) -> list[subprocess.CompletedProcess]:
    """Score `words` in new processes, all started at once; their output is the bytes of the scores."""
    write_network(folder / "net.json", network)
    np.save(folder / "words.npy", words)
    code = (
        "import sys, numpy as np\n"
        "from axo.network import read_network\n"
        "from axo.emulator.kernel import Kernel\n"
        "kernel = Kernel(read_network(sys.argv[1]), 1)\n"
        "for _ in range(2): scores = Kernel(kernel.network, 1).scores(np.load(sys.argv[2]))\n"
        "sys.stdout.buffer.write(kernel.backend.encode() + b':' + scores.tobytes())\n"
    )
    command = [sys.executable, "-c", code, str(folder / "net.json"), str(folder / "words.npy")]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(processes)
    ]
    done = []
    for process in running:
        out, err = process.communicate(timeout=300)
        done.append(subprocess.CompletedProcess(command, process.returncode, out, err.decode()))
    return done


def test_processes_that_build_at_once_all_get_it_right(network, words, tmp_path):
    cache = tmp_path / "cache"
    environment = {**os.environ, "AXO_CACHE": str(cache)}
    expected = evaluate(network, words).score_word.tobytes()
    for done in run_kernel(network, words, tmp_path, environment, processes=4):
        assert done.returncode == 0, done.stderr
        assert done.stdout.split(b":", 1)[1] == expected
        assert not done.stderr
    assert [entry.suffix for entry in cache.iterdir()] == [".so"]


def test_without_a_compiler_numpy_is_used_and_said_once(network, words, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "CC"}
    environment |= {"PATH": str(empty), "AXO_CACHE": str(tmp_path / "cache")}
    (done,) = run_kernel(network, words, tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"numpy:" + evaluate(network, words).score_word.tobytes()
    assert done.stderr.count("\n") == 1
    assert "no C compiler was found" in done.stderr
    assert "evaluating with numpy" in done.stderr


@pytest.mark.skipif(not build.has_vnni(), reason="no AVX-512 VNNI")
def test_a_compiler_without_dot_products_still_gives_c(network, words, monkeypatch, tmp_path, capsys):
    old = tmp_path / "old-cc"
    old.write_text(
        '#!/bin/sh\ncase "$*" in *-mprefer-vector-width*) echo "error: unknown option" >&2; exit 1;; esac\n'
        f'exec {build.find_compiler()} "$@"\n'
    )
    old.chmod(0o755)
    monkeypatch.setenv("CC", str(old))
    fast = Kernel(network, 1)
    assert fast.backend == "c"
    assert "unknown option" in capsys.readouterr().err
    np.testing.assert_array_equal(fast.scores(words), evaluate(network, words).score_word)


def test_a_backend_that_was_asked_for_is_not_replaced(network, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UserError, match="no C compiler"):
        Kernel(network, backend="c")


def test_a_compiler_that_fails_is_named_and_leaves_nothing(network, monkeypatch, tmp_path, capsys):
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\necho 'fatal error: out of cheese' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    monkeypatch.setenv("AXO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"broken-cc.*exit status 1.*out of cheese"):
        Kernel(network, backend="c")
    assert Kernel(network).backend == "numpy"
    assert "out of cheese" in capsys.readouterr().err
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_one_clear_line(network, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AXO_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="AXO_CACHE"):
        Kernel(network)


def test_the_compiler_is_that_of_the_environment(monkeypatch, tmp_path):
    chosen = tmp_path / "my-cc"
    shutil.copy("/bin/true", chosen)
    monkeypatch.setenv("CC", str(chosen))
    assert build.find_compiler() == chosen
