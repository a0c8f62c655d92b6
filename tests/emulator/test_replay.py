"""`axo replay` and `axo merge` against answers computed here from the reference evaluation."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from axo.cli import main
from axo.emulator import replay
from axo.emulator.answers import Question, answer, check_answers
from axo.emulator.partial import Partial
from axo.emulator.report import text_of
from axo.errors import UserError
from axo.events import Events
from axo.events.sources import read_events, sample_path, write_events
from axo.firmware.models import find_model
from axo.network import evaluate, write_network
from axo.physics.figures import clopper_pearson
from axo.physics.menu import read_menu
from axo.physics.rates import collision_rate_hz

THRESHOLDS = (300, 1000, 2500)
KHZ = collision_rate_hz() / 1000


@pytest.fixture(scope="module")
def network():
    return find_model("axo_v3").network


@pytest.fixture(scope="module")
def job(network):
    """Zero bias and two signals that ship with axo, in small tasks and chunks."""
    samples = replay.find_samples(["sample:zerobias_test"], ["sample:sig_ttbar", "sample:sig_A_4l"])
    seeds = replay.find_seeds(samples[0], read_menu())
    return replay.Job(network, samples, seeds, keep=2000, chunk=1000, task_events=4096)


@pytest.fixture(scope="module")
def result(job):
    return replay.run(job, replay.in_this_process(1))


@pytest.fixture(scope="module")
def answers(result):
    return answer(result, Question(tuple(map(str, THRESHOLDS)), rates_khz=(20,), pure_rates_khz=(5,)))


@pytest.fixture(scope="module")
def truth(network, job):
    """Events, reference scores, seed decisions and purity, all at once."""
    found = {}
    for name in ("zerobias_test", "sig_ttbar"):
        events = read_events(f"sample:{name}")
        bits = job.seeds.menu.evaluate(events)
        unprescaled = [value == 1 for value in job.seeds.menu.prescales().values()]
        pure = ~bits[:, unprescaled].any(axis=1)
        found[name] = (events, evaluate(network, events.words).score_word, bits, pure)
    return found


def share(part, whole, scale=1.0):
    """The fraction with its Clopper-Pearson interval, as answers give it."""
    low, high = clopper_pearson(part, whole)
    return pytest.approx(
        {"value": part / whole * scale, "low": float(low) * scale, "high": float(high) * scale}
    )


def assert_same(a: replay.Result, b: replay.Result):
    assert a.partials.keys() == b.partials.keys()
    for group in a.partials:
        left, right = a.partials[group].arrays(), b.partials[group].arrays()
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_array_equal(left[name], right[name], name, strict=True)


def test_rates_and_purity_are_those_of_the_reference(answers, truth):
    _, score, _, pure = truth["zerobias_test"]
    n = len(score)
    for point, threshold in zip(answers["working_points"], THRESHOLDS, strict=False):
        passed, alone = int((score >= threshold).sum()), int((pure & (score >= threshold)).sum())
        assert (point["threshold_word"], point["passed"], point["pure"]) == (threshold, passed, alone)
        assert point["rate_khz"] == share(passed, n, KHZ)
        assert point["pure_rate_khz"] == share(alone, n, KHZ)
        assert point["purity"] == share(alone, passed)
    for row in answers["scan"]:
        assert row["passed"] == (score >= row["threshold_word"]).sum()
        assert row["pure"] == (pure & (score >= row["threshold_word"])).sum()


@pytest.mark.parametrize(
    "question",
    [
        Question(("300",), (20,), (5,)),
        Question(("300",), triggered=True, top=0),
        Question(("0",)),  # all events pass, more than are kept
        Question(("262144",)),  # none does
    ],
)
def test_answers_follow_their_schema(result, question):
    check_answers(answer(result, question))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("scan", 0, "purity"), 0.5),
        (("scan", 0, "passed"), -1),
        (("scan", 0, "extra"), 1),
        (("working_points", 0, "fraction", "low"), "0"),
        (("working_points", 2, "details", "pileup", 3, "pure"), 1.5),
        (("seeds", "seeds", 2, "prescale"), None),
        (("top_events", 0, "objects", 0, "pt_gev"), "12"),
        (("network", "sha256"), "0"),
    ],
)
def test_damaged_answers_break_their_schema(answers, place, value):
    damaged = json.loads(json.dumps(answers))
    inside = damaged
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    with pytest.raises(ValueError, match="/".join(map(str, place[:2]))):
        check_answers(damaged)


def test_asked_rates_give_the_smallest_threshold_that_holds_them(answers, truth):
    _, score, _, pure = truth["zerobias_test"]
    for point, target, chosen in zip(answers["working_points"][3:], (20, 5), (score >= 0, pure), strict=True):
        t = point["threshold_word"]
        at, below = ((chosen & (score >= level)).sum() / len(score) * KHZ for level in (t, t - 1))
        assert at <= target < below


def test_overlaps_are_those_of_the_reference(answers, truth, job):
    _, score, bits, _ = truth["zerobias_test"]
    point = answers["working_points"][2]
    accepted = score >= point["threshold_word"]
    found = {entry["seed"]: (entry["both"], entry["fired"]) for entry in point["details"]["overlaps"]}
    both = (bits & accepted[:, None]).sum(axis=0)
    fired = bits.sum(axis=0)
    names = job.seeds.names
    assert found == {n: (int(b), int(f)) for n, b, f in zip(names, both, fired, strict=True) if b}
    assert len(found) > 20
    entry = point["details"]["overlaps"][0]
    assert entry["of_accepted"] == share(entry["both"], int(accepted.sum()))
    assert entry["of_seed"] == share(entry["both"], entry["fired"])


def test_profiles_and_multiplicities_are_those_of_the_reference(answers, truth):
    events, score, _, pure = truth["zerobias_test"]
    details = answers["working_points"][2]["details"]
    accepted = score >= THRESHOLDS[2]
    for row in details["pileup"]:
        here = np.floor(events.pileup) == row["pileup"]
        expected = (here.sum(), (here & accepted).sum(), (here & accepted & pure).sum())
        assert (row["events"], row["passed"], row["pure"]) == expected
    assert sum(row["events"] for row in details["pileup"]) == len(score)
    sections = details["sections"]["sections"]
    assert sum(row["passed"] for row in sections) == accepted.sum()
    for row in sections[::97]:
        here = events.luminosity_block == row["lumi_section"]
        assert (row["run"], row["events"]) == (events.run[0], here.sum())
        assert row["average_pileup"] == pytest.approx(float(events.average_pileup[here][0]))
    for kind, first, last in (("EG", 3, 15), ("MU", 15, 27), ("JET", 27, 57)):
        present = (events.words[:, first:last:3] > 0).sum(axis=1)
        for chosen, counts in (
            (np.ones(len(score), bool), answers["objects"][kind]),
            (accepted, details["objects"][kind]),
            (accepted & pure, details["pure_objects"][kind]),
        ):
            assert counts == np.bincount(present[chosen], minlength=(last - first) // 3 + 1).tolist()


def test_signal_efficiencies_are_those_of_the_reference(answers, truth):
    _, score, _, pure = truth["sig_ttbar"]
    for point in answers["working_points"]:
        t, found = point["threshold_word"], point["signals"]["sig_ttbar"]
        assert found["efficiency"] == share(int((score >= t).sum()), len(score))
        assert found["pure_efficiency"]["value"] == pytest.approx((pure & (score >= t)).mean())
    assert answers["signals"]["sig_ttbar"]["any_unprescaled"]["value"] == pytest.approx((~pure).mean())


def test_the_most_anomalous_events_are_listed_with_their_objects(answers, truth):
    events, score, bits, pure = truth["zerobias_test"]
    order = np.lexsort((np.arange(len(score)), -score))[:20]
    assert [e["row"] for e in answers["top_events"]] == order.tolist()
    for entry, row in zip(answers["top_events"], order, strict=True):
        assert entry["score_word"] == score[row] and entry["pure"] == pure[row]
        assert (entry["run"], entry["event"]) == (events.run[row], events.event[row])
        assert len(entry["seeds"]) == bits[row].sum()
        jets = [o["pt_gev"] for o in entry["objects"] if o["kind"] == "JET"]
        assert jets == [w * 0.5 for w in events.words[row, 27::3] if w]


def test_details_need_all_accepted_events_to_be_kept(result, truth):
    score = truth["zerobias_test"][1]
    t = int(np.sort(score)[-3000])
    point = answer(result, Question((str(t),)))["working_points"][0]
    assert point["details"] is None and point["keep_needed"] == (score >= t).sum() > 2000
    assert point["purity"] is not None
    assert f"--keep {point['keep_needed']}" in text_of(answer(result, Question((str(t),))))


@pytest.mark.parametrize(
    "changes", [{"chunk": 777}, {"task_events": 1500}, {"chunk": 10**6, "task_events": 10**6}]
)
def test_chunks_and_tasks_change_nothing(job, result, changes):
    assert_same(replay.run(replace(job, **changes), replay.in_this_process(2)), result)


def test_processes_change_nothing(job, result):
    assert_same(replay.run(job, replay.in_processes(2)), result)


def test_shards_add_to_the_whole_in_any_order(job, result, tmp_path):
    parts = []
    for i in range(3):
        parts.append(tmp_path / f"part{i}.npz")
        replay.write_result(parts[-1], replay.run(job, replay.in_this_process(1), (i, 3)))
    for order in itertools.permutations(parts):
        names = [str(path) for path in order]
        assert_same(replay.merge([replay.read_result(path) for path in order], names), result)
    read = [replay.read_result(path) for path in parts]
    with pytest.raises(UserError, match=r"have 2\d+ of the job's 33750 events; give all shards"):
        replay.merge(read[:2], ["a", "b"])
    with pytest.raises(UserError, match="b: has events that a has too"):
        replay.merge([read[0], read[0]], ["a", "b"])
    other = replay.run(replace(job, keep=5), replay.in_this_process(1), (1, 3))
    with pytest.raises(UserError, match="b: is of another job than a: their keep differ"):
        replay.merge([read[0], other], ["a", "b"])


def test_what_was_done_is_used_again_and_only_for_the_same_task(job, result, tmp_path, monkeypatch, capsys):
    scanned = []
    real = replay.scan

    def counted(job, task, threads=1):
        scanned.append(task)
        if len(scanned) == 5:
            raise KeyboardInterrupt
        return real(job, task, threads)

    monkeypatch.setattr(replay, "scan", counted)
    with pytest.raises(KeyboardInterrupt):
        replay.run(job, replay.in_this_process(1), state=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    assert_same(replay.run(job, replay.in_this_process(1), state=tmp_path), result)
    assert sorted(scanned[5:], key=str) == sorted(job.tasks()[4:], key=str)
    # Nothing is scanned a third time; a damaged result is, and another network's is not used.
    scanned[:] = [None] * 10
    assert_same(replay.run(job, replay.in_this_process(1), state=tmp_path), result)
    assert len(scanned) == 10
    damaged = sorted(tmp_path.iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert_same(replay.run(job, replay.in_this_process(1), state=tmp_path), result)
    assert len(scanned) == 11 and "scanning these events again" in capsys.readouterr().err
    assert {job.task_digest(t) for t in job.tasks()}.isdisjoint(
        replace(job, network=replace(job.network, name="other")).task_digest(t) for t in job.tasks()
    )
    touched = replace(job.samples[0], fingerprint="1:1")
    moved = replace(job, samples=(touched, *job.samples[1:]))
    assert moved.task_digest(job.tasks()[0]) != job.task_digest(job.tasks()[0])


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(job, result, tmp_path):
    """The real command, killed hard once a part is written; the second run gives the same answers."""
    big = tmp_path / "big.h5"
    events = read_events("sample:zerobias_test")
    write_events(big, (events for _ in range(20)))
    command = [sys.executable, "-m", "axo.cli", "replay", "axo_v3", str(big), "--threshold", "1500"]
    command += ["--workers", "2", "--keep", "100", "--json"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONWARNINGS": "default"}
    run = subprocess.Popen([*command, str(tmp_path / "first.json")], env=environment, start_new_session=True)
    deadline = time.monotonic() + 120
    while run.poll() is None and not list((tmp_path / "cache").rglob("*.npz")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL and not (tmp_path / "first.json").exists()
    done = list((tmp_path / "cache").rglob("*.npz"))
    assert done
    again = subprocess.run(
        [*command, str(tmp_path / "again.json")], env=environment, capture_output=True, text=True, timeout=300
    )
    assert again.returncode == 0 and again.stderr == ""
    fresh = replay.Job(
        job.network, replay.find_samples([str(big)]), replace(job.seeds, origin=job.seeds.origin), keep=100
    )
    expected = answer(replay.run(fresh, replay.in_this_process(1)), Question(("1500",)))
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(json.dumps(expected))
    assert not list((tmp_path / "cache").rglob("*.npz"))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_input(tmp_path):
    events = read_events("sample:zerobias_test")
    peaks = []
    for copies in (4, 24):
        path = tmp_path / f"{copies}.h5"
        write_events(path, (events for _ in range(copies)))
        code = (
            "import sys\nfrom axo.cli import main\n"
            f"main(['replay', 'axo_v3', {str(path)!r}, '--threshold', '3000', '--workers', '1'])\n"
            # Not ru_maxrss: that starts at the size of the process that started this one.
            "sys.stderr.write(open('/proc/self/status').read())"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
        peaks.append(int(re.search(r"VmHWM:\s+(\d+) kB", done.stderr)[1]) // 1024)
    assert peaks[1] < 500 and peaks[1] - peaks[0] < 120, f"{peaks} MB"


def test_weighted_events_count_by_their_weight(network, tmp_path):
    """Every event twice, with half of its weight each, has the rate of the whole, and wider intervals."""
    events = read_events("sample:zerobias_test", limit=4000)
    rng = np.random.default_rng(5)
    weight = rng.uniform(0.5, 2, len(events))
    path = tmp_path / "weighted.h5"
    write_events(path, replace(events, weight=weight))
    score = evaluate(network, events.words).score_word
    samples = replay.find_samples([str(path)])
    job = replay.Job(network, samples, replay.find_seeds(samples[0], read_menu()), task_events=1500)
    found = answer(replay.run(job, replay.in_this_process(1)), Question(("800",)))
    assert found["weighted"]
    point = found["working_points"][0]
    accepted = score >= 800
    value = weight[accepted].sum() / weight.sum()
    effective = weight.sum() ** 2 / (weight**2).sum()
    low, high = clopper_pearson(value * effective, effective)
    assert point["passed"] == accepted.sum() > 20
    assert point["fraction"] == pytest.approx({"value": value, "low": float(low), "high": float(high)})
    menu = read_menu()
    bits = menu.evaluate(events)
    for entry in point["details"]["overlaps"]:
        both = accepted & bits[:, list(menu.seeds).index(entry["seed"])]
        assert entry["of_accepted"]["value"] == pytest.approx(weight[both].sum() / weight[accepted].sum())


# Real systems


def test_v3_bits_of_the_2024_trigger_agree_on_every_crossing(shared, golden_network, tmp_path, capsys):
    """Four AXO bits equal score >= t on all 3564 crossings, for any t of these ranges.

    The vectors were made by the emulator that dropped the half GeV.
    """
    write_network(tmp_path / "whole_gev.json", golden_network)
    ranges = {438: (15711, 15732), 439: (17564, 17633), 440: (18558, 18621), 441: (20438, 20619)}
    names = dict(
        row.split(",")
        for row in (shared / "real/menus/L1Menu_Collisions2024_v1_2_0_seeds.csv").read_text().split()[1:]
    )
    out = tmp_path / "answers.json"
    arguments = [
        "replay",
        str(tmp_path / "whole_gev.json"),
        str(shared / "real/ugt/TestVector_L1Menu_Collisions2024_v1_2_0_ttBar.txt.gz"),
        *("--seed-names", str(shared / "real/menus/L1Menu_Collisions2024_v1_2_0_seeds.csv")),
        *("--threshold", *(str(t) for pair in ranges.values() for t in pair)),
        *("--triggered", "--json", str(out), "--workers", "1"),
    ]
    assert main(arguments) == 0
    points = json.loads(out.read_text())["working_points"]
    for bit, pair in zip(ranges, zip(points[::2], points[1::2], strict=True), strict=True):
        for point in pair:
            assert point["rate_khz"] is None and point["fraction"]["value"] == point["passed"] / 3564
            entry = next(o for o in point["details"]["overlaps"] if o["seed"] == names[str(bit)])
            assert entry["own"] and entry["both"] == entry["fired"] == point["passed"] > 0
    # One step outside a range and a crossing differs: the agreement is not for want of events.
    assert main([*arguments[:5], "--threshold", "15733", *arguments[-5:]]) == 0
    entry = json.loads(out.read_text())["working_points"][0]["details"]["overlaps"]
    assert next(o for o in entry if o["seed"] == names["438"])["both"] < 3564
    capsys.readouterr()


def test_recorded_2025_crossings_give_pure_counts_and_overlaps(shared, network, tmp_path, capsys):
    out, path = (
        tmp_path / "answers.json",
        shared / "real/ugt/TestVector_L1Menu_Collisions2025_v1_0_0_data.txt.gz",
    )
    assert main(["replay", "axo_v3", str(path), "--triggered", "--json", str(out), "--threshold", "500"]) == 0
    point = json.loads(out.read_text())["working_points"][0]
    events = read_events(path)
    accepted = evaluate(network, events.words).score_word >= 500
    assert point["passed"] == accepted.sum() > 100
    assert point["pure"] == (accepted & ~events.seed_bits.any(axis=1)).sum()
    found = {entry["seed"]: entry["both"] for entry in point["details"]["overlaps"]}
    both = (events.seed_bits & accepted[:, None]).sum(axis=0)
    assert found == {f"bit{i}": n for i, n in enumerate(both.tolist()) if n}
    capsys.readouterr()


def test_prescale_table_and_column_are_honoured(shared, tmp_path, capsys):
    out = tmp_path / "answers.json"
    menus = shared / "real/menus"
    arguments = [
        "replay",
        "axo_v3",
        str(shared / "real/ugt/TestVector_L1Menu_Collisions2025_v1_0_0_data.txt.gz"),
        *("--seed-names", str(menus / "L1Menu_Collisions2025_v1_0_0_seeds.csv"), "--threshold", "1500"),
        *(
            "--triggered",
            "--json",
            str(out),
            "--prescales",
            str(menus / "L1Menu_Collisions2024_v1_3_0_prescales.csv"),
        ),
    ]
    pure = {}
    for column in ("2p0E34", "2p0E34_OnlyMuons", "Emergency"):
        assert main([*arguments, "--column", column]) == 0
        answers = json.loads(out.read_text())
        pure[column] = answers["working_points"][0]["pure"], answers["working_points"][0]["passed"]
        # 73 seeds of 2025 are not in the table of 2024: said, and off.
        assert len(answers["seeds"]["not_in_the_prescale_table"]) == 73
    assert pure["2p0E34"][0] < pure["2p0E34_OnlyMuons"][0] < pure["Emergency"][0] == pure["Emergency"][1]
    assert "73 seeds are not in the prescale table and count as off" in capsys.readouterr().out


# The command


def test_the_command_prints_writes_and_draws(tmp_path, capsys):
    json_file, plots = tmp_path / "a.json", tmp_path / "plots"
    arguments = ["sample:zerobias_test", "--rate-khz", "20", "--signal", "sample:sig_ttbar", "--workers", "1"]
    outputs = ["--json", str(json_file), "--plots", str(plots), "--output", str(tmp_path / "whole.npz")]
    assert main(["replay", "axo_v3", *arguments, *outputs]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""  # no progress bar in a pipe
    for piece in ("20 kHz", "purity", "sig_ttbar", "L1_", "most anomalous", "pileup", "lumi sections"):
        assert piece in printed.out
    assert {path.stem for path in plots.iterdir()} == {
        *("rate", "purity", "overlap", "overlap_scan", "sections", "pileup", "multiplicities", "signals")
    }
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in plots.iterdir())
    # The same answers without another pass, and others.
    assert (
        main(["merge", str(tmp_path / "whole.npz"), "--rate-khz", "20", "--json", str(tmp_path / "b.json")])
        == 0
    )
    assert (tmp_path / "b.json").read_text() == json_file.read_text()
    assert main(["merge", str(tmp_path / "whole.npz"), "--pure-rate-khz", "10", "--bunches", "1000"]) == 0
    assert "10 kHz pure" in capsys.readouterr().out


def test_without_a_menu_there_are_rates_and_no_purity(tmp_path, capsys):
    out = tmp_path / "a.json"
    assert main(["replay", "axo_v3", "sample:zerobias_test", "--menu", "none", "--json", str(out)]) == 0
    answers = json.loads(out.read_text())
    assert answers["seeds"] is None and all(point["purity"] is None for point in answers["working_points"])
    assert len(answers["working_points"]) == len(find_model("axo_v3").network.thresholds)
    assert "seeds: none" in capsys.readouterr().out


def test_own_seeds_do_not_take_purity(network, tmp_path, capsys):
    """A source whose only seed is this very network: pure when that seed is its own, never otherwise."""
    events = read_events("sample:zerobias_test", limit=3000)
    fired = evaluate(network, events.words).score_word >= 500
    path = tmp_path / "bits.h5"
    write_events(path, Events(events.words, seed_bits=fired[:, None], seed_names=("L1_AXO_Twin",)))
    for own, expected in ((None, int(fired.sum())), ("nothing", 0)):
        arguments = ["replay", "axo_v3", str(path), "--threshold", "500", "--json", str(tmp_path / "a.json")]
        assert main([*arguments, *(["--own", own] if own else [])]) == 0
        point = json.loads((tmp_path / "a.json").read_text())["working_points"][0]
        assert (point["passed"], point["pure"]) == (fired.sum(), expected)
    capsys.readouterr()


# Bad input: one line with the file and the mend, exit code 2, nothing written.


@pytest.fixture
def bad(tmp_path):
    good = sample_path("sig_ttbar")
    files = {"truncated": tmp_path / "truncated.h5", "empty": tmp_path / "empty.h5"}
    files["truncated"].write_bytes(good.read_bytes()[:-2000])
    files["empty"].write_bytes(b"")
    events = read_events(good, limit=300)
    words = events.words.copy()
    words[250, 27] = 3000  # a jet has 11 bits
    files["wide"] = tmp_path / "wide.h5"
    write_wrong(files["wide"], replace(events, words=words))
    files["bare"] = tmp_path / "bare.h5"
    write_events(files["bare"], Events(events.words))
    files["columns"] = tmp_path / "columns.txt"
    files["columns"].write_text("0 " + "0" * 16 + " 00000000\n")
    return files


def write_wrong(path, events):
    """Words that `write_events` would refuse, written with h5py."""
    import h5py

    keep = events.words[:, 27].copy()
    fine = events.words.copy()
    fine[:, 27] = np.minimum(keep, 2047)
    write_events(path, replace(events, words=fine))
    with h5py.File(path, "r+") as file:
        pt = file["L1Jet_hwPt"][:]
        pt[:, 0] = keep
        file["L1Jet_hwPt"][:] = pt


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["{truncated}"], "truncated.h5: is not a whole HDF5 file"),
        (["{empty}"], "empty.h5: the file is empty"),
        (["{wide}"], "wide.h5: event 250: JET0_pt = 3000 is outside its hardware width"),
        (["{columns}"], "columns.txt: line 1 has 3 columns"),
        (["nothing.h5"], "nothing.h5: cannot be read"),
        (["sample:zerobias_tset"], "did you mean 'zerobias_test'"),
        (["{bare}"], "bare.h5: menu 'L1Menu_Collisions2024_model' reads EG isolation"),
        (["{bare}", "--menu", "none", "--pure-rate-khz", "1"], "a pure rate needs seeds"),
        (["sample:zerobias_test", "--signal", "{bare}"], "bare.h5: menu"),
        (["sample:zerobias_test", "sample:zerobias_test"], "is given twice"),
        (["sample:zerobias_test", "--rate-khz", "0.001"], "cannot be told from 31250 zero-bias events"),
        (["sample:zerobias_test", "--rate-khz", "-1"], "is not positive"),
        (["sample:zerobias_test", "--threshold", "rate_1kz"], "did you mean 'rate_1khz'"),
        (["sample:zerobias_test", "--threshold", "999999999"], "beyond the largest score word"),
        (["sample:zerobias_test", "--column", "2p0"], "unknown prescale column '2p0'"),
        (["sample:zerobias_test", "--triggered", "--rate-khz", "1"], "triggered data have no absolute rate"),
        (["sample:zerobias_test", "--shard", "1/2"], "--output"),
        (["sample:zerobias_test", "--seed-names", "x.csv"], "carry no seed bits"),
        (["sample:zerobias_test", "--menu", "nothing.yaml"], "nothing.yaml: cannot be read"),
        (["sample:zerobias_test", "--scheduler", "tcp://127.0.0.1:1"], "no Dask scheduler answers"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(bad, tmp_path, monkeypatch, capsys, arguments, fault):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("axo.emulator.distributed.CONNECT_S", 1)
    outputs = ["--json", "a.json", "--plots", "plots"] if "--shard" not in arguments else []
    filled = [argument.format(**bad) for argument in arguments]
    extra = [] if {"--shard", "--scheduler"} & set(arguments) else ["--workers", "1"]
    assert main(["replay", "axo_v3", *filled, *outputs, *extra]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and fault in printed.err
    assert not (tmp_path / "a.json").exists() and not (tmp_path / "plots").exists()


def test_bad_parts_are_named(tmp_path, capsys):
    path = tmp_path / "part.npz"
    for content in (b"", b"PK\x03\x04 no zip", b"hello"):
        path.write_bytes(content)
        assert main(["merge", str(path)]) == 2
        assert "part.npz: is not a whole partial result" in capsys.readouterr().err
    assert main(["merge", str(tmp_path / "none.npz")]) == 2
    assert "none.npz: cannot be read" in capsys.readouterr().err


def test_a_file_that_shrinks_during_the_run_is_noticed(job):
    longer = replace(job.samples[0], events=job.samples[0].events + 10)
    task = replay.Task(0, longer.events - 20, longer.events)
    with pytest.raises(UserError, match="ended at event 31250, but had 31260; did it change"):
        replay.scan(replace(job, samples=(longer, *job.samples[1:])), task)


def test_partials_read_back_equal(result, tmp_path):
    path = tmp_path / "whole.npz"
    replay.write_result(path, result)
    assert_same(replay.read_result(path), result)
    assert isinstance(replay.read_result(path).zero_bias, Partial)
