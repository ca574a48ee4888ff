"""The units of ``deploy/systemd``: their commands and files mean what memfs understands."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest

from memfs.cli.serve.gateway import STOP_SECONDS as GATEWAY_STOP_SECONDS
from memfs.cli.serve.gateway import gateway
from memfs.cli.serve.node import STOP_SECONDS, node
from memfs.config import ClientConfig, GatewayConfig, NodeConfig, load
from memfs.quantities import parse_duration

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"
COMMANDS: dict[str, click.Command] = {"node": node, "gateway": gateway}


def unit(name: str) -> dict[str, list[str]]:
    """The settings of ``[Service]``; each may be given several times."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in (UNITS / name).read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def parsed(kind: str) -> dict[str, object]:
    """What the flags of ExecStart set."""
    [line] = unit(f"memfs-{kind}.service")["ExecStart"]
    program, command, *arguments = shlex.split(line.replace("%t", "/run").replace("%S", "/var/lib"))
    assert (program, command) == ("/opt/memfs/bin/memfs", kind)
    context = COMMANDS[kind].make_context(kind, arguments)
    assert context.params["config"] == "/etc/memfs/memfs.toml"
    return context.params


def test_node_command_and_file_make_a_configuration() -> None:
    names = NodeConfig.__dataclass_fields__.keys()
    flags = {name: value for name, value in parsed("node").items() if name in names}
    found = load(NodeConfig, path=str(UNITS / "memfs.toml"), flags=flags, environ={})
    assert found.socket_directory == "/run/memfs"
    assert found.data_directory == "/var/lib/memfs"
    assert found.coordinator.startswith("etcd://")


def test_gateway_command_and_file_make_a_configuration() -> None:
    assert parsed("gateway")
    file = str(UNITS / "memfs.toml")
    assert load(GatewayConfig, path=file, environ={}).insecure
    endpoints = load(ClientConfig, path=file, environ={}).endpoints
    assert load(NodeConfig, path=file, environ={}).advertised(10500) in endpoints


def test_node_may_write_where_it_is_told_to() -> None:
    service = unit("memfs-node.service")
    assert service["RuntimeDirectory"] == service["StateDirectory"] == ["memfs"]
    assert service["ProtectSystem"] == ["strict"]


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("memfs-node.service", STOP_SECONDS), ("memfs-gateway.service", GATEWAY_STOP_SECONDS)],
)
def test_there_is_time_to_stop(name: str, seconds: float) -> None:
    assert parse_duration(unit(name)["TimeoutStopSec"][0]) > seconds


def test_there_is_time_to_drain() -> None:
    drain = unit("drain.conf")
    environ = dict(pair.split("=") for pair in shlex.split(drain["Environment"][0]))
    found = load(NodeConfig, path=str(UNITS / "memfs.toml"), environ=environ)
    assert found.drain_blocks
    assert parse_duration(drain["TimeoutStopSec"][0]) > found.drain_seconds + STOP_SECONDS


def test_both_services_are_hardened_alike() -> None:
    """What only one of them has is what only a node needs."""
    first, second = unit("memfs-node.service"), unit("memfs-gateway.service")
    assert second.keys() - first.keys() == set()
    differ = {key for key in second if first[key] != second[key]}
    assert differ == {"ExecStart"}
    assert first.keys() - second.keys() == {
        "RuntimeDirectory",
        "StateDirectory",
        "StateDirectoryMode",
        "TimeoutStartSec",
        "MemorySwapMax",
        "OOMScoreAdjust",
    }
