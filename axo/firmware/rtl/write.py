"""Pipelined RTL of a network: raw hardware words in, score word and trigger bits out.

Two tops are written from firmware_templates/rtl around the traced program: `<name>_core` (packed
words to score word) and `<name>_trigger` (the trigger's own input ports, which follow from the network's
layout, to one bit per run-time threshold). Both take a new event every clock.
"""

from __future__ import annotations

import os
import re
import shutil
import string
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.files import write_json
from axo.firmware.rtl.pipeline import cut_evenly
from axo.firmware.rtl.ports import Port, RtlWord, describe_ports, place_words
from axo.firmware.stimuli import extreme_words, random_words
from axo.layout import Layout
from axo.network import Network, digest

if TYPE_CHECKING:
    from alkaid.types import CombLogic

LANGUAGES = {"verilog": "v", "vhdl": "vhd"}

MAX_THRESHOLDS = 32

DESIGN_FILE = "design.json"


@dataclass(frozen=True)
class RtlConfig:
    """How to write the RTL.

    `stages` is the number of pieces that registers cut the path into, from the input wires (unpacking
    is in the first piece) to the output registers (the comparison is in the last): the latency in
    cycles. `clock_mhz` is what the design is meant for: it changes no line of the RTL.
    `n_thresholds` None takes the network's number of working points, at least 1. `trigger` False
    writes the core alone.
    `solver_options` go to alkaid's solver for constant matrices. `fuse_adders` makes adders of three
    operands, which Vivado can lay into one row of LUTs; Yosys cannot and comes out larger and slower.
    """

    stages: int = 2
    clock_mhz: float = 40.0
    language: str = "verilog"
    n_thresholds: int | None = None
    trigger: bool = True
    fuse_adders: bool = False
    solver_options: dict[str, Any] = field(default_factory=dict)
    check_events: int = 10_000

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise UserError(f"RTL language {self.language!r} is none of {', '.join(LANGUAGES)}")
        if not 1 <= self.stages <= 64:
            raise UserError(f"RTL stages must be 1 to 64, not {self.stages}")
        if not self.clock_mhz > 0:
            raise UserError(f"RTL clock_mhz must be positive, not {self.clock_mhz}")
        if self.n_thresholds is not None and not 1 <= self.n_thresholds <= MAX_THRESHOLDS:
            raise UserError(f"RTL n_thresholds must be 1 to {MAX_THRESHOLDS}, not {self.n_thresholds}")


@dataclass(frozen=True)
class RtlDesign:
    """What was written. Latencies are clock cycles from valid_in to valid_out.

    `files` are in compile order; `trigger_top` is None, and there are no `ports`, when the trigger top
    was not asked for.
    """

    name: str
    language: str
    folder: Path
    files: tuple[Path, ...]
    core_top: str
    trigger_top: str | None
    layout: Layout
    words: tuple[RtlWord, ...]
    ports: tuple[Port, ...]
    score_bits: int
    n_thresholds: int
    stages: int
    latency_cycles: int
    clock_mhz: float
    initiation_interval_cycles: int
    digest: str
    checked_events: int

    @property
    def top(self) -> str:
        """The outermost module: the trigger where there is one, else the core."""
        return self.trigger_top or self.core_top

    @property
    def latency_ns(self) -> float:
        """Latency of the top at the intended clock."""
        return self.latency_cycles / self.clock_mhz * 1000

    @property
    def never_fires(self) -> int:
        """The lowest threshold that no score word reaches."""
        return 1 << self.score_bits

    @property
    def input_bits(self) -> int:
        """Width of the core's `words` port."""
        return sum(word.width for word in self.words)


