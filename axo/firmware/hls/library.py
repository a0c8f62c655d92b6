"""A network as a library that CMSSW loads (``NAME.so``, the hls4mlEmulator interface), run here too.

The library takes what its caller hands over, gets the raw hardware words back from that, exactly, and
runs the whole path from them: so it gives what the reference gives of those words, whatever the
network makes of half GeV. It answers both requests of L1TGlobal's AXOL1TLCondition, by type, even where
the network's own types are narrower or saturate: std::any_cast would refuse any other.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError
from axo.files import write_text
from axo.firmware.hls.project import (
    HlsProject,
    checked_words,
    compile_core,
    compile_cpp,
    fill_template,
    template_fields,
)
from axo.firmware.tools.run import ToolRun, run_tool
from axo.layout import Layout, Quantity
from axo.network import FixedType, Network
from axo.network.types import Ints

CMSSW_WORD_TYPE = FixedType(18, 13)
CMSSW_EMBEDDING_TYPE = FixedType(10, 7, True, "RND_CONV", "SAT")
CMSSW_SCORE_TYPE = FixedType(18, 14, False)
CMSSW_VALUE_TYPE = FixedType(18, 14, True, "RND_CONV", "SAT")
"""The types that AXOL1TLCondition (CMSSW of January 2026, L1Trigger/L1TGlobal) has compiled in.

It hands over CMSSW_WORD_TYPE. Of models GTADModel_v3 and v4 it wants a pair of an array of eight
CMSSW_EMBEDDING_TYPE and the score; of any other, one of a CMSSW_VALUE_TYPE and the score.
"""


def caller_type(kind: FixedType, cmssw: FixedType) -> FixedType:
    """The type a caller uses for values of `kind`: CMSSW's when it holds each of them, else `kind`."""
    up = cmssw.fraction - kind.fraction
    fits = up >= 0 and kind.min_int << up >= cmssw.min_int and kind.max_int << up <= cmssw.max_int
    return cmssw if fits else kind


