"""The traced program against the reference, and what is written from it."""

import itertools
import json
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.firmware.rtl.trace import check_trace, trace_network
from axo.firmware.rtl.write import RtlConfig, write_rtl
from axo.firmware.stimuli import extreme_words, random_words
from axo.layout import find_layout
from axo.layout.checks import clear_absent
from axo.network import (
    Dense,
    Dot,
    FixedType,
    Linear,
    Relu,
    Scale,
    Shift,
    Subtract,
    SumOfSquares,
    analyse,
    evaluate,
    read_network,
)
from axo.network.types import OVERFLOWS, ROUNDINGS
from tests.firmware.rtl_networks import lifted, trigger_network, word_network


def every_word(network):
    """All combinations of the words of a small network, (n, n_words) int16."""
    ranges = [range(word.min_int, word.max_int + 1) for word in network.words]
    return np.array(list(itertools.product(*ranges)), np.int16)


def require_exact(network, words=None):
    """The traced program equals the reference on every word there is (or on those given)."""
    words = every_word(network) if words is None else words
    assert check_trace(network, trace_network(network), words) == len(words)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("signed", [True, False])
def test_casts_are_exact_on_every_word(rounding, overflow, signed):
    """8-bit words, read as having 4 fraction bits, cast to types that round, overflow, or both."""
    for width, integer, word_signed in itertools.product((1, 3, 6), (-1, 2, 3, 5, 9), (True, False)):
        kind = FixedType(width, integer, signed, rounding, overflow)
        fine = FixedType(14, 10)
        network = word_network(
            Linear("fine", "words", fine),
            Shift("scaled", "fine", np.array([4])),
            Linear("cast", "scaled", kind),
            lifted("score", "cast", kind),
            signed=word_signed,
        )
        if network.score_type.width > 1 or signed:
            try:
                require_exact(network)
            except UserError as error:
                assert "there is no RTL" in str(error)  # the type keeps nothing of these words
                assert len(set(evaluate(network, every_word(network)).score_word)) == 1


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_scale_is_exact(data):
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    rounding, overflow = data.draw(st.sampled_from(ROUNDINGS)), data.draw(st.sampled_from(OVERFLOWS))
    kind = FixedType(data.draw(st.integers(2, 9)), data.draw(st.integers(1, 7)), True, rounding, overflow)
    scale, bias = FixedType(6, data.draw(st.integers(-2, 5))), FixedType(7, data.draw(st.integers(-2, 6)))
    network = word_network(
        Scale("scaled", "words", generator.integers(-32, 32, 1), scale, np.array([-37]), bias, kind),
        lifted("score", "scaled", kind),
    )
    if len(set(evaluate(network, every_word(network)).score_word)) > 1:
        require_exact(network)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_relu_is_exact(data):
    rounding, overflow = data.draw(st.sampled_from(ROUNDINGS)), data.draw(st.sampled_from(OVERFLOWS))
    kind = FixedType(data.draw(st.integers(2, 7)), data.draw(st.integers(1, 7)), False, rounding, overflow)
    shift = data.draw(st.integers(-2, 6))
    network = word_network(
        Linear("fine", "words", FixedType(18, 12)),
        Shift("scaled", "fine", np.array([shift])),
        Relu("score", "scaled", kind),
    )
    if len(set(evaluate(network, every_word(network)).score_word)) > 1:
        require_exact(network)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_dense_is_exact_for_every_accumulator(data):
    """Wrapping, saturating and truncating accumulators; products are cast one by one."""
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    overflow, rounding = data.draw(st.sampled_from(OVERFLOWS)), data.draw(st.sampled_from(ROUNDINGS))
    width = data.draw(st.integers(4, 12))
    accum = FixedType(width, width - data.draw(st.integers(0, 3)), True, rounding, overflow)
    weight, bias = FixedType(4, 2), FixedType(5, 3)
    dense = Dense("sum", "words", generator.integers(-8, 8, (3, 1)), weight, np.array([3]), bias, accum)
    network = word_network(dense, lifted("score", "sum", accum), width=4, n_words=3)
    if len(set(evaluate(network, every_word(network)).score_word)) > 1:
        require_exact(network)


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("fraction", [1, 3, 6])
def test_sums_of_squares_and_products_are_exact(overflow, fraction):
    """Products are truncated one by one before the sum, which may wrap or saturate on the way."""
    product = FixedType(9, 9 - fraction, True, "TRN", overflow)
    total = FixedType(9, 9 - fraction, True, "TRN", overflow)
    squares = SumOfSquares("sum", "x", product, total)
    dot = Dot("sum", "x", product, total, "y")
    for operation in (squares, dot):
        network = word_network(
            Linear("x", "words", FixedType(6, 4)),
            Subtract("y", "x", "words", FixedType(6, 5)),
            operation,
            lifted("score", "sum", total),
            width=5,
            n_words=2,
        )
        require_exact(network)


