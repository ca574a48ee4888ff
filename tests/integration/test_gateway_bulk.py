"""Large bodies of known length: received past the parser, judged as every other body."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import random
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from gateway_served import Served, answer, ended, head

from tests.support.certificates import Certificates
from tests.support.patience import until

MIB = 1 << 20
DATA = random.Random(3).randbytes(25 * MIB + 321)

_numbers = itertools.count()


@pytest.fixture(scope="module", params=[asyncio.new_event_loop, uvloop.new_event_loop])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    served = Served(block_size=MIB, new_event_loop=request.param)
    yield served
    served.close()


@pytest.fixture
def path(served: Served) -> Iterator[str]:
    """A name in a directory of the test's own, which goes with it."""
    folder = f"/bulk-{next(_numbers)}"
    served.mkdir(folder)
    yield f"{folder}/file"
    served.run(served.fs.rmtree(folder))


def start(
    connection: socket.socket, path: str, length: int, op: str = "CREATE", more: str = ""
) -> None:
    """The head of a second step whose body has ``length`` bytes."""
    method = "POST" if op == "APPEND" else "PUT"
    line = f"{method} /webhdfs/v1{path}?op={op}&user.name=root&data=true HTTP/1.1\r\n"
    connection.sendall(f"{line}Host: localhost\r\nContent-Length: {length}\r\n{more}\r\n".encode())


@pytest.mark.parametrize("pieces", [(len(DATA),), (1, 65536), (3 * MIB,), (MIB - 1, 1, MIB + 1)])
def test_what_is_sent_is_stored(served: Served, path: str, pieces: tuple[int, ...]) -> None:
    with served.raw() as connection:
        start(connection, path, len(DATA))
        at = 0
        for size in itertools.cycle(pieces):
            connection.sendall(memoryview(DATA)[at : at + size])
            at += size
            if at >= len(DATA):
                break
        status, headers, _ = answer(connection)
        assert (status, headers["connection"]) == (201, "close")
        assert ended(connection)
    assert served.read(path) == DATA


def test_many_at_a_time(served: Served, path: str) -> None:
    connections = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(4)]
    try:
        for number, connection in enumerate(connections):
            start(connection, f"{path}-{number}", len(DATA))
        for at in range(0, len(DATA), MIB):
            for connection in connections:
                connection.sendall(memoryview(DATA)[at : at + MIB])
        assert [answer(connection)[0] for connection in connections] == [201] * 4
    finally:
        for connection in connections:
            connection.close()
    for number in range(4):
        assert served.read(f"{path}-{number}") == DATA


def test_an_append_that_begins_within_a_block(served: Served, path: str) -> None:
    served.write(path, b"before")
    with served.raw() as connection:
        start(connection, path, len(DATA), "APPEND")
        connection.sendall(DATA)
        assert answer(connection)[0] == 200
    assert served.read(path) == b"before" + DATA


def test_continue(served: Served, path: str) -> None:
    with served.raw() as connection:
        start(connection, path, len(DATA), more="Expect: 100-continue\r\n")
        assert head(connection)[0] == 100
        connection.sendall(DATA)
        assert answer(connection)[0] == 201
    assert served.read(path) == DATA


def test_a_pause_publishes(served: Served, path: str) -> None:
    with served.raw() as connection:
        start(connection, path, len(DATA))
        for end in (5 * MIB + 7, 5 * MIB + 8, 20 * MIB):
            begin = served.run(served.fs.stat(path)).st_size if served.exists(path) else 0
            connection.sendall(DATA[begin:end])
            until(lambda end=end: served.exists(path) and served.read(path) == DATA[:end])
        connection.sendall(DATA[end:])
        assert answer(connection)[0] == 201
    assert served.read(path) == DATA


@pytest.mark.parametrize("polite", [False, True])
@pytest.mark.parametrize("sent", [100, 12 * MIB + 5, len(DATA) - 1])
def test_a_body_that_ends_early_leaves_nothing(
    served: Served, path: str, sent: int, polite: bool
) -> None:
    with served.raw() as connection:
        start(connection, path, len(DATA))
        connection.sendall(DATA[:sent])
        until(lambda: served.exists(path))
        if polite:
            connection.shutdown(socket.SHUT_WR)
            assert ended(connection)
    until(lambda: not served.exists(path))
    until(lambda: served.gateway.shared.uploads == 0)
    assert served.gateway.shared.slots.taken == 0


def test_who_sends_in_vain_hears_why(served: Served, path: str) -> None:
    with served.raw() as connection:
        start(connection, path, len(DATA))
        connection.sendall(DATA[: 9 * MIB])
        until(lambda: served.exists(path) and served.read(path) == DATA[: 9 * MIB])
        assert served.delete(path).json == {"boolean": True}
        connection.sendall(DATA[9 * MIB :])
        status, _, body = answer(connection)
        said = json.loads(body)["RemoteException"]["exception"]
        assert (status, said) == (403, "LeaseExpiredException")
        assert ended(connection)
    assert not served.exists(path)


def test_what_follows_the_body_is_not_taken_for_it(served: Served, path: str) -> None:
    with served.raw() as connection:
        start(connection, path, len(DATA))
        connection.sendall(
            DATA + b"GET /webhdfs/v1/?op=LISTSTATUS HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        assert answer(connection)[0] == 201
        assert ended(connection)
    assert served.read(path) == DATA


def test_buffers_are_used_again(served: Served, path: str) -> None:
    for _ in range(3):
        assert served.put(path, "CREATE", DATA, overwrite=True, data="true").status == 201
        assert served.read(path) == DATA
    assert 0 < served.gateway.shared.blocks.held <= 8 * MIB


def test_tls(served: Served, path: str, tmp_path: Path) -> None:
    made = Certificates(tmp_path / "tls")
    gateway = served.start(
        tls_certificate=str(made.server_certificate), tls_key=str(made.server_key)
    )
    try:
        context = ssl.create_default_context(cafile=str(made.authority))
        connection = http.client.HTTPSConnection(
            "localhost", gateway.endpoint.port, context=context, timeout=20
        )
        connection.request("PUT", f"/webhdfs/v1{path}?op=CREATE&user.name=root&data=true", DATA)
        assert connection.getresponse().status == 201
        connection.close()
    finally:
        served.stop(gateway)
    assert served.read(path) == DATA
