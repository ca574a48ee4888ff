"""``memfs dev``: a whole cluster on this machine, as processes that live as long as the command."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from memfs.cli import streams
from memfs.cli.cluster_client import connected, run_loop
from memfs.cli.command import Failed, example_text
from memfs.cli.options import Quantity, WholeNumber, client_config
from memfs.cli.serve.certificates import make_certificates
from memfs.cli.serve.dev_nodes import Nodes
from memfs.config import MONITORING_OFFSET, ClientConfig
from memfs.errors import RetryableError, UnavailableError
from memfs.machine import module_command
from memfs.paths import DEFAULT_PORT, Endpoint
from memfs.quantities import counted, parse_size
from memfs.security.certificate_files import usual_certificates
from memfs.transport.disk import ProcessLock

if TYPE_CHECKING:
    from memfs.client.admin import StatusReply

START_SECONDS = 30.0
ORPHAN_SECONDS = 30.0
"""Time for the nodes of a killed run to end; they need a fraction of a second."""
POLL_SECONDS = 0.05
NODES_MAX = 64
PREFIX, LOCK = "memfs-dev-", "dev.lock"
SHORT_BYTES = 40


class DevPlan(NamedTuple):
    """What to start."""

    nodes: int
    port: int
    monitoring_port: int
    memory: str
    replication: int
    log_level: str
    directory: Path
    """The directory of the sockets, and of the coordinator's log without ``data``."""
    data: Path
    keep: bool
    """Journals in ``data``: a restart of the command finds everything."""
    secure: bool = False
    """Nodes and clients prove who they are."""

    @property
    def certificates(self) -> Path:
        """The directory of this cluster's own authority, if it is ``secure``."""
        return self.data / "certs"

    @property
    def first(self) -> Endpoint:
        """The node with the coordinator."""
        return Endpoint("127.0.0.1", self.port)

    def ports(self) -> Iterator[tuple[int, str]]:
        """Every port that is taken, and the flag that chooses it."""
        yield from ((self.port + index, "--port") for index in range(self.nodes))
        first = self.monitoring_port
        yield from ((first + index, "--monitoring-port") for index in range(self.nodes))


@click.command("dev", epilog=example_text("memfs dev --nodes 3 --memory 1GiB"))
@click.option("--nodes", type=WholeNumber(1, NODES_MAX), default=1, show_default=True)
@click.option(
    "--port",
    type=WholeNumber(1, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port of the first node; the others take the next ones.",
)
@click.option(
    "--monitoring-port",
    type=WholeNumber(1, 65535),
    help="Port of the first node's /metrics; the others take the next ones "
    f"[default: --port plus {MONITORING_OFFSET}].",
)
@click.option(
    "--memory",
    type=Quantity("size", parse_size),
    help="Limit of each node [default: half of the RAM, shared out].",
)
@click.option("--replication", type=WholeNumber(1, 8), help="Copies [default: 2 if possible].")
@click.option("--data", metavar="DIR", help="Keep everything on disk there, for the next time.")
@click.option("--secure", is_flag=True, help="TLS and certificates, made here: try them out.")
@click.option("--log-level", default="warning", show_default=True)
@click.pass_context
def dev(
    ctx: click.Context,
    /,
    nodes: int,
    port: int,
    monitoring_port: int | None,
    memory: int | None,
    replication: int | None,
    data: str | None,
    secure: bool,
    log_level: str,
) -> int:
    """Run a cluster of several nodes on this machine until Ctrl-C.

    What it holds is in memory only, and gone when it stops, unless --data is given: then every
    write is on disk before it is acknowledged. A node that dies is started again. Each node takes
    two ports: one for clients and nodes, one for /metrics.
    """
    streams.serve()
    client = client_config(ctx)
    with _directory() as directory:
        plan = DevPlan(
            nodes=nodes,
            port=port,
            monitoring_port=monitoring_port or port + MONITORING_OFFSET,
            memory=str(memory) if memory else f"{50 / nodes:.2f}%",
            replication=replication or min(2, nodes),
            log_level=log_level,
            directory=directory,
            data=Path(data).absolute() if data else directory,
            keep=bool(data),
            secure=secure,
        )
        with _data_of_its_own(plan):
            _check_ports(plan)
            if secure:
                make_certificates(plan.certificates, ("127.0.0.1", "::1", "localhost"), client.user)
            certificates = str(plan.certificates) if secure else ""
            return run_loop(_run(plan, dataclasses.replace(client, certificates=certificates)))


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """A short path, since a socket's name has at most 107 bytes.

    It is locked while it is used: those of runs that were killed are removed by the next one.
    """
    usual = tempfile.gettempdir()
    parent = usual if len(usual) <= SHORT_BYTES else "/tmp"
    for former in Path(parent).glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):  # another user's
            if not _is_held(former):
                shutil.rmtree(former.parent, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = ProcessLock.acquire(str(path / LOCK))
    assert lock is not None, "a new directory is nobody else's"
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        lock.release()


@contextlib.contextmanager
def _data_of_its_own(plan: DevPlan) -> Iterator[None]:
    """Lock the data directory, once the processes of an earlier run have ended."""
    if not plan.keep:
        yield
        return
    plan.data.mkdir(parents=True, exist_ok=True)
    own = ProcessLock.acquire(str(plan.data / LOCK))
    if own is None:
        raise click.ClickException(f"--data: another memfs dev uses {plan.data}")
    try:
        _wait_for_orphans(plan.data)
        yield
    finally:
        own.release()


def _wait_for_orphans(data: Path) -> None:
    """A run that was killed leaves nodes behind, which hold their journals until they have ended.

    Raises ClickException when they do not end.
    """
    told, deadline = False, time.monotonic() + ORPHAN_SECONDS
    while held := [lock for lock in sorted(data.glob("*/journal/lock")) if _is_held(lock)]:
        names = ", ".join(lock.parent.parent.name for lock in held)
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"--data: {names} of an earlier run still holds the journal in {data}: end it"
            )
        if not told:
            click.echo(f"memfs: waiting for the end of {names}, left by an earlier run", err=True)
            told = True
        time.sleep(POLL_SECONDS)