def test_layers_are_exact_on_random_and_extreme_words():
    generator = np.random.default_rng(5)
    for seed in range(5):
        network = trigger_network(seed)
        words = [random_words(network, 2000, generator), extreme_words(network, 2000, generator)]
        require_exact(network, np.concatenate(words))


def test_a_mismatch_names_its_event():
    first, second = trigger_network(1), trigger_network(2)
    words = random_words(first, 50, np.random.default_rng(1))
    with pytest.raises(
        UserError, match=r"differs from the reference in \d+ of 50 events; event \d+: words \["
    ):
        check_trace(first, trace_network(second), words)


def test_the_design_is_written_as_a_whole_and_the_same_each_time(tmp_path):
    network = trigger_network()
    config = RtlConfig(stages=4, clock_mhz=160)
    design = write_rtl(network, tmp_path / "rtl", config)
    texts = {file.name: file.read_text() for file in design.files}
    again = write_rtl(network, tmp_path / "rtl", config)
    assert {file.name: file.read_text() for file in again.files} == texts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rtl"]
    assert {path.name for path in (tmp_path / "rtl").iterdir()} == {*texts, "design.json"}
    # Three registers between four stages, and the output registers.
    assert design.latency_cycles == 4
    assert design.latency_ns == pytest.approx(25)
    assert design.n_thresholds == len(network.thresholds)
    document = json.loads((tmp_path / "rtl" / "design.json").read_text())
    assert document["latency_cycles"] == 4 and document["files"] == [file.name for file in design.files]


def test_words_of_no_width_are_on_no_wire(tmp_path):
    network = trigger_network()
    design = write_rtl(network, tmp_path / "rtl", RtlConfig(stages=1))
    by_name = {word.name: word for word in design.words}
    assert by_name["MET_eta"].width == 0
    assert design.input_bits == sum(word.width for word in network.words)
    # Muon 1: eta in bits 23-31 of the second 64-bit object.
    assert (by_name["MU1_eta"].port, by_name["MU1_eta"].port_offset) == ("mu", 64 + 23)


def test_words_of_no_known_meaning_have_a_trigger_top_too(tmp_path):
    network = word_network(Linear("score", "words", FixedType(7, 7, False)))
    design = write_rtl(network, tmp_path / "rtl", RtlConfig(stages=1))
    assert design.top == "plain_trigger" and [(p.name, p.width) for p in design.ports] == [("w0", 8)]
    alone = write_rtl(network, tmp_path / "rtl", RtlConfig(trigger=False, stages=1))
    assert alone.top == "plain_core" and not alone.ports


def test_values_coarser_than_the_range_saturate():
    """Multiples of 2 in one-bit and wider types: no bit of theirs is in the place of the sign."""
    product = FixedType(12, 10)
    for weight, width, integer in itertools.product((-8, -2, 1, 4, 7), (1, 3), range(-2, 4)):
        kind = FixedType(width, integer, True, "TRN", "SAT")
        plain = FixedType(4, 2)
        dense = Dense("product", "words", np.array([[weight]]), plain, np.array([0]), plain, product)
        require_exact(
            word_network(dense, Linear("cast", "product", kind), lifted("score", "cast", kind), width=4)
        )


def test_an_accumulator_that_wraps_is_exact_and_rounded_behind():
    """As production networks have them; what follows rounds, so half a unit might have gone in before."""
    kind = FixedType(4, 4)
    rounded = FixedType(4, 5, True, "RND_CONV", "SAT")
    for seed in range(5):
        weight = np.random.default_rng(seed).integers(-8, 8, (3, 1))
        accum = FixedType(5, 5)
        dense = Dense("sum", "words", weight, kind, np.array([5]), kind, accum)
        network = word_network(
            dense, Linear("cast", "sum", rounded), lifted("score", "cast", rounded), width=4, n_words=3
        )
        assert "sum" in {overflow.operation for overflow in analyse(network).overflows}
        require_exact(network)


