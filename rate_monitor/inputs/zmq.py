"""A ZeroMQ subscriber: ``zmq:tcp://HOST:PORT`` (the extra ``axo[zmq]``).

Each message's last part is one record; parts before it (a topic) are not looked at. A publisher does not
wait: what was sent while the service was down is lost, and shows as missing lumi sections.
"""

from __future__ import annotations

from typing import Any

import zmq

from axo.errors import UserError

from . import MAXIMUM_LINE_BYTES, Input, Line

MESSAGES_AT_ONCE = 64


def open_input(address: str, position: Any = None) -> Input:
    """Subscribe to all that `address` publishes; nothing resumes."""
    return Subscriber(address)


class Subscriber(Input):
    """See the module. The connection is made, and made again, by ZeroMQ itself."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAXIMUM_LINE_BYTES)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        try:
            self._socket.connect(address)
        except zmq.ZMQError as error:
            self.close()
            raise UserError(f"input zmq:{address}: {error.strerror}; write zmq:tcp://HOST:PORT") from error
        self._address = address
        self._count = 0

    def read(self, timeout_s: float) -> list[Line]:
        """As Input.read."""
        lines: list[Line] = []
        if self._socket.poll(round(1000 * timeout_s)):
            while len(lines) < MESSAGES_AT_ONCE and self._socket.poll(0):
                self._count += 1
                text = self._socket.recv_multipart(zmq.NOBLOCK)[-1]
                lines.append(Line(text, f"{self._address}, message {self._count}", None))
        return lines

    def close(self) -> None:
        """As Input.close."""
        self._socket.close()
        self._context.term()
