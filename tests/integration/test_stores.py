"""A directory of this machine mounted into a real cluster, by the command line."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from cli_cluster import Cluster, Command

import memfs
from memfs.client.transfer.copying import ProgressEvent
from tests.support.patience import PATIENCE_SECONDS, until


def change(path: Path, content: bytes) -> None:
    """As another program would, at once."""
    fresh = path.with_name(".fresh")
    fresh.write_bytes(content)
    os.replace(fresh, path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory with some files."""
    directory = tmp_path / "store"
    (directory / "sub").mkdir(parents=True)
    (directory / "small.txt").write_bytes(b"small\n")
    (directory / "large.bin").write_bytes(os.urandom(9_000_000))
    (directory / "sub" / "deep file+.txt").write_bytes(b"deep\n")
    return directory


@pytest.fixture
def mounted(cli: Command, data: Path) -> Iterator[Path]:
    """``data`` at /stored, asked anew for every request."""
    cli.ok("mount", "/stored", f"file://{data}", "--sync-interval=0")
    yield data
    cli("unmount", "--discard", "/stored")


def test_a_read_only_mount_shows_what_is_there(cli: Command, data: Path) -> None:
    cli.ok("mount", "/stored", f"file://{data}", "--read-only", "--shared")
    try:
        assert cli.ok("ls", "/stored") == ["large.bin", "small.txt", "sub"]
        assert cli.ok("cat", "/stored/sub/deep file+.txt") == ["deep"]
        cli.ok("chown", "-R", "alice:people", "/stored")
        assert all("alice" in line for line in cli.ok("ls", "-l", "/stored"))
        assert "Read-only" in cli.fails("rm", "/stored/small.txt")[0]
        (line,) = cli.ok("mount")
        assert f"file://{data}" in line and "read-only" in line
        local = data.parent / "large"
        for _ in range(2):  # from the store, then from memory
            local.unlink(missing_ok=True)
            cli.ok("get", "/stored/large.bin", str(local))
            assert local.read_bytes() == (data / "large.bin").read_bytes()
    finally:
        cli.ok("unmount", "/stored")
    cli.fails("ls", "/stored")
    assert (data / "small.txt").read_bytes() == b"small\n"


def test_changes_behind_the_clusters_back_are_seen(cli: Command, mounted: Path) -> None:
    assert cli.ok("cat", "/stored/small.txt") == ["small"]
    change(mounted / "small.txt", b"SMALL\n")
    assert cli.ok("cat", "/stored/small.txt") == ["SMALL"]
    (mounted / "small.txt").unlink()
    assert "No such file" in cli.fails("cat", "/stored/small.txt")[0]
    (mounted / "fresh.txt").write_bytes(b"fresh\n")
    assert "fresh.txt" in cli.ok("ls", "/stored")


def test_what_is_written_reaches_the_store(cli: Command, mounted: Path) -> None:
    content = os.urandom(5_000_000)
    local = mounted.parent / "local"
    local.write_bytes(content)
    cli.ok("mkdir", "/stored/new")
    cli.ok("put", str(local), "/stored/new/file")
    cli.ok("persist", "/stored")
    assert (mounted / "new" / "file").read_bytes() == content
    assert "not stored" not in cli.ok("mount")[0]
    cli.ok("mv", "/stored/new/file", "/stored/new/moved")
    cli.ok("rm", "/stored/small.txt")
    cli.ok("persist", "/stored")
    names = {str(path.relative_to(mounted)) for path in mounted.rglob("*")}
    assert names == {"large.bin", "new", "new/moved", "sub", "sub/deep file+.txt"}
    cli.ok("free", "/stored")
    local.unlink()
    cli.ok("get", "/stored/new/moved", str(local))
    assert local.read_bytes() == content


def test_a_synchronous_mount_answers_when_the_store_has_it(cli: Command, data: Path) -> None:
    local = data.parent / "local"
    local.write_bytes(b"written through")
    cli.ok("mount", "/stored", f"file://{data}", "--mode=dual-sync")
    try:
        cli.ok("put", str(local), "/stored/through")
        assert (data / "through").read_bytes() == b"written through"
        cli.ok("rm", "/stored/through")
        assert not (data / "through").exists()
    finally:
        cli.ok("unmount", "/stored")


