"""Replay recorded events: rates, pure rates, purity, overlaps and signal efficiencies of a network.

  axo replay axo_v3 zerobias.h5 --rate-khz 1 --signal sig_*.h5
  axo replay axo_v3 zerobias/*.h5 --pure-rate-khz 0.5 --column 1p8E34 --json answers.json --plots plots
  axo replay golden.network.json TestVector.txt.gz --seed-names seeds.csv --threshold 15720 --triggered
  axo replay axo_v3 zerobias/*.h5 --shard 3/8 --output part3.npz      (then: axo merge part*.npz)

Files that are no signals count as zero bias: a rate is the accepted fraction times the rate of
colliding bunches. Seeds come from --menu, or from the source's decision bits, or else from the
default menu, evaluated on the words. A decision is pure when no unprescaled seed fired but those
of the network itself (--own). Every interval is a Clopper-Pearson one.

One pass suffices for all thresholds: score histograms are exact, and the --keep most anomalous events
are kept whole, from which overlaps and profiles come at any threshold that passes no more than these.
A run that was interrupted goes on from what it had when the same command is given again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from axo.emulator.answers import Question
    from axo.emulator.replay import Execute, Job, Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo replay``."""
    parser.add_argument("network", help="network file, or the name of a released model")
    parser.add_argument("files", nargs="+", metavar="FILE", help="zero-bias events, or sample:NAME")
    parser.add_argument(
        "--signal", nargs="+", action="extend", default=[], metavar="FILE", help="signal events"
    )
    parser.add_argument("--format", help="toolkit, adc2021 or ugt (default: recognised by content)")
    parser.add_argument(
        "--layout",
        metavar="NAME",
        help="layout to read the events in, such as cms_gt of test vectors (default: that of each file)",
    )
    seeds = parser.add_argument_group("seeds")
    seeds.add_argument(
        "--menu", metavar="YAML", help="menu evaluated on the words: a file, 'default' or 'none'"
    )
    seeds.add_argument("--seed-names", metavar="CSV", help="table index,name that names the algorithm bits")
    seeds.add_argument("--prescales", metavar="CSV", help="prescale table Index,Name,COLUMN,...")
    seeds.add_argument("--column", help="column of prescales (default: the first)")
    seeds.add_argument(
        "--own", action="append", metavar="PATTERN", help="seeds of the network itself (default: L1_AXO_*)"
    )
    add_question(parser)
    work = parser.add_argument_group("how it runs")
    work.add_argument("--keep", type=_positive, metavar="N", help="events kept in detail (default 20000)")
    work.add_argument("--workers", type=_positive, metavar="N", help="processes (default: one a processor)")
    work.add_argument("--scheduler", metavar="ADDRESS", help="run on the Dask cluster with this scheduler")
    work.add_argument(
        "--shard", type=_shard, metavar="I/N", help="do the I-th of N parts only (needs --output)"
    )
    work.add_argument("--state", metavar="DIR", help="keep results of finished parts here, and use them")
    work.add_argument("--output", metavar="NPZ", help="write the partial result, for axo merge")


def add_question(parser: argparse.ArgumentParser) -> None:
    """What ``axo merge`` asks too: thresholds, normalisation and outputs."""
    ask = parser.add_argument_group("thresholds (default: the network's working points)")
    ask.add_argument(
        "--threshold", nargs="+", default=[], metavar="WORD", help="score words, or working points"
    )
    ask.add_argument("--rate-khz", nargs="+", type=float, default=[], metavar="KHZ", help="target rates")
    ask.add_argument(
        "--pure-rate-khz", nargs="+", type=float, default=[], metavar="KHZ", help="target pure rates"
    )
    norm = parser.add_argument_group("normalisation and output")
    norm.add_argument("--bunches", type=_positive, help="colliding bunches (default 2544)")
    norm.add_argument("--triggered", action="store_true", help="the files are no zero bias: give no rates")
    norm.add_argument("--confidence", type=float, help="coverage of the intervals (default 0.6827)")
    norm.add_argument(
        "--top", type=int, default=20, metavar="N", help="most anomalous events listed (%(default)s)"
    )
    norm.add_argument("--json", metavar="FILE", help="write all answers as JSON")
    norm.add_argument("--plots", metavar="DIR", help="draw the answers into this folder")


