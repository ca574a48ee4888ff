"""A full node refuses commands that make the namespace grow, and takes those that free."""

from __future__ import annotations

import pytest

from memfs.errors import NoSpaceError
from memfs.limits import KIB, MIB
from memfs.node.blocks import BlockStore
from memfs.node.replication.namespace_room import (
    CHANGING,
    CHANGING_BYTES,
    CHANGING_BYTES_LEAST,
    GROWING,
    GROWING_BYTES,
    GROWING_BYTES_LEAST,
    NamespaceRoom,
)
from memfs.node.resources.footprint import FREE_BYTES
from memfs.protocol import messages as m
from memfs.protocol.messages import BlockVersion
from memfs.types import NodeUsage
from tests.unit.node.blocks.writing import store_whole

LIMIT = 64 * MIB
MAKE, CHANGE = m.MakeDirectory(b"/d"), m.Rename(b"/a", b"/b")
FREES = (
    m.Unlink(b"/a"),
    m.UnlinkMany((b"/a",)),
    m.RemoveDirectory(b"/a", recursive=True),
    m.RemoveXattr(b"/a", "user.a"),
    m.ReleaseLease(1, 1),
    m.ReleaseInodes((1,)),
    m.SetLock(1, m.LockMode.UNLOCK, 1),
    m.CancelLock(1),
    m.ExpireSession(1),
    m.Reclaim(1),
    m.EvictFiles(()),
)


class DeadBytes(BlockStore):
    """A store with so many dead bytes between its blocks."""

    def __init__(self, count: int) -> None:
        super().__init__(LIMIT)
        self._count = count

    @property
    def dead(self) -> int:
        return self._count


class Node:
    """A node whose process takes so much, and what a member says of itself."""

    def __init__(self, process: int, dead: int = 0) -> None:
        self.store = DeadBytes(dead)
        self.store.measured(process)
        self.backup = NodeUsage(2, 0, LIMIT, 0)
        self._room = NamespaceRoom(self.store, lambda number: self.backup)

    def remember(self, size: int) -> bool:
        return self._room.remember(size)

    def take(self, request: object, size: int = 100, copies: tuple[int, ...] = ()) -> None:
        self._room.take(request, size, copies)


@pytest.mark.parametrize(
    ("request_", "dead", "beyond"),
    [
        (MAKE, 0, GROWING_BYTES),
        (CHANGE, 0, CHANGING_BYTES),
        (MAKE, 4 * MIB, GROWING_BYTES - 4 * MIB),
        (MAKE, 16 * MIB, GROWING_BYTES_LEAST),
        (CHANGE, 16 * MIB, CHANGING_BYTES_LEAST),
    ],
)
def test_there_is_a_little_beyond_the_limit_which_blocks_may_have_used_up(
    request_: object, dead: int, beyond: int
) -> None:
    Node(LIMIT + beyond - KIB, dead).take(request_)
    with pytest.raises(NoSpaceError, match="full by"):
        Node(LIMIT + beyond, dead).take(request_)


def test_what_need_not_be_remembered_leaves_room_for_commands() -> None:
    node = Node(LIMIT + GROWING_BYTES_LEAST - 2 * KIB)
    assert node.remember(KIB) and not node.remember(KIB)
    node.take(MAKE)
    node.remember(GROWING_BYTES - GROWING_BYTES_LEAST)
    with pytest.raises(NoSpaceError):
        node.take(MAKE)
    unmeasured = Node(2 * LIMIT)
    unmeasured.store.measured(None)
    assert unmeasured.remember(KIB)


def test_what_there_is_beyond_the_limit_is_within_64_mib() -> None:
    for dead in range(0, 17 * MIB, MIB):
        beyond = max(CHANGING_BYTES_LEAST, CHANGING_BYTES - dead)
        assert FREE_BYTES + dead + beyond <= 64 * MIB


@pytest.mark.parametrize("request_", FREES)
def test_what_gives_back_is_taken_on_a_full_node(request_: object) -> None:
    Node(4 * LIMIT).take(request_)


def test_what_came_since_the_last_measurement_counts() -> None:
    """An attribute has 64 KiB, and thousands come in a second."""
    node, taken = Node(0), 0
    with pytest.raises(NoSpaceError):
        while taken < 100_000:
            node.take(m.SetXattr(b"/f", "user.a", b""), 64 * KIB)
            taken += 1
    assert taken <= (LIMIT + GROWING_BYTES) // (64 * KIB)
    node.store.measured(LIMIT // 2)
    node.take(MAKE)


def test_what_is_cached_gives_way() -> None:
    """To names, and to the process when it has grown."""
    node = Node(LIMIT // 2)
    cached = [BlockVersion(number, 0, 0, 0) for number in range(1, 40)]

    def drop(lacking: int) -> None:
        before = node.store.used
        while node.store.used > before - lacking:
            node.store.discard(cached.pop(0))

    node.store.on_shortage(drop)
    for version in list(cached):
        store_whole(node.store, version, bytes(MIB), MIB)
    assert 30 <= len(cached) <= 32
    for _ in range(20_000):
        node.take(MAKE)
    assert 10 < len(cached) < 25 and node.store.used <= LIMIT
    node.store.measured(LIMIT - 5 * MIB)
    assert 2 <= len(cached) <= 5 and node.store.used <= LIMIT
    assert node.remember(KIB)


def test_a_copy_on_a_full_node_counts_too() -> None:
    node = Node(0)
    node.backup = NodeUsage(2, LIMIT + GROWING_BYTES, LIMIT, 0)
    node.take(MAKE)
    with pytest.raises(NoSpaceError, match="member 2"):
        node.take(MAKE, copies=(2,))
    node.take(CHANGE, copies=(2,))
    node.backup = NodeUsage(2, LIMIT, LIMIT, 0)
    with pytest.raises(NoSpaceError):  # its word is older than what it was sent since
        for _ in range(GROWING_BYTES // KIB):
            node.take(MAKE, KIB, copies=(2,))
    node.backup = NodeUsage(2, 0, 0, 0)
    node.take(MAKE, copies=(2,))


def test_near_the_containers_limit_nothing_new_is_made() -> None:
    node = Node(0)
    node.store.measured(0, "the container is full")
    with pytest.raises(NoSpaceError, match="container"):
        node.take(MAKE)
    node.take(CHANGE)


def test_where_nobody_measures_nothing_is_refused() -> None:
    node = Node(4 * LIMIT)
    node.store.measured(None)
    node.take(MAKE)
    assert node.store.used == 0


def test_every_command_is_decided_about() -> None:
    free = {type(request) for request in FREES}
    small = {  # bounded in number by themselves, or the node's own, which follow other commands
        *(m.AddUserKey, m.RemoveUserKey, m.ChangeGroups, m.SetLimit, m.SetQuota, m.AddTokenKey),
        *(m.RenewToken, m.CancelToken, m.TakeOver, m.Unmount, m.Pin, m.ForgetObjects),
        *(m.SetReplicas, m.SetManyReplicas, m.BeginPersist, m.EndPersist, m.SetAside),
        *(m.BuryObject, m.ExpectOpens, m.FreeUnlinked),
    }
    commands = {kind for kind, spec in m.BY_REQUEST.items() if spec.command}
    assert GROWING | CHANGING | free | small == commands
