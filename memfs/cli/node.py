"""``memfs node``: one node as a process, from its settings to the signal that ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memfs import logs
from memfs.cli.fields import settings_options
from memfs.cli.shell import example_text, run_loop
from memfs.config import NodeConfig, load

if TYPE_CHECKING:
    from memfs.node.server import Node

STOP_SECONDS = 20.0
"""Time to leave the cluster in good order; a second signal ends it at once."""


@click.command(
    "node",
    epilog=example_text("memfs node --memory 8GiB --coordinator memfs://first:10500"),
)
@click.option("--config", metavar="FILE", help="Settings, instead of the usual files.")
@click.option("--stop-with-parent", is_flag=True, hidden=True)
@settings_options(NodeConfig)
@click.pass_context
def node(ctx: click.Context, /, config: str | None, stop_with_parent: bool, **flags: Any) -> int:
    """Run one node of a cluster until SIGTERM or Ctrl-C.

    The first node keeps the view of the cluster (--coordinator embedded, the default); the others
    are told its address. Every flag is also a setting of the file and of the environment:
    --port is port in [node] and MEMFS_NODE_PORT.
    """
    if stop_with_parent:
        _die_with_parent()
    outer = (ctx.find_root().obj or {}).get("config")
    settings = load(NodeConfig, path=config or outer, flags=flags)
    logs.configure(settings.log_level, settings.log_format, constant={"node": settings.name})
    if settings.coordinator == "embedded":
        Path(settings.data_directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    return run_loop(_serve(settings))


async def _serve(settings: NodeConfig) -> int:
    from memfs.node.server import Node
    from memfs.transport.environment import production_environment

    _calm_collector()
    running = Node(settings, production_environment())
    stopping = _stop_signals()
    if not await _started(running, stopping):
        return 0
    click.echo(f"memfs node {settings.name} ready: memfs://{running.endpoint}")
    await stopping.wait()
    async with asyncio.timeout(STOP_SECONDS):
        await running.stop()
    return 0


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


def _calm_collector() -> None:
    """Keep Python's cyclic collector away from what lives long.

    A full collection looks at every block and directory and stalls the loop: 150 ms with 200,000
    blocks. What a node keeps is freed by reference counts; cycles come from tasks and exceptions,
    which are young.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 1_000_000)


def _stop_signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the next one has its usual, immediate effect."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop() -> None:
        stopping.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stopping


def _die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the process that started this one is gone."""
    import ctypes

    set_parent_death_signal = 1
    with contextlib.suppress(AttributeError):  # a C library without prctl
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
