"""A plant for the service: records as a detector would send them, and a service run in a thread."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axo.controllers.interface import ControllerConfig, SeedConfig
from axo.rate_monitor.config import HttpConfig, ServiceConfig
from axo.rate_monitor.engine import Engine
from axo.rate_monitor.service import Service

CONTROL = ControllerConfig(
    seeds=(
        SeedConfig("AXO_NOMINAL", 1.0, 20000, min_word=10000, max_word=40000, max_step_words=2000),
        SeedConfig("AXO_TIGHT", 0.1, 24000, min_word=10000, max_word=40000),
    )
)


def record(lumi_section: int, words: dict[str, int], *, pileup: float = 60.0, **changes: Any) -> str:
    """One record: rates fall exponentially with the threshold; noise depends on the lumi section alone."""
    noise = random.Random(lumi_section)
    seeds = []
    for name, word in words.items():
        mean = 28.6e6 * 22.6 * (pileup / 60) ** 2.5 * math.exp(-word / 1800)
        passed = max(0, round(noise.gauss(mean, math.sqrt(mean)))) if mean > 0 else 0
        seeds.append({"name": name, "threshold_word": word, "passed": passed, "pure": round(0.4 * passed)})
    whole = {
        "run": 1,
        "lumi_section": lumi_section,
        "pileup": pileup,
        "colliding_bunches": 2544,
        "seeds": seeds,
        "start_time_s": 1.7e9 + 23.31 * lumi_section,
        "duration_s": 23.31,
        "live_fraction": 0.97,
    }
    return json.dumps(whole | changes)


@dataclass(frozen=True)
class Loop:
    """Records of a closed loop, and the thresholds decided on each by an engine that nothing interrupts."""

    lines: list[str]
    words: list[dict[str, int]]


def closed_loop(
    pileups: list[float], controller: str = "log_pi", control: ControllerConfig = CONTROL
) -> Loop:
    """The loop through `pileups`, one a lumi section."""
    engine = Engine(service_config(Path("none"), controller=controller, control=control).settings())
    state = engine.step(None, "start", "").state
    words = {seed.name: seed.initial_word for seed in control.seeds}
    acting = {0: words}
    loop = Loop([], [])
    for section, pileup in enumerate(pileups, start=1):
        words = acting.get(section, words)
        line = record(section, words, pileup=pileup)
        step = engine.step(state, "record", line)
        state = step.state
        thresholds = step.output["thresholds"]
        acting[thresholds["effective_lumi_section"]] = thresholds["threshold_words"]
        loop.lines.append(line)
        loop.words.append(thresholds["threshold_words"])
    return loop


def service_config(folder: Path, **changes: Any) -> ServiceConfig:
    """A service in `folder`: a followed file in, a file out, a page on any free port."""
    values = {
        "controller": "log_pi",
        "control": CONTROL,
        "input": f"file:{folder / 'records.jsonl'}",
        "output": f"file:{folder / 'thresholds.json'}",
        "journal": str(folder / "control.sqlite"),
        "http": HttpConfig(port=0),
    }
    return ServiceConfig(**(values | changes))


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """The condition's value once it is true; fails after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.01)


class Running:
    """A service running in a thread."""

    def __init__(self, config: ServiceConfig) -> None:
        self.service = Service(config)
        self.fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.service.run()
        except BaseException as fault:
            self.fault = fault

    def until_decided(self, lumi_section: int) -> None:
        """Wait until the lumi section (or a later one) is decided and shown."""

        def decided() -> bool:
            assert self.fault is None, self.fault
            good = self.service.board.snapshot().get("last_good")
            return good is not None and good["lumi_section"] >= lumi_section

        wait_for(decided, f"lumi section {lumi_section}")

    def until_alarm(self, code: str) -> str:
        """Wait for an alarm; returns its text."""

        def text() -> str | None:
            assert self.fault is None, self.fault
            alarms = self.service.board.snapshot().get("alarms", [])
            return next((alarm["text"] for alarm in alarms if alarm["code"] == code), None)

        return wait_for(text, f"the alarm {code}")

    def stop(self) -> None:
        """End it in good order, and pass on what it raised."""
        self.service.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self.fault is not None:
            raise self.fault
