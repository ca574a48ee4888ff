"""Three nodes and two gateways as processes, for Hadoop's clients; any of them may be killed."""

from __future__ import annotations

import getpass
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cli_cluster import COMMAND, clean_environment, execute, wait_for_output

import memfs
from memfs.client.blocking.filesystem import FileSystem
from memfs.testing.ports import free_port
from memfs.testing.processes import NodeProcess, Processes
from tests.support.etcd import EtcdCluster
from tests.support.hadoop import failover_settings
from tests.support.patience import PATIENCE_SECONDS

USER = getpass.getuser()
SERVICE = "memfs"
MEND_SECONDS = 50.0
SETTINGS = {"io.file.buffer.size": "65536", "dfs.replication": "2"}


class Gateway:
    """One ``memfs gateway``."""

    def __init__(self, url: str, port: int = 0) -> None:
        self._url = url
        self.port = port or free_port(1)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "gateway", f"--port={self.port}", "--no-find-peers"],
            stdout=subprocess.PIPE,
            env=clean_environment(MEMFS_URL=self._url),
            text=True,
        )
        try:
            wait_for_output(self.process, "gateway")
            self._wait_ready(time.monotonic() + PATIENCE_SECONDS)
        except BaseException:
            self.end(crash=True)
            raise

    def _wait_ready(self, deadline: float) -> None:
        while not self._ready():
            assert time.monotonic() < deadline, "the gateway does not become ready"
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                return True
        except OSError:
            return False

    def end(self, *, crash: bool = False) -> None:
        """Stop it, like a crash or in good order."""
        assert self.process.stdout is not None
        if crash:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)
        self.process.stdout.close()


class Site:
    """A cluster, its gateways and the native client beside them."""

    def __init__(self, cluster: Processes, gateways: list[Gateway], native: FileSystem) -> None:
        self.cluster = cluster
        self.gateways = gateways
        self.native = native

    @property
    def url(self) -> str:
        """Of the first gateway."""
        return f"webhdfs://127.0.0.1:{self.gateways[0].port}"

    @property
    def settings(self) -> dict[str, str]:
        """Of clients for which ``webhdfs://memfs/`` is both gateways."""
        first, second = (gateway.port for gateway in self.gateways)
        return SETTINGS | failover_settings(SERVICE, {"a": first, "b": second})

    def node(self, *, primary: bool) -> NodeProcess:
        """The one with the primary's role, or another one."""
        leader = next(each.name for each in self.native.view.members if self._leads(each.number))
        return next(each for each in self.cluster.nodes if (each.name == leader) == primary)

    def _leads(self, number: int) -> bool:
        return number == self.native.view.primary

    def mend(self) -> None:
        """Start the nodes that have ended again and wait until nothing lacks a copy."""
        for index, node in enumerate(self.cluster.nodes):
            if not node.running:
                self.cluster.restart(index).wait_ready(time.monotonic() + MEND_SECONDS)
        wait = ["cluster", "wait", "--nodes=3", "--no-moves", f"--timeout={MEND_SECONDS:g}s"]
        waited = execute(self.cluster.url, wait)
        assert waited.returncode == 0, waited


@contextmanager
def site(directory: Path) -> Iterator[Site]:
    """Three nodes with an etcd, two gateways."""
    with ExitStack() as stack:
        etcd = stack.enter_context(EtcdCluster(1))
        coordinator = f"{etcd.url}/{directory.name}"
        cluster = stack.enter_context(
            Processes(nodes=3, memory="1GiB", directory=directory, coordinator=coordinator)
        )
        gateways = []
        for _ in range(2):
            gateways.append(Gateway(cluster.url))
            stack.callback(gateways[-1].end)
        native = stack.enter_context(memfs.connect(cluster.url))
        yield Site(cluster, gateways, native)
