"""Figures of merit of every detector on the same events at the same working points: the JSON document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.config import to_plain
from axo.decorrelators.information import mutual_information
from axo.errors import UserError
from axo.events import Events
from axo.physics.figures import Accepted, Interval, Moments, clopper_pearson, geometric_mean
from axo.physics.rates import collision_rate_hz, collision_rate_khz, rate_khz
from axo.physics.roc import (
    Bootstrap,
    Replicas,
    allowed_events,
    area_under_curve,
    cut_at,
    roc_points,
    spread,
)
from axo.physics.sample import Sample
from axo.physics.variables import PILEUP, primary_names, trigger_variables, variable_names

from .evaluation_samples import Samples
from .evaluation_scores import Detector, Tested

Json = dict[str, Any]
Reals = NDArray[np.float64]

FALSE_POSITIVE_RATES = (1e-4, 1e-5)
REPLICAS = 200
CURVE = np.geomspace(1, 1e-6, 61)
DEPENDENCE_GROUPS = 8
TRIVIAL, CEILING = "HT cut", "supervised"


@dataclass(frozen=True)
class Point:
    """A working point: at most this `fraction` of zero bias passes (purely, when `pure`)."""

    name: str
    label: str
    fraction: float
    rate_khz: float | None = None
    pure: bool = False


def working_points(
    samples: Samples, rates_khz: Sequence[float], bunches: int
) -> tuple[list[Point], list[str]]:
    """The points that these events allow, and notes on those that they do not.

    Raises UserError when an asked rate is less than that of one event.
    """
    from .figures import rate_name

    events, notes, points = len(samples.background.events), [], []
    if samples.is_zero_bias:
        for khz in rates_khz:
            fraction = khz * 1000 / collision_rate_hz(bunches)
            if not khz > 0 or not allowed_events(fraction, events):
                raise UserError(
                    f"{samples.background.file}: {khz:g} kHz cannot be told from {events} zero-bias events "
                    f"(one is {collision_rate_khz(bunches) / events:.3g} kHz); give more events"
                )
            points.append(Point(rate_name(khz), f"{khz:g} kHz", fraction, khz))
            if samples.has_seeds:
                points.append(Point(f"pure_{rate_name(khz)}", f"{khz:g} kHz pure", fraction, khz, True))
    else:
        notes.append(
            "The background passed a lepton requirement: fractions of it are no rates, so none are given."
        )
    for rate in FALSE_POSITIVE_RATES:
        if allowed_events(rate, events):
            points.append(Point(f"fpr_{rate:.0e}".replace("-0", "m"), f"FPR {rate:g}", rate))
        else:
            notes.append(f"A false-positive rate of {rate:g} cannot be told from {events} background events.")
    if not points:
        raise UserError(f"{samples.background.file}: {events} events are too few for any working point")
    if samples.is_zero_bias and not samples.has_seeds:
        notes.append("Pure figures are absent: there is no menu, or the events lack what it reads.")
    return points, notes


# The document


def figures(
    detectors: Sequence[Detector], samples: Samples, points: Sequence[Point], bunches: int
) -> dict[str, Json]:
    """Everything that is said of each detector, by name. See docs/evaluate.md for the keys."""
    replicas = _Replicas(samples, points, [*detectors, *(p for d in detectors for p in d.parents.values())])
    effects = {d.name: replicas.effects(d) for d in detectors}
    result = {}
    for detector in detectors:
        document: Json = {"kind": detector.kind, **detector.about}
        document["auc"] = {
            name: area_under_curve(t.background, t.signal) for name, t in detector.tested.items()
        }
        document["points"] = {
            p.name: _at_point(detector, p, samples, bunches, effects[detector.name], effects) for p in points
        }
        document["roc"] = {
            name: roc_points(t.background, t.signal, CURVE) for name, t in detector.tested.items()
        }
        if detector.kind == "model":
            document["scores"] = _distributions(detector)
        if detector.background is not None:
            document["mutual_information"] = _information(detector.background, samples)
            document["dependence"] = _dependence(detector.background, samples, points)
        if detector.parents:
            document["arithmetic"]["ratios"] = {
                kind: {
                    p.name: _ratio(effects[detector.name], parent, p, list(samples.signals)) for p in points
                }
                for kind, parent in ((k, replicas.effects(d)) for k, d in detector.parents.items())
            }
        result[detector.name] = to_plain(document)
    return result


def seed_groups(results: dict[str, Json], groups: dict[str, list[str]]) -> dict[str, Json]:
    """Mean and sample standard deviation over the seeds of each folder that holds several.

    `groups` gives the detectors of each folder. By working point: of ``geometric_mean``, and of
    ``pure_geometric_mean`` where there is one.
    """
    spread_of: dict[str, Json] = {}
    for folder, names in groups.items():
        if len(names) > 1:
            points = [results[name]["points"] for name in names]
            spread_of[folder] = {
                "detectors": names,
                "points": {
                    point: {
                        key: Moments.of([p[point][key]["value"] for p in points])
                        for key in ("geometric_mean", "pure_geometric_mean")
                        if key in points[0][point]
                    }
                    for point in points[0]
                },
            }
    return to_plain(spread_of)


@dataclass(frozen=True, eq=False)
class _Effect:
    """Efficiencies at one point by signal, (signals,), of `events` each, and replicas (replicas, signals)."""

    value: Reals
    replicas: Reals
    events: NDArray[np.int64]

    @property
    def mean(self) -> tuple[float, Reals]:
        """Their geometric mean, and its replicas."""
        return float(geometric_mean(self.value)), geometric_mean(self.replicas)


Effects = dict[tuple[str, str], _Effect]
"""By working point, and ``efficiency`` or ``pure_efficiency``."""


class _Replicas:
    """The paired bootstrap of all detectors: one set of event counts serves them all."""

    def __init__(self, samples: Samples, points: Sequence[Point], detectors: Sequence[Detector]) -> None:
        self._samples, self._points = samples, points
        self._bootstrap = Bootstrap(REPLICAS)
        rows = [
            t.background_rows[top]
            for d in detectors
            for t in {id(t.background): t for t in d.tested.values()}.values()
            for p in points
            for top in [_top(t, p, samples)]
        ]
        self._rows = np.unique(np.concatenate(rows))
        self._counts = self._bootstrap.counts(0, len(self._rows))
        self._signals = {
            name: self._bootstrap.counts(1 + i, len(s.events))
            for i, (name, s) in enumerate(samples.signals.items())
        }

    def effects(self, detector: Detector) -> Effects:
        """Efficiencies of `detector` at every point, with replicas."""
        cuts: dict[int, list[tuple[float, Reals]]] = {}
        columns: dict[tuple[str, str], list[tuple[float, Reals]]] = {}
        for name, tested in detector.tested.items():
            key = id(tested.background)
            if key not in cuts:
                cuts[key] = [self._cuts(tested, point) for point in self._points]
            for kind, eligible in self._eligible(name, tested).items():
                counts = self._signals[name][:, tested.signal_rows]
                replicas = Replicas(tested.signal, counts, eligible)
                for point, (cut, replica_cuts) in zip(self._points, cuts[key], strict=True):
                    value = float(((tested.signal > cut) & eligible).mean())
                    column = value, replicas.efficiencies(replica_cuts)
                    columns.setdefault((point.name, kind), []).append(column)
        events = np.array([len(tested.signal) for tested in detector.tested.values()])
        return {
            key: _Effect(np.array([v for v, _ in found]), np.stack([r for _, r in found], axis=1), events)
            for key, found in columns.items()
        }

    def _eligible(self, name: str, tested: Tested) -> dict[str, NDArray[np.bool_]]:
        """Which signal events can count, by kind of efficiency."""
        found = {"efficiency": np.ones(len(tested.signal), bool)}
        if self._samples.has_seeds:
            found["pure_efficiency"] = _pure(self._samples.signals[name])[tested.signal_rows]
        return found

    def _cuts(self, tested: Tested, point: Point) -> tuple[float, Reals]:
        scores = _eligible_scores(tested, point, self._samples)
        allowed = allowed_events(point.fraction, len(scores))
        top = _top(tested, point, self._samples)
        counts = self._counts[:, np.searchsorted(self._rows, tested.background_rows[top])]
        if len(top) == len(scores):  # so few events that all may be needed: the lowest one may be cut
            return cut_at(scores, allowed), self._cut_few(scores[top], counts, allowed)
        return cut_at(scores, allowed), self._bootstrap.cuts(scores[top], counts, allowed)

    def _cut_few(self, scores: Reals, counts: NDArray[np.uint8], allowed: int) -> Reals:
        below = np.full((len(counts), 1), 255, np.uint8)
        repeated = np.repeat(below, allowed // 255 + 2, axis=1)
        padded = np.append(scores, np.full(repeated.shape[1], -np.inf))
        return self._bootstrap.cuts(padded, np.concatenate([counts, repeated], axis=1), allowed)


def _pure(sample: Sample) -> NDArray[np.bool_]:
    assert sample.pure is not None
    return sample.pure


def _eligible_scores(tested: Tested, point: Point, samples: Samples) -> Reals:
    """Background scores, (n,); at a pure point those of events that another seed takes are -inf."""
    scores = tested.background.astype(np.float64)
    if point.pure:
        scores[~_pure(samples.background)[tested.background_rows]] = -np.inf
    return scores


def _top(tested: Tested, point: Point, samples: Samples) -> NDArray[np.int64]:
    """Positions of the highest background scores, as many as the replicas' cuts can need."""
    scores = _eligible_scores(tested, point, samples)
    reach = Bootstrap.reach(allowed_events(point.fraction, len(scores)))
    if reach >= len(scores):
        return np.arange(len(scores))
    return np.argpartition(scores, len(scores) - reach)[len(scores) - reach :]


