"""Content through the gateway: OPEN, CREATE, APPEND, TRUNCATE, CONCAT, checksums, locations."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import struct
import threading
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from gateway_served import BLOCK_SIZE, GROUP_BLOCKS, JAVA, Served

from memfs.checksum import combine, crc32c, crc_of_zeros
from memfs.gateway.hadoop.checksum_rules import FileDigest

_numbers = itertools.count()
GROUP = BLOCK_SIZE * GROUP_BLOCKS


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


@pytest.fixture
def path(served: Served) -> str:
    """A fresh name in a directory that exists."""
    served.mkdir("/files")
    return f"/files/{next(_numbers)}"


def follow(served: Served, method: str, answer: object, body: bytes) -> object:
    """The second step at the address of the first step's answer."""
    location = urllib.parse.urlsplit(answer.headers["Location"])  # type: ignore[attr-defined]
    assert location.port == served.port
    return served.request(method, f"{location.path}?{location.query}", body)


# --- CREATE --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, 5 * BLOCK_SIZE + 7, 300_000])
def test_create_in_two_steps(served: Served, path: str, size: int) -> None:
    data = os.urandom(size)
    first = served.put(path, "CREATE")
    assert (first.status, first.body) == (307, b"")
    assert first.headers["Content-Length"] == "0"
    assert not served.exists(path)
    second = follow(served, "PUT", first, data)
    assert (second.status, second.body) == (201, b"")  # type: ignore[attr-defined]
    assert served.read(path) == data
    assert served.get(path, "OPEN").body == data


def test_create_in_one_step(served: Served, path: str) -> None:
    assert served.put(path, "CREATE", b"at once").status == 201
    assert served.put(path, "CREATE", iter([b"in ", b"chunks"]), overwrite=True).status == 201
    assert served.read(path) == b"in chunks"


def test_noredirect_names_the_location(served: Served, path: str) -> None:
    answer = served.put(path, "CREATE", noredirect=True, overwrite=True)
    assert answer.status == 200
    location = urllib.parse.urlsplit(answer.json["Location"])
    assert "noredirect" not in location.query and "overwrite=True" in location.query
    assert served.request("PUT", f"{location.path}?{location.query}", b"x").status == 201


def test_a_location_can_be_used_again(served: Served, path: str) -> None:
    assert served.put(path, "CREATE", b"a").status == 201
    first = served.post(path, "APPEND")
    assert first.status == 307
    for _ in range(3):
        assert follow(served, "POST", first, b"bc").status == 200  # type: ignore[attr-defined]
    assert served.read(path) == b"abcbcbc"


def test_an_append_to_what_was_removed_meanwhile(served: Served, path: str) -> None:
    """The first step was answered; the second finds nothing, and makes nothing."""
    assert served.put(path, "CREATE", b"a").status == 201
    first = served.post(path, "APPEND")
    assert served.delete(path).json == {"boolean": True}
    late = follow(served, "POST", first, b"bc")
    assert late.status == 404  # type: ignore[attr-defined]
    assert late.exception == "FileNotFoundException"  # type: ignore[attr-defined]
    assert not served.exists(path)


def test_what_create_sets(served: Served, path: str) -> None:
    size = 8 << 20
    answer = served.put(
        path, "CREATE", b"x", permission="600", replication=1, blocksize=size, user="root"
    )
    assert answer.status == 201
    status = served.get(path, "GETFILESTATUS").json["FileStatus"]
    assert (status["permission"], status["replication"]) == ("600", 1)
    assert (status["blockSize"], status["length"]) == (size, 1)


def test_overwriting_sets_the_permission(served: Served, path: str) -> None:
    assert served.put(path, "CREATE", b"old").status == 201
    assert served.put(path, "CREATE", b"new", overwrite=True, permission="640").status == 201
    assert served.get(path, "GETFILESTATUS").json["FileStatus"]["permission"] == "640"


def test_parents_are_made_unless_told_otherwise(served: Served, path: str) -> None:
    assert served.put(f"{path}/a/b", "CREATE", b"x").status == 201
    answer = served.put(f"{path}/c/d", "CREATE", createParent="false", createflag="CREATE")
    assert (answer.status, answer.exception) == (404, "FileNotFoundException")


