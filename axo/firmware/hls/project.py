"""A network as an HLS project, and its C++ run here as the emulator.

hls4ml writes the dense layers (axo.firmware.hls.core); a top function from firmware_templates/hls
adds the rest, so that the project is the whole path: raw hardware words to score word and one
trigger bit per threshold. ``vitis-run --mode hls --tcl build_prj.tcl`` in the folder synthesises it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from string import Template
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.config import to_plain
from axo.errors import UserError, nearest
from axo.files import read_json, write_json, write_text
from axo.firmware.hls.core import Core, find_core, require_strategy, write_core
from axo.firmware.hls.path import path_fields, traced
from axo.firmware.tools.run import require_tool, run_tool
from axo.network import Network, digest, evaluate
from axo.network.types import Ints

BACKENDS = {"vitis": "Vitis", "vivado": "Vivado"}
COMPILE_TIMEOUT_S = 600.0
# Hidden and not unique: two libraries in one process must not share each other's functions.
COMPILER_FLAGS = (
    "-std=c++17",
    "-O3",
    "-DNDEBUG",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-gnu-unique",
    "-Wno-unknown-pragmas",
)
MANIFEST = "axo_hls.json"
N_VECTORS = 256


@dataclass(frozen=True)
class HlsConfig:
    """What the HLS tool is asked for.

    `latency_cycles` bounds the latency (default: 50 ns, two bunch crossings, of `clock_mhz`);
    `strategy` is hls4ml's for dense layers (of hls_core.STRATEGIES).
    Raises UserError for a value that no tool would take.
    """

    backend: str = "vitis"
    part: str = "xcvu9p-flga2104-2L-e"
    clock_mhz: float = 240.0
    n_thresholds: int = 4
    latency_cycles: int | None = None
    strategy: str = "latency"

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            hint = nearest(str(self.backend), list(BACKENDS))
            raise UserError(f"hls: backend {self.backend!r} is none of {', '.join(BACKENDS)}{hint}")
        require_strategy(self.strategy, "hls: strategy")
        if not self.clock_mhz > 0:
            raise UserError(f"hls: clock_mhz {self.clock_mhz} must be positive")
        if not 1 <= self.n_thresholds <= 64:
            raise UserError(f"hls: n_thresholds {self.n_thresholds} must be 1 to 64")
        if self.latency_cycles is not None and self.latency_cycles < 1:
            raise UserError(f"hls: latency_cycles {self.latency_cycles} must be at least 1")

    @property
    def latency_bound_cycles(self) -> int:
        """The bound given to the tool, in clock cycles."""
        return self.latency_cycles or max(int(0.050 * self.clock_mhz), 1)


@dataclass(frozen=True)
class HlsProject:
    """A written project: `folder`, the `network` it expresses, its `config`.

    `name` is the top function's, `namespace` holds all other C++ and differs between networks.
    """

    folder: Path
    network: Network
    config: HlsConfig

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def namespace(self) -> str:
        return f"axo_{self.name}_{digest(self.network)[:8]}"

    @property
    def core_name(self) -> str:
        """hls4ml's function and file."""
        return f"{self.name}_network"

    @property
    def core(self) -> Core:
        """The part of the network that hls4ml has."""
        return find_core(self.network)

    @property
    def core_source(self) -> Path:
        """The C++ file of hls4ml's function."""
        return self.folder / "firmware" / f"{self.core_name}.cpp"

    @property
    def include_flags(self) -> tuple[str, ...]:
        """Compiler flags that make the project's headers and hls4ml's ap_types found."""
        return (f"-I{self.folder}", f"-I{self.folder / 'firmware'}", f"-I{self.folder / 'firmware/ap_types'}")


class Emulation(NamedTuple):
    """What the HLS C++ gives: `score_word` (n,) and `embedding_word` (n, k) int32;

    `trigger_bits` (n, number of thresholds) bool.
    """

    score_word: NDArray[np.int32]
    embedding_word: NDArray[np.int32]
    trigger_bits: NDArray[np.bool_]


