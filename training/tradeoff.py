"""LUTs against signal efficiency: synthesise trained models and draw the curve.

  axo tradeoff training/models/axo_v3 variants/*/ --output docs/tradeoff

Every folder has a network.json and the model_card.json that axo train wrote beside it. Each network is
made into RTL and synthesised with Yosys (no place and route); efficiencies come from its card. Writes
tradeoff.json, tradeoff.md and tradeoff.png into the output folder. A model takes about two minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo tradeoff``."""
    parser.add_argument("models", nargs="+", metavar="FOLDER", help="folder of a trained model")
    parser.add_argument("--stages", type=int, default=2, help="pipeline stages (default: %(default)s)")
    parser.add_argument("--working-point", default="rate_10khz", help="of the card (default: %(default)s)")
    parser.add_argument("--output", default="build/tradeoff", help="folder to write (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run ``axo tradeoff``."""
    from axo.files import write_bytes, write_json, write_text

    output = Path(args.output)
    points = []
    for folder in map(Path, args.models):
        points.append(measure(folder, args.stages, args.working_point, output / "work" / folder.name))
        print(_row(points[-1]), flush=True)
    write_json(output / "tradeoff.json", {"working_point": args.working_point, "models": points})
    write_text(output / "tradeoff.md", to_markdown(points, args.working_point))
    write_bytes(output / "tradeoff.png", draw(points, args.working_point))
    print(f"wrote {output}/tradeoff.json, .md and .png")
    return 0


def measure(folder: Path, stages: int, working_point: str, work: Path) -> dict[str, Any]:
    """Resources and estimated depth of the model in `folder`, and its card's efficiencies.

    Raises UserError when the card is missing, is of another network, or lacks the working point.
    """
    from axo.errors import UserError
    from axo.files import read_json
    from axo.firmware.rtl import write as rtl
    from axo.firmware.tools import depth
    from axo.firmware.tools import yosys as synthesis
    from axo.network import digest, read_network

    network = read_network(folder / "network.json")
    card = read_json(folder / "model_card.json")
    if card["network_sha256"] != digest(network):
        raise UserError(f"{folder}: model_card.json is of another network than network.json; train it again")
    if working_point not in card["figures"]["geometric_mean"]:
        known = ", ".join(card["figures"]["geometric_mean"])
        raise UserError(f"{folder}: model_card.json has no working point {working_point!r} (it has {known})")
    design = rtl.write_rtl(network, work / "rtl", rtl.RtlConfig(stages=stages))
    result = synthesis.synthesise(design.files, design.top, work / "synthesis")
    found = depth.analyse_depth(synthesis.read_netlist(result.netlist, result.top))
    return {
        "model": folder.name,
        "network_sha256": digest(network),
        "stages": stages,
        "lut": result.resources.lut,
        "ff": result.resources.ff,
        "carry": result.resources.carry,
        "period_ns": round(found.period_ns, 3),
        "nonzero_weights": sum(layer["nonzero_weights"] for layer in card["cost"]),
        "csd_digits": sum(layer["csd_digits"] for layer in card["cost"]),
        "geometric_mean": card["figures"]["geometric_mean"][working_point],
        "efficiency": {
            name: signal["efficiency"][working_point] for name, signal in card["figures"]["signals"].items()
        },
        "yosys": result.version,
    }


def to_markdown(points: Sequence[dict[str, Any]], working_point: str) -> str:
    """The points as a table, fewest LUTs first."""
    from axo.report import Page, Section, Table

    signals = list(points[0]["efficiency"])
    header = ["model", "LUT", "FF", "CARRY4", "period ns", "non-zero weights", "geometric mean", *signals]
    rows = [
        [
            point["model"],
            *(f"{point[key]:,}" for key in ("lut", "ff", "carry")),
            f"{point['period_ns']:.1f}",
            str(point["nonzero_weights"]),
            f"{point['geometric_mean']:.4f}",
            *(f"{point['efficiency'][name]['value']:.4f}" for name in signals),
        ]
        for point in sorted(points, key=lambda point: point["lut"])
    ]
    about = (
        f"Yosys, LUTs unpacked, no place and route, {points[0]['stages']} stages; efficiencies at "
        f"{working_point} from the model cards, which have their 68.3 % Clopper-Pearson intervals."
    )
    return Page("LUTs against signal efficiency", [Section(table=Table(header, rows))], [about]).markdown()


def draw(points: Sequence[dict[str, Any]], working_point: str) -> bytes:
    """Scatter of LUTs and geometric-mean efficiency, PNG."""
    from axo.report.pictures import panels, png

    figure, (axes,) = panels((7, 4.5))
    for point in points:
        axes.plot(point["lut"], point["geometric_mean"], "o", color="#2f7fb8")
        axes.annotate(f" {point['model']}", (point["lut"], point["geometric_mean"]), fontsize=8)
    axes.axvline(16350, color="#8a8a8a", linestyle="--", linewidth=1)
    axes.text(16350, 0.02, "target ", ha="right", fontsize=8, transform=axes.get_xaxis_transform())
    axes.set(xlabel="LUT (Yosys, unpacked)", ylabel=f"geometric mean of efficiencies, {working_point}")
    axes.set_ylim(bottom=0)
    return png(figure)


def _row(point: dict[str, Any]) -> str:
    return (
        f"{point['model']}: {point['lut']} LUT, {point['ff']} FF, {point['period_ns']:.1f} ns, "
        f"geometric mean {point['geometric_mean']:.4f}"
    )
