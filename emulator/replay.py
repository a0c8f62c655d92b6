"""Replay: score recorded events in bounded memory, into partial results that add exactly.

A job is cut into tasks, each a range of events of one file. `scan` turns a task into a `Partial`
(see `axo.emulator.partial`); where tasks run, and in which order, cannot change their sum.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import axo
from axo.emulator.kernel import Kernel
from axo.emulator.partial import Partial, Sum, measure
from axo.errors import UserError
from axo.events import Events
from axo.events.sources import CHUNK, count_events, iter_events, resolve
from axo.files import replacing
from axo.layout import Layout
from axo.network import Network, digest
from axo.network.files import from_document, to_document
from axo.physics.menu import Menu
from axo.physics.prescales import PrescaleTable
from axo.physics.rates import bins_of
from axo.provenance import json_digest

TASK_EVENTS = 1 << 18
"""Events of a task: seconds of work, and what an interruption can lose."""

KEEP = 20_000
"""Most anomalous events kept with all their details, unless asked otherwise."""

OWN_SEEDS = ("L1_AXO_*",)
"""Seeds of this network itself at other thresholds: they do not take its purity."""

_FORMAT = "axo-replay-partial-2"


@dataclass(frozen=True)
class EventFile:
    """A file of events: where it is, how many events it has, and its size and time as a fingerprint."""

    path: str
    name: str
    events: int
    fingerprint: str
    signal: bool = False


@dataclass(frozen=True, eq=False)
class Seeds:
    """The other seeds: `names`, their `prescales` (0: off), and which of them are this network's `own`.

    `menu` gives their decisions; None: the source does. `origin` says it in words; `unknown` are the
    names that the prescale table does not have, which count as off.
    """

    names: tuple[str, ...]
    prescales: tuple[float, ...]
    own: tuple[str, ...]
    origin: str
    menu: Menu | None = None
    unknown: tuple[str, ...] = ()

    @cached_property
    def others(self) -> NDArray[np.bool_]:
        """Seeds (n_seeds,) that make a decision of this network not pure: unprescaled, not its own."""
        return np.array(
            [p == 1 and n not in self.own for n, p in zip(self.names, self.prescales, strict=True)]
        )

    def bits(self, events: Events, path: str) -> Events:
        """`events` with the decisions of these seeds."""
        if self.menu is not None:
            return replace(events, seed_bits=self.menu.evaluate(events), seed_names=self.names)
        if events.seed_names != self.names:
            raise UserError(
                f"{path}: has other seed bits than the first file, or none; give the same --seed-names for "
                "all files, or a --menu that is evaluated on their words"
            )
        return events

    def document(self) -> dict[str, Any]:
        """What is written about them."""
        return {
            "origin": self.origin,
            "menu_sha256": None if self.menu is None else self.menu.digest,
            "names": list(self.names),
            "prescales": list(self.prescales),
            "own": list(self.own),
            "unknown": list(self.unknown),
        }


@dataclass(frozen=True, eq=False)
class Job:
    """What is replayed: a network on samples, the other seeds (None: no purity), and how much is kept.

    `layout` is the one to read the events in (None: that of each file).
    """

    network: Network
    samples: tuple[EventFile, ...]
    seeds: Seeds | None = None
    seed_names: str | None = None
    format: str | None = None
    keep: int = KEEP
    chunk: int = CHUNK
    task_events: int = TASK_EVENTS
    layout: Layout | None = None

    def tasks(self) -> list[Task]:
        """All tasks, in the order of the samples."""
        size = self.task_events
        return [
            Task(index, start, min(start + size, sample.events))
            for index, sample in enumerate(self.samples)
            for start in range(0, sample.events, size)
        ]

    @cached_property
    def rules(self) -> str:
        """Digest of all that decides what an event contributes: axo, network, seeds, how many are kept."""
        seeds = None if self.seeds is None else self.seeds.document()
        return json_digest([_FORMAT, axo.__version__, digest(self.network), seeds, self.keep])

    def task_digest(self, task: Task) -> str:
        """Digest that tells a task's result from any other: rules, file, range."""
        sample = self.samples[task.sample]
        kept = self.keep if not sample.signal else 0
        layout = None if self.layout is None else self.layout.digest
        where = [task.sample, sample.path, sample.fingerprint, self.seed_names, self.format, layout]
        return json_digest([self.rules, kept, *where, task.start, task.stop])


