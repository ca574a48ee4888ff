"""The cluster that the nemesis torments: node processes, etcd members, and the links between them.

Owns the processes and the namespaces they run in, and the primitive acts: kill, pause, restart,
cut, slow. Must not know which fault comes when. Invariant: after :meth:`FaultyCluster.heal` every
node runs, nothing is paused and every link works.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import memfs
from memfs.client.blocking.filesystem import FileSystem
from memfs.config import NodeConfig
from memfs.errors import MemfsError
from memfs.limits import NAMESPACE_COPIES
from memfs.machine import module_command
from memfs.paths import Endpoint
from memfs.protocol.messages import StatusReply
from memfs.testing.processes import READY_SECONDS, NodeProcess, Place, Processes
from tests.support.debian import cache_directory
from tests.support.etcd import EtcdCluster, EtcdMember
from tests.support.etcd_package import etcd_binaries
from tests.support.hosts import Hosts
from tests.support.proxy import Proxy

NODE_PORT = 10500
ETCD_PORT, PEER_PORT = 2379, 2380
JOURNAL_DISK = "600m"
"""Room for a journal: more than ``journal_ratio`` times what a node may hold."""
_DISK_PREFIX = "memfs-journal-"
_ETCD_FLAGS = ("--heartbeat-interval=100", "--election-timeout=1500")
_ASK_SECONDS = 3.0
_COMMAND_SECONDS = 300.0
HEALTHY_LOOKS = 3
"""Looks in a row that must find nothing missing: between two steps of healing one may."""


class NotHealthyError(RuntimeError):
    """The cluster did not come back in time."""


class HostedEtcd(EtcdCluster):
    """etcd members, each on a host of its own."""

    def __init__(self, hosts: Hosts, members: int = 3) -> None:
        """Nothing runs before the ``with`` block."""
        self._binaries = etcd_binaries()
        self._certificates = None
        self._temporary = True
        self.directory = Path(tempfile.mkdtemp(prefix="etcd-", dir=cache_directory()))
        names = [f"etcd-{number + 1}" for number in range(members)]
        placed = [hosts.add(name) for name in names]
        peers = {host.name: f"http://{host.address}:{PEER_PORT}" for host in placed}
        self.members = []
        for host in placed:
            endpoint = Endpoint(host.address, ETCD_PORT)
            member = self._member(host.name, peers, endpoint, _ETCD_FLAGS)
            command = [*host.command, *member._command]
            self.members.append(EtcdMember(host.name, command, member._log, endpoint))


class FaultyCluster(Processes):
    """``with FaultyCluster(hosts=...) as cluster``; ``hosts`` None: loopback, behind proxies."""

    def __init__(
        self,
        nodes: int = 5,
        *,
        replication: int = 3,
        memory: str = "160MiB",
        hosts: Hosts | None = None,
        etcd: EtcdCluster,
        directory: Path | None = None,
        flags: Sequence[str] = (),
        journal: bool = False,
    ) -> None:
        """Args: ``etcd`` runs already, on the same hosts; ``journal``, nodes keep one."""
        super().__init__(
            nodes,
            replication=replication,
            memory=memory,
            directory=directory,
            flags=("--stop-with-parent", *_fast_flags(), *flags),
            coordinator=etcd.url,
        )
        self.hosts = hosts
        self.etcd = etcd
        self.replication = replication
        self.journal = journal
        self.proxies: dict[str, Proxy] = {}
        self.disks: dict[str, Path] = {}
        """Where the journals lie that have a disk of their own."""
        self.expected = nodes
        """Nodes that the cluster has when it is healthy."""
        self.missed = ""
        """What fsck last found in :meth:`wait_copied` before it was content."""
        self._fs: FileSystem | None = None

    # --- life --------------------------------------------------------------------------------

    def set_up(self) -> None:
        """Start the nodes, and wait until the cluster is whole."""
        _sweep_disks()
        super().set_up()
        self.wait_healthy(READY_SECONDS)

    def place(self, name: str) -> Place:
        """A host of its own, or a port behind a proxy."""
        if self.hosts is not None:
            host = self.hosts.add(name)
            return Place(host.address, NODE_PORT, host.command)
        place = super().place(name)
        self.proxies[name] = proxy = Proxy(Endpoint(place.address, place.port))
        proxy.set_up()
        return place

    def flags_of(self, name: str) -> list[str]:
        """Clients and nodes reach it through its proxy."""
        own = self._journal_flags(name) if self.journal else []
        if name not in self.proxies:
            return own
        endpoint = self.proxies[name].endpoint
        return [*own, f"--advertise-host={endpoint.host}", f"--advertise-port={endpoint.port}"]

    def _journal_flags(self, name: str) -> list[str]:
        """A journal of everything; with namespaces, and so root, on a small disk of its own."""
        directory = self.directory / name / "journal"
        if self.hosts is not None and name not in self.disks:
            directory.mkdir(parents=True)
            source = f"{_DISK_PREFIX}{os.getpid()}"
            options = ["-t", "tmpfs", "-o", f"size={JOURNAL_DISK}", source, str(directory)]
            subprocess.run(["mount", *options], check=True, capture_output=True)
            self.disks[name] = directory
        return [f"--journal={directory}", "--journal-blocks", "--ack=journal"]

    def close(self) -> None:
        """Say goodbye if the cluster hears it, then end all that this cluster started."""
        if self._fs is not None:
            fs, self._fs = self._fs, None
            with contextlib.suppress(MemfsError):
                fs.close()
        for node in self.nodes:
            node.resume()
            node.kill()
        self._unmount(*self.disks)
        super().close()
        for proxy in self.proxies.values():
            proxy.close()
        self.proxies.clear()

    def _unmount(self, *names: str) -> None:
        for name in names:
            if (disk := self.disks.pop(name, None)) is not None:
                subprocess.run(["umount", str(disk)], check=False, capture_output=True)

    # --- looking -----------------------------------------------------------------------------

    @property
    def fs(self) -> FileSystem:
        """A client of the nemesis itself."""
        if self._fs is None:
            self._fs = memfs.connect(self.url, local_descriptors=False, timeout_seconds=20)
        return self._fs

    def node(self, name: str) -> NodeProcess:
        """By name."""
        return self.nodes[self._index(name)]

    @property
    def names(self) -> list[str]:
        """Of the nodes that run."""
        return [node.name for node in self.nodes if node.running]

    def primary(self) -> str:
        """Name of the primary as far as the nemesis knows; a running node in any case."""
        with contextlib.suppress(MemfsError):
            self.status()
        view = self.fs.view
        found = [m.name for m in view.members if m.number == view.primary and m.name in self.names]
        return found[0] if found else self.names[0]

    def in_sync(self) -> list[str]:
        """Names of the members in sync, the primary among them."""
        with contextlib.suppress(MemfsError):
            self.status()
        view = self.fs.view
        return [m.name for m in view.members if m.number in view.in_sync and m.name in self.names]

    def status(self) -> StatusReply:
        """What ``memfs cluster status`` shows. Raises MemfsError."""
        return self.fs.cluster_status(timeout=_ASK_SECONDS)

    def unhealthy(self) -> str:
        """What is missing to health, empty: nothing."""
        try:
            found = self.status()
        except MemfsError as error:
            return f"no status: {error}"
        alive = sum(node.alive for node in found.nodes)
        in_sync = sum(node.in_sync for node in found.nodes)
        if alive != self.expected or len(found.nodes) != self.expected:
            return f"{alive} of {len(found.nodes)} members alive, {self.expected} expected"
        if in_sync < min(NAMESPACE_COPIES, self.expected):
            return f"{in_sync} in sync"
        return _unhealed(found)

    def wait_healthy(self, seconds: float) -> float:
        """Until all nodes are members, enough are in sync and no copy is missing; how long.

        Raises NotHealthyError.
        """
        began = time.monotonic()
        looks = 0
        while looks < HEALTHY_LOOKS:
            reason = self.unhealthy()
            looks = 0 if reason else looks + 1
            if reason and time.monotonic() - began > seconds:
                raise NotHealthyError(f"after {seconds:.0f} s: {reason}")
            time.sleep(0.25)
        return time.monotonic() - began

    def wait_copied(self, seconds: float) -> float:
        """Until fsck finds every block on as many living members as it should be; how long.

        The status tells what the last look at all blocks found; the next fault may destroy R-1
        copies, so it is not believed. Raises NotHealthyError.
        """
        began = time.monotonic()
        self.missed = ""
        while True:
            clean, text = self.fsck(verify=False)
            if clean:
                return time.monotonic() - began
            self.missed = text
            if time.monotonic() - began > seconds:
                raise NotHealthyError(f"after {seconds:.0f} s fsck says: {text[-1500:]}")
            time.sleep(0.5)

    def fsck(self, *, verify: bool = True) -> tuple[bool, str]:
        """Verdict and output of ``memfs fsck``; ``verify``: every copy is read."""
        status, text = self._command("fsck", *(["--verify"] if verify else []), "/")
        return status == 0, text

    def _command(self, *arguments: str) -> tuple[int, str]:
        """Exit status and output of the ``memfs`` command."""
        done = subprocess.run(
            module_command("memfs.cli", "--url", self.url, *arguments),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_COMMAND_SECONDS,
        )
        return done.returncode, (done.stderr + done.stdout).strip()

    # --- acts on nodes -----------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.node(name).kill()

    def revive(self, name: str, *, wait: bool = True) -> None:
        """Start a node that ended; ``wait`` until it serves."""
        node = self.restart(self._index(name))
        if wait:
            node.wait_ready(time.monotonic() + READY_SECONDS)

    def heal(self) -> None:
        """Undo everything."""
        if self.hosts is not None:
            self.hosts.heal()
        for proxy in self.proxies.values():
            proxy.heal()
        for member in self.etcd.members:
            if not member.running:
                member.start()
            elif member.paused:
                member.resume()
        for node in self.nodes:
            if node.running and node.paused:
                node.resume()
        for node in list(self.nodes):
            if not node.running:
                self.revive(node.name)
            elif not node.url:  # it was started and not waited for
                node.wait_ready(time.monotonic() + READY_SECONDS)

    def add(self) -> str:
        """One more node."""
        node = self.start_node()
        node.wait_ready(time.monotonic() + READY_SECONDS)
        self.expected += 1
        return node.name

    def remove(self, name: str) -> None:
        """Forget a node that has left in good order."""
        assert not self.node(name).running, f"{name} still runs"
        del self.nodes[self._index(name)]
        self._unmount(name)
        self.expected -= 1

    def begin_decommission(self, name: str) -> None:
        """Have a node give up all that it holds. Raises RuntimeError when that is refused."""
        status, text = self._command("cluster", "decommission", "--no-wait", name)
        if status:
            raise RuntimeError(f"the decommission of {name} was refused: {text}")

    def end_decommission(self, name: str, seconds: float) -> None:
        """Until the node has left and ended by itself. Raises RuntimeError when it does not."""
        try:
            status = self.node(name).wait_ended(seconds)
        except RuntimeError:
            self._command("cluster", "decommission", "--cancel", name)
            raise
        self.remove(name)
        if status:
            raise RuntimeError(f"{name} was decommissioned and ended with status {status}")

    def start_node(self) -> NodeProcess:
        """As Processes; names are not used again."""
        taken = {node.name for node in self.nodes} | set(self._places)
        name = next(n for n in map("node-{}".format, range(1, 1000)) if n not in taken)
        self._places[name] = self.place(name)
        self.nodes.append(self._launch(name))
        return self.nodes[-1]

    def _index(self, name: str) -> int:
        return next(index for index, node in enumerate(self.nodes) if node.name == name)

    # --- acts on links -----------------------------------------------------------------------

    @property
    def etcd_names(self) -> list[str]:
        """Of etcd's hosts."""
        return [member.name for member in self.etcd.members]

    def others(self, *names: str) -> list[str]:
        """All hosts but these, etcd's included."""
        return [each for each in (*self.names, *self.etcd_names) if each not in names]

    def hold(self, seconds: float) -> None:
        """Let the fault last."""
        time.sleep(seconds)