def test_create_flags(served: Served, path: str) -> None:
    assert served.put(path, "CREATE", b"a", createflag="CREATE").status == 201
    assert served.put(path, "CREATE", b"b", createflag="CREATE").status == 403
    assert served.put(path, "CREATE", b"c", createflag="CREATE,OVERWRITE").status == 201
    assert served.put(path, "CREATE", b"d", createflag="append,create").status == 400
    assert served.read(path) == b"c"
    assert served.put(path, "CREATE", b"e", createflag="NONSENSE").status == 400


@pytest.mark.parametrize(
    "more", [{"buffersize": 0}, {"replication": 70_000}, {"replication": 0}, {"blocksize": 0}]
)
def test_parameters_are_checked(served: Served, path: str, more: dict[str, object]) -> None:
    answer = served.put(path, "CREATE", b"x", **more)
    assert (answer.status, answer.exception) == (400, "IllegalArgumentException")
    assert not served.exists(path)


def test_a_created_file_is_named_as_hadoop_names_it(served: Served, path: str) -> None:
    created = served.put(f"{path} a", "CREATE", b"x").headers["Location"]
    assert created == f"webhdfs://127.0.0.1:{served.port}{path}%20a"


@pytest.mark.parametrize("body", [None, b"data"])
def test_step_one_says_what_is_wrong(served: Served, path: str, body: bytes | None) -> None:
    served.write(path, b"here")
    served.mkdir(f"{path}d")
    assert served.put(path, "CREATE", body).exception == "FileAlreadyExistsException"
    assert served.put(f"{path}d", "CREATE", body).exception == "FileAlreadyExistsException"
    answer = served.put(f"{path}d", "CREATE", body, overwrite=True)
    assert answer.exception == "FileAlreadyExistsException"
    assert served.put(f"{path}/x", "CREATE", body).exception == "ParentNotDirectoryException"
    answer = served.put(f"{path}d/x", "CREATE", body, user="eve")
    assert (answer.status, answer.exception) == (403, "AccessControlException")
    assert served.post(f"{path}x", "APPEND", body).exception == "FileNotFoundException"
    assert served.post(f"{path}d", "APPEND", body).exception == "FileAlreadyExistsException"
    assert served.post(path, "APPEND", body, user="eve").exception == "AccessControlException"
    assert served.read(path) == b"here"


def test_conditional_create(served: Served, path: str) -> None:
    absent = {"If-None-Match": "*"}
    assert served.put(path, "CREATE", b"a", absent, overwrite=True).status == 201
    answer = served.put(path, "CREATE", b"b", absent, overwrite=True)
    assert (answer.status, answer.exception) == (412, "FileAlreadyExistsException")
    assert served.read(path) == b"a"


CONDITIONAL: list[tuple[str, str, dict[str, object]]] = [
    ("GET", "OPEN", {}),
    ("HEAD", "OPEN", {}),
    ("GET", "GETFILESTATUS", {}),
    ("GET", "GETFILECHECKSUM", {}),
    ("PUT", "CREATE", {"overwrite": True}),
    ("POST", "APPEND", {}),
    ("POST", "TRUNCATE", {"newlength": 0}),
    ("PUT", "SETPERMISSION", {"permission": 600}),
    ("PUT", "SETTIMES", {"modificationtime": 1}),
    ("PUT", "RENAME", {"destination": "/files/elsewhere"}),
    ("PUT", "SETXATTR", {"xattr_name": "user.a", "xattr_value": '"b"', "flag": "CREATE"}),
    ("DELETE", "DELETE", {}),
]


