"""hls4ml's strategies for dense layers: exact as compiled C++, checked as written, others refused."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from axo import cli
from axo.errors import UserError
from axo.events.sources import read_events, sample_names, sample_path
from axo.firmware.config import FirmwareConfig, read_firmware_config
from axo.firmware.hls.core import STRATEGIES, check_core
from axo.firmware.hls.project import (
    HlsConfig,
    compile_emulator,
    compile_test_bench,
    read_project,
    run_emulator,
    trace_emulator,
    write_project,
)
from axo.firmware.hls.unrolled import read_unrolled
from axo.firmware.models import find_model
from axo.interchange.cicada import read_cicada_network
from axo.network import Dense, FixedType, Scale, evaluate, read_network, write_network
from tests.firmware.small_networks import any_words, autoencoder
from tests.network.strategies import encoder_decoders, production_networks, words_for

OTHERS = [name for name in STRATEGIES if name != "latency"]
EACH = ["latency", *(pytest.param(s, marks=pytest.mark.slow) for s in OTHERS)]


def write(folder, strategy, network=None, backend="vitis"):
    return write_project(network or autoencoder(), folder, HlsConfig(backend=backend, strategy=strategy))


@pytest.fixture(scope="module", params=OTHERS)
def small_project(request, tmp_path_factory):
    """The small network, compiled with each of the other strategies."""
    project = write(tmp_path_factory.mktemp("small") / "hls", request.param)
    compile_emulator(project)
    return project


def assert_exact(project, words):
    """Scores and embeddings of the C++ are the reference's; else the first event that differs is shown."""
    reference, emulation = evaluate(project.network, words), run_emulator(project, words)
    differs = (emulation.embedding_word != reference.embedding_word).any(axis=1)
    differs |= emulation.score_word != reference.score_word
    for row in np.flatnonzero(differs)[:1]:
        got = f"{emulation.score_word[row]}, {emulation.embedding_word[row]}"
        expected = f"{reference.score_word[row]}, {reference.embedding_word[row]}"
        pytest.fail(
            f"{differs.sum()} of {len(words)} events differ; event {row}, words {words[row].tolist()}: "
            f"{got}, not {expected}"
        )


def test_a_strategy_is_exact_on_any_int16(compiler, small_project):
    assert_exact(small_project, any_words(small_project.network, 4000))


@pytest.mark.parametrize("strategy", EACH)
def test_accumulators_that_wrap_are_exact(compiler, tmp_path, strategy):
    """As production networks have them: too narrow for what the bounds allow, and for some of these words."""
    network = autoencoder()
    operations = [
        dataclasses.replace(operation, accum_type=FixedType(13, 6))
        if isinstance(operation, Dense)
        else operation
        for operation in network.operations
    ]
    network = dataclasses.replace(network, operations=tuple(operations))
    words = any_words(network, 4000)
    wide = evaluate(autoencoder(), words).score_word
    assert np.count_nonzero(evaluate(network, words).score_word != wide) > 400
    project = write(tmp_path / "hls", strategy, network)
    compile_emulator(project)
    assert_exact(project, words)


def test_gelato_is_what_its_published_verilog_gives(compiler, shared, tmp_path):
    """Its accumulators drop bits of every product and wrap."""
    project = write(tmp_path / "hls", "latency", read_network(shared / "golden/gelato_l1.json"))
    compile_emulator(project)
    with np.load(shared / "golden/gelato_l1_vectors.npz") as vectors:
        np.testing.assert_array_equal(run_emulator(project, vectors["x"]).embedding_word, vectors["z_word"])


@pytest.mark.parametrize("strategy", EACH)
def test_cicada_gives_the_recorded_scores(compiler, shared, tmp_path, strategy):
    """Dense, batch normalisation, ReLU, dense: the accumulator of the first wraps."""
    network = read_cicada_network(shared / "golden/cicada_ctp7.json")
    project = write(tmp_path / "hls", strategy, network)
    compile_emulator(project)
    with np.load(shared / "golden/cicada_ctp7_vectors.npz") as vectors:
        images = np.ascontiguousarray(vectors["region_et"], np.int16)
        np.testing.assert_array_equal(run_emulator(project, images).score_word, vectors["score_word"])
    dimmed = np.random.default_rng(2).integers(0, 1024, (2000, 252)) >> np.arange(2000)[:, None] % 10
    assert_exact(project, dimmed.astype(np.int16))


