"""Nothing of a benchmark outlives it: processes, mounts and files are gone on every way out.

SIGTERM and SIGHUP end a run as Ctrl-C does, so that each benchmark takes down what it has made.
What a run that was killed leaves behind, a guard ends: a process of its own, which waits for the
end of a pipe that only the run holds open. All processes of a run have its mark in their
environment, all its mounts and files lie in one directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

MARK = "BENCHMARKS_DIRECTORY"
"""In the environment of all processes of a run: its directory."""
PATIENCE_SECONDS = 20.0
_MNT_DETACH = 2


@contextlib.contextmanager
def guarded() -> Iterator[Path]:
    """Around a run: the directory in which its temporary files lie."""
    directory = Path(tempfile.mkdtemp(prefix="mb-"))  # short: paths of sockets lie below it
    held, kept = os.pipe()
    command = [sys.executable, "-m", "benchmarks.guard", str(directory)]
    guard = subprocess.Popen(command, stdin=held, start_new_session=True)
    os.close(held)
    os.environ[MARK] = os.environ["TMPDIR"] = tempfile.tempdir = str(directory)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        yield directory
    finally:
        os.close(kept)
        guard.wait(3 * PATIENCE_SECONDS)


def _end(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: what was made is being taken down
    sys.exit(128 + number)


def clear(directory: Path) -> None:
    """End what a run has left: its mounts, its processes, its directory."""
    for point in reversed(mounts_below(directory)):
        ctypes.CDLL(None).umount2(os.fsencode(point), _MNT_DETACH)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes_of(directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        until = time.monotonic() + PATIENCE_SECONDS
        while processes_of(directory) and time.monotonic() < until:
            time.sleep(0.05)
    shutil.rmtree(directory, ignore_errors=True)


def mounts_below(directory: Path) -> list[str]:
    """Where something is mounted below a directory, in the order of mounting."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [point for point in points if Path(point).is_relative_to(directory)]


def processes_of(directory: Path) -> list[int]:
    """All processes that began with the mark of a run in their environment, but this one."""
    mark = f"{MARK}={directory}".encode()
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
    return found


if __name__ == "__main__":
    sys.stdin.buffer.read()
    clear(Path(sys.argv[1]))
