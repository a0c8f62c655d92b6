"""The vendor's tools, played by stand-ins: scripts that do what the tools do, well or badly."""

import os
import re
import shutil
import time
from pathlib import Path

import pytest

from axo.errors import UserError
from axo.firmware.tools.reports import read_timing_summary
from axo.firmware.tools.run import ToolError, ToolTimeout
from axo.firmware.tools.vendor import (
    HlsSteps,
    build_options,
    clock_constraints,
    hls_arguments,
    hls_verilog,
    implement,
    implementation_parameters,
    run_hls,
)

CSYNTH = """<profile><ReportVersion><Version>2023.2</Version></ReportVersion>
<UserAssignments><Part>xcvu9p</Part><TopModelName>axo</TopModelName>
<TargetClockPeriod>4.00</TargetClockPeriod></UserAssignments>
<PerformanceEstimates>
<SummaryOfTimingAnalysis><EstimatedClockPeriod>2.9</EstimatedClockPeriod></SummaryOfTimingAnalysis>
<SummaryOfOverallLatency><Worst-caseLatency>9</Worst-caseLatency>
<Worst-caseRealTimeLatency>36.000 ns</Worst-caseRealTimeLatency><Interval-max>1</Interval-max>
</SummaryOfOverallLatency></PerformanceEstimates>
<AreaEstimates><Resources><BRAM_18K>0</BRAM_18K><DSP>3</DSP><FF>812</FF><LUT>20123</LUT></Resources>
</AreaEstimates></profile>
"""

COSIM = """
|   RTL    |  Status  |      min      |      avg      |      max      |      min      |      avg      |      max      |
|      VHDL|        NA|             NA|             NA|             NA|             NA|             NA|             NA|
|   Verilog|      Pass|              9|              9|             10|              1|              1|              1|
"""  # noqa: E501

UTILISATION = """| Tool Version : Vivado v.2023.2
| Design       : axo
| Design State : Routed

1. CLB Logic
------------

+---------------+-------+-------+
|   Site Type   |  Used | Fixed |
+---------------+-------+-------+
| CLB LUTs      | 15321 |     0 |
| CLB Registers |  7041 |     0 |
| CARRY8        |  1741 |     0 |
+---------------+-------+-------+

2. BLOCKRAM
-----------

+----------------+------+-------+
|   Site Type    | Used | Fixed |
+----------------+------+-------+
| Block RAM Tile |    0 |     0 |
+----------------+------+-------+

3. ARITHMETIC
-------------

+-----------+------+-------+
| Site Type | Used | Fixed |
+-----------+------+-------+
| DSPs      |    0 |     0 |
+-----------+------+-------+
"""

