"""Import a deployed network: an hls4ml firmware folder becomes a network file.

  axo import AXOL1TL_v5/NN --output axol1tl_v5.network.json
  axo import AXOL1TL_v3/NN --pt-convention whole-gev --output as_in_old_vectors.network.json
  axo import project --scales none --score-type "ap_ufixed<18,14>" --layout my.yaml --output mine.json

Read are the top function's layer calls, types, sizes and weights, and the CMS scales.h (offsets and
shifts of the inputs) in the folder or above it. The half GeV of the pt words is kept, as in the firmware;
CMSSW's emulator before January 2026 dropped it, and test vectors made with it need whole-gev.

What a network file cannot express exactly is named with layer and line, and nothing is written.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo import``."""
    parser.add_argument("folder", help="hls4ml project, or the folder with its defines.h")
    parser.add_argument("--output", required=True, help="write the network file here")
    parser.add_argument("--name", help="name of the network (default: that of the top function)")
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
        default="half-kept",
        help="what the network makes of the half GeV of pt words (default: %(default)s)",
    )
    parser.add_argument(
        "--layout",
        default="cms_axol1tl",
        help="what it reads: a shipped layout (axo layouts lists them) or a YAML file (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run ``axo import``."""
    from axo.interchange.hls4ml import import_hls
    from axo.layout import find_layout
    from axo.network import FixedType, analyse, write_network
    from axo.network.convention import CONVENTIONS

    network = import_hls(
        args.folder,
        args.name,
        None if args.scales == "none" else args.scales,
        args.scales != "none",
        FixedType.parse(args.score_type) if args.score_type else None,
        FixedType.parse(args.unscaled_type) if args.unscaled_type else None,
        CONVENTIONS[args.pt_convention],
        find_layout(args.layout),
    )
    overflows = analyse(network).overflows
    digest = write_network(args.output, network)
    print(
        f"{args.output}: {network.name}, pt {network.pt_convention}, {len(network.operations)} operations, "
        f"sha256 {digest}"
    )
    for overflow in overflows:
        print(f"  can wrap, as in the firmware: {overflow}")
    return 0
