"""Check a network file and describe it: operations, types, bounds, digest, working points.

  axo inspect training/models/axo_v3/network.json
  axo inspect --cms axol1tl_v3.json --output axol1tl_v3.network.json

The pt convention says what the network makes of the half GeV of CMS's pt words: kept, as in the firmware,
or dropped, as in CMSSW's emulator before January 2026. --pt-convention gives the network with the other one.

  axo inspect axol1tl_v4.json --pt-convention half-kept --output axol1tl_v4.half.network.json

With --cms the input is a description of AXOL1TL or CICADA (JSON as in golden/axol1tl_v3.json and
golden/cicada_ctp7.json) and --output writes it as a network file that every other command takes.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo inspect``."""
    parser.add_argument("network", help="network file (or a description with --cms)")
    parser.add_argument("--cms", action="store_true", help="read a description of AXOL1TL or CICADA")
    parser.add_argument("--name", help="name for an imported network (default: the file's)")
    parser.add_argument(
        "--pt-convention",
        choices=("half-kept", "whole-gev"),
        help="make the network so (default: as it is; with --cms half-kept)",
    )
    parser.add_argument("--output", help="write the network file here")


def run(args: argparse.Namespace) -> int:
    """Run ``axo inspect``."""
    from axo.interchange.descriptions import read_description
    from axo.network import analyse, digest, read_network, with_pt_convention, write_network
    from axo.network.convention import CONVENTIONS, halving

    convention = CONVENTIONS[args.pt_convention] if args.pt_convention else None
    if args.cms:
        network = read_description(args.network, args.name, convention)
    else:
        network = read_network(args.network)
        network = with_pt_convention(network, convention) if convention else network
    analysis = analyse(network)
    print(f"{network.name}: {len(network.words)} words, score {network.score_type}, sha256 {digest(network)}")
    if halving(network.layout).any():
        print(f"  pt convention: {network.pt_convention}")
    for operation in network.operations:
        bounds = analysis.intervals[operation.name]
        kind = network.types[operation.name]
        print(
            f"  {operation.name:16} {operation.op:14} {network.sizes[operation.name]:3} x {kind!s:32} "
            f"{bounds.low.min() * 2.0**-kind.fraction:g} to {bounds.high.max() * 2.0**-kind.fraction:g}"
        )
    first = {overflow.operation: overflow for overflow in reversed(analysis.overflows)}
    for overflow in reversed(first.values()):
        print(f"  warning: {overflow}: it can wrap")
    for name, threshold in network.thresholds.items():
        print(f"  working point {name}: score word >= {threshold}")
    if args.output:
        write_network(args.output, network)
        print(f"wrote {args.output}")
    return 0
