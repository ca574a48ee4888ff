"""Users' keys and groups in the replicated state: who may change them, whom they prove, bounds."""

from __future__ import annotations

import pytest

from memfs import limits
from memfs.errors import (
    AccessDeniedError,
    InvalidArgumentError,
    InvalidTokenError,
    NotPermittedError,
)
from memfs.node.namespace import Namespace
from memfs.node.namespace.commands.accounts import NEVER_MS
from memfs.protocol import messages as m
from memfs.protocol.records import encode
from memfs.security.delegation_tokens import Token
from memfs.security.proofs import KeyProver, TokenProver, challenge
from memfs.security.signing import public_key

from ..machine import Machine

PRIVATE = bytes(range(32))
ASKED = challenge(b"n" * 32, "cluster", b"c" * 32)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def prove(machine: Machine, authentication: bytes, asked: bytes = ASKED) -> m.CheckProofReply:
    return machine.ask(m.CheckProof(authentication, asked))  # type: ignore[no-any-return]


def test_a_key_proves_its_user(machine: Machine) -> None:
    machine.run(m.AddUserKey("ann", public_key(PRIVATE)))
    assert prove(machine, KeyProver(PRIVATE).prove(ASKED)) == m.CheckProofReply("ann")
    assert machine.ask(m.ListUsers()).users == (m.UserKeys("ann", (public_key(PRIVATE),)),)
    machine.run(m.RemoveUserKey("ann", public_key(PRIVATE)))
    with pytest.raises(AccessDeniedError, match=r"nobody's here: .* memfs user add"):
        prove(machine, KeyProver(PRIVATE).prove(ASKED))


def test_a_forged_or_replayed_proof_proves_nobody(machine: Machine) -> None:
    machine.run(m.AddUserKey("ann", public_key(PRIVATE)))
    with pytest.raises(AccessDeniedError, match="another connection"):
        prove(machine, KeyProver(PRIVATE).prove(challenge(b"o" * 32, "cluster", b"c" * 32)))
    forged = bytearray(KeyProver(PRIVATE).prove(ASKED))
    forged[-1] ^= 1
    with pytest.raises(AccessDeniedError, match="not the key's"):
        prove(machine, bytes(forged))


def test_a_token_proves_its_owner(machine: Machine) -> None:
    machine.run(m.AddTokenKey(bytes(32), 60_000, 300_000))
    reply = machine.run(m.IssueToken("", "ann", "oozie"))
    token = Token(reply.identifier, reply.password)
    found = prove(machine, TokenProver(token).prove(ASKED))
    assert found == m.CheckProofReply("ann", "oozie", reply.expires_ms)
    with pytest.raises(AccessDeniedError, match="another connection"):
        prove(machine, TokenProver(token._replace(password=bytes(32))).prove(ASKED))
    machine.run(m.CancelToken(token.identifier, token.password))
    with pytest.raises(InvalidTokenError, match="cancelled"):
        prove(machine, TokenProver(token).prove(ASKED))


def test_what_was_shown_stands_until_it_is_withdrawn(machine: Machine) -> None:
    """Of keys and tokens together, in the order of the question; nobody else's word counts."""
    machine.run(m.AddUserKey("ann", b"a" * 32))
    machine.run(m.AddTokenKey(bytes(32), 60_000, 300_000))
    token = machine.run(m.IssueToken("", "ann"))
    asked = m.CheckStanding(
        (
            m.ShownProof("ann", key=b"a" * 32),
            m.ShownProof("ann", token=token.identifier),
            m.ShownProof("eve", key=b"a" * 32),
            m.ShownProof("eve", token=token.identifier),
            m.ShownProof("ann", key=b"e" * 32),
            m.ShownProof("ann", token=b"no token"),
            m.ShownProof("ann"),
        )
    )
    assert machine.ask(asked).until_ms == (NEVER_MS, token.expires_ms, 0, 0, 0, 0, 0)
    machine.run(m.RemoveUserKey("ann"))
    machine.run(m.CancelToken(token.identifier, token.password))
    assert not any(machine.ask(asked).until_ms)


@pytest.mark.parametrize(
    "request_",
    [
        m.AddUserKey("bob", bytes(32)),
        m.RemoveUserKey("bob"),
        m.ChangeGroups("wheel", ("bob",)),
    ],
)
def test_the_superuser_alone_changes_them(machine: Machine, request_: m.Request[m.Empty]) -> None:
    with pytest.raises(NotPermittedError, match="Superuser"):
        machine.run(request_, "bob")
    for question in (m.ListUsers(), m.ListGroups()):
        with pytest.raises(NotPermittedError, match="Superuser"):
            machine.ask(question, "bob")


