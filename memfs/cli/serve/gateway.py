"""``memfs gateway``: one gateway as a process, or several of them on one port."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from memfs import limits, logs
from memfs.cli import streams
from memfs.cli.cluster_client import run_loop
from memfs.cli.command import example_text
from memfs.cli.fields import settings_options
from memfs.cli.options import client_config, cluster_options, options_of, remember
from memfs.cli.serve.process import (
    die_with_parent,
    free_wreckage,
    give_freed_memory_back,
    keep_freed_memory,
    set_aside_what_lives_long,
    stop_signals,
    warn_insecure,
)
from memfs.cli.serve.supervisor import Supervisor
from memfs.config import ClientConfig, GatewayConfig, load
from memfs.machine import module_command
from memfs.paths import Endpoint
from memfs.quantities import counted

if TYPE_CHECKING:
    from memfs.gateway.workers import WorkerTotals

STOP_SECONDS = 20.0
RESTART_SECONDS = 1.0
"""Pause before a worker that ended is started again."""
WINDOW_BLOCKS = 2
"""Blocks in flight of each upload: there are many uploads."""


@click.command(
    "gateway",
    epilog=example_text("memfs gateway --url memfs://node1:10500 --workers 4"),
)
@cluster_options
@click.option("--stop-with-parent", is_flag=True, hidden=True)
@click.option("--worker", type=int, hidden=True)
@settings_options(GatewayConfig)
@click.pass_context
def gateway(
    ctx: click.Context, /, stop_with_parent: bool, worker: int | None, **flags: object
) -> int:
    """Serve WebHDFS until SIGTERM or Ctrl-C.

    Hadoop, Spark and whatever speaks their REST protocol find the cluster at
    webhdfs://HOST:9870/. Every flag is also a setting of the file and of the environment: --port is
    port in [gateway] and MEMFS_GATEWAY_PORT. The cluster is that of --url.
    """
    streams.serve()
    if stop_with_parent:
        die_with_parent()
    remember(ctx, flags)
    settings = load(GatewayConfig, path=options_of(ctx).config, flags=flags)
    client = _client(ctx)
    logs.configure(settings.log_level, settings.log_format)
    if settings.insecure:
        warn_insecure(Endpoint(settings.host, settings.port))
    if settings.workers > 1:
        return run_loop(_supervise(settings, client))
    return run_loop(_serve(settings, client, worker))


def _client(ctx: click.Context) -> ClientConfig:
    """The client settings of a gateway, which itself works on many files at once."""
    return dataclasses.replace(
        client_config(ctx), readahead_bytes=0, write_window_blocks=WINDOW_BLOCKS
    )


async def _serve(settings: GatewayConfig, client: ClientConfig, worker: int | None) -> int:
    """``worker``: descriptor of the socket to the process that shares the port out."""
    from memfs.gateway.server import Gateway
    from memfs.gateway.workers import WorkerLink

    supervisor = Supervisor()
    keep_freed_memory()
    link = None if worker is None else WorkerLink(socket.socket(fileno=worker))
    running = Gateway(settings, client, workers=link)
    stopping = stop_signals()
    await running.start()
    click.echo(f"memfs gateway ready: webhdfs://{running.endpoint}/")
    sys.stdout.flush()
    supervisor.ready()
    set_aside_what_lives_long()
    async with give_freed_memory_back(trim=free_wreckage):
        await stopping.wait()
    supervisor.stopping()
    async with asyncio.timeout(STOP_SECONDS):
        await running.stop()
    return 0


# --- several workers -----------------------------------------------------------------------------


async def _supervise(settings: GatewayConfig, client: ClientConfig) -> int:
    """Start the workers, start again what ends, and end with them."""
    from memfs.gateway.workers import WorkerTotals

    supervisor = Supervisor()
    stopping = stop_signals()
    with _reserved(settings.host, settings.port) as port:
        command = list(_command(dataclasses.replace(settings, port=port), client.endpoints, 1))
        totals = WorkerTotals()
        workers = [
            asyncio.create_task(_keep_worker(command, totals)) for _ in range(settings.workers)
        ]
        click.echo(f"memfs gateway with {counted(settings.workers, 'worker')} at port {port}")
        sys.stdout.flush()
        supervisor.ready()
        await stopping.wait()
        supervisor.stopping()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return 0


@contextlib.contextmanager
def _reserved(host: str, port: int) -> Iterator[int]:
    """A port that this process keeps bound and shares with the workers. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
        yield held.getsockname()[1]


async def keep_running(settings: GatewayConfig, cluster: tuple[Endpoint, ...]) -> None:
    """Keep a gateway process running, started again whenever it ends, until this is cancelled."""
    await _keep(list(_command(settings, cluster, settings.workers)))


def _command(settings: GatewayConfig, cluster: tuple[Endpoint, ...], workers: int) -> Iterator[str]:
    """A command line with every one of these settings."""
    yield from module_command("memfs.cli", "gateway", "--stop-with-parent")
    yield f"--url=memfs://{','.join(map(str, cluster))}"
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        flag = field.name.replace("_", "-")
        if field.name == "workers":
            yield f"--workers={workers}"
        elif isinstance(value, bool):
            yield f"--{flag}" if value else f"--no-{flag}"
        else:
            yield f"--{flag}={','.join(value) if isinstance(value, tuple) else value}"


async def _keep_worker(command: list[str], totals: WorkerTotals) -> None:
    """Keep one worker process running until this is cancelled; ``totals`` adds up its metrics."""
    while True:
        ours, theirs = socket.socketpair()
        counting = asyncio.create_task(totals.serve(ours))
        try:
            with theirs:
                number = theirs.fileno()
                process = await asyncio.create_subprocess_exec(
                    *command, f"--worker={number}", pass_fds=[number], start_new_session=True
                )
            await _ended(process)
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
        await asyncio.sleep(RESTART_SECONDS)


async def _keep(command: list[str]) -> None:
    """Keep a process running until this is cancelled."""
    while True:
        await _ended(await asyncio.create_subprocess_exec(*command, start_new_session=True))
        await asyncio.sleep(RESTART_SECONDS)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for a gateway's end, and say it; end it when this is cancelled."""
    try:
        await process.wait()
    except asyncio.CancelledError:
        process.send_signal(signal.SIGTERM)
        await process.wait()
        raise
    click.echo(f"memfs: a gateway ended with status {process.returncode}", err=True)


assert WINDOW_BLOCKS * limits.BLOCK_BYTES_MAX <= limits.GIB
