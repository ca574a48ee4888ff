"""Create, leases, commits."""

from __future__ import annotations

import pytest

from memfs import limits
from memfs.errors import (
    BusyError,
    FileTooLargeError,
    InvalidArgumentError,
    IsDirectoryError,
    LeaseHeldError,
    LeaseLostError,
    MemfsError,
    NotDirectoryError,
    PathExistsError,
    PathNotFoundError,
    StaleHandleError,
)
from memfs.protocol import messages as m
from memfs.types import Attributes, BlockRef

from ..machine import BLOCK, Machine, block, blocks_of


@pytest.fixture
def machine() -> Machine:
    return Machine()


def lease(machine: Machine, path: str = "/f", **options: object) -> Attributes:
    attributes = machine.run(m.Create(path.encode(), **options)).attributes  # type: ignore[arg-type]
    assert isinstance(attributes, Attributes)
    return attributes


def commit(
    machine: Machine, held: Attributes, size: int, *blocks: BlockRef, release: bool = False
) -> Attributes:
    request = m.Commit(held.inode, held.generation, size, blocks, release)
    return machine.run(request).attributes  # type: ignore[no-any-return]


# --- create ------------------------------------------------------------------------------------


def test_a_new_file_is_empty_leased_and_has_the_default_layout(machine: Machine) -> None:
    made = lease(machine, mode=0o640)
    assert made == machine.stat("/f")
    assert (made.kind, made.mode, made.links, made.size, made.leased) == (0, 0o640, 1, 0, True)
    assert (made.block_size, made.group_blocks, made.replication) == (BLOCK, 4, 2)
    assert made.generation == 1 and made.change == machine.namespace.applied
    assert made.modified_ns == made.changed_ns == made.accessed_ns == made.change * 10**9
    assert machine.stat("/").modified_ns == made.modified_ns


def test_a_layout_may_be_chosen(machine: Machine) -> None:
    made = lease(machine, replication=3, block_size=8192, group_blocks=2)
    assert (made.replication, made.block_size, made.group_blocks) == (3, 8192, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"replication": -1},
        {"replication": limits.REPLICAS_MAX + 1},
        {"block_size": limits.BLOCK_BYTES_MIN - 1},
        {"block_size": limits.BLOCK_BYTES_MIN + 1},
        {"block_size": 2 * limits.BLOCK_BYTES_MAX},
        {"group_blocks": -1},
        {"group_blocks": limits.GROUP_BYTES_MAX},
        {"mode": -1},
        {"mode": 0o10000},
    ],
)
def test_impossible_layouts_and_modes_are_refused(
    machine: Machine, options: dict[str, int]
) -> None:
    with pytest.raises(InvalidArgumentError):
        lease(machine, "/a/b/f", parents=True, **options)
    assert machine.names("/") == []


def test_parents_are_made_on_demand(machine: Machine) -> None:
    with pytest.raises(PathNotFoundError):
        lease(machine, "/a/b/f")
    lease(machine, "/a/b/f", parents=True, mode=0o600)
    assert machine.stat("/a").mode == machine.stat("/a/b").mode == 0o755


@pytest.mark.parametrize("name", ["x" * 256, "a\0b"])
def test_bad_names_make_no_parents(machine: Machine, name: str) -> None:
    with pytest.raises(MemfsError):
        lease(machine, f"/a/b/{name}", parents=True)
    assert machine.names("/") == []
    with pytest.raises(MemfsError):
        machine.run(m.Create(b"/a/b/\xff", parents=True))
    assert machine.names("/") == []


def test_exclusive_means_new(machine: Machine) -> None:
    machine.file("/f")
    machine.run(m.MakeSymlink(b"/dangling", b"nowhere"))
    for path in ("/f", "/dangling", "/"):
        with pytest.raises(PathExistsError):
            lease(machine, path, exclusive=True)