@pytest.mark.parametrize(("method", "op", "more"), CONDITIONAL)
def test_if_match(served: Served, path: str, method: str, op: str, more: dict[str, object]) -> None:
    served.write(path, b"old")
    old = {"If-Match": served.get(path, "GETFILESTATUS").headers["ETag"]}
    served.write(path, b"new")
    body = b"x" if op in ("CREATE", "APPEND") else None
    for stale in (old, {"If-Match": '"wrong", W/"weak"'}):
        assert served.ask(method, path, op, body, stale, **more).status == 412
    assert served.read(path) == b"new"
    fresh = {"If-Match": f'"x", {served.get(path, "GETFILESTATUS").headers["ETag"]}'}
    assert served.ask(method, path, op, body, fresh, **more).status < 300
    absent = served.ask(method, f"{path}absent", op, body, {"If-Match": "*"}, **more)
    assert absent.status == 412


@pytest.mark.parametrize(("method", "op", "more"), CONDITIONAL)
def test_if_unmodified_since(
    served: Served, path: str, method: str, op: str, more: dict[str, object]
) -> None:
    served.write(path, b"here")
    status = served.get(path, "GETFILESTATUS")
    seconds = status.json["FileStatus"]["modificationTime"] // 1000
    body = b"x" if op in ("CREATE", "APPEND") else None
    before = {"If-Unmodified-Since": format_datetime(at(seconds - 1), usegmt=True)}
    assert served.ask(method, path, op, body, before, **more).status == 412
    assert served.read(path) == b"here"
    absent = served.ask(method, f"{path}absent", op, body, before, **more)
    assert absent.status != 412, "what is not there has no date"
    ignored = before | {"If-Match": status.headers["ETag"]}
    then = {"If-Unmodified-Since": format_datetime(at(seconds), usegmt=True)}
    for unchanged in ({"If-Unmodified-Since": "yesterday"}, ignored, then):
        served.delete(path)
        served.write(path, b"here")
        served.put(path, "SETTIMES", modificationtime=seconds * 1000 + 999)
        if "If-Match" in unchanged:
            unchanged["If-Match"] = served.get(path, "GETFILESTATUS").headers["ETag"]
        assert served.ask(method, path, op, body, unchanged, **more).status < 300


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


@pytest.mark.parametrize("head", ["If-Match", "If-Unmodified-Since"])
def test_a_conditional_upload_loses_no_update(served: Served, path: str, head: str) -> None:
    served.write(path, b"old")
    tag = served.get(path, "GETFILESTATUS").headers["ETag"]
    known = tag if head == "If-Match" else format_datetime(datetime.now(UTC), usegmt=True)

    def body() -> Iterator[bytes]:
        yield b"mine"
        served.write(path, b"somebody's")
        yield b" too"

    assert served.put(path, "CREATE", body(), {head: known}, overwrite=True).status == 412
    assert served.read(path) == b"somebody's"


def test_a_part_of_a_body_is_refused(served: Served, path: str) -> None:
    part = {"Content-Range": "bytes 0-0/10"}
    assert served.put(path, "CREATE", b"x", part).exception == "IllegalArgumentException"
    assert not served.exists(path)
    served.write(path, b"whole")
    assert served.ask("POST", path, "APPEND", b"x", part).status == 400


def test_a_body_that_is_compressed_on_its_way_is_refused(served: Served, path: str) -> None:
    """Who compresses so wants the other side to undo it: it is not what is to be stored."""
    served.write(path, b"whole")
    for coding in ("gzip, chunked", "x, Chunked"):
        head = {"Transfer-Encoding": coding}
        answer = served.put(path, "CREATE", iter([b"x"]), head, overwrite=True)
        assert answer.exception == "UnsupportedOperationException"
        assert served.ask("POST", path, "APPEND", iter([b"x"]), head).status == 400
    assert served.read(path) == b"whole"
    head = {"Transfer-Encoding": "Chunked"}
    assert served.put(path, "CREATE", iter([b"x"]), head, overwrite=True).status == 201
    assert served.read(path) == b"x"


def test_an_empty_body_in_chunks(served: Served, path: str) -> None:
    octets = {"Content-Type": "application/octet-stream"}
    assert served.put(path, "CREATE", iter(()), octets).status == 201
    assert served.read(path) == b""


