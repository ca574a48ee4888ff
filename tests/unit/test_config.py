"""Configuration: values, layers, and everything that is wrong said at once."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

import pytest

from memfs import config as config_module
from memfs import machine
from memfs.config import ClientConfig, NodeConfig, load, resolve, setting, shown
from memfs.errors import ConfigError
from memfs.paths import Endpoint


@pytest.fixture(autouse=True)
def no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No file of the machine that runs the tests is read; returns where the user's file goes."""
    user = tmp_path / "user.toml"
    monkeypatch.setattr(config_module, "SYSTEM_FILE", str(tmp_path / "system.toml"))
    monkeypatch.setattr(config_module, "USER_FILE", str(user))
    return user


def mistakes(kind: type, **sources: object) -> list[str]:
    """The lines of the ConfigError that loading raises."""
    with pytest.raises(ConfigError) as caught:
        load(kind, **{"environ": {}} | sources)
    return caught.value.message.splitlines()


# --- values --------------------------------------------------------------------------------------


def test_defaults_are_valid() -> None:
    node, client = NodeConfig(), ClientConfig()
    assert (node.host, node.port, node.replication) == ("127.0.0.1", 10500, 2)
    assert node.block_size == 4 << 20 and node.group_blocks == 16
    assert client.endpoints == (Endpoint("localhost", 10500),)
    assert client.user == machine.login_name() and client.groups == machine.login_groups()


def test_every_field_says_how_it_is_read() -> None:
    for kind in (NodeConfig, ClientConfig):
        for field in dataclasses.fields(kind):
            assert callable(field.metadata["parse"]), field.name


def test_default_memory_is_half_of_what_is_usable() -> None:
    assert NodeConfig().memory == machine.usable_memory() // 2


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("8GiB", 8 << 30), ("512M", 512 << 20), (1 << 30, 1 << 30), ("2GB", 2 * 10**9)],
)
def test_memory_takes_sizes(given: object, wanted: int) -> None:
    assert load(NodeConfig, environ={}, flags={"memory": given}).memory == wanted


def test_memory_takes_a_share() -> None:
    found = load(NodeConfig, environ={"MEMFS_NODE_MEMORY": "25%"}).memory
    assert found == round(machine.usable_memory() * 0.25)


@pytest.mark.parametrize("given", ["0%", "101%", "x%", "-5%", "%"])
def test_memory_refuses_other_shares(given: str) -> None:
    assert mistakes(NodeConfig, flags={"memory": given}) == [
        f"--memory: {given!r} is no share of memory: write 1% to 100%"
    ]


@pytest.mark.parametrize(
    ("given", "wanted"), [("500ms", 0.5), ("5s", 5.0), (2, 2.0), (0.25, 0.25), ("1m", 60.0)]
)
def test_durations(given: object, wanted: float) -> None:
    settings = {"heartbeat_seconds": given, "member_timeout_seconds": 600, "removal_seconds": 600}
    assert load(NodeConfig, environ={}, flags=settings).heartbeat_seconds == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("true", True), ("1", True), ("Yes", True), ("off", False), ("0", False), (True, True)],
)
def test_flags(given: object, wanted: bool) -> None:
    assert load(NodeConfig, environ={}, flags={"insecure": given}).insecure is wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("memfs://a:1,b:2", (Endpoint("a", 1), Endpoint("b", 2))),
        ("a:1, b:2", (Endpoint("a", 1), Endpoint("b", 2))),
        (["a:1", "b"], (Endpoint("a", 1), Endpoint("b", 10500))),
        ("memfs://[::1]:7", (Endpoint("::1", 7),)),
        ((Endpoint("a", 1),), (Endpoint("a", 1),)),
    ],
)
def test_endpoints(given: object, wanted: tuple[Endpoint, ...]) -> None:
    assert load(ClientConfig, environ={}, flags={"endpoints": given}).endpoints == wanted


@pytest.mark.parametrize(
    "given", ["http://a:1", "memfs://a:1/path", "a:b:c", "a:99999", "", 5, "memfs://nowhere"]
)
def test_endpoints_refused(given: object) -> None:
    assert len(mistakes(ClientConfig, flags={"endpoints": given})) == 1


