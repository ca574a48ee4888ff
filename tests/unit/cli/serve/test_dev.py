"""What ``memfs dev`` checks before it starts, waits for, and does about nodes that end."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import click
import pytest

from memfs.cli.command import Failed
from memfs.cli.serve import dev, dev_nodes
from memfs.cli.serve.dev_nodes import Nodes
from memfs.protocol.messages import NodeStatus, StatusReply
from memfs.testing.ports import free_port
from memfs.transport.disk import ProcessLock
from memfs.types import Member, NodeUsage, View


def plan(
    directory: Path, nodes: int = 2, port: int = 40_000, monitoring: int = 41_000
) -> dev.DevPlan:
    data = directory / "data"
    return dev.DevPlan(nodes, port, monitoring, "1MiB", 2, "info", directory, data, keep=True)


def status(*members: tuple[str, str, bool], unavailable_reason: str = "") -> StatusReply:
    """Of members by name, socket and whether they live."""
    known = [
        (Member(n, name, n, "h", n, socket=path), alive)
        for n, (name, path, alive) in enumerate(members, 1)
    ]
    view = View("c", 1, 1, (1,), tuple(member for member, _ in known), 9)
    nodes = [NodeStatus(each, NodeUsage(1, 0, 1, 0), alive, True, 0) for each, alive in known]
    return StatusReply(
        view, 1, 1, tuple(nodes), 0, 0, 0, 0, 0, unavailable_reason=unavailable_reason
    )


def test_only_nodes_of_this_run_count() -> None:
    own = plan(Path("/run/own"))
    first, second = ("node-1", "/run/own/node-1/a", True), ("node-2", "/run/own/node-2/b", True)
    former = ("node-2", "/run/before/node-2/b", True)
    assert dev._missing(own, status(first, second)) == ""
    assert dev._missing(own, status(first)) == "node-2 has not joined"
    assert dev._missing(own, status(first, former)) == "node-2 has not joined"
    assert dev._missing(own, status(first, (*second[:2], False))) == "node-2 has not joined"
    assert dev._missing(own, status(first, second, unavailable_reason="no lease")) == "no lease"


def test_ports_are_checked_before_anything_is_started(tmp_path: Path) -> None:
    port = free_port(2) + 1
    said = f":{port}: .* with --monitoring-port"
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(click.ClickException, match=said),
    ):
        dev._check_ports(plan(tmp_path, nodes=1, port=port - 1, monitoring=port))
    with pytest.raises(click.UsageError, match="wanted twice: choose others with --monitoring"):
        dev._check_ports(plan(tmp_path, monitoring=40_001))
    with pytest.raises(click.UsageError, match="exceeds 65535: choose others with --monitoring"):
        dev._check_ports(plan(tmp_path, monitoring=65_535))


def test_journals_that_are_held_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "data" / "node-2" / "journal"
    journal.mkdir(parents=True)
    orphan = ProcessLock.acquire(str(journal / "lock"))
    assert orphan is not None
    monkeypatch.setattr(dev, "ORPHAN_SECONDS", 0.0)
    with (
        pytest.raises(click.ClickException, match="node-2 of an earlier run still holds"),
        dev._data_of_its_own(plan(tmp_path)),
    ):
        pass
    monkeypatch.setattr(dev, "ORPHAN_SECONDS", 60.0)
    monkeypatch.setattr(dev.time, "sleep", lambda seconds: orphan.release())
    with dev._data_of_its_own(plan(tmp_path)):
        assert "waiting for the end of node-2" in capsys.readouterr().err


async def kept(*commands: str) -> None:
    nodes = Nodes({f"node-{n}": ["sh", "-c", each] for n, each in enumerate(commands, 1)})
    await nodes.start()
    try:
        await nodes.keep()
    finally:
        await nodes.stop()


async def test_a_node_that_dies_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev_nodes, "RESTART_SECONDS", 0.0)
    await kept(f"test -e {tmp_path}/x || {{ touch {tmp_path}/x; kill -9 $$; }}")
    said = capsys.readouterr().err
    assert "was killed by signal 9: it is started again" in said
    assert "has left; 0 of 1 node left" in said


async def test_what_cannot_be_kept_running_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev_nodes, "RESTART_SECONDS", 0.0)
    with pytest.raises(Failed):
        await kept("exit 1")
    assert capsys.readouterr().err.count("it is started again") == dev_nodes.RESTARTS
    with pytest.raises(Failed):
        await kept("exit 2", "trap exit INT; sleep 9 & wait")
    assert "ended with status 2: it cannot be kept running" in capsys.readouterr().err


async def test_nodes_are_told_to_stop_together(tmp_path: Path) -> None:
    script = f"trap 'touch {tmp_path}/told; exit' INT; touch {tmp_path}/up; sleep 9 & wait"
    nodes = Nodes({"node-1": ["sh", "-c", script]})
    await nodes.start()
    while not (tmp_path / "up").exists():  # noqa: ASYNC110 - a file knows no event
        await asyncio.sleep(0.01)
    await nodes.stop()
    assert (tmp_path / "told").exists()
