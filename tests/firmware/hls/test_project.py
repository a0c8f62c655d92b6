"""The HLS project: its C++ against the reference, its contents, and what it refuses."""

from __future__ import annotations

import dataclasses
import errno
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.firmware.hls import project as hls
from axo.firmware.hls.core import check_core
from axo.firmware.hls.project import (
    HlsConfig,
    compile_emulator,
    compile_test_bench,
    read_project,
    run_emulator,
    trace_emulator,
    write_project,
)
from axo.layout import Kind, Layout, Quantity
from axo.network import Dense, FixedType, Linear, SumOfSquares, evaluate
from tests.cms_words import PT_COLUMNS
from tests.firmware.any_layouts import network_on
from tests.firmware.small_networks import any_words, autoencoder
from tests.network.strategies import encoder_decoders, networks, production_networks, words_for


@pytest.fixture(scope="module")
def small_project(tmp_path_factory):
    return write_project(autoencoder(), tmp_path_factory.mktemp("small") / "hls", HlsConfig(n_thresholds=3))


@pytest.fixture
def project(tmp_path):
    """A project that a test may damage."""
    return write_project(autoencoder(), tmp_path / "hls")


def assert_equal(network, words, emulation):
    reference = evaluate(network, words)
    np.testing.assert_array_equal(emulation.score_word, reference.score_word)
    np.testing.assert_array_equal(emulation.embedding_word, reference.embedding_word)


def test_every_golden_vector_and_trigger_bit_is_exact(golden_project, golden_vectors):
    words = golden_vectors["x"].copy()
    words[:, PT_COLUMNS] *= 2
    thresholds = [15711, 17564, 18621]
    compile_emulator(golden_project)
    emulation = run_emulator(golden_project, words, thresholds)
    np.testing.assert_array_equal(emulation.score_word, golden_vectors["score_word"])
    np.testing.assert_array_equal(emulation.embedding_word, golden_vectors["mu_word"])
    bits = golden_vectors["score_word"][:, None] >= np.array(thresholds)
    np.testing.assert_array_equal(emulation.trigger_bits, bits)
    assert 0 < bits.mean() < 1


def test_a_graph_with_subtract_and_dot_is_exact_on_any_int16(small_project, compiler):
    compile_emulator(small_project)
    words = any_words(small_project.network, 4000)
    assert_equal(small_project.network, words, run_emulator(small_project, words))


def test_every_tensor_of_the_cpp_is_that_of_the_reference(small_project, compiler):
    compile_emulator(small_project, trace=True)
    words = any_words(small_project.network, 400)
    tensors = trace_emulator(small_project, words)
    reference = evaluate(small_project.network, words).tensors
    assert tensors.keys() == reference.keys()
    for name, values in reference.items():
        np.testing.assert_array_equal(tensors[name], values, err_msg=name)


WIDE = Layout(
    "wide",
    "a test",
    (
        Kind("A", 2, (Quantity("pt", "pt", 20), Quantity("eta", "eta", 9, True))),
        Kind("B", 1, (Quantity("", "flag", 1),)),
    ),
)


def test_words_wider_than_16_bits_are_exact_within_the_networks_bounds(compiler, tmp_path):
    """Through the emulator and, with 32-bit golden vectors, the vendor's test bench."""
    network = network_on(WIDE)
    generator = np.random.default_rng(4)
    low, high = network.word_bounds
    words = generator.integers(low, high + 1, (4000, len(low)))
    words[:2] = low, high
    project = write_project(network, tmp_path / "hls", words=words[::20])
    compile_emulator(project)
    assert_equal(network, words, run_emulator(project, words))
    assert (
        "ap_fixed<32,32,AP_TRN,AP_WRAP> t0_words_t"
        in (project.folder / f"firmware/{project.name}_path.h").read_text()
    )
    bench = compile_test_bench(project)
    done = subprocess.run([bench], cwd=project.folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "INFO: 200 events, 0 mismatches\n")
    with pytest.raises(ValueError, match="fit in int32"):
        run_emulator(project, words + (1 << 31))