@dataclass(frozen=True, eq=False)
class CallerInput:
    """What a caller hands over: numbers of `type`, word i divided by ``2**halvings[i]`` (n_words,)."""

    type: FixedType
    halvings: Ints

    def holds(self, words: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether `type` carries each of `words` (n, n_words) exactly."""
        values = words.astype(np.int64) << (self.type.fraction - self.halvings)
        return (values >= self.type.min_int) & (values <= self.type.max_int)


def caller_input(layout: Layout) -> CallerInput:
    """How a caller hands over the words of `layout`.

    As CMSSW does where that is exact: pt in GeV, other words as they are, in ap_fixed<18,13>. That needs
    pt with steps of a power of two in GeV, and words that fit. Of any other layout all words
    come as they are, in the smallest type that holds each of them (ap_ufixed<10,10> of CICADA's).
    """
    halvings = [_halvings_to_gev(quantity) for quantity in layout.quantities]
    if "pt" in {quantity.role for quantity in layout.quantities} and None not in halvings:
        cmssw = CallerInput(CMSSW_WORD_TYPE, np.array(halvings, np.int64))
        if cmssw.holds(np.stack([layout.low, layout.high])).all():
            return cmssw
    signed = min(layout.low) < 0
    limits = np.concatenate([layout.high, ~layout.low[layout.low < 0]])
    width = max(int(limits.max()).bit_length() + int(signed), 1)
    return CallerInput(FixedType(width, width, bool(signed)), np.zeros(len(layout.words), np.int64))


def _halvings_to_gev(quantity: Quantity) -> int | None:
    """Halvings that make GeV of a pt word, 0 for other words; None where halving does not, exactly."""
    if quantity.role != "pt":
        return 0
    halvings = -math.log2(quantity.step_value)
    exact = quantity.unit == "GeV" and not quantity.origin and halvings == int(halvings)
    return int(halvings) if exact and 0 <= halvings <= CMSSW_WORD_TYPE.fraction else None


@dataclass(frozen=True)
class Library:
    """A compiled library: `path` of NAME.so and of the `client` that loads it, and its `network`.

    A caller must use these types: a pointer to `input.type` goes in; a pointer to
    std::pair<std::array<embedding_type, n>, score_type> comes back filled, or one to
    std::pair<CMSSW_VALUE_TYPE, score_type>, whose first number is the score too, as far as its type
    reaches (as CMS's own models v5 and v6 give it).
    """

    path: Path
    client: Path
    network: Network

    @cached_property
    def input(self) -> CallerInput:
        return caller_input(self.network.layout)

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

    Raises UserError when g++ is missing, ToolError when it fails.
    """
    folder = Path(folder).absolute() if folder else project.folder / "abi"
    name = project.name
    draft = Library(folder / f"{name}.so", folder / "client", project.network)
    given = draft.input
    drops = given.type.fraction - given.halvings
    fields = {
        **template_fields(project),
        "given_type": given.type.cpp,
        "given": _description(given),
        "drops": ", ".join(map(str, drops)),
        "steps": ", ".join(f"{0.5**halvings:g}" for halvings in given.halvings.tolist()),
        "caller_embedding_type": draft.embedding_type.cpp,
        "caller_score_type": draft.score_type.cpp,
        "caller_value_type": CMSSW_VALUE_TYPE.cpp,
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


def _description(given: CallerInput) -> str:
    steps = sorted({0.5**halvings for halvings in given.halvings.tolist() if halvings}, reverse=True)
    if not steps:
        return "raw hardware words"
    return f"pt in GeV (word * {' or '.join(f'{step:g}' for step in steps)}), other words as they are"


def run_library(library: Library, words: ArrayLike, *, timeout_s: float = 3600) -> LibraryResult:
    """Call the library event by event on `words` (n, n_words), the raw hardware words.

    Raises UserError when the library fails, naming the event when a word is beyond what the caller's type
    carries (see possible_words), and when the two kinds of result have different scores.
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


def possible_words(network: Network, words: ArrayLike) -> NDArray[np.bool_]:
    """(n,) bool: events of `words` (n, n_words) that a caller can hand over; all within the hardware can."""
    held = caller_input(network.layout).holds(checked_words(network, words))
    return np.asarray(held.all(axis=1))


def _require_possible(library: Library, words: NDArray[np.integer]) -> None:
    outside = np.argwhere(~library.input.holds(words))
    if len(outside):
        event, word = outside[0]
        raise UserError(
            f"event {event}: word {library.network.words[word].name} = {words[event, word]} does not fit "
            f"in {library.input.type}, the caller's type; give words within their hardware widths"
        )


def _call(
    libraries: Sequence[Library], words: ArrayLike, timeout_s: float
) -> tuple[NDArray[np.int32], list[LibraryTiming]]:
    """Results (libraries, n, 1 + k) and timings of one client process."""
    first = libraries[0]
    words = checked_words(first.network, words).astype(np.int32)
    _require_possible(first, words)
    n_embedding = first.network.sizes[first.network.embedding]
    with tempfile.TemporaryDirectory(dir=first.client.parent, prefix=".run.") as folder:
        source, results = Path(folder) / "words", Path(folder) / "results"
        words.tofile(source)
        run = run_tool(
            [first.client, source, results, *(library.path for library in libraries)],
            cwd=first.client.parent,
            log=first.client.with_name("client_run.log"),
            timeout_s=timeout_s,
        )
        table = np.fromfile(results, np.int32)
    return table.reshape(len(libraries), len(words), 1 + n_embedding), _timings(run)


def _timings(run: ToolRun) -> list[LibraryTiming]:
    lines = [line.split() for line in run.log.read_text().splitlines()]
    return [LibraryTiming(int(events), float(predict), float(call)) for events, predict, call in lines]
