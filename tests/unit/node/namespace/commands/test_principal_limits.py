"""Limits that the superuser sets: whom they bind, what happens beyond them, and when."""

from __future__ import annotations

import pytest

from memfs import limits
from memfs.errors import (
    BusyError,
    InvalidArgumentError,
    NameQuotaError,
    NoSpaceError,
    NotPermittedError,
)
from memfs.node.namespace import Namespace
from memfs.node.namespace.tables.principal_limits import SETTABLE
from memfs.protocol import messages as m
from memfs.protocol.records import encode
from memfs.types import FileKind

from ..machine import Machine


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_the_superuser_alone_sets_and_sees_them(machine: Machine) -> None:
    with pytest.raises(NotPermittedError, match="Superuser"):
        machine.run(m.SetLimit("tokens", "", 1), "alice")
    with pytest.raises(NotPermittedError, match="Superuser"):
        machine.ask(m.ListLimits(), "alice")


def test_what_is_set_is_listed_until_it_is_taken_back(machine: Machine) -> None:
    machine.run(m.SetLimit("tokens", "", 5))
    machine.run(m.SetLimit("tokens", "bob", 0))
    machine.run(m.SetLimit("inodes", "bob", 7))
    rows = (m.SetLimit("inodes", "bob", 7), m.SetLimit("tokens", "", 5))
    assert machine.ask(m.ListLimits()).limits == (*rows, m.SetLimit("tokens", "bob", 0))
    machine.run(m.SetLimit("tokens", "bob", None))
    assert machine.ask(m.ListLimits()).limits == rows
    with pytest.raises(InvalidArgumentError, match="tokens is not set for bob"):
        machine.run(m.SetLimit("tokens", "bob", None))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("token", 1, "there is no limit called 'token': connections, requests"),
        ("tokens", -1, "can be 0 to 65536, not -1"),
        ("tokens", limits.TOKENS + 1, "can be 0 to 65536"),
    ],
)
def test_what_cannot_be_set(machine: Machine, name: str, value: int, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        machine.run(m.SetLimit(name, "", value))


def test_there_are_so_many(machine: Machine) -> None:
    for number in range(limits.LIMITS_SET):
        machine.namespace.volume.limits.set("tokens", f"u{number:04}-" + "x" * 240, 1)
    with pytest.raises(InvalidArgumentError, match="take some back"):
        machine.run(m.SetLimit("tokens", "bob", 1))
    seen: list[m.SetLimit] = []
    more = True
    while more:
        reply = machine.ask(m.ListLimits(*seen[-1][:2]) if seen else m.ListLimits())
        assert len(encode(reply)) <= limits.RECORD_BYTES
        seen += reply.limits
        more = reply.more
    assert len(seen) == limits.LIMITS_SET


def test_inodes_of_a_user(machine: Machine) -> None:
    machine.run(m.SetLimit("inodes", "alice", 2))
    machine.run(m.MakeDirectory(b"/a"), "alice")
    with pytest.raises(NameQuotaError, match=r"alice has 1 files.*2 are allowed"):
        machine.run(m.MakeDirectory(b"/a/b/c", parents=True), "alice")
    machine.run(m.MakeSymlink(b"/link", b"there"), "alice")
    for request in (
        m.MakeDirectory(b"/b"),
        m.Create(b"/f"),
        m.MakeSymlink(b"/l", b"x"),
        m.CreateDraft(b"/d"),
        m.MakeNode(b"/p", FileKind.FIFO),
    ):
        with pytest.raises(NameQuotaError, match="limit inodes"):
            machine.run(request, "alice")
    machine.run(m.MakeDirectory(b"/b"), "bob")
    machine.run(m.RemoveDirectory(b"/a"), "alice")
    machine.run(m.Create(b"/f"), "alice")
    machine.run(m.SetLimit("inodes", "", 0))
    with pytest.raises(NameQuotaError):
        machine.run(m.MakeDirectory(b"/c"), "bob")
    machine.run(m.MakeDirectory(b"/c"))
    machine.run(m.SetLimit("inodes", "root", 0))
    with pytest.raises(NameQuotaError):
        machine.run(m.MakeDirectory(b"/d"))


def test_a_symlink_that_replaces_counts_as_a_new_one_unless_it_is_of_the_same_user(
    machine: Machine,
) -> None:
    machine.run(m.SetLimit("inodes", "alice", 1))
    machine.run(m.MakeSymlink(b"/mine", b"x"), "alice")
    machine.run(m.MakeSymlink(b"/theirs", b"x"), "bob")
    machine.run(m.MakeSymlink(b"/mine", b"y", replace=True), "alice")
    with pytest.raises(NameQuotaError, match="limit inodes"):
        machine.run(m.MakeSymlink(b"/theirs", b"y", replace=True), "alice")
    machine.run(m.MakeLink(b"/mine", b"/again"))
    with pytest.raises(NameQuotaError, match="limit inodes"):
        machine.run(m.MakeSymlink(b"/mine", b"z", replace=True), "alice")


def test_a_draft_within_the_limit_is_published(machine: Machine) -> None:
    machine.run(m.SetLimit("inodes", "alice", 1))
    draft = machine.run(m.CreateDraft(b"/d"), "alice").attributes
    machine.run(m.PublishDraft(draft.inode, draft.generation, b"/d", 0), "alice")
    with pytest.raises(NameQuotaError):
        machine.run(m.Create(b"/e"), "alice")


def test_clients_of_a_user(machine: Machine) -> None:
    machine.run(m.SetLimit("sessions", "", 2))
    for client in (11, 12):
        machine.run(m.Create(b"/%d" % client), "alice", client=client)
    machine.run(m.Create(b"/again"), "alice", client=11)
    for request in (m.Create(b"/13"), m.ReserveInodes(1), m.CreateDraft(b"/d")):
        with pytest.raises(BusyError, match=r"2 clients of alice.*limit sessions"):
            machine.run(request, "alice", client=13)
    machine.run(m.Create(b"/bob"), "bob", client=14)
    machine.run(m.ExpireSession(11))
    machine.run(m.Create(b"/13"), "alice", client=13)


def test_tokens_and_attributes_of_a_user(machine: Machine) -> None:
    machine.run(m.AddTokenKey(bytes(32), 60_000, 300_000))
    machine.run(m.SetLimit("tokens", "alice", 1))
    machine.run(m.IssueToken(""), "alice")
    with pytest.raises(NotPermittedError, match="has 1 delegation tokens"):
        machine.run(m.IssueToken(""), "alice")
    machine.run(m.SetLimit("xattr_bytes", "", 100))
    machine.run(m.MakeDirectory(b"/a"), "alice")
    with pytest.raises(NoSpaceError, match="100 are allowed"):
        machine.run(m.SetXattr(b"/a", "user.x", bytes(100)), "alice")


def test_a_snapshot_has_limits_and_whose_clients_there_are(machine: Machine) -> None:
    machine.run(m.SetLimit("sessions", "", 1))
    machine.run(m.Create(b"/f"), "alice", client=11)
    again = Machine(Namespace.restore(list(machine.namespace.snapshot())))
    again.namespace.check_invariants()
    with pytest.raises(BusyError, match="alice"):
        again.run(m.Create(b"/g"), "alice", client=12)
    assert again.ask(m.ListLimits()) == machine.ask(m.ListLimits())


def test_every_name_has_a_ceiling() -> None:
    assert all(ceiling > 0 for ceiling in SETTABLE.values())