def scaled_network():
    """The small network with a scale before hls4ml's layers and one directly behind a dense layer."""
    network, rng = autoencoder(), np.random.default_rng(9)

    def scale(name, source, n, kind, result):
        bias = FixedType(9, 5, True, "RND", "SAT_SYM")
        values = rng.integers(-256, 256, n)
        return Scale(name, source, rng.integers(kind.min_int, kind.max_int, n), kind, values, bias, result)

    operations = []
    for operation in network.operations:
        if operation.name == "network_input":
            wide = FixedType(20, 12, True, "RND_CONV", "SAT")
            operations.append(scale("words_scaled", "scaled", 6, FixedType(7, 2), wide))
            operation = dataclasses.replace(operation, input="words_scaled")
        if operation.name == "embedding":
            narrow = FixedType(12, 7, True, "RND", "SAT")
            operations.append(scale("normalised", "encoded", 4, FixedType(10, -3), narrow))
            operation = dataclasses.replace(operation, input="normalised")
        operations.append(operation)
    return dataclasses.replace(network, operations=tuple(operations))


@pytest.mark.parametrize("strategy", EACH)
def test_scales_inside_and_outside_of_hls4ml_are_exact(compiler, tmp_path, strategy):
    network = scaled_network()
    project = write(tmp_path / "hls", strategy, network)
    assert [o.name for o in project.core.operations if isinstance(o, Scale)] == ["normalised"]
    compile_emulator(project)
    words = any_words(network, 4000)
    assert len(np.unique(evaluate(network, words).score_word)) > 500
    assert_exact(project, words)


def test_another_scale_in_the_code_is_seen(tmp_path):
    network = scaled_network()
    project = write(tmp_path / "hls", "latency", network)
    array = next((project.folder / "firmware/weights").glob("s*.h"))
    operation = network.operation("normalised")
    old, new = (
        f"{value * 2.0**-13:.20g}" for value in (int(operation.scale[1]), int(operation.scale[1]) + 1)
    )
    text = array.read_text()
    assert any(float(v) == float(old) for v in re.findall(r"-?[\d.]+(?:e-?\d+)?", text))
    array.write_text(re.sub(r"\{(\S+), (\S+),", rf"{{\1, {new},", text))
    with pytest.raises(UserError, match=r"other constants s.* for 'normalised'"):
        check_core(project.core, project.folder, project.core_name)


@pytest.mark.slow
def test_every_tensor_is_that_of_the_reference(compiler, small_project):
    compile_emulator(small_project, trace=True)
    words = any_words(small_project.network, 400)
    tensors = trace_emulator(small_project, words)
    for name, values in evaluate(small_project.network, words).tensors.items():
        np.testing.assert_array_equal(tensors[name], values, err_msg=name)


@pytest.mark.slow
def test_the_vendor_test_bench_passes(compiler, small_project):
    bench = compile_test_bench(small_project)
    result = subprocess.run([bench], cwd=small_project.folder, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "INFO: 256 events, 0 mismatches\n")


