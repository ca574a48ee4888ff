"""The proxy of the test kit: what arrives, late, in one direction only, or not at all."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from memfs.paths import Endpoint
from tests.support.proxy import Proxy


@pytest.fixture
def echo():
    """A server that sends back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer(connection):
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,)).start()

    thread = threading.Thread(target=serve)
    thread.start()
    yield Endpoint(*server.getsockname())
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


@pytest.fixture
def proxy(echo):
    with Proxy(echo) as started:
        yield started


def test_it_refuses_as_if_nobody_served(proxy):
    with dial(proxy) as connection:
        assert ask(connection, b"before") == b"before"
        proxy.link.refusing = True
        with dial(proxy) as refused, pytest.raises(OSError):
            while refused.recv(1):
                pass
            raise ConnectionResetError  # an end, if it was read before the reset came
        assert ask(connection, b"still there") == b"still there"
    assert proxy.refused == 1
    proxy.heal()
    with dial(proxy) as connection:
        assert ask(connection, b"after") == b"after"


def dial(proxy):
    connection = socket.create_connection(tuple(proxy.endpoint), timeout=5)
    connection.settimeout(5)
    return connection


def ask(connection, data):
    connection.sendall(data)
    got = b""
    while len(got) < len(data):
        piece = connection.recv(65536)
        if not piece:
            break
        got += piece
    return got


def test_bytes_go_through_in_order(proxy):
    data = bytes(range(256)) * 2000
    with dial(proxy) as connection:
        assert ask(connection, data) == data
        assert proxy.carried == 2 * len(data)


def test_a_slow_link_is_slow(proxy):
    with dial(proxy) as connection:
        ask(connection, b"warm")
        proxy.link.delay_seconds = 0.1
        began = time.monotonic()
        assert ask(connection, b"x") == b"x"
        assert time.monotonic() - began >= 0.2
        proxy.heal()
        proxy.link.bytes_per_second = 100_000
        began = time.monotonic()
        ask(connection, bytes(20_000))
        assert time.monotonic() - began >= 0.35


def test_one_direction_is_blocked_and_what_was_held_back_arrives(proxy):
    with dial(proxy) as connection:
        ask(connection, b"warm")
        proxy.link.blocked_out = True
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            ask(connection, b"question")
        proxy.heal()
        connection.settimeout(5)
        assert connection.recv(100) == b"question"


def test_a_cut_breaks_connections_and_lets_new_ones_in(proxy):
    with dial(proxy) as connection:
        ask(connection, b"warm")
        proxy.cut()
        try:
            assert ask(connection, b"x") == b""
        except ConnectionError:
            pass
    with dial(proxy) as connection:
        assert ask(connection, b"again") == b"again"


def test_nobody_behind_it_looks_like_a_break():
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        endpoint = Endpoint(*nobody.getsockname())
    with Proxy(endpoint) as proxy, dial(proxy) as connection:
        try:
            assert connection.recv(1) == b""
        except ConnectionError:
            pass
