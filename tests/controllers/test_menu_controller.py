import itertools

import numpy as np
import pytest

from axo.config import parse, to_plain
from axo.controllers import ControllerConfig, Measurement, SeedConfig, SeedMeasurement, make_controller
from axo.controllers.algorithms.menu import Options, Problem
from axo.errors import UserError

STREAMS = {
    "tight": {"weight": 1.0, "cost": 1.0, "group": "AXO", "least_khz": 0.1},
    "loose": {"weight": 0.5, "cost": 0.05, "group": "AXO", "least_khz": 0.2},
    "HTT": {"weight": 0.5, "cost": 1.0, "least_khz": 0.1},
}
NAMES = list(STREAMS)


def problem(**options):
    values = {"models": {}, "streams": STREAMS, "budget_khz": 6.0, "compute_khz": 2.5} | options
    return Problem(NAMES, parse(Options, values, "options"))


def test_events_are_counted_once():
    # Working points of one score are nested: the looser one's events are all there are.
    assert problem().total(np.array([1.0, 4.0, 0.0])) == pytest.approx(4.0)
    # t = 1: nothing in common; t = 20: the smaller group inside the larger.
    assert problem(overlap=1.0).total(np.array([1.0, 4.0, 2.0])) == pytest.approx(6.0)
    assert problem(overlap=20.0).total(np.array([1.0, 4.0, 2.0])) == pytest.approx(4.0)


def test_pure_rates_are_against_other_groups():
    assert problem(overlap=1.0).pure(np.array([1.0, 4.0, 2.0])) == pytest.approx([1.0, 4.0, 2.0])
    assert problem(overlap=20.0).pure(np.array([1.0, 4.0, 2.0])) == pytest.approx([0, 2, 0], abs=1e-5)


@pytest.mark.parametrize(
    "options",
    [{}, {"compute_khz": None}, {"overlap": 2.0, "exponent": 1.0}, {"budget_khz": 2.0}, {"exponent": 0.2}],
)
@pytest.mark.parametrize("factors", [(1.0, 1.0, 1.0), (1.0, 0.8, 0.3)])
def test_the_search_finds_what_a_grid_finds(options, factors):
    chosen = problem(**options)
    factors = np.array(factors)
    rates = np.array([0.6, 2.0, 0.6])
    for _ in range(5):  # lumi sections, each going on from the one before
        rates = chosen.best(rates, 1.0, factors)
    assert chosen.use(rates, 1.0) <= 1 + 1e-6
    grid = [np.geomspace(least, 6.0, 25) for least in (0.1, 0.2, 0.1)]
    allowed = [point for point in map(np.array, itertools.product(*grid)) if chosen.use(point, 1.0) <= 1]
    assert chosen.utility(rates, factors) >= max(chosen.utility(p, factors) for p in allowed) * 0.995


def test_budgets_leave_headroom():
    rates = problem(headroom=0.1).best(np.array([1.0, 2.0, 1.0]), 1.0, np.ones(3))
    assert problem(headroom=0.0).use(rates, 1.0) == pytest.approx(0.9)


def test_a_measured_total_corrects_the_overlap(tail_fit):
    """Rates that overlap more than the model thinks leave room: shares grow until the budget is used."""
    names = ("loose", "HTT")
    fits = {name: to_plain(tail_fit) for name in names}
    options = {
        "models": fits,
        "streams": {name: {"cost": 0.0} for name in names},
        "budget_khz": 4.0,
        "overlap": 1.0,
        "headroom": 0.0,
    }
    seeds = tuple(SeedConfig(name, 2.0, 3000) for name in names)
    controller = make_controller("menu", ControllerConfig(seeds, options=options))
    state = controller.initial_state()
    for section in range(1, 80):
        # The same events fire both: the total is the larger of the two.
        shares = np.exp(state["algorithm"]["log_share"])
        counts = [float(round(20_000 * share)) for share in shares]
        found = tuple(SeedMeasurement(n, 3000, c) for n, c in zip(names, counts, strict=True))
        item = Measurement(1, section, 60.0, 2400, found, None, 20.0, 1.0, max(counts))
        state, decision = controller.decide(state, item)
    assert max(np.exp(state["algorithm"]["log_share"])) == pytest.approx(4.0, rel=0.02)
    assert decision.seeds[0].target_khz == pytest.approx(4.0, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget_khz": 0.0}, "budget_khz"),
        ({"overlap": 0.5}, "overlap"),
        ({"streams": {"tight": {"weight": -1.0}}}, "weight"),
        ({"streams": {}}, "streams has none for seed tight"),
        ({"bugdet_khz": 1.0}, "did you mean 'budget_khz'"),
    ],
)
def test_options_that_cannot_be_are_refused(tail_fit, changes, message):
    options = {"models": {"tight": to_plain(tail_fit)}, "streams": STREAMS, "budget_khz": 6.0}
    with pytest.raises(UserError, match=message):
        make_controller("menu", ControllerConfig((SeedConfig("tight", 1.0, 9),), options=options | changes))
