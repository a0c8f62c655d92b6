"""Logic depth of a mapped netlist, and the clock it can plausibly reach on UltraScale+.

No place and route is done: net delays are typical ones, by fan-out. The table `ULTRASCALE_PLUS` is
taken from Vivado's timing reports of routed designs that are public. Cell delays are those of speed
grade -2, the one in use at CMS (xcvu3p, RapidWright's tutorials and FloPoCo's VirtexUltrascalePlus).
Net delays are the straight line through 41 nets of speed grade -1 (xczu3eg, github.com/gussmith23/
lakeroad-evaluation), since the 11 of -2 are few; their mean is a quarter lower. On two whole paths of
-2 the estimate is 8 % and 27 % above Vivado's figure; on four of -1, a device a third slower, it is
between 29 % below and 4 % above (tests/firmware/tools/test_depth.py). Large designs spread wider than
those: the margin of `choose_clock` is for that.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from axo.config import to_plain
from axo.errors import UserError
from axo.firmware.tools.yosys import CARRY4_PER_CELL, FF_CELLS, LUTS_PER_CELL

LHC_CLOCK_MHZ = 40.0790
"""Bunch-crossing frequency at top energy: 3564 slots at 11245.5 turns a second."""

HARMONICS = (1, 2, 3, 4, 6, 8, 9, 12)
"""Multiples of the LHC clock that trigger boards make; 9 is the 360 MHz of the Phase-2 links."""

MARGIN = 0.25
"""Part of the estimated period that is added for congestion and wide spread before a clock is chosen."""

DSP_MEND = "synthesise without DSP blocks and block RAM to estimate the clock"

SRL_CELLS = ("SRL16E", "SRLC32E")

MUX_CELLS = ("MUXF7", "MUXF8", "MUXF9")

Bit = int
Cell = dict[str, Any]


@dataclass(frozen=True)
class Delays:
    """Delays in ns. `setup` includes 0.035 of clock uncertainty and 0.01 of skew.

    `carry_enter` is from S or DI to the end of a carry cell, `carry_leave` from CI to a sum bit,
    `carry_through` from S or DI to a sum bit. The carry cell is a CARRY4, half a CARRY8: passing
    one, with the net to the next, is half of a CARRY8's. `mux` is a MUXF7's of speed grade -1, taken
    for MUXF8 and MUXF9 too. `srl_clock_to_q` and `carry_through` are assumptions: no such delay is
    in the reports of speed grade -2.
    """

    clock_to_q: float = 0.081
    srl_clock_to_q: float = 0.5
    setup: float = 0.1
    lut: float = 0.1
    mux: float = 0.082
    carry_enter: float = 0.163
    carry_leave: float = 0.116
    carry_through: float = 0.2
    carry_pass: float = 0.01
    net_base: float = 0.23
    net_per_doubling: float = 0.03
    net_lut_to_carry: float = 0.02
    net_into_mux: float = 0.01
    net_carry_to_carry: float = 0.013
    net_to_own_register: float = 0.06

    def net(self, fanout: int) -> float:
        """A routed net through the fabric."""
        return self.net_base + self.net_per_doubling * math.log2(max(fanout, 1))


ULTRASCALE_PLUS = Delays()


@dataclass(frozen=True)
class TimingPath:
    """A path from a register or input port to a register or output port."""

    start: str
    end: str
    delay_ns: float
    lut_levels: int
    carry4: int


@dataclass(frozen=True)
class Stage:
    """Logic between two register levels: its worst path, and the most LUT levels of any path."""

    stage: int
    endpoints: int
    max_lut_levels: int
    worst: TimingPath


@dataclass(frozen=True)
class Depth:
    """Depth of a netlist, stage by stage; `stages[0]` ends in the first registers after the ports.

    `register_levels` is the number of registers from an input port to an output port: of a pipeline,
    the latency in cycles (registers that feed each other count as one). `period_ns` is the estimated
    shortest clock period: the worst path of any stage.
    """

    register_levels: int
    period_ns: float
    max_clock_mhz: float
    max_lut_levels: int
    stages: tuple[Stage, ...]

    @property
    def worst(self) -> Stage:
        """The stage that limits the clock."""
        return max(self.stages, key=lambda stage: stage.worst.delay_ns)

    def as_json(self) -> dict[str, Any]:
        """Plain data for a JSON report."""
        return to_plain(self)


@dataclass(frozen=True)
class ClockChoice:
    """A harmonic of the LHC clock; `clock_mhz` is its nominal value, a multiple of 40 MHz."""

    clock_mhz: float
    harmonic: int
    period_ns: float
    how_chosen: str


def analyse_depth(module: dict[str, Any], delays: Delays = ULTRASCALE_PLUS) -> Depth:
    """Depth of a flat `module` of a Yosys JSON netlist, mapped by synth_xilinx.

    Input ports are taken to come from registers right outside, output ports to end in such.
    Raises UserError for a combinational loop, for cells without a delay here (DSP, RAM), and when
    the module holds no path at all.
    """
    return _Tracer(module, delays).depth()


def choose_clock(
    period_ns: float, margin: float = MARGIN, harmonics: tuple[int, ...] = HARMONICS
) -> ClockChoice:
    """The highest harmonic of the LHC clock whose period holds `period_ns` and the `margin`.

    Raises UserError when even the bunch-crossing clock is out of reach.
    """
    needed_ns = period_ns * (1 + margin)
    reachable = [harmonic for harmonic in sorted(harmonics) if clock_holds(40 * harmonic, period_ns, margin)]
    if not reachable:
        raise UserError(
            f"the estimated clock period, {period_ns:.2f} ns with {margin:.0%} of margin, is longer than "
            "a bunch crossing; use more pipeline stages"
        )
    harmonic = reachable[-1]
    return ClockChoice(
        40.0 * harmonic,
        harmonic,
        25 / harmonic,
        f"highest of {', '.join(str(40 * other) for other in sorted(harmonics))} MHz whose period holds "
        f"{needed_ns:.2f} ns: the {period_ns:.2f} ns estimated for the deepest stage with UltraScale+ "
        f"cell delays and typical net delays, and {margin:.0%} of margin; not placed and routed",
    )


def clock_holds(clock_mhz: float, period_ns: float, margin: float = MARGIN) -> bool:
    """Whether a nominal clock (40 MHz stands for the LHC's 40.079) is slow enough for `period_ns`."""
    return period_ns * (1 + margin) <= clock_period_ns(clock_mhz)


def clock_period_ns(clock_mhz: float) -> float:
    """Period of the real clock that a nominal one stands for."""
    return 1000 / clock_mhz * 40 / LHC_CLOCK_MHZ


class _Tracer:
    """Arrival times through a netlist, cells in topological order; registers start and end paths.

    A netlist names every wire of one bit by a number; `driver` is the cell that drives it, `fanout` how
    many pins read it. `arrival` is when its last change comes, after the clock edge that started it;
    `previous` is the wire that this change came by, so that a path can be walked back; `luts` is the
    most LUTs of any path to it, which need not be the slowest one. Constants never change: they have no
    arrival, and nothing waits for them.
    """

    def __init__(self, module: dict[str, Any], delays: Delays) -> None:
        self.delays = delays
        self.ports = module["ports"]
        self.names = list(module["cells"])
        self.cells: list[Cell] = [_simple(name, cell) for name, cell in module["cells"].items()]
        self.netnames = _bit_names(module)
        self.driver: dict[Bit, int] = {}
        self.fanout: dict[Bit, int] = defaultdict(int)
        for index, cell in enumerate(self.cells):
            self.driver.update(dict.fromkeys(cell["outputs"], index))
            for bit in cell["inputs"]:
                self.fanout[bit] += 1
        self.output_bits = [bit for bit in _port_bits(self.ports, "output") if isinstance(bit, int)]
        for bit in self.output_bits:
            self.fanout[bit] += 1
        self.arrival: dict[Bit, float] = {}
        self.luts: dict[Bit, int] = {}
        self.previous: dict[Bit, Bit | None] = {}

    def depth(self) -> Depth:
        self._launch()
        for index in self._combinational_order():
            self._propagate(self.cells[index])
        levels = self._register_levels()
        ends: dict[int, list[tuple[float, int, Bit, str]]] = defaultdict(list)
        for level, delay, luts, bit, name in self._endpoints(levels):
            ends[level].append((delay, luts, bit, name))
        if not ends:
            raise UserError("the netlist holds no path from an input or register to another")
        stages = tuple(self._stage(level, ends[level]) for level in sorted(ends))
        period = max(stage.worst.delay_ns for stage in stages)
        return Depth(
            max((levels.get(bit, 0) for bit in self.output_bits), default=0),
            round(period, 3),
            round(1000 / period, 1),
            max(stage.max_lut_levels for stage in stages),
            stages,
        )

    def _launch(self) -> None:
        """Arrivals where paths start: input ports and outputs of registers."""
        for bit in _port_bits(self.ports, "input"):
            self._start(bit, self.delays.clock_to_q)
        for cell in self.cells:
            if cell["type"] in FF_CELLS:
                self._start(cell["pins"]["Q"][0], self.delays.clock_to_q)
            elif cell["type"] in SRL_CELLS:
                for bit in cell["outputs"]:
                    self._start(bit, self.delays.srl_clock_to_q)
            elif cell["type"] in ("VCC", "GND"):
                continue
            elif not _is_combinational(cell):
                raise UserError(f"cell {cell['name']!r} ({cell['type']}): has no delay here; {DSP_MEND}")

    def _start(self, bit: Bit, time: float) -> None:
        self.arrival[bit], self.luts[bit], self.previous[bit] = time, 0, None

    def _combinational_order(self) -> list[int]:
        """The combinational cells, each behind all that drive its inputs."""
        drivers: dict[int, set[int]] = {}
        for index, cell in enumerate(self.cells):
            if _is_combinational(cell):
                sources = {self.driver[bit] for bit in cell["inputs"] if bit in self.driver}
                drivers[index] = {source for source in sources if _is_combinational(self.cells[source])}
        try:
            return list(TopologicalSorter(drivers).static_order())
        except CycleError as error:
            stuck = error.args[1][0]
            raise UserError(f"a combinational loop runs through cell {self.names[stuck]!r}") from None

    def _propagate(self, cell: Cell) -> None:
        if cell["type"] in CARRY4_PER_CELL:
            self._propagate_carry(cell)
            return
        if cell["type"] in MUX_CELLS:
            arrivals = [(self._at_mux(bit, pin), bit) for pin, bit in self._arrived(cell)]
            self._arrive(cell["outputs"][0], self.delays.mux, arrivals, False)
        else:
            arrivals = [(self._at(bit), bit) for _, bit in self._arrived(cell)]
            self._arrive(cell["outputs"][0], self.delays.lut, arrivals, True)

    def _arrived(self, cell: Cell) -> Iterator[tuple[str, Bit]]:
        """Input pins of one bit that a signal reaches (a constant does not), with that bit."""
        for pin in cell["input_pins"]:
            for bit in cell["pins"][pin]:
                if bit in self.arrival:
                    yield pin, bit

    def _propagate_carry(self, cell: Cell) -> None:
        """S and DI enter the chain at their bit, CI and CYINIT before the first."""
        pins, delays = cell["pins"], self.delays
        # `chain` are the signals on the carry so far, with the time at which they leave the cell by it;
        # `leaving` the same signals, with the time at which they come out of the next sum bit instead.
        chain = [
            (self._at_chain(bit) + delays.carry_pass, bit)
            for pin in ("CI", "CYINIT", "CI_TOP")
            for bit in pins.get(pin, ())
            if bit in self.arrival
        ]
        leaving = [(time + delays.carry_leave - delays.carry_pass, bit) for time, bit in chain]
        width = 4 * CARRY4_PER_CELL[cell["type"]]
        open_pins = ["x"] * width  # Yosys drops a pin whose wires all lead nowhere.
        carry_outs, outs = pins.get("CO", open_pins), pins.get("O", open_pins)
        for select, data, carry_out, out in zip(pins["S"], pins["DI"], carry_outs, outs, strict=True):
            entered = [(self._at_select(select), select)] if select in self.arrival else []
            data_in = [(self._at(data), data)] if data in self.arrival else []
            # A bit's own S reaches its sum; its DI only the carry, and with it the bits behind.
            own = [(time + delays.carry_through, bit) for time, bit in entered]
            self._arrive(out, 0.0, leaving + own, False)
            chain = chain + [(time + delays.carry_enter, bit) for time, bit in entered + data_in]
            leaving = leaving + [(time + delays.carry_through, bit) for time, bit in entered + data_in]
            self._arrive(carry_out, 0.0, chain, False)

    def _arrive(self, out: Bit, delay: float, arrivals: list[tuple[float, Bit]], is_lut: bool) -> None:
        if not isinstance(out, int) or not arrivals:
            return
        time, bit = max(arrivals)  # of equal times the higher number: the report is the same every time
        self.arrival[out], self.previous[out] = time + delay, bit
        self.luts[out] = max(self.luts[source] for _, source in arrivals) + is_lut

    def _at(self, bit: Bit) -> float:
        """Arrival at a pin behind a routed net."""
        return self.arrival[bit] + self.delays.net(self.fanout[bit])

    def _at_mux(self, bit: Bit, pin: str) -> float:
        """Arrival at a wide multiplexer: its data come from LUTs or multiplexers of the same slice."""
        source = self.cells[self.driver[bit]]["type"] if bit in self.driver else None
        if pin != "S" and (source in LUTS_PER_CELL or source in MUX_CELLS):
            return self.arrival[bit] + self.delays.net_into_mux
        return self._at(bit)

    def _at_select(self, bit: Bit) -> float:
        """Arrival at S of a carry cell: a signal that is not from a LUT goes through the one beside it."""
        if bit in self.driver and self.cells[self.driver[bit]]["type"] in LUTS_PER_CELL:
            return self.arrival[bit] + self.delays.net_lut_to_carry
        return self._at(bit) + self.delays.lut + self.delays.net_lut_to_carry

    def _at_chain(self, bit: Bit) -> float:
        """Arrival at CI of a carry cell: the last carry of another comes on a wire of its own."""
        if bit in self.driver and bit == self.cells[self.driver[bit]]["pins"].get("CO", [None])[-1]:
            return self.arrival[bit] + self.delays.net_carry_to_carry
        return self._at(bit)

    def _endpoints(self, levels: dict[Bit, int]) -> Iterator[tuple[int, float, int, Bit, str]]:
        """(level, delay with setup, LUT levels, bit, name) at each register input and output port."""
        for cell in self.cells:
            if not _is_register(cell):
                continue
            level = max((levels[bit] for bit in cell["outputs"] if bit in levels), default=0)
            for pin, bits in cell["pins"].items():
                for bit in bits if pin in ("D", "CE", "R", "S", "CLR", "PRE") else ():
                    if bit in self.arrival:
                        time = self._at_register(bit) if pin == "D" else self._at(bit)
                        name = f"{self.netnames.get(cell['outputs'][0], cell['name'])}/{pin}"
                        yield level, time + self.delays.setup, self.luts[bit], bit, name
        # All output ports are one stage, behind the deepest registers: they end in ones outside.
        last = max(levels.values(), default=0) + 1
        for bit in self.output_bits:
            if bit in self.arrival:
                name = self.netnames.get(bit, f"bit {bit}")
                yield last, self._at(bit) + self.delays.setup, self.luts[bit], bit, name

    def _at_register(self, bit: Bit) -> float:
        """Arrival at D: logic that feeds nothing else is packed with its register, with a wire of its own."""
        alone = self.fanout[bit] == 1 and bit in self.driver
        if alone and _is_combinational(self.cells[self.driver[bit]]):
            return self.arrival[bit] + self.delays.net_to_own_register
        return self._at(bit)

    def _stage(self, level: int, ends: list[tuple[float, int, Bit, str]]) -> Stage:
        delay, _, bit, name = max(ends)
        return Stage(level, len(ends), max(luts for _, luts, _, _ in ends), self._path(bit, name, delay))

    def _path(self, bit: Bit, end: str, delay: float) -> TimingPath:
        """The path that ends in `bit`, walked back to its start."""
        luts = carry4 = 0
        previous = self.previous[bit]
        while previous is not None:
            kind = self.cells[self.driver[bit]]["type"]
            luts += kind in LUTS_PER_CELL
            carry4 += CARRY4_PER_CELL.get(kind, 0)
            bit, previous = previous, self.previous[previous]
        return TimingPath(self.netnames.get(bit, f"bit {bit}"), end, round(delay, 3), luts, carry4)

    def _register_levels(self) -> dict[Bit, int]:
        """Registers passed since the input ports, by driven bit; a loop of registers counts as one."""
        # From cell to cell, through registers by D alone: an enable or a reset is no step of a pipeline.
        edges = [
            (self.driver[bit], index)
            for index, cell in enumerate(self.cells)
            for pin, bits in cell["pins"].items()
            if not _is_register(cell) or pin == "D"
            for bit in bits
            if pin in cell["input_pins"] and bit in self.driver
        ]
        count = len(self.cells)
        rows, columns = np.array(edges, int).reshape(-1, 2).T
        graph = csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(count, count))
        # Cells in a loop (a counter, a state that is fed back) have no order among them: taken as one, what
        # is left has no loops, and the longest path through it is well defined.
        n_groups, group = connected_components(graph, directed=True, connection="strong")
        steps = np.zeros(n_groups, np.int64)
        np.maximum.at(steps, group, [_steps(cell) for cell in self.cells])
        level = _longest(steps, set(zip(group[rows].tolist(), group[columns].tolist(), strict=True)))
        return {bit: int(level[group[index]]) for bit, index in self.driver.items()}


