"""``memfs gateway``: one gateway as a process, or several of them on one port."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import click

from memfs import limits, logs
from memfs.cli.fields import settings_options
from memfs.cli.options import client_config, cluster_options, remember
from memfs.cli.process import die_with_parent, keep_freed_memory, stop_signals
from memfs.cli.shell import example_text, run_loop
from memfs.cli.supervisor import Supervisor
from memfs.config import ClientConfig, GatewayConfig, load
from memfs.paths import Endpoint

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
@click.option("--share-port", is_flag=True, hidden=True)
@settings_options(GatewayConfig)
@click.pass_context
def gateway(ctx: click.Context, /, stop_with_parent: bool, share_port: bool, **flags: Any) -> int:
    """Serve WebHDFS until SIGTERM or Ctrl-C.

    Hadoop, Spark and whatever speaks their REST protocol find the cluster at
    webhdfs://HOST:9870/. Every flag is also a setting of the file and of the environment: --port is
    port in [gateway] and MEMFS_GATEWAY_PORT. The cluster is that of --url.
    """
    if stop_with_parent:
        die_with_parent()
    remember(ctx, {key: flags.pop(key) for key in ("url", "user", "config")})
    settings = load(GatewayConfig, path=ctx.obj.get("config"), flags=flags)
    client = _client(ctx)
    logs.configure(settings.log_level, settings.log_format)
    if settings.workers > 1:
        return run_loop(_supervise(settings, client))
    return run_loop(_serve(settings, client, share_port))


def _client(ctx: click.Context) -> ClientConfig:
    """How a gateway reads and writes: it pipelines by itself, and for many files at once."""
    return dataclasses.replace(
        client_config(ctx), readahead_bytes=0, write_window_blocks=WINDOW_BLOCKS
    )


async def _serve(settings: GatewayConfig, client: ClientConfig, share_port: bool) -> int:
    from memfs.gateway.server import Gateway

    supervisor = Supervisor()
    keep_freed_memory()
    running = Gateway(settings, client)
    stopping = stop_signals()
    await running.start(share_port=share_port)
    click.echo(f"memfs gateway ready: webhdfs://{running.endpoint}/")
    sys.stdout.flush()
    supervisor.ready()
    await stopping.wait()
    supervisor.stopping()
    async with asyncio.timeout(STOP_SECONDS):
        await running.stop()
    return 0


# --- several workers -----------------------------------------------------------------------------


async def _supervise(settings: GatewayConfig, client: ClientConfig) -> int:
    """Start the workers, start again what ends, and end with them."""
    supervisor = Supervisor()
    stopping = stop_signals()
    with _reserved(settings.host, settings.port) as port:
        command = list(_command(dataclasses.replace(settings, port=port), client.endpoints, 1))
        command.append("--share-port")
        workers = [asyncio.create_task(_keep(command)) for _ in range(settings.workers)]
        click.echo(f"memfs gateway with {settings.workers} workers at port {port}")
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
    """A port that stays this process's, to be shared with the workers. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
        yield held.getsockname()[1]


async def keep_running(settings: GatewayConfig, cluster: tuple[Endpoint, ...]) -> None:
    """A gateway as a process of its own, started again when it ends, until this is cancelled."""
    await _keep(list(_command(settings, cluster, settings.workers)))


def _command(settings: GatewayConfig, cluster: tuple[Endpoint, ...], workers: int) -> Iterator[str]:
    """A command line with these settings, each one said."""
    yield from (sys.executable, "-m", "memfs.cli", "gateway", "--stop-with-parent")
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


async def _keep(command: list[str]) -> None:
    """One worker, again and again until this is cancelled."""
    while True:
        process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
        try:
            await process.wait()
        except asyncio.CancelledError:
            process.send_signal(signal.SIGTERM)
            await process.wait()
            raise
        click.echo(f"memfs: a gateway ended with status {process.returncode}", err=True)
        await asyncio.sleep(RESTART_SECONDS)


assert WINDOW_BLOCKS * limits.BLOCK_BYTES_MAX <= limits.GIB
