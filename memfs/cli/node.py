"""``memfs node``: one node as a process, from its settings to the signal that ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memfs import logs
from memfs.cli.fields import settings_options
from memfs.cli.process import die_with_parent, stop_signals
from memfs.cli.shell import example_text, run_loop
from memfs.cli.supervisor import Supervisor
from memfs.config import GatewayConfig, NodeConfig, load

if TYPE_CHECKING:
    from memfs.node.server import Node

STOP_SECONDS = 20.0
"""Time to leave the cluster in good order; a second signal ends it at once."""


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
    **flags: Any,
) -> int:
    """Run one node of a cluster until SIGTERM or Ctrl-C.

    In production an etcd keeps the view of the cluster, and every node is told where it is:
    --coordinator etcd://h1:2379,h2:2379,h3:2379. Without one the first node keeps it (--coordinator
    embedded, the default) and the others join it (--join first:10500); it is then the one node that
    failover needs. Every flag is also a setting of the file and of the environment: --port is port
    in [node] and MEMFS_NODE_PORT.
    """
    if stop_with_parent:
        die_with_parent()
    if join is not None:
        if flags.get("coordinator"):
            raise click.UsageError("--join and --coordinator both say who keeps the view: give one")
        flags["coordinator"] = join if "://" in join else f"memfs://{join}"
    outer = (ctx.find_root().obj or {}).get("config")
    settings = load(NodeConfig, path=config or outer, flags=flags)
    logs.configure(settings.log_level, settings.log_format, constant={"node": settings.name})
    if settings.coordinator == "embedded":
        Path(settings.data_directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = load(GatewayConfig, path=config or outer) if gateway else None
    return run_loop(_serve(settings, beside))


async def _serve(settings: NodeConfig, beside: GatewayConfig | None) -> int:
    from memfs.node.server import Node
    from memfs.transport.environment import production_environment

    _calm_collector()
    supervisor = Supervisor()
    running = Node(settings, production_environment())
    stopping = stop_signals()
    if not await _started(running, stopping):
        return 0
    click.echo(f"memfs node {settings.name} ready: memfs://{running.endpoint}")
    supervisor.ready()
    async with _gateway_beside(running, beside):
        await _first(stopping, running.retired)
        supervisor.stopping()
    draining = settings.drain_seconds if settings.drain_blocks else 0.0
    async with asyncio.timeout(STOP_SECONDS + draining):
        await running.stop()
    return 0


@contextlib.asynccontextmanager
async def _gateway_beside(running: Node, settings: GatewayConfig | None) -> AsyncIterator[None]:
    """A gateway as a process of its own, which ends before the node."""
    if settings is None:
        yield
        return
    from memfs.cli.gateway import keep_running

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
