"""A network as a library that CMSSW loads (``NAME.so``, the hls4mlEmulator interface), run here too.

The library is the C++ of an HLS project from the point on where CMSSW's caller enters: CMSSW
halves pt itself and hands over 57 words of type ap_fixed<18,13> (L1TGlobal's AXOL1TLCondition). It
gives back what that caller asks for by type, even where the network's own types are narrower or
saturate: std::any_cast would refuse any other.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError
from axo.files import write_text
from axo.firmware.hls.path import CMSSW_WORD_TYPE
from axo.firmware.hls.project import (
    HlsProject,
    checked_words,
    compile_core,
    compile_cpp,
    fill_template,
    template_fields,
)
from axo.firmware.tools.run import ToolRun, run_tool
from axo.interchange.axol1tl import halved_pt
from axo.network import CMS_WORDS, WORDS, FixedType, Network
from axo.network.reference import apply
from axo.network.types import Ints

CMSSW_EMBEDDING_TYPE = FixedType(10, 7, True, "RND_CONV", "SAT")
CMSSW_SCORE_TYPE = FixedType(18, 14, False)
"""The types of result that AXOL1TLCondition has compiled in."""


def caller_type(kind: FixedType, cmssw: FixedType) -> FixedType:
    """The type a caller uses for values of `kind`: CMSSW's when it holds each of them, else `kind`."""
    up = cmssw.fraction - kind.fraction
    fits = up >= 0 and kind.min_int << up >= cmssw.min_int and kind.max_int << up <= cmssw.max_int
    return cmssw if fits else kind


@dataclass(frozen=True)
class Library:
    """A compiled library: `path` of NAME.so and of the `client` that loads it, and its `network`.

    `input_type`, `embedding_type` and `score_type` are those that a caller must use: a pointer to
    `input_type` goes in, a pointer to std::pair<std::array<embedding_type, n>, score_type> comes back.
    """

    path: Path
    client: Path
    network: Network

    input_type = CMSSW_WORD_TYPE

    @property
    def embedding_type(self) -> FixedType:
        return caller_type(self.network.types[self.network.embedding], CMSSW_EMBEDDING_TYPE)

    @property
    def score_type(self) -> FixedType:
        return caller_type(self.network.score_type, CMSSW_SCORE_TYPE)


class LibraryResult(NamedTuple):
    """`score_word` (n,) and `embedding_word` (n, k), int32, in units of the network's types."""

    score_word: NDArray[np.int32]
    embedding_word: NDArray[np.int32]


class LibraryTiming(NamedTuple):
    """Time of `events` calls, one event each: in predict() alone, and with prepare and read."""

    events: int
    predict_s: float
    call_s: float


def compile_library(project: HlsProject, folder: str | os.PathLike[str] | None = None) -> Library:
    """Compile ``NAME.so`` and a client into `folder` (default: ``abi`` in the project), with sources.

    Raises UserError when the network does not begin as CMSSW's caller expects, or g++ is missing;
    ToolError when it fails.
    """
    _require_entry(project)
    folder = Path(folder).absolute() if folder else project.folder / "abi"
    name = project.name
    draft = Library(folder / f"{name}.so", folder / "client", project.network)
    fields = {
        **template_fields(project),
        "unscaled_type": CMSSW_WORD_TYPE.cpp,
        "caller_embedding_type": draft.embedding_type.cpp,
        "caller_score_type": draft.score_type.cpp,
    }
    for template, target in (
        ("emulator.h", "emulator.h"),
        ("model.cpp.in", f"{name}_emulator.cpp"),
        ("client.cpp.in", "client.cpp"),
    ):
        write_text(folder / target, fill_template(f"abi/{template}", fields))
    flags = (f"-I{folder}", *project.include_flags)
    compile_cpp(
        [folder / f"{name}_emulator.cpp", compile_core(project)],
        draft.path,
        ["-shared", "-Wl,-z,defs", *flags],
    )
    compile_cpp([folder / "client.cpp"], draft.client, flags, ["-ldl"])
    return draft