@pytest.mark.slow
@settings(
    max_examples=3,
    phases=[Phase.generate],  # shrinking would compile for minutes
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.parametrize("kind", [encoder_decoders, production_networks, networks])
@given(data=st.data())
def test_random_networks_are_exact(kind, data, compiler, tmp_path_factory):
    network = data.draw(kind())
    config = HlsConfig(backend=data.draw(st.sampled_from(["vitis", "vivado"])))
    folder = tmp_path_factory.mktemp("random") / "hls"
    if not any(isinstance(operation, Dense) for operation in network.operations):
        with pytest.raises(UserError, match="no dense layer"):
            write_project(network, folder, config)
        return
    try:
        project = write_project(network, folder, config)
    except UserError as error:
        assert "hls4ml cannot express operation" in str(error)
        return
    compile_emulator(project)
    words = data.draw(words_for(network, max_events=400))
    assert_equal(network, words, run_emulator(project, words))


def test_the_vendor_test_bench_passes_and_sees_a_wrong_vector(small_project, compiler):
    bench = compile_test_bench(small_project)
    good = subprocess.run([bench], cwd=small_project.folder, capture_output=True, text=True)
    assert (good.returncode, good.stdout) == (0, "INFO: 256 events, 0 mismatches\n")
    log = (small_project.folder / "tb_data/csim_results.log").read_text()
    expected = small_project.folder / "tb_data/tb_expected.dat"
    text = expected.read_text()
    assert log == text
    try:
        first, rest = text.split("\n", 1)
        score, *bits = first.split()
        for wrong in ([str(int(score) + 1), *bits], [score, "01"[bits[0] == "0"], *bits[1:]]):
            expected.write_text(" ".join(wrong) + "\n" + rest)
            bad = subprocess.run([bench], cwd=small_project.folder, capture_output=True, text=True)
            assert bad.returncode == 1 and "event 0" in bad.stdout
        expected.write_text(first + "\n")
        assert subprocess.run([bench], cwd=small_project.folder, capture_output=True).returncode == 1
    finally:
        expected.write_text(text)


def test_golden_vectors_make_every_trigger_bit_change(small_project):
    table = np.loadtxt(small_project.folder / "tb_data/tb_expected.dat", dtype=int)
    thresholds = np.loadtxt(small_project.folder / "tb_data/tb_thresholds.dat", dtype=int)
    assert thresholds[0] == 9000  # the network's working point
    np.testing.assert_array_equal(table[:, 1:], table[:, :1] >= thresholds)
    assert np.all(table[:, 1:].any(0) & ~table[:, 1:].all(0))


def test_hls_sources_are_cpp11(small_project, compiler):
    sources = [f"firmware/{small_project.name}.cpp", f"{small_project.name}_test.cpp"]
    flags = ["-std=c++11", "-fsyntax-only", "-w", *small_project.include_flags]
    command = ["g++", *flags, *sources, small_project.core_source]
    subprocess.run(command, cwd=small_project.folder, check=True)


@pytest.mark.parametrize("backend", ["vitis", "vivado"])
def test_the_tcl_scripts_build_our_top(tmp_path, backend):
    config = HlsConfig(backend=backend, part="xc7vx690tffg1927-2", clock_mhz=320, n_thresholds=5)
    project = write_project(autoencoder(), tmp_path / "hls", config)
    settings = (project.folder / "project.tcl").read_text()
    for line in (
        'set project_name "small"',
        f'set backend "{backend}"',
        'set part "xc7vx690tffg1927-2"',
        "set clock_period 3.125",
    ):
        assert line in settings.splitlines()
    build = (project.folder / "build_prj.tcl").read_text()
    assert "set_top ${project_name}\n" in build
    for source in ("firmware/${project_name}.cpp", "firmware/${project_name}_network.cpp"):
        assert f"add_files {source} " in build
        assert (project.folder / source.replace("${project_name}", "small")).is_file()
    assert (project.folder / "build_opt.tcl").is_file() == (backend == "vitis")
    top = (project.folder / "firmware/small.cpp").read_text()
    for pragma in (
        "PIPELINE II=1",
        "LATENCY max=16",
        "ARRAY_PARTITION variable=words complete",
        "INTERFACE ap_stable port=thresholds",
    ):
        assert f"#pragma HLS {pragma}" in top
    assert "ap_uint<5> &trigger" in top
    assert "HLS INTERFACE" not in project.core_source.read_text()


def test_no_file_names_this_machine(project):
    for path in project.folder.rglob("*"):
        if path.is_file():
            assert str(project.folder.parent).encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("defines.h", "ap_fixed<8,6,AP_RND_CONV,AP_SAT,0> input_t", "ap_fixed<8,6> input_t", "input of type"),
        ("defines.h", "AP_RND_CONV,AP_SAT,0> layer3_t", "AP_RND,AP_SAT,0> layer3_t", "embedding"),
        ("defines.h", "> t6_encoded_accum_t", ",AP_RND> t6_encoded_accum_t", "accum_t"),
        ("defines.h", "ap_fixed<6,3> t8", "ap_fixed<5,3> t8", "weight_t"),
        ("parameters.h", "nnet::product::mult", "nnet::product::weight_ternary", "encoded"),
        ("weights/w2.h", "= {", "= {0.125, ", "other constants w2"),
        ("small_network.cpp", "// t9_decoded", "// t9_other", "t9_other"),
        ("small_network.cpp", "    nnet::relu", "    // nnet::relu", "layers"),
    ],
)  # fmt: skip
def test_hls4ml_cpp_that_is_not_the_network_is_refused(project, file, old, new, message):
    path = project.folder / "firmware" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=message):
        check_core(project.core, project.folder, project.core_name)