def run(args: argparse.Namespace) -> int:
    """Run ``axo replay``."""
    import shutil

    from axo.emulator.replay import run as replay
    from axo.emulator.replay import write_result
    from axo.errors import UserError

    if args.shard and not args.output:
        raise UserError("--shard gives a part of the answer: name a file for it with --output, for axo merge")
    if args.shard and (args.json or args.plots):
        raise UserError("--shard gives a part of the answer: ask axo merge for --json and --plots")
    job = _job(args)
    question = question_of(args)
    question.require_answerable(job.network, job.seeds is not None)
    state = Path(args.state) if args.state else _default_state(job)
    result = replay(job, _execute(args, job), args.shard or (0, 1), state)
    if args.output:
        write_result(args.output, result)
    if not args.shard:
        give(result, question, args)
    if not args.state:
        # What was kept in case of an interruption has served.
        shutil.rmtree(state, ignore_errors=True)
    return 0


def question_of(args: argparse.Namespace) -> Question:
    """The question that the arguments of `add_question` ask."""
    from axo.emulator.answers import Question
    from axo.physics.figures import ONE_SIGMA
    from axo.physics.rates import DEFAULT_BUNCHES

    return Question(
        tuple(args.threshold),
        tuple(args.rate_khz),
        tuple(args.pure_rate_khz),
        args.bunches or DEFAULT_BUNCHES,
        ONE_SIGMA if args.confidence is None else args.confidence,
        args.triggered,
        args.top,
    )


def give(result: Result, question: Question, args: argparse.Namespace) -> None:
    """Print the answers, and write them where asked."""
    from axo.emulator.answers import answer, write_answers
    from axo.emulator.report import text_of

    answers = answer(result, question)
    print(text_of(answers))
    if args.json:
        write_answers(args.json, answers)
    if args.plots:
        from axo.emulator.plots import draw

        draw(answers, Path(args.plots))


def _job(args: argparse.Namespace) -> Job:
    from axo.emulator.replay import KEEP, OWN_SEEDS, Job, find_samples, find_seeds
    from axo.firmware.models import find_model
    from axo.layout import find_layout
    from axo.physics.menu import DEFAULT, read_menu
    from axo.physics.prescales import read_prescales

    network = find_model(args.network).network
    samples = find_samples(args.files, args.signal, args.format)
    prescales = read_prescales(args.prescales) if args.prescales else None
    options = (prescales, args.column, args.own or OWN_SEEDS, args.seed_names, args.format)
    seeds = None
    if args.menu is None:
        seeds = find_seeds(samples[0], None, *options)
    if seeds is None and args.menu != "none":
        seeds = find_seeds(samples[0], read_menu(args.menu or DEFAULT), *options)
    layout = None if args.layout is None else find_layout(args.layout)
    return Job(network, samples, seeds, args.seed_names, args.format, args.keep or KEEP, layout=layout)


def _execute(args: argparse.Namespace, job: Job) -> Execute:
    import os

    from axo.emulator.replay import in_processes, in_this_process

    if args.scheduler:
        from axo.emulator.distributed import on_cluster

        return on_cluster(args.scheduler)
    processors = len(os.sched_getaffinity(0))
    workers = min(args.workers or processors, len(job.tasks()))
    return in_processes(workers) if workers > 1 else in_this_process(1 if args.workers else processors)


def _default_state(job: Job) -> Path:
    """Where an interrupted run leaves what it has, for the same job and nothing else."""
    import os

    from axo.provenance import json_digest

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "axo" / "replay" / json_digest([job.task_digest(task) for task in job.tasks()])[:32]


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _shard(text: str) -> tuple[int, int]:
    """``3/8`` as (2, 8): counted from 1 on the command line, from 0 inside."""
    first, _, number = text.partition("/")
    if not (first.isdecimal() and number.isdecimal() and 1 <= int(first) <= int(number)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N")
    return int(first) - 1, int(number)