def _at_point(
    detector: Detector,
    point: Point,
    samples: Samples,
    bunches: int,
    mine: Effects,
    effects: dict[str, Effects],
) -> Json:
    document: Json = {"efficiency": {}, "geometric_mean": _mean(mine[point.name, "efficiency"])}
    if samples.has_seeds:
        document |= {"pure_efficiency": {}, "pure_geometric_mean": _mean(mine[point.name, "pure_efficiency"])}
    for name, tested in detector.tested.items():
        scores = _eligible_scores(tested, point, samples)
        above = tested.signal > cut_at(scores, allowed_events(point.fraction, len(scores)))
        accepted = Accepted.of(above, _rows(samples.signals[name], tested.signal_rows))
        document["efficiency"][name] = accepted.efficiency
        if samples.has_seeds:
            document["pure_efficiency"][name] = accepted.pure_efficiency
    if detector.background is not None:
        document |= _background(next(iter(detector.tested.values())), point, samples, bunches)
    if detector.kind == "model" or detector.name not in (TRIVIAL, CEILING):
        for kind in ("efficiency", "pure_efficiency"):
            if (point.name, kind) in mine and {TRIVIAL, CEILING} <= effects.keys():
                way = _of_the_way(mine, effects[TRIVIAL], effects[CEILING], (point.name, kind), samples)
                document[f"of_the_way_{kind}"] = way
    return document