def test_existing_files_are_emptied_and_keep_the_rest(machine: Machine) -> None:
    before = machine.file("/f", 2 * BLOCK + 5, "alice", mode=0o666, replication=3)
    machine.run(m.MakeLink(b"/f", b"/g"))
    machine.run(m.SetXattr(b"/f", "user.a", b"1"))
    machine.discards.clear()
    after = lease(machine, "/g", mode=0o600, block_size=8192)
    assert (after.inode, after.mode, after.owner, after.links) == (
        before.inode,
        0o666,
        "alice",
        2,
    )
    assert (after.size, after.block_size, after.replication) == (0, BLOCK, 3)
    assert after.generation == before.generation + 1 and after.leased
    assert len(machine.discards) == 3 and machine.du("/") == (0, 1, 1, 0)
    assert machine.ask(m.GetXattrs(b"/f")).xattrs == (("user.a", b"1"),)


def test_emptying_may_set_the_replication_anew(machine: Machine) -> None:
    machine.file("/f", BLOCK)
    assert lease(machine, replication=5).replication == 5
    commit(machine, machine.stat("/f"), 1, block(machine.stat("/f").inode, 0, 2, 9, 1))
    assert machine.du("/") == (1, 1, 1, 5)


def test_a_dangling_symlink_creates_what_it_names(machine: Machine) -> None:
    machine.mkdir("/d")
    machine.run(m.MakeSymlink(b"/link", b"d/new"))
    assert lease(machine, "/link").inode == machine.stat("/d/new").inode


def test_directories_are_no_files(machine: Machine) -> None:
    machine.mkdir("/d")
    machine.file("/f")
    for path, error in {
        "/d": IsDirectoryError,
        "/": IsDirectoryError,
        "/d/": IsDirectoryError,
        "/new/": IsDirectoryError,
        "/f/": IsDirectoryError,
        "/f/.": NotDirectoryError,
        "/new/.": PathNotFoundError,
        "/f/x": NotDirectoryError,
        "/f/..": NotDirectoryError,
    }.items():
        with pytest.raises(error):
            lease(machine, path)


# --- leases ------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [1, 2])
def test_one_writer_at_a_time(machine: Machine, client: int) -> None:
    """SingleWriter: not even the same client gets a second lease."""
    held = lease(machine)
    for request in (m.AcquireLease(b"/f"), m.Create(b"/f")):
        with pytest.raises(LeaseHeldError):
            machine.run(request, client=client)
    assert machine.stat("/f") == held


def test_who_finds_a_file_held_is_told_by_whom(machine: Machine) -> None:
    """Also by a member that has all this from a snapshot."""
    machine.run(m.Create(b"/f", holder="process 7 on web-3"))
    for each in (machine, machine.copy()):
        with pytest.raises(LeaseHeldError) as caught:
            each.run(m.AcquireLease(b"/f"), client=2)
        assert "open: root, process 7 on web-3, since 1970-01-01T00:00:02Z; " in str(caught.value)
        assert "memfs recover-lease" in str(caught.value)
    machine.run(m.AcquireLease(b"/f", steal=True, holder="x" * 1000), client=2)
    assert machine.namespace.volume.sessions.holders.popitem()[1].where == "x" * 100


def test_a_stolen_lease_fences_its_former_holder(machine: Machine) -> None:
    """WriterFence."""
    old = lease(machine)
    commit(machine, old, 5, block(old.inode, length=5))
    new = machine.run(m.AcquireLease(b"/f", steal=True), client=2)
    assert new.attributes.generation == 2 and new.last == block(old.inode, length=5)
    for request in (
        m.Commit(old.inode, old.generation, 0),
        m.Commit(old.inode, 2, 0),  # the right generation, not his
        m.ReleaseLease(old.inode, old.generation),
    ):
        with pytest.raises(LeaseLostError):
            machine.run(request, client=1)
    assert machine.stat("/f").size == 5
    machine.run(m.ReleaseLease(old.inode, 2), client=2)
    assert not machine.stat("/f").leased
    assert dict(machine.namespace.sessions) == {}


