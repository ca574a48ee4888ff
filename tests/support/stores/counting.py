"""An HTTP proxy before a store that counts requests, and acts around the one that was named.

Owns its listening socket and a thread for each connection. Knows nothing of S3: a request is a
head and as many bytes as its ``Content-Length`` says. Invariant: what acts ``before`` a request
does so when nothing of it has reached the store, what acts ``after`` it when the store has done all
of it and nobody knows. In both cases no answer is given, and the connection breaks.
"""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from memfs.testing.started import Started

HOPS = {"connection", "transfer-encoding", "keep-alive"}
"""Headers that are not handed on."""


class Trap(NamedTuple):
    """What is to happen at which request."""

    number: int
    """The first one that is made from now on is 1; 0: none."""
    after: bool
    act: Callable[[], None]


class Reply(NamedTuple):
    """What is answered."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes


class CountingProxy(Started):
    """``with CountingProxy(port) as proxy: ... proxy.endpoint ... proxy.set(3, act)``."""

    def __init__(self, port: int, edit: Callable[[bytes], bytes] = lambda answer: answer) -> None:
        """``port``: of the store, on loopback; ``edit`` is given the body of each answer."""
        self._port = port
        self._edit = edit
        self.refuse: Callable[[Mapping[str, str]], tuple[int, bytes] | None] = lambda headers: None
        """What a request with these headers is answered with, by their names in small letters;
        None: what the store says."""
        self._lock = threading.Lock()
        self._seen: list[str] = []
        self._trap: Trap | None = None
        self._sprung = threading.Event()
        self._server: http.server.ThreadingHTTPServer | None = None

    def set_up(self) -> None:
        """Listen."""
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    self.raw_requestline = self.rfile.readline(65537)
                    if not self.raw_requestline or not self.parse_request():
                        self.close_connection = True
                        return
                    proxy._pass_on(self)
                except OSError:  # who asked was killed
                    self.close_connection = True

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="proxy", daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    @property
    def endpoint(self) -> str:
        """Its URL."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def set(self, number: int, act: Callable[[], None], *, after: bool = False) -> None:
        """Count from here on, and act around the request of that number, once; 0: only count."""
        with self._lock:
            self._seen = []
            self._trap = Trap(number, after, act)
            self._sprung.clear()

    @property
    def sprung(self) -> bool:
        """Has the request come that was waited for?"""
        return self._sprung.is_set()

    @property
    def seen(self) -> list[str]:
        """Methods and targets since then."""
        with self._lock:
            return list(self._seen)

    # --- one request -------------------------------------------------------------------------

    def _pass_on(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        trap = self._counted(f"{handler.command} {handler.path}")
        if trap is not None and not trap.after:
            self._spring(trap, handler)
            return
        try:
            status, reason, headers, answer = self._refused(handler) or self._asked(handler, body)
        except (OSError, http.client.HTTPException):
            handler.close_connection = True
            return
        if trap is not None:
            self._spring(trap, handler)
            return
        if handler.command != "HEAD":
            answer = self._edit(answer)
            headers = [each for each in headers if each[0].lower() != "content-length"]
            headers.append(("Content-Length", str(len(answer))))
        handler.send_response_only(status, reason)
        for name, value in headers:
            if name.lower() not in HOPS:
                handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(answer)

    def _counted(self, line: str) -> Trap | None:
        """The trap, if this is its request."""
        with self._lock:
            self._seen.append(line)
            trap = self._trap
            if trap is None or len(self._seen) != trap.number:
                return None
            return trap

    def _spring(self, trap: Trap, handler: http.server.BaseHTTPRequestHandler) -> None:
        trap.act()
        self._sprung.set()
        handler.close_connection = True

    def _refused(self, handler: http.server.BaseHTTPRequestHandler) -> Reply | None:
        refusal = self.refuse({k.lower(): v for k, v in handler.headers.items()})
        return None if refusal is None else Reply(refusal[0], "Refused", [], refusal[1])

    def _asked(self, handler: http.server.BaseHTTPRequestHandler, body: bytes) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.putrequest(
                handler.command, handler.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in handler.headers.items():
                if name.lower() not in HOPS:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return Reply(answer.status, answer.reason, answer.getheaders(), answer.read())
        finally:
            connection.close()
