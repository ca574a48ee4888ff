"""Three nodes and two gateways as processes, for Hadoop's clients."""

from __future__ import annotations

import getpass
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cli_cluster import COMMAND, clean_environment, free_ports, wait_for_output

import memfs
from memfs.client.sync import FileSystem
from memfs.testing.hadoop import failover_settings
from memfs.testing.processes import Processes

USER = getpass.getuser()
SERVICE = "memfs"
SETTINGS = {"io.file.buffer.size": "65536", "dfs.replication": "2"}


class Gateway:
    """One ``memfs gateway``."""

    def __init__(self, url: str, port: int = 0) -> None:
        self._url = url
        self.port = port or free_ports(1)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "gateway", f"--port={self.port}", "--no-find-peers"],
            stdout=subprocess.PIPE,
            env=clean_environment(MEMFS_URL=self._url),
            text=True,
        )
        wait_for_output(self.process, "gateway")
        deadline = time.monotonic() + 30.0
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
        self.process.wait(30)
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


@contextmanager
def site(directory: Path) -> Iterator[Site]:
    """Three nodes, two gateways."""
    with ExitStack() as stack:
        cluster = stack.enter_context(Processes(nodes=3, memory="512MiB", directory=directory))
        gateways = []
        for _ in range(2):
            gateways.append(Gateway(cluster.url))
            stack.callback(gateways[-1].end)
        native = stack.enter_context(memfs.connect(cluster.url))
        yield Site(cluster, gateways, native)