def test_an_object_changed_here_and_there_is_kept_twice(cli: Command, mounted: Path) -> None:
    local = mounted.parent / "local"
    local.write_bytes(b"ours")
    cli.ok("mount", "/stored", "--update", "--sync-interval=-1")
    cli.ok("ls", "/stored")
    change(mounted / "small.txt", b"theirs")
    cli.ok("put", str(local), "/stored/small.txt")
    until(lambda: any(".conflict-" in path.name for path in mounted.iterdir()))
    assert (mounted / "small.txt").read_bytes() == b"theirs"
    (ours,) = [path for path in mounted.iterdir() if ".conflict-" in path.name]
    assert ours.read_bytes() == b"ours"
    cli.ok("sync-metadata", "/stored")
    assert cli.ok("cat", "/stored/small.txt") == ["theirs"]


@pytest.mark.parametrize("content", [b"ours", b""], ids=["full", "empty"])
@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_what_is_not_listed_there_is_kept_beside_ours(
    cli: Command, mounted: Path, kind: str, content: bytes
) -> None:
    """A broken link, a special file and a directory made since: no file to be replaced."""
    local = mounted.parent / "local"
    local.write_bytes(content)
    cli.ok("mount", "/stored", "--update", "--sync-interval=-1")
    cli.ok("ls", "/stored")
    there = mounted / "taken"
    if kind == "link":
        there.symlink_to("nowhere")
    elif kind == "pipe":
        os.mkfifo(there)
    else:
        there.mkdir()
    before = there.lstat()
    cli.ok("put", str(local), "/stored/taken")
    until(lambda: any(".conflict-" in path.name for path in mounted.iterdir()))
    (ours,) = [path for path in mounted.iterdir() if ".conflict-" in path.name]
    assert ours.read_bytes() == content
    assert there.lstat().st_ino == before.st_ino and not (mounted / "nowhere").exists()


def tree_of(top: Path) -> dict[str, bytes | None]:
    """Names below a directory of this machine, and what files hold."""
    found = sorted(top.rglob("*"))
    return {
        str(each.relative_to(top)): each.read_bytes() if each.is_file() else None for each in found
    }


@pytest.mark.parametrize("by", ["mv", "fsspec"])
def test_moves_into_out_of_and_within_mounts(
    cluster: Cluster, cli: Command, mounted: Path, tmp_path: Path, home: str, by: str
) -> None:
    """As mv(1) between file systems: a copy with modes and times, then the source goes."""
    other = tmp_path / "other"
    other.mkdir()
    fs = fsspec.filesystem("memfs", url=cluster.url)

    def move(source: str, target: str) -> None:
        cli.ok("mv", source, target) if by == "mv" else fs.mv(source, target)
        assert cli.fails("test", "-e", source) == []

    cli.ok("mount", "/other", f"file://{other}", "--sync-interval=0")
    try:
        before = cli.ok("stat", "/stored/sub/deep file+.txt")
        move("/stored/sub", f"{home}/out")  # out of a mount, what only the store has
        assert cli.ok("cat", f"{home}/out/deep file+.txt") == ["deep"]
        after = cli.ok("stat", f"{home}/out/deep file+.txt")
        assert [each for each in after if "Modify" in each] == [e for e in before if "Modify" in e]
        cli.ok("persist", "/stored")
        assert set(tree_of(mounted)) == {"large.bin", "small.txt"}
        cli.ok("chmod", "640", f"{home}/out/deep file+.txt")
        move(f"{home}/out", "/other/in")  # into one
        assert "-rw-r-----" in cli.ok("ls", "-l", "/other/in")[0]
        move("/other/in", "/stored/between")
        move("/stored/between", "/stored/again")  # a directory, within one
        move("/stored/large.bin", "/stored/renamed")  # a file that only the store has
        cli.ok("persist", "/stored", "/other")
        assert tree_of(other) == {}
        found = tree_of(mounted)
        assert set(found) == {"again", "again/deep file+.txt", "renamed", "small.txt"}
        assert found["again/deep file+.txt"] == b"deep\n"
    finally:
        cli.ok("unmount", "--discard", "/other")