def write_rtl(
    network: Network,
    folder: str | os.PathLike[str],
    config: RtlConfig | None = None,
    words: NDArray[np.integer] | None = None,
) -> RtlDesign:
    """Trace `network`, prove the trace on words, write the RTL into `folder` (replaced as a whole).

    Before anything is written, alkaid's exact interpreter is compared with the reference on random
    and extreme words, and on `words` (n, n_words) if given. Raises UserError for a network that
    cannot be expressed, a mismatch (with its event), a missing alkaid, or a folder that cannot be
    written. The folder is whole or absent: it is built beside and then renamed.
    """
    config = config or RtlConfig()
    folder = Path(folder)
    places = _places(network, config.trigger)
    program = _trace(network, config)
    checked = _check(network, program, config, words)
    design = _design(network, config, folder, *places, checked)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            files = _write_files(network, program, config, design, Path(scratch))
            design = RtlDesign(**{**design.__dict__, "files": tuple(folder / file.name for file in files)})
            _write_design(design, files[0].parent)
            shutil.rmtree(folder, ignore_errors=True)
            files[0].parent.rename(folder)
    except OSError as error:
        raise UserError(
            f"{folder}: RTL cannot be written ({error.strerror}); choose another output"
        ) from error
    return design


def _trace(network: Network, config: RtlConfig) -> CombLogic:
    from axo.firmware.rtl.trace import trace_network

    try:
        import alkaid  # noqa: F401  the tracer's one dependency, named when absent
    except ImportError as error:
        raise UserError("alkaid was not found; install axo[firmware] (pip install alkaid)") from error
    return trace_network(network, config.solver_options)


def _check(network: Network, program: CombLogic, config: RtlConfig, words: NDArray[np.integer] | None) -> int:
    from axo.firmware.rtl.trace import check_trace

    generator = np.random.default_rng(0)
    n_random = config.check_events // 2
    batches = [
        random_words(network, n_random, generator),
        extreme_words(network, config.check_events - n_random, generator),
    ]
    if words is not None:
        batches.append(words)
    return sum(check_trace(network, program, batch) for batch in batches if len(batch))


def _design(
    network: Network,
    config: RtlConfig,
    folder: Path,
    words: tuple[RtlWord, ...],
    ports: tuple[Port, ...],
    checked: int,
) -> RtlDesign:
    name = re.sub(r"\W", "_", network.name)
    name = name if name[:1].isalpha() else f"n_{name}"
    return RtlDesign(
        name=name,
        language=config.language,
        folder=folder,
        files=(),
        core_top=f"{name}_core",
        trigger_top=f"{name}_trigger" if config.trigger else None,
        layout=network.layout,
        words=words,
        ports=ports,
        score_bits=network.score_type.width,
        n_thresholds=_n_thresholds(network, config),
        stages=config.stages,
        latency_cycles=config.stages,
        clock_mhz=config.clock_mhz,
        initiation_interval_cycles=1,
        digest=digest(network),
        checked_events=checked,
    )


def _n_thresholds(network: Network, config: RtlConfig) -> int:
    n_thresholds = config.n_thresholds or max(len(network.thresholds), 1)
    if n_thresholds > MAX_THRESHOLDS:
        raise UserError(
            f"network {network.name!r}: has {n_thresholds} thresholds; RTL takes {MAX_THRESHOLDS}"
        )
    return n_thresholds


def _places(network: Network, trigger: bool) -> tuple[tuple[RtlWord, ...], tuple[Port, ...]]:
    if not any(word.width for word in network.words):
        raise UserError(f"network {network.name!r}: no word has a hardware width; there is no RTL to it")
    return place_words(network.layout, trigger)


def _write_files(
    network: Network, program: CombLogic, config: RtlConfig, design: RtlDesign, scratch: Path
) -> list[Path]:
    """Files in compile order, in a folder below `scratch`."""
    output = scratch / "rtl"
    output.mkdir()
    files = _write_program(program, config, design, scratch / "alkaid", output)
    fields = _fields(network, program, design)
    for top in ("core", "trigger") if config.trigger else ("core",):
        suffix = LANGUAGES[config.language]
        template = resources.files("axo.firmware_templates") / "rtl" / f"{top}.{suffix}"
        path = output / f"{design.name}_{top}.{suffix}"
        path.write_text(_Template(template.read_text()).substitute(fields[top]))
        files.append(path)
    return files


