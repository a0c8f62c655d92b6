"""Import a deployed network: an hls4ml firmware folder, or a description, becomes a network file.

  axo import AXOL1TL_v5/NN --output axol1tl_v5.network.json
  axo import AXOL1TL_v3/NN --pt-convention whole-gev --output as_in_old_vectors.network.json
  axo import project --scales none --score-type "ap_ufixed<18,14>" --layout my.yaml --output mine.json
  axo import cicada_ctp7.json --output cicada.network.json

Of a folder are read the top function's layer calls, types, sizes and weights, and the CMS scales.h
(offsets and shifts of the inputs) in the folder or above it. The half GeV of the pt words is kept,
as in the firmware; CMSSW's emulator before January 2026 dropped it, and test vectors made with it need
whole-gev.

A JSON file is a description of AXOL1TL or CICADA (as golden/axol1tl_v3.json and golden/cicada_ctp7.json).
What a network file cannot express exactly is named with layer and line, and nothing is written.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from axo.network import Network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo import``."""
    parser.add_argument(
        "source", help="hls4ml project, the folder with its defines.h, or a description (JSON)"
    )
    parser.add_argument("--output", required=True, help="write the network file here")
    parser.add_argument("--name", help="name of the network (default: that of the top function or file)")
    parser.add_argument(
        "--scales", metavar="FILE", help="scales.h, or none: the network reads the words as they are"
    )
    parser.add_argument(
        "--score-type", metavar="TYPE", help="type of squares and score (default: typedef resultsq_t)"
    )
    parser.add_argument(
        "--unscaled-type", metavar="TYPE", help="type of inputs before scaling (default: typedef unscaled_t)"
    )
    parser.add_argument(
        "--pt-convention",
        choices=("half-kept", "whole-gev"),
        help="what the network makes of the half GeV of pt words (default: half-kept)",
    )
    parser.add_argument(
        "--layout",
        help="what it reads: a shipped layout (axo layouts lists them) or a YAML file (default: cms_axol1tl)",
    )


def run(args: argparse.Namespace) -> int:
    """Run ``axo import``."""
    from axo.network import analyse, write_network
    from axo.network.convention import halving

    network = _described(args) if Path(args.source).is_file() else _from_firmware(args)
    overflows = analyse(network).overflows
    digest = write_network(args.output, network)
    pt = f"pt {network.pt_convention}, " if halving(network.layout).any() else ""
    print(f"{args.output}: {network.name}, {pt}{len(network.operations)} operations, sha256 {digest}")
    for overflow in overflows:
        print(f"  can wrap, as in the firmware: {overflow}")
    return 0


def _described(args: argparse.Namespace) -> Network:
    from axo.errors import UserError
    from axo.interchange.descriptions import read_description
    from axo.network.convention import CONVENTIONS

    for option in ("layout", "scales", "score_type", "unscaled_type"):
        if getattr(args, option) is not None:
            raise UserError(
                f"{args.source}: a description says it all; --{option.replace('_', '-')} is for folders"
            )
    return read_description(args.source, args.name, CONVENTIONS.get(args.pt_convention))


def _from_firmware(args: argparse.Namespace) -> Network:
    from axo.interchange.hls4ml import import_hls
    from axo.layout import find_layout
    from axo.network import HALF_KEPT, FixedType
    from axo.network.convention import CONVENTIONS

    return import_hls(
        args.source,
        args.name,
        None if args.scales == "none" else args.scales,
        args.scales != "none",
        FixedType.parse(args.score_type) if args.score_type else None,
        FixedType.parse(args.unscaled_type) if args.unscaled_type else None,
        CONVENTIONS.get(args.pt_convention, HALF_KEPT),
        find_layout(args.layout) if args.layout else None,
    )
