"""Known answers from outside through the firmware: CMS's networks in both conventions, GELATO, CICADA."""

from __future__ import annotations

import numpy as np
import pytest

from axo.firmware.hls.library import compile_library, possible_words, run_library
from axo.firmware.hls.project import compile_emulator, run_emulator, write_project
from axo.firmware.rtl.simulate import BACK_TO_BACK, MIXED, build_simulator
from axo.firmware.rtl.write import RtlConfig, write_rtl
from axo.interchange.cicada import read_cicada_network
from axo.layout.checks import clear_absent
from axo.network import HALF_KEPT, WHOLE_GEV, read_network, with_pt_convention


def cms_network(golden_network, shared, version, convention):
    network = golden_network if version == "v3" else read_network(shared / "golden/axol1tl_v4.json")
    return with_pt_convention(network, convention)


def require_rtl(network, words, score, folder, at_least, stages=4):
    """Score words of the simulated core on all `words`, of the trigger top on those that it passes on.

    Others are of objects of pt 0 with an angle, which the top takes for absent. Every trigger bit is checked.
    """
    design = write_rtl(network, folder / "rtl", RtlConfig(stages=stages, n_thresholds=1))
    core = build_simulator(design, folder / "core", top=design.core_top).run(words)
    np.testing.assert_array_equal(core.event, np.arange(len(words)))
    np.testing.assert_array_equal(core.score_word, score)

    possible = (clear_absent(network.layout, words) == words).all(axis=1)
    assert possible.sum() >= at_least
    words, score = words[possible], score[possible]
    simulator = build_simulator(design, folder / "trigger")
    for pattern in (BACK_TO_BACK, MIXED):
        result = simulator.run(words, [int(np.median(score))], pattern)
        np.testing.assert_array_equal(result.score_word, score[result.event])
        bits = result.score_word[:, None] >= result.threshold_word
        np.testing.assert_array_equal(result.trigger_bits, bits)
        assert bits.any() and len(result.event) + result.events_dropped == len(words)
    return design


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v3", "v4"])
@pytest.mark.parametrize(("convention", "suffix"), [(WHOLE_GEV, ""), (HALF_KEPT, "_half_pt")])
def test_cms_networks_in_either_convention(golden_network, shared, tmp_path, version, convention, suffix):
    """60,000 events through HLS C++; through packed objects and RTL those that can be on the wires."""
    network = cms_network(golden_network, shared, version, convention)
    with np.load(shared / f"golden/axol1tl_{version}_two_conventions.npz") as vectors:
        words, score, mu = (vectors[name] for name in ("x", f"score_word{suffix}", f"mu_word{suffix}"))
    project = write_project(network, tmp_path / "hls")
    compile_emulator(project)
    emulation = run_emulator(project, words)
    np.testing.assert_array_equal(emulation.score_word, score)
    np.testing.assert_array_equal(emulation.embedding_word, mu)
    require_rtl(network, words, score, tmp_path, at_least=58_000)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v3", "v4"])
def test_the_production_vhdl_is_what_our_verilog_gives(golden_network, shared, tmp_path, version):
    network = cms_network(golden_network, shared, version, HALF_KEPT)
    with np.load(shared / "golden/production_rtl_v3_v4.npz") as vectors:
        words, score = vectors["x"], vectors[f"{version}_score_word"]
    require_rtl(network, words, score, tmp_path, at_least=2_800)


@pytest.mark.slow
def test_gelato_through_its_own_ports(shared, compiler, tmp_path):
    """z of ATLAS's published Verilog on 20,000 events; the score is the sum of its squares."""
    network = read_network(shared / "golden/gelato_l1.json")
    with np.load(shared / "golden/gelato_l1_vectors.npz") as vectors:
        words, z = vectors["x"], vectors["z_word"].astype(np.int64)
    # Squares of 16 fraction bits are added in a type of 16; no bit is lost below 2**14.
    score = (z * z).sum(axis=1)
    assert network.score_type.fraction == 2 * network.types[network.embedding].fraction
    assert score.max() < 1 << network.score_type.width

    library = compile_library(write_project(network, tmp_path / "hls"))
    assert possible_words(network, words).all()
    result = run_library(library, words)
    np.testing.assert_array_equal(result.embedding_word, z)
    np.testing.assert_array_equal(result.score_word, score)

    design = require_rtl(network, words, score, tmp_path, at_least=13_000, stages=6)
    widths = {port.name: port.width for port in design.ports}
    assert len(widths) == 44 and (widths["jet0_pt"], widths["mu3_eta"]) == (12, 9)


@pytest.mark.slow
def test_cicada_through_its_links(shared, tmp_path):
    """The 256 recorded images, region by region on 36 links of 128 bits, to the recorded scores."""
    network = read_cicada_network(shared / "golden/cicada_ctp7.json")
    with np.load(shared / "golden/cicada_ctp7_vectors.npz") as vectors:
        words, score = vectors["region_et"], vectors["score_word"]
    design = require_rtl(network, words, score, tmp_path, at_least=256, stages=8)
    assert [port.width for port in design.ports] == [128] * 36