def test_a_file_that_is_being_written_can_only_be_replaced(served: Served, path: str) -> None:
    writer = served.run(_open(served, path))
    try:
        assert served.post(path, "APPEND").exception == "AlreadyBeingCreatedException"
        answer = served.put(path, "CREATE", b"x")
        assert answer.exception == "FileAlreadyExistsException"
        assert served.put(path, "CREATE", b"x", overwrite=True).status == 201
        assert served.read(path) == b"x"
    finally:
        served.run(writer.close())


async def _open(served: Served, path: str) -> object:
    return await served.fs.open(path, "wb")


# --- OPEN ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def content(served: Served) -> tuple[str, bytes]:
    """A file of many pieces."""
    data = os.urandom(700_001)
    served.write("/content", data)
    return "/content", data


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, None), (0, 0), (5, 10), (4095, 2), (0, 10**9), (70_000, 300_001), (700_000, None)],
)
def test_parts(served: Served, content: tuple[str, bytes], offset: int, length: int | None) -> None:
    path, data = content
    more = {"offset": offset} | ({} if length is None else {"length": length})
    answer = served.get(path, "OPEN", **more)
    wanted = data[offset:] if length is None else data[offset : offset + length]
    assert answer.status == 200
    assert answer.headers["Content-Length"] == str(len(wanted))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.body == wanted


def test_the_end_and_beyond(served: Served, content: tuple[str, bytes]) -> None:
    path, data = content
    at_end = served.get(path, "OPEN", offset=len(data))
    assert (at_end.status, at_end.body) == (200, b"")
    beyond = served.get(path, "OPEN", offset=len(data) + 1)
    assert (beyond.status, beyond.exception) == (403, "IOException")
    assert "out of the range" in beyond.message


def test_java_is_redirected_once(served: Served, content: tuple[str, bytes]) -> None:
    path, data = content
    first = served.get(path, "OPEN", headers=JAVA, buffersize=4096)
    assert (first.status, first.headers["Content-Length"]) == (307, "0")
    location = urllib.parse.urlsplit(first.headers["Location"])
    assert location.query
    second = served.request("GET", f"{location.path}?{location.query}&offset=3", None, JAVA)
    assert (second.status, second.body) == (200, data[3:])
    again = served.get(path, "OPEN", headers=JAVA, offset=9)
    assert (again.status, again.body) == (200, data[9:])


def test_open_noredirect(served: Served, content: tuple[str, bytes]) -> None:
    path, data = content
    location = urllib.parse.urlsplit(served.get(path, "OPEN", noredirect="true").json["Location"])
    assert served.request("GET", f"{location.path}?{location.query}").body == data


@pytest.mark.parametrize("headers", [{}, JAVA])
def test_what_cannot_be_opened(served: Served, path: str, headers: dict[str, str]) -> None:
    served.mkdir(path)
    answer = served.get(path, "OPEN", headers=headers)
    assert (answer.status, answer.exception) == (404, "FileNotFoundException")
    assert answer.message == f"Path is not a file: {path}"
    answer = served.get(f"{path}/no", "OPEN", headers=headers)
    assert (answer.status, answer.message) == (404, f"File does not exist: {path}/no")


def test_open_needs_permission(served: Served, path: str) -> None:
    served.write(path, b"secret")
    served.run(served.fs.chmod(path, 0o600))
    for headers in ({}, JAVA):
        answer = served.get(path, "OPEN", user="eve", headers=headers)
        assert (answer.status, answer.exception) == (403, "AccessControlException")


@pytest.mark.parametrize(
    ("value", "status", "first", "last"),
    [
        ("bytes=0-0", 206, 0, 0),
        ("bytes=10-99999", 206, 10, 99_999),
        ("bytes=699999-", 206, 699_999, 700_000),
        ("bytes=-5", 206, 699_996, 700_000),
        ("bytes=0-99999999", 206, 0, 700_000),
        ("BYTES=1-2", 206, 1, 2),
        ("bytes=5-9999999999999999999999", 206, 5, 700_000),
        (f"bytes=-{10**30}", 206, 0, 700_000),
        ("bytes=-", 200, 0, 700_000),
        ("bytes=5-4", 200, 0, 700_000),
        ("bytes=0-1,3-4", 200, 0, 700_000),
        ("lines=1-2", 200, 0, 700_000),
    ],
)
def test_range(
    served: Served, content: tuple[str, bytes], value: str, status: int, first: int, last: int
) -> None:
    path, data = content
    answer = served.get(path, "OPEN", headers={"Range": value})
    assert (answer.status, answer.body) == (status, data[first : last + 1])
    if status == 206:
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(data)}"