@pytest.mark.parametrize("field", ["port", "weight", "replication", "group_blocks"])
@pytest.mark.parametrize("given", ["", "1.5", "one", True, 1.5, -2, 10**9])
def test_whole_numbers_refused(field: str, given: object) -> None:
    assert len(mistakes(NodeConfig, flags={field: given})) == 1


@pytest.mark.parametrize("given", ["yes", "udp://x", "memfs://", "memfs://a:1/x", "memfs://host"])
def test_coordinator_refused(given: str) -> None:
    assert len(mistakes(NodeConfig, flags={"coordinator": given})) == 1


def test_coordinator_accepted() -> None:
    assert NodeConfig(coordinator="memfs://a:10500").coordinator == "memfs://a:10500"
    assert NodeConfig(coordinator="embedded").coordinator == "embedded"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("etcd://h1", "etcd://h1:2379/memfs"),
        ("etcd://h1:1,h2,[::1]:2379/", "etcd://h1:1,h2:2379,[::1]:2379/memfs"),
        ("etcds://h1:2379/teams/blue", "etcds://h1:2379/teams/blue"),
    ],
)
def test_etcd_accepted(given: str, wanted: str) -> None:
    assert NodeConfig(coordinator=given).coordinator == wanted
    assert NodeConfig(coordinator=wanted).coordinator == wanted


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("etcd://", "is no etcd"),
        ("etcd:///memfs", "is no etcd"),
        ("etcd://h1:99999", "is no address"),
        ("etcd://h1,,h2", "is no address"),
        ("etcd://h1/a//b", "is no prefix"),
        ("etcd://h1/a b", "is no prefix"),
        ("etcd://h1/memfs/", "is no prefix"),
        ("etcd://me:secret@h1", "set etcd_user"),
    ],
)
def test_etcd_refused(given: str, reason: str) -> None:
    [mistake] = mistakes(NodeConfig, flags={"coordinator": given})
    assert reason in mistake
    assert "secret" not in mistake


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


def test_text_that_could_forge_a_log_line_is_refused() -> None:
    assert len(mistakes(NodeConfig, flags={"domain": "rack\nnext"})) == 1
    assert len(mistakes(NodeConfig, flags={"name": "a/b"})) == 1


# --- rules between fields ------------------------------------------------------------------------


def test_open_address_needs_insecure() -> None:
    with pytest.raises(ConfigError, match="insecure = true"):
        NodeConfig(host="0.0.0.0")
    assert NodeConfig(host="0.0.0.0", insecure=True).host == "0.0.0.0"
    for loopback in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        NodeConfig(host=loopback)


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


# --- layers --------------------------------------------------------------------------------------


