"""Importing hls4ml firmware, compared with hls4ml's own compiled C++ and with CMS's v3."""

import re
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest

import axo.layout
from axo.cli import main
from axo.errors import UserError
from axo.files import read_json
from axo.interchange.hls4ml import import_hls
from axo.network import HALF_KEPT, WHOLE_GEV, FixedType, digest, evaluate, read_network
from tests.cms_words import CMS_WORDS, PT_COLUMNS
from tests.events.conftest import hardware_words

SCORE_TYPE = FixedType(18, 14, False)


def some_words(n, seed=0):
    """Half plausible, half any words that hardware can carry, and the empty event."""
    rng = np.random.default_rng(seed)
    low = np.array([word.min_int for word in CMS_WORDS])
    high = np.array([word.max_int for word in CMS_WORDS])
    wild = rng.integers(low, high + 1, (n // 2, 57)).astype(np.int16)
    return np.concatenate([hardware_words(rng, n // 2), wild, np.zeros((1, 57), np.int16)])


# The style of CMS's v1 to v4, written here from the golden description.


def cpp_type(entry):
    kind = "ap_fixed" if entry["signed"] else "ap_ufixed"
    modes = {"TRN": "AP_TRN", "RND_CONV": "AP_RND_CONV", "WRAP": "AP_WRAP", "SAT": "AP_SAT"}
    return (
        f"{kind}<{entry['width']},{entry['integer']}, {modes[entry['rounding']]},{modes[entry['overflow']]}>"
    )


def values(integers, kind):
    return ", ".join(f"{v / 2.0 ** (kind['width'] - kind['integer']):.9g}" for v in integers)


def write_cms_folder(folder: Path, golden, weights="weights.h"):
    """A folder NN with defines.h, parameters.h, weights and top function, and scales.h beside it.

    `weights` chooses where the arrays are: weights.h, weights.cpp, or one header or text file each.
    """
    nn = folder / "NN"
    (nn / "weights").mkdir(parents=True)
    types = {"input_t": golden["input_type"], "unscaled_t": golden["unscaled_type"]}
    types["resultsq_t"] = golden["score"]["square_type"]
    sizes, arrays, configs, calls, declared = {"N_INPUT_1_1": 57}, {}, [], [], []
    variable, kind, size = "input_3", "input_t", "N_INPUT_1_1"
    for i, layer in enumerate(golden["layers"], start=2):
        last = i == len(golden["layers"]) + 1
        result = "result_t" if last else f"layer{i}_t"
        output = "layer_out" if last else f"layer{i}_out"
        if layer["op"] == "dense":
            types |= {f"accum{i}_t": layer["accum_type"], f"weight{i}_t": layer["weight_type"]}
            types |= {f"bias{i}_t": layer["bias_type"], result: layer["accum_type"]}
            flat = np.array(layer["weight"]).ravel().tolist()
            arrays[f"w{i}"] = (f"weight{i}_t", values(flat, layer["weight_type"]), len(flat))
            arrays[f"b{i}"] = (f"bias{i}_t", values(layer["bias"], layer["bias_type"]), len(layer["bias"]))
            size = f"N_LAYER_{i}"
            sizes[size] = layer["n_out"]
            configs.append(
                f"// dense_{i}\nstruct config{i} : nnet::dense_config {{\n"
                f"    static const unsigned n_in = {layer['n_in']};\n"
                f"    static const unsigned n_out = {layer['n_out']};\n"
                "    static const unsigned io_type = nnet::io_parallel;\n"
                "    static const unsigned strategy = nnet::latency;\n"
                f"    typedef accum{i}_t accum_t;\n    typedef bias{i}_t bias_t;\n"
                f"    typedef weight{i}_t weight_t;\n"
                "    template<class x_T, class y_T>\n    using product = nnet::product::mult<x_T, y_T>;\n};\n"
            )
            call = f"nnet::dense<{kind}, {result}, config{i}>({variable}, {output}, w{i}, b{i}); // dense_{i}"
        else:
            types[result] = layer["output_type"]
            configs.append(f"struct {layer['op']}_config{i} : nnet::activ_config {{\n}};\n")
            config = f"{layer['op']}_config{i}"
            call = f"nnet::{layer['op']}<{kind}, {result}, {config}>({variable}, {output}); // act_{i}"
        if not last:
            declared.append(f"    {result} {output}[{size}];")
        calls.append(f"    {call}")
        variable, kind = output, result
    space = "namespace hls4ml_axol1tl {\n"
    defines = [f"static const int {name} = {n}; // a size" for name, n in sizes.items()]
    defines += [f"typedef {cpp_type(entry)} {name};" for name, entry in types.items()]
    text = {name: f"{kind} {name}[{n}] = {{{body}}};" for name, (kind, body, n) in arrays.items()}
    includes = '#include "defines.h"\n#include "nnet_utils/nnet_dense.h"\n// #include "weights/old.h"\n'
    if weights == "weights.h":
        (nn / "weights.h").write_text(space + "\n".join(text.values()) + "\n}\n")
        includes += '#include "weights.h"\n'
    elif weights == "weights.cpp":
        (nn / "weights.cpp").write_text(
            '#include "defines.h"\n' + "\n".join(f"const {t}" for t in text.values())
        )
        defines += [f"extern {kind} {name}[{n}];" for name, (kind, _, n) in arrays.items()]
    elif weights == "headers":
        for name, body in text.items():
            (nn / "weights" / f"{name}.h").write_text(f"#ifndef W\n{body}\n#endif\n")
            includes += f'#include "weights/{name}.h"\n'
    else:
        for name, (_, body, _) in arrays.items():
            (nn / "weights" / f"{name}.txt").write_text(body.replace(" ", ""))
    (nn / "defines.h").write_text(space + "\n".join(defines) + "\n}\n")
    (nn / "parameters.h").write_text(includes + "\n".join(configs))
    body = "\n".join([*declared, "    #pragma HLS ARRAY_PARTITION variable=x complete dim=0", *calls])
    (nn / "model.cpp").write_text(
        f'#include "parameters.h"\n/* a comment with nnet::tanh(x);\n*/\n{space}void model(\n'
        f"    input_t input_3[N_INPUT_1_1],\n    result_t layer_out[{size}]\n) {{\n{body}\n}}\n}}\n"
    )
    offsets = values(golden["offset"], golden["offset_type"])
    shifts = ", ".join(f"{s}." for s in golden["shift"])
    (folder / "scales.h").write_text(
        f'#include "NN/defines.h"\n{space}typedef ap_fixed<4,4> ad_shift_t;\n'
        f"typedef {cpp_type(golden['offset_type'])} ad_offset_t;\n"
        f"static const ad_shift_t ad_shift[N_INPUT_1_1] = {{{shifts}}};\n"
        f"static const ad_offset_t ad_offsets[57] = {{{offsets}}};\n}}\n"
    )
    return nn


@pytest.fixture
def golden(shared):
    return read_json(shared / "golden" / "axol1tl_v3.json")


@pytest.mark.parametrize("weights", ["weights.h", "weights.cpp", "headers", "text"])
def test_v3_as_a_folder_gives_the_score_of_cms(tmp_path, golden, golden_vectors, golden_network, weights):
    folder = write_cms_folder(tmp_path / "AXOL1TL_v3", golden, weights)
    out = tmp_path / "v3.json"
    convention = ["--pt-convention", "whole-gev"]
    assert main(["import", str(folder), "--output", str(out), *convention]) == 0
    network = read_network(out)
    words = golden_vectors["x"].astype(np.int16)
    words[:, PT_COLUMNS] *= 2
    found = evaluate(network, words[:: 1 if weights == "weights.h" else 50])
    step = slice(None, None, 1 if weights == "weights.h" else 50)
    np.testing.assert_array_equal(found.score_word, golden_vectors["score_word"][step])
    np.testing.assert_array_equal(found.embedding_word, golden_vectors["mu_word"][step])
    ours = [operation.op for operation in network.operations]
    assert ours == [operation.op for operation in golden_network.operations]


def test_the_half_gev_is_kept_unless_asked(tmp_path, golden, shared, production_network):
    folder = write_cms_folder(tmp_path / "AXOL1TL_v3", golden)
    network = import_hls(folder)
    assert network.pt_convention == HALF_KEPT
    with np.load(shared / "golden/axol1tl_v3_two_conventions.npz") as vectors:
        words, expected = vectors["x"][::20], vectors["score_word_half_pt"][::20]
    np.testing.assert_array_equal(evaluate(network, words).score_word, expected)
    with pytest.raises(UserError, match="'whole GeV' needs scales"):
        import_hls(folder, scale_inputs=False, pt_convention=WHOLE_GEV)
    defines = folder / "defines.h"
    defines.write_text(
        re.sub(r"typedef \S+ (\S+ )?unscaled_t", "typedef ap_int<18> unscaled_t", defines.read_text())
    )
    with pytest.raises(UserError, match="no bit for the half GeV"):
        import_hls(folder)


def test_the_layout_of_the_words_can_be_chosen(tmp_path, golden, capsys):
    folder = write_cms_folder(tmp_path / "AXOL1TL_v3", golden)
    text = (Path(axo.layout.__file__).parent / "cms_axol1tl.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("name: cms_axol1tl", "name: mine"))
    out = tmp_path / "out.json"
    command = ["import", str(folder), "--output", str(out), "--layout"]
    assert main([*command, str(tmp_path / "mine.yaml")]) == 0
    assert read_network(out).layout.name == "mine"
    capsys.readouterr()
    assert main([*command, "atlas_gelato"]) == 2
    assert "reads 57 numbers, but layout 'atlas_gelato' has 44 words" in capsys.readouterr().err


def test_constants_are_what_the_constructor_of_ap_fixed_makes_of_them(tmp_path, golden):
    """4.5 in ap_fixed<10,10> is 4, -0.3 in steps of 1/8 is -0.375: truncated towards minus infinity."""
    folder = write_cms_folder(tmp_path, golden)
    scales = tmp_path / "scales.h"
    text = re.sub(r"typedef \S+ \S+ ad_offset_t", "typedef ap_fixed<10,10> ad_offset_t", scales.read_text())
    scales.write_text(re.sub(r"(ad_offsets\[57\] = \{)[^,]*,[^,]*,", r"\g<1>4.5, -0.25,", text))
    weights = folder / "weights.h"
    weights.write_text(re.sub(r"(w2\[\d+\] = \{)[^,]*,[^,]*,", r"\g<1>-0.3, 0.3,", weights.read_text()))
    network = import_hls(folder)
    assert network.operation("centred").offset[:2].tolist() == [4, -1]
    assert network.operation("dense_2").weight.ravel()[:2].tolist() == [-3, 2]


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("model.cpp", r"nnet::relu<", "nnet::tanh<", r"model.cpp:\d+: layer act_3: nnet::tanh has no exact"),
        (
            "model.cpp",
            r"    nnet::linear",
            "    helper(layer6_out);\n    nnet::linear",
            r":\d+: model 'helper",
        ),
        ("model.cpp", r"w2, b2\)", "w2)", r"model.cpp:\d+: layer dense_2: nnet::dense with other arguments"),
        (
            "model.cpp",
            r"\(layer2_out, layer3_out",
            "(layer4_out, layer3_out",
            "layer act_3: reads layer4_out",
        ),
        ("model.cpp", r"layer3_t layer3_out\[N_LAYER_2\]", "layer3_t layer3_out[N_X]", "the size N_X"),
        ("model.cpp", r"relu<layer2_t", "relu<layer4_t", "layer act_3: calls layer2_out a layer4_t"),
        (
            "model.cpp",
            r"result_t layer_out\[\w+\]",
            "result_t a[8],\n result_t layer_out[8]",
            "one input and one",
        ),
        (
            "model.cpp",
            r"input_3\[N_INPUT_1_1\]",
            "input_3[56]",
            r"reads 56 numbers, but layout .cms_axol1tl. has 57 words",
        ),
        (
            "parameters.h",
            r"nnet::latency",
            "nnet::resource",
            "layer dense_2: strategy = nnet::resource is not",
        ),
        (
            "parameters.h",
            r"product::mult",
            "product::weight_binary",
            "product = nnet::product::weight_binary",
        ),
        ("parameters.h", r"n_in = 57", "n_in = 58", "layer dense_2: n_in is 58, but the array has 57"),
        (
            "parameters.h",
            r"struct config2 ",
            "struct config99 ",
            "layer dense_2: no header defines struct config2",
        ),
        (
            "parameters.h",
            r"    typedef accum2_t accum_t;\n",
            "",
            "layer dense_2: config2 does not say accum_t",
        ),
        (
            "defines.h",
            r"typedef \S+ \S+ layer3_t",
            "typedef float layer3_t",
            "layer3_t = float: type 'float'",
        ),
        (
            "defines.h",
            r"typedef (\S+ \S+) input_t;",
            r"typedef \1 input_t; typedef ap_fixed<3,3> input_t;",
            "elsewhere",
        ),
        ("defines.h", r"typedef \S+ \S+ resultsq_t;", "", "give --score-type"),
        ("defines.h", r"typedef \S+ \S+ unscaled_t;", "", "give --unscaled-type"),
        (
            "weights.h",
            r"w2\[1824\] = \{\S+,",
            "w2[1824] = {",
            r"weights.h:2: layer dense_2: w2 has 1823 values",
        ),
        ("weights.h", r"b2\[32\] = \{\S+,", "b2[32] = {x,", "array b2 holds something that is no number"),
        ("weights.h", r" b4\[", " b44[", "layer dense_4: no values of b4"),
        ("../scales.h", r"ad_shift\[N", "ad_sift[N", "scales.h: has no array ad_shift"),
        (
            "../scales.h",
            r"ad_offsets\[57\] = \{\S+,",
            "ad_offsets[57] = {",
            "ad_offsets has 56 values, not 57",
        ),
        ("../scales.h", r"typedef ap_fixed<4,4>", "typedef ap_fixed<4,3>", "shifts are whole bits"),
    ],
)
def test_what_cannot_be_expressed_is_named(tmp_path, golden, capsys, file, old, new, fault):
    folder = write_cms_folder(tmp_path / "v3", golden)
    path = folder / file
    text, changes = re.subn(old, new, path.read_text(), count=1)
    assert changes == 1
    path.write_text(text)
    out = tmp_path / "out.json"
    assert main(["import", str(folder), "--output", str(out)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and re.search(fault, message), message
    assert not out.exists()


def test_missing_pieces_are_named(tmp_path, golden):
    folder = write_cms_folder(tmp_path / "v3", golden, "headers")
    with pytest.raises(UserError, match=r"has no defines.h"):
        import_hls(tmp_path)
    (folder.parent / "scales.h").rename(tmp_path / "moved.h")
    with pytest.raises(UserError, match=r"no scales.h here or above: give --scales FILE"):
        import_hls(folder)
    network = import_hls(folder, scales=tmp_path / "moved.h")
    assert network.operation("scaled").op == "shift"
    # A text file that the simulation would load, and that says something else than the firmware.
    text = folder / "weights" / "w2.txt"
    header = (folder / "weights" / "w2.h").read_text()
    text.write_text(re.search(r"\{(.*)\}", header)[1].replace(" ", ""))
    top = folder / "model.cpp"
    load = '#ifdef LOAD\n    nnet::load_weights_from_txt<weight2_t, 1824>(w2, "w2.txt");\n#endif\n'
    top.write_text(top.read_text().replace("    nnet::dense", load + "    nnet::dense", 1))
    assert digest(import_hls(folder, scales=tmp_path / "moved.h")) != ""
    text.write_text(text.read_text().replace("0.125", "0.25", 1))
    with pytest.raises(UserError, match=r"w2.txt: differs from array w2 in .*w2.h"):
        import_hls(folder, scales=tmp_path / "moved.h")


# Projects that hls4ml writes here, against their own compiled C++.

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler (g++)")


def write_project(folder: Path, layers, precisions, namespace=None):
    """An hls4ml project from a list of layers and a type for each, as hls4ml writes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from hls4ml.model.graph import ModelGraph

        config = {
            "Backend": "Vitis",
            "OutputDir": str(folder),
            "ProjectName": "model",
            "Part": "xcvu9p-flga2104-2-e",
            "ClockPeriod": 5,
            "IOType": "io_parallel",
            "Stamp": "test",
            "HLSConfig": {
                "Model": {
                    "Precision": "ap_fixed<16,6>",
                    "ReuseFactor": 1,
                    "Strategy": "Latency",
                    "BitExact": False,
                },
                "LayerName": {name: {"Precision": kinds} for name, kinds in precisions.items()},
            },
            "WriterConfig": {"Namespace": namespace, "WriteWeightsTxt": True, "WriteTar": False},
        }
        graph = ModelGraph.from_layer_list(config, layers, inputs=["x"], outputs=[layers[-1]["name"]])
        graph.write()
    return graph


def dense(rng, name, source, n_in, n_out):
    # Not multiples of the weights' step: the truncation of constants is compared too.
    return {
        "class_name": "Dense",
        "name": name,
        "inputs": [source],
        "n_in": n_in,
        "n_out": n_out,
        "weight_data": rng.normal(0, 0.7, (n_in, n_out)),
        "bias_data": rng.normal(0, 0.7, n_out),
    }


def activation(name, source, n, kind):
    return {"class_name": "Activation", "name": name, "inputs": [source], "activation": kind, "n_in": n}


def dense_types(result, accum, weight="ap_fixed<6,3>", bias="ap_fixed<10,7>"):
    return {"result": result, "accum": accum, "weight": weight, "bias": bias}


def encoder(rng):
    """57 - 8 - 5, with separate activations, results narrower than accumulators, and one that wraps."""
    layers = [
        {"class_name": "InputLayer", "name": "x", "input_shape": [57]},
        dense(rng, "first", "x", 57, 8),
        activation("first_relu", "first", 8, "relu"),
        dense(rng, "inner", "first_relu", 8, 5),
        activation("inner_relu", "inner", 5, "relu"),
    ]
    types = {
        "x": {"result": "ap_fixed<14,10,AP_RND_CONV,AP_SAT>"},
        "first": dense_types("ap_fixed<20,14,AP_RND,AP_SAT_SYM>", "ap_fixed<22,15>"),
        "first_relu": {"result": "ap_ufixed<10,6,AP_RND_CONV,AP_SAT>"},
        "inner": dense_types("ap_fixed<11,7>", "ap_fixed<11,7>"),
        "inner_relu": {"result": "ap_ufixed<9,5,AP_RND_CONV,AP_SAT>"},
    }
    return layers, types


def v3_style(rng):
    layers, types = encoder(rng)
    layers += [dense(rng, "mu", "inner_relu", 5, 4), activation("mu_linear", "mu", 4, "linear")]
    types["mu"] = dense_types("ap_fixed<21,14>", "ap_fixed<21,14>")
    types["mu_linear"] = {"result": "ap_fixed<10,7,AP_RND_CONV,AP_SAT>"}
    return layers, types


def v5_style(rng):
    layers, types = encoder(rng)
    layers += [
        dense(rng, "latent", "inner_relu", 5, 3),
        dense(rng, "decoder", "latent", 3, 5),
        {"class_name": "Merge", "name": "difference", "inputs": ["decoder", "inner_relu"], "op": "subtract"},
        {
            "class_name": "Dot",
            "name": "dot",
            "inputs": ["difference", "difference"],
            "op": "dot1d",
            "axes": -1,
        },
    ]
    types["latent"] = dense_types("ap_fixed<16,9>", "ap_fixed<16,9>")
    types["decoder"] = dense_types("ap_fixed<17,10>", "ap_fixed<19,11>")
    types["difference"] = {"result": "ap_fixed<18,11>"}
    types["dot"] = {"result": "ap_fixed<18,14,AP_RND_CONV,AP_SAT>", "accum": "ap_fixed<30,20>"}
    return layers, types


def outputs_of(graph, words):
    """hls4ml's compiled C++ on words, as exact float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph.compile()
        return np.asarray(graph.predict(np.ascontiguousarray(words, np.float64)), np.float64)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("style", [v3_style, v5_style])
def test_hls4ml_projects_give_what_their_compiled_code_gives(tmp_path, style):
    graph = write_project(tmp_path / "project", *style(np.random.default_rng(3)), "some_space")
    network = import_hls(tmp_path / "project", scale_inputs=False, score_type=SCORE_TYPE)
    words = some_words(4000)
    found = evaluate(network, words, chunk=len(words))
    last = network.operation("score").input
    kind = network.types[last]
    expected = outputs_of(graph, words).reshape(len(words), -1) * 2.0**kind.fraction
    assert len(np.unique(expected)) > 500
    bad = np.flatnonzero((found.tensors[last] != expected).any(axis=1))
    assert not len(bad), (
        f"event {bad[0]}: {found.tensors[last][bad[0]]} is not {expected[bad[0]]}: {words[bad[0]]}"
    )
    if style is v5_style:
        assert network.embedding == "inner_relu"
        wanted = expected[:, 0].astype(np.int64) & ((1 << 18) - 1)
    else:
        squares = expected.astype(np.int64) ** 2 >> (2 * kind.fraction - SCORE_TYPE.fraction)
        wanted = squares.sum(axis=1) & ((1 << 18) - 1)
    np.testing.assert_array_equal(found.score_word, wanted)


DRIVER = """
#include <iostream>
#include "NN/model.cpp"
#include "scales.h"
using namespace hls4ml_model;
int main() {
    int word;
    while (true) {
        input_t scaled[57];
        for (int i = 0; i < 57; i++) {
            if (!(std::cin >> word)) return 0;
            unscaled_t unscaled = i % 3 ? unscaled_t(word) : unscaled_t(HALVED);
            unscaled_t centred = unscaled - ad_offsets[i];
            input_t shifted = centred >> ad_shift[i];
            scaled[i] = shifted;
        }
        result_t result[4];
        model(scaled, result);
        resultsq_t sum = 0;
        for (int i = 0; i < 4; i++) {
            resultsq_t square = result[i] * result[i];
            sum += square;
        }
        std::cout << (sum.to_double() * 16) << "\\n";
    }
}
"""


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("convention", "halved"), [(HALF_KEPT, "word * 0.5"), (WHOLE_GEV, "word / 2")])
def test_a_whole_cms_model_gives_what_its_compiled_emulator_gives(tmp_path, convention, halved):
    """scales.h beside an hls4ml project, scaled and squared by C++ as the emulators of CMS do."""
    rng = np.random.default_rng(11)
    layers, types = v3_style(rng)
    types["x"] = {"result": "ap_fixed<8,6,AP_RND_CONV,AP_SAT>"}
    write_project(tmp_path / "project", layers, types, "hls4ml_model")
    nn = tmp_path / "NN"
    shutil.copytree(tmp_path / "project" / "firmware", nn)
    defines = nn / "defines.h"
    text = defines.read_text().replace("x_t;", "input_t;\ntypedef input_t x_t;", 1)
    extra = "typedef ap_ufixed<18,14> resultsq_t;\ntypedef ap_fixed<18,13> unscaled_t;\n"
    # Inside the namespace, as the deployed ones have it.
    position = text.rindex("}")
    defines.write_text(text[:position] + extra + text[position:])
    shifts = rng.integers(-1, 7, 57)
    offsets = rng.integers(-40, 140, 57) / 2
    (tmp_path / "scales.h").write_text(
        "namespace hls4ml_model {\ntypedef ap_fixed<5,5> ad_shift_t;\ntypedef ap_fixed<10,10> ad_offset_t;\n"
        f"const ad_shift_t ad_shift[57] = {{{', '.join(map(str, shifts))}}};\n"
        f"const ad_offset_t ad_offsets[57] = {{{', '.join(map(str, offsets))}}};\n}}\n"
    )
    (tmp_path / "driver.cpp").write_text(DRIVER.replace("HALVED", halved))
    # The weights are those of the headers, as in the firmware.
    for path in (nn / "model.cpp", *(nn / "weights").glob("*.h")):
        path.write_text(path.read_text().replace("#ifndef __SYNTHESIS__", "#ifdef LOAD_WEIGHTS_FROM_TXT"))
    include = [f"-I{tmp_path}", f"-I{nn}", f"-I{nn / 'ap_types'}"]
    command = ["g++", "-O1", "-std=c++17", "-w", *include, "driver.cpp", "-o", "driver"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    words = some_words(3000, seed=4)
    text = "\n".join(" ".join(map(str, event)) for event in words)
    done = subprocess.run(["./driver"], input=text, cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = np.array(done.stdout.split(), np.float64)
    assert len(np.unique(expected)) > 200
    network = import_hls(nn, pt_convention=convention)
    np.testing.assert_array_equal(evaluate(network, words).score_word, expected)


@needs_compiler
@pytest.mark.slow
def test_a_keras_model_converted_as_usual_gives_what_its_compiled_code_gives(tmp_path):
    """QKeras layers through hls4ml's Keras converter, whose passes merge layers and choose types."""
    pytest.importorskip("hgq", reason="hgq2 is not installed (pip install 'axo[train]')")
    from axo.models.backend import import_keras, import_qkeras

    keras, layers = import_keras(), import_qkeras()
    from qkeras.quantizers import quantized_bits, quantized_relu

    def quantised(n, name):
        return layers.QDense(
            n,
            name=name,
            kernel_quantizer=quantized_bits(6, 2, 1, alpha=1),
            bias_quantizer=quantized_bits(10, 4, 1, alpha=1),
        )

    source = keras.Input((57,))
    x = layers.QActivation(quantized_bits(14, 9, 1), name="words")(source)
    for i, n in enumerate((9, 6)):
        x = layers.QActivation(quantized_relu(12, 6), name=f"relu{i}")(quantised(n, f"dense{i}")(x))
    inner = x
    x = quantised(6, "decoder")(quantised(3, "latent")(x))
    difference = keras.layers.Subtract(name="difference")([x, inner])
    model = keras.Model(source, difference)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        for weight in layer.weights:
            if weight.path.endswith(("kernel", "bias")):
                weight.assign(rng.normal(0, 0.7, weight.shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import hls4ml

        config = hls4ml.utils.config_from_keras_model(model, granularity="name", backend="Vitis")
        graph = hls4ml.converters.convert_from_keras_model(
            model,
            hls_config=config,
            output_dir=str(tmp_path / "project"),
            backend="Vitis",
            project_name="model",
        )
        graph.write()
    network = import_hls(tmp_path / "project", "mine", scale_inputs=False, score_type=SCORE_TYPE)
    words = some_words(3000, seed=9)
    found = evaluate(network, words, chunk=len(words))
    kind = network.types["difference"]
    expected = outputs_of(graph, words) * 2.0**kind.fraction
    assert len(np.unique(expected)) > 500
    np.testing.assert_array_equal(found.tensors["difference"], expected)