def test_a_key_is_of_one_user(machine: Machine) -> None:
    machine.run(m.AddUserKey("ann", bytes(32)))
    machine.run(m.AddUserKey("ann", bytes(32)))
    with pytest.raises(InvalidArgumentError, match="the key is ann's"):
        machine.run(m.AddUserKey("eve", bytes(32)))


@pytest.mark.parametrize("name", ["node", "", "a/b", "-x", ".x", "a\nb", "x" * 256])
def test_nobody_is_called_so(machine: Machine, name: str) -> None:
    for request in (m.AddUserKey(name, bytes(32)), m.ChangeGroups("g", (name,))):
        with pytest.raises(InvalidArgumentError):
            machine.run(request)


def test_what_is_no_key(machine: Machine) -> None:
    with pytest.raises(InvalidArgumentError, match="32 bytes"):
        machine.run(m.AddUserKey("ann", b"short"))
    with pytest.raises(InvalidArgumentError, match="no key"):
        machine.run(m.RemoveUserKey("ann"))


def test_a_user_has_so_many_keys(machine: Machine) -> None:
    for number in range(limits.KEYS_PER_USER):
        machine.run(m.AddUserKey("ann", bytes([number]) * 32))
    with pytest.raises(InvalidArgumentError, match="as many as one user may"):
        machine.run(m.AddUserKey("ann", b"x" * 32))
    machine.run(m.RemoveUserKey("ann"))
    assert machine.ask(m.ListUsers()).users == ()


def test_the_table_of_groups_wins_over_what_hosts_say(machine: Machine) -> None:
    machine.run(m.MakeDirectory(b"/people", 0o770, group="people"))
    machine.ask(m.List(b"/people"), "bob")
    machine.run(m.ChangeGroups("others", ("bob",)))
    with pytest.raises(AccessDeniedError):
        machine.ask(m.List(b"/people"), "bob")
    machine.run(m.ChangeGroups("people", ("bob",)))
    machine.ask(m.List(b"/people"), "bob")
    assert machine.ask(m.ListGroups()).users == (m.UserGroups("bob", ("others", "people")),)
    machine.run(m.ChangeGroups("others", ("bob",), remove=True))
    machine.run(m.ChangeGroups("people", ("bob",), remove=True))
    machine.ask(m.List(b"/people"), "bob")  # as the hosts say again


def test_the_supergroup_of_the_table_counts_at_once(machine: Machine) -> None:
    machine.run(m.ChangeGroups("wheel", ("bob",)))
    machine.run(m.ChangeGroups("others", ("admin",)), "bob")
    with pytest.raises(NotPermittedError):
        machine.run(m.ChangeGroups("others", ("alice",)), "admin")


def test_all_of_a_change_or_nothing(machine: Machine) -> None:
    machine.run(m.ChangeGroups("dev", ("ann",)))
    with pytest.raises(InvalidArgumentError, match="eve is not in dev"):
        machine.run(m.ChangeGroups("dev", ("ann", "eve"), remove=True))
    assert machine.ask(m.GetGroupsOf("ann")) == m.GroupsOfReply(True, ("dev",))
    assert machine.ask(m.GetGroupsOf("eve")) == m.GroupsOfReply(False)
    with pytest.raises(InvalidArgumentError, match="name the users"):
        machine.run(m.ChangeGroups("dev", ()))


def test_a_user_is_in_so_many_groups(machine: Machine) -> None:
    for number in range(limits.GROUPS_PER_USER):
        machine.run(m.ChangeGroups(f"g{number}", ("ann",)))
    with pytest.raises(InvalidArgumentError, match="as many as one user may"):
        machine.run(m.ChangeGroups("more", ("ann",)))


def test_pages_fit_a_record(machine: Machine) -> None:
    users = [f"user-{number:03}-" + "x" * 200 for number in range(130)]
    for number, user in enumerate(users):
        machine.run(m.AddUserKey(user, number.to_bytes(32)))
        machine.run(m.ChangeGroups("g" * 200, (user,)))
        machine.run(m.ChangeGroups("h" * 200, (user,)))
    for ask in (m.ListUsers, m.ListGroups):
        seen: list[str] = []
        more = True
        while more:
            reply = machine.ask(ask(seen[-1] if seen else ""))
            assert len(encode(reply)) <= limits.RECORD_BYTES
            seen += [each.user for each in reply.users]
            more = reply.more
        assert seen == users


def test_a_snapshot_has_them(machine: Machine) -> None:
    machine.run(m.AddUserKey("ann", public_key(PRIVATE)))
    machine.run(m.ChangeGroups("dev", ("ann", "bob")))
    again = Machine(Namespace.restore(list(machine.namespace.snapshot())))
    assert prove(again, KeyProver(PRIVATE).prove(ASKED)).user == "ann"
    assert again.ask(m.ListGroups()).users == machine.ask(m.ListGroups()).users
    again.namespace.check_invariants()
