"""Structured logs: one JSON object a line, to standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("axo.control")


class JsonLines(logging.Formatter):
    """``time``, ``level``, ``event`` and the event's own fields; fields that are None are left out."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {key: value for key, value in getattr(record, "fields", {}).items() if value is not None}
        head = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps({**head, **fields}, default=str)


def say(event: str, /, level: int = logging.INFO, **fields: Any) -> None:
    """Log `event` with its fields."""
    LOGGER.log(level, event, extra={"fields": fields})


def log_to_standard_error(level: int = logging.INFO) -> None:
    """Send the service's log to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level)
    LOGGER.propagate = False
