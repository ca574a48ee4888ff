"""An argument of the wrong type is refused at once, and nothing is sent.

Each call of the asynchronous API is made with right arguments but one. The blocking API hands its
arguments on to it (``test_sync`` compares their signatures).
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import stat
from typing import Any

import pytest

from memfs.client.filesystem import AsyncFileSystem
from memfs.client.stat import Stat
from memfs.errors import FileTooLargeError
from memfs.security.delegation_tokens import Token
from memfs.types import Attributes, FileKind
from tests.unit.client.fake_cluster import FakeCluster

FOUND = Attributes(1, FileKind.FILE, 0o644, 1, "ann", "dev", 0, 0, 0, 0, 4096, 1, 1, 1, 1)
TOKEN = Token(b"who", b"proof", "WEBHDFS delegation", "")
RIGHT: dict[str, dict[str, Any]] = {
    "access": {"path": "/f", "mode": 4},
    "block_locations": {"path": "/f", "offset": 0, "length": 5},
    "cancel_delegation_token": {"token": TOKEN},
    "chmod": {"path": "/f", "mode": 0o600},
    "chown": {"path": "/f", "owner": "ann", "group": "dev"},
    "concat": {"target": "/f", "sources": ["/g"]},
    "copy": {"source": "/f", "target": "/h"},
    "get_delegation_token": {"renewer": "ann", "kind": "WEBHDFS delegation", "service": ""},
    "glob": {"pattern": "/*"},
    "iglob": {"pattern": "/*"},
    "load": {"path": "/", "bandwidth": 1e9},
    "lock": {"path": "/f", "blocking": True},
    "mount": {
        "path": "/x",
        "url": "file:///d",
        "mode": "proxy",
        "options": {"key": "value"},
        "ttl": 1.0,
        "sync_interval": 60,
        "copies": 1,
        "quota": 1 << 30,
    },
    "pin": {"path": "/f", "ttl": 1.5, "unpin": False},
    "getxattr": {"path": "/f", "name": "user.a"},
    "link": {"source": "/f", "target": "/l", "replace": True},
    "makedirs": {"path": "/x/y", "mode": 0o755, "exist_ok": True},
    "map_many": {"paths": ["/f"]},
    "mkdir": {"path": "/x", "mode": 0o755},
    "mknod": {"path": "/x", "mode": stat.S_IFIFO | 0o600, "device": 0},
    "open_handle": {"path": "/f"},
    "read_bytes": {"path": "/f"},
    "read_many": {"paths": ["/f"]},
    "read_text": {"path": "/f"},
    "renew_delegation_token": {"token": TOKEN},
    "residence": {"files": [Stat(FOUND)]},
    "scandir_pages": {"path": "/d", "after": "a"},
    "set_times": {"path": "/f", "modified_ns": 1, "accessed_ns": 2},
    "touch": {"path": "/f", "mode": 0o600},
    "verify_delegation_token": {"token": TOKEN},
    "write_text": {"path": "/f", "text": "x"},
    "readlink": {"path": "/s"},
    "remove": {"path": "/f"},
    "remove_many": {"paths": ["/f"]},
    "removexattr": {"path": "/f", "name": "user.a"},
    "rename": {"source": "/f", "target": "/h"},
    "rmtree": {"path": "/d"},
    "scandir": {"path": "/d"},
    "set_quota": {"path": "/d", "names": 5, "space": 5},
    "set_replication": {"path": "/f", "replication": 2},
    "setxattr": {"path": "/f", "name": "user.a", "value": b"x"},
    "stat": {"path": "/f", "follow_symlinks": True},
    "stat_many": {"paths": ["/f"]},
    "symlink": {"target": "f", "path": "/t", "replace": True},
    "read_ranges": {"ranges": [("/f", 0, None)]},
    "truncate": {"path": "/f", "size": 3},
    "utime": {"path": "/f", "ns": (1, 2)},
    "write_bytes": {"path": "/f", "data": b"x", "replication": 2, "permissions": 0o600},
    "write_many": {"files": {"/f": b"x"}, "replication": 2},
}
WRONG: dict[str, list[Any]] = {
    "path": [None, 5, 1.5, ["/f"]],
    "source": [None, 5],
    "target": [None, 5],
    "paths": ["/a/b", b"/a", 5, [None], [5]],
    "ranges": ["/a/b", 5, [("/f",)], [(5, 0, 1)], [("/f", "0", 1)], [("/f", 0, 1.5)]],
    "sources": ["/a/b", [5]],
    "files": [5, {"/f": 5}, {5: b""}, {"/f": "text"}],
    "mode": ["755", 1.5],
    "owner": [0, b"ann"],
    "group": [0],
    "name": [5, b"user.a"],
    "names": ["5", 1.5],
    "space": ["5"],
    "replication": ["2", 2.0],
    "permissions": ["600", 1.5],
    "value": [5, "text", None],
    "data": [5, "text", None],
    "size": [1.5, "3", None],
    "ns": [(1.5, 2.5), ("1", "2"), 5, (), (1,), {1: 2, 3: 4}],
    "times": [5, (), (1, 2, 3), ("1", "2")],
    "offset": [1.5, "0", -1, 1 << 63],
    "length": [1.5, "5"],
    "token": [5, None, b"token"],
    "renewer": [5],
    "kind": [5],
    "service": [5],
    "pattern": [5, None, b"/*", ["/*"]],
    "after": [5, b"a"],
    "url": [5],
    "options": [5, [("key", "value")], {"key": 5}],
    "ttl": ["1", float("nan")],
    "sync_interval": ["1", None],
    "copies": ["1"],
    "quota": ["1", 1.5],
    "unpin": ["yes"],
    "bandwidth": ["1", None],
    "text": [5, b"x"],
    "modified_ns": [1.5],
    "accessed_ns": ["1"],
    "timeout": ["1", [], float("nan")],
    "follow_symlinks": ["yes"],
    "replace": ["yes", 2],
}
CASES = [
    pytest.param(name, argument, wrong, id=f"{name}-{argument}={wrong!r}")
    for name, right in RIGHT.items()
    for argument in right
    if argument in inspect.signature(getattr(AsyncFileSystem, name)).parameters
    for wrong in WRONG.get(argument, [])
]


def test_the_right_arguments_are_right() -> None:
    for name, right in RIGHT.items():
        inspect.signature(getattr(AsyncFileSystem, name)).bind_partial(None, **right)


@pytest.mark.parametrize(("name", "argument", "wrong"), CASES)
async def test_a_wrong_argument_is_refused_before_anything_is_sent(
    name: str, argument: str, wrong: Any
) -> None:
    cluster = FakeCluster()
    fs = cluster.connect()
    await fs.write_many({"/f": b"f", "/g": b"g"})
    await fs.write_many({"/w": b""}, replication=2)  # what is asked once is known
    cluster.asked.clear()
    with pytest.raises((TypeError, ValueError, OverflowError)) as caught:
        called = getattr(fs, name)(**RIGHT[name] | {argument: wrong})
        if hasattr(called, "__aiter__"):
            await anext(called)
        else:
            await called
    assert not cluster.asked, f"{dict(cluster.asked)} were asked before {caught.value!r}"


EMPTY = [
    pytest.param(name, argument, id=f"{name}-{argument}")
    for name, right in RIGHT.items()
    for argument in ("path", "source", "target")
    if argument in right and name not in ("access", "open_handle")
]


@pytest.mark.parametrize(("name", "argument"), EMPTY)
async def test_an_empty_path_is_not_the_root(name: str, argument: str) -> None:
    """As for the kernel: whoever has lost a name does not mean everything."""
    cluster = FakeCluster()
    fs = cluster.connect()
    await fs.write_many({"/f": b"f", "/g": b"g"})
    cluster.asked.clear()
    for empty in ("", b""):
        with pytest.raises(FileNotFoundError):
            called = getattr(fs, name)(**RIGHT[name] | {argument: empty})
            if hasattr(called, "__aiter__"):
                await anext(called)
            else:
                await called
    assert not cluster.asked


async def test_nothing_is_at_an_empty_path() -> None:
    fs = FakeCluster().connect()
    assert not await fs.exists("") and not await fs.lexists("")
    assert not await fs.isdir("") and not await fs.isfile("") and not await fs.islink("")
    assert not await fs.access("") and await fs.glob("") == []
    for mode in ("r", "w", "a", "x"):
        with pytest.raises(FileNotFoundError):
            await fs.open("", mode)


@pytest.mark.parametrize("options", [{"replication": "2"}, {"permissions": 1.5}, {"parents": "x"}])
async def test_so_is_a_wrong_option_of_open(options: dict[str, Any]) -> None:
    cluster = FakeCluster()
    with pytest.raises(TypeError):
        await cluster.connect().open("/f", "w", **options)
    assert not cluster.asked


FIXED, STRIDED = memoryview(b"four"), memoryview(bytearray(8))[::2]
WRONG_OF_A_FILE: dict[str, list[tuple[Any, ...]]] = {
    "pread": [("1", 0), (1.5, 0), (1, "0"), (1, 0.0), (1, None), (1, 1 << 63)],
    "pread_into": [(b"four", 0), (FIXED, 0), (STRIDED, 0), ("four", 0), (bytearray(4), 0.0)],
    "pwrite": [("x", 0), (5, 0), (b"x", 0.0), (b"x", "0"), (b"x", None), (b"x", 1 << 63)],
    "readinto": [(b"four",), (FIXED,), (STRIDED,), ("four",), (5,)],
    "seek": [(1.0,), ("1",), (None,), (1 << 63,), (-1 << 64,), (0, 1.0), (0, "1"), (0, None)],
    "truncate": [(1.5,), ("1",), (1 << 63,), (-1 << 64,)],
    "lock": [("0",), (0.0,), (0, "1")],
    "punch_hole": [("0", 1), (0, 1.5)],
    "write": [("x",), (5,), (None,), (STRIDED,)],
}


@pytest.mark.parametrize(
    ("name", "given"), [(name, given) for name, many in WRONG_OF_A_FILE.items() for given in many]
)
async def test_a_file_refuses_wrong_arguments_and_goes_on(
    name: str, given: tuple[Any, ...]
) -> None:
    cluster = FakeCluster()
    fs = cluster.connect()
    await fs.write_bytes("/f", b"content")
    async with fs.open("/f", "r+b") as file:
        cluster.asked.clear()
        with pytest.raises((TypeError, OverflowError)):
            await getattr(file, name)(*given)
        assert not cluster.asked
        assert await file.read() == b"content"
    assert await fs.read_bytes("/f") == b"content"


async def test_a_length_that_no_file_has_is_refused_and_changes_nothing() -> None:
    fs = FakeCluster().connect()
    await fs.write_bytes("/f", b"content")
    async with fs.open("/f", "r+b") as file:
        with pytest.raises(FileTooLargeError):
            await file.truncate(1 << 62)
        await file.write(b"C")
    assert await fs.read_bytes("/f") == b"Content"


async def test_what_belongs_to_a_connection_is_neither_pickled_nor_copied() -> None:
    fs = FakeCluster().connect()
    await fs.write_bytes("/f", b"content")
    opening = fs.open("/f")
    async with fs.open("/f", "rb") as file, fs.open("/f") as text, fs.lock("/l") as lock:
        for one in (fs, opening, file, text, lock):
            for act in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match="cannot be pickled"):
                    act(one)
        assert await file.read() == b"content"


def test_closing_in_another_event_loop_says_what_is_wrong() -> None:
    async def connected() -> AsyncFileSystem:
        fs = FakeCluster().connect()
        await fs.write_bytes("/f", b"content")
        return fs

    fs = asyncio.run(connected())
    with pytest.raises(RuntimeError, match="belongs to another event loop"):
        asyncio.run(fs.close())


async def test_closing_twice_is_fine() -> None:
    fs = FakeCluster().connect()
    await fs.close()
    await fs.close()
