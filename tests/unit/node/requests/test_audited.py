"""Requests as lines of the audit log: who, what, which files, allowed or not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from memfs.audit import Audit, Decision
from memfs.errors import (
    AccessDeniedError,
    BusyError,
    NotPermittedError,
    NotPrimaryError,
    PathNotFoundError,
)
from memfs.node.requests.audited import RequestAudit
from memfs.protocol import messages as m
from memfs.security.principals import TOKEN, Principal
from memfs.transport.connection import Peer
from memfs.transport.service import IncomingCall, Reply
from memfs.types import Identity
from tests.golden.samples import sample


class Kept(Audit):
    """Decisions, not lines."""

    def __init__(self, level: str = "on") -> None:
        super().__init__(level, lambda: 0.0)
        self.decisions: list[Decision] = []

    def write(self, decision: Decision) -> None:
        self.decisions.append(decision)


class Wire:
    def __init__(self, peer: Peer) -> None:
        self.peer = peer


PEER = Peer(identity=Identity("alice"), address="10.0.0.1:4711", principal=Principal("gateway"))


def call(request: Any, peer: Peer = PEER) -> IncomingCall[object]:
    wire: Any = Wire(peer)
    return IncomingCall(wire, None, m.BY_REQUEST[type(request)], request, 0.0)  # type: ignore[arg-type]


def test_who_and_what() -> None:
    kept = Kept()
    RequestAudit(kept).answered(call(m.Rename(b"/a/b", b"c", target_base=77)), m.Empty())
    assert kept.decisions == [
        Decision(
            "alice",
            "10.0.0.1",
            "Rename",
            True,
            "ok",
            "/a/b",
            "/.reserved/.inodes/77/c",
            "gateway",
        )
    ]


@pytest.mark.parametrize(
    ("request_", "target"),
    [
        (m.AddUserKey("bob", bytes(32)), "bob"),
        (m.RemoveUserKey("bob"), "bob"),
        (m.ChangeGroups("wheel", ("ann", "bob")), "wheel: ann, bob"),
        (m.SetLimit("tokens", "", 5), "tokens of everybody: 5"),
        (m.SetLimit("tokens", "bob", None), "tokens of bob: None"),
        (m.IssueToken("yarn", "bob"), "bob"),
        (m.ListUsers(), ""),
    ],
)
def test_commands_about_users_say_about_whom(request_: object, target: str) -> None:
    kept = Kept()
    RequestAudit(kept).answered(call(request_), m.Empty())
    (found,) = kept.decisions
    assert (found.operation, found.path, found.target) == (type(request_).__name__, "", target)


def test_who_asked_for_the_token_that_somebody_came_with() -> None:
    kept = Kept()
    proven = Principal("alice", proof=TOKEN, real_user="oozie")
    peer = PEER._replace(principal=proven)
    RequestAudit(kept).answered(call(m.Lookup(b"/a"), peer), m.Empty())
    assert kept.decisions[0].real_user == "oozie"


def test_each_file_of_a_batch_has_a_line() -> None:
    kept = Kept()
    audit = RequestAudit(kept)
    denied, absent = AccessDeniedError.code, PathNotFoundError.code
    files = tuple(m.FileReply(code, "") for code in (0, denied, absent))
    audit.answered(call(m.ReadFiles((b"/a", b"/b", b"/c"), 0)), Reply(m.ReadFilesReply(files)))
    columns = m.ReadManyReply((5, -1, -1), (0, 0, 0), files[1:])
    audit.answered(call(m.ReadMany((b"/a", b"/b", b"/c"), 0)), Reply(columns))
    lines = [(each.path, each.allowed, each.result) for each in kept.decisions]
    assert (
        lines[:3]
        == lines[3:]
        == [
            ("/a", True, "ok"),
            ("/b", False, "AccessDeniedError"),
            ("/c", True, "PathNotFoundError"),
        ]
    )


def test_refusals_of_all_kinds() -> None:
    kept = Kept("deny")
    audit = RequestAudit(kept)
    audit.failed(call(m.Lookup(b"/a\n\xff")), AccessDeniedError("no"))
    audit.failed(call(m.SetWeight(2, 0)), NotPermittedError("superuser"))
    audit.failed(call(sample(m.DiscardBlocks, "request")), NotPermittedError("for nodes only"))
    assert [(each.operation, each.allowed, each.path) for each in kept.decisions] == [
        ("Lookup", False, "/a\n\\xff"),
        ("SetWeight", False, ""),
        ("DiscardBlocks", False, ""),
    ]


def test_what_was_not_decided_is_no_line() -> None:
    kept = Kept()
    audit = RequestAudit(kept)
    for error in (BusyError("later"), NotPrimaryError("elsewhere")):
        audit.failed(call(m.Lookup(b"/a")), error)
    audit.answered(call(m.Ping()), m.Empty())
    audit.answered(call(m.ReserveInodes(3)), m.ReserveReply((1, 2, 3)))
    audit.answered(call(m.Lookup(b"/"), PEER._replace(role=m.Role.NODE)), m.Empty())
    assert not kept.decisions
    audit.failed(call(m.Lookup(b"/a")), asyncio.CancelledError())
    assert [each.result for each in kept.decisions] == ["CancelledError"]


def test_off_is_off() -> None:
    kept = Kept("off")
    audit = RequestAudit(kept)
    audit.failed(call(m.Lookup(b"/a")), AccessDeniedError("no"))
    audit.greeted(PEER, "root", AccessDeniedError("no"))
    assert not kept.decisions


@pytest.mark.parametrize("error", [None, AccessDeniedError("you are gateway")])
def test_a_handshake_has_a_line(error: AccessDeniedError | None) -> None:
    kept = Kept()
    RequestAudit(kept).greeted(PEER, "root", error)
    (said,) = kept.decisions
    assert said.operation == "Hello" and said.address == "10.0.0.1"
    assert said.user == ("alice" if error is None else "root"), "the word of who is refused"
    assert said.allowed is (error is None) and said.real_user == "gateway"


def test_every_request_of_a_client_is_judged_or_a_poll() -> None:
    """A new message gets into the log unless somebody says that it need not."""
    kept = Kept()
    audit = RequestAudit(kept)
    silent = set()
    for kind, spec in m.BY_REQUEST.items():
        before = len(kept.decisions)
        audit.failed(call(sample(kind, "request")), NotPermittedError("no"))
        if len(kept.decisions) == before:
            silent.add(kind.__name__)
        assert not (spec.peer or spec.privileged) or kind.__name__ not in silent
    assert silent == {
        *("Hello", "GetChallenge", "Ping", "Cancel", "Goodbye"),
        *("GetView", "GetStatus", "GetNodeState"),
        "GetBounds",
        *("Authorize", "AwaitLock", "CheckGrowth", "ReleaseInodes", "ReportOpens", "ReserveInodes"),
        *("StatFileSystem", "TakeOver", "Watch"),
        *("WriteBlock", "WriteBlocks", "ReadBlock", "ReadBlocks", "CopyRange"),
        *("GetDescriptors", "ReportCorrupt"),
    }
