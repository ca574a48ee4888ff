"""Real mounts for tests, beside directories of tmpfs that say what is right.

Every mount lies in a temporary directory of its test and is gone when the test ends, whatever
happened: detached, its processes ended by their own numbers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from memfs.fuse.kernel.mounting import mounts
from memfs.machine import module_command
from tests.support.patience import PATIENCE_SECONDS, until

MNT_DETACH = 2


def need_mounts() -> None:
    """Skip where nobody can mount; under CI that is a failure."""
    if os.geteuid() == 0 and os.access("/dev/fuse", os.W_OK):
        return
    told = "mounts were not tried: /dev/fuse and root are needed"
    if os.environ.get("CI"):
        pytest.fail(told)
    pytest.skip(told)


def fuse(*arguments: str, url: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``memfs fuse``."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("MEMFS_")}
    environment = own | {"MEMFS_CONFIG": os.devnull} | ({"MEMFS_URL": url} if url else {})
    return subprocess.run(
        [*module_command("memfs.cli"), "fuse", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


class Mounted:
    """A directory of a cluster as a directory."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root = root
        self.log = log

    def processes(self, word: str) -> list[int]:
        """Of this mount: those with ``word`` (keep or work) in their command line."""
        found = []
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                with contextlib.suppress(OSError):
                    line = (process / "cmdline").read_bytes().split(b"\0")
                    if word.encode() in line and any(
                        str(self.root).encode() in each for each in line
                    ):
                        found.append(int(process.name))
        return found

    def story(self) -> str:
        """What its processes logged."""
        return self.log.read_text() if self.log.exists() else ""


@contextlib.contextmanager
def mounted(
    url: str, directory: Path, *options: str, source: str = "/", monitoring_port: int = 0
) -> Iterator[Mounted]:
    """Mount, and in the end leave nothing behind."""
    root = directory / "mount"
    root.mkdir()
    here = Mounted(root, directory / "mount.log")
    chosen = ["-o", ",".join(options)] if options else []
    if monitoring_port:
        chosen.append(f"--monitoring-port={monitoring_port}")
    try:
        done = fuse("mount", *chosen, f"--log-file={here.log}", source, str(root), url=url)
        assert done.returncode == 0, done.stderr + here.story()
        yield here
    finally:
        end(here)


def end(here: Mounted) -> None:
    """Unmount, detach where somebody is still in it, and end what does not end by itself."""
    there = any(each.directory == str(here.root) for each in mounts())
    if there and fuse("umount", str(here.root)).returncode:
        ctypes.CDLL(None).umount2(os.fsencode(here.root), MNT_DETACH)
    last = time.monotonic() + PATIENCE_SECONDS
    while (left := here.processes("work") + here.processes("keep")) and time.monotonic() < last:
        time.sleep(0.05)
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert not left, f"processes {left} had to be killed:\n{here.story()}"


def kill_worker(here: Mounted) -> None:
    """Kill the worker; returns when another one serves."""
    (worker,) = here.processes("work")
    os.kill(worker, signal.SIGKILL)
    os.statvfs(here.root)
    until(lambda: here.processes("work") not in ([], [worker]))


@contextlib.contextmanager
def tmpfs(directory: Path) -> Iterator[Path]:
    """A tmpfs of its own: what a local disk does."""
    root = directory / "tmpfs"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(root)], check=True)
    try:
        yield root
    finally:
        ctypes.CDLL(None).umount2(os.fsencode(root), MNT_DETACH)
