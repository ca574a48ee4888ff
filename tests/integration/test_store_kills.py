"""A node that is killed around each of its requests to an S3 server, with real processes.

A change goes through a proxy that kills the node right before the n-th request, or right after the
server has carried it out. n grows until the change is through without that request. After the
recovery each file is in the bucket exactly once, with its last content.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from memfs.client.blocking.entry import connect
from memfs.client.blocking.filesystem import FileSystem
from memfs.testing.processes import Processes
from tests.support.etcd import EtcdCluster
from tests.support.patience import PATIENCE_SECONDS, until
from tests.support.stores.counting import CountingProxy
from tests.support.stores.s3_servers import S3Server, moto, port_of

BUCKET = "bucket"
OLD, LAST = b"old" * 1000, b"last" * 1000
LARGE = random.Random(5).randbytes(20 << 20)
"""Sent in parts: beyond 16 MiB."""


class Place(NamedTuple):
    """A mounted bucket, whose store is reached through the proxy."""

    cluster: Processes
    fs: FileSystem
    s3: S3Server
    proxy: CountingProxy

    def restart(self, victim: int) -> None:
        """End a node by force and start it again, at once."""
        self.cluster.nodes[victim].kill()
        self.cluster.restart(victim)

    @property
    def is_dirty(self) -> bool:
        """Is there a change that the store lacks?"""
        return self.fs.mounts()[0].dirty_files > 0

    @property
    def primary(self) -> int:
        """Which node speaks with the store."""
        view = self.fs.cluster_status().view
        name = next(each.name for each in view.members if each.number == view.primary)
        return next(at for at, node in enumerate(self.cluster.nodes) if node.name == name)

    def objects(self, prefix: str) -> dict[str, bytes]:
        """What the bucket has there, asked by boto3."""
        listed = self.s3.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/")
        return {
            each["Key"].removeprefix(f"{prefix}/"): self.s3.client.get_object(
                Bucket=BUCKET, Key=each["Key"]
            )["Body"].read()
            for each in listed.get("Contents", ())
        }


def _mounted(cluster: Processes, running: ExitStack, directory: Path) -> Place:
    fs = running.enter_context(connect(cluster.url))
    server = running.enter_context(moto(directory))
    server.client.create_bucket(Bucket=BUCKET)
    proxy = running.enter_context(CountingProxy(port_of(server), _of_today))
    options = server.mount_options(directory) | {"endpoint": proxy.endpoint}
    fs.mount("/s", f"s3://{BUCKET}", options=options, sync_interval=600)
    return Place(cluster, fs, server, proxy)


@pytest.fixture(scope="module")
def failing_over(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Three nodes, of which another one takes over."""
    directory = tmp_path_factory.mktemp("three")
    with ExitStack() as running:
        etcd = running.enter_context(EtcdCluster(members=1))
        flags = ("--lease-seconds=1",)
        cluster = running.enter_context(Processes(3, coordinator=etcd.url, flags=flags))
        yield _mounted(cluster, running, directory)


@pytest.fixture(scope="module")
def coming_back(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One node with a journal, which goes on itself."""
    directory = tmp_path_factory.mktemp("one")
    flags = (f"--journal={directory / 'journal'}", "--journal-blocks", "--ack=journal")
    with ExitStack() as running:
        cluster = running.enter_context(Processes(1, replication=1, flags=flags))
        yield _mounted(cluster, running, directory)


def _of_today(answer: bytes) -> bytes:
    """moto says of every upload that it was begun in 2010, and memfs gives up what is so old."""
    now = f"<Initiated>{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}</Initiated>"
    return re.sub(rb"<Initiated>[^<]*</Initiated>", now.encode(), answer)


# --- the changes ---------------------------------------------------------------------------------


def small(fs: FileSystem, top: str) -> None:
    fs.write_bytes(f"{top}/old", LAST)


def multipart(fs: FileSystem, top: str) -> None:
    fs.write_bytes(f"{top}/old", LARGE)


def renamed(fs: FileSystem, top: str) -> None:
    """As checkpoints are written: over another object, which the store has."""
    fs.rename(f"{top}/part", f"{top}/old")


def deleted(fs: FileSystem, top: str) -> None:
    fs.remove(f"{top}/old")


Act = Callable[[FileSystem, str], None]
ACTS: dict[Act, tuple[dict[str, bytes], int]] = {
    small: ({"old": LAST, "other": OLD}, 1),
    multipart: ({"old": LARGE, "other": OLD}, 5),
    renamed: ({"old": LAST, "other": OLD}, 2),
    deleted: ({"other": OLD}, 1),
}
"""What is in the store in the end, and how many requests that takes at least."""


def killed_at(place: Place, act: Act, number: int, *, after: bool) -> bool:
    """Was there such a request? What is in the store after it all is compared."""
    prefix = f"{act.__name__}-{number}-{after}"
    top = f"/s/{prefix}"
    for name in ("old", "other"):
        place.s3.client.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=OLD)
    place.fs.sync_metadata("/s")
    assert place.fs.read_bytes(f"{top}/old") == OLD
    if act is renamed:
        place.fs.write_bytes(f"{top}/part", LAST)
        place.fs.persist(top)
    victim = place.primary
    place.proxy.set(number, lambda: place.restart(victim), after=after)
    act(place.fs, top)
    until(lambda: place.proxy.sprung or not place.is_dirty)
    sprung = place.proxy.sprung
    place.proxy.set(0, lambda: None)
    if sprung:
        place.cluster.nodes[victim].wait_ready(time.monotonic() + PATIENCE_SECONDS)
    place.fs.persist(top, timeout=PATIENCE_SECONDS)
    wanted, _ = ACTS[act]
    assert place.objects(prefix) == wanted
    assert {name: place.fs.read_bytes(f"{top}/{name}") for name in place.fs.listdir(top)} == wanted
    return sprung


@pytest.mark.parametrize(
    ("act", "number", "after"),
    [(small, 1, True), (multipart, 3, False), (renamed, 1, True), (deleted, 1, False)],
)
def test_a_kill_at_a_request_loses_nothing(
    coming_back: Place, act: Act, number: int, after: bool
) -> None:
    assert killed_at(coming_back, act, number, after=after)


@pytest.mark.nightly
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("recovery", ["coming_back", "failing_over"])
def test_a_kill_at_any_request_loses_nothing(
    request: pytest.FixtureRequest, recovery: str, act: Act, after: bool
) -> None:
    place: Place = request.getfixturevalue(recovery)
    number = 1
    while killed_at(place, act, number, after=after):
        number += 1
    _, least = ACTS[act]
    assert number > least, "the proxy sees the requests"