def test_range_beyond_the_end(served: Served, content: tuple[str, bytes]) -> None:
    path, data = content
    answer = served.get(path, "OPEN", headers={"Range": f"bytes={len(data)}-"})
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(data)}"


def test_etags(served: Served, path: str) -> None:
    served.write(path, b"one")
    tag = served.get(path, "OPEN").headers["ETag"]
    assert served.get(path, "GETFILESTATUS").headers["ETag"] == tag
    for op in ("OPEN", "GETFILESTATUS"):
        answer = served.get(path, op, headers={"If-None-Match": f'"x", W/{tag}'})
        assert (answer.status, answer.body) == (304, b"")
    for other in ('"old"', f"W/{tag}", "*", f'"old", {tag}', "Sun, 06 Nov 1994 08:49:37 GMT"):
        stale = {"Range": "bytes=0-0", "If-Range": other}
        assert served.get(path, "OPEN", headers=stale).status == 200, other
    fresh = {"Range": "bytes=0-0", "If-Range": tag}
    assert served.get(path, "OPEN", headers=fresh).status == 206
    served.write(path, b"two")
    answer = served.get(path, "OPEN", headers={"If-None-Match": tag})
    assert (answer.status, answer.body) == (200, b"two")


def test_head(served: Served, content: tuple[str, bytes]) -> None:
    path, data = content
    for op in ("OPEN", ""):
        answer = served.ask("HEAD", path, op)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["Content-Length"] == str(len(data))
        assert answer.headers["ETag"]
    assert served.ask("HEAD", path, "OPEN", headers={"Range": "bytes=1-2"}).status == 206
    assert served.ask("HEAD", path, "GETFILESTATUS").status == 200
    assert served.ask("HEAD", f"{path}no", "OPEN").status == 404


# --- APPEND, TRUNCATE, CONCAT --------------------------------------------------------------------


def test_append(served: Served, path: str) -> None:
    pieces = [os.urandom(size) for size in (10, BLOCK_SIZE, 3, 0, 100_000)]
    assert served.put(path, "CREATE", pieces[0]).status == 201
    for piece in pieces[1:]:
        answer = follow(served, "POST", served.post(path, "APPEND"), piece)
        assert (answer.status, answer.body) == (200, b"")  # type: ignore[attr-defined]
    assert served.read(path) == b"".join(pieces)


def test_truncate(served: Served, path: str) -> None:
    served.write(path, b"0123456789" * 1000)
    assert served.post(path, "TRUNCATE", newlength=5001).json == {"boolean": True}
    assert served.read(path) == (b"0123456789" * 1000)[:5001]
    assert served.post(path, "TRUNCATE", newlength=5002).status == 400
    assert served.post(path, "TRUNCATE").status == 400
    assert served.post("/files", "TRUNCATE", newlength=0).status == 404
    assert served.post(f"{path}no", "TRUNCATE", newlength=0).status == 404


def test_concat(served: Served, path: str) -> None:
    pieces = [os.urandom(2 * BLOCK_SIZE), os.urandom(BLOCK_SIZE), os.urandom(7)]
    names = [f"{path}-{number}" for number in range(3)]
    for name, piece in zip(names, pieces, strict=True):
        served.write(name, piece)
    answer = served.post(names[0], "CONCAT", sources=",".join(names[1:]))
    assert (answer.status, answer.body) == (200, b"")
    assert served.read(names[0]) == b"".join(pieces)
    assert not served.exists(names[1])
    assert served.post(names[0], "CONCAT", sources=names[0]).status == 400
    assert served.post(names[0], "CONCAT").status == 400
    assert served.post(names[0], "CONCAT", sources="relative").status == 400
    missing = served.post(names[0], "CONCAT", sources=f"{path}-none")
    assert (missing.status, missing.exception) == (404, "FileNotFoundException")
    assert missing.message == f"File does not exist: {path}-none"  # in HDFS's words
    nowhere = served.post(f"{path}-none", "CONCAT", sources=names[0])
    assert (nowhere.status, nowhere.message) == (404, f"File does not exist: {path}-none")