@dataclass(frozen=True)
class Task:
    """Events `start` to `stop` of the sample at position `sample`."""

    sample: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Result:
    """What a replay found: `partials` by sample position (zero bias: one sum under -1).

    `job` is described by `document`; `done` are its tasks [sample, start, stop] that are in here.
    """

    network: Network
    document: dict[str, Any]
    partials: dict[int, Partial]
    done: tuple[Task, ...]

    @property
    def zero_bias(self) -> Partial:
        """The sum over the files that are not signals."""
        return self.partials[ZERO_BIAS]


ZERO_BIAS = -1


# Preparing a job


def find_samples(
    paths: Sequence[str], signals: Sequence[str] = (), format: str | None = None
) -> tuple[EventFile, ...]:
    """The files of a job, opened once to count their events; UserError for one that cannot be read."""
    samples = []
    for path, signal in [*((p, False) for p in paths), *((p, True) for p in signals)]:
        file = resolve(path)
        events = count_events(file, format)
        status = file.stat()
        name = file.name.split(".")[0]
        samples.append(
            EventFile(str(file.resolve()), name, events, f"{status.st_size}:{status.st_mtime_ns}", signal)
        )
    places = [sample.path for sample in samples]
    for place in places:
        if places.count(place) > 1:
            raise UserError(f"{place}: is given twice; its events would count twice")
    names = [sample.name for sample in samples if sample.signal]
    return tuple(
        replace(sample, name=Path(sample.path).name) if names.count(sample.name) > 1 else sample
        for sample in samples
    )


def find_seeds(
    sample: EventFile,
    menu: Menu | None,
    prescales: PrescaleTable | None = None,
    column: str | None = None,
    own: Iterable[str] = OWN_SEEDS,
    seed_names: str | None = None,
    format: str | None = None,
) -> Seeds | None:
    """The seeds to compare with: those of `menu`, or else the decision bits that `sample` has.

    Prescales are those of the table, or else of the menu, in `column`; bits without a table all count
    as unprescaled. None when there are neither bits nor a menu. Raises UserError for an unknown column.
    """
    if menu is not None:
        names, origin = tuple(menu.seeds), f"menu {menu.name}"
    else:
        first = next(iter_events(sample.path, 1, format, seed_names))
        if first.seed_bits is None:
            return None
        names, origin = first.seed_names, "decision bits of the source"
    values: Mapping[str, float] = dict.fromkeys(names, 1.0)
    if prescales is not None:
        column = prescales.columns[0] if column is None else column
        values, origin = prescales.column(column), f"{origin}, prescales of column {column}"
    elif menu is not None:
        column = menu.columns[0] if column is None else column
        values, origin = menu.prescales(column), f"{origin}, prescales of column {column}"
    elif column is not None:
        raise UserError("a prescale column needs a prescale table: give --prescales CSV")
    patterns = list(own)
    return Seeds(
        names,
        tuple(values.get(name, 0.0) for name in names),
        tuple(name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)),
        origin,
        menu,
        tuple(name for name in names if name not in values),
    )


# Running it


def scan(job: Job, task: Task, threads: int = 1) -> Partial:
    """The partial result of one task. Memory is bounded by the chunk and the kept events.

    Raises UserError naming the file and the event for words that are not right, or a file that ends
    before the task does.
    """
    sample = job.samples[task.sample]
    keep = 0 if sample.signal else job.keep
    kernel = _kernel(job.network, threads)
    total, row = Sum(), task.start
    for events in iter_events(
        sample.path, job.chunk, job.format, job.seed_names, task.start, task.stop, job.layout
    ):
        others = None
        try:
            if job.seeds is not None:
                events, others = job.seeds.bits(events, sample.path), job.seeds.others
            total.add(
                measure(
                    events, kernel.scores(events.for_network(job.network)), others, task.sample, row, keep
                )
            )
        except UserError as error:
            raise (
                error if str(error).startswith(sample.path) else UserError(f"{sample.path}: {error}")
            ) from error
        except ValueError as error:
            raise UserError(f"{sample.path}: events {row} to {row + len(events) - 1}: {error}") from error
        row += len(events)
    if row != task.stop:
        raise UserError(f"{sample.path}: ended at event {row}, but had {sample.events}; did it change?")
    return total.result()


