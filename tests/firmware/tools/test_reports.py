"""Report parsers on real reports, on the forms of other versions, and on what is no report."""

import json
import re

import pytest

from axo.errors import UserError
from axo.firmware.tools.reports import (
    Timing,
    read_cosim,
    read_csynth,
    read_timing_summary,
    read_utilisation,
)

# Vitis HLS: DSP instead of DSP48E, times with other units.
VITIS_CSYNTH = """<?xml version="1.0" encoding="UTF-8"?>
<profile>
<section name="" level="0"><item name="Date"/></section>
<ReportVersion><Version>2023.2</Version></ReportVersion>
<UserAssignments><unit>ns</unit><ProductFamily>virtexuplus</ProductFamily><Part>xcvu13p-flga2577-2-e</Part>
<TopModelName>axo</TopModelName><TargetClockPeriod>4.17</TargetClockPeriod>
<ClockUncertainty>1.13</ClockUncertainty><FlowTarget>vivado</FlowTarget></UserAssignments>
<PerformanceEstimates><PipelineType>yes</PipelineType>
<SummaryOfTimingAnalysis><unit>ns</unit><EstimatedClockPeriod>3.021</EstimatedClockPeriod></SummaryOfTimingAnalysis>
<SummaryOfOverallLatency><unit>clock cycles</unit><Best-caseLatency>290</Best-caseLatency>
<Worst-caseLatency>300</Worst-caseLatency><Worst-caseRealTimeLatency>1.251 us</Worst-caseRealTimeLatency>
<PipelineInitiationInterval>1</PipelineInitiationInterval>
<Interval-min>1</Interval-min><Interval-max>2</Interval-max></SummaryOfOverallLatency></PerformanceEstimates>
<AreaEstimates><Resources><BRAM_18K>2</BRAM_18K><DSP>7</DSP><FF>812</FF><LUT>20123</LUT><URAM>1</URAM></Resources>
<AvailableResources><DSP>12288</DSP><LUT>1728000</LUT></AvailableResources></AreaEstimates>
</profile>
"""

COSIM = """Report time       : Sat Jan 17 03:38:56 AM CET 2026.
Solution          : solution1.
Simulation tool   : xsim.

+----------+----------+-----------------------------------------------+-----------------------------------------------+----------------------+
|          |          |             Latency(Clock Cycles)             |              Interval(Clock Cycles)           | Total Execution Time |
+   RTL    +  Status  +-----------------------------------------------+-----------------------------------------------+    (Clock Cycles)    +
|          |          |      min      |      avg      |      max      |      min      |      avg      |      max      |                      |
+----------+----------+-----------------------------------------------+-----------------------------------------------+----------------------+
|      VHDL|        NA|             NA|             NA|             NA|             NA|             NA|             NA|                    NA|
|   Verilog|      Pass|             11|             11|             12|             10|             11|             13|                   112|
+----------+----------+-----------------------------------------------+-----------------------------------------------+----------------------+
"""  # noqa: E501

ULTRASCALE_UTILISATION = """Copyright 1986-2022 Xilinx, Inc. All Rights Reserved.
-----------------------------------------------------------------------------
| Tool Version : Vivado v.2023.2 (lin64) Build 4029153 Fri Oct 13 20:13:54 MDT 2023
| Design       : axo
| Device       : xcvu13p-flga2577-2-e
| Design State : Routed
-----------------------------------------------------------------------------

Utilization Design Information

Table of Contents
-----------------
1. CLB Logic
2. BLOCKRAM
3. ARITHMETIC
4. Primitives

1. CLB Logic
------------

+----------------------------+-------+-------+------------+-----------+-------+
|          Site Type         |  Used | Fixed | Prohibited | Available | Util% |
+----------------------------+-------+-------+------------+-----------+-------+
| CLB LUTs                   | 15321 |     0 |          0 |   1728000 |  0.89 |
|   LUT as Logic             | 15121 |     0 |          0 |   1728000 |  0.88 |
|   LUT as Memory            |   200 |     0 |          0 |    791040 |  0.03 |
| CLB Registers              |  7041 |     0 |          0 |   3456000 |  0.20 |
| CARRY8                     |  1741 |     0 |          0 |    216000 |  0.81 |
+----------------------------+-------+-------+------------+-----------+-------+


2. BLOCKRAM
-----------

+-------------------+------+-------+------------+-----------+-------+
|     Site Type     | Used | Fixed | Prohibited | Available | Util% |
+-------------------+------+-------+------------+-----------+-------+
| Block RAM Tile    |  1.5 |     0 |          0 |      2688 |  0.06 |
|   RAMB36/FIFO*    |    1 |     0 |          0 |      2688 |  0.04 |
|   RAMB18          |    1 |     0 |          0 |      5376 |  0.02 |
| URAM              |    0 |     0 |          0 |      1280 |  0.00 |
+-------------------+------+-------+------------+-----------+-------+


3. ARITHMETIC
-------------

+-----------+------+-------+------------+-----------+-------+
| Site Type | Used | Fixed | Prohibited | Available | Util% |
+-----------+------+-------+------------+-----------+-------+
| DSPs      |    8 |     0 |          0 |     12288 | <0.01 |
+-----------+------+-------+------------+-----------+-------+


4. Primitives
-------------

+----------+-------+---------------------+
| Ref Name |  Used | Functional Category |
+----------+-------+---------------------+
| FDRE     |  7041 |            Register |
| LUT6     |  7000 |                 CLB |
| CARRY8   |  1741 |                 CLB |
+----------+-------+---------------------+
"""

