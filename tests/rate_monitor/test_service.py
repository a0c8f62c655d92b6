"""The service: from records to thresholds through the journal, whatever comes in and whatever breaks."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import resources

import pytest

from axo.cli import main
from axo.errors import UserError
from axo.network import digest
from axo.rate_monitor.config import HttpConfig, ServiceConfig, read_service_config
from axo.rate_monitor.engine import CONFIRM, DRY_RUN
from axo.rate_monitor.http import Server, read_token
from axo.rate_monitor.journal import Journal
from axo.rate_monitor.replay import print_replay, replay
from axo.rate_monitor.service import SNAPSHOT_EVERY, Service
from axo.rate_monitor.sinks import open_sink
from tests.rate_monitor.plant import CONTROL, closed_loop, record, service_config, wait_for

WORDS = {seed.name: seed.initial_word for seed in CONTROL.seeds}
LOOP = closed_loop([60.0 + (section % 7) for section in range(130)])


def write(folder, lines):
    with (folder / "records.jsonl").open("a") as file:
        file.writelines(line + "\n" for line in lines)


def journalled(folder):
    """(lumi section, threshold words) of all decided records, in order."""
    journal = Journal(folder / "control.sqlite", writable=False)
    entries = [entry for entry in journal.entries() if entry.lumi_section is not None]
    journal.close()
    return [(entry.lumi_section, entry.output["thresholds"]["threshold_words"]) for entry in entries]


def expected(count):
    return list(enumerate(LOOP.words[:count], start=1))


def test_records_become_the_engines_thresholds(tmp_path, running):
    write(tmp_path, LOOP.lines[:20])
    one = running(service_config(tmp_path))
    one.until_decided(20)
    write(tmp_path, LOOP.lines[20:40])
    one.until_decided(40)
    one.stop()
    assert journalled(tmp_path) == expected(40)
    out = json.loads((tmp_path / "thresholds.json").read_text())
    assert out["threshold_words"] == LOOP.words[39]
    assert (out["lumi_section"], out["effective_lumi_section"]) == (40, 42)


@pytest.mark.parametrize("first", [3, SNAPSHOT_EVERY, SNAPSHOT_EVERY + 7])
def test_a_restart_goes_on_as_if_there_had_been_none(tmp_path, running, first):
    write(tmp_path, LOOP.lines[:first])
    one = running(service_config(tmp_path))
    one.until_decided(first)
    one.stop()
    write(tmp_path, LOOP.lines[first:120])
    two = running(service_config(tmp_path))
    two.until_decided(120)
    assert len(two.service.board.history(CONTROL.seeds[0].name)) == 120
    two.stop()
    assert journalled(tmp_path) == expected(120)
    assert replay(tmp_path / "control.sqlite").differences == ()


def test_every_kind_of_bad_line_is_an_alarm_and_steering_goes_on(tmp_path, running):
    def but(section, **changes):
        return json.dumps(json.loads(LOOP.lines[section - 1]) | changes)

    bad = [
        ("{broken", "record"),
        ("\x00\x01", "record"),
        ("[" * 50_000, "record"),
        ('{"run": 1}', "record"),
        (but(11, pileup=float("nan")), "implausible"),
        (but(11, pileup=-3), "implausible"),
        (but(11, duration_s=1e9), "implausible"),
        (LOOP.lines[9], "repeated"),
        (LOOP.lines[4], "late"),
        (but(11, run=0), "implausible"),
        (but(11, run=77), "run"),
        (but(11, lumi_section=5000), "jump"),
        (but(11, lumi_section=10**15), "jump"),
    ]
    write(tmp_path, LOOP.lines[:10])
    one = running(service_config(tmp_path))
    one.until_decided(10)
    for line, code in bad:
        write(tmp_path, [line])
        one.until_alarm(code)
        out = json.loads((tmp_path / "thresholds.json").read_text())
        assert out["threshold_words"] == LOOP.words[9]
    with (tmp_path / "records.jsonl").open("ab") as file:
        file.write(b"\xff\xfe not UTF-8\n")
    write(tmp_path, LOOP.lines[10:30])
    one.until_decided(30)
    left = {alarm["code"] for alarm in one.service.board.snapshot()["alarms"]}
    assert left <= {"out_of_band"}
    one.stop()
    assert journalled(tmp_path) == expected(30)
    assert replay(tmp_path / "control.sqlite").differences == ()


def test_rotation_and_truncation_lose_no_decision(tmp_path, running):
    path = tmp_path / "records.jsonl"
    one = running(service_config(tmp_path))
    write(tmp_path, LOOP.lines[:10])
    one.until_decided(10)
    path.rename(tmp_path / "records.jsonl.1")
    write(tmp_path, LOOP.lines[10:20])
    one.until_decided(20)
    os.truncate(path, 0)
    assert "truncated" in one.until_alarm("input")
    write(tmp_path, LOOP.lines[20:30])
    one.until_decided(30)
    one.stop()
    assert journalled(tmp_path) == expected(30)


def test_when_records_stop_the_watchdog_says_so_and_a_good_one_clears_it(tmp_path, running):
    one = running(service_config(tmp_path, stale_after_s=0.3))
    assert "thresholds are held" in one.until_alarm("stale")
    assert any("stale" in line for line in one.service.troubles())
    write(tmp_path, ["{bad"])
    one.until_alarm("record")
    assert any("stale" in line for line in one.service.troubles())
    write(tmp_path, LOOP.lines[:1])
    one.until_decided(1)
    one.until_alarm("stale")
    one.stop()
    journal = Journal(tmp_path / "control.sqlite", writable=False)
    changes = [row.active for row in journal.alarm_rows(100) if row.name == "stale"]
    journal.close()
    assert changes == [True, False, True]


class Hook:
    """An HTTP receiver that answers with `status`, and keeps what it got."""

    def __init__(self):
        self.status = 200
        self.got = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.got.append((hook.status, body))
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/thresholds"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def hook():
    one = Hook()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_hook_that_refuses_is_an_alarm_and_gets_the_latest_when_it_is_back(tmp_path, running, hook, status):
    hook.status = status
    write(tmp_path, LOOP.lines[:1])
    one = running(service_config(tmp_path, output=hook.address))
    assert str(status) in one.until_alarm("publication")
    assert any("publication" in line for line in one.service.troubles())
    write(tmp_path, LOOP.lines[1:3])
    one.until_decided(3)
    hook.status = 204
    wait_for(lambda: hook.got[-1][0] == 204, "the hook to be tried again")
    assert hook.got[-1][1]["threshold_words"] == LOOP.words[2]
    wait_for(lambda: not one.service.troubles(), "the alarm to clear")
    one.stop()
    outcomes = sqlite3.connect(tmp_path / "control.sqlite")
    rows = dict(outcomes.execute("SELECT entry, outcome FROM publications ORDER BY number"))
    outcomes.close()
    assert list(rows.values()) == ["superseded", "superseded", "published"]


def test_a_hook_that_never_answers_stops_nothing_else(tmp_path, running, monkeypatch):
    import socket

    monkeypatch.setattr("axo.rate_monitor.sinks.HOOK_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        write(tmp_path, LOOP.lines[:1])
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        one = running(service_config(tmp_path, output=address))
        assert "no answer" in one.until_alarm("publication")
        write(tmp_path, LOOP.lines[1:5])
        one.until_decided(5)
        one.stop()


def test_what_was_journalled_but_not_published_is_published_on_restart(tmp_path, running, hook):
    hook.status = 500
    write(tmp_path, LOOP.lines[:4])
    one = running(service_config(tmp_path, output=hook.address))
    one.until_decided(4)
    one.stop()
    number = hook.got[-1][1]["decision"]
    hook.status = 200
    hook.got.clear()
    two = running(service_config(tmp_path, output=hook.address))
    wait_for(lambda: hook.got, "the publication")
    two.stop()
    assert [body for _, body in hook.got] == [
        {
            "decision": number,
            "run": 1,
            "lumi_section": 4,
            "effective_lumi_section": 6,
            "threshold_words": LOOP.words[3],
        }
    ]
    three = running(service_config(tmp_path, output=hook.address))
    write(tmp_path, LOOP.lines[4:5])
    three.until_decided(5)
    three.stop()
    assert [body["lumi_section"] for _, body in hook.got] == [4, 5]


@pytest.mark.parametrize("mode", [DRY_RUN, CONFIRM])
def test_nothing_is_published_without_leave(tmp_path, running, mode):
    write(tmp_path, LOOP.lines[:10])
    one = running(service_config(tmp_path, mode=mode))
    one.until_decided(10)
    assert not (tmp_path / "thresholds.json").exists()
    if mode == CONFIRM:
        proposal = one.service.board.snapshot()["proposal"]
        command = {"proposal": proposal["id"], "accept": True, "by": "me", "comment": ""}
        one.service.command("confirmation", command)
        wait_for((tmp_path / "thresholds.json").exists, "the publication")
        out = json.loads((tmp_path / "thresholds.json").read_text())
        assert out["threshold_words"] == proposal["threshold_words"]
    one.stop()
    assert replay(tmp_path / "control.sqlite").differences == ()


def test_overrides_are_journalled_and_survive_a_restart(tmp_path, running):
    write(tmp_path, LOOP.lines[:5])
    one = running(service_config(tmp_path))
    one.until_decided(5)
    command = {"mode": "manual", "seed": "AXO_TIGHT", "threshold_word": 31000, "by": "me", "comment": "test"}
    number = one.service.command("override", command)
    assert json.loads((tmp_path / "thresholds.json").read_text())["threshold_words"]["AXO_TIGHT"] == 31000
    with pytest.raises(UserError, match="limits"):
        one.service.command("override", command | {"threshold_word": 41000})
    one.stop()
    write(tmp_path, LOOP.lines[5:8])
    two = running(service_config(tmp_path))
    two.until_decided(8)
    assert two.service.board.snapshot()["seed_modes"] == {"AXO_NOMINAL": "auto", "AXO_TIGHT": "manual"}
    note = next(row["note"] for row in two.service.board.log() if row["number"] == number)
    two.stop()
    assert note == "me set AXO_TIGHT to 31000 (test)"
    assert [words["AXO_TIGHT"] for _, words in journalled(tmp_path)[5:]] == [31000] * 3
    assert replay(tmp_path / "control.sqlite").differences == ()


def test_a_full_disk_stops_decisions_not_the_service_and_loses_nothing(tmp_path, running):
    write(tmp_path, LOOP.lines[:5])
    one = running(service_config(tmp_path))
    one.until_decided(5)
    database = one.service._journal._database
    database.execute(f"PRAGMA max_page_count={database.execute('PRAGMA page_count').fetchone()[0]}")
    write(tmp_path, LOOP.lines[5:60])
    assert "full" in one.until_alarm("journal")
    assert one.service.alive() and one.service.troubles()
    sections = [section for section, _ in journalled(tmp_path)]
    out = json.loads((tmp_path / "thresholds.json").read_text())
    assert out["lumi_section"] == sections[-1] < 60
    database.execute("PRAGMA max_page_count=1000000")
    one.until_decided(60)
    assert not one.service.troubles()
    one.stop()
    assert journalled(tmp_path) == expected(60)


@pytest.mark.parametrize("keep", [True, False])
def test_a_new_run_begins_as_configured(tmp_path, running, keep):
    import dataclasses

    control = dataclasses.replace(CONTROL, keep_on_run_change=keep)
    write(tmp_path, LOOP.lines[:20])
    one = running(service_config(tmp_path, control=control, controller="fixed"))
    one.until_decided(20)
    command = {"mode": "manual", "seed": "AXO_TIGHT", "threshold_word": 31000, "by": "", "comment": ""}
    one.service.command("override", command)
    # One record of another run may be a fault; the second is believed.
    write(tmp_path, [record(1, WORDS, run=2)])
    one.until_alarm("run")
    write(tmp_path, [record(2, WORDS, run=2), record(3, WORDS, run=2)])
    wait_for(lambda: one.service.board.snapshot()["last_good"]["run"] == 2, "the new run")
    wait_for(lambda: one.service.board.snapshot()["last_good"]["lumi_section"] == 3, "its lumi section 3")
    one.stop()
    assert journalled(tmp_path)[-1][1]["AXO_TIGHT"] == (31000 if keep else 24000)


def test_replay_says_where_a_journal_was_changed(tmp_path, running, capsys):
    write(tmp_path, LOOP.lines[:9])
    one = running(service_config(tmp_path))
    one.until_decided(9)
    one.stop()
    path = tmp_path / "control.sqlite"
    assert print_replay(replay(path)) == 0
    database = sqlite3.connect(path)
    database.execute("DROP TRIGGER no_update_entries")
    database.execute("DROP TRIGGER no_delete_entries")
    output = json.loads(
        database.execute("SELECT output FROM entries WHERE lumi_section = 4").fetchone()[0],
    )
    output["thresholds"]["threshold_words"]["AXO_TIGHT"] += 1
    database.execute("UPDATE entries SET output = ? WHERE lumi_section = 4", (json.dumps(output),))
    database.execute("DELETE FROM entries WHERE lumi_section = 7")
    database.commit()
    database.close()
    capsys.readouterr()
    assert main(["control", "--replay-journal", str(path)]) == 1
    said = capsys.readouterr().out
    word = LOOP.words[3]["AXO_TIGHT"]
    assert (
        f"run 1 lumi section 4): seed AXO_TIGHT: threshold word {word} derived, {word + 1} journalled" in said
    )
    assert "entry 8 is missing" in said
    assert "lumi section 5" not in said


def test_the_log_is_json_lines_and_standard_output_has_thresholds_alone(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "controller: log_pi\njournal: j.sqlite\nhttp: {port: 0}\n"
        "control:\n  seeds:\n"
        "  - {name: AXO_NOMINAL, target_khz: 1.0, initial_word: 20000, min_word: 10000, max_word: 40000, "
        "max_step_words: 2000}\n"
        "  - {name: AXO_TIGHT, target_khz: 0.1, initial_word: 24000, min_word: 10000, max_word: 40000}\n"
    )
    lines = [*LOOP.lines[:5], "{broken", *LOOP.lines[5:8]]
    done = subprocess.run(
        [sys.executable, "-m", "axo.cli", "control", "c.yaml"],
        cwd=tmp_path,
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    published = [json.loads(line)["threshold_words"] for line in done.stdout.splitlines()]
    assert published == LOOP.words[:8]
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"starting", "serving", "record", "fault", "alarm", "stopped"} <= {
        event["event"] for event in events
    }
    fault = next(event for event in events if event["event"] == "alarm" and event["code"] == "record")
    assert fault["text"].startswith("standard input, line 6: is not JSON")


def one_line(capsys, *arguments):
    """What a command that must fail says."""
    assert main([*arguments]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("axo: error: ")
    return said[0]


def test_every_misconfiguration_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = "controller: fixed\ncontrol:\n  seeds:\n  - {name: A, target_khz: 1, initial_word: 5}\n"
    good += "input: file:records.jsonl\n"

    def said(text, *arguments):
        (tmp_path / "c.yaml").write_text(text)
        return one_line(capsys, "control", "c.yaml", "--port", "0", *arguments)

    assert "did you mean 'controller'" in said("controler: fixed\n")
    assert "did you mean 'fixed'" in said(good.replace("controller: fixed", "controller: fixd"))
    assert "is not a folder" in said(good, "--input", "folder:nowhere")
    assert "folder:" in said(good, "--input", f"file:{tmp_path}")
    assert "does not exist" in said(good, "--output", "file:nowhere/x")
    assert "file:PATH" in said(good, "--output", "fiel:x")
    assert "initial_word" in said(good.replace("initial_word: 5", "initial_word: 5, min_word: 6"))
    assert "released" in said(good + "network: nonesuch\n")
    assert "stale_after_s" in said(good + "stale_after_s: 0\n")
    assert "--port" in said(good, "--host", "203.0.113.1")
    (tmp_path / "control.sqlite.token").chmod(0o644)
    assert "chmod 600" in said(good)
    (tmp_path / "control.sqlite.token").chmod(0o600)
    (tmp_path / "control.sqlite").unlink()
    (tmp_path / "control.sqlite").write_text("this is no journal; do not touch it" * 100)
    assert "name another file" in said(good)
    assert "no journal here" in one_line(capsys, "control", "--replay-journal", "none.sqlite")
    assert "name a configuration" in one_line(capsys, "control")


def test_a_second_service_on_the_same_journal_is_refused(tmp_path, running):
    running(service_config(tmp_path))
    with pytest.raises(UserError, match="another service"):
        Service(service_config(tmp_path))


def test_a_port_that_is_taken_is_one_line(tmp_path, running):
    one = running(service_config(tmp_path))
    first = Server(one.service, HttpConfig(port=0), "x" * 20)
    with pytest.raises(UserError, match="--port"):
        Server(one.service, HttpConfig(port=first.server_address[1]), "x" * 20)
    first.server_close()


def test_the_token_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "token"
    token = read_token(path)
    assert len(token) >= 32 and path.stat().st_mode & 0o777 == 0o600 and read_token(path) == token
    path.write_text("short")
    with pytest.raises(UserError, match="16 characters"):
        read_token(path)


@pytest.mark.parametrize("name", ["", "stdout:x", "file:", "ftp://x", "http:"])
def test_an_output_that_is_none_is_one_line(name):
    with pytest.raises(UserError, match="write it as"):
        open_sink(name)


def test_a_copied_journal_goes_on_elsewhere(tmp_path, running):
    """A journal is one file after a good stop: moved with its records, it goes on."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    write(first, LOOP.lines[:10])
    one = running(service_config(first))
    one.until_decided(10)
    one.stop()
    shutil.copy(first / "control.sqlite", second)
    write(second, LOOP.lines[:30])
    two = running(service_config(second))
    two.until_decided(30)
    two.stop()
    # Another file: read from its start, and what was decided is refused, not decided again.
    assert journalled(second) == expected(30)