TIMING = """| Tool Version : Vivado v.2023.2
| Design       : axo

| Design Timing Summary
| ---------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints      WHS(ns)
    -------      -------  ---------------------      -------
      0.211        0.000                      0        0.012

| Clock Summary
| -------------

Clock  Waveform(ns)         Period(ns)      Frequency(MHz)
-----  ------------         ----------      --------------
clk    {0.000 2.079}        4.158           240.500
"""


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """`tools(name, script)` puts an executable on PATH, on which nothing of the vendor's is otherwise."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder) + os.pathsep + "/usr/bin:/bin")
    for name in ("vitis-run", "vitis_hls", "vivado_hls", "vivado"):
        if shutil.which(name):
            pytest.skip(f"a real {name} is installed in /usr/bin")

    def tools(name, script):
        path = folder / name
        path.write_text(
            f'#!/bin/sh\ncase "$1" in *-version) echo "{name} v2023.2 (64-bit)"; exit;; esac\n{script}\n'
        )
        path.chmod(0o755)
        return path

    return tools


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "hls"
    folder.mkdir()
    (folder / "build_prj.tcl").write_text("# as hls4ml writes it\n")
    return folder


@pytest.fixture
def rtl(tmp_path):
    source = tmp_path / "rtl" / "axo.v"
    source.parent.mkdir()
    source.write_text(
        "module axo(input clk, input a, output reg q); always @(posedge clk) q <= a; endmodule\n"
    )
    return source


def writes(**files):
    """Shell that writes `files`, by name: csynth, cosim, utilisation, timing."""
    places = {
        "csynth": "axo_prj/solution1/syn/report/axo_csynth.xml",
        "cosim": "axo_prj/solution1/sim/report/axo_cosim.rpt",
        "utilisation": "utilisation.rpt",
        "timing": "timing.rpt",
    }
    return "\n".join(
        f"mkdir -p $(dirname {places[name]}); cat > {places[name]} <<'END'\n{text}\nEND"
        for name, text in files.items()
    )


def test_vitis_run(tools, project):
    tool = tools("vitis-run", "echo working; echo $* > arguments\n" + writes(csynth=CSYNTH, cosim=COSIM))
    result = run_hls(project, "axo", steps=HlsSteps(cosim=True))
    assert (result.status, result.tool, result.version) == ("done", tool, "vitis-run v2023.2 (64-bit)")
    assert (project / "arguments").read_text().split() == ["--mode", "hls", "--tcl", "build_prj.tcl"]
    assert result.log.read_text() == "working\n"
    assert result.wall_s > 0
    assert result.reports["csynth"].resources.lut == 20123
    assert result.reports["csynth"].latency.latency_ns == 36
    assert result.reports["cosim"].latency.cycles == 10
    assert result.reports["cosim"].latency.latency_ns == 40, "at the clock of the C synthesis"


def test_older_vitis_hls_and_vivado_hls(tools, project):
    tools("vitis_hls", "printf '%s\\n' \"$@\" > arguments\n" + writes(csynth=CSYNTH))
    assert run_hls(project, "axo").tool.name == "vitis_hls"
    assert (project / "arguments").read_text().splitlines() == ["-f", "build_prj.tcl"]
    tools("vivado_hls", "printf '%s\\n' \"$@\" > arguments\n" + writes(csynth=CSYNTH))
    result = run_hls(project, "axo", backend="vivado")
    assert result.reports.keys() == {"csynth"}
    options = "reset=1 csim=0 synth=1 cosim=0 validation=0 export=0 vsynth=0 fifo_opt=0"
    assert (project / "arguments").read_text().splitlines() == ["-f", "build_prj.tcl", options]


def test_configured_tool_is_taken_before_path(tools, project, tmp_path):
    tools("vitis-run", "exit 1")
    elsewhere = tmp_path / "elsewhere" / "vitis_hls"
    elsewhere.parent.mkdir()
    shutil.move(tools("vitis_hls", writes(csynth=CSYNTH)), elsewhere)
    result = run_hls(project, "axo", configured=str(elsewhere))
    assert result.tool == elsewhere
    with pytest.raises(UserError, match="is not an executable"):
        run_hls(project, "axo", configured=str(tmp_path / "absent"))


def test_vivado(tools, rtl, tmp_path):
    tools("vivado", "printf '%s\\n' \"$@\" > arguments\n" + writes(utilisation=UTILISATION, timing=TIMING))
    folder = tmp_path / "vivado"
    result = implement([rtl], "axo", folder, "xcvu9p-flga2104-2L-e", 240)
    assert result.status == "done"
    assert (folder / "arguments").read_text().splitlines()[-2:] == ["-source", "implement.tcl"]
    resources = result.reports["utilisation"].resources
    assert (resources.lut, resources.ff, resources.carry, resources.dsp, resources.bram) == (
        15321,
        7041,
        3482,
        0,
        0,
    )
    assert result.reports["timing"].timing.wns_ns == 0.211
    assert result.reports["timing"].timing.estimated_clock_period_ns == pytest.approx(3.947)
    assert result.message.startswith("vivado v2023.2")


def test_absent_tools_are_said_and_only_required_ones_are_an_error(tools, project, rtl, tmp_path):
    for result, name in (
        (run_hls(project, "axo"), "vitis-run or vitis_hls"),
        (run_hls(project, "axo", backend="vivado"), "vivado_hls"),
        (implement([rtl], "axo", tmp_path / "vivado", "xcvu9p", 240), "vivado"),
    ):
        assert result.status == "absent"
        assert re.match(f"{name} was not found; install .* on PATH", result.message)
        assert result.reports == {} and result.tool is None and result.wall_s is None
    assert not (tmp_path / "vivado").exists()
    with pytest.raises(UserError, match="vitis-run or vitis_hls was not found; install"):
        run_hls(project, "axo", required=True)
    with pytest.raises(UserError, match="vivado was not found; install"):
        implement([rtl], "axo", tmp_path / "vivado", "xcvu9p", 240, required=True)


@pytest.mark.parametrize("backend", ["vitis", "vivado"])
def test_failing_tool_is_an_error_even_with_reports(tools, project, backend):
    name = {"vitis": "vitis-run", "vivado": "vivado_hls"}[backend]
    tools(name, writes(csynth=CSYNTH) + "\necho 'ERROR: [HLS 200-70] no licence'; exit 7")
    with pytest.raises(ToolError, match=r"exit status 7: ERROR: \[HLS 200-70\] no licence") as error:
        run_hls(project, "axo", backend=backend)
    assert error.value.log == project / f"{name}.log"


def test_hanging_tool_is_stopped_with_its_children(tools, rtl, tmp_path):
    """As the vendor's do: a shell that starts the real program and waits for it."""
    tools("vivado", "sh -c 'sleep 60; echo late > late' & echo $! > child; echo routing; wait")
    folder = tmp_path / "vivado"
    started = time.monotonic()
    with pytest.raises(ToolTimeout, match="time-out of 1 s") as error:
        implement([rtl], "axo", folder, "xcvu9p", 240, timeout_s=1)
    assert time.monotonic() - started < 30
    assert error.value.log.read_text() == "routing\n", "the log is live"
    child = int((folder / "child").read_text())
    for _ in range(100):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child)


