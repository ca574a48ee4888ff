"""A worker that is killed: what programs have written through the mount is there, whatever they did
to publish it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.mounts import Mounted, kill_worker
from tests.support.patience import PATIENCE_SECONDS, until

pytestmark = pytest.mark.alone
MIB = 1 << 20


@pytest.mark.parametrize("kills", [1, 2])
@pytest.mark.parametrize(
    ("size", "piece"),
    [
        (1, 1),
        (5000, 1000),
        (3 * MIB + 17, 10_000),
        (64 * MIB, 256 * 1024),
        (64 * MIB, 3 * MIB),
        (150 * MIB, 3 * MIB),  # more than is kept: some of it is published meanwhile
    ],
)
def test_what_was_written_is_there_when_it_is_published(
    two_mounts: tuple[Mounted, Mounted], size: int, piece: int, kills: int
) -> None:
    """Killed between the writes and fsync, and between writes."""
    here, there = two_mounts
    content = random.Random(size).randbytes(size)
    path = here.root / "file"
    with path.open("wb", buffering=0) as file:
        for at in range(0, size, piece):
            file.write(content[at : at + piece])
            if kills > 1 and at <= size // 2 < at + piece:
                kill_worker(here)
        kill_worker(here)
        os.fsync(file.fileno())
        assert (there.root / path.name).read_bytes() == content
        file.write(b"goes on")
    assert (there.root / path.name).read_bytes() == content + b"goes on"
    path.unlink()
    assert "lost" not in here.story()


def test_a_worker_that_is_killed_while_it_writes_again_leaves_it_to_the_next(
    two_mounts: tuple[Mounted, Mounted],
) -> None:
    here, there = two_mounts
    content = random.Random(1).randbytes(40 * MIB)
    with (here.root / "again").open("wb", buffering=0) as file:
        file.write(content)
        for _ in range(3):
            known = here.processes("work")
            for worker in known:
                os.kill(worker, signal.SIGKILL)
            until(lambda known=known: here.processes("work") not in ([], known))
            time.sleep(random.random() / 2)
        kill_worker(here)
        os.fsync(file.fileno())
        assert (there.root / "again").read_bytes() == content
    assert "lost" not in here.story()


def changes(root: Path, dice: random.Random, kill: list[int]) -> dict[str, bytes]:
    """Change files in all ways, beside what they should hold; ``kill`` says before which changes
    somebody is waited for."""
    model = {name: bytearray() for name in "abc"}
    opened = {name: os.open(root / name, os.O_RDWR | os.O_CREAT) for name in model}
    appended = {name: os.open(root / name, os.O_WRONLY | os.O_APPEND) for name in model}
    for number in range(120):
        if number in kill:
            print(number, flush=True)
            sys.stdin.readline()
        name = dice.choice("abc")
        content, file = model[name], opened[name]
        data = dice.randbytes(dice.choice((1, 100, 4096, 70_000, 600_000)))
        at = dice.randrange(len(content) + 100)
        what = dice.choice(("write", "write", "write", "append", "append", "truncate", "punch"))
        if what == "write":
            if at > len(content):
                content.extend(bytes(at - len(content)))
            content[at : at + len(data)] = data
            os.pwrite(file, data, at)
        elif what == "append":
            content.extend(data)
            os.write(appended[name], data)
        elif what == "truncate":
            del content[at:]
            content.extend(bytes(at - len(content)))
            os.ftruncate(file, at)
        elif content:
            end = min(at + len(data), len(content))
            content[at:end] = bytes(max(end - at, 0))
            libc_punch(file, at, len(data))
    for name, file in opened.items():
        os.fsync(file)
        os.close(file)
        os.close(appended[name])
    return {name: bytes(content) for name, content in model.items()}


def libc_punch(file: int, at: int, length: int) -> None:
    """fallocate(2) with FALLOC_FL_PUNCH_HOLE."""
    subprocess.run(
        ["fallocate", "--punch-hole", "-o", str(at), "-l", str(length), f"/dev/fd/{file}"],
        check=True,
        pass_fds=(file,),
    )


@pytest.mark.parametrize("seed", range(4))
def test_changes_of_all_kinds_are_there_in_their_order(
    two_mounts: tuple[Mounted, Mounted], seed: int
) -> None:
    here, there = two_mounts
    (here.root / f"all-{seed}").mkdir()
    dice = random.Random(seed)
    kill = sorted(dice.sample(range(120), 5))
    command = [sys.executable, __file__, str(here.root / f"all-{seed}"), str(seed)]
    running = subprocess.Popen(
        [*command, *map(str, kill)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert running.stdin is not None and running.stdout is not None
    for number in kill:
        assert running.stdout.readline() == f"{number}\n"
        kill_worker(here)
        running.stdin.write("\n")
        running.stdin.flush()
    running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 0
    for name in "abc":
        found = (there.root / f"all-{seed}" / name).read_bytes()
        assert found == (here.root / f"all-{seed}" / name).read_bytes()
        assert found == (here.root / f"all-{seed}" / f"{name}.model").read_bytes()
    assert "lost" not in here.story()


def test_many_small_files_and_one_without_a_name(two_mounts: tuple[Mounted, Mounted]) -> None:
    here, there = two_mounts
    files = {number: (here.root / f"many-{number}").open("wb", 0) for number in range(50)}
    for number, file in files.items():
        file.write(b"%d" % number)
    gone = (here.root / "gone").open("w+b", 0)
    (here.root / "gone").unlink()
    gone.write(b"nameless")
    kill_worker(here)
    for file in files.values():
        file.close()
    for number in files:
        assert (there.root / f"many-{number}").read_bytes() == b"%d" % number
    gone.seek(0)
    assert gone.read() == b"nameless"
    gone.close()
    assert "lost" not in here.story()


def test_appends_are_made_once(two_mounts: tuple[Mounted, Mounted]) -> None:
    """Programs append while workers are killed at any moment."""
    here, there = two_mounts
    program = """
import os, sys
file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
number = 0
while not os.path.exists(sys.argv[1] + ".stop"):
    os.write(file, b"%08d\\n" % number)
    number += 1
os.close(file)
print(number)
"""
    path = here.root / "appended"
    running = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    )
    for _ in range(4):
        time.sleep(0.3)
        kill_worker(here)
    (here.root / "appended.stop").touch()
    said, _ = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 0
    found = (there.root / "appended").read_text().split()
    assert found == [f"{number:08}" for number in range(int(said))]
    assert "lost" not in here.story()


if __name__ == "__main__":
    where = Path(sys.argv[1])
    whole = changes(where, random.Random(int(sys.argv[2])), list(map(int, sys.argv[3:])))
    for each, held in whole.items():
        (where / f"{each}.model").write_bytes(held)