def _longest(steps: NDArray[np.int64], edges: set[tuple[int, int]]) -> NDArray[np.int64]:
    """Largest sum of `steps` (groups,) over the paths that end in each group of an acyclic graph.

    `edges` are pairs of a group and one that reads it; a group that reads itself is no edge.
    """
    sources: dict[int, set[int]] = {group: set() for group in range(len(steps))}
    for source, reader in edges:
        if source != reader:
            sources[reader].add(source)
    total = steps.copy()
    for reader in TopologicalSorter(sources).static_order():
        total[reader] += max((total[source] for source in sources[reader]), default=0)
    return total


def _simple(name: str, cell: Cell) -> Cell:
    """Type, pins, and the bits that are read and driven; constants are dropped from the latter."""
    pins, directions = cell["connections"], cell["port_directions"]
    by_direction: dict[str, list[Bit]] = {"input": [], "output": []}
    for pin, bits in pins.items():
        by_direction[directions[pin]] += [bit for bit in bits if isinstance(bit, int)]
    return {
        "name": name,
        "type": cell["type"],
        "pins": pins,
        "input_pins": {pin for pin, direction in directions.items() if direction == "input"},
        "inputs": by_direction["input"],
        "outputs": by_direction["output"],
    }


def _is_combinational(cell: Cell) -> bool:
    return cell["type"] in LUTS_PER_CELL or cell["type"] in MUX_CELLS or cell["type"] in CARRY4_PER_CELL