def alive(process):
    """Whether a process runs; one that is dead and not yet waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_success_without_a_report_is_an_error(tools, project, rtl, tmp_path):
    tools("vitis-run", "echo done")
    with pytest.raises(ToolError, match=r"exited with 0 but left no .*axo_csynth\.xml"):
        run_hls(project, "axo")
    tools("vitis-run", writes(csynth=CSYNTH))
    with pytest.raises(ToolError, match=r"exited with 0 but left no .*axo_cosim\.rpt"):
        run_hls(project, "axo", steps=HlsSteps(cosim=True))
    tools("vivado", writes(utilisation=UTILISATION))
    with pytest.raises(ToolError, match=r"exited with 0 but left no .*timing\.rpt"):
        implement([rtl], "axo", tmp_path / "vivado", "xcvu9p", 240)


def test_reports_of_an_earlier_run_are_never_taken(tools, project):
    tools("vitis-run", writes(csynth=CSYNTH))
    run_hls(project, "axo")
    tools("vitis-run", "true")
    with pytest.raises(ToolError, match="left no"):
        run_hls(project, "axo")


def test_report_with_missing_fields_is_taken_and_says_so(tools, project, rtl, tmp_path):
    tools(
        "vitis-run",
        writes(csynth=CSYNTH.replace("<DSP>3</DSP>", "").replace("<Interval-max>1<", "<Interval-max>undef<")),
    )
    report = run_hls(project, "axo").reports["csynth"]
    assert report.resources.dsp is None
    assert report.resources.lut == 20123
    assert report.missing == ("dsp", "initiation_interval_cycles")
    without_dsp = "\n".join(line for line in UTILISATION.splitlines() if "DSPs" not in line)
    tools("vivado", writes(utilisation=without_dsp, timing=TIMING))
    report = implement([rtl], "axo", tmp_path / "vivado", "xcvu9p", 240).reports["utilisation"]
    assert report.resources.dsp is None
    assert report.missing == ("dsp",)


def test_truncated_report_is_an_error(tools, project):
    tools("vitis-run", writes(csynth=CSYNTH[:300]))
    with pytest.raises(UserError, match=r"axo_csynth\.xml: is not whole XML"):
        run_hls(project, "axo")


def test_co_simulation_that_does_not_pass_is_an_error(tools, project):
    tools("vitis-run", writes(csynth=CSYNTH, cosim=COSIM.replace("Pass", "Fail")))
    with pytest.raises(ToolError, match="co-simulation did not pass"):
        run_hls(project, "axo", steps=HlsSteps(cosim=True))


def test_options_are_data():
    options = build_options(HlsSteps(csim=True, cosim=True))
    assert options.startswith("array set opt {\n    reset      1\n")
    assert "    validation 1\n" in options
    assert "    vsynth     0\n" in options
    assert hls_arguments("vitis", Path("/x/vitis-run"), HlsSteps())[1:] == (
        "--mode",
        "hls",
        "--tcl",
        "build_prj.tcl",
    )


def test_folder_without_a_project(tools, tmp_path):
    tools("vitis-run", "true")
    with pytest.raises(UserError, match=r"is not an HLS project \(it has no build_prj\.tcl\)"):
        run_hls(tmp_path, "axo")
    with pytest.raises(UserError, match="none of vitis, vivado"):
        run_hls(tmp_path, "axo", backend="quartus")


def test_verilog_of_c_synthesis(project):
    folder = project / "axo_prj" / "solution1" / "syn" / "verilog"
    folder.mkdir(parents=True)
    for name in ("b.v", "a.v", "rom.dat"):
        (folder / name).touch()
    assert [path.name for path in hls_verilog(project, "axo")] == ["a.v", "b.v"]


def test_parameters_name_every_source_by_language(rtl):
    vhdl = rtl.with_suffix(".vhd")
    vhdl.touch()
    text = implementation_parameters([rtl, vhdl], "axo", "xcvu9p", use_dsp=True)
    assert f"set verilog_sources [list {{{rtl}}}]\n" in text
    assert f"set vhdl_sources [list {{{vhdl}}}]\n" in text
    assert "set max_dsp -1\n" in text
    assert "set max_dsp 0\n" in implementation_parameters([rtl], "axo", "xcvu9p")


@pytest.mark.parametrize(
    ("source", "top", "reason"),
    [
        ("absent.v", "axo", "no such RTL source"),
        ("axo.txt", "axo", "neither Verilog nor VHDL"),
        ("axo.v", "a}b", "braces"),
    ],
)
def test_parameters_that_cannot_be_written(rtl, source, top, reason):
    (rtl.parent / "axo.txt").touch()
    with pytest.raises(UserError, match=reason):
        implementation_parameters([rtl.parent / source], top, "xcvu9p")
    with pytest.raises(UserError, match="neither synth nor route"):
        implementation_parameters([rtl], "axo", "xcvu9p", until="bitstream")


def test_clock_is_the_real_one():
    assert clock_constraints("ap_clk", 240).startswith(
        "create_clock -name ap_clk -period 4.158 [get_ports ap_clk]\n"
    )


# Vivado's commands for a Tcl interpreter: each notes its name and arguments, the reports are written.
STUBS = """
foreach name {create_project read_verilog read_vhdl read_xdc synth_design opt_design place_design
              phys_opt_design route_design report_utilization report_timing_summary write_checkpoint} {
    proc $name {args} [format {
        set calls [open calls a]; puts $calls "%s $args"; close $calls
        set place [lsearch $args -file]
        if {$place >= 0} { file copy -force ../$::env(REPORTS)/[lindex $args $place+1] . }
    } $name]
}
source implement.tcl
"""


@pytest.mark.parametrize("until", ["synth", "route"])
def test_implementation_script_runs_in_a_tcl_interpreter(tools, rtl, tmp_path, until, monkeypatch):
    if shutil.which("tclsh") is None:
        pytest.skip("tclsh is not installed")
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "utilisation.rpt").write_text(UTILISATION)
    (reports / "timing.rpt").write_text(TIMING)
    monkeypatch.setenv("REPORTS", "reports")
    (tmp_path / "stubs.tcl").write_text(STUBS)
    tools("vivado", f"exec tclsh {tmp_path}/stubs.tcl")
    spaced = rtl.with_name("a file of RTL.v")
    rtl.rename(spaced)
    result = implement([spaced], "axo", tmp_path / "vivado", "xcvu9p", 240, until=until)
    assert result.reports["timing"].timing == read_timing_summary(reports / "timing.rpt").timing
    calls = (tmp_path / "vivado" / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == [
        *("create_project", "read_verilog", "read_xdc", "synth_design"),
        *(("opt_design", "place_design", "phys_opt_design", "route_design") if until == "route" else ()),
        *("report_utilization", "report_timing_summary", "write_checkpoint"),
    ]
    assert calls[1] == f"read_verilog -sv {{{{{spaced}}}}}", "one list of one file"
    assert "-top axo -part xcvu9p -mode out_of_context" in calls[3]
    assert calls[3].endswith("-max_dsp 0")
