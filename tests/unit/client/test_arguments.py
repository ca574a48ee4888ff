"""An argument of the wrong type is refused at once, and nothing is sent.

Each call of the asynchronous API is made with right arguments but one. The blocking API hands its
arguments on to it (``test_sync`` compares their signatures).
"""

from __future__ import annotations

import inspect
import stat
from typing import Any

import pytest

from memfs.client.filesystem import AsyncFileSystem
from memfs.types import Attributes, FileKind
from tests.unit.client.fake_cluster import FakeCluster

FOUND = Attributes(1, FileKind.FILE, 0o644, 1, "ann", "dev", 0, 0, 0, 0, 4096, 1, 1, 1, 1)
RIGHT: dict[str, dict[str, Any]] = {
    "access": {"path": "/f", "mode": 4},
    "block_locations": {"path": "/f"},
    "chmod": {"path": "/f", "mode": 0o600},
    "chown": {"path": "/f", "owner": "ann", "group": "dev"},
    "concat": {"target": "/f", "sources": ["/g"]},
    "copy": {"source": "/f", "target": "/h"},
    "getxattr": {"path": "/f", "name": "user.a"},
    "link": {"source": "/f", "target": "/l"},
    "makedirs": {"path": "/x/y", "mode": 0o755, "exist_ok": True},
    "mkdir": {"path": "/x", "mode": 0o755},
    "mknod": {"path": "/x", "mode": stat.S_IFIFO | 0o600, "device": 0},
    "open_handle": {"path": "/f"},
    "read_bytes": {"path": "/f"},
    "read_many": {"paths": ["/f"]},
    "readlink": {"path": "/s"},
    "remove": {"path": "/f"},
    "removexattr": {"path": "/f", "name": "user.a"},
    "rename": {"source": "/f", "target": "/h"},
    "rmtree": {"path": "/d"},
    "scandir": {"path": "/d"},
    "set_quota": {"path": "/d", "names": 5, "space": 5},
    "set_replication": {"path": "/f", "replication": 2},
    "setxattr": {"path": "/f", "name": "user.a", "value": b"x"},
    "stat": {"path": "/f", "follow_symlinks": True},
    "stat_many": {"paths": ["/f"]},
    "symlink": {"target": "f", "path": "/t"},
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
    "ns": [(1.5, 2.5), ("1", "2"), 5],
    "follow_symlinks": ["yes"],
}
CASES = [
    pytest.param(name, argument, wrong, id=f"{name}-{argument}={wrong!r}")
    for name, right in RIGHT.items()
    for argument in right
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
    with pytest.raises((TypeError, ValueError)) as caught:
        await getattr(fs, name)(**RIGHT[name] | {argument: wrong})
    assert not cluster.asked, f"{dict(cluster.asked)} were asked before {caught.value!r}"


@pytest.mark.parametrize("options", [{"replication": "2"}, {"permissions": 1.5}, {"parents": "x"}])
async def test_so_is_a_wrong_option_of_open(options: dict[str, Any]) -> None:
    cluster = FakeCluster()
    with pytest.raises(TypeError):
        await cluster.connect().open("/f", "w", **options)
    assert not cluster.asked
