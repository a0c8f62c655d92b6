import json
import math

import numpy as np
import pytest

from axo.controllers import ControllerConfig, SeedConfig, make_controller
from axo.errors import UserError
from axo.physics.pileup_model import fit_pileup_model
from axo.rate_monitor.fills import FillSection
from axo.rate_monitor.scenarios import (
    FAULTS,
    Fault,
    Oracle,
    Scenario,
    SeedTruth,
    read_faults,
    shipped_counts,
    simulate,
    standard_faults,
)
from axo.rate_monitor.scenarios.menu import MenuSeed, MenuTruth, shipped_tail_events
from axo.rate_monitor.scenarios.simulator import ControllerPlayer

BUNCHES = 2400


@pytest.fixture(scope="module")
def truth():
    return SeedTruth(fit_pileup_model(shipped_counts("truth")[1]), BUNCHES)


def flat_fill(n=80, pileup=60.0):
    return [FillSection(1, 1, s, 0.0, "STABLE BEAMS", 1.0, 0.9, pileup) for s in range(1, n + 1)]


class Listener:
    """A player that moves nothing and keeps what it gets."""

    name = "listener"

    def __init__(self, word):
        self._word = word
        self.mail = []

    def start(self):
        return self._word

    def records(self, section, records):
        self.mail.append((section, [record.lumi_section for record in records], records))
        return []


def listen(truth, faults=(), n=40, seed=1, word=3000):
    listener = Listener(word)
    trace = simulate(Scenario.of_fill(flat_fill(n), truth, "AXO", faults), listener, seed)
    return listener.mail, trace


def counts(mail):
    return np.array([records[0].seeds[0].passed for _, _, records in mail if records])


def test_counts_are_poisson_at_the_true_rate(truth):
    mail, trace = listen(truth, n=400)
    live_s = 0.9 * 2**18 / 11245.6
    expected = trace.rate_khz[0] * 1000 * live_s
    found = counts(mail)
    assert abs(found.mean() - expected) < 4 * math.sqrt(expected / 400)
    # The variance of 400 Poisson counts is within 4 x sqrt(2 / 399) of the mean.
    assert found.var(ddof=1) == pytest.approx(expected, rel=4 * math.sqrt(2 / 399))


def test_histograms_have_the_shape_of_the_truth_and_add_to_the_count(truth):
    mail, _ = listen(truth, n=200)
    seeds = [records[0].seeds[0] for _, _, records in mail]
    assert all(sum(seed.histogram.counts) == seed.passed for seed in seeds)
    total = np.sum([seed.histogram.counts for seed in seeds], axis=0)
    above = np.exp(truth.model.log_fraction(np.array(seeds[0].histogram.words), 60.0))
    expected = np.append(above[:-1] - above[1:], above[-1]) * total.sum() / above[0]
    chi2 = ((total - expected) ** 2 / expected).sum()
    assert abs(chi2 - 63) < 4 * math.sqrt(2 * 63)


def test_the_same_seed_gives_the_same_run_and_another_another(truth):
    first, second, other = (counts(listen(truth, seed=seed)[0]) for seed in (1, 1, 2))
    assert (first == second).all()
    assert (first != other).any()


@pytest.mark.parametrize(
    ("fault", "ratio", "where"),
    [
        (Fault("hot_tower", 10, 5, 2.0), 2.0, range(10, 15)),
        (Fault("dead_region", 10, 5, 0.6), 0.6, range(10, 15)),
        (Fault("drift", 10, 4, 1.5), 1.5, range(13, 41)),
    ],
)
def test_faults_of_the_detector_scale_the_true_rate(truth, fault, ratio, where):
    _, trace = listen(truth, [fault])
    base = trace.rate_khz[0]
    inside = np.isin(trace.lumi_section, list(where))
    assert trace.rate_khz[inside] == pytest.approx(ratio * base)
    assert trace.rate_khz[trace.lumi_section < 10] == pytest.approx(base)


@pytest.mark.parametrize(
    ("fault", "arrivals"),
    [
        (Fault("missing", 10, 2), {9: [9], 10: [], 11: [], 12: [12]}),
        (Fault("late", 10, 1, 3), {10: [], 11: [11], 12: [12], 13: [13, 10]}),
        (Fault("repeated", 10), {9: [9], 10: [10, 10], 11: [11]}),
        (Fault("out_of_order", 10), {10: [], 11: [11, 10], 12: [12]}),
    ],
)
def test_faults_of_the_records_change_what_arrives(truth, fault, arrivals):
    mail, _ = listen(truth, [fault])
    got = {section: sections for section, sections, _ in mail}
    assert {section: got[section] for section in arrivals} == arrivals


