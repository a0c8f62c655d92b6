"""The service's HTTP side: the shifter's page, its live data, metrics, health, and guarded commands.

=============================  ==========================================================================
``GET /``                      the page (static files of the folder ``page``; nothing from elsewhere)
``GET /api/status``            JSON: now (Unix seconds), status
``GET /api/log?after=N``       JSON: rows of the decision log of journal entries after N
``GET /api/history?seed=S``    JSON: rows of S's charts, ``&after=N`` (see `axo.rate_monitor.view`)
``GET /events?seed=S&after=N`` server-sent events: ``update`` (status, history, log after N), ``beat``
``GET /metrics``               Prometheus
``GET /healthz``, ``/readyz``  200 or 503, JSON: whether the loop turns; whether it can steer, and why not
``POST /api/override``         JSON: mode (hold, manual, auto), seed (null: all), threshold_word, by, comment
``POST /api/confirmation``     JSON: proposal, accept, by, comment
=============================  ==========================================================================

Writes need ``Authorization: Bearer TOKEN``, a JSON body and, from a browser, the page's own origin. Pages
and data are served only under the names the service is known by (so no foreign name can be made to
resolve to it); the defaults bind to loopback.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from axo import __version__
from axo.errors import UserError

from . import metrics
from .config import HttpConfig
from .logs import say
from .service import Service
from .view import Board

MAXIMUM_BODY_BYTES = 4096
MAXIMUM_WATCHERS = 64
BEAT_S = 2.0
UPDATE_S = 0.1
WRONG_TOKEN_WAIT_S = 0.5
SHORTEST_TOKEN = 16

PAGE_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """A request that is answered with `status` and one line."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Server(ThreadingHTTPServer):
    """The HTTP server of one `service`, on its own threads. Raises UserError when the address is taken."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, service: Service, config: HttpConfig, token: str) -> None:
        self.service = service
        self.token = token
        self.watchers = threading.BoundedSemaphore(MAXIMUM_WATCHERS)
        self.closing = threading.Event()
        if ":" in config.host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((config.host, config.port), Handler)
        except OSError as error:
            raise UserError(
                f"{config.host}:{config.port}: cannot be bound ({error.strerror}); choose another --port"
            ) from error
        port = self.server_address[1]
        host = f"[{config.host}]" if ":" in config.host else config.host
        self.address = f"http://{host}:{port}"
        names = {host, "localhost", "127.0.0.1", "[::1]"}
        self.origins = {f"http://{name}:{port}" for name in names} | set(config.origins)
        self.hosts = {urlsplit(origin).netloc for origin in self.origins}

    def start(self) -> None:
        """Serve on a thread until `stop`."""
        threading.Thread(target=self.serve_forever, args=(0.1,), name="http", daemon=True).start()

    def stop(self) -> None:
        """Stop serving and close the socket; open event streams end."""
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One line in the log where the base class prints a stack trace."""
        import sys

        say("http_error", logging.ERROR, client=str(client_address), detail=repr(sys.exc_info()[1]))


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = f"axo/{__version__}"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are logged at debug level only."""
        say("http", logging.DEBUG, client=self.client_address[0], request=format % args)

    def _answer(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Refused as refusal:
            self.close_connection = True
            self._json(refusal.status, {"error": str(refusal)})
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True

    def _get(self) -> None:
        path = urlsplit(self.path).path
        monitoring = {"/metrics": self._metrics, "/healthz": self._health, "/readyz": self._ready}
        if path in monitoring:
            monitoring[path]()
            return
        self._check_host()
        if path in PAGE_FILES:
            name, kind = PAGE_FILES[path]
            self._send(200, kind, _page_file(name))
        elif path == "/api/status":
            self._json(200, {"now_s": time.time(), "status": self._board.snapshot()})
        elif path == "/api/log":
            self._json(200, self._board.log(self._after()))
        elif path == "/api/history":
            self._json(200, self._board.history(self._query("seed"), self._after()))
        elif path == "/events":
            self._events()
        else:
            raise Refused(404, f"there is nothing at {path[:100]}")

    def _post(self) -> None:
        path = urlsplit(self.path).path
        work = {"/api/override": _override, "/api/confirmation": _confirmation}.get(path)
        if work is None:
            raise Refused(404, f"there is nothing at {path[:100]}")
        try:
            self._check_host()
            self._check_origin()
            body = self._body()
            self._check_token()
            kind = path.rpartition("/")[2]
            try:
                number = self.server.service.command(kind, work(body))
            except UserError as error:
                raise Refused(422, str(error)) from error
            except TimeoutError as error:
                raise Refused(503, "the service did not take it up in time; look at the log") from error
        except Refused as refusal:
            self.server.service.metrics.refused_writes.inc()
            client = self.client_address[0]
            say("write_refused", logging.WARNING, client=client, status=refusal.status, detail=str(refusal))
            raise
        self._json(200, {"entry": number})

    @property
    def _board(self) -> Board:
        return self.server.service.board

    def _metrics(self) -> None:
        self._send(200, metrics.CONTENT_TYPE, self.server.service.metrics.text())

    def _health(self) -> None:
        alive = self.server.service.alive()
        self._json(200 if alive else 503, {"alive": alive})

    def _ready(self) -> None:
        troubles = self.server.service.troubles()
        self._json(503 if troubles else 200, {"ready": not troubles, "troubles": troubles})

    def _events(self) -> None:
        """Everything after entry `after`, then whatever changes, until the reader goes away."""
        seed, after = self._query("seed"), self._after()
        last = self.headers.get("Last-Event-ID", "")
        after = max(after, int(last)) if last.isdigit() else after
        if not self.server.watchers.acquire(blocking=False):
            raise Refused(503, "too many pages are open")
        try:
            self.close_connection = True
            self._head(200, {"Content-Type": "text/event-stream; charset=utf-8", "Connection": "close"})
            self._stream(seed, after)
        finally:
            self.server.watchers.release()

    def _stream(self, seed: str, after: int) -> None:
        board, version = self._board, -1
        while not self.server.closing.is_set():
            seen, version = version, board.wait(version, BEAT_S)
            if version == seen:
                self._event("beat", {"now_s": time.time()}, after)
                continue
            log = board.log(after)
            data = {"status": board.snapshot(), "history": board.history(seed, after), "log": log}
            after = log[-1]["number"] if log else after
            self._event("update", {"now_s": time.time(), **data}, after)
            self.server.closing.wait(UPDATE_S)

    def _event(self, name: str, data: dict[str, Any], number: int) -> None:
        text = json.dumps(data, allow_nan=False)
        self.wfile.write(f"event: {name}\nid: {number}\ndata: {text}\n\n".encode())
        self.wfile.flush()

    def _query(self, key: str) -> str:
        return parse_qs(urlsplit(self.path).query).get(key, [""])[0]

    def _after(self) -> int:
        text = self._query("after") or "0"
        if not text.isdigit() or len(text) > 18:
            raise Refused(400, "after must be a number of a journal entry")
        return int(text)

    def _check_host(self) -> None:
        host = self.headers.get("Host", "")
        if host not in self.server.hosts:
            raise Refused(421, f"not known as {host[:100]!r}; add it to http: origins in the configuration")

    def _check_origin(self) -> None:
        """A browser says where a request comes from; programs say nothing, and have the token."""
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "same-origin")
        if (origin is not None and origin not in self.server.origins) or site != "same-origin":
            raise Refused(403, "a command must come from this service's own page")

    def _check_token(self) -> None:
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.server.token}".encode()):
            self.server.closing.wait(WRONG_TOKEN_WAIT_S)
            raise Refused(401, "the token is wrong")

    def _body(self) -> dict[str, Any]:
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
        if kind != "application/json":
            raise Refused(415, "send application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            raise Refused(411, "send a Content-Length")
        if len(length) > 9 or int(length) > MAXIMUM_BODY_BYTES:
            raise Refused(413, f"send at most {MAXIMUM_BODY_BYTES} bytes")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise Refused(400, "the body is not JSON") from error
        if not isinstance(body, dict):
            raise Refused(400, "the body must be a JSON object")
        return body

    def _json(self, status: int, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value, allow_nan=False).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self._head(status, {"Content-Type": kind, "Content-Length": str(len(content))})
        self.wfile.write(content)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (HEADERS | headers).items():
            self.send_header(name, value)
        self.end_headers()


def _override(body: dict[str, Any]) -> dict[str, Any]:
    """The override's journalled input; Refused names the key of a fault."""
    _check_body(body, ("mode", "seed", "threshold_word", "by", "comment"))
    word, seed = body.get("threshold_word"), body.get("seed")
    if type(word) is not int and word is not None:
        raise Refused(422, "threshold_word must be an integer")
    if seed is not None and not isinstance(seed, str):
        raise Refused(422, "seed must be a name, or null for all")
    if seed is None and word is not None:
        raise Refused(422, "a threshold is set for one seed at a time")
    return {"mode": _text(body, "mode"), "seed": seed, "threshold_word": word, **_person(body)}