def test_a_move_across_mounts_is_refused_as_mv_does(cli: Command, mounted: Path, home: str) -> None:
    cli.ok("mkdir", "-p", f"{home}/full/sub", f"{home}/empty/sub", "/stored/sub/below")
    cli.ok("touch", f"{home}/full/sub/x", f"{home}/sub")
    cli.ok("put", str(mounted / "small.txt"), f"{home}/small.txt")
    for source, target, words in [
        ("/stored/sub", "/stored/sub/below/x", "itself"),
        ("/stored/sub", f"{home}/full", "not empty"),
        ("/stored/sub", f"{home}/sub", "Not a directory"),
        ("/stored/small.txt", f"-T {home}/full", "Is a directory"),
        ("/stored", f"{home}/x", "mounted"),
    ]:
        (line,) = cli.fails("mv", source, *target.split(" "))
        assert words in line
    cli.ok("mv", "-n", "/stored/small.txt", home)
    assert set(cli.ok("ls", "/stored")) == {"large.bin", "small.txt", "sub"}
    cli.ok("ln", "-s", "nowhere", f"{home}/full/link")
    assert "cannot hold symbolic links" in cli.fails("mv", f"{home}/full", "/stored")[0]
    assert cli.ok("ls", f"{home}/full") == ["link", "sub"]  # all that was there
    assert cli.ok("mv", "-v", "/stored/sub", f"{home}/empty") == [
        f"copied '/stored/sub' -> '{home}/empty/sub'"
    ]
    assert cli.ok("ls", f"{home}/empty/sub") == ["below", "deep file+.txt"]


def test_what_cannot_be_mounted_is_said_in_a_line(cli: Command, tmp_path: Path) -> None:
    for url in (f"file://{tmp_path}/missing", "nothing://at/all"):
        (complaint,) = cli.fails("mount", "/stored", url)
        assert complaint.startswith("memfs: cannot mount '/stored'")
    secret = "secret_access_key=canary-of-secrets"
    for given in (("s3://bucket", "-o", secret), ("http://me:canary@127.0.0.1:1/",)):
        (complaint,) = cli.fails("mount", "/stored", *given)
        assert "credentials=" in complaint and "canary" not in complaint
    assert cli.ok("mount") == []


def test_a_part_of_an_object_is_changed_and_appended_to(
    cluster: Cluster, cli: Command, mounted: Path
) -> None:
    before = (mounted / "large.bin").read_bytes()
    with memfs.connect(cluster.url) as fs:
        with fs.open("/stored/large.bin", "r+b") as file:
            file.seek(5_000_000)
            file.write(b"CHANGED")
        with fs.open("/stored/small.txt", "ab") as file:
            file.write(b"more\n")
        fs.truncate("/stored/sub/deep file+.txt", 2)
        fs.persist("/stored")
        expected = before[:5_000_000] + b"CHANGED" + before[5_000_007:]
        assert (mounted / "large.bin").read_bytes() == expected
        assert fs.read_bytes("/stored/large.bin") == expected
        assert (mounted / "small.txt").read_bytes() == b"small\nmore\n"
        assert (mounted / "sub" / "deep file+.txt").read_bytes() == b"de"


def test_objects_are_copied_and_read_in_batches(
    cluster: Cluster, cli: Command, mounted: Path
) -> None:
    for number in range(300):
        (mounted / f"part-{number}").write_bytes(b"%d" % number * 100)
    with memfs.connect(cluster.url) as fs:
        names = [f"/stored/part-{number}" for number in range(300)]
        assert fs.read_many(names) == [b"%d" % number * 100 for number in range(300)]
        fs.copy("/stored/large.bin", "/outside")
        assert fs.read_bytes("/outside") == (mounted / "large.bin").read_bytes()
        assert fs.load("/stored").files == 303
        fs.remove("/outside")