_KERNELS: dict[tuple[str, int], Kernel] = {}


def _kernel(network: Network, threads: int) -> Kernel:
    """The kernel of `network`, made once a process."""
    key = (digest(network), threads)
    if key not in _KERNELS:
        _KERNELS[key] = Kernel(network, threads)
    return _KERNELS[key]


Execute = Callable[[Job, Sequence[Task]], Iterator[tuple[Task, Partial]]]
"""Runs tasks somewhere; yields each one's result as it comes, in any order."""


def run(
    job: Job,
    execute: Execute,
    shard: tuple[int, int] = (0, 1),
    state: Path | None = None,
    progress: bool | None = None,
) -> Result:
    """Replay `job`, or its tasks `shard[0]`, `shard[0] + shard[1]`, ..., and sum up.

    With the folder `state`, each task's result is written there as it comes, and what a run before
    left is used instead of running the task again, if its digest says that it is the same task.
    `progress` shows a bar on standard error (None: when that is a terminal).
    """
    from tqdm import tqdm

    tasks = job.tasks()[shard[0] :: shard[1]]
    sums: dict[int, Sum] = {}
    hidden = None if progress is None else not progress
    everything = sum(task.stop - task.start for task in tasks)
    with tqdm(total=everything, unit=" events", unit_scale=True, disable=hidden, leave=False) as bar:
        for task, partial in _results(job, tasks, execute, state):
            sums.setdefault(_group(job, task), Sum()).add(partial)
            bar.update(task.stop - task.start)
    partials = {group: total.result() for group, total in sums.items()}
    return Result(job.network, document_of(job), partials, tuple(tasks))


def _group(job: Job, task: Task) -> int:
    return task.sample if job.samples[task.sample].signal else ZERO_BIAS


def _results(
    job: Job, tasks: Sequence[Task], execute: Execute, state: Path | None
) -> Iterator[tuple[Task, Partial]]:
    left = []
    for task in tasks:
        found = None if state is None else _read_state(job, task, state)
        if found is None:
            left.append(task)
        else:
            yield task, found
    if not left:
        return
    for task, partial in execute(job, left):
        if state is not None:
            write_arrays(_state_file(job, task, state), {"task": job.task_digest(task)}, partial.arrays())
        yield task, partial


def in_this_process(threads: int) -> Execute:
    """Tasks one after the other, the kernel on `threads` threads."""

    def execute(job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, Partial]]:
        for task in tasks:
            yield task, scan(job, task, threads)

    return execute


def in_processes(workers: int) -> Execute:
    """Tasks on `workers` processes of this machine."""
    import multiprocessing

    def execute(job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, Partial]]:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(job,)) as pool:
            # A few tasks more than workers, so that results waiting to be added stay few.
            waiting = iter(tasks)
            running: dict[Future[Partial], Task] = {}
            try:
                while True:
                    while len(running) < workers + 2 and (task := next(waiting, None)) is not None:
                        running[pool.submit(_scan_in_worker, task)] = task
                    if not running:
                        return
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        yield running.pop(future), future.result()
            except BrokenProcessPool as error:
                raise UserError(
                    "a worker process died (out of memory?); run again to go on from what is done, with "
                    "fewer --workers"
                ) from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    return execute


_job: Job | None = None


def _start_worker(job: Job) -> None:
    global _job
    _job = job


def _scan_in_worker(task: Task) -> Partial:
    assert _job is not None
    return scan(_job, task)


# Files of partial results


def document_of(job: Job) -> dict[str, Any]:
    """What a result says of its job; two shards belong together when these are equal."""
    return {
        "network": to_document(job.network),
        "samples": [
            {
                "name": sample.name,
                "file": Path(sample.path).name,
                "events": sample.events,
                "signal": sample.signal,
            }
            for sample in job.samples
        ],
        "seeds": None if job.seeds is None else job.seeds.document(),
        "keep": job.keep,
        "task_events": job.task_events,
        "bins": bins_of(job.network),
    }


