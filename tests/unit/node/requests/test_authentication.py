"""Who somebody is, out of what they prove and what they claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from memfs.errors import AccessDeniedError, BusyError
from memfs.node.namespace import Namespace, Settings
from memfs.node.requests.authentication import (
    GROUPS_SECONDS,
    GROUPS_USERS,
    HostGroups,
    KnownGroups,
    PeerAuthentication,
)
from memfs.protocol import messages as m
from memfs.security.principals import KEY, TOKEN, Principal
from memfs.transport.connection import Peer
from memfs.types import Identity

GROUPS = {"alice": ("staff", "users"), "root": ("root",), "carol": ("supergroup",)}
SETTINGS = Settings("boss", "supergroup", 2, 4096, 4)


class Wire:
    """A connection that proves what it is told to."""

    def __init__(self, name: str = "", local: int | None = None) -> None:
        self.peer = Peer(lane="control", client=7)
        self.local_user = local
        self.certificate: Mapping[str, Any] | None = None
        if name:
            hosts = (("IP Address", "10.0.0.1"),)
            subject = ((("commonName", name),),)
            self.certificate = {"subject": subject, "subjectAltName": hosts}


def hello(user: str, *groups: str, role: m.Role = m.Role.CLIENT) -> m.Hello:
    return m.Hello(1, 1, "", role, 7, Identity(user, groups))


def authentication(*ways: str) -> PeerAuthentication:
    host = HostGroups(lambda: 0.0, lambda user: GROUPS.get(user, ()))
    namespace = Namespace(SETTINGS, 0)
    namespace.volume.accounts.restore_groups("admin", ("supergroup",))
    namespace.volume.accounts.restore_groups("carol", ("listed",))
    groups = KnownGroups(host, lambda: namespace)
    return PeerAuthentication(lambda: SETTINGS, ["gateway"], groups, 2, ways or ("certificate",))


def test_groups_come_from_this_side() -> None:
    peer = authentication().peer(hello("alice", "supergroup"), Wire("alice"), None)
    assert peer.identity == Identity("alice", ("staff", "users"))
    assert peer.client == 7
    assert peer.principal is not None and peer.principal.name == "alice"


def test_the_rule_for_the_group_of_what_is_new_is_the_clients() -> None:
    said = hello("alice")._replace(identity=Identity("alice", (), True))
    peer = authentication().peer(said, Wire("alice"), None)
    assert peer.identity == Identity("alice", ("staff", "users"), True)


@pytest.mark.parametrize(
    ("proven", "claimed", "allowed"),
    [
        ("boss", "alice", True),
        ("node", "alice", True),
        ("node", "boss", True),
        ("gateway", "alice", True),
        ("gateway", "boss", False),
        ("gateway", "admin", False),
        ("admin", "alice", True),
        ("carol", "alice", False),
        ("alice", "boss", False),
        ("alice", "gateway", False),
    ],
)
def test_who_may_speak_for_whom(proven: str, claimed: str, allowed: bool) -> None:
    if allowed:
        assert authentication().peer(hello(claimed), Wire(proven), None).identity.user == claimed
    else:
        with pytest.raises(AccessDeniedError):
            authentication().peer(hello(claimed), Wire(proven), None)


def test_the_cluster_s_table_of_groups_comes_before_the_host_s() -> None:
    peer = authentication().peer(hello("carol"), Wire("carol"), None)
    assert peer.identity.groups == ("listed",)


def test_a_proxy_is_marked_as_one() -> None:
    for proven, claimed, proxied in (("gateway", "alice", True), ("boss", "alice", False)):
        peer = authentication().peer(hello(claimed), Wire(proven), None)
        assert peer.proxied == proxied


def test_what_a_challenge_proved_counts_like_a_certificate() -> None:
    judge = authentication("key", "token")
    for proof in (KEY, TOKEN):
        proven = Principal("alice", proof=proof)
        assert judge.peer(hello("alice"), Wire(), None, proven).identity.user == "alice"
        with pytest.raises(AccessDeniedError, match="you are alice"):
            judge.peer(hello("boss"), Wire(), None, proven)
        with pytest.raises(AccessDeniedError, match="not a node"):
            called = Principal("node", proof=proof)
            judge.peer(hello("x", role=m.Role.NODE), Wire(), None, called)


def test_ways_that_are_not_taken() -> None:
    judge = authentication("key")
    with pytest.raises(AccessDeniedError, match=r"takes no certificate.*bring a key"):
        judge.peer(hello("alice"), Wire("alice"), None)
    judge.peer(hello("x", role=m.Role.NODE), Wire("node"), None)
    with pytest.raises(AccessDeniedError, match="takes no token"):
        judge.check_way("token")
    assert judge.challenges and not authentication().challenges
    with pytest.raises(AccessDeniedError, match="or bring a key or a token"):
        judge.peer(hello("alice"), Wire(), None)


def test_a_node_is_one_by_certificate_only() -> None:
    said = hello("x", role=m.Role.NODE)
    assert authentication().peer(said, Wire("node"), None).identity == Identity("boss")
    for wire in (Wire("boss"), Wire(local=0)):
        with pytest.raises(AccessDeniedError, match="not a node"):
            authentication().peer(said, wire, None)


def test_nothing_proven_is_refused_with_advice() -> None:
    with pytest.raises(AccessDeniedError, match="memfs certs"):
        authentication().peer(hello("alice"), Wire(), None)


def test_the_kernel_s_word_on_a_unix_socket() -> None:
    assert authentication().peer(hello("root"), Wire(local=0), None).identity.user == "root"
    nameless = 2**31 - 7
    found = authentication().peer(hello(str(nameless)), Wire(local=nameless), None)
    assert found.identity == Identity(str(nameless))


def test_a_user_has_so_many_connections_and_no_more() -> None:
    judge = authentication()
    alice = judge.peer(hello("alice"), Wire("alice"), None)
    judge.opened(alice)
    judge.opened(alice)
    with pytest.raises(BusyError, match="alice has 2 connections"):
        judge.opened(alice)
    judge.opened(judge.peer(hello("root"), Wire("root"), None))
    judge.closed(alice)
    judge.opened(alice)


@pytest.mark.parametrize("proven", ["boss", "gateway", "node"])
def test_who_is_known_has_as_many_as_they_want(proven: str) -> None:
    judge = authentication()
    for _ in range(5):
        judge.opened(judge.peer(hello("alice"), Wire(proven), None))


def test_groups_are_looked_up_again_after_a_while() -> None:
    now, asked = [0.0], []

    def look_up(user: str) -> tuple[str, ...]:
        asked.append(user)
        return (f"group-{len(asked)}",)

    groups = HostGroups(lambda: now[0], look_up)
    assert groups.of("a") == groups.of("a") == ("group-1",)
    now[0] += GROUPS_SECONDS
    assert groups.of("a") == ("group-2",)
    for number in range(2 * GROUPS_USERS):
        groups.of(str(number))
    assert len(groups._known) <= GROUPS_USERS
