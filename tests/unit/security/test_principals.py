"""Who a certificate says somebody is."""

from __future__ import annotations

from typing import Any

import pytest

from memfs.errors import AccessDeniedError, ConfigError
from memfs.security.principals import Principal, check_user, principal_of


def _certificate(*names: str, hosts: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    subject = tuple((("commonName", name),) for name in names)
    return {"subject": ((("organizationName", "x"),), *subject), "subjectAltName": hosts}


def test_the_common_name_tells_nodes_from_users() -> None:
    hosts = (("DNS", "n1"), ("IP Address", "10.0.0.1"), ("URI", "x:y"))
    node = principal_of(_certificate("node", hosts=hosts))
    assert node == Principal("node", ("n1", "10.0.0.1"))
    assert node.is_node
    assert not principal_of(_certificate("alice")).is_node


@pytest.mark.parametrize("names", [(), ("",), ("alice", "node")])
def test_one_name_exactly(names: tuple[str, ...]) -> None:
    with pytest.raises(AccessDeniedError, match="no common name"):
        principal_of(_certificate(*names))


def test_a_node_speaks_for_its_hosts_only() -> None:
    node = Principal("node", ("N1.example", "0:0:0:0:0:0:0:1"))
    assert node.speaks_for("n1.example.")
    assert node.speaks_for("::1")
    assert not node.speaks_for("n2.example")
    assert not Principal("alice").speaks_for("n1.example")


@pytest.mark.parametrize("name", ["", "node", "a/b", "..", "-x", "a\nb", "a\0", "x" * 65])
def test_names_that_no_user_has(name: str) -> None:
    with pytest.raises(ConfigError):
        check_user(name)


def test_names_that_users_have() -> None:
    for name in ("alice", "alice@EXAMPLE.ORG", "José", "x" * 64):
        assert check_user(name) == name