def _write_program(
    program: CombLogic, config: RtlConfig, design: RtlDesign, scratch: Path, output: Path
) -> list[Path]:
    """alkaid's modules: the arithmetic primitives used, the stages, the pipeline `<name>_program`."""
    from alkaid.codegen import RTLModel
    from alkaid.trace.passes import dead_code_elimin, fuse_ternary_adders
    from alkaid.trace.pipeline import to_pipeline

    suffix = LANGUAGES[config.language]
    top = f"{design.name}_program"
    if config.fuse_adders:
        program = dead_code_elimin(fuse_ternary_adders(program))
    program = cut_evenly(program, config.stages, with_trigger=config.trigger)
    # No registers at the ends: the unpacking before and the comparison behind share those stages.
    pipeline = to_pipeline(program, n_stages=config.stages, reg_inp=False, reg_out=False, verbose=False)
    RTLModel(
        pipeline, scratch, prj_name=top, flavor=config.language, print_latency=False, ternary_fuse=False
    ).write()
    sources = {path.stem: path.read_text() for path in (scratch / "src").glob(f"*.{suffix}")}
    # alkaid's own wrapper pads all words to one width; ours follows the hardware's.
    del sources[f"{top}_wrapper"]
    text = "\n".join(sources.values())
    primitives = {
        path.stem: path.read_text()
        for path in (scratch / "src" / "static").glob(f"*.{suffix}")
        if re.search(rf"\b{path.stem}\b", text)
    }
    for name in primitives:
        ours = resources.files("axo.firmware_templates") / "rtl" / f"{name}.{suffix}"
        if ours.is_file():
            primitives[name] = ours.read_text()
    files = []
    for name, source in [*sorted(primitives.items()), *sorted(sources.items(), key=_stage_order)]:
        # Generic names of stages would clash with those of another network on the same chip.
        renamed, named = (
            re.sub(r"\blogic(\d+)\b", rf"{design.name}_stage\1", part) for part in (source, name)
        )
        files.append(output / f"{named}.{suffix}")
        files[-1].write_text(renamed)
    return files


def _stage_order(item: tuple[str, str]) -> tuple[int, int]:
    """Tables, then stages, then the pipeline around them: each after what it instantiates."""
    stage = re.fullmatch(r"logic(\d+)", item[0])
    return (1, int(stage[1])) if stage else (0 if item[0].endswith("_tables") else 2, 0)


class _Template(string.Template):
    delimiter = "%"
    idpattern = r"(?a:[a-z_]+)"


def _fields(network: Network, program: CombLogic, design: RtlDesign) -> dict[str, dict[str, Any]]:
    """What is filled into the templates, by top."""
    syntax = _VHDL if design.language == "vhdl" else _VERILOG
    score_low, score_width = _score_place(network, program)
    live = [word for word, bits in zip(design.words, program.inp_kifs.sum(axis=0), strict=True) if bits]
    threshold_bits = design.score_bits + 1
    presence = {
        word.present: design.words[word.pt_word]
        for word in design.words
        if word.present is not None and word.pt_word is not None
    }
    index_bits = max((design.n_thresholds - 1).bit_length(), 1)
    common = {
        "name": design.name,
        "latency": design.latency_cycles,
        "banner": f"Written by axo from network {design.name}, sha256 {design.digest}.",
        "score_msb": design.score_bits - 1,
        "words_msb": design.input_bits - 1,
    }
    core = {
        **common,
        "layout": "\n".join(
            f"{syntax.comment}   [{word.offset + word.width - 1}:{word.offset}] {word.name}"
            f"{' s' if word.signed else ''}"
            for word in design.words
            if word.width
        ),
        "program_input_msb": sum(word.width for word in live) - 1,
        "program_output_msb": score_width - 1,
        "program_input": "\n".join(_copies(syntax, live)),
        # One stage has no register inside, hence no clock.
        "program_clock": syntax.program_clock if design.stages > 1 else "",
        "score": syntax.padded("program_output", score_width, score_low, design.score_bits),
    }
    trigger = {
        **common,
        "inputs": "\n".join(
            f"{syntax.comment} {line}" for line in describe_ports(design.layout, design.ports)
        ),
        "never": design.never_fires,
        "n_thresholds": design.n_thresholds,
        "trigger_msb": design.n_thresholds - 1,
        "threshold_bits": threshold_bits,
        "threshold_msb": threshold_bits - 1,
        "index_bits": index_bits,
        "index_msb": index_bits - 1,
        "object_ports": "\n".join(syntax.port(port.name, port.width) for port in design.ports),
        "presence": "\n".join(syntax.present(name, _source(syntax, pt)) for name, pt in presence.items()),
        "presence_signals": "\n".join(map(syntax.present_signal, presence)),
        "unpack": "\n".join(_unpack(syntax, design)),
    }
    return {"core": core, "trigger": trigger}


