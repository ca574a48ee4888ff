"""sync: two trees become equal, only what differs travels, and what is left out stays."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from cli_cluster import Cluster, Command

import memfs

LARGE = 300_000


def tree(top: Path) -> dict[str, object]:
    """Kinds, modes, times and contents; directories without their times."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        name, status = str(path.relative_to(top)), path.lstat()
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_dir():
            found[name] = oct(status.st_mode)
        else:
            found[name] = (oct(status.st_mode), status.st_mtime_ns, path.read_bytes())
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    top = tmp_path / "source"
    (top / "sub" / "deeper").mkdir(parents=True)
    (top / "file").write_bytes(b"content")
    (top / "sub" / "large").write_bytes(bytes(LARGE))
    (top / "sub" / "deeper" / "x.tmp").write_bytes(b"1")
    (top / "program").write_bytes(b"#!")
    (top / "program").chmod(0o750)
    (top / "link").symlink_to("file")
    for path in top.rglob("*"):
        if not path.is_symlink():
            os.utime(path, ns=(10**18, 10**18 + 5))
    return top


def counts(cli: Command, *arguments: str) -> tuple[int, int, int]:
    (line,) = cli.ok("sync", "--json", *arguments)
    found = json.loads(line)
    assert found["failed"] == 0
    return found["copied"], found["unchanged"], found["deleted"]


def test_there_and_back(cli: Command, home: str, source: Path, tmp_path: Path) -> None:
    there, back = f"memfs:{home}/there", tmp_path / "back"
    assert counts(cli, f"{source}/", there) == (5, 0, 0)
    assert counts(cli, f"{source}/", there) == (0, 5, 0)
    assert counts(cli, f"{there}/", str(back)) == (5, 0, 0)
    assert counts(cli, f"{there}/", str(back)) == (0, 5, 0)
    assert tree(back) == tree(source)
    assert counts(cli, f"{there}/", f"memfs:{home}/copy") == (5, 0, 0)
    assert counts(cli, f"memfs:{home}/copy/", str(back)) == (0, 5, 0)
    assert counts(cli, str(source), f"memfs:{home}/into") == (5, 0, 0)
    assert cli.ok("ls", f"{home}/into") == ["source"]
    new = tmp_path / "new"
    assert counts(cli, f"memfs:{home}/into/source", str(new)) == (5, 0, 0)
    assert tree(new / "source") == tree(source)
    gone = cli.fails("sync", f"memfs:{home}/into/source", str(tmp_path / "no" / "new"))
    assert gone == [f"memfs: cannot make '{tmp_path}/no/new': No such file or directory"]


def test_only_what_differs(cli: Command, home: str, source: Path, tmp_path: Path) -> None:
    there, back = f"memfs:{home}/there", tmp_path / "back"
    cli.ok("sync", f"{source}/", there)
    cli.ok("sync", f"{there}/", str(back))
    (source / "file").write_bytes(b"CONTENT")
    (source / "new").write_bytes(b"new")
    (source / "program").chmod(0o700)
    (source / "link").unlink()
    (source / "link").symlink_to("new")
    assert cli.ok("sync", "-n", f"{source}/", there) == [
        f"copy '{home}/there/file'",
        f"copy '{home}/there/link'",
        f"copy '{home}/there/new'",
    ]
    assert cli.ok("cat", f"{home}/there/file") == ["content"]
    assert counts(cli, f"{source}/", there) == (3, 3, 0)
    assert counts(cli, f"{there}/", str(back)) == (3, 3, 0)
    assert tree(back) == tree(source)


def test_times_that_the_cluster_cannot_keep(cli: Command, home: str) -> None:
    """Out of range they become the nearest there, and compare so the next time."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as top:  # ext4 ends in 2446
        (Path(top) / "file").write_bytes(b"content")
        os.utime(Path(top) / "file", ns=(0, 253_402_300_799 * 10**9))
        there = f"memfs:{home}/there"
        assert [counts(cli, f"{top}/", there) for _ in range(2)] == [(1, 0, 0), (0, 1, 0)]
        assert counts(cli, f"{there}/", f"{top}/") == (0, 1, 0)


def test_content_instead_of_times(cli: Command, home: str, source: Path, tmp_path: Path) -> None:
    there, back = f"memfs:{home}/there", tmp_path / "back"
    cli.ok("sync", f"{source}/", there)
    cli.ok("sync", f"{there}/", str(back))
    kept = (source / "file").stat().st_mtime_ns
    (source / "file").write_bytes(b"CONTENT")
    os.utime(source / "file", ns=(kept, kept))
    os.utime(source / "sub" / "large", ns=(1, 1))
    for one, other in ((f"{source}/", there), (f"{there}/", str(back))):
        assert counts(cli, "-c", one, other) == (1, 4, 0)
        assert counts(cli, one, other) == (0, 5, 0)
    assert tree(back) == tree(source)


def test_deleting_and_excluding(cli: Command, home: str, source: Path, tmp_path: Path) -> None:
    there, back = f"memfs:{home}/there", tmp_path / "back"
    cli.ok("sync", f"{source}/", there)
    cli.ok("sync", f"{there}/", str(back))
    (source / "file").unlink()
    (source / "program").unlink()
    (source / "program").mkdir()
    (source / "sub" / "large").unlink()
    for one, other in ((f"{source}/", there), (f"{there}/", str(back))):
        lines = cli.ok("sync", "-n", "--delete", "--exclude", "/sub/large", one, other)
        assert len(lines) == 3 and all("large" not in line for line in lines)
        assert counts(cli, "--delete", "--exclude=*.tmp", "--exclude=sub/large", one, other)[2] == 2
    assert (back / "sub" / "large").exists() and not (back / "file").exists()
    assert (back / "program").is_dir()
    (source / "sub" / "deeper" / "x.tmp").unlink()
    (source / "sub" / "deeper").rmdir()
    for one, other in ((f"{source}/", there), (f"{there}/", str(back))):
        assert counts(cli, "--delete", one, other)[2] == 3
    assert tree(back) == tree(source)


def test_what_cannot_be_read_deletes_nothing(
    cli: Command, cluster: Cluster, home: str, source: Path
) -> None:
    there = f"memfs:{home}/there"
    cli.ok("sync", f"{source}/", there)
    (source / "file").unlink()
    os.mkfifo(source / "pipe")
    found = cli("sync", "--delete", f"{source}/", there)
    assert found.status == 1 and "nothing is deleted" in found.err
    with memfs.connect(cluster.url) as fs:
        assert fs.exists(f"{home}/there/file")


def test_usage(cli: Command) -> None:
    found = cli("sync", "/a", "/b")
    assert found.status == 2 and "memfs:/PATH" in found.err
    assert "No such file" in cli.fails("sync", "/no/such/directory", "memfs:/x")[0]