def test_a_dense_layer_behind_a_sum_is_refused_by_name(tmp_path):
    network = autoencoder()
    square = SumOfSquares("square", "embedding", FixedType(12, 10), FixedType(12, 10))
    last = Dense(
        "late", "square", np.array([[1]]), FixedType(2, 2), np.array([0]), FixedType(2, 2), FixedType(16, 16)
    )
    score = Linear("out", "late", FixedType(16, 16, False))
    network = dataclasses.replace(
        network, operations=(*network.operations, square, last, score), score="out", thresholds={}
    )
    with pytest.raises(UserError, match=r"cannot express operation 'late' \(dense\)"):
        write_project(network, tmp_path / "hls")
    assert not list(tmp_path.iterdir())


def test_a_missing_compiler_is_named(project, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"g\+\+ was not found; install .*apt install g\+\+"):
        compile_emulator(project)
    assert not (project.folder / "emulator").exists()


def test_a_failed_compilation_leaves_no_emulator(project, compiler):
    project.core_source.write_text("#error out of order\n")
    with pytest.raises(UserError, match="out of order"):
        compile_emulator(project)
    assert not list(project.folder.glob("*.o")) and not (project.folder / "emulator").exists()


def test_running_an_emulator_that_is_not_there(project):
    with pytest.raises(UserError, match="compile the emulator first"):
        run_emulator(project, any_words(project.network, 2))


def test_an_interrupted_write_leaves_the_old_project(project, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(hls, "_write_vectors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_project(autoencoder(seed=1), project.folder)
    assert [path.name for path in project.folder.parent.iterdir()] == ["hls"]
    assert read_project(project.folder, project.network).config == project.config


def test_a_project_of_another_network_is_refused(project):
    with pytest.raises(UserError, match="of another network"):
        read_project(project.folder, autoencoder(seed=1))


def test_what_is_no_project_is_not_replaced(tmp_path):
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("x")
    for folder in (tmp_path, thesis):
        with pytest.raises(UserError, match="not an HLS project"):
            write_project(autoencoder(), folder)
    assert thesis.read_text() == "x"


def test_a_project_is_replaced_as_a_whole(project):
    (project.folder / "emulator").write_text("of the old network")
    write_project(autoencoder(seed=1), project.folder)
    assert not (project.folder / "emulator").exists()
    assert [path.name for path in project.folder.parent.iterdir()] == ["hls"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hls, "write_core", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        write_project(autoencoder(), tmp_path / "hls")
    assert not list(tmp_path.iterdir())


def test_a_missing_hls4ml_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hls4ml.model.graph", None)
    with pytest.raises(UserError, match=r"hls4ml cannot be imported .*axo\[firmware\]"):
        write_project(autoencoder(), tmp_path / "hls")


@pytest.mark.parametrize("thresholds", [[1, 2, 3, 4, 5], [-1], [(1 << 18) + 1]])
def test_impossible_thresholds_are_refused(project, thresholds):
    with pytest.raises(UserError, match="thresholds"):
        run_emulator(project, any_words(project.network, 2), thresholds)


@pytest.mark.parametrize("words", [np.zeros((2, 5), int), np.zeros((2, 6)), np.full((2, 6), 40000)])
def test_words_that_are_no_words_are_refused(project, words):
    with pytest.raises(ValueError, match="words must be"):
        run_emulator(project, words)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "vivdo"}, "did you mean 'vivado'"),
        ({"clock_mhz": 0}, "clock_mhz"),
        ({"clock_mhz": float("nan")}, "clock_mhz"),
        ({"n_thresholds": 0}, "n_thresholds"),
        ({"latency_cycles": 0}, "latency_cycles"),
    ],
)
def test_a_bad_configuration_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        HlsConfig(**settings)