def _score_place(network: Network, program: CombLogic) -> tuple[int, int]:
    """First bit and width of the program's output within the score word."""
    signed, integers, fraction = (int(part) for part in program.out_qint[0].kif)
    low = network.score_type.fraction - fraction
    if signed or low < 0 or low + integers + fraction > network.score_type.width:
        raise UserError(f"network {network.name!r}: the traced score does not fit {network.score_type}")
    return low, integers + fraction


def _copies(syntax: _Syntax, live: list[RtlWord]) -> Iterator[str]:
    offset = 0
    for word in live:
        source = syntax.slice("words", word.offset, word.width)
        yield syntax.assign(syntax.slice("program_input", offset, word.width), source)
        offset += word.width


def _source(syntax: _Syntax, word: RtlWord) -> str:
    """Where `word` comes in."""
    assert word.port is not None and word.port_offset is not None
    return syntax.slice(word.port, word.port_offset, word.width)


def _unpack(syntax: _Syntax, design: RtlDesign) -> Iterator[str]:
    for word in design.words:
        if word.port is None:
            continue
        source = _source(syntax, word)
        if word.present:
            source = syntax.where(word.present, source, word.width)
        yield syntax.assign(syntax.slice("words", word.offset, word.width), source)


class _Verilog:
    comment = "//"
    program_clock = "        .clk(clk),\n"

    def slice(self, name: str, offset: int, width: int) -> str:
        return f"{name}[{offset + width - 1}:{offset}]"

    def assign(self, target: str, source: str) -> str:
        return f"    assign {target} = {source};"

    def port(self, name: str, width: int) -> str:
        return f"    input  wire [{width - 1}:0] {name},"

    def present_signal(self, name: str) -> str:
        return f"    wire {name};"

    def present(self, name: str, pt: str) -> str:
        return f"    wire {name} = |{pt};"

    def where(self, condition: str, source: str, width: int) -> str:
        return f"{condition} ? {source} : {width}'d0"

    def padded(self, name: str, width: int, low: int, total: int) -> str:
        high = total - width - low
        parts = [f"{high}'d0"] * (high > 0) + [name] + [f"{low}'d0"] * (low > 0)
        return "{" + ", ".join(parts) + "}"


class _Vhdl(_Verilog):
    comment = "--"
    program_clock = "clk => clk, "

    def slice(self, name: str, offset: int, width: int) -> str:
        return f"{name}({offset + width - 1} downto {offset})"

    def assign(self, target: str, source: str) -> str:
        return f"    {target} <= {source};"

    def port(self, name: str, width: int) -> str:
        return f"        {name} : in std_logic_vector({width - 1} downto 0);"

    def present_signal(self, name: str) -> str:
        return f"    signal {name} : boolean;"

    def present(self, name: str, pt: str) -> str:
        return f"    {name} <= unsigned({pt}) /= 0;"

    def where(self, condition: str, source: str, width: int) -> str:
        return f'{source} when {condition} else "{"0" * width}"'

    def padded(self, name: str, width: int, low: int, total: int) -> str:
        high = total - width - low
        parts = [f'"{"0" * high}"'] * (high > 0) + [name] + [f'"{"0" * low}"'] * (low > 0)
        return " & ".join(parts)


_Syntax = _Verilog
_VERILOG, _VHDL = _Verilog(), _Vhdl()


def _write_design(design: RtlDesign, folder: Path) -> None:
    """The design as JSON beside its files, paths relative."""
    document = {key: value for key, value in vars(design).items() if key not in ("folder", "layout")}
    document |= {key: [asdict(item) for item in document[key]] for key in ("words", "ports")}
    document["layout"] = {"name": design.layout.name, "sha256": design.layout.digest}
    write_json(folder / DESIGN_FILE, {**document, "files": [file.name for file in design.files]})