def test_every_entry_names_its_controller_and_network(tmp_path, running, shared, production_network):
    write(tmp_path, LOOP.lines[:2])
    one = running(service_config(tmp_path, network=str(shared / "golden" / "axol1tl_v3.json")))
    one.until_decided(2)
    one.stop()
    journal = Journal(tmp_path / "control.sqlite", writable=False)
    named = {(entry.controller, entry.network) for entry in journal.entries()}
    journal.close()
    assert len(named) == 1
    controller, network = named.pop()
    assert controller.startswith("log_pi ") and network == digest(production_network)


def test_predictive_starts_from_tables_of_scores(tmp_path, running):
    prior = str(resources.files("axo.rate_monitor").joinpath("pileup_prior.json"))
    tables = {seed.name: prior for seed in CONTROL.seeds}
    write(tmp_path, LOOP.lines[:5])
    one = running(service_config(tmp_path, controller="predictive", score_tables=tables))
    one.until_decided(5)
    one.stop()
    assert replay(tmp_path / "control.sqlite").differences == ()
    assert set(one.service._settings.control.options["models"]) == set(tables)


def test_the_shipped_example_configuration_is_one():
    path = resources.files("axo.rate_monitor").joinpath("control.yaml")
    config = read_service_config(str(path))
    assert isinstance(config, ServiceConfig) and config.settings().control.seeds
