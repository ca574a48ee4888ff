"""A cluster formed with settings that are nobody's defaults: its directories, owners, groups."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import pytest

import memfs
from memfs.testing.processes import Processes

FORMED = (
    "--standard-directories",
    "--homes=ann,bob",
    "--superuser=boss",
    "--supergroup=crew",
    "--group-rule=parent",
)


@pytest.fixture(scope="module")
def formed() -> Iterator[Processes]:
    with Processes(nodes=1, replication=1, flags=FORMED) as cluster:
        yield cluster


def test_directories(formed: Processes) -> None:
    with memfs.connect(formed.url, user="ann", groups=("staff",)) as fs:
        found = {
            each.path: (stat.S_IMODE(each.stat().st_mode), each.stat().owner, each.stat().group)
            for top in ("/", "/user")
            for each in fs.scandir(top)
        }
        assert found == {
            "/tmp": (0o1777, "boss", "crew"),
            "/user": (0o755, "boss", "crew"),
            "/user/ann": (0o755, "ann", "crew"),
            "/user/bob": (0o755, "bob", "crew"),
            "/user/boss": (0o755, "boss", "crew"),
        }
        with pytest.raises(PermissionError):
            fs.mkdir("/user/bob/d")


def test_what_is_made_gets_the_group_of_its_directory(formed: Processes) -> None:
    with memfs.connect(formed.url, user="ann", groups=("staff",)) as fs:
        fs.mkdir("/user/ann/d")
        fs.write_bytes("/user/ann/d/f", b"x")
        for path in ("/user/ann/d", "/user/ann/d/f"):
            assert (fs.stat(path).owner, fs.stat(path).group) == ("ann", "crew")
        fs.chown("/user/ann/d", group="staff")
        fs.write_bytes("/user/ann/d/g", b"x")
        assert fs.stat("/user/ann/d/g").group == "staff"


def test_none_of_them() -> None:
    flags = ("--no-standard-directories", "--homes=ann", "--superuser=boss")
    with Processes(nodes=1, replication=1, flags=flags) as cluster:
        with memfs.connect(cluster.url, user="ann") as fs:
            assert fs.listdir("/") == []
            with pytest.raises(PermissionError):
                fs.mkdir("/ann")
        with memfs.connect(cluster.url, user="boss") as fs:
            fs.mkdir("/ann")
