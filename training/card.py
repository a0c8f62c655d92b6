"""The model card in words: a page made of its JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from axo.models.scaling import Scaling
from axo.network.convention import described
from axo.report import Page, Section, Table
from axo.report.cells import spanned

Card = dict[str, Any]


def card_markdown(card: Card) -> str:
    """Readable form of a model card (the JSON that ``axo train`` writes).

    ``data_remark``, where there is one, was added later: what is known now of the data it rests on.
    """
    sections = (_rates, _signals, _seeds, _logic, _checks, _origin)
    return Page(card["name"], [section(card) for section in sections], list(_head(card))).markdown()


def _head(card: Card) -> Iterator[str]:
    scaling = Scaling.from_json(card["scaling"])
    yield (
        f"Family `{card['family']}`, network sha256 `{card['network_sha256']}`.\n"
        f"It reads {described(scaling.layout, scaling.pt_convention)}.\n"
        "Intervals are Clopper-Pearson, 68.3 %, and statistical only. The signals are simulation, and took "
        "no part in training or in the choice of the seed."
    )
    for note in (card["config"]["note"].strip(), card.get("data_remark", "")):
        if note:
            yield note


def _rates(card: Card) -> Section:
    figures = card["figures"]
    rows = [
        [
            name,
            str(point["threshold_word"]),
            f"{point['rate_khz']:.3g}",
            f"{point['rate_low_khz']:.3g} - {point['rate_high_khz']:.3g}",
            str(point["passed"]),
        ]
        for name, point in figures["rates"].items()
    ]
    about = (
        f"{figures['zero_bias_events']:,} zero-bias events that were not trained on, "
        f"{figures['bunches']} bunches."
    )
    header = ["working point", "threshold word", "rate (kHz)", "interval (kHz)", "events"]
    return Section("Rates", [about], Table(header, rows))


def _signals(card: Card) -> Section:
    figures = card["figures"]
    if not figures["signals"]:
        return Section("Signals", ["None were given."])
    points = list(figures["geometric_mean"])
    rows = [
        [
            name,
            f"{signal['events']:,}",
            *(spanned(signal["efficiency"][point]) for point in points),
            f"{signal['auc']:.3f}",
        ]
        for name, signal in figures["signals"].items()
    ]
    rows.append(["geometric mean", "", *_means(figures, points), ""])
    return Section("Signal efficiencies", table=Table(["signal", "events", *points, "AUC"], rows))


def _seeds(card: Card) -> Section:
    points = list(card["figures"]["geometric_mean"])
    rows = [
        [
            f"{seed['seed']}{' (released)' if seed['seed'] == card['released_seed'] else ''}",
            f"{seed['validation_loss']:.4f}",
            *_means(seed, points),
        ]
        for seed in card["seeds"]
    ]
    spread = [
        f"{point}: mean {s['mean']:.4f}, standard deviation {s['standard_deviation']:.4f} "
        f"({100 * s['standard_deviation'] / s['mean']:.0f} %)"
        for point, s in card["seed_spread"].items()
        if s["mean"] > 0
    ]
    return Section(
        "Seeds",
        [card["selection"]],
        Table(["seed", "validation loss", *(f"geometric mean, {point}" for point in points)], rows),
        after=[f"Geometric-mean efficiency over {len(card['seeds'])} seeds: {'; '.join(spread)}."]
        if spread
        else [],
    )


def _means(figures: Card, points: list[str]) -> list[str]:
    return [f"{figures['geometric_mean'][point]:.4f}" for point in points]


def _logic(card: Card) -> Section:
    keys = ("operation", "weights", "nonzero_weights", "rows", "csd_digits")
    total = sum(c["csd_digits"] for c in card["cost"])
    return Section(
        "Logic",
        table=Table(
            ["layer", "weights", "not zero", "inputs used", "non-zero CSD digits"],
            [[str(part[key]) for key in keys] for part in card["cost"]],
        ),
        after=[
            f"{total} non-zero digits of canonical signed-digit weights in all (one adder each, unshared)."
        ],
    )


def _checks(card: Card) -> Section:
    found = card["exactness"]
    return Section(
        "Exactness",
        [
            "Keras model against the reference evaluation of the network, as integers (score and every "
            "embedding word)."
        ],
        Table(
            ["words", "events", "mismatches"],
            [[kind, f"{n:,}", str(found["mismatches"][kind])] for kind, n in found["events"].items()],
        ),
        after=[
            f"Dense sums reach at most {found['largest_sum']:,} units of their last bit, below the "
            "2^24 = 16,777,216 that float32 holds exactly."
        ],
    )


def _origin(card: Card) -> Section:
    rows = [
        [name, d["file"], f"{d['events']:,}", f"`{d['words_sha256'][:16]}`"]
        for name, d in card["data"].items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in card["versions"].items())
    return Section(
        "Origin",
        table=Table(["data", "file", "events", "words sha256"], rows, "llrl"),
        after=[
            f"Made with {versions}. Training speed {card['events_per_s']:,.0f} events/s (median over "
            "epochs). The full configuration and digests are in `model_card.json`."
        ],
    )