def test_attributes_say_how_a_file_stands_to_its_store(
    cluster: Cluster, cli: Command, mounted: Path
) -> None:
    assert cli.ok("xattr", "get", "user.memfs.state", "/stored/small.txt") == ["NOT_LOADED"]
    cli.ok("load", "/stored/small.txt")
    assert cli.ok("xattr", "get", "user.memfs.state", "/stored/small.txt") == ["PERSISTED"]
    assert cli.ok("xattr", "get", "user.memfs.in_memory", "/stored/small.txt") == ["100%"]
    (shown,) = cli.ok("stat", "--json", "/stored/small.txt")
    assert '"state":"PERSISTED","in_memory_percent":100,' in shown
    assert " State: PERSISTED   In memory: 100%" in cli.ok("stat", "/stored/small.txt")
    assert " State: PERSISTED" in cli.ok("stat", "/stored/sub")
    found = fsspec.filesystem("memfs", url=cluster.url).info("/stored/small.txt")
    assert (found["state"], found["in_memory_percent"]) == ("PERSISTED", 100)
    assert cli.ok("xattr", "get", "user.memfs.mount", "/stored/sub") == [f"file://{mounted}"]
    (before,) = cli.ok("xattr", "get", "user.memfs.version", "/stored/small.txt")
    change(mounted / "small.txt", b"another\n")
    assert cli.ok("xattr", "get", "user.memfs.version", "/stored/small.txt") != [before]
    assert cli.ok("xattr", "list", "/stored/small.txt") == []
    (line,) = cli.fails("xattr", "set", "user.memfs.state", "DIRTY", "/stored/small.txt")
    assert "not permitted" in line


def test_what_broken_uploads_left_is_given_up(cli: Command, data: Path) -> None:
    parts = data / ".memfs-uploads"
    parts.mkdir(exist_ok=True)
    for name, days in (("old", 8), ("new", 1)):
        (parts / name).write_bytes(b"half")
        then = time.time() - days * 86_400
        os.utime(parts / name, (then, then))
    cli.ok("mount", "/swept", f"file://{data}")
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (parts / "old").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert (parts / "new").exists()
    finally:
        cli.ok("unmount", "/swept")


def test_a_load_goes_on_after_what_it_cannot_have(
    cluster: Cluster, cli: Command, data: Path
) -> None:
    """Objects that are gone from the store since they were listed."""
    for number in range(5):
        (data / f"old-{number}").write_bytes(b"x" * 1000)
    cli.ok("mount", "/kept", f"file://{data}", "--read-only", "--sync-interval=1h")
    try:
        assert len([name for name in cli.ok("ls", "/kept") if name.startswith("old")]) == 5
        (data / "old-1").unlink()
        (data / "old-3").unlink()
        found = cli("load", "--quiet", "/kept")
        assert found.status == 1
        assert [line.partition("': ")[0] for line in sorted(found.err.splitlines())] == [
            "memfs: cannot load '/kept/old-1",
            "memfs: cannot load '/kept/old-3",
        ]
        assert found.lines[0].startswith("/kept: 6 files, ")
        assert cli.ok("xattr", "get", "user.memfs.in_memory", "/kept/old-4") == ["100%"]
    finally:
        cli.ok("unmount", "/kept")


def test_a_load_tells_how_far_it_is(cluster: Cluster, cli: Command, mounted: Path) -> None:
    events: list[ProgressEvent] = []
    with memfs.connect(cluster.url) as fs:
        fs.load("/stored", progress=events.append)
    total = 9_000_000 + len(b"small\n") + len(b"deep\n")
    assert events[-1][1:] == (total, 3, total, 3)
    assert [each.bytes for each in events] == sorted(each.bytes for each in events)
    assert len([each for each in events if each.path.endswith("large.bin")]) > 2  # by its blocks
    assert cli.ok("load", "--quiet", "/stored")[0].startswith("/stored: 3 files")
    assert "No such file" in cli.fails("load", "/stored/missing")[0]
