"""``timeout=`` is the time of a whole call, however many steps it has, for every public call.

The primary takes 0.4 s for an answer and every node 0.2 s: whatever takes two round trips is too
much for 0.5 s, and is over by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from memfs.client.aiofiles import AsyncFile, Opening
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.stat import Stat
from memfs.errors import MemfsError
from memfs.security.delegation_tokens import Token
from memfs.security.signing import public_key
from memfs.testing.simulation import virtual
from memfs.types import Attributes, ObjectState
from tests.unit.client.calls.test_arguments import FOUND
from tests.unit.client.fake_cluster import FakeCluster

BLOCK = 4096
TIMEOUT = 0.5
ANSWER_SECONDS = 0.4
NODE_SECONDS = 0.2
BIG = bytes(20 * BLOCK)
LOCAL = Path(__file__)
KEY = bytes(32)
CLEAN = Stat(
    Attributes(7, 0, 0o644, 1, "ann", "dev", 9, 0, 0, 0, BLOCK, 16, 2, 1, 1)._replace(
        object_state=ObjectState.CLEAN
    )
)

Call = Callable[[AsyncFileSystem, dict[str, Any]], Awaitable[Any]]


async def list_pages(fs: AsyncFileSystem, options: dict[str, Any]) -> None:
    async for _ in fs.scandir_pages("/d", **options):
        return


async def started(opening: Opening) -> Any:
    return await opening


async def replace(fs: AsyncFileSystem, options: dict[str, Any]) -> None:
    async with fs.replacing("/f", **options) as draft:
        await draft.write(None, memoryview(b"small"))


CALLS: dict[str, list[Call]] = {
    "access": [lambda fs, o: fs.access("/f", **o)],
    "block_locations": [lambda fs, o: fs.block_locations("/f", **o)],
    "cancel_delegation_token": [lambda fs, o: fs.cancel_delegation_token(Token(b"", b""), **o)],
    "check_access": [lambda fs, o: fs.check_access("/f", 4, **o)],
    "chmod": [lambda fs, o: fs.chmod("/f", 0o600, **o)],
    "chown": [lambda fs, o: fs.chown("/f", "ann", **o)],
    "cluster_status": [lambda fs, o: fs.cluster_status(**o)],
    "concat": [lambda fs, o: fs.concat("/f", ["/g"], **o)],
    "copy": [lambda fs, o: fs.copy("/f", "/copy", **o)],
    "du": [lambda fs, o: fs.du(**o)],
    "exists": [lambda fs, o: fs.exists("/f", **o)],
    "first_holders": [lambda fs, o: fs.first_holders("/f", **o)],
    "free": [lambda fs, o: fs.free("/d", **o)],
    "load": [lambda fs, o: fs.load("/", **o)],
    "mount": [lambda fs, o: fs.mount("/m", "file:///data", **o)],
    "mounts": [lambda fs, o: fs.mounts(**o)],
    "persist": [lambda fs, o: fs.persist("/d", **o)],
    "residence": [lambda fs, o: fs.residence([CLEAN], **o)],
    "pin": [lambda fs, o: fs.pin("/d", **o)],
    "sync_metadata": [lambda fs, o: fs.sync_metadata("/", **o)],
    "unmount": [lambda fs, o: fs.unmount("/m", **o)],
    "get": [lambda fs, o: fs.get("/f", LOCAL.parent / "nowhere" / "x", **o)],
    "get_acl": [lambda fs, o: fs.get_acl("/f", **o)],
    "get_delegation_token": [lambda fs, o: fs.get_delegation_token(**o)],
    "get_quota": [lambda fs, o: fs.get_quota(**o)],
    "getxattr": [lambda fs, o: fs.getxattr("/f", "user.a", **o)],
    "getxattrs": [lambda fs, o: fs.getxattrs("/f", **o)],
    "isdir": [lambda fs, o: fs.isdir("/f", **o)],
    "isfile": [lambda fs, o: fs.isfile("/f", **o)],
    "islink": [lambda fs, o: fs.islink("/f", **o)],
    "lexists": [lambda fs, o: fs.lexists("/f", **o)],
    "link": [lambda fs, o: fs.link("/f", "/l", **o)],
    "list_page": [lambda fs, o: fs.list_page("/d", **o)],
    "listdir": [lambda fs, o: fs.listdir("/d", **o)],
    "listxattr": [lambda fs, o: fs.listxattr("/f", **o)],
    "lock": [lambda fs, o, path=path: started(fs.lock(path, **o)) for path in ("/f", "/new")],
    "lstat": [lambda fs, o: fs.lstat("/f", **o)],
    "makedirs": [lambda fs, o: fs.makedirs("/x/y", **o)],
    "map": [lambda fs, o: fs.map("/f", **o)],
    "map_many": [lambda fs, o: fs.map_many(["/f", "/g", "/small"], **o)],
    "mkdir": [lambda fs, o: fs.mkdir("/x", **o)],
    "mknod": [lambda fs, o: fs.mknod("/x", stat.S_IFIFO | 0o600, **o)],
    "modify_acl": [lambda fs, o: fs.modify_acl("/f", "user:ann:r--", **o)],
    "open": [
        lambda fs, o, mode=mode: fs.open("/f", mode, **o).__aenter__() for mode in ("r", "w", "a+")
    ],
    "open_draft": [],
    "open_handle": [],
    "open_map": [lambda fs, o: fs.open_map("/f", **o)],
    "put": [lambda fs, o: fs.put(LOCAL, "/put", **o)],
    "read_bytes": [lambda fs, o, path=path: fs.read_bytes(path, **o) for path in ("/f", "/small")],
    "read_ranges": [lambda fs, o: fs.read_ranges([("/f", 0, 9), ("/small", 1, None)], **o)],
    "read_signed": [lambda fs, o: fs.read_signed("/f", public_key(KEY), **o)],
    "read_many": [lambda fs, o: fs.read_many(["/f", "/g", "/small"], **o)],
    "read_text": [lambda fs, o: fs.read_text("/f", **o)],
    "readlink": [lambda fs, o: fs.readlink("/s", **o)],
    "realpath": [lambda fs, o: fs.realpath("/s/../s", **o)],
    "recover_lease": [lambda fs, o: fs.recover_lease("/f", **o)],
    "remove": [lambda fs, o: fs.remove("/f", **o)],
    "remove_many": [lambda fs, o: fs.remove_many(["/f", "/g"], **o)],
    "remove_acl": [lambda fs, o: fs.remove_acl("/f", **o)],
    "remove_acl_entries": [lambda fs, o: fs.remove_acl_entries("/f", "user:ann", **o)],
    "remove_default_acl": [lambda fs, o: fs.remove_default_acl("/d", **o)],
    "remove_copied": [lambda fs, o: fs.remove_copied("/f", ["/g"], (), **o)],
    "remove_unchanged": [lambda fs, o: fs.remove_unchanged("/f", FOUND, **o)],
    "removexattr": [lambda fs, o: fs.removexattr("/f", "user.a", **o)],
    "rename": [lambda fs, o: fs.rename("/f", "/h", **o)],
    "renew_delegation_token": [lambda fs, o: fs.renew_delegation_token(Token(b"", b""), **o)],
    "replace": [lambda fs, o: fs.replace("/f", "/h", **o)],
    "replacing": [replace],
    "rmdir": [lambda fs, o: fs.rmdir("/d", **o)],
    "rmtree": [lambda fs, o: fs.rmtree("/d", **o)],
    "scandir": [lambda fs, o: fs.scandir("/d", **o)],
    "scandir_pages": [list_pages],
    "set_acl": [lambda fs, o: fs.set_acl("/f", "user::rw-,group::r--,other::r--", **o)],
    "set_quota": [lambda fs, o: fs.set_quota("/d", names=9, **o)],
    "set_replication": [lambda fs, o: fs.set_replication("/f", 3, **o)],
    "set_times": [lambda fs, o: fs.set_times("/f", modified_ns=1, **o)],
    "setxattr": [lambda fs, o: fs.setxattr("/f", "user.a", b"x", **o)],
    "sign": [lambda fs, o: fs.sign("/f", KEY, **o)],
    "stat": [lambda fs, o: fs.stat("/f", **o)],
    "stat_many": [lambda fs, o: fs.stat_many([f"/{'x' * 250}{n}" for n in range(900)], **o)],
    "statvfs": [lambda fs, o: fs.statvfs(**o)],
    "summarise": [lambda fs, o: fs.summarise("/d", **o)],
    "symlink": [lambda fs, o: fs.symlink("f", "/t", **o)],
    "touch": [lambda fs, o, path=path: fs.touch(path, **o) for path in ("/f", "/new")],
    "truncate": [lambda fs, o, size=size: fs.truncate("/f", size, **o) for size in (5, 9 * BLOCK)],
    "utime": [lambda fs, o: fs.utime("/f", **o)],
    "verify": [lambda fs, o: fs.verify("/f", public_key(KEY), **o)],
    "verify_delegation_token": [lambda fs, o: fs.verify_delegation_token(Token(b"", b""), **o)],
    "write_bytes": [
        lambda fs, o, path=path: fs.write_bytes(path, BIG, **o) for path in ("/f", "/new")
    ],
    "write_many": [lambda fs, o: fs.write_many({"/f": BIG, "/n": b"n", "/linked": BIG}, **o)],
    "write_text": [lambda fs, o: fs.write_text("/f", "text", **o)],
}

FILE_CALLS: dict[str, Callable[[AsyncFile, dict[str, Any]], Awaitable[Any]]] = {
    "copy_range": lambda f, o: f.copy_range(f, BLOCK, offset=9 * BLOCK, **o),
    "flush": lambda f, o: f.flush(**o),
    "lock": lambda f, o: f.lock(**o),
    "pread": lambda f, o: f.pread(9 * BLOCK, 0, **o),
    "pread_into": lambda f, o: f.pread_into(bytearray(9 * BLOCK), 0, **o),
    "punch_hole": lambda f, o: f.punch_hole(3, 9 * BLOCK, **o),
    "pwrite": lambda f, o: f.pwrite(bytearray(BIG), 3, **o),
    "read": lambda f, o: f.read(**o),
    "readinto": lambda f, o: f.readinto(bytearray(9 * BLOCK), **o),
    "truncate": lambda f, o: f.truncate(3, **o),
    "unlock": lambda f, o: f.unlock(**o),
    "view": lambda f, o: f.view(**o),
    "write": lambda f, o: f.write(BIG, **o),
}


def with_timeout(cls: type) -> set[str]:
    """Public methods that take a timeout, by a parameter or among their options."""
    found = set()
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        parameters = inspect.signature(method).parameters
        if not name.startswith("_") and ("timeout" in parameters or "options" in parameters):
            found.add(name)
    return found


def test_every_call_that_takes_a_timeout_is_tried() -> None:
    assert with_timeout(AsyncFileSystem) == set(CALLS)
    assert with_timeout(AsyncFile) == set(FILE_CALLS)


async def prepared() -> tuple[FakeCluster, AsyncFileSystem]:
    cluster = FakeCluster()
    fs = cluster.connect()
    await fs.write_many({"/f": BIG, "/g": b"g", "/small": b"small", "/linked": b"l"})
    await fs.link("/linked", "/other")
    await fs.mkdir("/d")
    await fs.symlink("/f", "/s")
    return cluster, fs


def slow(cluster: FakeCluster) -> None:
    cluster.answer_seconds = ANSWER_SECONDS
    cluster.slow = dict.fromkeys(cluster.blocks, NODE_SECONDS)


async def measured(work: Awaitable[Any]) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    given = None
    with contextlib.suppress(MemfsError):
        given = await work
    assert loop.time() - began <= TIMEOUT + 0.01
    if hasattr(given, "close"):
        with contextlib.suppress(MemfsError):
            await given.close()


@pytest.mark.parametrize(
    ("name", "number"), [(name, n) for name, calls in CALLS.items() for n in range(len(calls))]
)
def test_a_call_is_over_in_the_time_given(name: str, number: int) -> None:
    async def main() -> None:
        cluster, fs = await prepared()
        slow(cluster)
        await measured(CALLS[name][number](fs, {"timeout": TIMEOUT}))

    virtual.run(main())


@pytest.mark.parametrize("busy", [False, True], ids=["alone", "behind another call"])
@pytest.mark.parametrize("name", FILE_CALLS)
def test_a_call_on_a_file_is_over_in_the_time_given(name: str, busy: bool) -> None:
    async def main() -> None:
        cluster, fs = await prepared()
        file = await fs.open("/f", "r+b", buffering=0)
        slow(cluster)
        earlier = asyncio.ensure_future(file.pwrite(BIG, BLOCK + 1)) if busy else None
        if busy:
            cluster.slow = dict.fromkeys(cluster.blocks, 20)
        await asyncio.sleep(0.01)
        await measured(FILE_CALLS[name](file, {"timeout": TIMEOUT}))
        cluster.slow.clear()
        if earlier is not None:
            await earlier
        with contextlib.suppress(MemfsError):  # what the call itself has said
            await file.close()

    virtual.run(main())
