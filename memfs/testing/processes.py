"""A cluster of real ``memfs node`` processes on loopback, for tests and trials.

Owns their start, their logs and their end; each is stopped by its own pid. Needs no event loop:
use it with ``with``, from anywhere. Invariant: no process outlives the ``with`` block.
"""

from __future__ import annotations

import contextlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

READY_SECONDS = 30.0
STOP_SECONDS = 15.0
_LOG_TAIL = 4_000


class NodeProcess:
    """One ``memfs node``."""

    def __init__(self, name: str, log: Path, arguments: Sequence[str]) -> None:
        """Start it. Args: ``log``, where its stderr goes; ``arguments``, its flags."""
        self.name = name
        self.log = log
        self.url = ""
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "memfs.cli", "node", f"--name={name}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait_ready(self, deadline: float) -> None:
        """Until it says that it serves. Raises RuntimeError with its log when it does not."""
        assert self._process.stdout is not None
        text = b""
        while b"\n" not in text:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, left))
            piece = self._process.stdout.read1(4096) if ready else b""  # type: ignore[attr-defined]
            if not piece:
                raise RuntimeError(f"{self.name} is not ready; its log:\n{self.story()}")
            text += piece
        self.url = text.decode().split()[-1]

    def story(self) -> str:
        """The end of its log."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_text(errors="replace")[-_LOG_TAIL:]
        return ""

    def signal(self, number: int) -> None:
        """Send it a signal if it still runs."""
        if self.running:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it like a crash (SIGKILL)."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        self._close()

    def stop(self) -> int:
        """End it in good order (SIGTERM), by force if that takes too long; its exit status."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"{self.name} ignored SIGTERM; its log:\n{self.story()}") from None
        finally:
            self._close()

    def _close(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()


class Processes:
    """A cluster of processes: ``with Processes(nodes=3) as cluster: memfs.connect(cluster.url)``.

    When the block ends with an exception the ends of all logs are added to it as a note.
    """

    def __init__(
        self,
        nodes: int = 3,
        *,
        replication: int = 2,
        memory: str = "256MiB",
        directory: Path | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """Args: ``directory`` for logs and sockets, by default a temporary one that is removed;
        ``flags``, further flags of every node."""
        self.nodes: list[NodeProcess] = []
        self.directory = directory or Path(tempfile.mkdtemp(prefix="memfs-test-"))
        self._temporary = directory is None
        self._count = nodes
        self._flags = [f"--replication={replication}", f"--memory={memory}", *flags]

    @property
    def url(self) -> str:
        """Of all nodes that run, for ``memfs.connect`` and ``MEMFS_URL``."""
        alive = [node.url.removeprefix("memfs://") for node in self.nodes if node.running]
        return "memfs://" + ",".join(alive)

    def __enter__(self) -> Processes:
        deadline = time.monotonic() + READY_SECONDS
        try:
            self.start_node().wait_ready(deadline)
            others = [self.start_node() for _ in range(self._count - 1)]
            for node in others:
                node.wait_ready(deadline)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(self.story())
        self.close()

    def start_node(self) -> NodeProcess:
        """Start one more node; the first one keeps the coordinator."""
        name = f"node-{len(self.nodes) + 1}"
        coordinator = self.nodes[0].url if self.nodes else "embedded"
        settings = [
            "--host=127.0.0.1",
            "--port=0",
            "--monitoring-port=-1",
            f"--coordinator={coordinator}",
            f"--data-directory={self.directory / name}",
            f"--socket-directory={self.directory / 'sockets'}",
            f"--domain=test/{name}",
        ]
        node = NodeProcess(name, self.directory / f"{name}.log", [*settings, *self._flags])
        self.nodes.append(node)
        return node

    def story(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"--- {node.name}\n{node.story()}" for node in self.nodes)

    def close(self) -> None:
        """Kill what runs (there is nothing to keep) and remove the temporary directory."""
        for node in self.nodes:
            if node.running:
                node.signal(signal.SIGCONT)
            node.kill()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)