def test_faults_of_the_counters_change_the_counts(truth):
    base = counts(listen(truth)[0])
    reset = counts(listen(truth, [Fault("counter_reset", 10, 1, 0.3)])[0])
    assert reset[9] / base[9] == pytest.approx(0.3, abs=0.02)
    assert (np.delete(reset, 9) == np.delete(base, 9)).all()
    assert (counts(listen(truth, [Fault("zero_rate", 10, 5)])[0])[9:14] == 0).all()
    mail, trace = listen(truth, [Fault("prescale", 10, 5, 10.0)])
    assert mail[9][2][0].seeds[0].prescale == 10.0
    assert counts(mail)[9] / base[9] == pytest.approx(0.1, abs=0.01)
    assert trace.rate_khz[9] == trace.rate_khz[8]


def test_a_stopped_controller_gets_nothing_and_a_dump_has_no_rate(truth):
    mail, _ = listen(truth, [Fault("controller_stop", 10, 5)])
    assert [section for section, _, _ in mail] == [*range(1, 10), *range(15, 41)]
    _, trace = listen(truth, [Fault("beam_dump", 10, 5)])
    assert (trace.rate_khz[9:14] == 0).all()
    assert (trace.rate_khz[14:] > 0).all()


def test_thresholds_act_after_the_delay(truth):
    """A threshold decided on lumi section k is in force from k + 2."""
    config = ControllerConfig((SeedConfig("AXO", 1.0, 2500, min_word=600),))
    controller = make_controller("log_pi", config)
    trace = simulate(Scenario.of_fill(flat_fill(10), truth, "AXO"), ControllerPlayer(controller))
    assert trace.changed[0]
    assert trace.word[:3].tolist()[:2] == [2500, 2500] != trace.word[1:3].tolist()


def test_the_oracle_gives_the_target_where_pileup_is_steady(truth):
    scenario = Scenario.of_fill(flat_fill(20), truth, "AXO", [Fault("hot_tower", 10, 20, 1.7)])
    trace = simulate(scenario, Oracle.last(scenario, 1.0, 2500))
    assert trace.rate_khz[2:9] == pytest.approx(1.0, rel=0.002)
    assert trace.rate_khz[9:11] == pytest.approx(1.7, rel=0.002)
    assert trace.rate_khz[11:] == pytest.approx(1.0, rel=0.002)


def test_every_fault_of_the_issue_has_a_kind():
    assert set(FAULTS) == {
        "hot_tower",
        "drift",
        "dead_region",
        "missing",
        "late",
        "repeated",
        "out_of_order",
        "counter_reset",
        "prescale",
        "zero_rate",
        "beam_dump",
        "controller_stop",
    }


def test_faults_are_read_from_a_file(tmp_path):
    path = tmp_path / "faults.yaml"
    path.write_text("faults:\n- {kind: hot_tower, at: 50}\n- {kind: late, at: 7, duration: 2, size: 4}\n")
    assert read_faults(path) == (Fault("hot_tower", 50), Fault("late", 7, 2, 4.0))
    path = tmp_path / "faults.json"
    path.write_text(json.dumps({"faults": [{"kind": "missing", "at": 3}]}))
    assert read_faults(path) == (Fault("missing", 3),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("faults: [{kind: hot_towr, at: 50}]", "did you mean 'hot_tower'"),
        ("faults: [{kind: hot_tower}]", "key 'at' is missing"),
        ("faults: [{kind: hot_tower, at: 0}]", "at least 1"),
        ("faults: [{kind: prescale, at: 3, size: 0.5}]", "size must be at least 1"),
        ("faults: [{kind: hot_tower, at: 3, size: .nan}]", "size must be"),
        ("fault: []", "unknown key 'fault'"),
    ],
)
def test_a_wrong_fault_is_one_line(tmp_path, text, message):
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as fault:
        read_faults(path)
    assert str(fault.value).startswith(str(path))