def _is_register(cell: Cell) -> bool:
    return cell["type"] in FF_CELLS or cell["type"] in SRL_CELLS


def _steps(cell: Cell) -> int:
    """Clock cycles from D to Q; a shift register's is its address, when that is constant, plus one."""
    if cell["type"] in FF_CELLS:
        return 1
    if cell["type"] not in SRL_CELLS:
        return 0
    pins = cell["pins"]
    address = pins["A"] if "A" in pins else [pins[f"A{i}"][0] for i in range(4)]
    if not all(bit in ("0", "1") for bit in address):
        return 1
    return 1 + sum(int(bit) << i for i, bit in enumerate(address))


def _port_bits(ports: dict[str, Any], direction: str) -> Iterator[Bit]:
    for port in ports.values():
        if port["direction"] == direction:
            yield from port["bits"]


def _bit_names(module: dict[str, Any]) -> dict[Bit, str]:
    """A name for each bit, one that the designer gave where there is one."""
    names: dict[Bit, str] = {}
    nets = module.get("netnames", {})
    for name, net in sorted(nets.items(), key=lambda item: item[1].get("hide_name", 0)):
        for position, bit in enumerate(net["bits"]):
            if isinstance(bit, int):
                names.setdefault(bit, f"{name}[{position}]" if len(net["bits"]) > 1 else name)
    return names
