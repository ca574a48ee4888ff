"""``memfs node``: one node as a process, from its settings to the signal that ends it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import logging
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from memfs import logs, machine
from memfs.cli import streams
from memfs.cli.cluster_client import run_loop
from memfs.cli.command import example_text
from memfs.cli.fields import settings_options
from memfs.cli.options import options_of
from memfs.cli.serve.process import die_with_parent, stop_signals, warn_insecure
from memfs.cli.serve.supervisor import Supervisor
from memfs.config import GatewayConfig, NodeConfig, load, resolve
from memfs.config.values import memory_left
from memfs.errors import ConfigError
from memfs.paths import Endpoint
from memfs.transport.disk import FileDisk
from memfs.transport.local_sockets import ACCESS, prepare_directory

if TYPE_CHECKING:
    from memfs.node.server import Node

log = logging.getLogger(__name__)

STOP_SECONDS = 20.0
"""Time for an orderly departure from the cluster; a second signal ends the process at once."""
TOGETHER = signal.SIGINT
"""The signal that a parent sends to all nodes at once: the whole cluster ends, so no node hands
over."""
HUSH_SECONDS = 0.1
"""Time for the signal to reach every node, so that none reports the others' end."""


@click.command(
    "node",
    epilog=example_text("memfs node --memory 8GiB --join first:10500"),
)
@click.option(
    "--join",
    metavar="HOST:PORT",
    help="Join the cluster that this node began: short for --coordinator memfs://HOST:PORT.",
)
@click.option("--config", metavar="FILE", help="Settings, instead of the usual files.")
@click.option("--gateway", is_flag=True, help="Run a gateway beside it, with [gateway].")
@click.option("--stop-with-parent", is_flag=True, hidden=True)
@settings_options(NodeConfig)
@click.pass_context
def node(
    ctx: click.Context,
    /,
    join: str | None,
    config: str | None,
    gateway: bool,
    stop_with_parent: bool,
    **flags: object,
) -> int:
    """Run one node of a cluster until SIGTERM or Ctrl-C.

    In production an etcd keeps the view of the cluster, and every node is told where it is:
    --coordinator etcd://h1:2379,h2:2379,h3:2379. Without one the first node keeps it (--coordinator
    embedded, the default) and the others join it (--join first:10500); it is then the one node that
    failover needs. Every flag is also a setting of the file and of the environment: --port is port
    in [node] and MEMFS_NODE_PORT.
    """
    streams.serve()
    if stop_with_parent:
        die_with_parent(TOGETHER)
    if join is not None:
        if flags.get("coordinator"):
            raise click.UsageError("--join and --coordinator both say who keeps the view: give one")
        flags["coordinator"] = join if "://" in join else f"memfs://{join}"
    outer = options_of(ctx.find_root()).config
    settings, origins = resolve(NodeConfig, path=config or outer, flags=flags)
    logs.configure(settings.log_level, settings.log_format, constant={"node": settings.name})
    if settings.insecure:
        warn_insecure(Endpoint(settings.host, settings.port))
    if settings.coordinator == "embedded":
        _make_data_directory(settings.data_directory)
    gateway_settings = load(GatewayConfig, path=config or outer) if gateway else None
    told = "memory" in origins
    return run_loop(_claim_and_serve(settings, told, gateway_settings, stop_with_parent))


def _warn_of_memory(limit: int) -> None:
    """Warn when blocks may use memory that the process needs: it could be killed for it."""
    usable = machine.usable_memory()
    if limit > memory_left(usable):
        log.warning(
            "memory leaves too little for the process: the kernel may kill this node",
            extra=logs.fields(memory=limit, usable=usable, advised=memory_left(usable)),
        )


def _make_data_directory(name: str) -> None:
    try:
        machine.make_private_directory(Path(name))
    except OSError as error:
        text = f"data_directory: cannot make {name}: {error.strerror}: say where with"
        raise ConfigError(f"{text} --data-directory") from None


async def _claim_and_serve(
    settings: NodeConfig, told: bool, gateway_settings: GatewayConfig | None, with_parent: bool
) -> int:
    """Serve, within a limit of memory that was ``told`` or is what other nodes leave."""
    from memfs.node.resources.claims import Claims

    claims = Claims(FileDisk(), _own_directory(settings), machine.memory_domains())
    memory = await claims.take(settings.name, settings.memory if told else None)
    _warn_of_memory(memory)
    try:
        settings = dataclasses.replace(settings, memory=memory)
        return await _serve(settings, gateway_settings, with_parent)
    finally:
        claims.release()


def _own_directory(settings: NodeConfig) -> str:
    """The directory of the sockets, made where it was not; empty: there is none that can be used,
    of which the listeners tell."""
    try:
        if settings.socket_directory:
            prepare_directory(Path(settings.socket_directory), ACCESS[settings.socket_access])
    except OSError:
        return ""
    return settings.socket_directory


async def _serve(
    settings: NodeConfig, gateway_settings: GatewayConfig | None, with_parent: bool
) -> int:
    from memfs.node.assembly import build_node, node_environment

    _calm_collector()
    supervisor = Supervisor()
    machine.tame_malloc()
    running = build_node(settings, node_environment(settings), footprint=machine.footprint)
    if settings.certificates:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, running.renew_certificates)
    together = False

    def noticed(number: int) -> None:
        nonlocal together
        together = with_parent and number == TOGETHER
        if together:
            logs.hush()

    stopping = stop_signals(noticed)
    if not await _started(running, stopping):
        return 0
    click.echo(f"memfs node {settings.name} ready: memfs://{running.endpoint}")
    supervisor.ready()
    async with _run_gateway(running, gateway_settings):
        await _first(stopping, running.retired)
        supervisor.stopping()
    if together:
        await asyncio.sleep(HUSH_SECONDS)
    draining = settings.drain_seconds if settings.drain_blocks else 0.0
    async with asyncio.timeout(STOP_SECONDS + draining):
        await running.stop(leave=not together)
    return 0


@contextlib.asynccontextmanager
async def _run_gateway(running: Node, settings: GatewayConfig | None) -> AsyncIterator[None]:
    """A gateway as a process of its own, which ends before the node."""
    if settings is None:
        yield
        return
    from memfs.cli.serve.gateway import keep_running

    keeping = asyncio.create_task(keep_running(settings, (running.endpoint,)), name="gateway")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def _started(running: Node, stopping: asyncio.Event) -> bool:
    """Start the node; False when a signal came first. Raises what starting raises."""
    starting = asyncio.create_task(running.start(), name="start")
    signalled = asyncio.create_task(stopping.wait(), name="signal")
    await asyncio.wait({starting, signalled}, return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    if starting.done():
        starting.result()
        return True
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    return False


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def _calm_collector() -> None:
    """Keep Python's cyclic collector away from what lives long.

    A full collection looks at every block and directory and stalls the loop: 150 ms with 200,000
    blocks. What a node keeps is freed by reference counts; cycles come from tasks and exceptions,
    which are young.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 1_000_000)