def test_generations_grow_with_every_lease(machine: Machine) -> None:
    machine.file("/f")
    for generation in range(2, 6):
        reply = machine.run(m.AcquireLease(b"/f"))
        assert reply.attributes.generation == generation
        assert machine.namespace.leases(1) == (reply.attributes.inode,)
        machine.run(m.ReleaseLease(reply.attributes.inode, generation))


def test_a_lease_tells_the_last_block(machine: Machine) -> None:
    machine.file("/f", 2 * BLOCK + 7)
    reply = machine.run(m.AcquireLease(b"/f"))
    assert reply.last == machine.blocks("/f")[2]
    machine.file("/empty")
    assert machine.run(m.AcquireLease(b"/empty")).last is None


@pytest.mark.parametrize("reclaimed", [True, False])
def test_deleted_files_go_on_for_their_writers(machine: Machine, reclaimed: bool) -> None:
    held = lease(machine)
    machine.run(m.Unlink(b"/f"))
    tree = lease(machine, "/a/b/f", parents=True)
    machine.run(m.RemoveDirectory(b"/a", recursive=True))
    if reclaimed:
        machine.reclaim()
    for gone in (held, tree):
        assert machine.write(gone, BLOCK).size == BLOCK  # and releases
        with pytest.raises((StaleHandleError, LeaseLostError)):
            machine.run(m.Commit(gone.inode, 1, 0))
    machine.reclaim()
    assert dict(machine.namespace.sessions) == {}
    assert len(machine.namespace.volume.tree.inodes) == 1
    with pytest.raises(StaleHandleError):
        machine.run(m.Commit(tree.inode, 1, 0))


