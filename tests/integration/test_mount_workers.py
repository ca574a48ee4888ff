"""A worker that is killed: what programs hold through the mount they hold on."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.mounts import Mounted, kill_worker
from tests.support.patience import PATIENCE_SECONDS, until

pytestmark = pytest.mark.alone
SILENCE_SECONDS = 20
"""Longer than the cluster waits for a client that is gone."""
DATA = b"content" * 1000


def is_locked(path: Path, how: str) -> bool:
    """Whether another process finds it locked."""
    program = "import fcntl,sys; f=open(sys.argv[1],'r+'); "
    program += f"fcntl.{how}(f, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or "BlockingIOError" in done.stderr, done.stderr
    return bool(done.returncode)


def test_locks_and_deleted_files_are_held_on(two_mounts: tuple[Mounted, Mounted]) -> None:
    here, there = two_mounts
    ways = ("flock", "lockf")
    held = {how: (here.root / how).open("w+") for how in ways}
    for how, file in held.items():
        getattr(fcntl, how)(file, fcntl.LOCK_EX)
    (here.root / "deleted").write_bytes(DATA)
    with (here.root / "deleted").open("rb") as deleted:
        (there.root / "deleted").unlink()
        kill_worker(here)
        time.sleep(SILENCE_SECONDS)
        assert deleted.read() == DATA
    for how, file in held.items():
        assert is_locked(there.root / how, how)
        file.close()
        until(lambda how=how: not is_locked(there.root / how, how))
    assert "lost" not in here.story()


def test_what_is_done_once_is_done_once(two_mounts: tuple[Mounted, Mounted]) -> None:
    """Calls that fail when they are made twice, while workers are killed."""
    here, _ = two_mounts
    program = """
import os, sys
os.chdir(sys.argv[1])
number = 0
while not os.path.exists("stop"):
    number += 1
    os.mkdir("directory")
    os.close(os.open("file", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.link("file", "link")
    os.rename("file", "directory/moved")
    os.unlink("link")
    os.unlink("directory/moved")
    os.rmdir("directory")
print(number)
"""
    running = subprocess.Popen(
        [sys.executable, "-c", program, str(here.root)], stdout=subprocess.PIPE, text=True
    )
    for _ in range(6):
        time.sleep(0.7)
        kill_worker(here)
    assert running.poll() is None
    (here.root / "stop").touch()
    said, _ = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 0 and int(said) > 6


def test_a_lock_that_is_waited_for_is_got(two_mounts: tuple[Mounted, Mounted]) -> None:
    here, there = two_mounts
    path = here.root / "waited"
    path.touch()
    with (there.root / "waited").open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        program = "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f, fcntl.LOCK_EX)"
        waiting = subprocess.Popen([sys.executable, "-c", program, str(path)])
        time.sleep(1)
        kill_worker(here)
        assert waiting.poll() is None
        fcntl.lockf(file, fcntl.LOCK_UN)
        assert waiting.wait(PATIENCE_SECONDS) == 0
