"""What one client has closed, every mount sees at its next look, however often it looked before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from cli_cluster import Cluster

import memfs
from tests.support.mounts import Mounted, mounted, need_mounts
from tests.support.patience import PATIENCE_SECONDS

ROUNDS = 40


def look(path: Path) -> tuple[int, bytes] | None:
    """Size and content, by every way that is cached."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        assert path.name not in os.listdir(path.parent)
        return None
    assert path.name in os.listdir(path.parent)
    return size, path.read_bytes()


def test_two_mounts_and_a_client_take_turns(
    two_mounts: tuple[Mounted, Mounted], cluster: Cluster
) -> None:
    one, other = two_mounts[0].root / "turns", two_mounts[1].root / "turns"
    with memfs.connect(cluster.url) as fs:
        fs.mkdir("/turns")
        for number in range(ROUNDS):
            assert look(one / "f") == look(other / "f")
            content = b"%d" % number * (number + 1)
            if number % 3 == 0:
                (one / "f").write_bytes(content)
            elif number % 3 == 1:
                (other / "f").write_bytes(content)
            else:
                fs.write_bytes("/turns/f", content)
            assert look(one / "f") == look(other / "f") == (len(content), content)
            assert fs.read_bytes("/turns/f") == content
            (other / "f").chmod(0o600 + number % 8)
            assert (one / "f").stat().st_mode & 0o777 == 0o600 + number % 8
            if number % 5 == 4:
                fs.rename("/turns/f", "/turns/g")
                assert look(one / "f") is None and look(other / "f") is None
                assert look(one / "g") == look(other / "g") == (len(content), content)
                (one / "g").unlink()
                assert look(other / "g") is None


def test_a_mount_that_stands_still_holds_nobody_up_for_long(
    two_mounts: tuple[Mounted, Mounted],
) -> None:
    one, other = two_mounts
    (one.root / "still").write_text("1")
    assert (other.root / "still").read_text() == "1"
    (worker,) = other.processes("work")
    os.kill(worker, signal.SIGSTOP)
    try:
        (one.root / "still").write_text("22")
        assert (one.root / "still").read_text() == "22"
    finally:
        os.kill(worker, signal.SIGCONT)
    assert (other.root / "still").read_text() == "22"


def test_locks_are_kept_between_mounts(two_mounts: tuple[Mounted, Mounted]) -> None:
    program = """
import fcntl, sys
for _ in range(25):
    with open(sys.argv[1], "r+") as file:
        (fcntl.flock if sys.argv[2] == "flock" else fcntl.lockf)(file, fcntl.LOCK_EX)
        value = int(file.read())
        file.seek(0)
        file.write(str(value + 1))
        file.flush()
"""
    for kind in ("flock", "lockf"):
        (two_mounts[0].root / kind).write_text("0")
        running = [
            subprocess.Popen([sys.executable, "-c", program, str(each.root / kind), kind])
            for each in two_mounts
        ]
        assert [each.wait(PATIENCE_SECONDS) for each in running] == [0, 0]
        assert (two_mounts[1].root / kind).read_text() == "50"


def test_names_that_others_change_are_seen_below_a_working_directory(
    two_mounts: tuple[Mounted, Mounted],
) -> None:
    """However many names a mount has been told of: what it believes goes when others change it."""
    one, other = two_mounts[0].root / "names", two_mounts[1].root / "names"
    (one / "work" / "deep").mkdir(parents=True)
    for number in range(60):
        (one / "work" / f"{number:02}").touch()
    program = """
import os, sys
for line in sys.stdin:
    names = [f"{number:02}" for number in range(70)] + ["../work/deep"]
    print(os.getcwd() == sys.argv[1], sum(map(os.path.exists, names)), flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(other / "work")],
        cwd=other / "work",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdin is not None and watching.stdout is not None
        expected = 61
        for number in range(ROUNDS):
            if number % 4 == 0:
                (one / "work" / f"{60 + number // 4:02}").touch()
                expected += 1
            elif number % 4 == 1:
                (one / "work" / f"{number:02}").unlink()
                expected -= 1
            elif number % 4 == 2:
                (one / "work" / "deep").rename(one / "away")
                expected -= 1
            else:
                (one / "away").rename(one / "work" / "deep")
                expected += 1
            watching.stdin.write("look\n")
            watching.stdin.flush()
            assert watching.stdout.readline() == f"True {expected}\n"
        watching.stdin.close()


CHANGES: dict[str, Callable[[Path], object]] = {
    "rename": lambda place: (place / "old").rename(place / "new"),
    "remove": lambda place: (place / "old").unlink(),
    "replace": lambda place: (place / "beside").replace(place / "old"),
    "create": lambda place: (place / "new").write_text("made"),
    "make a directory": lambda place: (place / "new").mkdir(),
    "move in": lambda place: (place.parent / f"{place.name}.moved").rename(place / "new"),
    "move out": lambda place: (place / "old").rename(place.parent / f"{place.name}.away"),
}


@pytest.mark.parametrize("busy", [False, True], ids=["at rest", "busy"])
def test_a_name_that_the_kernel_knows_goes_when_others_change_it(
    two_mounts: tuple[Mounted, Mounted], busy: bool
) -> None:
    """Also while programs of the same mount make and remove names in the same directory: each of
    those holds the directory's lock in the kernel."""
    for kind, change in CHANGES.items():
        one, other = (each.root / f"{kind}, busy: {busy}" for each in two_mounts)
        one.mkdir()
        for name in ("old", "beside", f"../{one.name}.moved"):
            (one / name).write_text(name)

        def seen(place: Path) -> dict[str, str | None]:
            names = ("old", "new", "beside")
            return {each: said(place / each) for each in names}

        with ExitStack() as stack:
            if busy:
                busy_in(stack, other)
            for _ in range(20):
                before = seen(other)
            change(one)
            after = seen(other)
            assert after == seen(one) != before, kind
            for _ in range(20):
                assert seen(other) == after


