"""The engine: what is decided, proposed, confirmed and overridden, without clock, file or network."""

import json
import time

import pytest

from axo.controllers.interface import ControllerConfig, SeedConfig
from axo.errors import UserError
from axo.rate_monitor.engine import CONFIRM, DRY_RUN, Engine
from tests.rate_monitor.plant import CONTROL, closed_loop, record, service_config

NOMINAL, TIGHT = (seed.name for seed in CONTROL.seeds)
WORDS = {seed.name: seed.initial_word for seed in CONTROL.seeds}


class Session:
    """An engine with its state going on from step to step."""

    def __init__(self, tmp_path, **changes):
        self.engine = Engine(service_config(tmp_path, **changes).settings())
        self.state = self.engine.step(None, "start", "").state

    def step(self, kind, text):
        step = self.engine.step(self.state, kind, text)
        # What a journal keeps is JSON: going on from it must be going on from this.
        assert json.loads(json.dumps(step.state)) == step.state
        assert json.loads(json.dumps(step.output)) == step.output
        self.state = step.state
        return step.output

    def override(self, mode, seed=NOMINAL, word=None):
        command = {"mode": mode, "seed": seed, "threshold_word": word, "by": "me", "comment": ""}
        return self.step("override", json.dumps(command))

    def confirm(self, proposal, accept=True):
        command = {"proposal": proposal, "accept": accept, "by": "me", "comment": ""}
        return self.step("confirmation", json.dumps(command))


def codes(output):
    return [(alarm["code"], alarm["seed"]) for alarm in output["alarms"]]


def test_a_good_record_publishes_thresholds_that_act_from_the_next_but_one(tmp_path):
    output = Session(tmp_path).step("record", record(7, WORDS))
    assert output["publish"]
    assert output["thresholds"]["lumi_section"] == 7
    assert output["thresholds"]["effective_lumi_section"] == 9
    # At these thresholds the plant gives 426 Hz and 46 Hz: both must come down.
    words = output["thresholds"]["threshold_words"]
    assert words[NOMINAL] < WORDS[NOMINAL] and words[TIGHT] < WORDS[TIGHT]


@pytest.mark.parametrize(
    "changes",
    [{"lumi_section": 0}, {"lumi_section": 2}, {"run": -4}, {"live_fraction": 1.5}, {"pileup": float("nan")}],
)
def test_a_refused_record_publishes_nothing_and_raises_an_alarm(tmp_path, changes):
    session = Session(tmp_path)
    session.step("record", record(3, WORDS))
    output = session.step("record", json.dumps(json.loads(record(4, WORDS)) | changes))
    assert not output["publish"] and len(output["alarms"]) == 1


def test_a_seeds_bad_counters_hold_that_seed_alone(tmp_path):
    session = Session(tmp_path)
    session.step("record", record(3, WORDS))
    bad = json.loads(record(4, WORDS))
    bad["seeds"][0]["passed"] = -5
    output = session.step("record", json.dumps(bad))
    nominal, tight = output["decision"]["seeds"]
    assert nominal["threshold_word"] == nominal["previous_word"]
    assert tight["threshold_word"] != tight["previous_word"]
    assert ("implausible", NOMINAL) in codes(output)
    assert output["measured"]["seeds"][NOMINAL]["rate_hz"] is None


def test_rates_shown_are_before_prescale_and_unknown_ones_are_null(tmp_path):
    line = json.loads(record(3, WORDS))
    line["seeds"][0] |= {"passed": 2261, "prescale": 10, "pure": None}
    measured = Session(tmp_path).step("record", json.dumps(line))["measured"]["seeds"]
    assert measured[NOMINAL]["rate_hz"] == pytest.approx(10 * 2261 / (23.31 * 0.97))
    assert measured[NOMINAL]["pure_rate_hz"] is None and measured[NOMINAL]["pure_fraction"] is None
    assert measured[TIGHT]["pure_fraction"] == pytest.approx(0.4, abs=0.01)


def test_out_of_band_three_times_running_is_an_alarm_and_in_band_clears_it(tmp_path):
    session = Session(tmp_path, controller="fixed")
    outputs = [session.step("record", record(section, WORDS)) for section in range(1, 4)]
    assert [("out_of_band", NOMINAL) in codes(output) for output in outputs] == [False, False, True]
    line = json.loads(record(4, WORDS))
    line["seeds"][0]["passed"] = round(1000 * 23.31 * 0.97)
    assert ("out_of_band", NOMINAL) not in codes(session.step("record", json.dumps(line)))


def test_a_dry_run_publishes_nothing_and_does_not_wind_up(tmp_path):
    """Nothing that is proposed comes true: each proposal must start from the threshold in force."""
    session = Session(tmp_path, mode=DRY_RUN)
    proposed = []
    for section in range(1, 60):
        output = session.step("record", record(section, WORDS))
        assert not output["publish"] and ("threshold", NOMINAL) not in codes(output)
        proposed.append(output["decision"]["seeds"][0])
    assert {seed["previous_word"] for seed in proposed} == {WORDS[NOMINAL]}
    assert WORDS[NOMINAL] - 4000 < proposed[-1]["threshold_word"] < WORDS[NOMINAL]