@pytest.mark.parametrize("sizes", [(5, 7, 3 * BLOCK_SIZE), (0, 3 * BLOCK_SIZE + 1, 0, 1)])
def test_concat_of_any_lengths(served: Served, path: str, sizes: tuple[int, ...]) -> None:
    pieces = [os.urandom(size) for size in sizes]
    names = [f"{path}-{number}" for number in range(len(sizes))]
    for name, piece in zip(names, pieces, strict=True):
        served.write(name, piece)
    assert served.post(names[0], "CONCAT", sources=",".join(names[1:])).status == 200
    assert served.read(names[0]) == b"".join(pieces)
    assert not any(served.exists(name) for name in names[1:])


@pytest.mark.parametrize("first", [5, BLOCK_SIZE])
def test_concat_keeps_holes(served: Served, path: str, first: int) -> None:
    """Also where the blocks cannot be moved, because a file ends within one."""
    size = 1 << 30

    async def make() -> None:
        await served.fs.write_bytes(path, b"a" * first)
        async with served.fs.open(f"{path}-s", "wb") as file:
            await file.truncate(size)
            await file.pwrite(b"end", size - 3)
        await served.fs.write_bytes(f"{path}-t", b"tail")

    served.run(make())
    assert served.post(path, "CONCAT", sources=f"{path}-s,{path}-t").status == 200
    assert served.run(served.fs.stat(path)).st_size == first + size + 4
    found = served.get(path, "GETFILECHECKSUM", combinemode="COMPOSITE_CRC").json
    whole = combine(crc32c(b"a" * first), crc_of_zeros(size - 3), size - 3)
    whole = crc32c(b"endtail", whole)
    assert found["FileChecksum"]["bytes"] == struct.pack(">I", whole).hex()
    locations = served.get(path, "GETFILEBLOCKLOCATIONS").json["BlockLocations"]["BlockLocation"]
    stored = [each["length"] for each in locations if each["hosts"]]
    assert sum(stored) <= 4 * GROUP, "the hole is still one"


def test_a_concat_that_fails_changes_nothing(served: Served, path: str) -> None:
    served.write(path, b"before")
    served.write(f"{path}-s", b"odd")
    served.mkdir(f"{path}-d")
    refused = served.post(path, "CONCAT", sources=f"{path}-s,{path}-d")
    assert (refused.status, refused.exception) == (404, "FileNotFoundException")
    assert served.read(path) == b"before" and served.read(f"{path}-s") == b"odd"


def test_concat_while_a_source_is_appended_to_loses_nothing(served: Served, path: str) -> None:
    source, stop = f"{path}-s", threading.Event()
    acknowledged: list[bytes] = []
    served.write(path, b"")

    async def append() -> None:
        """Appends records, and makes the source anew when it is gone; a flush acknowledges."""
        while not stop.is_set():
            with contextlib.suppress(OSError):  # being concatenated
                async with served.fs.open(source, "ab") as f:
                    for _ in range(3):
                        record = b"%063d\n" % len(acknowledged)
                        await f.write(record)
                        await f.flush()
                        acknowledged.append(record)
            await asyncio.sleep(0)

    writing = served.begin(append())
    answers = [served.post(path, "CONCAT", sources=source) for _ in range(60)]
    stop.set()
    writing.result()
    held = served.read(path) + (served.read(source) if served.exists(source) else b"")
    refused = {answer.exception for answer in answers if answer.status != 200}
    assert refused <= {"HadoopIllegalArgumentException", "FileNotFoundException"}
    assert acknowledged == held.splitlines(keepends=True)


# --- checksums and locations ---------------------------------------------------------------------


