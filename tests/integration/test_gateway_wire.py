"""What happens on the wire: raw requests, broken uploads, slow and hostile clients."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiohttp import web
from gateway_served import JAVA, Served, answer, ended, head

from memfs.gateway.http.connection import HttpServer
from tests.support.patience import until

_numbers = itertools.count()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served(head_seconds=1.0, send_idle_seconds=2.0, stream_memory="2MiB", connections=64)
    yield served
    served.close()


@pytest.fixture
def path(served: Served) -> str:
    """A fresh name in a directory that exists."""
    served.mkdir("/wire")
    return f"/wire/{next(_numbers)}"


def start_upload(
    connection: socket.socket, path: str, method: str = "PUT", op: str = "CREATE"
) -> None:
    """The head of a second step with a chunked body."""
    line = f"{method} /webhdfs/v1{path}?op={op}&user.name=root&data=true HTTP/1.1\r\n"
    connection.sendall(f"{line}Host: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode())


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# --- what Java does ------------------------------------------------------------------------------


def test_a_client_that_has_said_all_is_answered(served: Served, path: str) -> None:
    """``nc -N``: the sending half is closed as soon as the request is out."""
    line = "HTTP/1.1\r\nHost: localhost\r\n"
    for number in range(10):
        made, written = f"{path}d{number}", f"{path}f{number}"
        create = f"PUT /webhdfs/v1{written}?op=CREATE&user.name=root {line}"
        mkdirs = f"PUT /webhdfs/v1{made}?op=MKDIRS&user.name=root {line}\r\n"
        with served.raw() as connection:
            connection.sendall(mkdirs.encode())
            connection.shutdown(socket.SHUT_WR)
            assert answer(connection)[0] == 200
            assert ended(connection)
        with served.raw() as connection:
            connection.sendall(f"{create}Content-Length: 4\r\n\r\ndata{mkdirs}".encode())
            connection.shutdown(socket.SHUT_WR)
            status, _, body = answer(connection)
            assert status == 201
            body = body or answer(connection)[2]
            assert ended(connection)
        assert served.read(written) == b"data"
    with served.raw() as connection:
        connection.sendall(f"{create}Content-Length: 9\r\n\r\nshort".encode())
        connection.shutdown(socket.SHUT_WR)
        assert answer(connection)[0] in (400, 403)


def test_what_a_connection_asked_for_ends_with_it() -> None:
    """Nobody would read the answer: the work is not done to its end."""

    async def run() -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        async def work(request: web.BaseRequest) -> web.StreamResponse:
            began.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.set()
            raise AssertionError("waits for ever")

        server = HttpServer(work, connections=1, head_seconds=10.0)
        listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await began.wait()
            reset = struct.pack("ii", 1, 0)
            connected = writer.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            writer.transport.abort()
            await asyncio.wait_for(ended.wait(), 20.0)
            await server.shutdown()

    asyncio.run(run())


@pytest.mark.parametrize("pieces", [1, 2, 1000])
@pytest.mark.parametrize("body", [b"", b"data", b"4\r\ndata\r\n0\r\n\r\n"])
def test_nothing_follows_a_last_request(
    served: Served, path: str, body: bytes, pieces: int
) -> None:
    kind = f"Content-Length: {len(body)}" if len(body) < 5 else "Transfer-Encoding: chunked"
    line = f"PUT /webhdfs/v1{path}?op=CREATE&user.name=root&data=true HTTP/1.1\r\n"
    whole = f"{line}Host: localhost\r\nConnection: close\r\n{kind}\r\n\r\n".encode() + body
    whole += b"nonsense\r\n\r\n\0"
    with served.raw() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size = -(-len(whole) // pieces)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may be quicker
            for at in range(0, len(whole), size):
                connection.sendall(whole[at : at + size])
        status, headers, _ = answer(connection)
        assert (status, headers["connection"]) == (201, "close")
        assert ended(connection)
    assert served.read(path) == (b"data" if body else b"")


def test_raw_utf8_in_the_request_line(served: Served, path: str) -> None:
    name = f"{path} é日本🙂".encode()
    served.write(name.decode(), b"12345")
    line = b"GET /webhdfs/v1%b?op=GETFILESTATUS HTTP/1.1\r\n" % name.replace(b" ", b"%20")
    with served.raw() as connection:
        for _ in range(2):
            connection.sendall(line + b"Host: localhost\r\nX-Hadoop-Accept-EZ: true\r\n\r\n")
            status, headers, body = answer(connection)
            assert (status, json.loads(body)["FileStatus"]["length"]) == (200, 5)
            assert "content-type" not in headers


def test_a_request_line_in_pieces(served: Served, path: str) -> None:
    served.write(f"{path}é", b"12345")
    whole = f"GET /webhdfs/v1{path}é?op=GETFILESTATUS HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with served.raw() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(whole)):
            connection.sendall(whole[at : at + 1])
            time.sleep(0.002)
        assert answer(connection)[0] == 200


def test_binary_bodies_are_not_taken_for_heads(served: Served, path: str) -> None:
    for size in (10, 70_000, 300_000, 2_000_000):
        data = os.urandom(size)
        assert served.put(path, "CREATE", data, overwrite=True).status == 201
        assert served.read(path) == data


@pytest.mark.parametrize("op", ["GETFILESTATUS", "LISTSTATUS", "GETHOMEDIRECTORY"])
def test_json_without_a_type_for_java_only(served: Served, op: str) -> None:
    assert served.get("/", op).headers["Content-Type"] == "application/json"
    assert served.get("/", op, headers=JAVA).headers["Content-Type"] is None
    missing = served.get("/no", "GETFILESTATUS", headers=JAVA)
    assert missing.headers["Content-Type"] is None
    assert missing.exception == "FileNotFoundException"


def test_connections_are_kept_and_said_to_be(served: Served, path: str) -> None:
    request = b"PUT /webhdfs/v1%b?op=MKDIRS&user.name=root HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with served.raw() as connection:
        for _ in range(3):
            connection.sendall(request % path.encode())
            status, headers, _ = answer(connection)
            assert status == 200
            assert headers["keep-alive"].startswith("timeout=75")
            assert "connection" not in headers
        connection.sendall(request.replace(b"Host", b"Connection: close\r\nHost") % path.encode())
        assert "keep-alive" not in answer(connection)[1]
        assert ended(connection)


def test_redirects_keep_the_connection(served: Served, path: str) -> None:
    request = b"PUT /webhdfs/v1%b?op=CREATE&user.name=root HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with served.raw() as connection:
        for _ in range(2):
            connection.sendall(request % path.encode())
            status, headers, _ = answer(connection)
            assert (status, headers["location"].partition("/webhdfs")[0]) == (
                307,
                "http://localhost",
            )


# --- uploads -------------------------------------------------------------------------------------


def test_the_file_is_there_while_it_is_uploaded(served: Served, path: str) -> None:
    with served.raw() as connection:
        start_upload(connection, path)
        until(lambda: served.exists(path))
        assert served.put(path, "SETPERMISSION", permission="770").status == 200
        connection.sendall(chunk(b"first"))
        until(lambda: served.get(path, "OPEN").body == b"first")  # published in the pause
        connection.sendall(chunk(b" second") + b"0\r\n\r\n")
        assert answer(connection)[0] == 201
    assert served.read(path) == b"first second"
    assert served.get(path, "GETFILESTATUS").json["FileStatus"]["permission"] == "770"


def test_java_sets_the_permission_of_a_file_that_is_about_to_exist(
    served: Served, path: str
) -> None:
    late = threading.Timer(0.3, served.write, (path, b"x"))
    late.start()
    assert served.put(path, "SETPERMISSION", headers=JAVA, permission="770").status == 200
    late.join()
    assert served.get(path, "GETFILESTATUS").json["FileStatus"]["permission"] == "770"
    missing = served.put(f"{path}no", "SETPERMISSION", permission="770")
    assert missing.exception == "FileNotFoundException"


def test_a_renamed_upload_goes_on(served: Served, path: str) -> None:
    with served.raw() as connection:
        start_upload(connection, path)
        until(lambda: served.exists(path))
        assert served.put(path, "RENAME", destination=f"{path}x").json == {"boolean": True}
        connection.sendall(chunk(b"data") + b"0\r\n\r\n")
        assert answer(connection)[0] == 201
    assert served.read(f"{path}x") == b"data"


@pytest.mark.parametrize("size", [0, 5, 200_000])
def test_an_upload_that_ends_early_leaves_nothing(served: Served, path: str, size: int) -> None:
    with served.raw() as connection:
        start_upload(connection, path)
        until(lambda: served.exists(path))
        if size:
            connection.sendall(chunk(bytes(size)))
            until(lambda: served.get(path, "GETFILESTATUS").json["FileStatus"]["length"] == size)
    until(lambda: not served.exists(path))
    until(lambda: served.gateway.shared.uploads == 0)
    assert served.gateway.shared.slots.taken == 0


def test_a_short_body_leaves_nothing(served: Served, path: str) -> None:
    line = f"PUT /webhdfs/v1{path}?op=CREATE&user.name=root HTTP/1.1\r\nHost: localhost\r\n"
    with served.raw() as connection:
        connection.sendall(f"{line}Content-Length: 100\r\n\r\n".encode() + bytes(99))
        until(lambda: served.exists(path))
        connection.shutdown(socket.SHUT_WR)
        assert ended(connection)
    until(lambda: not served.exists(path))


@pytest.mark.parametrize("late", [False, True])
def test_a_broken_chunk_leaves_nothing(served: Served, path: str, late: bool) -> None:
    with served.raw() as connection:
        start_upload(connection, path)
        if late:
            until(lambda: served.exists(path))
        connection.sendall(chunk(b"abc") + b"zz\r\nnonsense")
        assert answer(connection)[0] == 400
        assert ended(connection)
    until(lambda: not served.exists(path))


def test_an_append_that_ends_early_takes_itself_back(served: Served, path: str) -> None:
    served.write(path, b"before")
    with served.raw() as connection:
        start_upload(connection, path, "POST", "APPEND")
        connection.sendall(chunk(b" more"))
        until(lambda: served.get(path, "OPEN").body == b"before more")
    until(lambda: served.read(path) == b"before")
    assert served.post(path, "APPEND", b" and after").status == 200
    assert served.read(path) == b"before and after"


def test_an_upload_whose_file_is_deleted_fails(served: Served, path: str) -> None:
    with served.raw() as connection:
        start_upload(connection, path)
        until(lambda: served.exists(path))
        assert served.delete(path).json == {"boolean": True}
        connection.sendall(chunk(b"data") + b"0\r\n\r\n")
        status, _, body = answer(connection)
        assert (status, json.loads(body)["RemoteException"]["exception"]) == (
            403,
            "LeaseExpiredException",
        )
    assert not served.exists(path)


def test_another_file_of_the_name_is_left_alone(served: Served, path: str) -> None:
    with served.raw() as connection:
        start_upload(connection, path)
        until(lambda: served.exists(path))
        served.delete(path)
        served.write(path, b"another")
    until(lambda: served.gateway.shared.uploads == 0)
    assert served.read(path) == b"another"


def test_an_overwrite_that_ends_early_changes_nothing(served: Served, path: str) -> None:
    served.write(path, b"before")
    with served.raw() as connection:
        start_upload(connection, path, "PUT", "CREATE&overwrite=true")
        connection.sendall(chunk(bytes(300_000)))
        until(lambda: served.gateway.shared.uploads == 1)
        assert served.read(path) == b"before"
    until(lambda: served.gateway.shared.uploads == 0)
    assert served.read(path) == b"before"
    assert served.delete(path).json == {"boolean": True}


def test_the_newest_of_several_uploads_wins(served: Served, path: str) -> None:
    """Also over one whose writer has not come to its end, as after SIGKILL of its gateway."""
    with served.raw() as older:
        start_upload(older, path, "PUT", "CREATE&overwrite=true")
        until(lambda: served.exists(path))
        assert served.put(path, "CREATE", b"newer", overwrite=True).status == 201
        older.sendall(chunk(b"older") + b"0\r\n\r\n")
        answer(older)
    assert served.read(path) == b"newer"


@pytest.mark.parametrize("there", [True, False])
def test_uploads_at_a_time_all_succeed(served: Served, path: str, there: bool) -> None:
    if there:
        served.write(path, b"before")
    bodies = [b"%d" % number * 50_000 for number in range(12)]

    def put(body: bytes) -> int:
        return served.put(path, "CREATE", body, overwrite=True).status

    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(put, bodies)) == [201] * 12
    assert served.read(path) in bodies


def test_continue_comes_after_the_checks(served: Served, path: str) -> None:
    served.write(f"{path}old", b"x")
    for name, wanted in ((f"{path}old", 403), (path, 100)):
        line = f"PUT /webhdfs/v1{name}?op=CREATE&user.name=root HTTP/1.1\r\nHost: localhost\r\n"
        with served.raw() as connection:
            connection.sendall(f"{line}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n".encode())
            status, _, _ = head(connection)
            assert status == wanted
            if status == 100:
                connection.sendall(b"data")
                assert answer(connection)[0] == 201
    assert served.read(path) == b"data"


def test_a_large_body_for_nothing_still_hears_why(served: Served, path: str) -> None:
    served.write(path, b"x")
    refused = served.put(path, "CREATE", bytes(5_000_000))
    assert refused.exception == "FileAlreadyExistsException"


# --- reads ---------------------------------------------------------------------------------------


def test_a_reader_that_leaves_stops_the_stream(served: Served, path: str) -> None:
    served.write(path, bytes(30_000_000))
    request = f"GET /webhdfs/v1{path}?op=OPEN&user.name=root HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for _ in range(5):
        with served.raw() as connection:
            connection.sendall(request.encode())
            head(connection)
    until(lambda: served.gateway.shared.streams == 0)
    assert served.gateway.shared.buffers.lent == 0


def test_readers_that_never_read_cost_little_and_are_cut_off(served: Served, path: str) -> None:
    served.write(path, bytes(30_000_000))
    request = f"GET /webhdfs/v1{path}?op=OPEN&user.name=root HTTP/1.1\r\nHost: localhost\r\n\r\n"
    connections, lent = [], []
    try:
        for _ in range(20):
            connection = socket.create_connection(("127.0.0.1", served.port), timeout=20)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(request.encode())
            connections.append(connection)
        for connection in connections:
            assert connection.recv(1) == b"H"
            lent.append(served.gateway.shared.buffers.lent)
        assert 0 < max(lent) <= (2 << 20) + 40 * (64 << 10)
        until(lambda: served.gateway.shared.streams == 0)
        assert served.gateway.shared.buffers.lent == 0
    finally:
        for connection in connections:
            connection.close()


def test_a_file_that_shrinks_while_it_is_read_is_cut_off(served: Served, path: str) -> None:
    size = 30_000_000
    served.write(path, bytes(size))
    request = f"GET /webhdfs/v1{path}?op=OPEN&user.name=root HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with served.raw() as connection:
        connection.sendall(request.encode())
        _, headers, body = head(connection)
        assert int(headers["content-length"]) == size
        served.run(served.fs.truncate(path, 10))
        received = len(body)
        try:
            while piece := connection.recv(1 << 20):
                received += len(piece)
        except ConnectionResetError:
            pass
    assert received < size


# --- hostile requests ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /webhdfs/v1/?op=GETFILESTATUS HTTP/1.1\r\nContent-Length: 1\r\n"
        b"Content-Length: 2\r\n\r\n",
        b"PUT /webhdfs/v1/?op=MKDIRS HTTP/1.1\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"GET /webhdfs/v1/?op=GETFILESTATUS HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /webhdfs/v1/?op=GETFILESTATUS HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /webhdfs/v1/?op=GETFILESTATUS HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /webhdfs/v1/?op=GETFILESTATUS HTTP/1.1\r\nX: " + b"y" * 50_000 + b"\r\n\r\n",
        b"GET /webhdfs/v1/?op=GETFILESTATUS HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n",
    ],
    ids=[
        "binary",
        "version",
        "two lengths",
        "length and chunks",
        "negative length",
        "two hosts",
        "bad header",
        "long line",
        "long header",
        "many headers",
    ],
)
def test_what_is_no_request_is_refused_as_json(served: Served, request_: bytes) -> None:
    with served.raw() as connection:
        connection.sendall(request_)
        status, headers, body = answer(connection)
        assert status == 400
        assert headers["content-type"] == "application/json"
        assert json.loads(body)["RemoteException"]["exception"] == "IllegalArgumentException"
        assert ended(connection)


def test_a_head_that_does_not_come_ends_the_connection(served: Served) -> None:
    with served.raw() as silent, served.raw() as slow:
        slow.sendall(b"GET /webhdfs/v1/?op=GETFI")
        assert ended(silent) and ended(slow)


def test_one_connection_too_many_is_refused(served: Served) -> None:
    connections = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(70)]
    try:
        until(lambda: served.gateway.connections == 64)
        with served.raw() as connection:
            assert ended(connection)
    finally:
        for connection in connections:
            connection.close()
    until(lambda: served.gateway.connections < 64)
    assert served.get("/", "GETFILESTATUS").status == 200


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "PROPFIND"])
def test_other_methods_are_refused_as_json(served: Served, method: str) -> None:
    refused = served.request(method, "/webhdfs/v1/?op=OPEN")
    assert refused.status in (400, 405)
    assert refused.status == 400 or refused.headers["Allow"] == "GET, HEAD, PUT, POST, DELETE"
    assert "exception" in refused.json["RemoteException"]


def test_other_addresses_are_refused_as_json(served: Served) -> None:
    for target in ("/", "/index.html", "/webhdfs", "/webhdfs/v2/?op=OPEN", "/../etc/passwd"):
        assert served.request("GET", target).exception == "FileNotFoundException"


def test_unknown_operations(served: Served) -> None:
    missing = served.request("GET", "/webhdfs/v1/")
    assert (missing.status, missing.message) == (400, "op=NULL is not supported")
    unknown = served.get("/", "NONSENSE")
    assert (unknown.status, unknown.exception) == (400, "IllegalArgumentException")
    assert "NONSENSE is not a valid GET operation." in unknown.message
    wrong = served.get("/", "MKDIRS")
    assert (wrong.status, wrong.exception) == (400, "IllegalArgumentException")
    for method, op in [
        ("GET", "GETECPOLICY"),
        ("PUT", "SETQUOTABYSTORAGETYPE"),
    ]:
        refused = served.ask(method, "/", op)
        assert (refused.status, refused.exception) == (400, "UnsupportedOperationException")
    for method, op in [("PUT", "ALLOWSNAPSHOT"), ("DELETE", "DELETESNAPSHOT")]:
        refused = served.ask(method, "/", op)
        assert (refused.status, refused.exception) == (403, "SnapshotException")


# --- probes --------------------------------------------------------------------------------------


def test_probes(served: Served) -> None:
    assert served.request("GET", "/healthz").body == b"ok\n"
    assert served.request("GET", "/readyz").body == b"ready\n"
    served.get("/", "GETFILESTATUS")
    text = served.request("GET", "/metrics").body.decode()
    assert 'memfs_operations_total{kind="GETFILESTATUS",result="ok"}' in text
    assert "memfs_gateway_connections" in text
