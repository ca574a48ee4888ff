"""A cluster of real ``memfs node`` processes on loopback, for tests and trials.

Owns their start, their logs and their end; each is stopped by its own pid. Needs no event loop:
use it with ``with``, from anywhere. Invariant: no process outlives the ``with`` block.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from memfs.config import MONITORING_OFFSET
from memfs.machine import module_command
from memfs.testing.ports import free_port
from memfs.testing.started import Started

READY_SECONDS = 240.0
"""Long, since the machine may be busy."""
STOP_SECONDS = 60.0
_LOG_TAIL = 4_000
_FIRST = "node-1"
"""Keeps the coordinator, unless there is another."""


class Place(NamedTuple):
    """The place in which a node runs."""

    address: str = "127.0.0.1"
    port: int = 0
    """0: any free one, another one after every start."""
    command: tuple[str, ...] = ()
    """What runs a command there, such as ``ip netns exec NAME``."""


class NodeProcess:
    """One ``memfs node``."""

    def __init__(
        self, name: str, log: Path, arguments: Sequence[str], *, command: Sequence[str] = ()
    ) -> None:
        """Start it. Args: ``log``, where its stderr goes, after what is there; ``arguments``,
        its flags; ``command``, what runs it."""
        self.name = name
        self.log = log
        self.url = ""
        self.paused = False
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [*command, *module_command("memfs.cli", "node", f"--name={name}"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={"MEMFS_NODE_STANDARD_DIRECTORIES": "false"}
                | os.environ
                | {"PYTHONFAULTHANDLER": "1"},
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
        """Wait until it serves. Raises RuntimeError with its log when it does not."""
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

    def pause(self) -> None:
        """Stop it without ending it (SIGSTOP)."""
        self.paused = True
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self.paused = False
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it like a crash (SIGKILL)."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        self._close()

    def abort(self) -> None:
        """End it with the stacks of its threads in its log (SIGABRT): what it was doing."""
        self.resume()
        self.signal(signal.SIGABRT)
        self._process.wait()
        self._close()

    def stop(self) -> int:
        """End it in good order (SIGTERM), by force if that takes too long; its exit status."""
        self.resume()
        self.signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"{self.name} ignored SIGTERM; its log:\n{self.story()}") from None
        finally:
            self._close()

    def wait_ended(self, seconds: float) -> int:
        """Wait until it ends by itself; returns its exit status. Raises RuntimeError with its
        log."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{self.name} still runs; its log:\n{self.story()}") from None
        finally:
            if not self.running:
                self._close()

    def _close(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()


class Processes(Started):
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
        coordinator: str = "",
        monitoring: bool = False,
    ) -> None:
        """Args: ``memory`` of every node, empty: what it takes by itself; ``directory`` for logs
        and sockets, by default a temporary one that is removed; ``flags``, further flags of every
        node; ``coordinator``, by default kept by the first node; ``monitoring``, whether they
        serve metrics (:meth:`monitoring_url`)."""
        self.nodes: list[NodeProcess] = []
        self.directory = directory or Path(tempfile.mkdtemp(prefix="memfs-test-"))
        self._temporary = directory is None
        self._count = nodes
        self._coordinator = coordinator
        self._monitoring = monitoring
        self._places: dict[str, Place] = {}
        limit = [f"--memory={memory}"] if memory else []
        self._flags = [f"--replication={replication}", *limit, *flags]

    @property
    def url(self) -> str:
        """Of all nodes that serve, for ``memfs.connect`` and ``MEMFS_URL``."""
        alive = [
            node.url.removeprefix("memfs://") for node in self.nodes if node.running and node.url
        ]
        return "memfs://" + ",".join(alive)

    def set_up(self) -> None:
        """Start the nodes, and wait until they serve."""
        deadline = time.monotonic() + READY_SECONDS
        self.start_node().wait_ready(deadline)
        others = [self.start_node() for _ in range(self._count - 1)]
        for node in others:
            node.wait_ready(deadline)

    def start_node(self) -> NodeProcess:
        """Start one more node, without waiting for it."""
        name = f"node-{len(self.nodes) + 1}"
        self._places[name] = self.place(name)
        self.nodes.append(self._launch(name))
        return self.nodes[-1]

    def restart(self, index: int) -> NodeProcess:
        """Start a node that has ended once more: same name and address, new incarnation."""
        node = self.nodes[index]
        assert not node.running, f"{node.name} still runs"
        self.nodes[index] = self._launch(node.name)
        return self.nodes[index]

    def place(self, name: str) -> Place:
        """Where a new node will run: here, at a port that is free now."""
        return Place(port=free_port())

    def flags_of(self, name: str) -> list[str]:
        """The flags of this node only."""
        return []

    def _launch(self, name: str) -> NodeProcess:
        place = self._places[name]
        keeper = f"--coordinator={self._coordinator or 'embedded'}"
        if name != _FIRST and not self._coordinator:
            keeper = f"--join={self.nodes[0].url.removeprefix('memfs://')}"
        settings = [
            f"--host={place.address}",
            f"--port={place.port}",
            f"--monitoring-port={0 if self._monitoring else -1}",
            keeper,
            f"--data-directory={self.directory / name}",
            f"--socket-directory={self.directory / 'sockets'}",
            f"--domain=test/{name}",
            *(["--insecure"] if place.address != "127.0.0.1" else []),
        ]
        arguments = [*settings, *self._flags, *self.flags_of(name)]
        log = self.directory / f"{name}.log"
        return NodeProcess(name, log, arguments, command=place.command)

    def monitoring_url(self, name: str) -> str:
        """Of the node's ``/metrics`` and ``/readyz``."""
        return f"http://{self._places[name].address}:{self._places[name].port + MONITORING_OFFSET}"

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
