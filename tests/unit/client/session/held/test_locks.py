"""File locks of a client: waiting, breaking off, and what is told when they are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from memfs import errors
from memfs.client.aiofiles import Opening
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.locking import FileLock
from memfs.client.session import request_ids
from memfs.client.session.held.locks import SessionLocks
from memfs.protocol import messages as m
from memfs.types import LOCK_END, LockKind
from tests.unit.client.fake_cluster import FakeCluster, FakeSession, Gate


class World:
    """A file, and two clients of its cluster."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.sessions = [self.cluster.session(), self.cluster.session()]
        self.one, self.two = (session.locks for session in self.sessions)
        self.inode = 0

    async def prepare(self) -> World:
        fs = self.cluster.connect()
        await fs.write_bytes("/f", b"x")
        self.inode = (await fs.stat("/f")).st_ino
        return self

    @property
    def held(self) -> int:
        return self.cluster.namespace.statistics().locks

    def expire(self, session: FakeSession) -> None:
        self.cluster.primary(0, 0, session.identity, m.ExpireSession(session.client))

    async def waiting(self, locks: SessionLocks, **options: object) -> asyncio.Task[None]:
        """A task that waits for the lock of owner 7."""
        task = asyncio.ensure_future(locks.acquire(self.inode, 7, **options))  # type: ignore[arg-type]
        await until(lambda: any(s.waits for s in self.cluster.namespace.sessions.values()))
        return task

    async def settled(self) -> None:
        await until(lambda: not any(session.background.busy for session in self.sessions))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it does not come true")


@pytest.fixture
async def world() -> World:
    return await World().prepare()


async def test_who_waits_gets_it_when_it_is_free(world: World) -> None:
    await world.one.acquire(world.inode, 1)
    task = await world.waiting(world.two, exclusive=False)
    await asyncio.sleep(0.01)
    assert not task.done()
    await world.one.release(world.inode, 1)
    await task
    assert world.two.holds(world.inode, 7) and not world.one.holds(world.inode, 1)


async def test_who_does_not_wait_hears_of_it(world: World) -> None:
    await world.one.acquire(world.inode, 1, start=5, end=9, pid=12)
    with pytest.raises(BlockingIOError):
        await world.two.acquire(world.inode, 1, wait=False)
    found = await world.two.test(world.inode, 1, exclusive=False)
    assert found is not None and found[:4] == (True, 5, 9, 12) and not found.own
    assert await world.one.test(world.inode, 1) is None
    own = await world.one.test(world.inode, 2)
    assert own is not None and own.own
    await world.two.acquire(world.inode, 1, start=10)


async def test_two_that_would_wait_for_each_other(world: World) -> None:
    await world.one.acquire(world.inode, 1, end=0)
    await world.two.acquire(world.inode, 7, start=1)
    task = await world.waiting(world.two, end=0)
    with pytest.raises(OSError, match="waits for a lock"):
        await world.one.acquire(world.inode, 1, start=1)
    await world.one.release(world.inode, 1)
    await task


async def test_an_interrupted_wait_holds_nothing(world: World) -> None:
    await world.one.acquire(world.inode, 1)
    interrupted = asyncio.Event()
    task = await world.waiting(world.two, interrupted=interrupted)
    interrupted.set()
    with pytest.raises(InterruptedError):
        await task
    await world.one.release(world.inode, 1)
    assert world.held == 0 and not world.two.holds(world.inode, 7)


async def test_an_interruption_that_comes_too_late_is_none(world: World) -> None:
    await world.one.acquire(world.inode, 1)
    interrupted = asyncio.Event()
    task = await world.waiting(world.two, interrupted=interrupted)
    unlock = m.SetLock(world.inode, m.LockMode.UNLOCK, 1)
    world.cluster.primary(world.sessions[0].client, 99, world.sessions[0].identity, unlock)
    interrupted.set()
    await task
    assert world.two.holds(world.inode, 7)


async def test_the_time_for_waiting_may_be_limited(world: World) -> None:
    await world.one.acquire(world.inode, 1)
    with pytest.raises(TimeoutError):
        await world.two.acquire(world.inode, 7, timeout=0.01)
    await world.settled()
    await world.one.release(world.inode, 1)
    assert world.held == 0


async def test_a_cancelled_wait_holds_nothing(world: World) -> None:
    await world.one.acquire(world.inode, 1)
    task = await world.waiting(world.two)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await world.settled()
    await world.one.release(world.inode, 1)
    assert world.held == 0


