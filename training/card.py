"""The model card in words: Markdown from its JSON."""

from __future__ import annotations

from typing import Any


def card_markdown(card: dict[str, Any]) -> str:
    """Readable form of a model card (the JSON that ``axo train`` writes).

    ``data_remark``, where there is one, was added later: what is known now of the data it rests on.
    """
    sections = [
        _head(card),
        _rates(card),
        _signals(card),
        _seeds(card),
        _logic(card),
        _checks(card),
        _origin(card),
    ]
    return "\n\n".join(sections) + "\n"


def _head(card: dict[str, Any]) -> str:
    notes = (card["config"]["note"].strip(), card.get("data_remark", ""))
    return (
        f"# {card['name']}\n\nFamily `{card['family']}`, network sha256 `{card['network_sha256']}`.\n"
        "Intervals are Clopper-Pearson, 68.3 %, and statistical only. The signals are simulation, and took "
        "no part in training or in the choice of the seed." + "".join(f"\n\n{note}" for note in notes if note)
    )


def _rates(card: dict[str, Any]) -> str:
    figures = card["figures"]
    rows = [
        f"| {name} | {point['threshold_word']} | {point['rate_khz']:.3g} | "
        f"{point['rate_low_khz']:.3g} - {point['rate_high_khz']:.3g} | {point['passed']} |"
        for name, point in figures["rates"].items()
    ]
    return (
        f"## Rates\n\n{figures['zero_bias_events']:,} zero-bias events that were not trained on, "
        f"{figures['bunches']} bunches.\n\n"
        "| working point | threshold word | rate (kHz) | interval (kHz) | events |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
    )


def _signals(card: dict[str, Any]) -> str:
    figures = card["figures"]
    if not figures["signals"]:
        return "## Signals\n\nNone were given."
    points = list(figures["geometric_mean"])
    rows = []
    for name, signal in figures["signals"].items():
        cells = [
            f"{e['value']:.4f} ({e['low']:.4f} - {e['high']:.4f})"
            for e in (signal["efficiency"][point] for point in points)
        ]
        rows.append(f"| {name} | {signal['events']:,} | {' | '.join(cells)} | {signal['auc']:.3f} |")
    means = [f"{figures['geometric_mean'][point]:.4f}" for point in points]
    rows.append(f"| geometric mean | | {' | '.join(means)} | |")
    return (
        f"## Signal efficiencies\n\n| signal | events | {' | '.join(points)} | AUC |\n"
        f"|---|---|{'---|' * len(points)}---|\n" + "\n".join(rows)
    )


def _seeds(card: dict[str, Any]) -> str:
    points = list(card["figures"]["geometric_mean"])
    rows = []
    for seed in card["seeds"]:
        means = [f"{seed['geometric_mean'][point]:.4f}" for point in points]
        mark = " (released)" if seed["seed"] == card["released_seed"] else ""
        rows.append(f"| {seed['seed']}{mark} | {seed['validation_loss']:.4f} | {' | '.join(means)} |")
    lines = [f"## Seeds\n\n{card['selection']}"]
    lines.append(
        f"| seed | validation loss | {' | '.join(f'geometric mean, {point}' for point in points)} |\n"
        f"|---|---|{'---|' * len(points)}\n" + "\n".join(rows)
    )
    spread = [
        f"{point}: mean {s['mean']:.4f}, standard deviation {s['standard_deviation']:.4f} "
        f"({100 * s['standard_deviation'] / s['mean']:.0f} %)"
        for point, s in card["seed_spread"].items()
        if s["mean"] > 0
    ]
    if spread:
        lines.append(f"Geometric-mean efficiency over {len(card['seeds'])} seeds: {'; '.join(spread)}.")
    return "\n\n".join(lines)


def _logic(card: dict[str, Any]) -> str:
    rows = [
        f"| {c['operation']} | {c['weights']} | {c['nonzero_weights']} | {c['rows']} | {c['csd_digits']} |"
        for c in card["cost"]
    ]
    total = sum(c["csd_digits"] for c in card["cost"])
    return (
        "## Logic\n\n| layer | weights | not zero | inputs used | non-zero CSD digits |\n"
        "|---|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\n{total} non-zero digits of canonical signed-digit weights in all (one adder each, unshared)."
    )


def _checks(card: dict[str, Any]) -> str:
    rows = [
        f"| {kind} | {n:,} | {card['exactness']['mismatches'][kind]} |"
        for kind, n in card["exactness"]["events"].items()
    ]
    return (
        "## Exactness\n\nKeras model against the reference evaluation of the network, as integers (score and "
        "every embedding word).\n\n| words | events | mismatches |\n|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\nDense sums reach at most {card['exactness']['largest_sum']:,} units of their last bit, below "
        "the 2^24 = 16,777,216 that float32 holds exactly."
    )


def _origin(card: dict[str, Any]) -> str:
    data = [
        f"| {name} | {d['file']} | {d['events']:,} | `{d['words_sha256'][:16]}` |"
        for name, d in card["data"].items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in card["versions"].items())
    speed = f" Training speed {card['events_per_s']:,.0f} events/s (median over epochs)."
    return (
        "## Origin\n\n| data | file | events | words sha256 |\n|---|---|---|---|\n"
        + "\n".join(data)
        + f"\n\nMade with {versions}.{speed} The full configuration and digests are in `model_card.json`."
    )
