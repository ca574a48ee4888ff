"""File locks: fcntl's ranges, flock, waiting, deadlocks, and how they end."""

from __future__ import annotations

import random
from typing import Any

import pytest

from memfs import limits
from memfs.errors import (
    AccessDeniedError,
    InvalidArgumentError,
    LockDeadlockError,
    NoLocksError,
    StaleHandleError,
    WouldBlockError,
)
from memfs.protocol import messages as m
from memfs.protocol.messages import LockMode, LockState
from memfs.types import LOCK_END, LockKind

from ..machine import Machine

SHARED, EXCLUSIVE, UNLOCK = LockMode
WHOLE = LockKind.WHOLE


class Locker:
    """One file and short words for locking it."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()
        self.inode = self.machine.file("/f", mode=0o666).inode

    def set(
        self,
        owner: int,
        mode: int,
        start: int = 0,
        end: int = LOCK_END,
        *,
        client: int = 1,
        user: str = "root",
        **options: Any,
    ) -> m.LockReply:
        options.setdefault("inode", self.inode)
        request = m.SetLock(mode=mode, owner=owner, start=start, end=end, **options)
        return self.machine.run(request, user, client)  # type: ignore[no-any-return]

    def wait(self, owner: int, mode: int, *span: int, **options: Any) -> int:
        """The ticket."""
        return self.set(owner, mode, *span, wait=True, **options).ticket

    def get(self, owner: int, mode: int, *span: int, client: int = 1, **options: Any) -> Any:
        return self.machine.ask(m.GetLock(self.inode, mode, owner, client, 0, *span, **options))

    def state(self, ticket: int, client: int = 1) -> LockState:
        session = self.machine.namespace.sessions.get(client)
        number = session.number if session is not None else 1
        reply = self.machine.ask(m.AwaitLock(client, self.inode, number, ticket))
        return LockState(reply.state)

    def held(self, kind: int = 0) -> list[tuple[int, int, int, bool]]:
        """(owner, start, end, exclusive)"""
        volume = self.machine.namespace.volume
        slot = volume.tree.inodes.slot_of(self.inode)
        locks = volume.locks.held.get((slot, kind), ())
        return [(lock.owner, lock.start, lock.end, lock.exclusive) for lock in locks]


@pytest.fixture
def locker() -> Locker:
    return Locker()


# --- ranges ------------------------------------------------------------------------------------


def test_readers_share_and_writers_do_not(locker: Locker) -> None:
    locker.set(1, SHARED, 0, 99)
    locker.set(2, SHARED, 50, 149, client=2)
    with pytest.raises(WouldBlockError):
        locker.set(3, EXCLUSIVE, 99, 99, client=3)
    locker.set(3, EXCLUSIVE, 150, 200, client=3)
    with pytest.raises(WouldBlockError) as raised:
        locker.set(1, SHARED, 150, 150)
    assert isinstance(raised.value, BlockingIOError)


def test_an_owner_is_of_its_client(locker: Locker) -> None:
    locker.set(1, EXCLUSIVE)
    with pytest.raises(WouldBlockError):
        locker.set(1, EXCLUSIVE, client=2)


def test_own_locks_merge_split_and_change_mode(locker: Locker) -> None:
    locker.set(1, SHARED, 0, 9)
    locker.set(1, SHARED, 10, 19)
    assert locker.held() == [(1, 0, 19, False)]
    locker.set(1, EXCLUSIVE, 5, 14)
    assert locker.held() == [(1, 0, 4, False), (1, 5, 14, True), (1, 15, 19, False)]
    locker.set(1, UNLOCK, 8, 10)
    assert locker.held() == [
        (1, 0, 4, False),
        (1, 5, 7, True),
        (1, 11, 14, True),
        (1, 15, 19, False),
    ]
    locker.set(1, SHARED, 3, LOCK_END)
    assert locker.held() == [(1, 0, LOCK_END, False)]
    locker.set(1, UNLOCK)
    assert locker.held() == [] and not locker.machine.namespace.volume.locks.count


@pytest.mark.parametrize("seed", range(12))
def test_ranges_are_as_if_each_byte_were_locked_by_itself(seed: int) -> None:
    locker, dice = Locker(), random.Random(seed)
    size = 16
    cells: list[dict[int, bool]] = [{} for _ in range(size)]
    for _ in range(150):
        owner, mode = dice.randrange(1, 4), dice.choice(list(LockMode))
        start = dice.randrange(size)
        end = dice.randrange(start, size)
        span = cells[start : end + 1]
        refused = mode != UNLOCK and any(
            other != owner and (mode == EXCLUSIVE or exclusive)
            for cell in span
            for other, exclusive in cell.items()
        )
        try:
            locker.set(owner, mode, start, end, client=owner)
        except WouldBlockError:
            assert refused
            continue
        assert not refused
        for cell in span:
            cell.pop(owner, None)
            if mode != UNLOCK:
                cell[owner] = mode == EXCLUSIVE
        found: list[dict[int, bool]] = [{} for _ in range(size)]
        for holder, first, last, exclusive in locker.held():
            for at in range(first, last + 1):
                assert holder not in found[at]
                found[at][holder] = exclusive
        assert found == cells


def test_who_is_in_the_way(locker: Locker) -> None:
    locker.set(1, SHARED, 10, 19, pid=77)
    assert locker.get(2, SHARED).mode == UNLOCK
    assert locker.get(2, EXCLUSIVE) == (SHARED, 10, 19, 77, 1, 1)
    assert locker.get(1, EXCLUSIVE).mode == UNLOCK
    assert locker.get(1, EXCLUSIVE, client=2).mode == SHARED
    assert locker.get(2, EXCLUSIVE, 0, 9).mode == UNLOCK


@pytest.mark.parametrize(
    "request_",
    [
        {"mode": 3},
        {"mode": 0, "kind": 2},
        {"mode": 0, "start": 5, "end": 4},
        {"mode": 0, "start": -1},
        {"mode": 0, "owner": 1 << 64},
        {"mode": 0, "owner": -1},
    ],
)
def test_senseless_requests(locker: Locker, request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        locker.set(**{"owner": 1, **request_})


# --- waiting -----------------------------------------------------------------------------------


def test_unlocking_grants_what_waited(locker: Locker) -> None:
    locker.set(1, EXCLUSIVE)
    first = locker.wait(2, SHARED, client=2)
    second = locker.wait(3, SHARED, client=3)
    third = locker.wait(4, EXCLUSIVE, client=3)
    assert locker.state(first, 2) == LockState.WAITING
    entry = locker.machine.entry(m.SetLock(locker.inode, UNLOCK, 1), client=1)
    assert locker.machine.apply(entry).woken == (first, second)
    assert locker.state(first, 2) == locker.state(second, 3) == LockState.GRANTED
    assert locker.state(third, 3) == LockState.WAITING
    locker.set(2, UNLOCK, client=2)
    locker.set(3, UNLOCK, client=3)
    assert locker.held() == [(4, 0, LOCK_END, True)]


def test_a_downgrade_grants_too(locker: Locker) -> None:
    locker.set(1, EXCLUSIVE)
    ticket = locker.wait(2, SHARED, 5, 6, client=2)
    locker.set(1, SHARED, 0, 9)
    assert locker.state(ticket, 2) == LockState.GRANTED


def test_who_conflicts_with_nobody_does_not_wait_behind_others(locker: Locker) -> None:
    locker.set(1, SHARED)
    locker.wait(2, EXCLUSIVE)
    assert locker.wait(3, SHARED) == 0


def test_a_wait_can_be_cancelled_until_it_is_granted(locker: Locker) -> None:
    locker.set(1, EXCLUSIVE)
    ticket = locker.wait(2, EXCLUSIVE, client=2)
    run = locker.machine.run
    assert not run(m.CancelLock(ticket), client=3).cancelled
    assert run(m.CancelLock(ticket), client=2).cancelled
    assert not run(m.CancelLock(ticket), client=2).cancelled
    ticket = locker.wait(2, EXCLUSIVE, client=2)
    locker.set(1, UNLOCK)
    assert not run(m.CancelLock(ticket), client=2).cancelled
    assert locker.held() == [(2, 0, LOCK_END, True)]


# --- deadlocks ---------------------------------------------------------------------------------


def test_two_owners_that_wait_for_each_other(locker: Locker) -> None:
    locker.set(1, EXCLUSIVE, 0, 0)
    locker.set(2, EXCLUSIVE, 1, 1, client=2)
    locker.wait(1, EXCLUSIVE, 1, 1)
    with pytest.raises(LockDeadlockError):
        locker.wait(2, EXCLUSIVE, 0, 0, client=2)


def test_a_cycle_over_several_files_and_clients(locker: Locker) -> None:
    inodes = [locker.machine.file(f"/g{n}").inode for n in range(5)]
    for n, inode in enumerate(inodes):
        locker.set(n, EXCLUSIVE, client=n + 1, inode=inode)
    for n in range(4):
        assert locker.wait(n, SHARED, client=n + 1, inode=inodes[n + 1])
    with pytest.raises(LockDeadlockError):
        locker.wait(4, SHARED, client=5, inode=inodes[0])


def test_a_chain_is_no_deadlock(locker: Locker) -> None:
    locker.set(1, EXCLUSIVE, 0, 0)
    locker.set(2, EXCLUSIVE, 1, 1)
    assert locker.wait(2, EXCLUSIVE, 0, 0)
    assert locker.wait(3, EXCLUSIVE, 1, 1)
    assert locker.wait(3, EXCLUSIVE, 0, 0)


def test_two_upgrades_are_a_deadlock(locker: Locker) -> None:
    locker.set(1, SHARED)
    locker.set(2, SHARED)
    locker.wait(1, EXCLUSIVE)
    with pytest.raises(LockDeadlockError):
        locker.wait(2, EXCLUSIVE)
    locker.set(2, UNLOCK)
    assert locker.held() == [(1, 0, LOCK_END, True)]


def test_whole_files_are_not_looked_at(locker: Locker) -> None:
    other = locker.machine.file("/g").inode
    locker.set(1, EXCLUSIVE, kind=WHOLE)
    locker.set(2, EXCLUSIVE, kind=WHOLE, inode=other)
    locker.wait(1, EXCLUSIVE, kind=WHOLE, inode=other)
    assert locker.wait(2, EXCLUSIVE, kind=WHOLE)


# --- whole files -------------------------------------------------------------------------------


def test_kinds_do_not_meet(locker: Locker) -> None:
    locker.set(1, EXCLUSIVE, kind=WHOLE)
    locker.set(2, EXCLUSIVE)
    with pytest.raises(WouldBlockError):
        locker.set(2, SHARED, 7, 7, kind=WHOLE)


def test_to_change_the_mode_of_a_whole_lock_gives_it_up_first(locker: Locker) -> None:
    locker.set(1, SHARED, kind=WHOLE)
    locker.set(2, SHARED, kind=WHOLE)
    with pytest.raises(WouldBlockError):
        locker.set(1, EXCLUSIVE, kind=WHOLE)
    assert locker.held(WHOLE) == [(2, 0, LOCK_END, False)]
    ticket = locker.wait(1, EXCLUSIVE, kind=WHOLE)
    locker.set(2, EXCLUSIVE, kind=WHOLE)
    locker.set(2, SHARED, kind=WHOLE)
    assert locker.state(ticket) == LockState.WAITING
    locker.set(2, UNLOCK, kind=WHOLE)
    assert locker.held(WHOLE) == [(1, 0, LOCK_END, True)]


def test_directories_can_be_locked_and_symlinks_cannot(locker: Locker) -> None:
    locker.set(1, EXCLUSIVE, kind=WHOLE, inode=locker.machine.mkdir("/d").inode)
    link = locker.machine.run(m.MakeSymlink(b"/l", b"f")).attributes.inode
    with pytest.raises(InvalidArgumentError):
        locker.set(1, EXCLUSIVE, kind=WHOLE, inode=link)


# --- permission --------------------------------------------------------------------------------


def test_who_could_not_open_the_file_cannot_lock_it(locker: Locker) -> None:
    run = locker.machine.run
    run(m.SetAttributes(b"/f", mode=0o600))
    with pytest.raises(AccessDeniedError):
        locker.set(1, SHARED, user="alice")
    with pytest.raises(AccessDeniedError):
        locker.machine.ask(m.GetLock(locker.inode, SHARED, 1, 1), "alice")
    run(m.SetAttributes(b"/f", mode=0o602))
    locker.set(1, EXCLUSIVE, user="alice")
    run(m.SetAttributes(b"/f", mode=0, owner="bob"))
    locker.set(1, UNLOCK, user="alice")
    locker.set(2, EXCLUSIVE, user="bob")


def test_the_id_of_another_client_is_not_told(locker):
    """It is what a connection speaks as that client by."""
    locker.set(1, EXCLUSIVE, 0, 9, client=1234567)
    locker.set(2, EXCLUSIVE, 20, 29, client=1234567)
    locker.set(1, EXCLUSIVE, 40, 49, client=7654321)
    first, second, other = (locker.get(1, SHARED, at, at) for at in (0, 20, 40))
    assert first.client == second.client != other.client
    assert not {first.client, other.client} & {1234567, 7654321}
    assert locker.get(3, SHARED, 0, 0, client=1234567).client == 1234567


# --- ends --------------------------------------------------------------------------------------


def test_the_end_of_a_session_unlocks_and_grants(locker: Locker) -> None:
    locker.set(1, EXCLUSIVE)
    locker.set(1, EXCLUSIVE, kind=WHOLE)
    other = locker.wait(2, EXCLUSIVE, client=2)
    flock = locker.wait(2, EXCLUSIVE, kind=WHOLE, client=2)
    own = locker.wait(5, EXCLUSIVE)
    before = locker.machine.namespace.sessions[1].number
    outcome = locker.machine.apply(locker.machine.entry(m.ExpireSession(1)))
    assert sorted(outcome.woken) == sorted((other, flock, own))
    assert locker.state(other, 2) == locker.state(flock, 2) == LockState.GRANTED
    assert locker.machine.ask(m.AwaitLock(1, locker.inode, before, own)).state == LockState.LOST
    assert 1 not in locker.machine.namespace.sessions


def test_a_later_session_has_another_number(locker: Locker) -> None:
    first = locker.set(1, SHARED).session
    assert locker.set(2, SHARED).session == first
    assert locker.set(1, UNLOCK).session == locker.set(2, UNLOCK).session == first
    locker.machine.run(m.ExpireSession(1))
    assert locker.set(1, UNLOCK).session == 0
    assert locker.set(1, SHARED).session > first


def test_locks_go_with_the_inode(locker: Locker) -> None:
    locker.set(1, EXCLUSIVE)
    ticket = locker.wait(2, EXCLUSIVE, client=2)
    outcome = locker.machine.apply(locker.machine.entry(m.Unlink(b"/f")))
    assert outcome.woken == (ticket,)
    assert locker.state(ticket, 2) == LockState.LOST
    with pytest.raises(StaleHandleError):
        locker.set(1, UNLOCK)
    assert locker.machine.namespace.statistics().locks == 0


def test_locks_of_deleted_directories_and_joined_files_go_too() -> None:
    machine = Machine()
    locker = Locker(machine)
    for path in ("/d/e", "/x"):
        locker.set(1, SHARED, kind=WHOLE, inode=machine.mkdir(path).inode)
    source = machine.file("/d/s").inode
    locker.set(1, SHARED, inode=source)
    machine.run(m.RemoveDirectory(b"/d", recursive=True))
    machine.run(m.RemoveDirectory(b"/x"))
    machine.reclaim()
    joined = machine.file("/j", 4096)
    locker.set(1, SHARED, inode=joined.inode)
    machine.run(m.Concat(b"/f", (b"/j",)))
    assert machine.namespace.statistics().locks == 0


def test_bounds(locker: Locker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOCKS_PER_FILE", 3)
    for start in (0, 2, 4):
        locker.set(1, EXCLUSIVE, start, start)
    with pytest.raises(NoLocksError):
        locker.set(1, EXCLUSIVE, 6, 6)
    locker.set(1, UNLOCK)
    monkeypatch.setattr(limits, "LOCKS_PER_SESSION", 2)
    other = locker.machine.file("/g").inode
    locker.set(1, EXCLUSIVE, 0, 0)
    locker.set(1, EXCLUSIVE, 0, 0, inode=other)
    with pytest.raises(NoLocksError):
        locker.set(1, EXCLUSIVE, 2, 2)
    monkeypatch.setattr(limits, "LOCK_WAITS_PER_SESSION", 1)
    locker.wait(1, EXCLUSIVE, 0, 0, client=2)
    with pytest.raises(NoLocksError):
        locker.wait(1, EXCLUSIVE, 0, 0, client=2)
    monkeypatch.setattr(limits, "LOCKS", 2)
    with pytest.raises(NoLocksError):
        locker.set(1, SHARED, 9, 9, client=3)


# --- the replicated state ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_a_copy_from_a_snapshot_goes_on_alike(seed: int) -> None:
    locker, dice = Locker(), random.Random(seed)
    machine = locker.machine
    inodes = [locker.inode, machine.file("/g").inode, machine.mkdir("/d").inode]

    def draw() -> Any:
        chance = dice.random()
        if chance < 0.03:
            return m.ExpireSession(dice.randrange(1, 5))
        if chance < 0.1:
            return m.CancelLock(dice.randrange(machine.namespace.applied + 1))
        start = dice.randrange(20)
        return m.SetLock(
            dice.choice(inodes),
            dice.choice((SHARED, EXCLUSIVE, EXCLUSIVE, UNLOCK)),
            dice.randrange(3),
            dice.choice((0, 0, 1)),
            start,
            dice.choice((start, start + 5, LOCK_END)),
            wait=dice.random() < 0.6,
        )

    for _ in range(120):
        machine.apply(machine.entry(draw(), client=dice.randrange(1, 5)))
    copy = machine.copy()
    assert list(copy.namespace.snapshot()) == list(machine.namespace.snapshot())
    for _ in range(120):
        entry = machine.entry(draw(), client=dice.randrange(1, 5))
        assert machine.apply(entry) == copy.apply(entry)
        assert machine.namespace.digest == copy.namespace.digest


def test_a_repeated_request_is_answered_as_before(locker: Locker) -> None:
    locker.set(1, EXCLUSIVE)
    machine = locker.machine
    entry = machine.entry(m.SetLock(locker.inode, EXCLUSIVE, 2, wait=True), client=2)
    ticket = machine.apply(entry).record.ticket
    again = machine.apply(entry._replace(index=entry.index + 1))
    assert again.record.ticket == ticket
    assert len(machine.namespace.sessions[2].waits) == 1
