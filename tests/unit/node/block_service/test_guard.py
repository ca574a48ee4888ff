"""Clients have the blocks that the primary gave them, for as long as it did."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import pytest

from memfs.errors import CapabilityError
from memfs.node.block_service.guard import GRANTS_SHOWN, SHOWN, Guard
from memfs.protocol import messages as m
from memfs.security import capabilities
from memfs.security.capabilities import READ, WRITE, Key
from memfs.transport.connection import Connection, Peer
from memfs.types import Identity

KEY = Key(7, b"k" * 32)


class Keys:
    """One key, of an age that the test sets; it counts how often it was asked for."""

    def __init__(self) -> None:
        self.wanted = True
        self.now = 0.0
        self.known = {KEY.number: KEY}
        self.found = 0

    def find(self, number: int) -> Key | None:
        self.found += 1
        return self.known.get(number)

    def age(self, number: int) -> float:
        return self.now if number in self.known else float("inf")


class _Cluster(NamedTuple):
    cluster: str = "cluster"


class Members:
    """A node that belongs to a cluster."""

    view = _Cluster()


class Line:
    """A connection, as far as it says who is there."""

    def __init__(self, user: str = "alice", client: int = 1, role: m.Role = m.Role.CLIENT) -> None:
        self.peer = Peer("", role, client, Identity(user))


def connection(user: str = "alice", client: int = 1) -> Connection:
    return cast(Connection, Line(user, client))


def made(rights: int, *inodes: tuple[int, int], expires: int = 600, user: str = "alice") -> bytes:
    whose = capabilities.holder("cluster", user, 1)
    return capabilities.make(KEY, whose, rights, expires, inodes)


def guarded() -> tuple[Guard, Keys]:
    keys = Keys()
    return Guard(cast(Any, Members()), cast(Any, keys), private_socket=False), keys


def written(inode: int, generation: int) -> m.SmallBlock:
    return m.SmallBlock(inode, 0, generation, 1, 10, 0)


def wanted(inode: int, generation: int = 1) -> m.BlockRange:
    return m.BlockRange(inode, 0, generation, 1, 0, 10)


def test_a_proof_is_computed_once_for_a_connection() -> None:
    guard, keys = guarded()
    alice, raw = connection(), made(READ, (5, 1))
    for _ in range(3):
        guard.check_read(alice, raw, wanted(5))
    assert keys.found == 1
    guard.check_read(connection(), raw, wanted(5))
    assert keys.found == 2, "another connection shows it for the first time"
    guard.forget(alice)
    guard.check_read(alice, raw, wanted(5))
    assert keys.found == 3


@pytest.mark.parametrize("raw", [b"", b"guess", made(READ, (5, 1))[:-1], bytes(45)])
def test_without_one_there_is_nothing(raw: bytes) -> None:
    guard, _ = guarded()
    with pytest.raises(CapabilityError):
        guard.check_read(connection(), raw, wanted(5))
    with pytest.raises(CapabilityError):
        guard.check_write(connection(), (raw,), (written(5, 1),))
    assert guard.refused == 2
    with pytest.raises(CapabilityError):
        guard.readable(connection(), (), [wanted(5)])
    with pytest.raises(CapabilityError):
        guard.check_write(connection(), (), [written(5, 1)])


def test_what_was_shown_by_another_is_nothing() -> None:
    guard, _ = guarded()
    raw = made(READ | WRITE, (5, 1))
    guard.check_read(connection(), raw, wanted(5))
    for other in (connection("mallory"), connection(client=2)):
        with pytest.raises(CapabilityError, match="not genuine, or somebody else's"):
            guard.check_read(other, raw, wanted(5))
        with pytest.raises(CapabilityError):
            guard.check_write(other, (raw,), (written(5, 1),))


def test_each_block_of_a_write_is_covered() -> None:
    guard, _ = guarded()
    raws = made(WRITE, (5, 1), (6, 1)), made(WRITE, (9, 4))
    guard.check_write(connection(), raws, [written(5, 1), written(9, 4), written(6, 1)])
    for bad in (written(7, 1), written(5, 2), written(9, 2**62), written(9, 3)):
        with pytest.raises(CapabilityError, match="no capability for writing"):
            guard.check_write(connection(), raws, [written(5, 1), bad])
    with pytest.raises(CapabilityError):
        guard.check_write(connection(), (made(READ, (5, 1)),), [written(5, 1)])


def test_many_ranges_are_read_up_to_the_first_that_may_not_be() -> None:
    guard, _ = guarded()
    raws = (made(READ, (5, 1), (6, 1)),)
    blocks = [wanted(5), wanted(6), wanted(7), wanted(5)]
    assert list(guard.readable(connection(), raws, blocks)) == blocks[:2]
    assert guard.readable(connection(), raws, blocks[:2]) == blocks[:2]
    assert guard.readable(connection(), (), []) == []
    with pytest.raises(CapabilityError, match="no capability for reading"):
        guard.readable(connection(), raws, blocks[2:])


def test_it_expires_also_where_it_was_shown_before() -> None:
    guard, keys = guarded()
    alice, raw = connection(), made(READ, (5, 1), expires=600)
    keys.now = 600
    guard.check_read(alice, raw, wanted(5))
    keys.now = 600.1
    for who in (alice, alice, connection()):
        with pytest.raises(CapabilityError, match="expired"):
            guard.check_read(who, raw, wanted(5))


def test_a_key_that_is_given_up_ends_what_it_proved() -> None:
    guard, keys = guarded()
    alice, raw = connection(), made(READ, (5, 1))
    guard.check_read(alice, raw, wanted(5))
    keys.known.clear()
    with pytest.raises(CapabilityError):
        guard.check_read(alice, raw, wanted(5))
    with pytest.raises(CapabilityError, match="a key that is not known here"):
        guard.check_read(connection(), raw, wanted(5))


def test_members_need_none_nor_anybody_where_none_are_wanted() -> None:
    guard, keys = guarded()
    node = cast(Connection, Line(role=m.Role.NODE))
    guard.check_read(node, b"", wanted(5))
    guard.check_write(node, (), [written(5, 2**62)])
    keys.wanted = False
    guard.check_read(connection(), b"", wanted(5))
    assert guard.lendable(m.GetDescriptors((m.BlockVersion(5, 0, 1, 1),))) is None


def test_descriptors_are_lent_of_what_is_covered() -> None:
    guard, _ = guarded()
    versions = m.BlockVersion(5, 0, 1, 1), m.BlockVersion(6, 0, 1, 1)
    shown = (made(READ, (5, 1)),)
    request = m.GetDescriptors(versions, shown, 1, "alice")
    assert guard.lendable(request) == [True, False]
    assert guard.lendable(m.GetDescriptors(versions[:1], shown, 1, "alice")) == [True]
    for bad in (
        request._replace(user="mallory"),
        request._replace(client=2),
        request._replace(capabilities=()),
        request._replace(versions=versions[1:]),
        request._replace(capabilities=(b"guess",)),
        request._replace(capabilities=(made(WRITE, (5, 1)),)),
    ):
        with pytest.raises(CapabilityError):
            guard.lendable(bad)


def test_what_a_connection_shows_is_bounded() -> None:
    guard, _ = guarded()
    alice = connection()
    for inode in range(1, 3 * SHOWN):
        guard.check_read(alice, made(READ, (inode, 1)), wanted(inode))
        assert len(guard._shown[alice].capabilities) <= SHOWN
    many = [made(READ, *[(3 * n + offset, 1) for n in range(200)]) for offset in range(1, 60)]
    for raw in many:
        guard._held(alice, (raw,))
        grants = sum(len(each.firsts) for each in guard._shown[alice].capabilities.values())
        assert grants == guard._shown[alice].grants[0] <= GRANTS_SHOWN
