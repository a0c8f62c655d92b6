import pytest

from axo.controllers import ControllerConfig, SeedConfig, make_controller
from tests.controllers.records import record


def test_known_answer():
    # e = +0.2, then -0.1:  3000 + 250 * 0.2 + 100 * 0.2 = 3070,  3070 - 250 * 0.1 - 100 * 0.3 = 3015.
    config = ControllerConfig((SeedConfig("AXO", 1.0, 3000),), options={"kp_words": 250.0, "kd_words": 100.0})
    controller = make_controller("pd", config)
    state, first = controller.decide(controller.initial_state(), record(1, 1.2))
    state, second = controller.decide(state, record(2, 0.9))
    assert (first.threshold_words["AXO"], second.threshold_words["AXO"]) == (3070, 3015)


@pytest.mark.parametrize(("percent", "cut_gev"), [(0.30, 201.75), (0.20, 198.25)])
def test_agrees_with_the_published_units(percent, cut_gev):
    """H_T at 200 GeV with published gains 30 and 5 per percent, target 0.25 %: 200 + 35 x 0.05 = 201.75.

    In words of 1/4 GeV and relative errors the gains are 30 x 0.25 x 4 = 30 and 5 x 0.25 x 4 = 5 words.
    """
    config = ControllerConfig((SeedConfig("HT", 2.5, 800),), options={"kp_words": 30.0, "kd_words": 5.0})
    controller = make_controller("pd", config)
    item = record(1, 10 * percent, word=800, names=("HT",))
    _, decision = controller.decide(controller.initial_state(), item)
    assert decision.threshold_words["HT"] == round(4 * cut_gev)
