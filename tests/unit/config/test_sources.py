"""Layers of files, variables and flags, and everything that is wrong said at once."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from memfs.config import ClientConfig, NodeConfig, load, resolve, setting, shown
from memfs.paths import Endpoint
from tests.unit.config.refusal import mistakes


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


def test_a_file_that_is_not_text_is_called_so(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"\xf4\xff")
    assert mistakes(NodeConfig, path=str(file)) == [f"{file}: it is not text"]


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


def test_values_of_the_other_tables_do_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[node]\nport = 'x'\n[client]\nuser = 'me'\n")
    environ = {"MEMFS_NODE_PORT": "x"}
    assert load(ClientConfig, path=str(file), environ=environ).user == "me"


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
        "host: '1.2.3.4' is open to the network, which needs certificates = DIRECTORY "
        "(memfs certs makes them), or insecure = true",
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


def test_what_no_process_reads_is_a_mistake_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "memfs.toml"
    file.write_text("[node]\nprot = 1\nport = 5\n[gateway]\nqqqq = 2\n")
    environ = {"MEMFS_URI": "x", "MEMFS_NODE_PROT": "1", "MEMFS_CLIENTS_USER": "a"}
    found = mistakes(ClientConfig, path=str(file), environ=environ)
    assert sorted(found) == [
        f"{file}: [gateway] qqqq: unknown",
        f"{file}: [node] prot: unknown: did you mean 'port'?",
        "MEMFS_CLIENTS_USER: unknown: did you mean 'MEMFS_CLIENT_USER'?",
        "MEMFS_NODE_PROT: unknown: did you mean 'MEMFS_NODE_PORT'?",
        "MEMFS_URI: unknown: did you mean 'MEMFS_URL'?",
    ]


def test_variables_of_others_are_none_of_ours() -> None:
    environ = {
        "MEMFS_SERVICE_HOST": "10.0.0.1",
        "MEMFS_SERVICE_PORT_WEB": "10500",
        "MEMFS_PORT": "tcp://10.0.0.1:10500",
        "MEMFS_PORT_10500_TCP_ADDR": "10.0.0.1",
        "MEMFS_NODE_SERVICE_HOST": "10.0.0.2",
        "MEMFS_BIND": "127.0.0.1",
        "MEMFS_TEST_CACHE": "/x",
    }
    assert load(ClientConfig, environ=environ) == load(ClientConfig, environ={})


def test_the_variables_of_the_compose_files_are_known() -> None:
    for file in (Path(__file__).parents[3] / "deploy").glob("compose*.yaml"):
        for name in re.findall(r"\$\{(MEMFS_\w+)", file.read_text()):
            load(ClientConfig, environ={name: "x"} if name != "MEMFS_URL" else {})