def test_gelato_is_what_its_published_verilog_gives(shared):
    """Its accumulators drop bits of every product and wrap; the score is the squared length of z."""
    network = read_network(shared / "golden/gelato_l1.json")
    with np.load(shared / "golden/gelato_l1_vectors.npz") as vectors:
        words, z = vectors["x"], vectors["z_word"].astype(np.int64)
    program = trace_network(network)
    np.testing.assert_array_equal(program.predict(words.astype(float))[:, 0] * 2.0**16, (z * z).sum(axis=1))
    wild = np.stack(
        [np.random.default_rng(1).integers(w.min_int, w.max_int + 1, 4000) for w in network.words], axis=1
    )
    assert check_trace(network, program, wild.astype(np.int16)) == 4000


def test_a_weight_beyond_the_tracers_reach_is_refused():
    kind = FixedType(30, 30)
    dense = Dense("sum", "words", np.array([[2**25 + 1]]), kind, np.array([0]), kind, FixedType(40, 40))
    network = word_network(dense, Linear("score", "sum", FixedType(20, 20, False)), width=4)
    with pytest.raises(UserError, match=r"'sum' \(dense\): .*33554433 needs more than 24 bits"):
        trace_network(network)


@pytest.mark.parametrize(
    "change",
    [{"language": "chisel"}, {"stages": 0}, {"clock_mhz": 0.0}, {"n_thresholds": 33}],
)
def test_a_bad_configuration_is_named(change):
    with pytest.raises(UserError, match=next(iter(change))):
        RtlConfig(**change)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        write_rtl(trigger_network(), tmp_path / "file" / "rtl", RtlConfig(stages=1))


def test_absent_objects_are_zero():
    words = np.arange(1, 58, dtype=np.int16)[None].repeat(2, axis=0)
    words[1, 3] = 0  # EG0_pt
    zeroed = clear_absent(find_layout("cms_axol1tl"), words)
    assert (zeroed[0] == words[0]).all()
    assert zeroed[1, 3:6].tolist() == [0, 0, 0] and (zeroed[1, 6:] == words[1, 6:]).all()


VHDL_BENCH = """
library ieee; use ieee.std_logic_1164.all; use ieee.numeric_std.all;
use std.textio.all; use ieee.std_logic_textio.all;
entity bench is end entity;
architecture sim of bench is
    signal clk, rst, valid_in, valid_out : std_logic := '0';
    signal words : std_logic_vector({words} downto 0);
    signal score : std_logic_vector({score} downto 0);
begin
    dut : entity work.{top} port map (clk, rst, valid_in, words, valid_out, score, open, open);
    process
        file source : text open read_mode is "words.txt";
        file sink : text open write_mode is "scores.txt";
        variable text_line : line;
        variable value : std_logic_vector({words} downto 0);
        variable left : integer := {latency} + 2;
    begin
        rst <= '1'; clk <= '0'; wait for 1 ns; clk <= '1'; wait for 1 ns; rst <= '0';
        while left > 0 loop
            if endfile(source) then
                valid_in <= '0'; left := left - 1;
            else
                readline(source, text_line); read(text_line, value);
                words <= value; valid_in <= '1';
            end if;
            clk <= '0'; wait for 1 ns; clk <= '1'; wait for 1 ns;
            if valid_out = '1' then
                write(text_line, to_integer(unsigned(score))); writeline(sink, text_line);
            end if;
        end loop;
        wait;
    end process;
end architecture;
"""


def test_vhdl_is_analysed_and_simulated_exactly(tmp_path):
    if shutil.which("ghdl") is None:
        pytest.skip("ghdl is not installed: the VHDL is not analysed here")
    network = trigger_network()
    design = write_rtl(network, tmp_path / "rtl", RtlConfig(stages=3, language="vhdl"))
    words = random_words(network, 300, np.random.default_rng(2))
    packed = [
        "".join(
            f"{int(w) & ((1 << p.width) - 1):0{p.width}b}"
            for w, p in reversed(list(zip(event, design.words, strict=True)))
            if p.width
        )
        for event in words
    ]
    (tmp_path / "words.txt").write_text("\n".join(packed) + "\n")
    (tmp_path / "bench.vhd").write_text(
        VHDL_BENCH.format(
            top=design.core_top,
            words=design.input_bits - 1,
            score=design.score_bits - 1,
            latency=design.latency_cycles,
        )
    )
    files = [str(file) for file in design.files] + ["bench.vhd"]
    for command in (
        ["ghdl", "-i", "--std=08", *files],
        ["ghdl", "-m", "--std=08", design.trigger_top],
        ["ghdl", "-m", "--std=08", "bench"],
        ["ghdl", "-r", "--std=08", "bench", "--ieee-asserts=disable-at-0"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
    scores = np.loadtxt(tmp_path / "scores.txt", dtype=int)
    np.testing.assert_array_equal(scores, evaluate(network, words).score_word)