def test_the_sources_are_cpp11(compiler, small_project):
    flags = ["-std=c++11", "-fsyntax-only", "-w", *small_project.include_flags]
    command = ["g++", *flags, f"firmware/{small_project.name}.cpp", small_project.core_source]
    subprocess.run(command, cwd=small_project.folder, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", OTHERS)
def test_the_released_network_is_exact(compiler, tmp_path, strategy):
    network = find_model("axo_v3").network
    project = write(tmp_path / "hls", strategy, network)
    compile_emulator(project)
    recorded = [read_events(sample_path(name)).words for name in sample_names()]
    assert_exact(project, np.concatenate([*recorded, any_words(network, 8000)]))


@pytest.mark.slow
@settings(
    max_examples=2,
    phases=[Phase.generate],  # shrinking would compile for minutes
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.parametrize(
    ("strategy", "kind"),
    [("resource", encoder_decoders), ("distributed_arithmetic", production_networks)],
)
@given(data=st.data())
def test_random_networks_are_exact(strategy, kind, data, compiler, tmp_path_factory):
    network = data.draw(kind())
    backend = data.draw(st.sampled_from(["vitis", "vivado"]))
    try:
        project = write(tmp_path_factory.mktemp("random") / "hls", strategy, network, backend)
    except UserError as error:
        assert strategy == "distributed_arithmetic" and "sums exactly" in str(error)
        return
    compile_emulator(project)
    assert_exact(project, data.draw(words_for(network, max_events=400)))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_project_records_its_strategy(tmp_path, strategy):
    project = write(tmp_path / "hls", strategy)
    manifest = json.loads((project.folder / "axo_hls.json").read_text())
    assert manifest["config"]["strategy"] == strategy
    assert ("da4ml" in manifest) == (strategy == "distributed_arithmetic")
    assert read_project(project.folder, project.network).config.strategy == strategy
    weights = sorted(path.name for path in (project.folder / "firmware/weights").glob("*.h"))
    assert weights == ([] if strategy == "distributed_arithmetic" else ["b2.h", "b4.h", "w2.h", "w4.h"])


@pytest.mark.parametrize(
    ("strategy", "file", "old", "new", "message"),
    [
        ("resource", "parameters.h", "DenseResource_rf_leq_nin", "DenseLatency", "a plain product by"),
        ("resource", "parameters.h", "reuse_factor = 1;", "reuse_factor = 2;", "'encoded' with"),
        ("resource", "weights/w2.h", r"= \{(\S+), (\S+),", r"= {\2, \1,", "other constants w2"),
        ("distributed_arithmetic", "nnet_utils/nnet_code_gen.h", r"model_out\[0\] = .*;", "model_out[0] = 0;",
         "other constants dense_da_2 for 'encoded'"),
        ("distributed_arithmetic", "nnet_utils/nnet_code_gen.h", r"model_out\[3\] = .*\n", "\n",
         "other constants dense_da_2"),
        ("distributed_arithmetic", "nnet_utils/nnet_code_gen.h", r"(v0 = model_inp\[)0", r"\g<1>1",
         "other constants dense_da_2"),
        ("distributed_arithmetic", "nnet_utils/nnet_code_gen.h", r"(out\[0\] = ap_fixed)<\d+,", r"\1<9,",
         "does not hold every value, not exact sums for 'encoded'"),
        ("distributed_arithmetic", "nnet_utils/nnet_code_gen.h", r" \+ (v|bit)", r" * \1", "not exact sums"),
        ("distributed_arithmetic", "defines.h", r"(ap_fixed<)\d+(,14\S* layer2_t)", r"\g<1>19\2", "result"),
        ("distributed_arithmetic", "small_network.cpp", "axo_small_.*::dense_da_2", "nnet::dense", "layers"),
    ],
)  # fmt: skip
def test_cpp_that_is_not_the_network_is_refused(tmp_path, strategy, file, old, new, message):
    project = write(tmp_path / "hls", strategy)
    path = project.folder / "firmware" / file
    text = path.read_text()
    damaged = re.sub(old, new, text, count=1)
    assert damaged != text
    path.write_text(damaged)
    with pytest.raises(UserError, match=message):
        check_core(project.core, project.folder, project.core_name, strategy)


@pytest.mark.parametrize("strategy", OTHERS)
def test_cpp_of_another_strategy_is_refused(tmp_path, strategy):
    project = write(tmp_path / "hls", strategy)
    with pytest.raises(UserError, match="this hls4ml version cannot express the network"):
        check_core(project.core, project.folder, project.core_name, "latency")


FUNCTION = """\
template <typename inp_t, typename out_t>
void f(inp_t model_inp[2], out_t model_out[3]) { // ap_fixed<4,3> -> ap_fixed<6,5>
    #pragma HLS INLINE

    ap_fixed<4,3> v0 = model_inp[0]; // 0.0
    ap_fixed<4,3> v1 = model_inp[1]; // 0.0
    ap_fixed<6,5> v2 = v0 - bit_shift<1>(v1); // 1.0
    ap_fixed<7,5> v3 = v2 + ap_ufixed<1,-1>(0.25); // 2.0

    model_out[0] = ap_fixed<6,6>(-bit_shift<1>(v2));
    model_out[1] = ap_fixed<7,5>(v3);
    model_out[2] = 0;
}
"""


def test_sums_and_shifts_are_read_as_a_matrix_and_biases():
    rows = read_unrolled(FUNCTION, "f", FixedType(4, 3), (2, 3))
    assert rows == [[-2, 1, 0], [4, -2, 0], [0, Fraction(1, 4), 0]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ap_fixed<6,5> v2", "ap_fixed<5,5> v2"),  # the last bit is lost
        ("ap_fixed<6,5> v2", "ap_fixed<5,4> v2"),  # -4 - 2 * 3.5 is out of range
        ("ap_fixed<6,5> v2", "ap_ufixed<6,5> v2"),  # so is anything negative
        ("ap_ufixed<1,-1>(0.25)", "ap_ufixed<1,0>(0.25)"),
        ("ap_fixed<6,6>(", "ap_fixed<6,7>("),
        ("v0 - bit", "v0 / bit"),
        ("v0 - bit", "v7 - bit"),
        ("ap_fixed<7,5>(v3)", "v3"),
        ("// 1.0\n", "// 1.0\n    v2 += v1;\n"),
    ],
)
def test_a_line_that_rounds_wraps_or_is_unknown_is_refused(old, new):
    assert old in FUNCTION
    with pytest.raises(ValueError, match=r"v\d|0\.25"):
        read_unrolled(FUNCTION.replace(old, new), "f", FixedType(4, 3), (2, 3))


@pytest.mark.parametrize("accum", [FixedType(21, 15), FixedType(21, 14, True, "TRN", "SAT")])
def test_an_accumulator_that_does_not_sum_exactly_is_refused_with_the_way_out(tmp_path, accum):
    network = autoencoder()
    operations = tuple(
        dataclasses.replace(op, accum_type=accum) if isinstance(op, Dense) and op.name == "decoder" else op
        for op in network.operations
    )
    network = dataclasses.replace(network, operations=operations)
    with pytest.raises(UserError, match=r"dense layer 'decoder' rounds or .*; use latency or resource$"):
        write(tmp_path / "hls", "distributed_arithmetic", network)
    assert not list(tmp_path.iterdir())
    write(tmp_path / "hls", "resource", network)


def test_a_missing_da4ml_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "da4ml", None)
    with pytest.raises(UserError, match=r"da4ml is not installed; pip install 'axo\[firmware\]'"):
        write(tmp_path / "hls", "distributed_arithmetic")
    write(tmp_path / "hls", "resource")


