"""A whole fill at 1000 times its speed through the real service, killed 20 times: nothing lost or redone."""

import contextlib
import csv
import dataclasses
import itertools
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path

import pytest

from axo.config import to_plain
from axo.physics.pileup_model import fit_tail, read_score_by_pileup
from axo.rate_monitor.journal import Journal
from axo.rate_monitor.replay import replay
from tests.rate_monitor.plant import CONTROL, closed_loop, wait_for

SPEED = 1000
SECTION_S = 23.31
KILLS = 20
PRIOR = Path(str(resources.files("axo.rate_monitor"))) / "pileup_prior.json"


def control(controller):
    """The seeds of these tests, with what `predictive` must know of their scores."""
    if controller != "predictive":
        return CONTROL
    tail = to_plain(fit_tail(read_score_by_pileup(PRIOR)))
    options = {"models": {seed.name: tail for seed in CONTROL.seeds}}
    return dataclasses.replace(CONTROL, options=options)


class Trigger:
    """What takes the thresholds: an HTTP server that keeps every message, in the order they came."""

    def __init__(self):
        self.got = []
        trigger = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                trigger.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

            def handle(self):
                # A service killed in the middle of a request leaves half of one.
                with contextlib.suppress(ConnectionError, ValueError):
                    super().handle()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.server_port}/thresholds"


class Killed:
    """The real command, started again and again; its page is watched over HTTP while it lives."""

    def __init__(self, folder):
        self.folder = folder
        self.scrapes = 0
        self._log = (folder / "log").open("ab")
        self.process = None

    def start(self):
        self._seen = self._log.tell()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "axo.cli", "control", "c.yaml"],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return self.process.wait(60)

    def events(self):
        """The log of the process that runs now, whole lines only."""
        with (self.folder / "log").open("rb") as file:
            file.seek(self._seen)
            lines = file.read().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def address(self):
        return next((event["page"] for event in self.events() if event["event"] == "serving"), None)

    def scrape(self):
        """Read the metrics, when it serves just now."""
        address = self.address()
        if address is None:
            return None
        try:
            with urllib.request.urlopen(f"{address}/metrics", timeout=5) as answer:
                self.scrapes += 1
                return answer.read().decode()
        except OSError:
            return None


def pileups(path):
    """Pileup of each lumi section of a brilcalc file."""
    with path.open() as file:
        return [float(row[7]) for row in csv.reader(line for line in file if not line.startswith("#"))]


def feed(path, lines, stop):
    """Write records at SPEED, now and then in two pieces; rotate the file once on the way."""
    chance = random.Random(7)
    started = time.monotonic()
    for number, line in enumerate(lines):
        wait_s = started + number * SECTION_S / SPEED - time.monotonic()
        if stop.wait(max(0.0, wait_s)):
            return
        if number == len(lines) // 2:
            path.rename(path.with_name("records.jsonl.1"))
        data = line + "\n"
        cut = chance.randrange(1, len(data)) if chance.random() < 0.1 else len(data)
        with path.open("a") as file:
            file.write(data[:cut])
            file.flush()
            if cut < len(data):
                time.sleep(0.003)
            file.write(data[cut:])


def soak(folder, values, kills, controller="log_pi"):
    """The fill through the service, killed `kills` times; checks all that must hold."""
    steered = control(controller)
    loop = closed_loop(values, controller, steered)
    trigger = Trigger()
    config = {
        "controller": controller,
        "control": to_plain(steered),
        "input": "file:records.jsonl",
        "output": trigger.address,
        "journal": "control.sqlite",
        "http": {"port": 0},
    }
    # JSON is YAML too.
    (folder / "c.yaml").write_text(json.dumps(config))
    service = Killed(folder)
    service.start()
    wait_for(service.address, "the service")
    stop = threading.Event()
    feeder = threading.Thread(target=feed, args=(folder / "records.jsonl", loop.lines, stop))
    feeder.start()
    chance = random.Random(os.environ.get("AXO_SOAK_SEED", "1"))
    decided_at_kills = []
    try:
        wait_for(lambda: trigger.got, "the first decision")
        for _ in range(kills):
            # One in four at an instant of its start, the others at one of its work.
            if chance.random() > 0.25:
                wait_for(service.events, "the start")
            time.sleep(chance.uniform(0.0, 0.8))
            service.scrape()
            service.kill()
            decided_at_kills.append(len(trigger.got))
            service.start()
        feeder.join(120)
        last = len(values)
        wait_for(lambda: trigger.got and trigger.got[-1]["lumi_section"] == last, "the end of the fill", 240)
        text = wait_for(service.scrape, "the metrics")
        assert f"axo_lumi_section {float(last)}" in text
        assert service.kill(signal.SIGTERM) == 0
    finally:
        stop.set()
        service.process.kill()
        service.process.wait()
        service._log.close()
        trigger.server.shutdown()
        trigger.server.server_close()
    check(folder, loop, trigger.got)
    return loop, trigger.got, decided_at_kills


def check(folder, loop, got):
    """Nothing lost, nothing decided twice, the same thresholds, everything derived again the same."""
    journal = Journal(folder / "control.sqlite", writable=False)
    entries = [entry for entry in journal.entries() if entry.lumi_section is not None]
    others = [entry.kind for entry in journal.entries() if entry.lumi_section is None]
    journal.close()
    assert [entry.lumi_section for entry in entries] == list(range(1, len(loop.lines) + 1))
    assert [entry.input for entry in entries] == loop.lines
    assert [entry.output["thresholds"]["threshold_words"] for entry in entries] == loop.words
    assert set(others) == {"start"}
    # Published: each decision, in order; one that was sent again is the same one, and follows itself.
    once = [message for index, message in enumerate(got) if index == 0 or message != got[index - 1]]
    assert [message["threshold_words"] for message in once] == loop.words
    assert [message["decision"] for message in once] == [entry.number for entry in entries]
    assert replay(folder / "control.sqlite").differences == ()
    for line in (folder / "log").read_text(errors="replace").splitlines():
        assert "Traceback" not in line


def test_a_short_fill_with_two_kills(tmp_path):
    values = [55 + 8 * math.sin(section / 15) for section in range(90)]
    soak(tmp_path, values, kills=2)


@pytest.mark.slow
@pytest.mark.parametrize("controller", ["log_pi", "predictive"])
def test_a_whole_fill_killed_20_times(tmp_path, shared, controller):
    values = pileups(shared / "real" / "fills" / "brilcalc_run386554.csv")
    assert len(values) == 1311
    _, got, decided_at_kills = soak(tmp_path, values, KILLS, controller)
    # The kills fell while there was work: at most of them the trigger had got more than at the one before.
    moved = sum(later > earlier for earlier, later in itertools.pairwise(decided_at_kills))
    assert moved >= KILLS // 2
    assert len(got) >= 1311