TIMING = """Copyright 1986-2022 Xilinx, Inc. All Rights Reserved.
-----------------------------------------------------------------------------
| Tool Version      : Vivado v.2023.2 (lin64) Build 4029153 Fri Oct 13 20:13:54 MDT 2023
| Design            : axo
| Device            : xcvu13p-flga2577
| Speed File        : -2  PRODUCTION 1.30 05-01-2022
| Design State      : Routed
-----------------------------------------------------------------------------

Timing Summary Report

------------------------------------------------------------------------------------------------
| Design Timing Summary
| ---------------------
------------------------------------------------------------------------------------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)  THS Failing Endpoints  THS Total Endpoints     WPWS(ns)     TPWS(ns)  TPWS Failing Endpoints  TPWS Total Endpoints
    -------      -------  ---------------------  -------------------      -------      -------  ---------------------  -------------------     --------     --------  ----------------------  --------------------
     -0.134       -1.250                     17                 9723        0.012        0.000                      0                 9723        1.808        0.000                       0                  7042


Timing constraints are not met.


------------------------------------------------------------------------------------------------
| Clock Summary
| -------------
------------------------------------------------------------------------------------------------

Clock  Waveform(ns)         Period(ns)      Frequency(MHz)
-----  ------------         ----------      --------------
clk    {0.000 2.083}        4.167           239.981


------------------------------------------------------------------------------------------------
| Intra Clock Table
| -----------------
------------------------------------------------------------------------------------------------
"""  # noqa: E501


