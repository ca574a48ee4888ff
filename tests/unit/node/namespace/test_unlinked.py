"""Files whose last name is gone and that somebody has open: they stay until nobody has."""

from __future__ import annotations

import random
from typing import Any

import pytest

from memfs import limits
from memfs.checksum import crc32c
from memfs.errors import (
    AccessDeniedError,
    MemfsError,
    PathNotFoundError,
    StaleHandleError,
    UnsupportedError,
)
from memfs.node.log.entries import pack_entries, unpack_entries
from memfs.node.namespace import Namespace
from memfs.protocol import messages as m

from .machine import BLOCK, SETTINGS, Machine, block
from .workload import Workload

READER = 7


class Opened:
    """What a primary knows: which client has which inodes open."""

    def __init__(self) -> None:
        self.by_client: dict[int, set[int]] = {}
        self.unknown = False
        """Not all clients have told yet."""

    def open(self, inode: int, client: int = READER) -> None:
        self.by_client.setdefault(client, set()).add(inode)

    def is_open(self, inode: int) -> bool:
        return self.unknown or any(inode in held for held in self.by_client.values())

    def has_open(self, client: int, inode: int) -> bool:
        return inode in self.by_client.get(client, ())


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.opens = Opened()
    return machine


def opened(machine: Machine, path: str = "/f", size: int = 3 * BLOCK, **options: Any) -> int:
    """A file that the reader has open."""
    inode = machine.file(path, size, parents=True, **options).inode
    assert isinstance(machine.opens, Opened)
    machine.opens.open(inode)
    return inode


def close(machine: Machine, inode: int) -> None:
    assert isinstance(machine.opens, Opened)
    machine.opens.by_client[READER].discard(inode)
    machine.run(m.FreeUnlinked((inode,)))


def read(machine: Machine, inode: int, user: str = "root", client: int = READER) -> m.BlocksReply:
    return machine.ask(m.GetBlocks(b"", base=inode), user, client)  # type: ignore[no-any-return]


REMOVALS = {
    "unlink": lambda machine: machine.run(m.Unlink(b"/d/f")),
    "rename": lambda machine: machine.run(m.Rename(b"/other", b"/d/f")),
    "put": lambda machine: put(machine, b"/d/f"),
    "publish": lambda machine: publish(machine, b"/d/f"),
    "tree": lambda machine: machine.run(m.RemoveDirectory(b"/d", recursive=True)),
}


def put(machine: Machine, path: bytes) -> None:
    (inode,) = machine.run(m.ReserveInodes(1)).inodes
    refs = (block(inode, length=5),)
    machine.run(m.PutFiles((m.NewFile(path, inode, 5, refs),)))


def publish(machine: Machine, path: bytes) -> None:
    made = machine.run(m.CreateDraft(path)).attributes
    machine.run(m.PublishDraft(made.inode, made.generation, path, 0, ()))


@pytest.mark.parametrize("reclaimed", [False, True])
@pytest.mark.parametrize("remove", REMOVALS.values(), ids=list(REMOVALS))
def test_it_stays_for_who_has_it_open(machine: Machine, remove: Any, reclaimed: bool) -> None:
    machine.file("/other", 10)
    inode = opened(machine, "/d/f")
    before = read(machine, inode)
    machine.discards.clear()
    remove(machine)
    if reclaimed:
        machine.reclaim()
    found = read(machine, inode)
    assert found.blocks == before.blocks and found.attributes.size == 3 * BLOCK
    assert not reclaimed or found.attributes.links == 0
    assert machine.ask(m.Lookup(b"", base=inode), "alice", READER).attributes.inode == inode
    assert all(machine.namespace.is_live(m.BlockVersion(*ref[:4])) for ref in found.blocks)
    assert machine.discards == []
    machine.reclaim()
    close(machine, inode)
    assert sorted(machine.discards) == sorted(before.blocks)
    with pytest.raises(StaleHandleError):
        read(machine, inode)
    assert machine.namespace.statistics().unlinked == 0
    assert machine.namespace.reclaiming == 0


def test_others_do_not_reach_it(machine: Machine) -> None:
    inode = opened(machine)
    machine.run(m.Unlink(b"/f"))
    for user in ("alice", "hermit"):
        with pytest.raises(StaleHandleError):
            read(machine, inode, user, client=READER + 1)
    assert read(machine, inode, "root", client=READER + 1).attributes.inode == inode
    with pytest.raises(PathNotFoundError):
        machine.stat("/f")
    with pytest.raises(StaleHandleError):
        machine.run(m.MakeLink(b"", b"/g", inode), client=READER)


