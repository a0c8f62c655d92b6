"""The bars of the controllers on real fills, and the command that shows them."""

import argparse
import json
import math
import time

import numpy as np
import pytest

from axo.errors import UserError
from axo.physics.pileup_model import fit_pileup_model, fit_tail
from axo.rate_monitor import simulate as command
from axo.rate_monitor.compare import Recovery, bars, figures, recovery, recovery_met
from axo.rate_monitor.fills import FillSection, colliding_bunches, read_fill
from axo.rate_monitor.scenarios import Fault, SeedTruth, Trace, shipped_counts, standard_faults
from axo.rate_monitor.simulate import CONTROLLERS, Setting, run_all

FILLS = ("381148", "386554", "392642", "396102")


@pytest.fixture(scope="module")
def tables():
    counts = shipped_counts("truth")[1]
    return counts, fit_pileup_model(counts), fit_tail(shipped_counts("prior")[1])


def setting_of(tables, bunches, noise_seed=1):
    counts, model, prior = tables
    return Setting(SeedTruth(model, bunches), counts, prior, noise_seed=noise_seed)


def results_of(tables, sections, names, noise_seed):
    setting = setting_of(tables, colliding_bunches(sections), noise_seed)
    traces = run_all(sections, names, setting)
    return {t.name: figures(t, 1.0, 0.1, setting.truth, setting.counts) for t in traces}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILLS)
def test_predictive_meets_the_bars_on_every_fill(shared, tables, name):
    """Near the better oracle, and ahead of its peers, but for a spread below that oracle's.

    Jumps of the pileup that nothing announces make most of the spread of run 396102: what has less of it
    than an oracle, which knows the true rates, was lucky there.
    """
    sections = read_fill(shared / "real" / "fills" / f"brilcalc_run{name}.csv")
    for seed in (11, 12, 15):
        results = results_of(tables, sections, CONTROLLERS, seed)
        found = bars(results, "predictive")
        assert found["in_band"]["met"] and found["rms"]["met"], found
        own, oracle = results["predictive"], min(results[o].rms for o in ("oracle", "oracle_forecast"))
        for peer in (results[name] for name in ("log_pi", "pd", "fixed")):
            assert own.in_band >= peer.in_band, found
            assert own.rms < peer.rms or peer.rms < oracle, found


@pytest.mark.slow
@pytest.mark.parametrize("name", FILLS)
def test_predictive_recovers_from_every_fault(shared, tables, name):
    sections = read_fill(shared / "real" / "fills" / f"brilcalc_run{name}.csv")
    setting = setting_of(tables, colliding_bunches(sections), 11)
    for fault in standard_faults([s.pileup for s in sections], [s.lumi_section for s in sections]):
        window = [s for s in sections if fault.at - 100 <= s.lumi_section < fault.edges[-1] + 40]
        traces = run_all(window, ["predictive"], setting, [fault])
        found = {trace.name: recovery(trace, fault, 1.0, 0.1) for trace in traces}
        oracles = [found["oracle"], found["oracle_forecast"]]
        assert recovery_met(found["predictive"], oracles), found


@pytest.mark.slow
def test_ten_thousand_lumi_sections_take_less_than_a_minute(tables):
    """Processor time of this thread, for the machine may be busy: one controller, with its truth."""
    pileup = 60 + np.cumsum(np.random.default_rng(1).normal(0, 0.05, 10_000)).clip(-5, 5)
    sections = [FillSection(1, 1, i + 1, 0.0, "STABLE", 1.0, 0.95, float(p)) for i, p in enumerate(pileup)]
    from axo.controllers import make_controller
    from axo.rate_monitor.scenarios import Scenario, simulate
    from axo.rate_monitor.scenarios.simulator import ControllerPlayer

    setting = setting_of(tables, 2400)
    scenario = Scenario.of_fill(sections, setting.truth, "AXO")
    config = command.controller_config("predictive", setting, 3000)
    started = time.thread_time()
    trace = simulate(scenario, ControllerPlayer(make_controller("predictive", config)))
    assert time.thread_time() - started < 60
    assert np.mean(np.abs(trace.rate_khz[10:] - 1) < 0.1) > 0.99