@pytest.fixture
def write(tmp_path):
    def write(text, name="report"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_real_csynth_of_vivado_hls(shared):
    report = read_csynth(shared / "real" / "hls_reports" / "myproject_csynth.xml")
    assert (report.version, report.part, report.top) == ("2020.1", "xc7z020-clg400-1", "myproject")
    resources = report.resources
    assert (resources.lut, resources.ff, resources.dsp, resources.bram) == (2532, 7969, 73, 0)
    assert resources.carry is None
    latency = report.latency
    assert (latency.cycles, latency.latency_ns, latency.initiation_interval_cycles) == (10, 50.0, 8)
    assert latency.clock_mhz == 200
    timing = report.timing
    assert (timing.target_clock_period_ns, timing.estimated_clock_period_ns) == (5.0, 4.049)
    assert timing.clock_uncertainty_ns == 0.62
    assert timing.met is None
    assert report.missing == ()


def test_real_utilisation_of_vivado(shared):
    report = read_utilisation(shared / "real" / "hls_reports" / "vivado_synth.rpt")
    resources = report.resources
    assert (resources.lut, resources.ff, resources.dsp, resources.bram) == (1526, 2428, 66, 0)
    assert (resources.carry, resources.lut_memory, resources.uram) == (295, 48, None)
    assert (report.part, report.top, report.state) == ("7z020clg400-1", "myproject", "Synthesized")
    assert report.version.startswith("Vivado v.2020.1")
    assert report.missing == ()


def test_csynth_of_vitis_hls(write):
    report = read_csynth(write(VITIS_CSYNTH))
    resources, latency = report.resources, report.latency
    assert (resources.lut, resources.ff, resources.dsp, resources.bram, resources.uram) == (
        20123,
        812,
        7,
        2,
        1,
    )
    assert (latency.cycles, latency.latency_ns, latency.initiation_interval_cycles) == (300, 1251.0, 2)
    assert report.version == "2023.2"


@pytest.mark.parametrize(
    ("tag", "part", "name"),
    [
        ("LUT", "resources", "lut"),
        ("FF", "resources", "ff"),
        ("DSP", "resources", "dsp"),
        ("BRAM_18K", "resources", "bram"),
        ("Worst-caseLatency", "latency", "cycles"),
        ("Interval-max", "latency", "initiation_interval_cycles"),
        ("EstimatedClockPeriod", "timing", "estimated_clock_period_ns"),
    ],
)
@pytest.mark.parametrize("written", ["", "<{tag}></{tag}>", "<{tag}>undef</{tag}>", "<{tag}>-</{tag}>"])
def test_field_that_csynth_does_not_state_is_missing_not_zero(write, tag, part, name, written):
    text = re.sub(f"<{tag}>[^<]*</{tag}>", written.format(tag=tag), VITIS_CSYNTH)
    report = read_csynth(write(text))
    assert getattr(getattr(report, part), name) is None
    assert name in report.missing
    assert json.loads(json.dumps(report.as_json()))[part][name] is None


def test_latency_in_ns_from_cycles_when_csynth_leaves_it_out(write):
    text = re.sub("<Worst-caseRealTimeLatency>.*</Worst-caseRealTimeLatency>", "", VITIS_CSYNTH)
    assert read_csynth(write(text)).latency.latency_ns == pytest.approx(300 * 4.17)


def test_utilisation_of_ultrascale(write):
    report = read_utilisation(write(ULTRASCALE_UTILISATION))
    resources = report.resources
    assert (resources.lut, resources.ff, resources.dsp) == (15321, 7041, 8)
    assert resources.carry == 2 * 1741, "a CARRY8 counts two"
    assert resources.bram == 3, "a RAMB36 and a RAMB18"
    assert (report.state, resources.what) == ("Routed", "Vivado, routed")


@pytest.mark.parametrize(
    ("row", "name"),
    [("CLB LUTs", "lut"), ("CLB Registers", "ff"), ("DSPs", "dsp"), ("Block RAM Tile", "bram")],
)
def test_row_that_utilisation_does_not_have_is_missing_not_zero(write, row, name):
    lines = [line for line in ULTRASCALE_UTILISATION.splitlines() if f"| {row} " not in line]
    report = read_utilisation(write("\n".join(lines)))
    assert getattr(report.resources, name) is None
    assert report.missing == (name,)


def test_no_carry_cell_among_all_primitives_is_none_at_all(write):
    lines = [line for line in ULTRASCALE_UTILISATION.splitlines() if "CARRY8" not in line]
    assert read_utilisation(write("\n".join(lines))).resources.carry == 0


def test_timing_summary(write):
    report = read_timing_summary(write(TIMING))
    timing = report.timing
    assert (timing.wns_ns, timing.tns_ns, timing.whs_ns, timing.failing_endpoints) == (
        -0.134,
        -1.25,
        0.012,
        17,
    )
    assert (timing.target_clock_period_ns, timing.estimated_clock_period_ns) == (4.167, 4.301)
    assert timing.met is False
    assert report.state == "Routed"


def test_timing_met_needs_setup_and_hold():
    assert Timing("vivado", wns_ns=0.0, whs_ns=0.0).met
    assert not Timing("vivado", wns_ns=0.1, whs_ns=-0.001).met
    assert Timing("vivado", whs_ns=0.1).met is None


def test_timing_summary_without_a_constraint_has_no_slack(write):
    numbers = "     -0.134       -1.250                     17                 9723        0.012"
    blank = "         NA           NA                     NA                   NA           NA"
    timing = read_timing_summary(write(TIMING.replace(numbers, blank))).timing
    assert timing.wns_ns is None and timing.met is None and timing.estimated_clock_period_ns is None


def test_cosim(write):
    report = read_cosim(write(COSIM), clock_mhz=240)
    assert report.passed
    assert (report.latency.cycles, report.latency.initiation_interval_cycles) == (12, 13)
    assert report.latency.latency_ns == 50
    assert read_cosim(write(COSIM)).latency.latency_ns is None


def test_cosim_of_one_event_states_no_interval(write):
    stated = "|             10|             11|             13|"
    one = COSIM.replace(stated, "|             NA|             NA|             NA|")
    report = read_cosim(write(one))
    assert report.latency.initiation_interval_cycles is None
    assert report.missing == ("initiation_interval_cycles",)


def test_failed_cosim(write):
    assert read_cosim(write(COSIM.replace("Pass", "Fail"))).passed is False


def test_cosim_that_simulated_nothing_is_refused(write):
    skipped = "\n".join(line for line in COSIM.splitlines() if "Verilog" not in line)
    with pytest.raises(UserError, match="neither Verilog nor VHDL"):
        read_cosim(write(skipped))


READERS = {
    read_csynth: VITIS_CSYNTH,
    read_utilisation: ULTRASCALE_UTILISATION,
    read_timing_summary: TIMING,
    read_cosim: COSIM,
}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_what_is_no_such_report_is_refused_by_name(reader, write):
    foreign = [text for other, text in READERS.items() if other is not reader]
    for text in ["", "not a report\n", "<profile/>", "{}", *foreign]:
        path = write(text, "some.rpt")
        with pytest.raises(UserError, match=re.escape(str(path))):
            reader(path)
    with pytest.raises(UserError, match="cannot be read"):
        reader(path.parent / "absent")


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_truncated_report_never_states_a_wrong_number(reader, write):
    """Cut anywhere, a report is refused or states the numbers of the whole one, or none."""
    whole_text = READERS[reader]
    whole = reader(write(whole_text)).as_json()
    for cut in range(0, len(whole_text), 3):
        try:
            report = reader(write(whole_text[:cut])).as_json()
        except UserError:
            continue
        for part in ("resources", "latency", "timing"):
            for name, value in (report[part] or {}).items():
                assert value in (None, whole[part][name]), f"{name} of a report cut at {cut}"


@pytest.mark.parametrize("section", ["2. BLOCKRAM", "3. ARITHMETIC", "4. Primitives"])
def test_utilisation_cut_before_a_section_names_it(write, section):
    start = ULTRASCALE_UTILISATION.rindex(section)
    with pytest.raises(UserError, match=f"truncated: its section '{section[3:]}' is missing"):
        read_utilisation(write(ULTRASCALE_UTILISATION[:start]))