async def test_a_cancelled_request_holds_nothing(world: World) -> None:
    world.cluster.answer_seconds = 0.01
    task = asyncio.ensure_future(world.one.acquire(world.inode, 1))
    await asyncio.sleep(0.005)
    assert world.held == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    world.cluster.answer_seconds = 0.0
    await world.one.acquire(world.inode, 1)  # not before the way back is over
    await world.settled()
    assert world.held == 1


async def test_what_nobody_got_is_given_back_whatever_else_is_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_ids, "WINDOW", 1)
    world.cluster.answer_seconds = 0.01
    task = asyncio.ensure_future(world.one.acquire(world.inode, 1))
    await asyncio.sleep(0.005)
    task.cancel()
    await until(lambda: world.held == 0)
    await world.settled()


async def test_an_unlock_that_is_not_answered_is_done_all_the_same(world: World) -> None:
    await world.one.acquire(world.inode, 1)
    world.cluster.headless = True
    with pytest.raises(errors.UnavailableError):
        await world.one.release(world.inode, 1)
    world.cluster.headless = False
    await world.settled()
    assert world.held == 0


async def returning(world: World, gate: Gate, owner: int) -> None:
    """The owner holds the first byte, and a cancelled call for the next one is on its way back
    until ``gate`` opens."""
    await world.one.acquire(world.inode, owner, end=0)
    world.cluster.held[m.SetLock] = gate
    asking = asyncio.ensure_future(world.one.acquire(world.inode, owner, start=1, end=1))
    await gate.reached.wait()
    asking.cancel()
    await asyncio.wait([asking])


async def test_an_unlock_that_ends_behind_earlier_releases_is_done_all_the_same(
    world: World,
) -> None:
    gate = Gate()
    await returning(world, gate, 1)
    unlocking = asyncio.ensure_future(world.one.release(world.inode, 1))
    await asyncio.sleep(0)
    unlocking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unlocking
    assert not world.one.holds(world.inode, 1) and world.held == 1
    gate.opened.set()
    await world.settled()
    assert world.held == 0 and world.sessions[0].keepalive._holds == 0


async def test_a_part_whose_unlock_is_late_behind_earlier_releases_is_unlocked(
    world: World,
) -> None:
    gate = Gate()
    await returning(world, gate, 1)
    with pytest.raises(TimeoutError):
        await world.one.release(world.inode, 1, end=0, timeout=0.01)
    gate.opened.set()
    await world.settled()
    await world.two.acquire(world.inode, 1, wait=False)


async def test_who_locks_again_waits_for_all_that_goes_back(world: World) -> None:
    first, second = Gate(), Gate()
    await returning(world, first, 1)
    again = asyncio.ensure_future(world.one.acquire(world.inode, 1, end=0))
    await asyncio.sleep(0)
    world.cluster.held[m.SetLock] = second
    unlocking = asyncio.ensure_future(world.one.release(world.inode, 1))
    await asyncio.sleep(0)
    unlocking.cancel()
    await until(second.reached.is_set)  # by the unlock, on the side
    del world.cluster.held[m.SetLock]
    first.opened.set()
    await asyncio.sleep(0.01)
    assert not again.done()
    second.opened.set()
    await again
    await world.settled()
    assert world.held == 1 and world.one.holds(world.inode, 1)


async def test_what_is_not_held_costs_no_request(world: World) -> None:
    before = world.cluster.asked.total()
    await world.one.release(world.inode, 1)
    await world.one.release(world.inode, 1, kind=LockKind.WHOLE)
    assert world.cluster.asked.total() == before


async def test_a_part_can_be_unlocked(world: World) -> None:
    await world.one.acquire(world.inode, 1)
    await world.one.release(world.inode, 1, start=10, end=19)
    await world.two.acquire(world.inode, 1, start=10, end=19, wait=False)
    with pytest.raises(BlockingIOError):
        await world.two.acquire(world.inode, 1, start=9, end=9, wait=False)
    await world.one.release(world.inode, 1, start=0, end=LOCK_END)
    await world.two.acquire(world.inode, 1, wait=False)


