"""How long nothing is acknowledged when something fails or is passed on: what clients wait.

Four nodes with two copies and an etcd on this machine, all settings at their defaults. One client
writes a 1,000-byte file again and again; the figure is the longest time between two of its
acknowledgements around an event, and the median over the rounds. The peer is the lease, without
which nobody may take over, or a fixed time. The table of ``docs/operations.md`` is made of this.
"""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import memfs
from benchmarks.harness import Row, Scale
from memfs.machine import module_command
from memfs.testing.processes import NodeProcess, Processes
from tests.support.etcd import EtcdCluster

NODES: Final = 4
LEASE_SECONDS: Final = 3.0
SMOKE_LEASE_SECONDS: Final = 0.5
CONTENT: Final = bytes(1000)
READY_SECONDS: Final = 60.0
AFTER_SECONDS: Final = 2.0
"""Watched beyond the event's own end."""


class Writer:
    """Writes one file again and again, and knows the longest time that it got no answer."""

    def __init__(self, url: str) -> None:
        self._fs = memfs.connect(url, timeout_seconds=READY_SECONDS)
        self._answered = time.monotonic()
        self._longest = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._fs.write_bytes("/paused", CONTENT)
            now = time.monotonic()
            self._longest = max(self._longest, now - self._answered)
            self._answered = now

    def longest(self, event: Callable[[], object]) -> float:
        """Seconds of the longest pause from the beginning of ``event`` until some time after."""
        self._answered, self._longest = time.monotonic(), 0.0
        event()
        end = time.monotonic() + AFTER_SECONDS
        while (now := time.monotonic()) < end or self._answered < end - AFTER_SECONDS:
            assert self._thread.is_alive(), "no write may fail"
            assert now < end + READY_SECONDS, "nothing is acknowledged any more"
            time.sleep(0.02)
        return self._longest

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(READY_SECONDS)
        self._fs.close()


class Site:
    """The cluster, what happens to it, and how it is made whole again."""

    def __init__(self, cluster: Processes, etcd: EtcdCluster, lease: float) -> None:
        self.cluster = cluster
        self.etcd = etcd
        self.lease = lease

    def primary(self) -> NodeProcess:
        return next(node for node in self.cluster.nodes if node.name == self._names()[0])

    def backup(self) -> NodeProcess:
        """One that is in sync."""
        return next(node for node in self.cluster.nodes if node.name == self._names()[1])

    def _names(self) -> list[str]:
        """The primary, then the others in sync."""
        with memfs.connect(self.cluster.url) as fs:
            view = fs.cluster_status().view
        names = {member.number: member.name for member in view.members}
        others = [number for number in view.in_sync if number != view.primary]
        return [names[number] for number in (view.primary, *others)]

    def command(self, *words: str) -> None:
        command = module_command("memfs.cli", "cluster", *words, f"--url={self.cluster.url}")
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=READY_SECONDS)

    def mend(self) -> None:
        """Start what ended, resume what stands still; returns when all is whole."""
        for index, node in enumerate(self.cluster.nodes):
            node.resume()
            if not node.running:
                self.cluster.restart(index).wait_ready(time.monotonic() + READY_SECONDS)
        for index in range(len(self.etcd.members)):
            self.etcd.resume(index)
        self.command("wait", f"--nodes={NODES}", "--no-moves")

    # --- events -------------------------------------------------------------------------------

    def hand_over(self) -> None:
        self.command("hand-over")

    def stop_primary(self) -> None:
        self.primary().stop()

    def restart_all(self) -> None:
        for index in range(NODES):
            self.cluster.nodes[index].stop()
            self.mend()

    def kill_backup(self) -> None:
        self.backup().kill()

    def kill_primary(self) -> None:
        self.primary().kill()

    def pause_primary(self) -> None:
        self.primary().pause()
        time.sleep(2 * self.lease)

    def stop_coordinator(self) -> None:
        for index in range(len(self.etcd.members)):
            self.etcd.pause(index)
        time.sleep(2 * self.lease)


EVENTS: Final[dict[str, tuple[Callable[[Site], None], float, float]]] = {
    "hand-over": (Site.hand_over, 0.0, 0.5),
    "SIGTERM of the primary": (Site.stop_primary, 0.0, 0.5),
    "all nodes restarted in turn": (Site.restart_all, 0.0, 2.0),
    "a backup killed": (Site.kill_backup, 0.0, 1.0),
    "the primary killed": (Site.kill_primary, 1.0, 1.5),
    "the primary paused": (Site.pause_primary, 1.0, 2.0),
    "the coordinator stopped": (Site.stop_coordinator, 0.0, 0.5),
}
"""By name: what happens, and what the pause should not exceed, in leases and seconds."""


def run(scale: Scale) -> Iterator[Row]:
    """One event after another, the cluster made whole in between."""
    lease = SMOKE_LEASE_SECONDS if scale.smoke else LEASE_SECONDS
    flags = [f"--lease-seconds={lease}"]
    with (
        EtcdCluster(1 if scale.smoke else 3) as etcd,
        Processes(NODES, flags=flags, coordinator=etcd.url) as cluster,
    ):
        site = Site(cluster, etcd, lease)
        site.mend()
        writer = Writer(cluster.url)
        try:
            for name, (event, leases, seconds) in EVENTS.items():
                if scale.smoke and event is Site.restart_all:
                    continue  # it is the others together
                pauses = []
                for _ in range(scale.rounds):
                    pauses.append(writer.longest(functools.partial(event, site)))
                    site.mend()
                shown = " ".join(f"{pause:.2f}" for pause in pauses)
                print(f"  {name}: {shown}", file=sys.stderr)
                bound = leases * lease + seconds
                peer = "lease + look-up" if leases else "fixed"
                median = statistics.median(pauses)
                yield Row(f"pause: {name}", "s", median, peer, bound, 1.0, lower_is_better=True)
        finally:
            writer.close()