def hdfs_checksum(data: bytes, block: int) -> tuple[str, str]:
    """(algorithm, bytes) written down from the specification, block by block."""
    if not data:
        return "MD5-of-0MD5-of-0CRC32", (bytes(12) + hashlib.md5(bytes(32)).digest()).hex()
    blocks = [data[start : start + block] for start in range(0, len(data), block)]
    digests = b""
    for each in blocks:
        crcs = (crc32c(each[start : start + 512]) for start in range(0, len(each), 512))
        digests += hashlib.md5(b"".join(struct.pack(">I", crc) for crc in crcs)).digest()
    capacity = 32
    while capacity < len(digests):
        capacity *= 2
    per_block = block // 512 if len(blocks) > 1 else 0
    whole = hashlib.md5(digests.ljust(capacity, b"\0")).digest()
    content = struct.pack(">iq", 512, per_block) + whole
    return f"MD5-of-{per_block}MD5-of-512CRC32C", content.hex()


@pytest.mark.parametrize("size", [0, 1, 512, 513, GROUP, GROUP + 1, 2 * GROUP, 5 * GROUP + 99])
def test_checksum_as_hdfs_has_it(served: Served, path: str, size: int) -> None:
    data = os.urandom(size)
    served.write(path, data)
    found = served.get(path, "GETFILECHECKSUM").json["FileChecksum"]
    assert (found["algorithm"], found["bytes"]) == hdfs_checksum(data, GROUP)
    assert found["length"] == 28
    assert served.get(path, "GETFILECHECKSUM").json["FileChecksum"] == found
    composite = served.get(path, "GETFILECHECKSUM", combinemode="COMPOSITE_CRC")
    found = composite.json["FileChecksum"]
    assert (found["algorithm"], found["length"]) == ("COMPOSITE-CRC32C", 4)
    assert found["bytes"] == struct.pack(">I", crc32c(data)).hex()


def test_the_empty_checksum_is_the_known_one(served: Served, path: str) -> None:
    served.write(path, b"")
    found = served.get(path, "GETFILECHECKSUM").json["FileChecksum"]
    assert found["bytes"].endswith("70bc8f4b72a86921468bf8e8441dce51")


def test_checksum_of_a_sparse_file(served: Served, path: str) -> None:
    data = b"x" + bytes(9999) + b"y"
    served.run(_write_sparse(served, path))
    found = served.get(path, "GETFILECHECKSUM").json["FileChecksum"]
    assert found["bytes"] == hdfs_checksum(data, GROUP)[1]
    found = served.get(path, "GETFILECHECKSUM", combinemode="composite_crc").json["FileChecksum"]
    assert found["bytes"] == struct.pack(">I", crc32c(data)).hex()


async def _write_sparse(served: Served, path: str) -> None:
    async with served.fs.open(path, "wb") as file:
        await file.pwrite(b"x", 0)
        await file.pwrite(b"y", 10_000)


TIB = 1 << 40


async def _make_hole(served: Served, path: str) -> None:
    async with served.fs.open(path, "wb", block_size=4 << 20) as file:
        await file.write(b"x" * 5000)
    await served.fs.truncate(path, TIB)


def test_checksum_of_a_hole_reads_nothing(served: Served, path: str) -> None:
    served.run(_make_hole(served, path))
    composite = served.get(path, "GETFILECHECKSUM", combinemode="COMPOSITE_CRC").json
    zeros = crc_of_zeros(TIB - 5000)
    whole = combine(crc32c(b"x" * 5000), zeros, TIB - 5000)
    assert composite["FileChecksum"]["bytes"] == struct.pack(">I", whole).hex()
    found = served.get(path, "GETFILECHECKSUM").json["FileChecksum"]
    digest = FileDigest(GROUP_BLOCKS * (4 << 20))
    digest.update(b"x" * 4608)
    digest.update(b"x" * 392 + bytes(120))
    digest.zeros(TIB - 5120)
    assert found == digest.content()["FileChecksum"]