def said(path: Path) -> str | None:
    """What a name means."""
    try:
        return "a directory" if path.is_dir() else path.read_text()
    except FileNotFoundError:
        return None


def busy_in(stack: ExitStack, place: Path) -> None:
    """A program that makes and removes names until the stack ends."""
    program = """
import pathlib, sys
place = pathlib.Path(sys.argv[1])
print(flush=True)
number = 0
while True:
    number += 1
    (place / f"busy-{number}").touch()
    (place / f"busy-{number}").unlink()
"""
    command = [sys.executable, "-c", program, str(place)]
    running = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
    stack.callback(running.terminate)
    assert running.stdout is not None
    running.stdout.readline()


def test_a_listing_that_a_mount_knows_is_the_one_that_there_is(
    two_mounts: tuple[Mounted, Mounted], cluster: Cluster
) -> None:
    """Several pages of names, which a mount lists without asking until somebody changes them."""
    one, other = two_mounts[0].root / "listing", two_mounts[1].root / "listing"
    one.mkdir()
    expected = {f"{number:05}" for number in range(2500)}
    with memfs.connect(cluster.url) as fs:
        fs.write_many({f"/listing/{name}": b"" for name in expected})
        changes: list[tuple[Callable[[], object], set[str], set[str]]] = [
            (lambda: (one / "00001").unlink(), set(), {"00001"}),
            (lambda: (one / "02000").rename(one / "new"), {"new"}, {"02000"}),
            (lambda: (other / "beside").touch(), {"beside"}, set()),
            (lambda: (one / "directory").mkdir(), {"directory"}, set()),
            (lambda: fs.remove("/listing/02499"), set(), {"02499"}),
            (lambda: (one / "again").touch(), {"again"}, set()),
            (lambda: (other / "new").replace(other / "again"), set(), {"new"}),
            (lambda: (one / "directory").rmdir(), set(), {"directory"}),
        ]
        for change, added, gone in changes:
            for place in (one, one, other):
                assert sorted(os.listdir(place)) == sorted(expected)
                with os.scandir(place) as entries:
                    assert sum(each.is_file() for each in entries) + (
                        "directory" in expected
                    ) == len(expected)
            change()
            expected = expected - gone | added
    assert sorted(os.listdir(one)) == sorted(os.listdir(other)) == sorted(expected)
    listing = os.open(one, os.O_RDONLY)
    first = os.listdir(listing)
    (one / "00002").unlink()
    assert sorted({*os.listdir(listing), "00002"}) == sorted(first), "rewound, it is looked at anew"
    os.close(listing)


def append(path: Path, content: bytes) -> None:
    with path.open("ab", 0) as file:
        file.write(content)


def test_who_does_not_wait_for_another_writer_hears_that_the_file_is_busy(
    cluster: Cluster, tmp_path: Path
) -> None:
    """With ``-o nowait``: writing, emptying and truncating, until the other has closed it."""
    need_mounts()
    with (
        mounted(cluster.url, tmp_path, "nowait") as here,
        memfs.connect(cluster.url) as fs,
    ):
        path = here.root / "busy"
        path.write_bytes(b"before")
        with fs.open("/busy", "r+b"):
            changes: list[Callable[[], object]] = [
                lambda: os.truncate(path, 1),
                lambda: path.write_bytes(b"mine"),
                lambda: append(path, b"mine"),
            ]
            for change in changes:
                with pytest.raises(OSError, match="busy"):
                    change()
            assert path.read_bytes() == b"before"
        path.write_bytes(b"after")
        assert fs.read_bytes("/busy") == b"after"
