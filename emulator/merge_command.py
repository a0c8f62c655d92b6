"""Add up the partial results of ``axo replay --shard`` and answer as ``axo replay`` does.

  axo merge part*.npz --rate-khz 1 --json answers.json
  axo merge whole.npz --pure-rate-khz 0.5 0.25        other thresholds, without another pass

All shards of one job are needed, each once; the answers are those of a single run.
"""

from __future__ import annotations

import argparse

from axo.emulator.command import add_question, give, question_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo merge``."""
    parser.add_argument("parts", nargs="+", metavar="NPZ", help="files written by axo replay --output")
    add_question(parser)
    parser.add_argument("--output", metavar="NPZ", help="write the sum, for another axo merge")


def run(args: argparse.Namespace) -> int:
    """Run ``axo merge``."""
    from axo.emulator.replay import merge, read_result, write_result

    result = merge([read_result(part) for part in args.parts], args.parts)
    if args.output:
        write_result(args.output, result)
    give(result, question_of(args), args)
    return 0