def write_project(
    network: Network,
    folder: str | os.PathLike[str],
    config: HlsConfig | None = None,
    words: ArrayLike | None = None,
) -> HlsProject:
    """Write the project into `folder`, which is replaced as a whole when all is well.

    `words` (n, n_words) of the layout's dtype become the test bench's golden vectors (default: N_VECTORS
    random ones). Raises UserError when hls4ml cannot express the network (naming the operation), when what
    it wrote differs from the network, or when the folder cannot be written.
    """
    folder = Path(folder).absolute()
    config = config or HlsConfig()
    words = _golden_words(network) if words is None else checked_words(network, words)
    if not len(words):
        raise ValueError("at least one event is needed for the test bench")
    if not _is_replaceable(folder):
        raise UserError(f"{folder}: is not an HLS project of axo; choose an empty folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            draft = HlsProject(Path(temporary) / "project", network, config)
            draft.folder.mkdir()
            _write(draft, words)
            if folder.exists():
                # Moved away whole before it is deleted: a half-deleted one could be taken for whole.
                folder.rename(Path(temporary) / "old")
            draft.folder.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: the HLS project cannot be written ({error.strerror})") from error
    return HlsProject(folder, network, config)


def _is_replaceable(folder: Path) -> bool:
    if not folder.exists():
        return True
    return folder.is_dir() and ((folder / MANIFEST).is_file() or not any(folder.iterdir()))


def _write(project: HlsProject, words: NDArray[np.integer]) -> None:
    network, config = project.network, project.config
    write_core(
        project.core,
        project.folder,
        project=project.core_name,
        namespace=project.namespace,
        backend=BACKENDS[config.backend],
        part=config.part,
        clock_period_ns=round(1000 / config.clock_mhz, 4),
        stamp=digest(network)[:8],
        strategy=config.strategy,
    )
    fields = {**template_fields(project), "n_vectors": str(len(words))}
    firmware, name = project.folder / "firmware", project.name
    for template, target in (
        ("axo_operations.h", firmware / "axo_operations.h"),
        ("path.h.in", firmware / f"{name}_path.h"),
        ("top.h.in", firmware / f"{name}.h"),
        ("top.cpp.in", firmware / f"{name}.cpp"),
        ("test_bench.cpp.in", project.folder / f"{name}_test.cpp"),
        ("emulator.cpp.in", project.folder / "emulator.cpp"),
    ):
        write_text(target, fill_template(f"hls/{template}", fields))
    _write_vectors(project, words)
    _make_top(project)
    write_json(project.folder / MANIFEST, manifest(project))


def template_fields(project: HlsProject) -> dict[str, str]:
    """Fields that the templates share, of the network and of the configuration."""
    network, config = project.network, project.config
    numbers = {
        "n_words": len(network.words),
        "n_embedding": network.sizes[network.embedding],
        "n_thresholds": config.n_thresholds,
        "score_width": network.score_type.width,
        "latency_cycles": config.latency_bound_cycles,
    }
    return {
        "title": f"Network {network.name}, sha256 {digest(network)}",
        "name": project.name,
        "core": project.core_name,
        "guard": project.name.upper(),
        "namespace": project.namespace,
        **{key: str(value) for key, value in numbers.items()},
        **path_fields(project.core, f"{project.namespace}::{project.core_name}"),
    }


def fill_template(name: str, fields: dict[str, str]) -> str:
    """Text of a template in axo.firmware_templates, its ``$fields`` filled in (none in a plain file)."""
    text = resources.files("axo.firmware_templates").joinpath(name).read_text()
    return Template(text).substitute(fields) if name.endswith(".in") else text


def manifest(project: HlsProject) -> dict[str, object]:
    """What the project was made from; the last file written."""
    packages = ["hls4ml", "da4ml"] if project.config.strategy == "distributed_arithmetic" else ["hls4ml"]
    return {
        "network": project.name,
        "network_sha256": digest(project.network),
        "config": to_plain(project.config),
        **{package: metadata.version(package) for package in packages},
    }


def _make_top(project: HlsProject) -> None:
    """hls4ml's Tcl scripts build its own function: let them build our top, from both files."""
    scripts = project.folder
    settings = (scripts / "project.tcl").read_text()
    ours = settings.replace(f'set project_name "{project.core_name}"', f'set project_name "{project.name}"')
    build = (scripts / "build_prj.tcl").read_text()
    add = 'add_files firmware/${project_name}.cpp -cflags "-std=c++0x"\n'
    both = build.replace(add, f"{add}{add.replace('.cpp', '_network.cpp')}")
    both = both.replace("add_files -tb firmware/weights\n", "")
    if settings == ours or build == both:
        raise UserError("hls4ml's Tcl scripts are not those of 1.3; install hls4ml>=1.3,<1.4")
    write_text(scripts / "project.tcl", ours)
    write_text(scripts / "build_prj.tcl", both)
    # It would build hls4ml's function alone, as a Python module.
    (scripts / "build_lib.sh").unlink()


def _golden_words(network: Network) -> NDArray[np.integer]:
    """All-zero, lowest and highest words, then random ones within the hardware widths."""
    low, high = network.layout.low, network.layout.high
    random = np.random.default_rng(1).integers(low, high + 1, (N_VECTORS - 3, len(low)))
    return np.concatenate([[np.zeros_like(low), low, high], random]).astype(network.layout.dtype)


def _write_vectors(project: HlsProject, words: NDArray[np.integer]) -> None:
    score_word = evaluate(project.network, words).score_word.astype(np.int64)
    thresholds = _bench_thresholds(project, score_word)
    bits = score_word[:, None] >= thresholds
    data = project.folder / "tb_data"
    for name, table in (
        ("tb_words.dat", words),
        ("tb_expected.dat", np.column_stack([score_word, bits])),
        ("tb_thresholds.dat", thresholds[:, None]),
    ):
        lines = (" ".join(map(str, row)) for row in table.astype(np.int64).tolist())
        write_text(data / name, "\n".join(lines) + "\n")


def _bench_thresholds(project: HlsProject, score_word: Ints) -> Ints:
    """The network's working points; what is left is spread over the scores, so that bits change."""
    n = project.config.n_thresholds
    spread = np.quantile(score_word, (np.arange(n) + 0.5) / n, method="higher").astype(np.int64)
    own = np.array(sorted(project.network.thresholds.values())[:n], np.int64)
    return np.concatenate([own, spread[len(own) :]])


def read_project(folder: str | os.PathLike[str], network: Network) -> HlsProject:
    """The project that write_project left in `folder`; UserError when it is of another network."""
    folder = Path(folder).absolute()
    document = read_json(folder / MANIFEST)
    if document.get("network_sha256") != digest(network):
        raise UserError(
            f"{folder}: is the HLS project of another network than {network.name!r}; write it anew"
        )
    return HlsProject(folder, network, HlsConfig(**document["config"]))


def compile_cpp(
    sources: Sequence[Path],
    output: Path,
    flags: Sequence[str],
    libraries: Sequence[str] = (),
    timeout_s: float = COMPILE_TIMEOUT_S,
) -> Path:
    """Compile with g++ (COMPILER_FLAGS, `flags`, `libraries`) into `output`, whole or absent; log beside it.

    Raises UserError when g++ is not installed, ToolError when it fails or outlasts `timeout_s`.
    """
    compiler = require_tool("g++", "install a C++ compiler (Debian and Ubuntu: apt install g++)")
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        run_tool(
            [compiler, *COMPILER_FLAGS, *flags, *sources, *libraries, "-o", temporary],
            cwd=output.parent,
            log=output.with_name(f"{output.name}.log"),
            timeout_s=timeout_s,
        )
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    return output


def compile_core(project: HlsProject) -> Path:
    """The object file of hls4ml's C++, compiled once per project: emulator, library, bench share it."""
    output = project.folder / f"{project.core_name}.o"
    if output.is_file():
        return output
    return compile_cpp([project.core_source], output, ["-c", *project.include_flags])


def compile_emulator(project: HlsProject, *, trace: bool = False) -> Path:
    """Compile the project's C++ into a program that run_emulator drives; returns its path.

    With `trace` it writes every tensor instead (for trace_emulator). Raises as compile_cpp.
    """
    main, flags = project.folder / "emulator.cpp", project.include_flags
    if trace:
        return compile_cpp(
            [main, project.core_source], project.folder / "emulator_trace", ["-DAXO_TRACE", *flags]
        )
    return compile_cpp([main, compile_core(project)], project.folder / "emulator", flags)


def compile_test_bench(project: HlsProject) -> Path:
    """Compile the vendor tool's test bench and top function with g++; run it in the project's folder."""
    top = project.folder / "firmware" / f"{project.name}.cpp"
    bench = project.folder / f"{project.name}_test.cpp"
    return compile_cpp(
        [bench, top, compile_core(project)], project.folder / "test_bench", project.include_flags
    )


def run_emulator(
    project: HlsProject,
    words: ArrayLike,
    thresholds: Sequence[int] = (),
    *,
    timeout_s: float = 3600,
) -> Emulation:
    """Run the compiled C++ over `words` (n, n_words), any value of the layout's dtype.

    At most config.n_thresholds `thresholds` (score words); the other registers are out of reach.
    Raises UserError when the emulator is not compiled or fails.
    """
    never = project.network.score_type.max_int + 1
    n_thresholds = project.config.n_thresholds
    if len(thresholds) > n_thresholds or not all(0 <= threshold <= never for threshold in thresholds):
        raise UserError(f"thresholds {list(thresholds)}: must be at most {n_thresholds}, from 0 to {never}")
    registers = [*thresholds, *[never] * (n_thresholds - len(thresholds))]
    n_embedding = project.network.sizes[project.network.embedding]
    table = _run(project, "emulator", words, registers, 1 + n_embedding + n_thresholds, np.int32, timeout_s)
    return Emulation(
        table[:, 0].copy(),
        table[:, 1 : 1 + n_embedding].copy(),
        table[:, 1 + n_embedding :][:, : len(thresholds)].astype(bool),
    )


def trace_emulator(project: HlsProject, words: ArrayLike, *, timeout_s: float = 3600) -> dict[str, Ints]:
    """Every tensor of the C++, name -> (n, size) integers, to be held against Evaluation.tensors.

    Needs ``compile_emulator(project, trace=True)``. Values pass through float64: exact to 53 bits.
    """
    core = project.core
    layout = traced(core)
    registers = [0] * project.config.n_thresholds
    n_values = sum(size for _, size in layout)
    table = _run(project, "emulator_trace", words, registers, n_values, np.float64, timeout_s)
    ends = np.cumsum([size for _, size in layout])[:-1]
    types = project.network.types
    tensors = {
        name: np.ldexp(values, types[name].fraction).astype(np.int64)
        for (name, _), values in zip(layout, np.split(table, ends, axis=1), strict=True)
    }
    return {name: tensors[core.source(name)] for name in types}


def _run(
    project: HlsProject,
    program: str,
    words: ArrayLike,
    registers: Sequence[int],
    n_columns: int,
    dtype: type[np.generic],
    timeout_s: float,
) -> NDArray:
    """Rows that `program` of the project writes, (n, n_columns)."""
    words = checked_words(project.network, words)
    executable = project.folder / program
    if not executable.is_file():
        raise UserError(f"{executable}: is not there; compile the emulator first")
    with tempfile.TemporaryDirectory(dir=project.folder, prefix=".run.") as folder:
        source, results = Path(folder) / "words", Path(folder) / "results"
        words.tofile(source)
        run_tool(
            [executable, source, results, *map(str, registers)],
            cwd=project.folder,
            log=project.folder / f"{program}_run.log",
            timeout_s=timeout_s,
        )
        table = np.fromfile(results, dtype)
    if table.size != len(words) * n_columns:
        raise UserError(f"{executable}: wrote {table.size} values for {len(words)} events of {n_columns}")
    return table.reshape(len(words), n_columns)


def checked_words(network: Network, words: ArrayLike) -> NDArray[np.integer]:
    """`words` as C-contiguous (n, n_words) of the layout's dtype; ValueError when they do not fit it."""
    array, dtype = np.asarray(words), network.layout.dtype
    if array.ndim != 2 or array.shape[1] != len(network.words):
        raise ValueError(f"words must be (n, {len(network.words)}), not {array.shape}")
    narrow = array.astype(dtype)
    if not np.issubdtype(array.dtype, np.integer) or not np.array_equal(narrow, array):
        raise ValueError(f"words must be integers that fit in {np.dtype(dtype)}")
    return np.ascontiguousarray(narrow)
