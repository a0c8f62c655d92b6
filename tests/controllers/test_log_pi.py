import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axo.controllers import ControllerConfig, SeedConfig, make_controller
from tests.controllers.records import record


def controller(options=None, **seed):
    values = {"initial_word": 3000} | seed
    return make_controller(
        "log_pi", ControllerConfig((SeedConfig("AXO", 1.0, **values),), options=options or {})
    )


def play(chosen, rates_and_words, state=None):
    state = chosen.initial_state() if state is None else state
    first = state["lumi_section"] + 1
    words = []
    for section, (rate_khz, word) in enumerate(rates_and_words, first):
        state, decision = chosen.decide(state, record(section, rate_khz, word))
        words.append(decision.threshold_words["AXO"])
    return state, words


def test_one_step_answers_a_rate_e_times_the_target():
    _, words = play(controller({"efold_words": 500.0, "ki": 1.0}), [(math.e, 3000)])
    assert words == [3500]


def test_a_threshold_not_yet_in_force_is_not_asked_for_twice():
    _, words = play(controller({"efold_words": 500.0, "ki": 1.0}), [(math.e, 3000), (math.e, 3000)])
    assert words == [3500, 3500]


@pytest.mark.parametrize("idle", [1, 100])
def test_it_does_not_wind_up_at_a_limit(idle):
    """However long the rate was too low at the lowest threshold, the first high rate raises it."""
    chosen = controller({"ki": 1.0, "efold_words": 500.0}, min_word=2900, initial_word=2900)
    _, words = play(chosen, [(0.2, 2900)] * idle + [(2.0, 2900)])
    assert words == [2900] * idle + [2900 + round(500 * math.log(2))]


@given(st.lists(st.floats(0.01, 20.0), max_size=20))
def test_returning_from_manual_to_auto_makes_no_bump(rates_while_manual):
    chosen = controller({"kp": 0.5, "ki": 0.5})
    state, _ = play(chosen, [(1.3, 3000)])
    state, _ = chosen.override(state, "AXO", "manual", 4000)
    state, words = play(chosen, [(rate, 4000) for rate in rates_while_manual], state)
    assert set(words) <= {4000}
    state, decision = chosen.override(state, "AXO", "auto")
    assert decision.threshold_words["AXO"] == 4000
    if rates_while_manual:
        # At the target again, only the proportional step of the last change is left, within the slew.
        _, words = play(chosen, [(rates_while_manual[-1], 4000), (1.0, 4000)], state)
        assert abs(words[0] - 4000) <= 2 * 2000


def test_slew_limits_a_step():
    _, words = play(controller({"slew": 0.5, "efold_words": 600.0, "ki": 1.0}), [(20.0, 3000)])
    assert words == [3300]


@pytest.mark.parametrize(("rate_khz", "moved"), [(1.04, False), (0.97, False), (1.06, True), (0.94, True)])
def test_a_rate_in_the_dead_band_moves_nothing(rate_khz, moved):
    _, words = play(controller(dead_band=0.05), [(rate_khz, 3000)])
    assert (words != [3000]) is moved


def test_no_count_is_half_a_count():
    _, words = play(controller({"ki": 1.0, "slew": 100.0, "efold_words": 100.0}), [(0.0, 3000)])
    assert words == [3000 + round(100 * math.log(0.5 / 20 / 1000))]


def test_proportional_step_is_on_the_change_of_error():
    _, words = play(controller({"ki": 0.0, "kp": 1.0, "efold_words": 500.0}), [(2.0, 3000), (1.0, 3000)])
    assert words == [3000, 3000 - round(500 * math.log(2))]
