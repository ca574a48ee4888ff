"""A URL that names another cluster is refused by every call; one that names this cluster is taken.

The calls are those of ``test_arguments``, and what that table has no place for.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from memfs.client.blocking.path import MemfsPath
from memfs.client.calls import modes
from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import InvalidArgumentError
from memfs.paths import Endpoint
from tests.unit.client.calls.test_arguments import FOUND, RIGHT
from tests.unit.client.fake_cluster import FakeCluster

OTHER = "memfs://other:1"
MANY = {"paths", "sources"}
CALLS: dict[str, dict[str, Any]] = RIGHT | {
    "check_access": {"path": "/f"},
    "du": {"path": "/d"},
    "exists": {"path": "/f"},
    "first_holders": {"path": "/f"},
    "free": {"path": "/f"},
    "get": {"source": "/f", "local": "/nowhere/at/all"},
    "get_acl": {"path": "/f"},
    "get_quota": {"path": "/d"},
    "getxattrs": {"path": "/f"},
    "glob": {"pattern": "/d/*"},
    "isdir": {"path": "/f"},
    "isfile": {"path": "/f"},
    "islink": {"path": "/f"},
    "lexists": {"path": "/f"},
    "list_page": {"path": "/d"},
    "listdir": {"path": "/d"},
    "listxattr": {"path": "/f"},
    "load": {"path": "/f"},
    "lock": {"path": "/f"},
    "lstat": {"path": "/f"},
    "map": {"path": "/f"},
    "map_many": {"paths": ["/f", "/g"]},
    "mount": {"path": "/m", "url": "file:///data"},
    "modify_acl": {"path": "/f", "entries": "user:ann:r--"},
    "open": {"file": "/f"},
    "open_handle": {"path": "/f", "mode": modes.parse("rb")},
    "open_draft": {"path": "/f"},
    "open_map": {"path": "/f"},
    "persist": {"path": "/f"},
    "pin": {"path": "/f"},
    "copy_into": {"source": "/f", "sink": None},
    "put": {"local": __file__, "target": "/put"},
    "read_signed": {"path": "/f"},
    "read_text": {"path": "/f"},
    "realpath": {"path": "/f"},
    "recover_lease": {"path": "/f"},
    "remove_acl": {"path": "/f"},
    "remove_acl_entries": {"path": "/f", "entries": "user:ann"},
    "remove_default_acl": {"path": "/d"},
    "remove_copied": {"target": "/f", "sources": ["/g"], "copied": ()},
    "remove_unchanged": {"path": "/f", "found": FOUND},
    "replace": {"source": "/f", "target": "/h"},
    "replacing": {"path": "/f"},
    "rmdir": {"path": "/d"},
    "set_acl": {"path": "/f", "entries": "user::rw-,group::r--,other::r--"},
    "set_times": {"path": "/f", "modified_ns": 1},
    "sign": {"path": "/f", "key": bytes(32)},
    "summarise": {"path": "/d"},
    "sync_metadata": {"path": "/f"},
    "unmount": {"path": "/m"},
    "touch": {"path": "/f"},
    "verify": {"path": "/f"},
    "write_text": {"path": "/f", "text": "x"},
}
WITHOUT_PATH = {
    "cancel_delegation_token",
    "close",
    "cluster_status",
    "get_delegation_token",
    "mounts",
    "iglob",  # glob
    "renew_delegation_token",
    "reopen_handle",
    "residence",  # of what stat gave
    "scandir_pages",  # scandir
    "statvfs",
    "verify_delegation_token",
    "walk",
}
PATHS = {"file", "path", "paths", "pattern", "source", "sources", "target"}
CASES = [
    (name, argument)
    for name, right in CALLS.items()
    for argument in right
    if argument in PATHS and (name, argument) != ("symlink", "target")
]


def at(node: str, value: Any) -> Any:
    """A path, or each of several, as a URL of ``node``."""
    return [node + each for each in value] if isinstance(value, list) else node + value


async def call(fs: AsyncFileSystem, name: str, arguments: dict[str, Any]) -> None:
    result = getattr(fs, name)(**arguments)
    if inspect.iscoroutine(result):
        await result
    elif inspect.isasyncgen(result):
        await anext(result)
    else:
        async with result:
            pass


def test_no_call_is_left_out() -> None:
    public = {
        name
        for name, member in inspect.getmembers(AsyncFileSystem, inspect.isfunction)
        if not name.startswith("_")
    }
    assert public == {*CALLS, "write_many", *WITHOUT_PATH}


@pytest.mark.parametrize(("name", "argument"), CASES)
async def test_another_cluster_is_refused(name: str, argument: str) -> None:
    cluster = FakeCluster()
    fs = cluster.connect()
    await fs.write_many({"/f": b"f", "/g": b"g"})
    cluster.asked.clear()
    right = CALLS[name]
    with pytest.raises(InvalidArgumentError, match=r"names other:1,.* connect there") as caught:
        await call(fs, name, right | {argument: at(OTHER, right[argument])})
    assert str(caught.value.filename).startswith(OTHER)
    assert argument in ("target", "sources") or not cluster.asked


async def test_one_of_several_files_is_in_another_cluster() -> None:
    fs = FakeCluster().connect()
    with pytest.raises(InvalidArgumentError, match="names other:1"):
        await fs.write_many({"/f": b"", f"{OTHER}/g": b""}, return_errors=True)
    with pytest.raises(InvalidArgumentError, match="names other:1"):
        await fs.read_ranges([(f"{OTHER}/g", 0, 1)], return_errors=True)
    assert not await fs.exists("/f")


async def test_walk_and_pages_refuse_it_too() -> None:
    fs = FakeCluster().connect()
    with pytest.raises(InvalidArgumentError, match="names other:1"):
        async for _ in fs.walk(OTHER + "/"):
            pass
    with pytest.raises(InvalidArgumentError, match="names other:1"):
        async for _ in fs.scandir_pages(OTHER + "/"):
            pass


async def test_configured_nodes_and_members_are_this_cluster() -> None:
    fs = FakeCluster().connect()
    await fs.write_bytes("/f", b"content")
    configured = fs.config.endpoints[0]
    member = fs.view.members[-1]
    names = [str(configured), str(Endpoint(member.host, member.port)), f"gone:1,{configured}"]
    for name in [*names, str(configured).upper(), f"127.0.0.1:{configured.port}"]:
        assert await fs.read_bytes(f"memfs://{name}/f") == b"content"
    assert await fs.read_bytes("memfs:///f") == b"content"


async def test_a_path_of_another_cluster_is_not_made() -> None:
    fs: Any = FakeCluster().connect()
    assert str(MemfsPath(fs, f"memfs://{fs.config.endpoints[0]}/a/b")) == "/a/b"
    with pytest.raises(InvalidArgumentError, match="names other:1"):
        MemfsPath(fs, OTHER + "/a")
