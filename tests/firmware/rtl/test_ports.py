"""The trigger top's ports from the layout: where words lie, and what comes out of the simulated top."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.firmware.rtl.ports import describe_ports, place_words
from axo.firmware.rtl.simulate import Pattern, build_simulator
from axo.firmware.rtl.write import RtlConfig, write_rtl
from axo.firmware.stimuli import extreme_words, random_words
from axo.layout import Kind, Layout, Links, Quantity, Word, bare_layout, find_layout, layout_names
from axo.layout.checks import clear_absent
from axo.network import evaluate
from tests.firmware.any_layouts import STYLES, layouts, network_on

REGIONS = Layout(
    "regions",
    "a test",
    (
        Kind(
            "REGION",
            20,
            (Quantity("et", "energy", 10, lsb=0),),
            bits=16,
            order="place",
            links=Links(7, 128, first=8),
        ),
    ),
)
"""As a calorimeter card sends them: seven regions a link, three links, the last one not full."""

TOPOLOGY = bare_layout([Word("jet0_pt", 12, False), Word("jet0_eta", 9, True), Word("MET", 14, False)])


def test_the_packed_objects_of_cms_are_those_of_the_global_trigger():
    """Jet: ET 0-10, eta 11-18, phi 19-26; muon: phi 0-9, pt 10-18, eta 23-31 (../shared/README.md)."""
    words, ports = place_words(find_layout("cms_axol1tl"), trigger=True)
    assert [(port.name, port.width) for port in ports] == [
        ("etm", 32),
        ("eg", 4 * 32),
        ("mu", 4 * 64),
        ("jet", 10 * 32),
    ]
    by_name = {word.name: (word.port, word.port_offset) for word in words}
    assert by_name["MU3_eta"] == ("mu", 3 * 64 + 23) and by_name["MU1_pt"] == ("mu", 64 + 10)
    assert by_name["JET9_phi"] == ("jet", 9 * 32 + 19) and by_name["EG2_eta"] == ("eg", 2 * 32 + 9)
    assert by_name["MET_phi"] == ("etm", 12) and by_name["MET_eta"] == (None, None)


def test_regions_come_on_a_port_a_link():
    words, ports = place_words(REGIONS, trigger=True)
    assert [(port.name, port.width) for port in ports] == [(f"region_{i}", 128) for i in range(3)]
    for region, word in enumerate(words):
        assert word.port == f"region_{region // 7}" and word.port_offset == region % 7 * 16 + 8
        assert word.present is None


def test_words_in_no_object_have_a_port_each():
    words, ports = place_words(TOPOLOGY, trigger=True)
    assert [(port.name, port.width) for port in ports] == [("jet0_pt", 12), ("jet0_eta", 9), ("met", 14)]
    assert [(word.port, word.port_offset) for word in words] == [(port.name, 0) for port in ports]


def test_no_port_has_the_name_of_another_signal():
    """VHDL sees no case; Verilog has its own words."""
    names = ["clk", "Score", "in", "signal", "Jet", "a__b", "A_B", "words"]
    _, ports = place_words(bare_layout([Word(name, 4, False) for name in names]), trigger=True)
    given = [port.name for port in ports]
    assert len({name.lower() for name in given}) == len(names)
    assert not {"clk", "score", "in", "signal", "words"} & set(given)
    assert all(re.fullmatch(r"[a-z](_?[a-z0-9])*", name) for name in given)


def test_objects_and_links_whose_names_run_together_are_told_apart():
    """Object 11 of A and object 1 at port A1; link 0 of A and the word A_0."""
    fields = (Quantity("pt", "pt", 4, lsb=0), Quantity("phi", "phi", 4, lsb=4))
    layout = Layout(
        "twins",
        "a test",
        (
            Kind("A", 12, fields, 8, "pt", links=Links(1, 8)),
            Kind("B", 2, fields, 8, "pt", port="A1"),
            Kind("A_0", 1, (Quantity("", "value", 3),)),
        ),
    )
    words, ports = place_words(layout, trigger=True)
    assert len({port.name for port in ports}) == len(ports) == 12 + 1 + 1
    assert len({word.present for word in words if word.present}) == 14


def test_the_head_of_the_top_says_what_lies_where():
    layout = find_layout("cms_axol1tl")
    assert list(describe_ports(layout, place_words(layout, trigger=True)[1])) == [
        "Objects, object 0 in the lowest bits of its port (pt in units of 0.5 GeV, eta signed):",
        "  etm: 1 x 32 bits: pt 0-11, phi 12-19",
        "  eg: 4 x 32 bits: pt 0-8, eta 9-16, phi 17-24",
        "  mu: 4 x 64 bits: phi 0-9, pt 10-18, eta 23-31",
        "  jet: 10 x 32 bits: pt 0-10, eta 11-18, phi 19-26",
        "Other bits are ignored. An object of pt 0 is absent, its eta and phi count as 0; "
        "MET always is there.",
    ]
    regions = " ".join(describe_ports(REGIONS, place_words(REGIONS, True)[1]))
    assert "region_0 to region_2: 128 bits a link, 7 x 16 bits from bit 8 on: et 0-9" in regions


def test_a_signed_pt_tells_no_presence():
    quantities = (Quantity("pt", "pt", 8, signed=True), Quantity("phi", "phi", 8))
    layout = Layout("odd", "a test", (Kind("A", 1, quantities, present="pt"),))
    with pytest.raises(UserError, match=r"kind 'A': .* signed pt; write the core alone"):
        place_words(layout, trigger=True)
    assert len(place_words(layout, trigger=False)[0]) == 2


@pytest.mark.parametrize("name", layout_names())
def test_words_of_shipped_layouts_lie_apart_within_their_ports(name):
    require_apart(find_layout(name))


@settings(deadline=None)
@given(layouts())
def test_words_of_any_layout_lie_apart_within_their_ports(layout):
    require_apart(layout)


def require_apart(layout):
    """Every word on bits of its own: within its port, and within `words` of the core."""
    words, ports = place_words(layout, trigger=True)
    width = {port.name: port.width for port in ports}
    taken = set()
    for word in words:
        if word.width:
            bits = {(word.port, word.port_offset + bit) for bit in range(word.width)}
            assert not bits & taken and word.port_offset + word.width <= width[word.port]
            taken |= bits
    assert [word.offset for word in words] == [sum(w.width for w in words[:i]) for i in range(len(words))]


def simulated(network, folder, n_events=3000, stages=2):
    """Every event of random and extreme words comes out of the simulated trigger top as it should."""
    generator = np.random.default_rng(1)
    parts = [make(network, n_events // 2, generator) for make in (random_words, extreme_words)]
    words = clear_absent(network.layout, np.concatenate(parts))
    design = write_rtl(network, folder / "rtl", RtlConfig(stages=stages, check_events=1000))
    simulator = build_simulator(design, folder / "sim")
    result = simulator.run(words, list(network.thresholds.values()), Pattern(gap_probability=0.1))
    score = evaluate(network, words).score_word
    np.testing.assert_array_equal(result.event, np.arange(len(words)))
    np.testing.assert_array_equal(result.score_word, score)
    np.testing.assert_array_equal(result.trigger_bits, score[:, None] >= result.threshold_word)
    return words, score


@pytest.mark.parametrize("layout", [REGIONS, TOPOLOGY], ids=lambda layout: layout.name)
def test_links_and_single_words_through_the_simulated_top(layout, tmp_path):
    _, score = simulated(network_on(layout), tmp_path)
    assert len(np.unique(score)) > 50


def test_words_wider_than_16_bits_through_the_simulated_top(tmp_path):
    quantities = (Quantity("pt", "pt", 20, lsb=5), Quantity("eta", "eta", 18, True, lsb=30))
    layout = Layout("wide", "a test", (Kind("A", 2, quantities, bits=64, present="pt", order="pt"),))
    words, score = simulated(network_on(layout), tmp_path)
    assert words.dtype == np.int32 and words.max() > 1 << 18 and len(np.unique(score)) > 50


@pytest.mark.slow
@settings(
    max_examples=3,
    phases=[Phase.generate],  # shrinking would build simulations for minutes
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.parametrize("style", STYLES)
@given(data=st.data())
def test_random_layouts_through_the_simulated_top(style, data, tmp_path_factory):
    layout = data.draw(layouts((style,)).filter(lambda layout: any(word.width for word in layout.words)))
    network = network_on(layout, data.draw(st.integers(0, 9)))
    try:
        simulated(network, tmp_path_factory.mktemp("random"))
    except UserError as error:
        assert "there is no RTL" in str(error)  # the score does not depend on the words


@pytest.mark.parametrize(
    "layout",
    [find_layout("cms_axol1tl").select([("MET", 1, None), ("MU", 2, None)], "packed"), REGIONS, TOPOLOGY],
    ids=lambda layout: layout.name,
)
def test_the_vhdl_of_every_style_is_analysed(layout, tmp_path):
    if shutil.which("ghdl") is None:
        pytest.skip("ghdl is not installed: the VHDL is not analysed here")
    design = write_rtl(network_on(layout), tmp_path / "rtl", RtlConfig(language="vhdl", check_events=100))
    for command in (["-i", *design.files], ["-m", design.trigger_top]):
        line = ["ghdl", command[0], "--std=08", *map(str, command[1:])]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
