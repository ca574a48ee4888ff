"""A real ``memfs dev`` cluster, and the command run against it: in this process, and as one."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from memfs.cli.main import run
from memfs.machine import module_command
from memfs.testing.ports import free_port
from tests.support.patience import PATIENCE_SECONDS

COMMAND = module_command("memfs.cli")


class Cluster(NamedTuple):
    """A running ``memfs dev``."""

    process: subprocess.Popen[str]
    port: int
    said: Path
    """What it wrote to stderr."""
    temporary: Path
    """Where its own temporary files are: a short path, for sockets."""

    @property
    def url(self) -> str:
        return f"memfs://127.0.0.1:{self.port}"

    def nodes(self) -> dict[str, int]:
        """Names of its node processes to their pids."""
        found: dict[str, int] = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for pid in (task / "children").read_text().split():
                for argument in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    if argument.startswith(b"--name="):
                        found[argument[7:].decode()] = int(pid)
        return found

    def stop(self) -> int:
        """Ctrl-C; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_SECONDS)


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without settings of memfs."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MEMFS_")}
    own = {"MEMFS_CONFIG": os.devnull, "MEMFS_NODE_STANDARD_DIRECTORIES": "false"}
    return kept | own | more


@contextlib.contextmanager
def dev_cluster(
    directory: Path,
    *arguments: str,
    nodes: int = 3,
    command: Sequence[str] = COMMAND,
    **environment: str,
) -> Iterator[Cluster]:
    """``memfs dev``, ready; stopped at the end. ``command`` runs ``memfs``."""
    port = free_port(nodes)
    said = directory / "dev.stderr"
    temporary = Path(tempfile.mkdtemp(prefix="memfs-test-"))
    with said.open("w") as stderr:
        process = subprocess.Popen(
            [*command, "dev", f"--nodes={nodes}", f"--port={port}", *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=directory,
            env=clean_environment(TMPDIR=str(temporary), **environment),
            text=True,
        )
    cluster = Cluster(process, port, said, temporary)
    try:
        wait_for_output(process, "up at")
        yield cluster
    finally:
        cluster.stop()
        assert process.stdout is not None
        process.stdout.close()
        shutil.rmtree(temporary)


def wait_for_output(process: subprocess.Popen[str], text: str) -> str:
    """What the process printed until ``text`` appeared."""
    assert process.stdout is not None
    seen, deadline = "", time.monotonic() + PATIENCE_SECONDS
    while text not in seen:
        ready, _, _ = select.select([process.stdout], [], [], deadline - time.monotonic())
        piece = os.read(process.stdout.fileno(), 4096).decode() if ready else ""
        assert piece, f"{text!r} did not appear in {seen!r}"
        seen += piece
    return seen


def start(url: str, *arguments: str, **pipes: object) -> subprocess.Popen[bytes]:
    """A ``memfs`` process."""
    environment = clean_environment(MEMFS_URL=url)
    return subprocess.Popen([*COMMAND, *arguments], env=environment, **pipes)  # type: ignore[call-overload, no-any-return]


def execute(
    url: str, arguments: Sequence[str], given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run ``memfs`` as a process of its own."""
    return subprocess.run(
        [*COMMAND, *arguments],
        input=given,
        capture_output=True,
        env=clean_environment(MEMFS_URL=url),
        timeout=PATIENCE_SECONDS,
    )


class Outcome(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Command:
    """``memfs`` in this process: the same code, without the start of an interpreter."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str) -> Outcome:
        status = run(arguments)
        found = self._capture.readouterr()
        return Outcome(status, found.out, found.err)

    def ok(self, *arguments: str) -> list[str]:
        """Lines of a run that must succeed in silence."""
        found = self(*arguments)
        assert (found.status, found.err) == (0, ""), found
        return found.lines

    def fails(self, *arguments: str) -> list[str]:
        """The errors of a run that must fail with 1."""
        found = self(*arguments)
        assert found.status == 1, found
        return found.err.splitlines()