def test_a_hole_is_one_block_without_hosts(served: Served, path: str) -> None:
    group = GROUP_BLOCKS * (4 << 20)
    served.run(_make_hole(served, path))
    found = served.get(path, "GETFILEBLOCKLOCATIONS").json["BlockLocations"]["BlockLocation"]
    assert [(each["offset"], each["length"], len(each["hosts"])) for each in found] == [
        (0, group, 2),
        (group, TIB - group, 0),
    ]
    located = served.get(path, "GET_BLOCK_LOCATIONS").json["LocatedBlocks"]
    assert [len(each["locations"]) for each in located["locatedBlocks"]] == [2, 0]
    assert located["lastLocatedBlock"]["startOffset"] == TIB - group
    part = served.get(path, "GETFILEBLOCKLOCATIONS", offset=group + 5, length=group).json
    (first,) = part["BlockLocations"]["BlockLocation"]
    assert (first["offset"], first["length"]) == (group, 2 * group)


def test_checksums_follow_changes(served: Served, path: str) -> None:
    served.write(path, b"a")
    before = served.get(path, "GETFILECHECKSUM").json
    served.write(path, b"b")
    assert served.get(path, "GETFILECHECKSUM").json != before
    assert served.get("/files", "GETFILECHECKSUM").status == 404


def test_block_locations(served: Served, path: str) -> None:
    served.write(path, bytes(2 * GROUP + 5))
    found = served.get(path, "GETFILEBLOCKLOCATIONS").json["BlockLocations"]["BlockLocation"]
    assert [(each["offset"], each["length"]) for each in found] == [
        (0, GROUP),
        (GROUP, GROUP),
        (2 * GROUP, 5),
    ]
    native = served.run(served.fs.block_locations(path))
    assert tuple(found[0]["hosts"]) == native[0].hosts
    assert all(each["corrupt"] is False and len(each["names"]) == 2 for each in found)
    part = served.get(path, "GETFILEBLOCKLOCATIONS", offset=GROUP + 1, length=1).json
    assert [each["offset"] for each in part["BlockLocations"]["BlockLocation"]] == [GROUP]
    empty = served.get(path, "GETFILEBLOCKLOCATIONS", offset=10**9).json
    assert empty == {"BlockLocations": {"BlockLocation": []}}
    assert served.get("/files", "GETFILEBLOCKLOCATIONS").exception == "FileNotFoundException"


def test_copies_about_to_go_are_not_told(served: Served, path: str) -> None:
    served.run(served.fs.write_bytes(path, bytes(2 * GROUP), replication=3))
    assert [len(names) for names in told_hosts(served, path)] == [3, 3]
    assert served.put(path, "SETREPLICATION", replication=1).json == {"boolean": True}
    assert [len(names) for names in told_hosts(served, path)] == [1, 1]
    located = served.get(path, "GET_BLOCK_LOCATIONS").json["LocatedBlocks"]
    assert [len(each["locations"]) for each in located["locatedBlocks"]] == [1, 1]


def told_hosts(served: Served, path: str) -> list[list[str]]:
    """Of each of Hadoop's blocks."""
    found = served.get(path, "GETFILEBLOCKLOCATIONS").json["BlockLocations"]["BlockLocation"]
    return [each["names"] for each in found]


def test_located_blocks_of_old_clients(served: Served, path: str) -> None:
    served.write(path, bytes(GROUP + 5))
    found = served.get(path, "GET_BLOCK_LOCATIONS").json["LocatedBlocks"]
    assert (found["fileLength"], found["isUnderConstruction"]) == (GROUP + 5, False)
    assert [each["startOffset"] for each in found["locatedBlocks"]] == [0, GROUP]
    assert found["lastLocatedBlock"]["block"]["numBytes"] == 5
    node = found["locatedBlocks"][0]["locations"][0]
    assert {"ipAddr", "xferPort", "infoPort", "ipcPort", "hostName", "storageID"} <= node.keys()
    served.write(path, b"")
    found = served.get(path, "GET_BLOCK_LOCATIONS").json["LocatedBlocks"]
    assert (found["locatedBlocks"], found["lastLocatedBlock"]) == ([], None)
