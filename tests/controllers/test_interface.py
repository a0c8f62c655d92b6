import json
import math

import pytest

from axo.config import to_plain
from axo.controllers import (
    ControllerConfig,
    Measurement,
    ScoreCounts,
    SeedConfig,
    SeedMeasurement,
    config_from_json,
    controller_names,
    decision_from_json,
    make_controller,
    measurement_from_json,
    state_from_json,
)
from axo.errors import UserError
from tests.controllers.records import record


def through_json(value):
    return json.loads(json.dumps(to_plain(value), allow_nan=False))


def test_controllers_are_found_by_module_name():
    assert set(controller_names()) == {"fixed", "log_pi", "menu", "pd", "predictive"}


def test_an_unknown_controller_is_named_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'predictive'"):
        make_controller("predictiv", ControllerConfig((SeedConfig("A", 1.0, 10),)))


def test_measurement_through_json_is_the_same():
    seed = SeedMeasurement("A", 7, 12.0, 3.0, 4.0, ScoreCounts((7, 9), (11, 1), 0.5))
    measurement = Measurement(386554, 9, 61.25, 2340, (seed,), 1.5e9, 23.0, 0.97, 12.0)
    assert measurement_from_json(through_json(measurement)) == measurement


def test_what_is_not_finite_is_not_known():
    seed = SeedMeasurement("A", 7, math.nan, 1.0, math.inf)
    measurement = Measurement(1, 1, math.nan, None, (seed,), live_fraction=-math.inf)
    assert (seed.passed, seed.pure, measurement.pileup, measurement.live_fraction) == (None,) * 4
    assert measurement_from_json(through_json(measurement)) == measurement


def test_config_and_decision_through_json_are_the_same():
    config = ControllerConfig((SeedConfig("A", 1.0, 3000, changes_per_hour=20),), options={})
    assert config_from_json(through_json(config)) == config
    controller = make_controller("fixed", config)
    _, decision = controller.decide(controller.initial_state(), record(1, names=("A",)))
    assert decision_from_json(through_json(decision)) == decision


def test_an_unknown_key_is_named():
    document = through_json(record(1)) | {"pielup": 3.0}
    with pytest.raises(UserError, match=r"line 4: unknown key 'pielup'; did you mean 'pileup'"):
        measurement_from_json(document, "line 4")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_khz": 0.0}, "target_khz"),
        ({"target_khz": math.nan}, "target_khz"),
        ({"initial_word": 5, "min_word": 6}, "outside 6"),
        ({"min_word": -1}, "min_word"),
        ({"max_word": 1 << 18}, "max_word"),
        ({"max_step_words": 0}, "max_step_words"),
        ({"changes_per_hour": 0}, "changes_per_hour"),
        ({"band": 1.0}, "band"),
        ({"dead_band": 0.2}, "dead_band"),
        ({"jump_limit": 1.0}, "jump_limit"),
        ({"name": ""}, "name"),
    ],
)
def test_a_seed_that_cannot_be_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        SeedConfig(**({"name": "A", "target_khz": 1.0, "initial_word": 100} | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": ()}, "at least one"),
        ({"seeds": (SeedConfig("A", 1.0, 1),) * 2}, "same name"),
        ({"delay_lumi_sections": 0}, "delay"),
        ({"min_live_s": 0.0}, "min_live_s"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        ControllerConfig(**({"seeds": (SeedConfig("A", 1.0, 1),)} | changes))


@pytest.mark.parametrize("name", ["fixed", "pd", "log_pi"])
def test_unknown_options_are_refused(name):
    config = ControllerConfig((SeedConfig("A", 1.0, 1),), options={"gain": 1.0})
    with pytest.raises(UserError, match=f"options of {name}: unknown key 'gain'"):
        make_controller(name, config)


@pytest.mark.parametrize("text", ["[]", "3", "nonsense"])
def test_what_is_no_state_is_refused(text):
    with pytest.raises(ValueError):
        state_from_json(text)