def test_whose_it_is_decides_still_who_may_read_it(machine: Machine) -> None:
    inode = opened(machine, user="alice", mode=0o600)
    machine.run(m.Unlink(b"/f"))
    assert read(machine, inode, "alice").attributes.owner == "alice"
    with pytest.raises(AccessDeniedError):
        read(machine, inode, "bob")


def test_its_attributes_can_be_changed(machine: Machine) -> None:
    inode = opened(machine)
    machine.run(m.Unlink(b"/f"))
    machine.run(m.SetAttributes(b"", mode=0o600, base=inode), client=READER)
    machine.run(m.SetXattr(b"", "user.a", b"1", base=inode), client=READER)
    assert read(machine, inode).attributes.mode == 0o600
    with pytest.raises(StaleHandleError):
        machine.run(m.SetAttributes(b"", mode=0o644, base=inode), "alice", client=READER + 1)


def test_it_can_be_written_again(machine: Machine) -> None:
    inode = opened(machine)
    machine.run(m.Unlink(b"/f"))
    lease = machine.run(m.AcquireLease(b"", base=inode), client=READER).attributes
    assert machine.write(lease, 2 * BLOCK, client=READER).size == 2 * BLOCK
    assert read(machine, inode).attributes.size == 2 * BLOCK
    assert machine.du("/") == (0, 0, 1, 0)
    close(machine, inode)
    assert len(machine.namespace.volume.tree.inodes) == 1


def test_the_writer_reads_what_he_writes(machine: Machine) -> None:
    lease = machine.run(m.Create(b"/f"), client=3).attributes
    machine.run(m.Unlink(b"/f"))
    refs = (block(lease.inode),)
    machine.run(m.Commit(lease.inode, 1, BLOCK, refs), client=3)
    assert machine.ask(m.GetBlocks(b"", base=lease.inode), "alice", 3).blocks == refs
    assert machine.ask(m.Lookup(b"", base=lease.inode), "alice", 3).attributes.links == 0
    machine.run(
        m.Commit(lease.inode, 1, 10, (block(lease.inode, sequence=1, length=10),)), client=3
    )
    machine.run(m.ReleaseLease(lease.inode, 1), client=3)
    assert len(machine.namespace.volume.tree.inodes) == 1


@pytest.mark.parametrize("reading", [True, False])
def test_a_writer_that_is_gone_leaves_it_to_the_readers(machine: Machine, reading: bool) -> None:
    lease = machine.run(m.Create(b"/f"), client=3).attributes
    machine.run(m.Commit(lease.inode, 1, BLOCK, (block(lease.inode),)), client=3)
    assert isinstance(machine.opens, Opened)
    if reading:
        machine.opens.open(lease.inode)
    machine.run(m.SetLock(lease.inode, m.LockMode.EXCLUSIVE, 1), client=3)
    machine.run(m.Unlink(b"/f"))
    machine.run(m.ExpireSession(3))
    assert (len(machine.namespace.volume.tree.inodes) == 2) == reading
    if reading:
        assert read(machine, lease.inode).attributes.size == BLOCK
        close(machine, lease.inode)
    assert machine.namespace.statistics().unlinked == 0


def test_what_is_open_still_is_not_freed(machine: Machine) -> None:
    inode, other = opened(machine), opened(machine, "/named")
    machine.run(m.Unlink(b"/f"))
    machine.run(m.FreeUnlinked((inode, other, 1, 2**40, -1)))
    assert read(machine, inode).attributes.links == 0
    assert machine.stat("/named").links == 1


def test_a_name_of_several_changes_nothing(machine: Machine) -> None:
    inode = opened(machine)
    machine.run(m.MakeLink(b"/f", b"/g"))
    machine.run(m.Unlink(b"/f"))
    assert machine.namespace.unlinked() == []
    machine.run(m.Unlink(b"/g"))
    assert machine.namespace.unlinked() == [inode]


def test_while_nobody_knows_everything_stays(machine: Machine) -> None:
    """A new primary: who has what open is told later."""
    assert isinstance(machine.opens, Opened)
    machine.opens.unknown = True
    inode = machine.file("/f", BLOCK).inode
    machine.run(m.Unlink(b"/f"))
    machine.opens.open(inode)
    machine.opens.unknown = False
    assert read(machine, inode).attributes.size == BLOCK


def test_quotas_count_it_no_more(machine: Machine) -> None:
    machine.mkdir("/q")
    inode = opened(machine, "/q/f", 3 * BLOCK)
    machine.run(m.SetQuota(b"/q", -1, 6 * BLOCK))
    machine.run(m.Unlink(b"/q/f"))
    lease = machine.run(m.AcquireLease(b"", base=inode), client=READER).attributes
    machine.write(lease, 9 * BLOCK, client=READER)
    machine.file("/q/g", 3 * BLOCK)


