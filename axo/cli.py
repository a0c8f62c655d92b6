"""The ``axo`` command: one verb per job, each in a module of its own that loads when used.

A verb's module has ``add_arguments(parser)`` and ``run(args) -> int`` (the exit code); its
docstring is the verb's long help. Importing it must stay cheap: heavy imports go inside run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from axo import __version__
from axo.errors import UserError, nearest

VERBS = {
    "train": ("axo.training.train", "train a model from a YAML configuration and export it"),
    "evaluate": ("axo.training.evaluate", "compare models on the same events, with baselines and a ceiling"),
    "select": ("axo.training.select", "rank trained models without looking at signals"),
    "export": ("axo.training.export", "turn a trained Keras model into a network file"),
    "firmware": ("axo.firmware.command", "compile a network into verified firmware, with a report"),
    "report": ("axo.firmware.report_command", "print a firmware report and its change against a baseline"),
    "decorrelate": ("axo.training.decorrelate", "draw the strength of a decorrelation against its gain"),
    "tradeoff": ("axo.training.tradeoff", "draw LUTs against signal efficiency of trained models"),
    "inspect": (
        "axo.interchange.inspect_command",
        "check and describe a network file; import a CMS description",
    ),
    "replay": ("axo.emulator.command", "rates, purity, overlaps and efficiencies on recorded events"),
    "merge": ("axo.emulator.merge_command", "add up the partial results of replay"),
    "import": (
        "axo.interchange.import_command",
        "turn a deployed hls4ml project into a network file",
    ),
    "layouts": ("axo.layout.command", "show what triggers see; check a layout of one's own"),
    "events": ("axo.events.command", "describe, check or convert recorded events"),
    "control": ("axo.rate_monitor.command", "hold trigger rates at target in data taking, or simulate it"),
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: sys.argv); returns the exit code (2: bad input)."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        return _run(argv)
    except UserError as error:
        print(f"axo: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output has gone (`axo ... | head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("axo: interrupted; nothing half-written was left behind", file=sys.stderr)
        return 130


def _run(argv: list[str]) -> int:
    verb = next((word for word in argv if not word.startswith("-")), None)
    if verb is not None and argv[0] == verb and verb not in VERBS:
        raise UserError(f"unknown command {verb!r}{nearest(verb, list(VERBS))} (see axo --help)")
    arguments = _parser(verb if argv and argv[0] == verb else None).parse_args(argv)
    status: int = importlib.import_module(VERBS[arguments.verb][0]).run(arguments)
    return status


def _parser(verb: str | None) -> argparse.ArgumentParser:
    """The parser with every verb's name and summary, and the full arguments of `verb` alone."""
    parser = argparse.ArgumentParser(
        prog="axo",
        description="Level-1 anomaly-detection trigger toolkit.",
        epilog="axo VERB --help tells more.",
    )
    parser.add_argument("--version", action="version", version=f"axo {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (module_name, summary) in VERBS.items():
        if name != verb:
            verbs.add_parser(name, help=summary)
            continue
        module = importlib.import_module(module_name)
        sub = verbs.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
    return parser


if __name__ == "__main__":
    sys.exit(main())