def _background(tested: Tested, point: Point, samples: Samples, bunches: int) -> Json:
    """Cut, zero-bias events above it, their rate and purity."""
    scores = _eligible_scores(tested, point, samples)
    cut = cut_at(scores, allowed_events(point.fraction, len(scores)))
    accepted = Accepted.of(tested.background > cut, _rows(samples.background, tested.background_rows))

    def rate(fraction: Interval | None) -> Interval | None:
        return rate_khz(fraction, bunches) if samples.is_zero_bias else None

    document: Json = {
        "cut": cut if np.isfinite(cut) else None,
        "passed": accepted.passed.events,
        "total": accepted.total.events,
        "rate_khz": rate(accepted.efficiency),
    }
    if samples.has_seeds:
        document["pure_rate_khz"] = rate(accepted.pure_efficiency)
        document["purity"] = accepted.purity
    return document


def _rows(sample: Sample, rows: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Which of these rows are pure, where that is known."""
    return None if sample.pure is None else sample.pure[rows]


def _mean(effect: _Effect) -> Interval | None:
    if (effect.value == 0).any():
        # No replica can have what the sample has not: the bound of none seen is Clopper-Pearson's.
        most = np.where(effect.value > 0, effect.value, clopper_pearson(0, effect.events)[1])
        return Interval(0.0, 0.0, float(geometric_mean(most)))
    return spread(*effect.mean)


def _of_the_way(
    mine: Effects, trivial: Effects, ceiling: Effects, key: tuple[str, str], samples: Samples
) -> Json:
    """(mine - trivial) / (ceiling - trivial) per signal and for the geometric means; null where none is."""

    def fraction(x: Any, low: Any, high: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(np.asarray(high) > np.asarray(low), (x - low) / (np.asarray(high) - low), np.nan)

    a, b, c = mine[key], trivial[key], ceiling[key]
    result = {
        name: spread(
            float(fraction(a.value[i], b.value[i], c.value[i])),
            fraction(a.replicas[:, i], b.replicas[:, i], c.replicas[:, i]),
        )
        for i, name in enumerate(samples.signals)
    }
    means = [effect.mean for effect in (a, b, c)]
    result["geometric_mean"] = spread(
        float(fraction(*(m[0] for m in means))), fraction(*(m[1] for m in means))
    )
    return result


def _ratio(mine: Effects, parent: Effects, point: Point, names: Sequence[str]) -> Json:
    """Efficiencies of the fixed-point network over its parent's, paired; null where that has 0."""
    kind = "pure_efficiency" if point.pure else "efficiency"
    a, b = mine[point.name, kind], parent[point.name, kind]
    with np.errstate(divide="ignore", invalid="ignore"):
        values, replicas = a.value / b.value, a.replicas / b.replicas
        means = np.float64(a.mean[0]) / b.mean[0], a.mean[1] / b.mean[1]
    return {
        **{name: spread(float(values[i]), replicas[:, i]) for i, name in enumerate(names)},
        "geometric_mean": spread(float(means[0]), means[1]),
    }


def _distributions(detector: Detector) -> Json:
    """Shares of events per bin of score word, in logarithmic bins: what the plot needs."""
    assert detector.background is not None
    highest = max(int(v.max()) for v in (detector.background, *(t.signal for t in detector.tested.values())))
    edges = np.unique(np.geomspace(1, highest + 2, 81).round())

    def share(scores: NDArray[Any]) -> list[float]:
        return (np.histogram(scores + 1, edges)[0] / len(scores)).tolist()

    return {
        "edges": edges.tolist(),
        "background": share(detector.background),
        "signals": {name: share(tested.signal) for name, tested in detector.tested.items()},
    }


def _information(background: NDArray[Any], samples: Samples) -> Json:
    """Mutual information (nats) of the score and each trigger variable, over all zero bias."""
    events = samples.background.events
    names = [*primary_names(events.layout), *_multiplicities_and_pileup(events)]
    values = trigger_variables(events, names)
    return {name: mutual_information(background, values[:, i]) for i, name in enumerate(names)}


def _dependence(background: NDArray[Any], samples: Samples, points: Sequence[Point]) -> Json:
    """Fraction passing the loosest point that is not pure, in ranges of pileup and of multiplicity."""
    point = max((p for p in points if not p.pure), key=lambda p: p.fraction)
    above = background > cut_at(background, allowed_events(point.fraction, len(background)))
    events = samples.background.events
    names = _multiplicities_and_pileup(events)
    values = trigger_variables(events, names)
    return {"point": point.name} | {
        name: _in_ranges(values[:, i], above, _quantile_edges if name == PILEUP else _whole_edges)
        for i, name in enumerate(names)
    }


def _multiplicities_and_pileup(events: Events) -> list[str]:
    """Names of variables: how many objects of each kind there are, and the pileup where it is known."""
    counts = [name for name in variable_names(events.layout) if name.startswith("n_")]
    return [*counts, *([PILEUP] if events.pileup is not None else [])]


def _in_ranges(values: Reals, above: NDArray[np.bool_], edges_of: Callable[[Reals], Reals]) -> list[Json]:
    edges = edges_of(values)
    place = np.searchsorted(edges, values, "right") - 1
    rows = []
    for i in range(len(edges)):
        inside = place == i
        if inside.any():
            accepted = Accepted.of(above[inside])
            rows.append(
                {
                    "mean": float(values[inside].mean()),
                    "events": accepted.total.events,
                    "passed": accepted.passed.events,
                    "fraction": accepted.efficiency,
                }
            )
    return rows


def _quantile_edges(values: Reals) -> Reals:
    return np.unique(np.quantile(values, np.linspace(0, 1, DEPENDENCE_GROUPS, endpoint=False)))


def _whole_edges(values: Reals) -> Reals:
    return np.unique(values)