def _require_entry(project: HlsProject) -> None:
    network = project.network
    if project.entry == WORDS:
        raise UserError(
            f"network {network.name!r}: CMSSW hands over halved pt, so a library needs a network whose "
            "first operation is a shift, and which reads the raw words in no other"
        )
    first = network.operations[0]
    if network.words == CMS_WORDS and not np.array_equal(first.shift, halved_pt().shift):  # type: ignore[attr-defined]
        raise UserError(
            f"network {network.name!r}: operation {first.name!r} is not CMSSW's halving of pt; "
            "a library would see other words"
        )


def run_library(library: Library, words: ArrayLike, *, timeout_s: float = 3600) -> LibraryResult:
    """Call the library event by event on `words` (n, n_words) int16, the raw hardware words.

    Raises UserError when the library fails, or when a word is beyond what CMSSW's type holds and the
    network would not wrap it in the same way.
    """
    return run_libraries([library], words, timeout_s=timeout_s)[0]


def run_libraries(
    libraries: Sequence[Library], words: ArrayLike, *, timeout_s: float = 3600
) -> list[LibraryResult]:
    """As run_library, all `libraries` loaded in one process; they must have the same types."""
    table, _ = _call(libraries, words, timeout_s)
    return [_in_network_units(library, rows) for library, rows in zip(libraries, table, strict=True)]


def _in_network_units(library: Library, rows: NDArray[np.int32]) -> LibraryResult:
    """Integers of the caller's types, (n, 1 + k), as those of the network's; both hold the same values."""
    network = library.network
    kinds = (
        (library.score_type, network.score_type),
        (library.embedding_type, network.types[network.embedding]),
    )
    results = []
    for values, (caller, own) in zip((rows[:, 0], rows[:, 1:]), kinds, strict=True):
        drop = caller.fraction - own.fraction
        if np.any(values & ((1 << drop) - 1)):
            raise UserError(f"{library.path}: gave values that {own} does not have")
        results.append(values >> drop)
    return LibraryResult(*results)


def time_library(library: Library, words: ArrayLike, *, timeout_s: float = 3600) -> LibraryTiming:
    """Time the three calls, event by event, as CMSSW makes them."""
    _, timings = _call([library], words, timeout_s)
    return timings[0]


def unscaled_words(network: Network, words: ArrayLike) -> Ints:
    """What CMSSW makes of raw words: the network's first operation, (n, n_words) integers.

    Raises UserError naming an event whose word the caller's type would wrap and the network not.
    """
    first = network.operations[0]
    raw = checked_words(network, words).astype(np.int64)
    unscaled = apply(first, {first.input: raw}, network.types)
    follows = [operation for operation in network.operations[1:] if first.name in operation.inputs]
    wraps_alike = bool(follows) and all(
        operation.op == "linear" and network.types[operation.name] == CMSSW_WORD_TYPE for operation in follows
    )
    limit = 1 << (CMSSW_WORD_TYPE.integer - 1)
    outside = np.argwhere((unscaled < -limit) | (unscaled >= limit))
    if len(outside) and not wraps_alike:
        event, word = outside[0]
        raise UserError(
            f"event {event}: word {network.words[word].name} = {raw[event, word]} does not fit in "
            f"{CMSSW_WORD_TYPE}, the type CMSSW uses; give words within their hardware widths"
        )
    return unscaled


def _call(
    libraries: Sequence[Library], words: ArrayLike, timeout_s: float
) -> tuple[NDArray[np.int32], list[LibraryTiming]]:
    """Results (libraries, n, 1 + k) and timings of one client process."""
    first = libraries[0]
    unscaled = unscaled_words(first.network, words).astype(np.int32)
    n_embedding = first.network.sizes[first.network.embedding]
    with tempfile.TemporaryDirectory(dir=first.client.parent, prefix=".run.") as folder:
        source, results = Path(folder) / "words", Path(folder) / "results"
        np.ascontiguousarray(unscaled).tofile(source)
        run = run_tool(
            [first.client, source, results, *(library.path for library in libraries)],
            cwd=first.client.parent,
            log=first.client.with_name("client_run.log"),
            timeout_s=timeout_s,
        )
        table = np.fromfile(results, np.int32)
    return table.reshape(len(libraries), len(unscaled), 1 + n_embedding), _timings(run)


def _timings(run: ToolRun) -> list[LibraryTiming]:
    lines = [line.split() for line in run.log.read_text().splitlines()]
    return [LibraryTiming(int(events), float(predict), float(call)) for events, predict, call in lines]
