"""The process that serves a mount: it connects to the cluster, receives the descriptor, and serves.
Owns the process's life between its keeper, if any, and the kernel. Invariant: it is connected
before the directory becomes a mount, so that the user who mounts sees the error.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from memfs.client.connect import open_session
from memfs.client.inodes import InodeOperations
from memfs.client.session.succession import go_on
from memfs.config import ClientConfig
from memfs.errors import MemfsError, NotDirectoryError, UnsupportedError
from memfs.fuse.channel import Channel
from memfs.fuse.kernel.mounting import MountError
from memfs.fuse.kernel.negotiation import Agreement
from memfs.fuse.ledger import MountLedger
from memfs.fuse.mount import MountSession
from memfs.fuse.mounted_tree import MountedTree
from memfs.fuse.options import MountOptions
from memfs.fuse.server import FuseServer
from memfs.monitoring.metrics import Metrics
from memfs.paths import Endpoint
from memfs.transport.environment import Environment
from memfs.types import FileKind

if TYPE_CHECKING:
    from memfs.monitoring.http_server import Monitoring

log = logging.getLogger(__name__)


async def connect(
    config: ClientConfig,
    options: MountOptions,
    path: str,
    ledger: MountLedger,
    environment: Environment | None = None,
) -> MountSession:
    """The mount of a directory of the cluster, which goes on where the ledger ends.

    Raises what connecting raises, NotDirectoryError.
    """
    former = ledger.former()
    session = await open_session(
        replace(config, timeout_seconds=options.timeout),
        environment,
        client=former.client if former is not None else None,
        process=os.getppid(),  # the same for all workers
    )
    session.primary.ids.noted = ledger.note
    ledger.begin(session.client)
    try:
        errands = await go_on(session, former) if former is not None else {}
        found = await InodeOperations(session).find(path)
        if found.kind != FileKind.DIRECTORY:
            raise NotDirectoryError("a mount shows a directory", path=path)
    except UnsupportedError as error:
        log.warning("locks and deleted files that are open are lost: %s", error)
        await session.close()
        ledger.clear()
        return await connect(config, options, path, ledger, environment)
    except BaseException:
        await session.close(goodbye=former is None)
        raise
    mount = MountSession(MountedTree(session, found.inode), options, ledger)
    try:
        await mount.go_on(errands)
    except BaseException:
        await mount.watch.close()
        await session.close(goodbye=False)
        raise
    return mount


async def serve(
    config: ClientConfig,
    options: MountOptions,
    path: str,
    channel: Channel,
    stopping: asyncio.Event,
    monitoring_port: int = 0,
) -> int:
    """Serve the descriptor that comes over ``channel`` until the mount ends or ``stopping``.

    ``monitoring_port``: of ``/metrics`` on loopback, 0: none. Returns the exit status: 0 when the
    mount has ended, or is to end.
    """
    watched = Watched(monitoring_port)
    try:
        await watched.start()
        mount = await connect(config, options, path, await _ledger(channel))
    except (MemfsError, OSError) as error:
        await watched.stop()
        channel.send("failed", text=str(error))
        return 1
    try:
        channel.send("connected")
        return await _serve(mount, channel, stopping, watched)
    finally:
        await watched.stop()


async def _ledger(channel: Channel) -> MountLedger:
    """What the keeper has for this worker."""
    loop = asyncio.get_running_loop()
    said, descriptor = await loop.run_in_executor(None, channel.receive)
    if descriptor is None:
        raise MountError(f"the keeper says {said.get('kind')!r} and gives no ledger")
    try:
        return MountLedger.of_descriptor(descriptor)
    finally:
        os.close(descriptor)


class Watched:
    """The metrics of a mount."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._monitoring: Monitoring | None = None
        self._server: FuseServer | None = None
        self.metrics = Metrics() if port else None

    async def start(self) -> None:
        """Listen, if a port was given. Raises ConfigError when the port is taken."""
        if self.metrics is not None:
            from memfs.monitoring.http_server import Monitoring  # aiohttp takes its time

            endpoint = Endpoint("127.0.0.1", self._port)
            self._monitoring = Monitoring(endpoint, self.metrics, self._not_ready)
            await self._monitoring.start()

    def show(self, server: FuseServer) -> None:
        """Set the server whose state is shown."""
        self._server = server
        if self.metrics is not None:
            mount = server.mount
            self.metrics.bind(
                mount_open_files=lambda: len(mount.files),
                mount_waiting_requests=lambda: server.waiting,
                mount_known_inodes=lambda: len(mount.known),
            )

    def _not_ready(self) -> str:
        return "" if self._server is not None and self._server.ready.is_set() else "not mounted yet"

    async def stop(self) -> None:
        """Stop listening."""
        if self._monitoring is not None:
            await self._monitoring.stop()


async def _serve(
    mount: MountSession, channel: Channel, stopping: asyncio.Event, watched: Watched
) -> int:
    loop = asyncio.get_running_loop()
    said, fd = await loop.run_in_executor(None, channel.receive)
    if fd is None:
        await mount.close()
        return 0
    server = FuseServer(fd, mount, watched.metrics)
    watched.show(server)
    if said.get("agreement"):
        server.take_over(Agreement.of_text(said["agreement"]))
    else:
        server.start()
    reporting = asyncio.create_task(_report(server, channel))
    await _first(server.ended, stopping)
    reporting.cancel()
    await server.close()
    return 0


async def _report(server: FuseServer, channel: Channel) -> None:
    """Tell the keeper that it serves, or why it does not."""
    await _first(server.ready, server.ended)
    if server.agreement is not None:
        channel.send("ready", agreement=server.agreement.text())
    else:
        channel.send("failed", text=server.trouble or "the mount ended at once")


async def _first(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