def write_result(path: str | os.PathLike[str], result: Result) -> None:
    """Write `result` to one file (npz), atomically; `axo merge` and `read_result` read it."""
    arrays: dict[str, NDArray[Any]] = {
        f"{group}/{name}": array
        for group, partial in result.partials.items()
        for name, array in partial.arrays().items()
    }
    done = [[task.sample, task.start, task.stop] for task in result.done]
    write_arrays(Path(path), {"job": result.document, "done": done, "groups": list(result.partials)}, arrays)


def read_result(path: str | os.PathLike[str]) -> Result:
    """Read what `write_result` wrote; UserError for a file that is not that, or damaged."""
    header, arrays = read_arrays(Path(path))
    try:
        document = header["job"]
        names = tuple(document["seeds"]["names"]) if document["seeds"] else ()
        partials = {}
        for group in header["groups"]:
            prefix = f"{group}/"
            own = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
            partials[int(group)] = Partial.from_arrays(own, names)
        done = tuple(Task(*task) for task in header["done"])
        return Result(from_document(document["network"]), document, partials, done)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: is not a partial result of axo replay ({error!r})") from error


def merge(results: Sequence[Result], names: Sequence[str]) -> Result:
    """The sum of results of shards, `names` being those of their files.

    Raises UserError when they are not of the same job, share a task, or together lack one.
    """
    first = results[0]
    for result, name in zip(results, names, strict=True):
        for key, value in first.document.items():
            if result.document[key] != value:
                raise UserError(f"{name}: is of another job than {names[0]}: their {key} differ")
    seen: dict[Task, str] = {}
    for result, name in zip(results, names, strict=True):
        for task in result.done:
            if task in seen:
                raise UserError(f"{name}: has events that {seen[task]} has too; give each shard once")
            seen[task] = name
    samples = first.document["samples"]
    have, want = sum(t.stop - t.start for t in seen), sum(sample["events"] for sample in samples)
    if have != want:
        raise UserError(f"these shards have {have} of the job's {want} events; give all shards")
    sums: dict[int, Sum] = {}
    for result in results:
        for group, partial in result.partials.items():
            sums.setdefault(group, Sum()).add(partial)
    partials = {group: sums[group].result() for group in sorted(sums)}
    return Result(first.network, first.document, partials, tuple(seen))


def write_arrays(path: Path, header: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write `arrays` and a JSON `header` to `path` (npz), atomically, with a digest of all of it."""
    text = np.frombuffer(json.dumps({"format": _FORMAT, **header}).encode(), np.uint8)
    contents = {"header": text, **arrays}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **contents, sha256=_digest(contents))


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of a file by `write_arrays`; UserError when it is none, or damaged."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            contents = dict(file)
        stated = contents.pop("sha256")
        if not np.array_equal(stated, _digest(contents)):
            raise ValueError("its digest is wrong")
        header = json.loads(contents.pop("header").tobytes())
        if header.get("format") != _FORMAT:
            raise ValueError("it is of another format")
    except FileNotFoundError as error:
        raise UserError(f"{path}: cannot be read (no such file)") from error
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: is not a whole partial result of axo replay ({error})") from error
    return header, contents


def _digest(contents: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    sha = hashlib.sha256()
    for name in sorted(contents):
        array = np.ascontiguousarray(contents[name])
        sha.update(f"{name}{array.dtype}{array.shape}".encode())
        sha.update(array.tobytes())
    return np.frombuffer(sha.digest(), np.uint8)


def _state_file(job: Job, task: Task, state: Path) -> Path:
    return state / f"{job.task_digest(task)}.npz"


def _read_state(job: Job, task: Task, state: Path) -> Partial | None:
    """What a run before left of `task`; None when there is nothing, or it is damaged (said aloud)."""
    path = _state_file(job, task, state)
    if not path.exists():
        return None
    try:
        header, arrays = read_arrays(path)
        if header["task"] != job.task_digest(task):
            raise UserError(f"{path}: is of another task")
        return Partial.from_arrays(arrays, () if job.seeds is None else job.seeds.names)
    except UserError as error:
        print(f"axo: {error}; scanning these events again", file=sys.stderr)
        return None
