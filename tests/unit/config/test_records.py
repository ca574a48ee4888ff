"""Configurations: defaults, conflicts, what follows from the fields."""

from __future__ import annotations

import dataclasses
import socket

import pytest

from memfs import machine
from memfs.config import ClientConfig, NodeConfig, load, shown
from memfs.errors import ConfigError
from memfs.paths import Endpoint
from tests.unit.config.refusal import mistakes


def test_defaults_are_valid() -> None:
    node, client = NodeConfig(), ClientConfig()
    assert (node.host, node.port, node.replication) == ("127.0.0.1", 10500, 2)
    assert node.block_size == 4 << 20 and node.group_blocks == 16
    assert client.endpoints == (Endpoint("localhost", 10500),)
    assert client.user == machine.login_name() and client.groups == machine.login_groups()


def test_groups_are_those_of_the_user_that_is_named() -> None:
    assert ClientConfig(user="daemon").groups == machine.account_groups("daemon")
    assert ClientConfig(user="a stranger").groups == ()
    assert ClientConfig(user="daemon", groups=()).groups == ()
    assert load(ClientConfig, environ={"MEMFS_CLIENT_USER": "daemon"}).groups == ("daemon",)


def test_every_field_says_how_it_is_read() -> None:
    for kind in (NodeConfig, ClientConfig):
        for field in dataclasses.fields(kind):
            assert callable(field.metadata["parse"]), field.name


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({"etcd_ca": "ca.pem"}, ["etcd_ca"]),
        ({"etcd_user": "me", "etcd_password": "x"}, ["etcd_user"]),
        ({"coordinator": "etcd://h", "etcd_user": "me"}, ["etcd_user"]),
        ({"coordinator": "etcd://h", "etcd_password": "x"}, ["etcd_user"]),
        ({"coordinator": "etcd://h", "etcd_certificate": "c"}, ["etcd_certificate"]),
        ({"coordinator": "etcds://h", "etcd_key": "k"}, ["etcd_key"]),
        ({"coordinator": "etcds://h", "etcd_key": "k", "etcd_certificate": "c"}, []),
        (
            {
                "coordinator": "etcd://h",
                "etcd_user": "me",
                "etcd_password": "x",
                "etcd_password_file": "f",
            },
            ["etcd_password"],
        ),
    ],
)
def test_options_of_etcd_fit_together(flags: dict[str, str], wanted: list[str]) -> None:
    found = mistakes(NodeConfig, flags=flags) if wanted else []
    if not wanted:
        load(NodeConfig, environ={}, flags=flags)
    assert [mistake.partition(":")[0] for mistake in found] == wanted


def test_the_password_of_etcd_is_a_secret() -> None:
    config = load(
        NodeConfig,
        environ={"MEMFS_NODE_ETCD_PASSWORD": "hunter2"},
        flags={"coordinator": "etcd://h", "etcd_user": "me"},
    )
    assert config.etcd_password == "hunter2"
    assert "hunter2" not in str(shown(config)) + repr(config)


def test_open_address_needs_insecure() -> None:
    with pytest.raises(ConfigError, match="insecure = true"):
        NodeConfig(host="0.0.0.0")
    assert NodeConfig(host="0.0.0.0", insecure=True).host == "0.0.0.0"
    for loopback in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        NodeConfig(host=loopback)


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"bulk": "authenticated"}, "bulk: needs certificates"),
        ({"bulk_port": 10502, "certificates": "certs"}, "bulk_port: needs bulk = authenticated"),
        ({"bulk": "plain", "certificates": "certs"}, "bulk: "),
    ],
)
def test_bulk(settings: dict[str, object], wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        NodeConfig(**settings)
    NodeConfig(bulk="authenticated", bulk_port=10502, certificates="certs")


def test_conflicts_are_all_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        NodeConfig(
            host="10.0.0.1",
            block_size=(4 << 10) + 1,
            member_timeout_seconds=1,
            heartbeat_seconds=1,
            socket_directory="/" + "x" * 100,
        )
    found = {line.partition(":")[0] for line in caught.value.message.splitlines()}
    assert found == {"host", "block_size", "member_timeout_seconds", "socket_directory"}


def test_group_is_bounded() -> None:
    with pytest.raises(ConfigError, match="exceeds 1 GiB"):
        NodeConfig(block_size=64 << 20, group_blocks=17)
    with pytest.raises(ConfigError, match="exceeds 1 GiB"):
        ClientConfig(block_size=64 << 20, group_blocks=17)


def test_client_zero_means_as_the_cluster_says() -> None:
    client = ClientConfig(block_size=0, replication=0, group_blocks=0, hedge_seconds=0)
    assert client.block_size == client.replication == client.group_blocks == 0
    with pytest.raises(ConfigError):
        ClientConfig(block_size=1)


def test_name_and_data_directory_follow_the_port() -> None:
    node = NodeConfig(port=1234)
    assert node.name == f"{socket.gethostname()}-1234"
    assert node.data_directory.endswith(node.name)
    assert NodeConfig(port=0).name != NodeConfig(port=0).name


def test_advertised() -> None:
    assert NodeConfig().advertised(7) == Endpoint("127.0.0.1", 7)
    wildcard = NodeConfig(host="0.0.0.0", insecure=True)
    assert wildcard.advertised(7) == Endpoint(socket.gethostname(), 7)
    told = NodeConfig(advertise_host="public", advertise_port=9)
    assert told.advertised(7) == Endpoint("public", 9)


@pytest.mark.parametrize(
    ("port", "monitoring_port", "wanted"),
    [(10500, 0, 11500), (0, 0, 0), (10500, 9, 9), (65000, 0, 64000), (64535, 0, 65535)],
)
def test_monitoring(port: int, monitoring_port: int, wanted: int) -> None:
    node = NodeConfig(port=port, monitoring_port=monitoring_port)
    assert node.monitoring() == Endpoint("127.0.0.1", wanted)


def test_no_monitoring() -> None:
    assert NodeConfig(monitoring_port=-1).monitoring() is None


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        NodeConfig().port = 1  # type: ignore[misc]
    assert dataclasses.replace(NodeConfig(), port=1).port == 1