def test_only_a_confirmed_proposal_is_published_and_exactly_as_proposed(tmp_path):
    session = Session(tmp_path, mode=CONFIRM)
    for section in range(1, 30):
        output = session.step("record", record(section, WORDS))
        assert not output["publish"] and ("threshold", NOMINAL) not in codes(output)
    proposal = output["proposal"]
    assert proposal["id"] == "1:29"
    confirmed = session.confirm("1:29")
    assert confirmed["publish"]
    assert confirmed["thresholds"]["threshold_words"] == proposal["threshold_words"]
    assert confirmed["thresholds"]["effective_lumi_section"] == 31
    # It acts from 31 on, and the record of 30 still has the old threshold.
    assert codes(session.step("record", record(30, WORDS))) == [
        ("out_of_band", NOMINAL),
        ("out_of_band", TIGHT),
    ]
    later = session.step("record", record(31, proposal["threshold_words"]))
    assert ("threshold", NOMINAL) not in codes(later)
    assert {seed["mode"] for seed in later["decision"]["seeds"]} == {"auto"}


def test_a_proposal_that_was_superseded_or_rejected_cannot_be_confirmed(tmp_path):
    session = Session(tmp_path, mode=CONFIRM)
    session.step("record", record(1, WORDS))
    session.step("record", record(2, WORDS))
    with pytest.raises(UserError, match="1:2 is the one"):
        session.confirm("1:1")
    assert not session.confirm("1:2", accept=False)["publish"]
    with pytest.raises(UserError, match="none now"):
        session.confirm("1:2")


def test_a_person_sets_a_threshold_at_once_and_the_controller_keeps_off(tmp_path):
    session = Session(tmp_path)
    session.step("record", record(1, WORDS))
    output = session.override("manual", word=15000)
    assert output["publish"] and output["thresholds"]["threshold_words"][NOMINAL] == 15000
    for section in range(2, 6):
        output = session.step("record", record(section, WORDS))
        assert output["thresholds"]["threshold_words"][NOMINAL] == 15000


def test_return_to_auto_goes_on_from_where_the_threshold_is(tmp_path):
    session = Session(tmp_path)
    session.step("record", record(1, WORDS))
    session.override("manual", word=15000)
    assert session.override("auto")["thresholds"]["threshold_words"][NOMINAL] == 15000


def test_hold_all_freezes_every_threshold(tmp_path):
    session = Session(tmp_path)
    before = session.step("record", record(1, WORDS))["thresholds"]["threshold_words"]
    session.override("hold", seed=None)
    for section in range(2, 6):
        output = session.step("record", record(section, WORDS))
        assert output["thresholds"]["threshold_words"] == before
        assert {seed["mode"] for seed in output["decision"]["seeds"]} == {"hold"}


@pytest.mark.parametrize(
    "command",
    [
        ("manual", NOMINAL, 9999),
        ("manual", NOMINAL, 40001),
        ("hold", "AXO_NOMNAL", None),
        ("off", NOMINAL, None),
    ],
)
def test_a_command_beyond_limits_is_refused(tmp_path, command):
    session = Session(tmp_path)
    session.step("record", record(1, WORDS))
    mode, seed, word = command
    with pytest.raises(UserError):
        session.override(mode, seed, word)


def test_other_settings_begin_anew_from_the_thresholds_that_are_out_and_decide_nothing_again(tmp_path):
    session = Session(tmp_path)
    for section in range(1, 9):
        output = session.step("record", record(section, WORDS))
    out = output["thresholds"]["threshold_words"]
    session.engine = Engine(service_config(tmp_path, controller="fixed").settings())
    assert ("settings", None) in codes(session.step("start", ""))
    assert not session.step("record", record(8, WORDS))["publish"]
    assert session.step("record", record(9, out))["thresholds"]["threshold_words"] == out


def test_a_threshold_beyond_new_limits_is_said_and_not_carried_over(tmp_path):
    session = Session(tmp_path)
    session.step("record", record(1, WORDS))
    narrow = ControllerConfig((SeedConfig(NOMINAL, 1.0, 30000, min_word=29000), CONTROL.seeds[1]))
    session.engine = Engine(service_config(tmp_path, controller="fixed", control=narrow).settings())
    output = session.step("start", "")
    assert ("settings", NOMINAL) in codes(output)
    words = session.step("record", record(2, WORDS))["thresholds"]["threshold_words"]
    assert words[NOMINAL] == 30000


def test_the_closed_loop_comes_into_band_and_stays(tmp_path):
    """The plant of these tests can be steered: 1 kHz is at word 1800 ln(28.6e6 * 22.6 / 22611)."""
    loop = closed_loop([60.0] * 60)
    assert all(abs(words[NOMINAL] - 18465) < 1800 * 0.1 for words in loop.words[20:])


@pytest.mark.parametrize("controller", ["fixed", "log_pi"])
def test_a_decision_takes_under_10_ms_at_50_seeds(tmp_path, controller):
    seeds = tuple(SeedConfig(f"SEED_{number}", 1.0, 20000) for number in range(50))
    session = Session(tmp_path, controller=controller, control=ControllerConfig(seeds))
    words = {seed.name: 20000 for seed in seeds}
    took_s = []
    for section in range(1, 21):
        line = record(section, words)
        started = time.perf_counter()
        session.state = session.engine.step(session.state, "record", line).state
        took_s.append(time.perf_counter() - started)
    assert min(took_s) < 0.010