def test_standard_faults_are_at_the_quietest_place():
    pileup = np.concatenate([np.linspace(30, 60, 200), np.full(200, 60.0), np.linspace(60, 40, 100)])
    faults = standard_faults(pileup, np.arange(1001, 1501))
    assert {fault.kind for fault in faults} == set(FAULTS)
    assert len({fault.at for fault in faults}) == 1
    assert 1201 + 30 - 5 <= faults[0].at <= 1401 - 110 + 5
    with pytest.raises(UserError, match="steady"):
        standard_faults(np.full(100, 60.0), np.arange(100))


def test_truth_inverts_its_own_rate(truth):
    for pileup in (25.0, 45.0, 64.0):
        word = truth.word(2.0, pileup, 1.3)
        assert (
            truth.rate_khz(math.ceil(word), pileup, 1.3)
            <= 2.0
            <= truth.rate_khz(math.floor(word), pileup, 1.3)
        )


def test_the_shipped_samples_are_independent_and_of_one_network():
    tables = [shipped_counts(name)[1] for name in ("truth", "prior")]
    assert tables[0].network == tables[1].network
    assert tables[0].origin != tables[1].origin
    assert sum(shipped_counts(name)[0].stat().st_size for name in ("truth", "prior", "prior_htt")) < 200_000


@pytest.fixture(scope="module")
def menu():
    seeds = (MenuSeed("tight", "score"), MenuSeed("loose", "score"), MenuSeed("HTT", "htt_pt"))
    return MenuTruth(shipped_tail_events(), seeds, BUNCHES)


WORDS = {"tight": 2500, "loose": 1500, "HTT": 600}


def test_a_menu_counts_every_event_once(menu):
    rates = menu.rates(WORDS, 60.0)
    assert rates.passed["tight"] < rates.passed["loose"] < rates.total
    assert max(rates.passed.values()) < rates.total < rates.passed["loose"] + rates.passed["HTT"]
    overlap = rates.passed["loose"] + rates.passed["HTT"] - rates.total
    assert rates.pure["HTT"] == pytest.approx(rates.passed["HTT"] - overlap)
    assert rates.pure["loose"] == pytest.approx(rates.passed["loose"] - overlap)


def test_menu_rates_are_those_of_the_events_themselves(menu):
    """Unsmeared, with the sample's own mixture of pileup: plain counting, within the smearing's effect."""
    tail = shipped_tail_events()
    n = np.arange(len(tail.events))
    score, htt = tail.values["score"], tail.values["htt_pt"]
    counted = {
        "loose": (score >= WORDS["loose"]).sum(),
        "HTT": (htt >= WORDS["HTT"]).sum(),
        "total": ((score >= WORDS["loose"]) | (htt >= WORDS["HTT"])).sum(),
    }
    pileups = np.arange(20.0, 70.0, 2.0)
    # The mixture of mean pileups that best explains the numbers of interactions, by least squares.
    poisson = np.exp(n * np.log(pileups[:, None]) - pileups[:, None] - [math.lgamma(k + 1) for k in n])
    share, *_ = np.linalg.lstsq(poisson.T, tail.events / tail.events.sum(), rcond=None)
    found = dict.fromkeys(counted, 0.0)
    for pileup, part in zip(pileups, share, strict=True):
        rates = menu.rates(WORDS, float(pileup))
        fractions = {**rates.passed, "total": rates.total}
        for name in found:
            found[name] += part * fractions[name] / (BUNCHES * 11.2456) * tail.events.sum()
    for name, count in counted.items():
        assert found[name] == pytest.approx(float(count), rel=0.12), name


def test_menu_cells_are_disjoint_and_smooth(menu):
    cells = menu.cells(WORDS, 60.0)
    assert all(rate >= 0 for rate in cells.values())
    assert ("tight",) not in cells  # a tight event is a loose one
    near = menu.rates(WORDS | {"loose": 1501}, 60.0).passed["loose"]
    assert 0.99 < near / menu.rates(WORDS, 60.0).passed["loose"] < 1.0


def test_a_controller_plays_a_scenario_twice_alike(truth):
    scenario = Scenario.of_fill(flat_fill(30), truth, "AXO")
    config = ControllerConfig((SeedConfig("AXO", 1.0, 3000, min_word=600),))
    plays = [simulate(scenario, ControllerPlayer(make_controller("pd", config)), 3) for _ in range(2)]
    assert (plays[0].word == plays[1].word).all()