def test_who_has_files_open_has_a_session(machine: Machine) -> None:
    machine.run(m.ExpectOpens(READER))
    assert machine.namespace.expects_opens(READER)
    assert machine.copy().namespace.expects_opens(READER)
    machine.run(m.ReserveInodes(2), client=READER)
    inodes = machine.run(m.ReserveInodes(2), client=READER).inodes
    machine.run(m.ReleaseInodes(inodes), client=READER)
    assert machine.namespace.expects_opens(READER)
    machine.run(m.ExpireSession(READER))
    assert not machine.namespace.expects_opens(READER)
    assert not machine.namespace.sessions


def test_clients_cannot_say_so_themselves(machine: Machine) -> None:
    for request in (m.ExpectOpens(1), m.FreeUnlinked((1,))):
        assert m.BY_REQUEST[type(request)].peer
    with pytest.raises(UnsupportedError):
        machine.ask(m.ReportOpens())


def test_opening_is_reading_the_block_map(machine: Machine) -> None:
    machine.file("/f", 3 * BLOCK, mode=0o640)
    found = machine.ask(m.OpenFile(b"/f", inline=100, number=2))
    assert (found.attributes, found.blocks) == (machine.stat("/f"), machine.blocks("/f"))
    with pytest.raises(AccessDeniedError):
        machine.ask(m.OpenFile(b"/f"), "hermit")
    again = machine.ask(m.OpenFile(b"", found.attributes.inode))
    assert again.blocks == found.blocks


def test_an_entry_brings_what_only_the_primary_knew(machine: Machine) -> None:
    """DeterministicApply: backups and the journal, with snapshots in between."""
    machine = Machine(open_to_all=False)
    machine.opens = opens = Opened()
    dice, workload = random.Random(5), Workload(5)
    backup, applied, snapshots = Namespace(SETTINGS, 1_000), 0, 0
    for _ in range(1500):
        request, client = draw(machine, workload, dice)
        inodes = machine.namespace.volume.tree.inodes
        files = [inodes.id_of(slot) for slot in inodes.slots()]
        opens.by_client = {1: {inode for inode in files if dice.random() < 0.5}}
        opens.unknown = dice.random() < 0.1
        machine.apply(machine.entry(request, "root", client), request)
        if dice.random() < 0.1:
            for entry in unpack_entries(pack_entries(machine.log[applied:])):
                backup.apply(entry)
            applied = len(machine.log)
            assert backup.digest == machine.namespace.digest
            assert sorted(backup.unlinked()) == sorted(machine.namespace.unlinked())
            if dice.random() < 0.3:
                backup, snapshots = Namespace.restore(backup.snapshot()), snapshots + 1
                backup.check_invariants()
    assert snapshots and sum(bool(entry.held) for entry in machine.log) > 20
    opens.by_client, opens.unknown = {}, False
    machine.reclaim()
    for client in list(machine.namespace.sessions):
        machine.run(m.ExpireSession(client))
    while left := machine.namespace.unlinked():
        machine.run(m.FreeUnlinked(tuple(left)))
    assert machine.namespace.reclaiming == 0


def draw(machine: Machine, workload: Workload, dice: random.Random) -> tuple[Any, int]:
    """A command and its client."""
    client, chance = workload.client(), dice.random()
    if chance < 0.2:
        leases = machine.namespace.leases(client)
        if leases:
            inode = dice.choice(leases)
            slot = machine.namespace.volume.tree.inodes.slot_of(inode)
            generation = machine.namespace.volume.tree.inodes.generation[slot]
            return m.ReleaseLease(inode, generation), client
    elif chance < 0.3:
        return m.FreeUnlinked(tuple(machine.namespace.unlinked())), 0
    elif chance < 0.5:
        client, request = workload.content(machine)
        return request, client
    return workload.structure(), client


def test_entries_that_are_cut_short_are_refused() -> None:
    machine = Machine()
    entry = machine.entry(m.Unlink(b"/f"))._replace(held=(1, 2**63, 3))
    packed = pack_entries([entry, entry])
    assert unpack_entries(packed) == [entry, entry]
    for end in range(4, len(packed)):
        body = packed[4:end]
        raw = crc32c(body).to_bytes(4, "big") + body
        try:
            assert len(unpack_entries(raw)) < 2
        except MemfsError:
            continue


def test_what_one_command_frees_is_bounded(machine: Machine) -> None:
    inodes = [opened(machine, f"/f{number}", 1) for number in range(limits.INODES_PER_RECLAIM + 5)]
    for number in range(len(inodes)):
        machine.namespace.apply(machine.entry(m.Unlink(b"/f%d" % number)), None, machine.opens)
    assert isinstance(machine.opens, Opened)
    machine.opens.by_client.clear()
    machine.run(m.FreeUnlinked(tuple(inodes)))
    assert len(machine.namespace.unlinked()) == 5