def _confirmation(body: dict[str, Any]) -> dict[str, Any]:
    """The confirmation's journalled input; Refused names the key of a fault."""
    _check_body(body, ("proposal", "accept", "by", "comment"))
    if type(body.get("accept")) is not bool:
        raise Refused(422, "accept must be true or false")
    return {"proposal": _text(body, "proposal"), "accept": body["accept"], **_person(body)}


def _person(body: dict[str, Any]) -> dict[str, str]:
    return {key: _text(body, key) for key in ("by", "comment")}


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key, "")
    if not isinstance(value, str) or len(value) > 500 or not value.isprintable():
        raise Refused(422, f"{key} must be one line of at most 500 characters")
    return value


def _check_body(body: dict[str, Any], keys: tuple[str, ...]) -> None:
    unknown = sorted(set(body) - set(keys))
    if unknown:
        raise Refused(422, f"unknown key {unknown[0][:50]!r}")


def _page_file(name: str) -> bytes:
    return resources.files("axo.rate_monitor").joinpath("page", name).read_bytes()


def read_token(path: Path) -> str:
    """The token in the file `path`, which is made (readable by its owner only) when it is not there.

    Raises UserError when others may read it, or it is too short to be one.
    """
    with contextlib.suppress(FileExistsError):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileNotFoundError as error:
            raise UserError(f"{path}: cannot be written; its folder does not exist") from error
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the token cannot be read ({error})") from error
    if mode & 0o077:
        raise UserError(f"{path}: others may read the token; chmod 600 {path}")
    if len(token) < SHORTEST_TOKEN:
        raise UserError(f"{path}: a token needs {SHORTEST_TOKEN} characters; delete the file to get one")
    return token
