"""The tasks of a replay on an existing Dask cluster.

The workers need axo, and the files under the same paths. A lost worker's tasks run again on another
one; as partial results add exactly, the sum is that of a local run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from axo.emulator.partial import Partial
from axo.emulator.replay import Execute, Job, Task, scan
from axo.errors import UserError

if TYPE_CHECKING:
    from distributed import Client, Future

RETRIES = 3
"""Further attempts at a task that failed with anything but a fault of the input."""

IN_FLIGHT = 3
"""Tasks at a time for each thread of the cluster: enough to keep it busy, few results in memory."""

CONNECT_S = 20


def on_cluster(address: str) -> Execute:
    """Tasks on the Dask cluster whose scheduler is at `address`, such as ``tcp://host:8786``.

    Raises UserError when Dask is not installed, no scheduler answers, or the cluster has no workers.
    """
    try:
        import distributed
    except ImportError as error:
        raise UserError("--scheduler needs Dask: pip install 'axo[dask]'") from error

    def execute(job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, Partial]]:
        try:
            client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise UserError(f"no Dask scheduler answers at {address} ({error})") from error
        with client:
            threads = sum(client.nthreads().values())
            if not threads:
                raise UserError(
                    f"the Dask cluster at {address} has no workers; start some with: dask worker {address}"
                )
            yield from _run(client, job, tasks, IN_FLIGHT * threads)

    return execute


def _run(client: Client, job: Job, tasks: Sequence[Task], in_flight: int) -> Iterator[tuple[Task, Partial]]:
    import distributed

    waiting = iter(tasks)
    running: dict[Future[Partial | UserError], Task] = {}

    def submit() -> list[Future[Partial | UserError]]:
        task = next(waiting, None)
        if task is None:
            return []
        # The job is small and goes along with each task: data held by workers would be lost with them.
        future = client.submit(_scan, job, task, pure=False, retries=RETRIES)
        running[future] = task
        return [future]

    first = [future for _ in range(in_flight) for future in submit()]
    completed = distributed.as_completed(first, loop=client.loop)
    for future in completed:
        outcome = _outcome(future)
        yield running.pop(future), outcome
        for new in submit():
            completed.add(new)


def _outcome(future: Future[Partial | UserError]) -> Partial:
    """The result of a finished task; UserError for a fault of the input or of the cluster."""
    import distributed
    from distributed.comm.core import CommClosedError

    try:
        outcome = future.result()
    except distributed.KilledWorker as error:
        raise UserError(
            f"the Dask cluster lost several workers on one task ({error.task}; out of memory?); run again to "
            "go on from what is done"
        ) from error
    except ImportError as error:
        raise UserError(
            f"a worker of the Dask cluster lacks something: {error}; install axo there"
        ) from error
    except (distributed.CancelledError, CommClosedError) as error:
        raise UserError("the Dask scheduler went away; run again to go on from what is done") from error
    if isinstance(outcome, UserError):
        raise outcome
    return outcome


def _scan(job: Job, task: Task) -> Partial | UserError:
    """`scan`, with a fault of the input as result: running it again could not help."""
    try:
        return scan(job, task)
    except UserError as error:
        return error