@pytest.mark.parametrize("strategy", ["resourse", "resource_unrolled", "Latency", "compressed", ""])
def test_an_unknown_strategy_is_refused(strategy):
    said = f"strategy '{strategy}' is none of latency, resource, distributed_arithmetic"
    for refused in (lambda: HlsConfig(strategy=strategy), lambda: FirmwareConfig(hls_strategy=strategy)):
        with pytest.raises(UserError, match=said):
            refused()


def test_the_key_is_read_from_yaml(tmp_path):
    path = tmp_path / "firmware.yaml"
    path.write_text("hls_strategy: resource\n")
    assert read_firmware_config(path).hls_strategy == "resource"
    assert read_firmware_config().hls_strategy == FirmwareConfig().hls_strategy == "latency"


def test_a_misspelt_key_value_is_one_clear_line(tmp_path, capsys):
    write_network(tmp_path / "small.json", autoencoder())
    (tmp_path / "mine.yaml").write_text("hls_strategy: resourse\n")
    arguments = [str(tmp_path / "small.json"), "--config", str(tmp_path / "mine.yaml")]
    assert cli.main(["firmware", *arguments, "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "mine.yaml: hls_strategy 'resourse' is none of latency, resource, " in said
    assert said.endswith("; did you mean 'resource'?\n") and said.count("\n") == 1
