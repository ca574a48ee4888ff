"""``memfs dev``: a whole cluster on this machine, as processes that live as long as the command."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from memfs.cli.options import Quantity, client_config
from memfs.cli.shell import connected, example_text, run_loop
from memfs.config import MONITORING_OFFSET, ClientConfig
from memfs.errors import RetryableError
from memfs.paths import DEFAULT_PORT, Endpoint
from memfs.quantities import parse_size

START_SECONDS = 30.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
NODES_MAX = 64
SHORT_BYTES = 40


class Plan(NamedTuple):
    """What to start."""

    nodes: int
    port: int
    memory: str
    replication: int
    log_level: str
    directory: Path
    """Holds the sockets, and the coordinator's log unless ``data`` does."""
    data: Path
    keep: bool
    """Journals in ``data``: a restart of the command finds everything."""

    @property
    def first(self) -> Endpoint:
        """The node with the coordinator."""
        return Endpoint("127.0.0.1", self.port)


class Child(NamedTuple):
    """One node's process."""

    name: str
    process: asyncio.subprocess.Process


@click.command("dev", epilog=example_text("memfs dev --nodes 3 --memory 1GiB"))
@click.option("--nodes", type=click.IntRange(1, NODES_MAX), default=1, show_default=True)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port of the first node; the others take the next ones.",
)
@click.option(
    "--memory",
    type=Quantity("size", parse_size),
    help="Limit of each node [default: half of the RAM, shared out].",
)
@click.option("--replication", type=click.IntRange(1, 8), help="Copies [default: 2 if possible].")
@click.option("--data", metavar="DIR", help="Keep everything on disk there, for the next time.")
@click.option("--log-level", default="warning", show_default=True)
@click.pass_context
def dev(
    ctx: click.Context,
    /,
    nodes: int,
    port: int,
    memory: int | None,
    replication: int | None,
    data: str | None,
    log_level: str,
) -> int:
    """Run a cluster of several nodes on this machine until Ctrl-C.

    What it holds is in memory only, and gone when it stops, unless --data is given: then every
    write is on disk before it is acknowledged.
    """
    if port + nodes - 1 > 65535:
        raise click.UsageError("the ports of the nodes would exceed 65535")
    client = client_config(ctx)
    with _directory() as directory:
        plan = Plan(
            nodes=nodes,
            port=port,
            memory=str(memory) if memory else f"{50 / nodes:.2f}%",
            replication=replication or min(2, nodes),
            log_level=log_level,
            directory=directory,
            data=Path(data).absolute() if data else directory,
            keep=bool(data),
        )
        return run_loop(_run(plan, client))


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """A short path, since a socket's name has at most 107 bytes."""
    usual = tempfile.gettempdir()
    parent = usual if len(usual) <= SHORT_BYTES else "/tmp"
    path = Path(tempfile.mkdtemp(prefix="memfs-dev-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


async def _run(plan: Plan, client: ClientConfig) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    children: list[Child] = []
    try:
        for index in range(plan.nodes):
            children.append(await _spawn(plan, index))
        return await _watch(plan, client, children, stopping)
    finally:
        await _stop(children)


async def _spawn(plan: Plan, index: int) -> Child:
    """Start a node in a session of its own: Ctrl-C reaches it through this process only."""
    name = f"node-{index + 1}"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "memfs.cli", "node", "--stop-with-parent"),
        *_flags(plan, index, name),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    return Child(name, process)


def _flags(plan: Plan, index: int, name: str) -> Iterator[str]:
    settings = {
        "name": name,
        "host": plan.first.host,
        "port": plan.port + index,
        "advertise-host": plan.first.host,
        "coordinator": f"memfs://{plan.first}" if index else "embedded",
        "data-directory": plan.data / name,
        "socket-directory": plan.directory / name,
        "domain": f"dev/{name}",
        "memory": plan.memory,
        "replication": plan.replication,
        "log-level": plan.log_level,
    }
    yield from (f"--{key}={value}" for key, value in settings.items())
    if plan.keep:
        yield from (f"--journal={plan.data / name / 'journal'}", "--journal-blocks")
        yield "--ack=journal"


async def _watch(
    plan: Plan, client: ClientConfig, children: Sequence[Child], stopping: asyncio.Event
) -> int:
    """Wait for the cluster, then for the end of it."""
    stopped = asyncio.create_task(stopping.wait(), name="signal")
    ready = asyncio.create_task(_wait_ready(plan, client), name="ready")
    exits: dict[asyncio.Task[Any], Child] = {
        asyncio.create_task(each.process.wait()): each for each in children
    }
    try:
        pending: set[asyncio.Task[Any]] = {stopped, ready, *exits}
        while exits:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if stopped in done:
                return 0
            if ready in done:
                ready.result()
                _introduce(plan)
            dead = [exits.pop(task) for task in done if task in exits]
            for child in dead:
                _report(child, len(exits), plan.nodes)
            if dead and not ready.done():
                return 1
        return 1
    finally:
        for task in (stopped, ready, *exits):
            task.cancel()
        await asyncio.gather(stopped, ready, *exits, return_exceptions=True)


async def _wait_ready(plan: Plan, client: ClientConfig) -> None:
    """Until every node is a member. Raises what the last try raised when that takes too long."""
    import dataclasses

    config = dataclasses.replace(client, endpoints=(plan.first,), timeout_seconds=START_SECONDS)
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    complete = False
    while not complete:
        complete = await _complete(config, plan.nodes, deadline)


async def _complete(config: ClientConfig, nodes: int, deadline: float) -> bool:
    """Whether all are members, after a moment's wait if they are not."""
    try:
        async with connected(config) as (fs, _):
            if len((await fs.cluster_status()).view.members) >= nodes:
                return True
    except RetryableError:
        if asyncio.get_running_loop().time() > deadline:
            raise
    await asyncio.sleep(POLL_SECONDS)
    return False


def _introduce(plan: Plan) -> None:
    url = f"memfs://{plan.first}"
    count = "1 node is" if plan.nodes == 1 else f"{plan.nodes} nodes are"
    click.echo(f"{count} up at {url}, {plan.replication} copies of each block")
    for index in range(plan.nodes):
        port = plan.port + index
        metrics = f"http://127.0.0.1:{port + MONITORING_OFFSET}/metrics"
        click.echo(f"  node-{index + 1}  127.0.0.1:{port}  {metrics}")
    click.echo("\nIn another terminal:")
    if plan.port != DEFAULT_PORT:
        click.echo(f"  export MEMFS_URL={url}")
    click.echo("  memfs put -r DIRECTORY /here && memfs ls -l /here")
    click.echo("  memfs cluster status")
    kept = f"kept in {plan.data}" if plan.keep else "then gone"
    click.echo(f"Ctrl-C stops the cluster; its files are {kept}.")


def _report(child: Child, left: int, of: int) -> None:
    status = child.process.returncode or 0
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    click.echo(
        f"memfs: {child.name} (process {child.process.pid}) {how}; {left} of {of} nodes left",
        err=True,
    )


async def _stop(children: Sequence[Child]) -> None:
    """All at once, so that none takes the others' end for a loss; then by force."""
    running = [child.process for child in children if child.process.returncode is None]
    for process in running:
        process.terminate()
    ends = asyncio.gather(*(process.wait() for process in running))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(ends), STOP_SECONDS)
    for process in running:
        if process.returncode is None:
            process.kill()
    await ends