async def test_lost_locks_are_told_at_the_unlock(world: World) -> None:
    await world.one.acquire(world.inode, 1)
    await world.one.acquire(world.inode, 2, kind=LockKind.WHOLE)
    world.expire(world.sessions[0])
    await world.two.acquire(world.inode, 1, wait=False)
    await world.one.verify()
    assert world.one.is_lost(world.inode, 1)
    for owner, kind in ((1, LockKind.RANGE), (2, LockKind.WHOLE)):
        with pytest.raises(errors.LocksLostError):
            await world.one.release(world.inode, owner, kind=kind)
    assert world.one.count == 0
    await world.one.acquire(world.inode, 3, kind=LockKind.WHOLE)
    await world.one.release(world.inode, 3, kind=LockKind.WHOLE)


async def test_a_wait_goes_on_when_the_session_ended(world: World) -> None:
    await world.one.acquire(world.inode, 1)
    task = await world.waiting(world.two)
    world.expire(world.sessions[1])
    await asyncio.sleep(0.01)
    await world.one.release(world.inode, 1)
    await task
    await world.two.release(world.inode, 7)


async def test_a_deleted_file_has_no_locks(world: World) -> None:
    fs = world.cluster.connect()
    await world.one.acquire(world.inode, 1)
    task = await world.waiting(world.two)
    await fs.remove("/f")
    with pytest.raises(errors.StaleHandleError):
        await task
    await world.one.release(world.inode, 1)
    assert world.one.count == 0


async def test_the_session_is_kept_alive_while_anything_is_held(world: World) -> None:
    keepalive = world.sessions[0].keepalive
    await world.one.acquire(world.inode, 1)
    assert keepalive.task is not None and keepalive._holds == 1
    await world.one.acquire(world.inode, 1, start=3, end=4, exclusive=False)
    await world.one.release(world.inode, 1)
    assert keepalive._holds == 0


# --- files -------------------------------------------------------------------------------------


async def test_open_files_exclude_one_another(world: World) -> None:
    fs = AsyncFileSystem(world.sessions[0])
    async with fs.open("/f", "rb") as one, fs.open("/f", "rb") as two:
        await one.lock(0, 10)
        await two.lock(10)
        with pytest.raises(BlockingIOError):
            await two.lock(9, 1, exclusive=False, blocking=False)
        with pytest.raises(TimeoutError):
            await two.lock(timeout=0.01)
        await world.settled()
        await one.unlock(9)
        await two.lock(9, 1, blocking=False)
        with pytest.raises(ValueError, match="negative"):
            await one.lock(-1)
    assert world.held == 0
    with pytest.raises(ValueError, match="closed"):
        await one.lock()


async def test_a_close_that_is_cancelled_while_it_drops_what_is_ahead_unlocks(
    world: World,
) -> None:
    fs = AsyncFileSystem(world.sessions[0])
    await fs.write_bytes("/large", bytes(range(256)) * 2000)
    file = await fs.open("/large", "rb", buffering=0)
    for _ in range(3):
        await file.read(5000)
    await file.lock()
    closing = asyncio.ensure_future(file.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    await world.settled()
    assert closing.cancelled() and world.held == 0


async def test_a_path_as_a_lock(world: World) -> None:
    one, two = map(AsyncFileSystem, world.sessions)
    async with one.lock("/made") as lock:
        assert (lock.path, lock.lost, await two.exists("/made")) == ("/made", False, True)
        with pytest.raises(BlockingIOError):
            await two.lock("/made", blocking=False)
        waiting = asyncio.ensure_future(start(two.lock("/made")))
        await asyncio.sleep(0.005)
        assert not waiting.done()
    await (await waiting).close()
    shared = [await fs.lock("/made", exclusive=False) for fs in (one, two)]
    for lock in shared:
        await lock.close()
        await lock.close()
    assert world.held == 0


async def test_a_lock_is_on_what_has_the_name_now(world: World) -> None:
    one, two = map(AsyncFileSystem, world.sessions)
    first = await one.lock("/made")
    waiting = asyncio.ensure_future(start(two.lock("/made")))
    await asyncio.sleep(0.005)
    await one.rename("/made", "/away")
    await first.close()
    second = await waiting
    assert world.held == 1 and await one.exists("/made")
    with pytest.raises(BlockingIOError):
        await one.lock("/made", blocking=False)
    await second.close()


async def start(opening: Opening) -> FileLock:
    return await opening  # type: ignore[no-any-return]


async def test_a_path_that_cannot_be_made(world: World) -> None:
    fs = AsyncFileSystem(world.sessions[0])
    with pytest.raises(FileNotFoundError):
        await fs.lock("/missing/lock")
