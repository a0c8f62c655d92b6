"""Compile a network into verified firmware and report on it.

  axo firmware axo_v3                         a released model, by name
  axo firmware path/to/network.json           any network file, or a CMS description
  axo firmware axo_v3 --backend vitis         also run the vendor's C synthesis
  axo firmware axo_v3 --backend ecp5          also place and route for a Lattice ECP5 (slow)

Into OUTPUT/<model>/ go the HLS project (hls/), the CMSSW library (<model>.so), the pipelined Verilog
with its global-trigger wrapper (rtl/), and report.json, report.md and report.html. The Keras model,
the reference, the HLS C++, the library and the simulated RTL are compared on every event as integers.

Exit code: 0 when all agree and every budget is kept; 1 when not; 2 for bad input or a failed tool.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo firmware``."""
    from axo.firmware.backends import BACKENDS

    backends = "; ".join(f"{name}: {backend.SUMMARY}" for name, backend in BACKENDS.load_all().items())
    parser.add_argument("model", help="released model, folder with network.json, or network file")
    parser.add_argument("--output", default="build", help="folder to build in (default: %(default)s)")
    parser.add_argument(
        "--backend",
        action="append",
        metavar="NAME",
        help=f"what measures the design ({backends}); repeatable",
    )
    parser.add_argument("--config", help="YAML with build settings (default: axo/firmware/firmware.yaml)")
    parser.add_argument("--budget", help="YAML with limits (default: axo/firmware/budget.yaml)")
    parser.add_argument("--part", help="device of the vendor's tools")
    parser.add_argument(
        "--clock-mhz", type=float, help="clock to claim (default: chosen from the logic depth)"
    )
    parser.add_argument("--stages", type=int, help="pipeline stages of the RTL")
    parser.add_argument("--events", type=int, default=100_000, help="events compared (default: %(default)s)")
    parser.add_argument(
        "--rtl-events", type=int, default=20_000, help="events simulated (default: %(default)s)"
    )
    parser.add_argument(
        "--recorded", action="append", default=[], metavar="FILE", help="file of recorded events; repeatable"
    )


def run(args: argparse.Namespace) -> int:
    """Run ``axo firmware``."""
    import dataclasses
    from pathlib import Path

    from axo.errors import UserError
    from axo.firmware.budget import read_budget
    from axo.firmware.config import read_firmware_config
    from axo.firmware.models import find_model

    if args.events < 1 or args.rtl_events < 1:
        raise UserError("--events and --rtl-events must be at least 1")
    model = find_model(args.model)
    budget = read_budget(args.budget)
    config = read_firmware_config(args.config)
    given = {"part": args.part, "clock_mhz": args.clock_mhz}
    config = dataclasses.replace(config, **{key: value for key, value in given.items() if value is not None})
    if args.stages is not None:
        config = dataclasses.replace(config, rtl=dataclasses.replace(config.rtl, stages=args.stages))

    from axo.firmware.build import build_firmware
    from axo.firmware.context import BuildOptions
    from axo.firmware.report import budget_table, verdict_line

    options = BuildOptions(
        Path(args.output),
        args.events,
        args.rtl_events,
        tuple(Path(path) for path in args.recorded),
        tuple(args.backend or ("rtl",)),
        config,
    )
    outcome = build_firmware(model, options, budget, lambda text: print(text, flush=True))
    print(budget_table(outcome.document).text())
    if outcome.mismatches:
        print(outcome.mismatches)
    print(verdict_line(outcome.document))
    print(f"report: {outcome.folder / 'report.html'}")
    return 0 if outcome.document["verdict"]["passed"] else 1
