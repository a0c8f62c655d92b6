"""A replay on a real local Dask cluster, one of whose two workers is killed half-way."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from axo.cli import main
from axo.emulator import replay
from axo.emulator.distributed import on_cluster
from axo.errors import UserError
from axo.firmware.models import find_model
from axo.physics.menu import read_menu

pytest.importorskip("distributed", reason="Dask is not installed (pip install 'axo[dask]')")


@pytest.fixture(scope="module")
def job():
    samples = replay.find_samples(["sample:zerobias_test"], ["sample:sig_ttbar"])
    seeds = replay.find_seeds(samples[0], read_menu())
    return replay.Job(find_model("axo_v3").network, samples, seeds, keep=1000, task_events=1024)


@pytest.fixture
def cluster(tmp_path):
    """The address of a scheduler with two workers, processes of their own, and the workers' processes."""
    environment = os.environ | {"DASK_DISTRIBUTED__DASHBOARD__ENABLED": "False"}
    started = []

    def start(log, *arguments):
        output = (tmp_path / log).open("w")
        command = [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]]
        started.append(subprocess.Popen(command, stderr=output, stdout=output, env=environment, cwd=tmp_path))
        output.close()
        return started[-1]

    file = tmp_path / "scheduler.json"
    start("scheduler.log", "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    workers = [
        start(
            f"worker{i}.log",
            *("worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard"),
        )
        for i in range(2)
    ]
    address = wait_for_workers(file, 2)
    yield address, workers
    for process in started:
        process.kill()
        process.wait()


def wait_for_workers(file, number):
    import json

    import distributed

    deadline = time.monotonic() + 120
    while not file.exists() or not file.read_text():
        assert time.monotonic() < deadline, "the scheduler did not start"
        time.sleep(0.1)
    address = json.loads(file.read_text())["address"]
    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(number, timeout=120)
    return address


def assert_same(a, b):
    assert a.partials.keys() == b.partials.keys()
    for group in a.partials:
        left, right = a.partials[group].arrays(), b.partials[group].arrays()
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_array_equal(left[name], right[name], name, strict=True)


@pytest.mark.slow
def test_a_lost_worker_loses_nothing(job, cluster, tmp_path, capsys):
    address, workers = cluster
    on_dask = on_cluster(address)

    def killing(job, tasks):
        for i, found in enumerate(on_dask(job, tasks)):
            if i == len(tasks) // 2:
                workers[0].send_signal(signal.SIGKILL)
                assert workers[0].wait() == -signal.SIGKILL
            yield found

    result = replay.run(job, killing)
    assert workers[1].poll() is None and sorted(result.done, key=str) == sorted(job.tasks(), key=str)
    assert_same(result, replay.run(job, replay.in_this_process(1)))
    # A fault of the input comes back as it is found locally, at once.
    gone = replace(job.samples[0], events=job.samples[0].events + 10)
    with pytest.raises(UserError, match="ended at event 31250"):
        replay.run(replace(job, samples=(gone, *job.samples[1:])), on_dask)
    # The command, on the worker that is left, gives what it gives without a cluster.
    files = ["replay", "axo_v3", "sample:zerobias_test", "--signal", "sample:sig_ttbar", "--rate-khz", "20"]
    assert main([*files, "--scheduler", address, "--json", str(tmp_path / "a.json")]) == 0
    assert main([*files, "--workers", "1", "--json", str(tmp_path / "b.json")]) == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    # Without any worker there is nothing to wait for.
    workers[1].terminate()
    workers[1].wait()
    capsys.readouterr()
    assert main([*files, "--scheduler", address]) == 2
    assert "has no workers" in capsys.readouterr().err