def test_order_of_layers(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[node]\nport = 1\nweight = 1\nreplication = 1\n")
    environ = {"MEMFS_NODE_PORT": "2", "MEMFS_NODE_WEIGHT": "2"}
    found = resolve(NodeConfig, path=str(file), environ=environ, flags={"port": 3, "domain": None})
    assert (found.config.port, found.config.weight, found.config.replication) == (3, 2, 1)
    assert found.origins == {
        "port": "--port",
        "weight": "MEMFS_NODE_WEIGHT",
        "replication": f"{file}: [node] replication",
    }


def test_default_files_in_order(no_files: Path, tmp_path: Path) -> None:
    (tmp_path / "system.toml").write_text("[client]\nuser = 'one'\nreplication = 3\n")
    no_files.write_text("[client]\nuser = 'two'\n")
    found = load(ClientConfig, environ={})
    assert (found.user, found.replication) == ("two", 3)


def test_named_file_replaces_the_default_ones(no_files: Path, tmp_path: Path) -> None:
    no_files.write_text("[client]\nuser = 'two'\nreplication = 3\n")
    named = tmp_path / "named.toml"
    named.write_text("[client]\nuser = 'three'\n")
    for found in (
        load(ClientConfig, path=str(named), environ={}),
        load(ClientConfig, environ={"MEMFS_CONFIG": str(named)}),
    ):
        assert (found.user, found.replication) == ("three", 0)


def test_missing_file_matters_only_when_named(tmp_path: Path) -> None:
    load(NodeConfig, environ={})
    gone = str(tmp_path / "gone.toml")
    assert mistakes(NodeConfig, path=gone) == [f"{gone}: No such file or directory"]


def test_toml_types_and_lists(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        "[client]\nendpoints = ['a:1', 'b:2']\ngroups = ['x', 'y']\nlocal_descriptors = false\n"
        "timeout_seconds = 2.5\nreadahead_bytes = '1MiB'\n"
    )
    found = load(ClientConfig, path=str(file), environ={})
    assert found.endpoints == (Endpoint("a", 1), Endpoint("b", 2))
    assert found.groups == ("x", "y") and found.local_descriptors is False
    assert found.timeout_seconds == 2.5 and found.readahead_bytes == 1 << 20


def test_url_variable() -> None:
    found = resolve(ClientConfig, environ={"MEMFS_URL": "memfs://a:1,b:2"})
    assert found.config.endpoints == (Endpoint("a", 1), Endpoint("b", 2))
    assert found.origins == {"endpoints": "MEMFS_URL"}
    both = {"MEMFS_URL": "memfs://a:1", "MEMFS_CLIENT_ENDPOINTS": "b:2"}
    assert mistakes(ClientConfig, environ=both) == [
        "MEMFS_URL: set together with MEMFS_CLIENT_ENDPOINTS: keep one"
    ]


def test_the_other_table_does_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[node]\nport = 'x'\n[client]\nuser = 'me'\n")
    environ = {"MEMFS_NODE_PROT": "1"}
    assert load(ClientConfig, path=str(file), environ=environ).user == "me"


# --- mistakes ------------------------------------------------------------------------------------


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[nodes]\n[node]\nprot = 1\nmemory = 'much'\n")
    found = mistakes(
        NodeConfig,
        path=str(file),
        environ={"MEMFS_NODE_WEIGHT": "heavy", "MEMFS_NODE_HOST": "1.2.3.4"},
        flags={"replication": 99},
    )
    assert found == [
        f"{file}: [nodes] unknown: did you mean 'node'?",
        f"{file}: [node] prot: unknown: did you mean 'port'?",
        f"{file}: [node] memory: 'much' is no size: "
        "write bytes, or a number with K, M, G, KiB, GiB",
        "MEMFS_NODE_WEIGHT: 'heavy' is no whole number",
        "--replication: 99 is out of range: 1 to 8",
        "host: '1.2.3.4' is open to the network, which needs insecure = true",
    ]


def test_unknown_without_a_close_name() -> None:
    assert mistakes(NodeConfig, environ={"MEMFS_NODE_QQQQ": "1"}) == ["MEMFS_NODE_QQQQ: unknown"]


def test_broken_toml(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[node\n")
    (line,) = mistakes(NodeConfig, path=str(file))
    assert line.startswith(f"{file}: ") and "line 1" in line
    file.write_text("node = 5\n")
    assert mistakes(NodeConfig, path=str(file)) == [f"{file}: node is no table: write [node]"]
    file.write_bytes(b"\xff\xfe")
    assert len(mistakes(NodeConfig, path=str(file))) == 1


def test_kubernetes_service_variables_are_named() -> None:
    found = mistakes(NodeConfig, environ={"MEMFS_NODE_PORT": "tcp://10.0.0.1:10500"})
    assert found == ["MEMFS_NODE_PORT: 'tcp://10.0.0.1:10500' is no whole number"]


def test_shown_is_plain_and_hides_secrets() -> None:
    found = shown(ClientConfig(endpoints=(Endpoint("a", 1),), groups=("x",)))
    assert found["endpoints"] == ["a:1"] and found["groups"] == ["x"]

    @dataclasses.dataclass(frozen=True)
    class WithSecret:
        token: str = setting(str, "", secret=True)

    assert shown(WithSecret("hunter2")) == {"token": "********"}  # type: ignore[arg-type]
    assert shown(WithSecret()) == {"token": ""}  # type: ignore[arg-type]
