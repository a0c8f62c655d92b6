"""A service run in a thread, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from axo.rate_monitor.config import ServiceConfig
from axo.rate_monitor.logs import LOGGER
from tests.rate_monitor.plant import Running


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """A command run within a test sends the log to that test's standard error: undo it."""
    before = LOGGER.handlers[:], LOGGER.level, LOGGER.propagate
    yield
    LOGGER.handlers[:], LOGGER.level, LOGGER.propagate = before


@pytest.fixture
def running() -> Iterator[Callable[[ServiceConfig], Running]]:
    """Starts services, and stops those that a test leaves running."""
    started: list[Running] = []

    def start(config: ServiceConfig) -> Running:
        started.append(Running(config))
        return started[-1]

    yield start
    for one in started:
        one.service.stop()
        one._thread.join(30)
