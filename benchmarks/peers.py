"""Start and stop the other processes of a benchmark.

Owns child processes and free ports; knows nothing of what they do. Its invariant: a process
started here is gone when its ``with`` ends, also after an error.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.debian import program

STOP_SECONDS = 10.0


class MissingPeerError(Exception):
    """A program that a benchmark compares with is not installed and could not be."""


class PeerDiedError(Exception):
    """A process of a benchmark ended, or did not answer, before it was ready."""


@contextmanager
def process(command: Sequence[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` while the body runs; its output goes to a file shown when it fails."""
    with TemporaryDirectory(prefix="memfs-bench-") as directory:
        log = Path(directory, "log")
        with log.open("wb") as output:
            child = subprocess.Popen(
                command, env=os.environ | environment, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            yield child
        except PeerDiedError as error:
            error.add_note(f"{' '.join(command)}:\n{log.read_text(errors='replace')[-4000:]}")
            raise
        finally:
            _stop(child)


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def wait_until(
    ready: Callable[[], bool], child: subprocess.Popen[bytes], *, timeout: float = 30.0
) -> None:
    """Poll ``ready`` until it is true; a :class:`PeerDiedError` when ``child`` ends first."""
    deadline = time.monotonic() + timeout
    while not ready():
        if child.poll() is not None:
            raise PeerDiedError(f"exited with code {child.returncode} before it was ready")
        if time.monotonic() > deadline:
            raise PeerDiedError(f"not ready after {timeout:g} s")
        time.sleep(0.02)


def listening(port: int) -> bool:
    """Tell whether somebody accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def install(name: str, package: str) -> str:
    """The path of a peer's program, installed from Debian's ``package`` when it is missing."""
    try:
        return program(name, package)
    except RuntimeError as error:
        raise MissingPeerError(f"{name} is missing: install the package {package}") from error