def _is_held(path: Path) -> bool:
    lock = ProcessLock.acquire(str(path))
    if lock is not None:
        lock.release()
    return lock is None


def _check_ports(plan: DevPlan) -> None:
    """Say at once which port is taken, and which option chooses it. Raises click's errors."""
    taken: set[int] = set()
    for port, flag in plan.ports():
        if port > 65535:
            raise click.UsageError(f"port {port} exceeds 65535: choose others with {flag}")
        if port in taken:
            raise click.UsageError(f"port {port} is wanted twice: choose others with {flag}")
        taken.add(port)
        try:
            with socket.create_server((plan.first.host, port)):
                pass
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise click.ClickException(
                f"cannot listen on {plan.first.host}:{port}: {why}; choose other ports with {flag}"
            ) from error


async def _run(plan: DevPlan, client: ClientConfig) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    nodes = Nodes(dict(_commands(plan)))
    try:
        await nodes.start()
        return await _watch(plan, client, nodes, stopping)
    except Failed:
        return 1
    finally:
        await nodes.stop()


def _commands(plan: DevPlan) -> Iterator[tuple[str, list[str]]]:
    for index in range(plan.nodes):
        name = f"node-{index + 1}"
        flags = _flags(plan, index, name)
        yield name, module_command("memfs.cli", "node", "--stop-with-parent", *flags)


def _flags(plan: DevPlan, index: int, name: str) -> Iterator[str]:
    settings = {
        "name": name,
        "host": plan.first.host,
        "port": plan.port + index,
        "monitoring-port": plan.monitoring_port + index,
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
    if plan.secure:
        yield f"--certificates={plan.certificates}"
        yield "--authentication=certificate,key,token"
    if plan.keep:
        yield from (f"--journal={plan.data / name / 'journal'}", "--journal-blocks")
        yield "--ack=journal"


async def _watch(plan: DevPlan, client: ClientConfig, nodes: Nodes, stopping: asyncio.Event) -> int:
    """Wait until the cluster serves, then until it ends."""
    stopped = asyncio.create_task(stopping.wait(), name="signal")
    ready = asyncio.create_task(_wait_ready(plan, client), name="ready")
    kept = asyncio.create_task(nodes.keep(), name="nodes")
    try:
        pending = {stopped, ready, kept}
        while True:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if stopped in done:
                return 0
            if kept in done:
                kept.result()
                return 1
            ready.result()
            _introduce(plan)
    finally:
        for task in (stopped, ready, kept):
            task.cancel()
        await asyncio.gather(stopped, ready, kept, return_exceptions=True)


async def _wait_ready(plan: DevPlan, client: ClientConfig) -> None:
    """Wait until the cluster consists of this run's nodes and serves. Raises the error of the last
    attempt when that takes too long.
    """
    config = dataclasses.replace(client, endpoints=(plan.first,), timeout_seconds=START_SECONDS)
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    missing = "no node answers"
    while missing:
        if asyncio.get_running_loop().time() > deadline:
            raise UnavailableError(f"the cluster is not up after {START_SECONDS:g} s: {missing}")
        try:
            async with connected(config) as (fs, _):
                missing = _missing(plan, await fs.cluster_status())
        except RetryableError as error:
            missing = error.message
        await asyncio.sleep(POLL_SECONDS * bool(missing))


def _missing(plan: DevPlan, found: StatusReply) -> str:
    """Why the cluster is not complete yet; empty: it is.

    A member of an earlier run has its socket elsewhere than in this run's own directory.
    """
    alive = [node.member for node in found.nodes if node.alive]
    own = {member.name for member in alive if _is_below(member.socket, plan.directory)}
    absent = [name for name, _ in _commands(plan) if name not in own]
    return f"{', '.join(absent)} has not joined" if absent else found.unavailable_reason


def _is_below(path: str, directory: Path) -> bool:
    return Path(path).is_relative_to(directory)


def _introduce(plan: DevPlan) -> None:
    url = f"memfs://{plan.first}"
    nodes = counted(plan.nodes, "node is", "nodes are")
    click.echo(f"{nodes} up at {url}, {counted(plan.replication, 'copy', 'copies')} of each block")
    for index in range(plan.nodes):
        port = plan.port + index
        metrics = f"http://127.0.0.1:{plan.monitoring_port + index}/metrics"
        click.echo(f"  node-{index + 1}  127.0.0.1:{port}  {metrics}")
    click.echo("\nIn another terminal:")
    if plan.port != DEFAULT_PORT:
        click.echo(f"  export MEMFS_URL={url}")
    if plan.secure:
        click.echo(f"  export MEMFS_CLIENT_CERTIFICATES={plan.certificates}")
    elif usual_certificates() is not None:
        click.echo("  export MEMFS_CLIENT_CERTIFICATES=  # not those of ~/.memfs: this is in clear")
    click.echo("  memfs put -r DIRECTORY /here && memfs ls -l /here")
    click.echo("  memfs cluster status")
    kept = f"kept in {plan.data}" if plan.keep else "then gone"
    click.echo(f"Ctrl-C stops the cluster; its files are {kept}.")
