"""Compare detectors on the same events at the same working points, with uncertainties.

  axo evaluate axo_v3 --background ../shared/data2/zerobias_test.h5 --signals ../shared/data2/sig_*.h5
  axo evaluate axo_v3 my/model mine.network.json --background ZB.h5 --signals A.h5 B.h5 --html page.html
  axo evaluate build/train/axo_v3 --background ZB.h5 --signals A.h5 B.h5      (all seeds, and their spread)
  axo evaluate axo_v3 --background background.h5 --signals Ato4l_lepFilter_13TeV.h5   (ADC2021 files)

Every figure of a model comes from its exact fixed-point network. The table also has an isolation
forest and a cut on HT (baselines), and a supervised classifier per signal (the ceiling), fitted on a
part of the same files that does not test it; their scores are kept in ~/.cache/axo/evaluate.
Pure figures count what no unprescaled seed of --menu takes. docs/evaluate.md describes the JSON.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from axo.physics.menu import Menu


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo evaluate``."""
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="released model, artefact folder, network file, or work folder of axo train (all its seeds)",
    )
    parser.add_argument("--background", required=True, metavar="FILE", help="zero-bias events")
    parser.add_argument("--signals", required=True, nargs="+", metavar="FILE", help="signal events")
    parser.add_argument(
        "--rate-khz", nargs="+", type=float, default=[1.0, 10.0], metavar="KHZ", help="working points (1 10)"
    )
    parser.add_argument("--bunches", type=int, help="colliding bunches (default 2544)")
    parser.add_argument("--menu", default="default", help="menu in YAML for purity: file, name or 'none'")
    parser.add_argument("--column", help="column of the menu's prescales (default: the first)")
    parser.add_argument("--no-baselines", action="store_true", help="leave baselines and ceiling out")
    parser.add_argument("--json", metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--html", metavar="FILE", help="write one self-contained page")
    parser.add_argument("--output", metavar="FOLDER", help="write evaluation.json, .html and the plots (PNG)")


def run(args: argparse.Namespace) -> int:
    """Run ``axo evaluate``."""
    from axo.files import check_document, write_bytes, write_json, write_text

    from .evaluation_report import text_of, to_html

    document = evaluate(args, say=lambda line: print(line, flush=True))
    check_document(document, "axo.training", "evaluation_schema.json")
    print(text_of(document))
    folder = Path(args.output) if args.output else None
    pictures: dict[str, bytes] = {}
    if folder or args.html:
        from .evaluation_plots import draw

        pictures = draw(document)
    for path in (args.html, folder and folder / "evaluation.html"):
        if path:
            write_text(path, to_html(document, pictures))
    for name, picture in pictures.items() if folder else ():
        write_bytes(Path(args.output) / f"{name}.png", picture)
    for path in (args.json, folder and folder / "evaluation.json"):
        if path:
            write_json(path, document)
    return 0


def evaluate(args: argparse.Namespace, say: Any) -> dict[str, Any]:
    """The document of an evaluation; `say` gets lines of progress. Raises UserError for bad input."""
    from axo.errors import UserError
    from axo.firmware.models import find_model
    from axo.physics.figures import ONE_SIGMA
    from axo.physics.rates import DEFAULT_BUNCHES
    from axo.provenance import versions

    from .candidates import seed_files
    from .evaluation_figures import REPLICAS, figures, seed_groups, working_points
    from .evaluation_samples import published_for, read_samples
    from .evaluation_scores import (
        baseline_detectors,
        default_cache,
        model_detectors,
        require_enough_to_fit,
    )

    if args.bunches is not None and args.bunches < 1:
        raise UserError(f"--bunches {args.bunches} is not at least 1")
    bunches = args.bunches or DEFAULT_BUNCHES
    found = [(name, [find_model(str(p)) for p in seed_files(name) or [name]]) for name in args.models]
    models = [model for _, members in found for model in members]
    say("reading events")
    samples = read_samples(args.background, args.signals, _menu(args), args.column)
    points, notes = working_points(samples, args.rate_khz, bunches)
    if not args.no_baselines:
        require_enough_to_fit(samples)
    detectors = model_detectors(models, samples, say)
    if not args.no_baselines:
        detectors += baseline_detectors(samples, default_cache(), say)
    say("figures")
    results = figures(detectors, samples, points, bunches)
    names = iter(results)
    groups = {folder: [next(names) for _ in members] for folder, members in found}
    return {
        "format": "axo-evaluation",
        "version": 1,
        "background": samples.background.document(),
        "signals": {name: sample.document() for name, sample in samples.signals.items()},
        "zero_bias": samples.is_zero_bias,
        "bunches": bunches if samples.is_zero_bias else None,
        "menu": samples.menu
        and {"name": samples.menu.name, "sha256": samples.menu.digest, "column": samples.column},
        "confidence": ONE_SIGMA,
        "replicas": REPLICAS,
        "points": {
            p.name: {"label": p.label, "fraction": p.fraction, "rate_khz": p.rate_khz, "pure": p.pure}
            for p in points
        },
        "detectors": results,
        "seed_groups": seed_groups(results, groups),
        "published": {
            name: {"signal": p.signal, "auc": p.auc, "efficiency_at_1e-5": p.efficiency_at_1em5}
            for name, p in published_for(samples).items()
        },
        "notes": notes,
        "versions": versions(),
    }


def _menu(args: argparse.Namespace) -> Menu | None:
    from axo.errors import UserError
    from axo.physics.menu import read_menu

    if args.menu == "none":
        if args.column:
            raise UserError("--column needs a menu")
        return None
    return read_menu(args.menu)
