"""An evaluation in words: tables for the terminal and for one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from axo.report import Page, Picture, Section, Table
from axo.report.cells import moments, plus_minus, scientific

Json = dict[str, Any]

CAPTIONS = {
    "roc": "Efficiency against the fraction of background that passes; working points are dotted.",
    "scores": "Score distributions of background (filled) and signals.",
    "efficiencies": "Efficiencies at each working point (pure ones at fixed pure rate), with intervals.",
    "information": "Mutual information of the score with what the existing triggers cut on.",
    "dependence": "Fraction of background that passes, against pileup and numbers of objects.",
}


def sections(document: Json, brief: bool = False) -> Iterator[Section]:
    """Every table of the report; a `brief` one leaves out what a plot shows better."""
    for name, point in document["points"].items():
        yield _efficiencies(document, name, point)
    yield _areas(document)
    if document["published"]:
        yield _published(document)
    yield _rates(document)
    if any("of_the_way_efficiency" in _any_point(d) for d in document["detectors"].values()):
        yield _of_the_way(document)
    yield from _arithmetic(document)
    yield _information(document)
    if not brief:
        yield from _dependence(document)
    yield from _seeds(document)


def text_of(document: Json) -> str:
    """The report for a terminal."""
    notes = [Section(text=[f"note: {note}"]) for note in document["notes"]]
    return Page("", [*sections(document, brief=True), *notes], [headline(document)]).terminal()


def to_html(document: Json, pictures: dict[str, bytes]) -> str:
    """One self-contained page; `pictures` are PNG bytes by name."""
    notes = Section("Notes", items=[*document["notes"], *_provenance(document)])
    return Page(
        f"Evaluation of {', '.join(_models(document))}",
        [*sections(document), notes],
        [headline(document)],
        [Picture(png, CAPTIONS[name]) for name, png in pictures.items()],
    ).html()


def headline(document: Json) -> str:
    """What was compared, on what, and what the intervals are."""
    background = document["background"]
    kind = "zero-bias" if document["zero_bias"] else "background"
    menu = document["menu"]
    return (
        f"{', '.join(_models(document))} on {background['events']:,} {kind} events of {background['file']} "
        f"and {len(document['signals'])} signals. "
        + (f"Rates are for {document['bunches']} bunches. " if document["bunches"] else "")
        + (f"Pure: no unprescaled seed of menu {menu['name']}, column {menu['column']}. " if menu else "")
        + "Intervals are 68.3 %: Clopper-Pearson at a fixed cut for efficiencies; for geometric means, "
        f"ratios and fractions a paired bootstrap of events ({document['replicas']} replicas), cuts included."
    )


def _models(document: Json) -> list[str]:
    return [name for name, d in document["detectors"].items() if d["kind"] == "model"]


def _any_point(detector: Json) -> Json:
    return next(iter(detector["points"].values()))


def _efficiencies(document: Json, name: str, point: Json) -> Section:
    pure = point["pure"]
    key, mean = ("pure_efficiency", "pure_geometric_mean") if pure else ("efficiency", "geometric_mean")
    rows = [
        [detector_name, plus_minus(detector["points"][name][mean])]
        + [plus_minus(detector["points"][name][key][signal]) for signal in document["signals"]]
        for detector_name, detector in document["detectors"].items()
    ]
    title = f"{'Pure efficiency at a pure rate of' if pure else 'Efficiency at'} {point['label']}"
    title = title.removesuffix(" pure")
    about = f"At most {point['fraction']:.3g} of the background passes{' and is pure' if pure else ''}."
    return Section(title, [about], Table(["detector", "geometric mean", *document["signals"]], rows))


def _areas(document: Json) -> Section:
    rows = [
        [name, *(plus_minus(detector["auc"][signal]) for signal in document["signals"])]
        for name, detector in document["detectors"].items()
    ]
    return Section("Area under the ROC curve", table=Table(["detector", *document["signals"]], rows))


def _published(document: Json) -> Section:
    header = ["", *(f"{entry['signal']} ({name})" for name, entry in document["published"].items())]
    rows = [
        ["FAD, AUC", *(f"{entry['auc']:.3f}" for entry in document["published"].values())],
        ["FAD, at FPR 1e-5", *(f"{e['efficiency_at_1e-5']:.1e}" for e in document["published"].values())],
    ]
    for name, detector in document["detectors"].items():
        rows.append([f"{name}, AUC", *(f"{detector['auc'][s]['value']:.3f}" for s in document["published"])])
        if point := detector["points"].get("fpr_1em5"):
            cells = [f"{point['efficiency'][s]['value']:.1e}" for s in document["published"]]
            rows.append([f"{name}, at FPR 1e-5", *cells])
    about = "Vaselli et al. 2508.11594 (FAD) on ADC2021 data."
    return Section("Beside the published figures", [about], Table(header, rows))


def _rates(document: Json) -> Section:
    has_menu = document["menu"] is not None
    header = ["detector", "working point", "cut", "passed", "rate kHz"]
    header += ["pure rate kHz", "purity"] if has_menu else []
    rows = []
    for name, detector in document["detectors"].items():
        for key, point in document["points"].items():
            found = detector["points"][key]
            if "passed" not in found:
                continue
            cut = "-" if found["cut"] is None else f"{found['cut']:.6g}"
            row = [name, point["label"], cut, str(found["passed"]), plus_minus(found["rate_khz"])]
            row += [plus_minus(found["pure_rate_khz"]), plus_minus(found["purity"])] if has_menu else []
            rows.append(row)
    about = "An event passes above the cut."
    return Section("Background at the working points", [about], Table(header, rows, "llr"))


def _of_the_way(document: Json) -> Section:
    header = ["detector", "working point", "geometric mean", *document["signals"]]
    rows = []
    for name, detector in document["detectors"].items():
        for key, point in document["points"].items():
            way = detector["points"][key].get(f"of_the_way_{'pure_' if point['pure'] else ''}efficiency")
            if way:
                rows.append([name, point["label"], *_mean_first(way)])
    about = "(efficiency - HT cut) / (supervised - HT cut); a dash where supervised is not above the HT cut."
    return Section("The way from trivial to supervised", [about], Table(header, rows, "llr"))


def _arithmetic(document: Json) -> Iterator[Section]:
    header = ["model", "against", "working point", "geometric mean", *document["signals"]]
    rows, remarks = [], []
    for name, detector in document["detectors"].items():
        found = detector.get("arithmetic")
        if not found:
            continue
        if "quantised_events" in found:
            remarks.append(
                f"{name}: quantised Keras model against the network: {found['quantised_mismatches']} "
                f"mismatches in {found['quantised_events']:,} events."
            )
        if "absent" in found:
            remarks.append(f"{name}: no float parent ({found['absent']}).")
        for kind, points in found.get("ratios", {}).items():
            for key, ratios in points.items():
                label = document["points"][key]["label"]
                rows.append([name, kind.replace("_", ", "), label, *_mean_first(ratios)])
    about = (
        "Efficiency of the fixed-point network over that of the same weights without quantisers (float), and "
        "without rounding but with the types' saturation (float, saturating). " + " ".join(remarks)
    )
    if rows or remarks:
        yield Section("Fixed point against float", [about], Table(header, rows, "lllr"))


def _information(document: Json) -> Section:
    found = {
        n: d["mutual_information"] for n, d in document["detectors"].items() if "mutual_information" in d
    }
    variables = list(next(iter(found.values())))
    rows = [
        [name, *(f"{values[v]:.4f}" for v in variables), f"{max(values.values()):.4f}"]
        for name, values in found.items()
    ]
    about = "Nats, over all background events; binned by rank, bias taken off."
    table = Table(["detector", *variables, "largest"], rows)
    return Section("Mutual information with trigger variables", [about], table)


def _dependence(document: Json) -> Iterator[Section]:
    found = {n: d["dependence"] for n, d in document["detectors"].items() if "dependence" in d}
    first = next(iter(found.values()))
    point = document["points"][first["point"]]
    for variable in first:
        if variable == "point":
            continue
        header = [f"mean {variable}", "events", *found]
        rows = [
            [f"{row['mean']:.3g}", f"{row['events']:,}"]
            + [scientific(detector[variable][i]["fraction"]) for detector in found.values()]
            for i, row in enumerate(first[variable])
        ]
        title = f"Fraction passing at {point['label']} against {variable}"
        yield Section(title, table=Table(header, rows, "r"))


def _seeds(document: Json) -> Iterator[Section]:
    header = ["model", "working point", "seeds", "geometric mean", "standard deviation", "relative"]
    rows = []
    for folder, group in document["seed_groups"].items():
        for key, point in document["points"].items():
            value = group["points"][key]["pure_geometric_mean" if point["pure"] else "geometric_mean"]
            rows.append([folder, point["label"], str(len(group["detectors"])), *moments(value)])
    if rows:
        about = "On these events; of pure efficiencies at pure points."
        yield Section("Spread between seeds", [about], Table(header, rows, "llr"))
    rows = []
    for name, detector in document["detectors"].items():
        card = detector.get("card")
        for point, value in ((card or {}).get("seed_spread") or {}).items():
            rows.append([name, point, str(len(card["seeds"])), *moments(value)])
    if rows:
        about = "From the model card: on the data named there."
        title = "Spread between seeds, of the released models"
        yield Section(title, [about], Table(header, rows, "llr"))


def _provenance(document: Json) -> Iterator[str]:
    for name, sample in {"background": document["background"], **document["signals"]}.items():
        digest = sample["words_sha256"][:16]
        yield f"{name}: {sample['file']}, {sample['events']:,} events, words sha256 {digest}"
    for name in _models(document):
        yield f"{name}: network sha256 {document['detectors'][name]['network_sha256']}"
    yield ", ".join(f"{name} {version}" for name, version in document["versions"].items())


def _mean_first(values: Json) -> list[str]:
    """Cells of figures by signal and of their geometric mean, that first: wide tables are cut at right."""
    signals = [plus_minus(value) for name, value in values.items() if name != "geometric_mean"]
    return [plus_minus(values["geometric_mean"]), *signals]