def trace_of(ratios, pileup=None):
    n = len(ratios)
    return Trace(
        "x",
        np.arange(1, n + 1),
        np.full(n, 60.0) if pileup is None else np.array(pileup),
        np.full(n, 3000),
        np.array(ratios, np.float64),
        np.array([True, False] * (n // 2) + [False] * (n % 2)),
        ((),) * n,
        np.zeros(n),
    )


def test_figures_by_hand(tables):
    truth = SeedTruth(tables[1], 2400)
    # Seven lumi sections count: 1, 1.1 (just in), 1.2, 3, 0.5, 1, 1; the one at pileup 19.9 does not.
    found = figures(trace_of([1, 1.1, 1.2, 3, 0.5, 99, 1, 1], [60] * 5 + [19.9, 60, 60]), 1.0, 0.1001, truth)
    assert (found.lumi_sections, found.in_band, found.above_twice) == (7, 4 / 7, 1)
    assert found.worst_ratio == 3
    squares = [math.log(r) ** 2 for r in (1.1, 1.2, 3, 0.5)]
    assert found.rms == pytest.approx(math.sqrt(sum(squares) / 7))
    assert found.changes_per_hour == pytest.approx(4 / (8 * 2**18 / 11245.6 / 3600))
    assert found.signal_efficiency is None


@pytest.mark.parametrize(
    ("ratios", "sections", "above", "about"),
    [
        ([1, 1, 2.1, 1.97, 1, 1, 1], 2, 1, 2),
        ([1, 1, 2.1, 1.95, 1, 1, 1], 2, 1, 1),
        ([1, 1, 0.5, 1, 0.5, 1, 1], 3, 0, 0),  # in passing does not count
        ([1, 1, 1, 1, 1, 1, 1], 0, 0, 0),
        ([1, 1, 3, 3, 3, 3, 3], None, 5, 5),
    ],
)
def test_recovery_by_hand(ratios, sections, above, about):
    found = recovery(trace_of(ratios), Fault("missing", 3), 1.0, 0.1)
    assert (found.sections, found.above_twice, found.about_twice) == (sections, above, about)


def test_the_bars_on_recovery():
    oracle = [Recovery("oracle", "x", 2, 0, 1), Recovery("oracle_forecast", "x", 2, 0, 2)]
    assert recovery_met(Recovery("p", "x", 3, 3, 3), oracle)
    assert not recovery_met(Recovery("p", "x", 4, 0, 0), oracle)
    assert not recovery_met(Recovery("p", "x", 1, 4, 4), oracle)
    assert not recovery_met(Recovery("p", "x", None, 0, 0), oracle)


@pytest.fixture
def fill(tmp_path):
    """A fill as brilcalc writes it: 200 lumi sections that lose 5 % of their pileup."""
    rows = [
        f"1:9,{s}:{s},05/24/24 12:38:03,STABLE BEAMS,6800,{4.9e-4 * p / 64},{4.6e-4 * p / 64},{p:.1f},HFOC"
        for s, p in ((s, 64 - 0.016 * s) for s in range(1, 201))
    ]
    path = tmp_path / "fill.csv"
    header = "#run:fill,ls,time,beamstatus,E(GeV),delivered(/fb),recorded(/fb),avgpu,source"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def run(*arguments):
    parser = argparse.ArgumentParser()
    command.add_simulation_arguments(parser)
    return command.run_simulation(parser.parse_args([str(argument) for argument in arguments]))


def test_the_command_compares_writes_and_plots(fill, tmp_path, capsys):
    out, picture = tmp_path / "o.json", tmp_path / "p.png"
    assert run("--simulate", fill, "--json", out, "--plot", picture, "--noise-seed", 3) == 0
    document = json.loads(out.read_text())
    assert [row["name"] for row in document["controllers"]] == ["oracle", "oracle_forecast", *CONTROLLERS]
    assert document["bars"]["predictive"]["in_band"]["met"]
    assert document["network"] == shipped_counts("truth")[1].network
    printed = capsys.readouterr().out
    for row in document["controllers"]:
        assert f"{row['in_band']:.2%}" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_file_of_faults_is_injected(fill, tmp_path):
    faults, out = tmp_path / "f.yaml", tmp_path / "o.json"
    faults.write_text("faults: [{kind: hot_tower, at: 100, duration: 30, size: 3.0}]\n")
    assert run("--simulate", fill, "--controller", "predictive", "--faults", faults, "--json", out) == 0
    document = json.loads(out.read_text())
    assert document["faults"] == [{"kind": "hot_tower", "at": 100, "duration": 30, "size": 3.0}]
    worst = {row["name"]: row["worst_ratio"] for row in document["controllers"]}
    assert worst["predictive"] == pytest.approx(3.0, rel=0.1)


def test_standard_faults_are_tried_one_by_one(fill, tmp_path, capsys):
    out = tmp_path / "o.json"
    assert run("--simulate", fill, "--controller", "predictive", "--faults", "standard", "--json", out) == 0
    rows = [row for row in json.loads(out.read_text())["recovery"] if row["name"] == "predictive"]
    assert len(rows) == 12
    assert all(row["met"] for row in rows)
    assert "controller_stop" in capsys.readouterr().out


def test_the_menu_is_compared_within_its_budgets(fill, tmp_path, capsys):
    out = tmp_path / "o.json"
    assert run("--simulate", fill, "--controller", "menu", "--json", out) == 0
    document = json.loads(out.read_text())
    rows = {row["name"]: row for row in document["controllers"]}
    assert rows["menu"]["utility"] > max(rows["split"]["utility"], rows["fixed"]["utility"])
    assert rows["menu"]["total_over_budget"] == rows["menu"]["compute_over_budget"] == 0
    assert "AXO_tight" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--controller", "predictiv"], "did you mean 'predictive'"),
        (["--controller", "menu", "pd"], "by itself"),
        (["--target-khz", "0"], "--target-khz above 0"),
        (["--bunches", "9999"], "--bunches from 1"),
        (["--truth", "no.json"], "no.json: cannot be read"),
        (["--faults", "no.yaml"], "no.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_is_one_line(fill, arguments, message):
    with pytest.raises(UserError, match=message):
        run("--simulate", fill, *arguments)


def test_a_fill_without_collisions_is_one_line(fill):
    text = fill.read_text().replace("STABLE", "NO")
    lines = [
        line if line.startswith("#") else ",".join([*line.split(",")[:7], "0.0", "HFOC"])
        for line in text.splitlines()
    ]
    fill.write_text("\n".join(lines))
    with pytest.raises(UserError, match="no lumi section with pileup of 20 or more"):
        run("--simulate", fill)