def _sweep_disks() -> None:
    """Unmount what runs left that did not end in good order."""
    for line in Path("/proc/mounts").read_text().splitlines():
        source, where, *_ = line.split()
        pid = source.removeprefix(_DISK_PREFIX)
        if source != pid and not Path(f"/proc/{pid}").exists():
            subprocess.run(["umount", where], check=False, capture_output=True)


def _unhealed(found: StatusReply) -> str:
    """What the cluster says is still to be copied."""
    healing = found.healing
    if sum(healing.endangered) or healing.corrupt:
        return f"{sum(healing.endangered)} blocks below their copies, {healing.corrupt} corrupt"
    return "the primary looks for missing copies" if healing.state == "scanning" else ""


def _fast_flags() -> list[str]:
    """Settings that make a death a matter of seconds."""
    wanted = {
        "heartbeat_seconds": "0.5",
        "member_timeout_seconds": "3",
        "session_timeout_seconds": "20",
        "orphan_sweep_seconds": "20",
        "lease_seconds": "3",
        "removal_seconds": "10",
        "block_size": "256KiB",
        "group_blocks": "8",
        "socket_directory": "",
    }
    known = {field.name for field in dataclasses.fields(NodeConfig)}
    return [f"--{n.replace('_', '-')}={v}" for n, v in wanted.items() if n in known]
