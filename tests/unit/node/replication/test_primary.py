"""Primary, backup links and backups together, over a fake pool: order, acks, failures."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from memfs import errors, limits
from memfs.limits import MIB
from memfs.node.blocks import BlockStore
from memfs.node.journal.namespace_journal import NamespaceJournal
from memfs.node.log.recent import RecentLog
from memfs.node.namespace import Namespace, Settings
from memfs.node.replication.backup import Backup
from memfs.node.replication.backup_link import BackupLink
from memfs.node.replication.namespace_room import NamespaceRoom
from memfs.node.replication.primary import Primary
from memfs.protocol import messages as m
from memfs.transport.connection import Answer
from memfs.transport.environment import Environment
from memfs.types import BlockRef, Identity, Member, NodeUsage

SETTINGS = Settings("root", "supergroup", 2, 4096, 4)
ROOT = Identity("root", ("root",))


class Clock:
    now = 0

    def wall_ns(self) -> int:
        self.now += 1
        return self.now

    def monotonic(self) -> float:
        return self.now / 1e9

    def boottime_ns(self) -> int:
        return self.now


class FakeConnection:
    """Delivers requests to a backup; a gate holds back or fails the answers."""

    def __init__(self, backup: Backup) -> None:
        self.backup = backup
        self.held: list[Callable[[], None]] = []
        self.hold = False
        self.error: Exception | None = None
        self.refused: type | None = None
        """Requests of this kind fail, all others do not."""
        self.frames: list[Any] = []

    def call(
        self, request: Any, payload: Any = (), *, request_id: int, timeout: float, epoch: int
    ) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.frames.append(request)
        data = memoryview(payload[0] if payload else b"")

        def deliver() -> None:
            if self.error is not None:
                future.set_exception(self.error)
                return
            if self.refused is type(request):
                future.set_exception(errors.NoSpaceError("the disk of the node's journal fails"))
                return
            if isinstance(request, m.RenewLease):
                self.backup.note_committed(request.committed)
                future.set_result(Answer(m.Empty(), memoryview(b""), epoch))
                return
            serve = self.backup.replicate
            if isinstance(request, m.InstallSnapshot):
                serve = cast(Any, self.backup.install)
            future.set_result(Answer(serve(request, data), memoryview(b""), epoch))

        if self.hold:
            self.held.append(deliver)
        else:
            asyncio.get_running_loop().call_soon(deliver)
        return future

    def release(self) -> None:
        self.hold = False
        for deliver in self.held:
            deliver()
        self.held.clear()


class FakePool:
    def __init__(self) -> None:
        self.connections: dict[int, FakeConnection] = {}

    def next_request_id(self) -> int:
        return 1

    async def control(self, member: Member) -> FakeConnection:
        return self.connections.setdefault(member.number, FakeConnection(Backup()))

    bulk = control


class World:
    """A primary with a record of what it asked to discard and which backups it lost."""

    def __init__(
        self, feed: NamespaceJournal | None = None, room: NamespaceRoom | None = None
    ) -> None:
        self.pool = FakePool()
        self.discarded: list[BlockRef] = []
        self.lost: list[BackupLink] = []
        environment = Environment(Clock(), random.Random(0), cast(Any, None), cast(Any, None))
        namespace = Namespace(SETTINGS, 1)
        self.primary = Primary(
            namespace,
            RecentLog(namespace.applied, namespace.digest),
            environment,
            cast(Any, self.pool),
            epoch=lambda: 1,
            discard=lambda refs: functools.partial(self.discarded.extend, refs),
            lost=self.lost.append,
            lease_seconds=2.0,
            journal=feed,
            room=room,
        )
        self.primary.opens.begin()
        self.requests = 0

    def submit(self, request: Any, client: int = 7) -> Any:
        self.requests += 1
        return self.repeat(request, client)

    def repeat(self, request: Any, client: int = 7) -> Any:
        """Send the last request once more."""
        opcode = m.BY_REQUEST[type(request)].opcode
        return self.primary.submit(request, opcode, client, self.requests, ROOT)

    async def backup(self, number: int) -> FakeConnection:
        await self.primary.add_backup(member(number))
        return self.pool.connections[number]


class FullDisk(NamespaceJournal):
    """A journal whose disk takes nothing."""

    def __init__(self) -> None:
        super().__init__(None, lambda: False)
        self.full = False

    def check_room(self, request: object) -> None:
        if self.full:
            raise errors.NoSpaceError("the disk of the node's journal is full")


def member(number: int) -> Member:
    return Member(number, f"n{number}", number, "127.0.0.1", number)


async def test_on_a_full_node_what_was_done_is_told_and_nothing_new_is_done() -> None:
    store = BlockStore(MIB)
    world = World(room=NamespaceRoom(store, lambda number: NodeUsage(number, 0, 0, 0)))
    store.measured(0)
    assert isinstance(world.submit(m.MakeDirectory(b"/d")), m.MadeReply)
    assert store.used, "until the process is measured again"
    store.measured(24 * MIB)
    assert isinstance(world.repeat(m.MakeDirectory(b"/d")), m.MadeReply)
    applied = world.primary.namespace.applied
    with pytest.raises(errors.NoSpaceError):
        world.submit(m.MakeDirectory(b"/e"))
    assert world.primary.namespace.applied == applied
    world.submit(m.RemoveDirectory(b"/d"))


async def test_alone_a_command_is_answered_at_once() -> None:
    world = World()
    reply = world.submit(m.MakeDirectory(b"/d"))
    assert reply.attributes.mode == 0o755
    with pytest.raises(FileExistsError):
        world.submit(m.MakeDirectory(b"/d"))


async def test_a_command_waits_for_every_backup() -> None:
    world = World()
    first, second = await world.backup(2), await world.backup(3)
    first.hold = second.hold = True
    answer = world.submit(m.MakeDirectory(b"/d"))
    await asyncio.sleep(0)
    assert not answer.done()
    first.release()
    await asyncio.sleep(0)
    assert not answer.done()
    second.release()
    assert (await answer).attributes.mode == 0o755
    states = [first.backup.namespace, second.backup.namespace]
    assert all(state and state.digest == world.primary.namespace.digest for state in states)


async def test_a_full_disk_refuses_what_is_new_and_not_what_was_taken() -> None:
    disk = FullDisk()
    world = World(disk)
    backup = await world.backup(2)
    backup.hold = True
    first = world.submit(m.MakeDirectory(b"/d"))
    await asyncio.sleep(0)
    disk.full = True
    again = world.repeat(m.MakeDirectory(b"/d"))
    backup.release()
    assert await again == await first
    with pytest.raises(errors.NoSpaceError):
        world.submit(m.MakeDirectory(b"/e"))


async def test_an_error_travels_the_same_way() -> None:
    world = World()
    backup = await world.backup(2)
    backup.hold = True
    answer = world.submit(m.Unlink(b"/missing"))
    await asyncio.sleep(0)
    assert not answer.done()
    backup.release()
    with pytest.raises(FileNotFoundError):
        await answer


async def test_the_commands_of_one_tick_are_one_frame() -> None:
    world = World()
    backup = await world.backup(2)
    backup.frames.clear()
    answers = [world.submit(m.MakeDirectory(b"/%d" % i)) for i in range(50)]
    await asyncio.gather(*answers)
    assert [frame.count for frame in backup.frames] == [50]


async def test_reads_wait_for_what_they_saw() -> None:
    world = World()
    backup = await world.backup(2)
    before = world.primary.query(ROOT, m.Lookup(b"/"))
    assert before.attributes.children == 0
    backup.hold = True
    world.submit(m.MakeDirectory(b"/d"))
    seen = world.primary.query(ROOT, m.Lookup(b"/d"))
    await asyncio.sleep(0)
    assert not seen.done()
    backup.release()
    assert (await seen).attributes.kind == 1


async def test_refused_reads_wait_for_what_they_saw() -> None:
    world = World()
    backup = await world.backup(2)
    await world.submit(m.MakeDirectory(b"/d"))
    backup.hold = True
    world.submit(m.RemoveDirectory(b"/d"))
    refused = world.primary.query(ROOT, m.Lookup(b"/d"))
    await asyncio.sleep(0)
    assert not refused.done()
    backup.release()
    with pytest.raises(FileNotFoundError):
        await refused


async def test_a_stat_does_not_wait_for_files_put_elsewhere() -> None:
    world = World()
    backup = await world.backup(2)
    await world.submit(m.MakeDirectory(b"/quiet"))
    await world.submit(m.MakeDirectory(b"/busy"))
    reserved = await world.submit(m.ReserveInodes(1))
    backup.hold = True
    put = world.submit(m.PutFiles((m.NewFile(b"/busy/1", reserved.inodes[0], 0, ()),)))
    assert world.primary.query(ROOT, m.Lookup(b"/quiet")).attributes.kind == 1
    with pytest.raises(FileNotFoundError):
        world.primary.query(ROOT, m.Lookup(b"/quiet/none"))
    listed = world.primary.query(ROOT, m.Lookup(b"/busy"))
    await asyncio.sleep(0)
    assert not put.done() and not listed.done()
    backup.release()
    assert (await listed).attributes.children == 1


async def test_discards_wait_for_the_commit() -> None:
    world = World()
    backup = await world.backup(2)
    lease = await world.submit(m.Create(b"/f"))
    inode, generation = lease.attributes.inode, lease.attributes.generation
    ref = BlockRef(inode, 0, generation, 1, 10, 0, (1, 2))
    await world.submit(m.Commit(inode, generation, 10, (ref,), True))
    backup.hold = True
    answer = world.submit(m.Unlink(b"/f"))
    await asyncio.sleep(0)
    assert world.discarded == []
    backup.release()
    await answer
    assert world.discarded == [ref]


async def test_a_late_backup_gets_the_snapshot_and_everything_since() -> None:
    world = World()
    for i in range(20):
        world.submit(m.MakeDirectory(b"/%d" % i))
    slow = FakeConnection(Backup())
    slow.hold = True
    world.pool.connections[2] = slow
    joining = asyncio.create_task(world.primary.add_backup(member(2)))
    await asyncio.sleep(0)
    for i in range(20, 40):
        reply = world.submit(m.MakeDirectory(b"/%d" % i))
        assert reply.attributes.kind == 1, "a backup that catches up is not waited for"
    await asyncio.sleep(0)
    slow.release()
    await joining
    assert slow.backup.namespace is not None
    assert slow.backup.namespace.digest == world.primary.namespace.digest


async def test_a_failed_backup_is_reported_once_and_holds_everything_until_removed() -> None:
    world = World()
    backup = await world.backup(2)
    backup.error = errors.UnavailableError("gone")
    answers = [world.submit(m.MakeDirectory(b"/a"))]
    await asyncio.sleep(0)
    answers.append(world.submit(m.MakeDirectory(b"/b")))
    for _ in range(5):
        await asyncio.sleep(0)
    assert [link.member.number for link in world.lost] == [2]
    assert not any(answer.done() for answer in answers), "ShrinkBeforeAck"
    world.primary.remove_backup(2)
    await asyncio.gather(*answers)


async def test_a_backup_that_differs_is_a_failed_one() -> None:
    world = World()
    backup = await world.backup(2)
    assert backup.backup.namespace is not None
    backup.backup.namespace.digest ^= 1
    world.submit(m.MakeDirectory(b"/d"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert [link.member.number for link in world.lost] == [2]


async def test_a_retry_is_applied_once() -> None:
    world = World()
    await world.backup(2)
    first = await world.submit(m.MakeDirectory(b"/d"))
    world.requests -= 1
    again = await world.submit(m.MakeDirectory(b"/d"))
    assert again == first


async def test_closing_leaves_nobody_waiting() -> None:
    world = World()
    backup = await world.backup(2)
    backup.hold = True
    answer = world.submit(m.MakeDirectory(b"/d"))
    world.primary.close("stopping")
    with pytest.raises(errors.OutcomeUnknownError):
        await answer


async def test_a_reign_that_ended_during_a_handover_does_not_go_on() -> None:
    world = World()
    backup = await world.backup(2)
    backup.hold = True
    answer = world.submit(m.MakeDirectory(b"/d"))
    handover = asyncio.ensure_future(world.primary.quiesce())
    await asyncio.sleep(0)
    world.primary.close("this node is the primary no more")
    with pytest.raises(errors.UnavailableError, match="no more"):
        await handover
    world.primary.reopen()  # what whoever hands over does when that failed
    with pytest.raises(errors.NotPrimaryError, match="no more"):
        world.primary.query(ROOT, m.GetStatus())
    with pytest.raises(errors.NotPrimaryError, match="no more"):
        world.submit(m.MakeDirectory(b"/e"))
    with pytest.raises(errors.OutcomeUnknownError):
        await answer


async def test_what_was_committed_just_before_the_end_is_not_confirmed_after_it() -> None:
    world = World()
    backup = await world.backup(2)
    backup.hold = True
    answer = world.submit(m.MakeDirectory(b"/d"))
    confirmation = asyncio.ensure_future(world.primary.confirm())
    await asyncio.sleep(0)
    backup.release()
    await answer
    world.primary.close("this node is the primary no more")
    with pytest.raises(errors.NotPrimaryError):
        await confirmation


def snapshot_in_pieces(
    namespace: Namespace, size: int
) -> list[tuple[m.InstallSnapshot, memoryview]]:
    whole = memoryview(b"".join(namespace.snapshot()))
    starts = range(0, len(whole), size)
    return [
        (m.InstallSnapshot(namespace.applied, at, at == starts[-1]), whole[at : at + size])
        for at in starts
    ]


async def test_a_snapshot_is_digested_as_it_comes_and_shows_nothing_before_its_end() -> None:
    world = World()
    world.submit(m.MakeDirectory(b"/d"))
    held = Namespace(SETTINGS, 1)
    backup = Backup(held)
    *first, last = snapshot_in_pieces(world.primary.namespace, 100)
    for request, piece in first:
        backup.install(request, piece)
        assert backup.namespace is held
    backup.install(*last)
    assert backup.namespace is not held
    assert list(backup.namespace.snapshot()) == list(world.primary.namespace.snapshot())
    begin, piece = first[0]
    damaged = memoryview(bytes(piece[:40]) + b"x" + bytes(piece[41:]))
    with pytest.raises(errors.ProtocolError, match="checksum"):
        for each in [(begin, damaged), *first[1:]]:  # it is noticed before the last one
            backup.install(*each)


async def test_a_gap_in_the_log_is_refused() -> None:
    world = World()
    backup = await world.backup(2)
    taken: list[Any] = []
    real = backup.backup.replicate
    backup.backup.replicate = lambda request, payload: (  # type: ignore[method-assign]
        taken.append((request, bytes(payload))) or real(request, payload)
    )
    await world.submit(m.MakeDirectory(b"/a"))
    await world.submit(m.MakeDirectory(b"/b"))
    fresh = Backup()
    with pytest.raises(errors.InvalidArgumentError, match="no snapshot"):
        fresh.replicate(taken[1][0], memoryview(taken[1][1]))
    for request, piece in snapshot_in_pieces(Namespace(SETTINGS, 1), 1 << 20):
        fresh.install(request, piece)
    with pytest.raises(errors.InvalidArgumentError, match="gap"):
        fresh.replicate(taken[1][0], memoryview(taken[1][1]))
    for request, payload in [taken[0], taken[0], taken[1]]:
        fresh.replicate(request, memoryview(payload))
    assert fresh.namespace is not None
    assert fresh.namespace.digest == world.primary.namespace.digest


async def test_what_is_to_be_settled_waits_for_all_that_may_know_more() -> None:
    world = World()
    primary = world.primary
    primary.expect_backup(member(2))
    asked = m.Lookup(b"/", settled=True)
    with pytest.raises(errors.UnavailableError, match="commands wait"):
        primary.query(ROOT, asked)
    with pytest.raises(errors.UnavailableError, match="commands wait"):
        await primary.settle()
    assert primary.absent == {2}
    namespace = Namespace(SETTINGS, 1)
    world.pool.connections[2] = FakeConnection(Backup(namespace))
    position = m.ReconcileReply(namespace.applied, namespace.digest)
    await primary.resume_backup(member(2), position)
    assert not primary.absent
    assert primary.query(ROOT, asked).attributes.inode
    await primary.settle()


@pytest.mark.parametrize("failing", [m.Replicate, m.InstallSnapshot, m.RenewLease])
async def test_a_member_that_fails_while_it_is_brought_back_has_failed(failing: type) -> None:
    """Else nobody would look after it again, and commands would wait for ever."""
    world = World()
    primary = world.primary
    known = failing is not m.InstallSnapshot
    namespace = Namespace(SETTINGS, 1)
    position = m.ReconcileReply(namespace.applied, namespace.digest + (not known))
    world.submit(m.MakeDirectory(b"/d"))
    primary.expect_backup(member(2))
    connection = world.pool.connections[2] = FakeConnection(Backup(namespace))
    connection.refused = failing
    with pytest.raises(errors.NoSpaceError):
        await primary.resume_backup(member(2), position)
    assert isinstance(primary.links[2].error, errors.NoSpaceError)
    assert primary.absent == {2}
    assert primary.required() == [2]
    assert not world.lost
    connection.refused = None
    await primary.resume_backup(member(2), position)
    assert primary.links[2].error is None
    assert not primary.absent


async def test_who_has_more_than_its_primary_gets_a_snapshot() -> None:
    """What only the former primary had applied is given up."""
    world, former = World(), World()
    former.submit(m.MakeDirectory(b"/mine"))
    namespace = former.primary.namespace
    world.primary.expect_backup(member(2))
    connection = world.pool.connections[2] = FakeConnection(Backup(namespace))
    position = m.ReconcileReply(namespace.applied, namespace.digest)
    await world.primary.resume_backup(member(2), position)
    kept = connection.backup.namespace
    assert kept is not None and kept.digest == world.primary.namespace.digest


async def test_a_member_that_is_absent_holds_what_it_is_known_to_hold() -> None:
    world = World()
    primary = world.primary
    for name in (b"/a", b"/b"):
        world.submit(m.MakeDirectory(name))
    primary.committed, primary.in_sync = 0, 0
    primary.expect_backup(member(2), holds=1)
    primary.follow(SimpleNamespace(in_sync=(1, 2), min_in_sync=2))  # type: ignore[arg-type]
    assert primary.committed == 1


async def test_a_backup_that_gets_no_entries_hears_what_is_committed() -> None:
    world = World()
    backup = await world.backup(2)
    await world.submit(m.MakeDirectory(b"/d"))
    assert backup.backup.committed == 0
    await world.primary.renew_lease(2)
    assert backup.backup.committed == world.primary.committed == 1


async def test_a_primary_that_hears_a_backup_does_not_give_way() -> None:
    world = World()
    await world.backup(2)
    seconds = 10**9
    world.primary._boottime = lambda: 4 * seconds  # two lease times later
    assert world.primary.gives_way()
    world.primary.heard(3)
    assert world.primary.gives_way()
    world.primary.heard(2)
    assert not world.primary.gives_way()


async def test_the_log_is_kept_until_all_in_sync_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOG_BYTES_CONFIRMED", 0)
    world = World()
    primary = world.primary
    first, second = await world.backup(2), await world.backup(3)
    for number in range(20):
        await world.submit(m.MakeDirectory(b"/%d" % number))
    assert primary.recent.entries == 1
    second.hold = True
    answers = [world.submit(m.MakeDirectory(b"/late%d" % number)) for number in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    committed = primary.committed
    assert primary.namespace.applied == committed + 20
    assert [entry.index - committed for entry in primary.recent.after(committed) or ()] == [
        *range(1, 21)
    ]
    assert first.backup.recent.entries >= 20, "what the other one lacks is kept by backups, too"
    second.release()
    await asyncio.gather(*answers)
    assert primary.recent.entries == 1
    first.backup.note_committed(primary.committed)
    assert first.backup.recent.entries == 1


async def test_a_member_in_sync_follows_again_without_a_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has all that is committed: what it lacks is what is kept, however little that is."""
    monkeypatch.setattr(limits, "LOG_BYTES_CONFIRMED", 0)
    world = World()
    behind = await world.backup(2)
    for number in range(20):
        await world.submit(m.MakeDirectory(b"/%d" % number))
    behind.hold = True
    answers = [world.submit(m.MakeDirectory(b"/late%d" % number)) for number in range(5)]
    await asyncio.sleep(0)
    behind.hold = False
    behind.held.clear()
    behind.frames.clear()
    held = behind.backup.namespace
    assert held is not None and held.applied == world.primary.committed
    world.primary.expect_backup(member(2), held.applied)
    position = m.ReconcileReply(held.applied, held.digest)
    await world.primary.resume_backup(member(2), position)
    await asyncio.gather(*answers)
    assert [type(frame) for frame in behind.frames] == [m.Replicate, m.RenewLease]
    assert held.digest == world.primary.namespace.digest