def test_the_number_of_sessions_is_bounded(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SESSIONS", 2)
    machine.run(m.Create(b"/a"), client=1)
    machine.run(m.Create(b"/b"), client=2)
    with pytest.raises(BusyError):
        machine.run(m.Create(b"/x/c", parents=True), client=3)
    machine.run(m.Create(b"/c"), client=1)
    assert machine.names("/") == ["a", "b", "c"]


# --- commits -----------------------------------------------------------------------------------


def test_a_commit_publishes_blocks_and_size(machine: Machine) -> None:
    held = lease(machine)
    refs = blocks_of(held.inode, 1, 3 * BLOCK + 100)
    done = commit(machine, held, 3 * BLOCK + 100, *refs)
    assert done.size == 3 * BLOCK + 100 and done.leased
    assert machine.blocks("/f") == refs
    assert machine.du("/") == (done.size, 1, 1, 2 * done.size)
    assert done.modified_ns == done.change * 10**9 > held.modified_ns


def test_replaced_and_cut_blocks_are_discarded(machine: Machine) -> None:
    held = lease(machine)
    refs = blocks_of(held.inode, 1, 4 * BLOCK)
    commit(machine, held, 4 * BLOCK, *refs)
    new = block(held.inode, 1, 1, 9, 10)
    commit(machine, held, BLOCK + 10, new)
    assert machine.discards == [refs[1], refs[2], refs[3]]
    assert machine.blocks("/f") == (refs[0], new)
    commit(machine, held, 0)
    assert machine.discards[3:] == [refs[0], new] and machine.blocks("/f") == ()


@pytest.mark.parametrize("restored", [False, True])
def test_a_commit_that_arrives_after_a_later_one_changes_nothing(
    machine: Machine, restored: bool
) -> None:
    """Its writer gave it up, cut the file and withdrew what it had named."""
    lease = machine.run(m.Create(b"/f")).attributes
    first = blocks_of(lease.inode, lease.generation, 3 * BLOCK, BLOCK)
    given_up = m.Commit(lease.inode, lease.generation, 3 * BLOCK, first)
    late = machine.entry(given_up)
    machine.run(m.Commit(lease.inode, lease.generation, BLOCK, first[:1], withdrawn=first[1:]))
    if restored:
        machine = machine.copy()
    before = machine.stat("/f"), machine.blocks("/f")
    outcome = machine.apply(late._replace(index=machine.namespace.applied + 1))
    assert outcome.record.code == LeaseLostError.code
    assert outcome.discards == first[1:], "nodes forget what nobody names"
    assert (machine.stat("/f"), machine.blocks("/f")) == before
    machine.run(m.Commit(lease.inode, lease.generation, 2 * BLOCK, (), release=True))


def test_missing_blocks_are_holes(machine: Machine) -> None:
    held = lease(machine)
    last = block(held.inode, 700, length=5)
    size = 700 * BLOCK + 5
    commit(machine, held, size, last)
    found = machine.ask(m.GetBlocks(b"/f", 0, 10_000)).blocks
    assert len(found) == limits.BLOCKS_PER_RECORD
    assert found[3] == BlockRef(held.inode, 3, 0, 0, 0, 0, ())
    assert machine.ask(m.GetBlocks(b"/f", 699)).blocks[1:] == (last,)
    assert machine.ask(m.GetBlocks(b"/f", 701)).blocks == ()
    commit(machine, held, size, block(held.inode, 2))
    commit(machine, held, size, BlockRef(held.inode, 2, 0, 0, 0, 0, ()))
    assert machine.blocks("/f")[2] == found[2] and machine.discards == [block(held.inode, 2)]


def test_files_grow_by_their_size_alone(machine: Machine) -> None:
    held = lease(machine)
    commit(machine, held, 10, block(held.inode, length=10))
    grown = commit(machine, held, 5 * BLOCK)
    assert grown.size == 5 * BLOCK and len(machine.blocks("/f")) == 5
    commit(machine, held, BLOCK // 2)
    assert machine.blocks("/f") == (block(held.inode, length=10),)


def test_a_block_across_the_new_end_must_be_written_anew(machine: Machine) -> None:
    held = lease(machine)
    commit(machine, held, 2 * BLOCK, *blocks_of(held.inode, 1, 2 * BLOCK))
    with pytest.raises(InvalidArgumentError):
        commit(machine, held, BLOCK + 1)
    commit(machine, held, BLOCK + 1, block(held.inode, 1, 1, 1, 1))
    assert machine.stat("/f").size == BLOCK + 1


def test_the_largest_sparse_file_costs_little(machine: Machine) -> None:
    held = lease(machine, block_size=64 * limits.MIB)
    size = limits.FILE_BYTES_MAX
    index = size // (64 * limits.MIB) - 1
    commit(machine, held, size, block(held.inode, index))
    assert machine.stat("/f").size == size
    assert machine.ask(m.GetBlocks(b"/f", index)).blocks == (block(held.inode, index),)
    commit(machine, held, 0)
    assert machine.discards == [block(held.inode, index)]


BAD_BLOCKS = {
    "another inode": lambda inode: block(inode + 1),
    "another generation": lambda inode: block(inode, generation=2),
    "generation 0": lambda inode: block(inode, generation=0),
    "beyond the size": lambda inode: block(inode, 3),
    "a negative index": lambda inode: block(inode, -1),
    "longer than a block": lambda inode: block(inode, 0, length=BLOCK + 1),
    "longer than its place": lambda inode: block(inode, 2, length=11),
    "a negative length": lambda inode: block(inode, length=-1),
    "no replicas": lambda inode: block(inode, replicas=()),
    "too many replicas": lambda inode: block(inode, replicas=tuple(range(1, 10))),
    "the same replica twice": lambda inode: block(inode, replicas=(1, 1)),
    "member 0": lambda inode: block(inode, replicas=(0,)),
    "a huge sequence": lambda inode: block(inode, sequence=1 << 32),
    "a huge CRC": lambda inode: block(inode)._replace(crc=1 << 32),
    "an older sequence": lambda inode: block(inode, 1, 1, 4),
    "the same version, another CRC": lambda inode: block(inode, 1, 1, 5)._replace(crc=1),
    "an absurd inode": lambda inode: block(1 << 63),
}


@pytest.mark.parametrize("case", BAD_BLOCKS)
def test_bad_references_are_refused_whole(machine: Machine, case: str) -> None:
    held = lease(machine)
    size = 2 * BLOCK + 10
    commit(machine, held, size, block(held.inode, 1, 1, 5))
    before = machine.stat("/f"), machine.blocks("/f")
    with pytest.raises(InvalidArgumentError):
        commit(machine, held, size, block(held.inode, 0, 1, 9), BAD_BLOCKS[case](held.inode))
    assert (machine.stat("/f"), machine.blocks("/f")) == before


def test_a_block_given_twice_is_refused(machine: Machine) -> None:
    held = lease(machine)
    with pytest.raises(InvalidArgumentError):
        commit(machine, held, BLOCK, block(held.inode), block(held.inode, sequence=1))


def test_references_that_are_there_already_stay_whatever_their_lease(machine: Machine) -> None:
    machine.file("/f", 2 * BLOCK)
    old = machine.blocks("/f")
    held = machine.run(m.AcquireLease(b"/f")).attributes
    machine.run(m.SetReplicas(*old[0][:4], (5,)))
    machine.discards.clear()
    commit(machine, held, 2 * BLOCK, *old)
    assert machine.blocks("/f") == (old[0]._replace(replicas=(5,)), old[1])
    assert machine.discards == []


@pytest.mark.parametrize(
    ("size", "error"),
    [
        (-1, InvalidArgumentError),
        (limits.FILE_BYTES_MAX + 1, FileTooLargeError),
        ((limits.BLOCKS_PER_FILE + 1) * BLOCK, FileTooLargeError),
        ((1 << 64) - 1, FileTooLargeError),
    ],
)
def test_impossible_sizes(machine: Machine, size: int, error: type[MemfsError]) -> None:
    held = lease(machine)
    with pytest.raises(error):
        commit(machine, held, size)


def test_the_modification_time_may_be_given(machine: Machine) -> None:
    held = lease(machine)
    done = machine.run(m.Commit(held.inode, 1, 0, (), True, modified_ns=-7)).attributes
    assert done.modified_ns == -7 and done.changed_ns == done.change * 10**9
    held = machine.run(m.AcquireLease(b"/f")).attributes
    with pytest.raises(InvalidArgumentError):
        machine.run(m.Commit(held.inode, 2, 0, modified_ns=1 << 63))


def test_closing_without_a_change_leaves_the_times(machine: Machine) -> None:
    held = lease(machine)
    done = commit(machine, held, 0, release=True)
    assert (done.modified_ns, done.changed_ns) == (held.modified_ns, held.changed_ns)
    assert done.change > held.change and not done.leased


@pytest.mark.parametrize(
    ("user", "before", "after"),
    [
        ("alice", 0o6777, 0o777),
        ("alice", 0o6767, 0o2767),
        ("root", 0o6777, 0o6777),
        ("alice", 0o1777, 0o1777),
    ],
)
def test_writing_takes_set_id_bits_away(
    machine: Machine, user: str, before: int, after: int
) -> None:
    machine.file("/f", 0, "alice")
    machine.run(m.SetAttributes(b"/f", mode=before))
    held = machine.run(m.AcquireLease(b"/f"), user).attributes
    assert machine.stat("/f").mode == before
    machine.write(held, 5, user)
    assert machine.stat("/f").mode == after


def test_large_files_are_dropped_in_pieces(machine: Machine) -> None:
    count = 3_000
    held = lease(machine)
    for first in range(0, count, 500):
        refs = [block(held.inode, index) for index in range(first, first + 500)]
        commit(machine, held, (first + 500) * BLOCK, *refs)
    commit(machine, held, count * BLOCK, release=True)
    machine.run(m.Unlink(b"/f"))
    assert 1_000 <= len(machine.discards) < 1_600 and machine.namespace.reclaiming
    machine.reclaim()
    assert sorted(machine.discards) == [block(held.inode, index) for index in range(count)]
