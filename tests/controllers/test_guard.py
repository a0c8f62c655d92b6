"""No algorithm and no record gets past the guard."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.controllers import (
    ControllerConfig,
    Measurement,
    SeedConfig,
    SeedMeasurement,
    make_controller,
    state_from_json,
    state_to_json,
)
from axo.controllers.guard import HOUR, MAX_GAP, Guarded
from axo.controllers.interface import Proposal
from axo.errors import UserError
from tests.controllers.records import record


class Wild:
    """Proposes what it is told, lumi section by lumi section, for every seed there is."""

    VERSION = "0"

    def __init__(self, wishes, names=("AXO",)):
        self._wishes = wishes
        self._names = names

    def initial_state(self):
        return {"calls": 0}

    def propose(self, state, reading):
        wish = self._wishes[state["calls"] % len(self._wishes)]
        return {"calls": state["calls"] + 1}, {name: Proposal(wish, "wild") for name in self._names}


def guarded(wishes=(2000.0,), **seed):
    values = {"initial_word": 3000} | seed
    config = ControllerConfig((SeedConfig("AXO", 1.0, **values),))
    return Guarded("wild", Wild(wishes), config)


def run(controller, records):
    state, decisions = controller.initial_state(), []
    for item in records:
        state, decision = controller.decide(state, item)
        decisions.append(decision)
    return decisions


WISHES = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1e4, 4e5)
NUMBERS = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.integers(-5, 10**7).map(float)
SEEDS = st.builds(
    SeedMeasurement,
    name=st.sampled_from(["AXO", "AXO", "AXO", "other"]),
    threshold_word=st.integers(-10, 1 << 19),
    passed=NUMBERS,
    prescale=st.sampled_from([1.0, 1.0, 0.0, 2.0, -1.0, math.nan, math.inf]),
    pure=NUMBERS,
)
RECORDS = st.builds(
    Measurement,
    run=st.sampled_from([1, 1, 1, 1, 0, 2, -3]),
    lumi_section=st.integers(-1, 600),
    pileup=st.sampled_from([60.0, 60.0, 20.0, 0.0, -1.0, 1e9, math.nan]),
    colliding_bunches=st.sampled_from([None, 2400, 2400, 0, -1, 10**6]),
    seeds=st.lists(SEEDS, max_size=3).map(tuple),
    duration_s=st.sampled_from([20.0, 20.0, 0.0, -1.0, 1e6, math.nan, None]),
    live_fraction=st.sampled_from([1.0, 0.9, 0.0, -0.1, 1.5, math.nan]),
    total_passed=NUMBERS,
)
CONFIGS = st.builds(
    lambda low, width, step, changes: SeedConfig(
        "AXO",
        1.0,
        low + width // 2,
        min_word=low,
        max_word=low + width,
        max_step_words=step,
        changes_per_hour=changes,
    ),
    st.integers(0, 5000),
    st.integers(0, 20000),
    st.integers(1, 3000),
    st.none() | st.integers(1, 20),
)


@settings(max_examples=150, deadline=None)
@given(CONFIGS, st.lists(WISHES, min_size=1, max_size=5), st.lists(RECORDS, max_size=40))
def test_no_wish_and_no_record_exceeds_a_limit(seed, wishes, records):
    controller = Guarded("wild", Wild(wishes), ControllerConfig((seed,)))
    state, word = controller.initial_state(), seed.initial_word
    changes = []
    for item in records:
        before = state
        state, decision = controller.decide(state_from_json(state_to_json(state)), item)
        assert controller.decide(before, item) == (state, decision)  # exact through JSON, and pure
        new = decision.threshold_words["AXO"]
        assert seed.min_word <= new <= seed.max_word
        assert abs(new - word) <= seed.max_step_words
        if new != word:
            assert decision.accepted
            assert decision.effective_lumi_section >= item.lumi_section + 2
            changes.append((item.run, item.lumi_section))
        word = new
    if seed.changes_per_hour is not None:
        for run_number, section in changes:
            hour = [s for r, s in changes if r == run_number and section - HOUR < s <= section]
            assert len(hour) <= seed.changes_per_hour


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=60))
def test_lumi_sections_are_decided_at_most_once_and_in_order(sections):
    decisions = run(guarded(wishes=(2000.0, 3000.0)), [record(section) for section in sections])
    accepted = [decision for decision in decisions if decision.accepted]
    numbers = [decision.lumi_section for decision in accepted]
    effective = [decision.effective_lumi_section for decision in accepted]
    assert numbers == sorted(set(numbers))
    assert all(e >= n + 2 for e, n in zip(effective, numbers, strict=True))


BAD_COUNTS = [None, math.nan, math.inf, -1.0, 0.5, 1e12]


@pytest.mark.parametrize("count", BAD_COUNTS)
@pytest.mark.parametrize("pure_target", [False, True])
def test_an_impossible_count_holds_and_alarms(count, pure_target):
    controller = guarded(pure=pure_target)
    good, bad = record(1, pure=20_000.0), record(2)
    fields = {"passed": 20_000.0, "pure": 20_000.0} | {"pure" if pure_target else "passed": count}
    bad = dataclasses.replace(bad, seeds=(SeedMeasurement("AXO", 3000, **fields),))
    first, second = run(controller, [good, bad])
    assert first.threshold_words == {"AXO": 2000}
    assert second.threshold_words == {"AXO": 2000}
    assert second.seeds[0].rate_khz is None
    assert [alarm.code for alarm in second.alarms if alarm.seed == "AXO"][-1] == "implausible"


@pytest.mark.parametrize(
    "changes",
    [
        {"pileup": None},
        {"pileup": -1.0},
        {"pileup": 1e4},
        {"duration_s": None},
        {"duration_s": 1e4},
        {"live_fraction": 1.01},
        {"live_fraction": None},
        {"run": 0},
        {"lumi_section": 0},
        {"colliding_bunches": 4000},
    ],
)
def test_an_impossible_record_is_refused(changes):
    decision = run(guarded(), [dataclasses.replace(record(1), **changes)])[0]
    assert not decision.accepted
    assert decision.threshold_words == {"AXO": 3000}
    assert [alarm.code for alarm in decision.alarms] == ["implausible"]


def test_repeated_late_and_old_records_move_nothing():
    records = [record(5), record(5), record(4), record(9, run=1), record(10, run=0)]
    records[-1] = dataclasses.replace(records[-1], run=1, lumi_section=3)
    decisions = run(guarded(wishes=(2000.0, 2500.0)), records)
    assert [decision.accepted for decision in decisions] == [True, False, False, True, False]
    assert [alarm.code for decision in decisions for alarm in decision.alarms if alarm.seed is None] == [
        "repeated",
        "late",
        "missing",
        "late",
    ]


def test_an_older_run_is_refused_and_a_newer_one_needs_two_records_in_a_row():
    records = [record(5, run=7), record(6, run=6), record(1, run=8), record(6, run=7), record(2, run=8)]
    decisions = run(guarded(), [*records, record(3, run=8)])
    assert [decision.accepted for decision in decisions] == [True, False, False, True, False, True]
    assert decisions[-1].run == 8
    assert [d.alarms[0].code for d in decisions if not d.accepted] == ["run"] * 3


def test_a_lumi_section_far_ahead_needs_two_records():
    decisions = run(guarded(), [record(1), record(2 + MAX_GAP), record(2), record(4 + MAX_GAP)])
    assert [decision.accepted for decision in decisions] == [True, False, True, False]
    assert run(guarded(), [record(1), record(2 + MAX_GAP), record(3 + MAX_GAP)])[-1].accepted


def test_a_new_run_keeps_thresholds_or_starts_again():
    records = [record(5), record(1, run=2), record(2, run=2, live_fraction=0.0)]
    keep, again = guarded(), guarded()
    again.config = dataclasses.replace(again.config, keep_on_run_change=False)
    holding = Wild((math.nan,))
    holding_again = Guarded("wild", holding, again.config)
    assert run(keep, records)[-1].threshold_words == {"AXO": 2000}
    state = {**holding_again.initial_state(), "words": {"AXO": 2000}}
    for item in records:
        state, decision = holding_again.decide(state, item)
    assert decision.threshold_words == {"AXO": 3000}


def test_a_rate_of_zero_in_collisions_is_a_dead_counter_however_long():
    decisions = run(guarded(), [record(1), *(record(s, rate_khz=0.0) for s in range(2, 30))])
    assert all(decision.seeds[0].rate_khz is None for decision in decisions[1:])
    assert {decision.threshold_words["AXO"] for decision in decisions} == {2000}


def test_a_jump_beyond_limits_is_believed_when_it_stays():
    decisions = run(guarded(jump_limit=10.0), [record(1), record(2, 50.0), record(3, 51.0), record(4, 1.0)])
    assert [d.seeds[0].rate_khz for d in decisions] == [1.0, None, 51.0, None]


def test_a_fall_that_pileup_explains_is_no_jump():
    records = [record(1), record(2, 0.001, pileup=25.0), record(3, 1.0)]
    assert [d.seeds[0].rate_khz for d in run(guarded(jump_limit=10.0), records)] == [1.0, 0.001, 1.0]


def test_little_live_time_or_pileup_gives_no_rate_and_no_alarm():
    records = [record(1, live_fraction=0.01), record(2, pileup=0.5), record(3, prescale=1.0)]
    decisions = run(guarded(), records)
    assert [d.seeds[0].rate_khz for d in decisions] == [None, None, 1.0]
    assert not any(alarm.code == "implausible" for d in decisions for alarm in d.alarms)


def test_the_rate_is_before_prescale_and_without_deadtime():
    decision = run(guarded(), [record(1, 1.2, prescale=4.0, live_fraction=0.5)])[0]
    assert decision.seeds[0].rate_khz == pytest.approx(1.2)


def test_a_threshold_that_nobody_decided_is_an_alarm():
    decisions = run(guarded(wishes=(2000.0,)), [record(1), record(2), record(3), record(4, word=2000)])
    codes = [[alarm.code for alarm in decision.alarms] for decision in decisions]
    assert codes == [[], [], ["threshold"], []]


def test_some_changes_are_kept_for_moves_to_lower_rates():
    # The wishes fall seven times, then rise: of 8 changes an hour a quarter is kept for rising.
    wishes = (*(3000.0 - 10 * i for i in range(1, 8)), 5000.0, 5010.0, 5020.0)
    words = [
        d.threshold_words["AXO"]
        for d in run(guarded(wishes, changes_per_hour=8), [record(s) for s in range(1, 11)])
    ]
    assert words == [2990, 2980, 2970, 2960, 2950, 2940, 2940, 5000, 5010, 5010]


def test_a_total_that_cannot_be_is_dropped_with_an_alarm():
    seen = []

    class Listener(Wild):
        def propose(self, state, reading):
            seen.append(reading.measurement.total_passed)
            return super().propose(state, reading)

    controller = Guarded("listener", Listener((math.nan,)), guarded().config)
    decisions = run(controller, [record(1, total=20_000.0), record(2, total=19_999.0)])
    assert seen == [20_000.0, None]
    assert [alarm.code for alarm in decisions[1].alarms] == ["implausible"]


def test_a_person_holds_sets_and_gives_back():
    controller = guarded(wishes=(2000.0,), min_word=1000, max_word=4000)
    state, _ = controller.decide(controller.initial_state(), record(1))
    state, decision = controller.override(state, "AXO", "manual", 3500)
    assert decision.threshold_words == {"AXO": 3500}
    assert (decision.lumi_section, decision.effective_lumi_section) == (1, 3)
    state, decision = controller.decide(state, record(2))
    assert (decision.threshold_words["AXO"], decision.seeds[0].mode) == (3500, "manual")
    state, decision = controller.override(state, "AXO", "auto")
    assert decision.threshold_words == {"AXO": 3500}
    state, decision = controller.decide(state, record(3, word=3500))
    assert decision.threshold_words == {"AXO": 2000}
    state, decision = controller.override(state, "AXO", "hold")
    assert decision.threshold_words == {"AXO": 2000}
    assert state_from_json(state_to_json(state)) == state


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("AX0", "hold"), "unknown seed 'AX0'; did you mean 'AXO'"),
        (("AXO", "off"), "unknown mode"),
        (("AXO", "manual"), "goes with mode manual"),
        (("AXO", "hold", 2000), "goes with mode manual"),
        (("AXO", "manual", 999), "outside its limits 1000 to 4000"),
        (("AXO", "manual", 4001), "outside its limits 1000 to 4000"),
    ],
)
def test_a_command_that_cannot_be_is_refused(arguments, message):
    controller = guarded(min_word=1000, max_word=4000)
    with pytest.raises(UserError, match=message):
        controller.override(controller.initial_state(), *arguments)


def test_the_guard_is_round_every_controller():
    config = ControllerConfig((SeedConfig("AXO", 1.0, 3000, max_step_words=5),))
    controller = make_controller("pd", config)
    assert run(controller, [record(1, 9.0)])[0].threshold_words == {"AXO": 3005}


def test_thresholds_that_others_set_are_followed():
    controller = guarded((2500.0,))
    state = controller.track(controller.initial_state(), {"AXO": 3500})
    _, decision = controller.decide(state, record(1, word=3500))
    assert decision.alarms == ()
    assert (decision.seeds[0].previous_word, decision.seeds[0].threshold_word) == (3500, 2500)


def test_a_decision_not_applied_moves_nothing_until_it_is_confirmed():
    controller = guarded((2000.0,), changes_per_hour=1, min_word=1000)
    before = controller.initial_state()
    after, proposed = controller.decide(before, record(1))
    state = controller.withhold(before, after)
    assert proposed.threshold_words == {"AXO": 2000}
    assert state["words"] == {"AXO": 3000} and state["changes"] == {"AXO": []}
    assert controller.decide(state, record(1))[1].alarms[0].code == "repeated"
    state, decision = controller.confirm(state, {"AXO": 2000})
    assert (decision.lumi_section, decision.effective_lumi_section) == (1, 3)
    found = decision.seeds[0]
    assert (found.previous_word, found.threshold_word, found.mode) == (3000, 2000, "auto")
    assert state["changes"] == {"AXO": [1]}
    state, decision = controller.decide(state, record(2, word=3000))
    assert decision.alarms == ()
    _, decision = controller.decide(state, record(3, word=3000))
    assert [alarm.code for alarm in decision.alarms] == ["threshold"]
    with pytest.raises(UserError, match="outside its limits"):
        controller.confirm(state, {"AXO": 500})


def test_what_was_decided_outlives_a_new_beginning():
    controller = guarded((2000.0,))
    state, _ = controller.decide(controller.initial_state(), record(7))
    again = controller.reset(state)
    assert again["words"] == {"AXO": 3000} and again["algorithm"] == {"calls": 0}
    assert controller.decide(again, record(7))[1].alarms[0].code == "repeated"
    _, later = controller.decide(state, record(8, word=3000))
    later_state = controller.mark_decided(again, later)
    assert controller.decide(later_state, record(8))[1].alarms[0].code == "repeated"
    assert later_state["words"] == {"AXO": 3000}
