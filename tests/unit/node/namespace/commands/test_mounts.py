"""Mounts in the namespace: what stores say appears, what is written is remembered until stored."""

from __future__ import annotations

from typing import Any

import pytest

from memfs.errors import (
    CrossMountError,
    DirectoryNotEmptyError,
    InvalidArgumentError,
    LeaseLostError,
    MountBusyError,
    NoAttributeError,
    NotPermittedError,
    PathNotFoundError,
    ReadOnlyMountError,
    StaleHandleError,
    StoreUnsupportedError,
)
from memfs.protocol import messages as m
from memfs.types import ROOT_INODE, ObjectState

from ..machine import BLOCK, Machine, blocks_of

MOUNT = m.Mount(b"/x", "s3://bucket/data")


@pytest.fixture
def machine() -> Machine:
    """/x is a mount; nothing of it is known."""
    machine = Machine()
    machine.run(MOUNT)
    return machine


def learn(machine: Machine, directory: str, *objects: m.KnownObject, generation: int = 1) -> None:
    inode = machine.stat(directory).inode
    machine.run(m.LearnObjects(1, generation, inode, objects))


def known(name: str, size: int = 5, tag: bytes = b'"t1"') -> m.KnownObject:
    return m.KnownObject(name.encode(), size, 123_000, tag)


def folder(name: str) -> m.KnownObject:
    return m.KnownObject(name.encode(), 0, 0, b"", True)


def state(machine: Machine, path: str) -> ObjectState | None:
    volume = machine.namespace.volume
    return volume.mounts.state(volume.tree.inodes.slot_of(machine.stat(path).inode))


def written(machine: Machine, path: str, size: int = 5) -> int:
    """Write a file; the version of its change."""
    machine.file(path, size)
    return machine.namespace.applied


def stored(machine: Machine, path: str, version: int, tag: bytes = b'"t9"') -> None:
    inode = machine.stat(path).inode
    machine.run(m.BeginPersist(inode, version, 5, 77))
    machine.run(m.EndPersist(inode, version, tag, 0))


def place(machine: Machine, path: str) -> m.ObjectPlace:
    found = machine.stat(path)
    wanted = m.ObjectVersion(found.inode, found.generation)
    return machine.ask(m.DescribeObjects((wanted,))).places[0]  # type: ignore[no-any-return]


# --- the mount table -------------------------------------------------------------------------


def test_mounts_are_listed_with_where_they_are(machine: Machine) -> None:
    machine.run(m.Mount(b"/deep/down", "file:///data", read_only=True, sync_ms=0))
    mounts = machine.ask(m.ListMounts()).mounts
    assert [(each.path, each.url, each.number) for each in mounts] == [
        (b"/x", "s3://bucket/data", 1),
        (b"/deep/down", "file:///data", 2),
    ]
    assert mounts[1].read_only and mounts[1].sync_ms == 0
    assert machine.ask(m.ListMounts(1)).mounts == mounts[1:]


def test_only_the_superuser_mounts_and_only_where_nothing_is(machine: Machine) -> None:
    with pytest.raises(NotPermittedError):
        machine.run(m.Mount(b"/y", "s3://bucket"), "alice")
    machine.file("/full/file", parents=True)
    with pytest.raises(DirectoryNotEmptyError):
        machine.run(m.Mount(b"/full", "s3://bucket"))
    with pytest.raises(MountBusyError):
        machine.run(MOUNT)
    with pytest.raises(InvalidArgumentError):
        machine.run(m.Mount(b"/y", "s3://bucket", policy="best"))
    with pytest.raises(InvalidArgumentError):
        machine.run(m.Mount(b"/y", "bucket"))
    with pytest.raises(InvalidArgumentError):
        machine.run(m.Mount(b"/y", "s3://bucket", quota=-1))


def test_an_update_keeps_the_url_and_grows_the_generation(machine: Machine) -> None:
    learn(machine, "/x", known("a"))
    record = machine.run(m.Mount(b"/x", "", sync_ms=-1, quota=9, update=True))
    assert (record.url, record.generation, record.sync_ms) == ("s3://bucket/data", 2, -1)
    assert record.quota == 9
    with pytest.raises(StaleHandleError):
        learn(machine, "/x", known("b"))
    learn(machine, "/x", known("b"), generation=2)
    assert machine.names("/x") == ["a", "b"]


def test_unmounting_takes_all_that_was_shown(machine: Machine) -> None:
    learn(machine, "/x", known("a"), folder("d"))
    learn(machine, "/x/d", known("b"))
    machine.run(m.Unmount(b"/x"))
    machine.reclaim()
    assert machine.names("/") == [] and not machine.namespace.volume.mounts
    assert machine.namespace.volume.mounts.tags.count == 0


def test_a_directory_that_was_there_before_stays(machine: Machine) -> None:
    machine.mkdir("/y")
    machine.run(m.Mount(b"/y", "s3://other"))
    machine.run(m.Unmount(b"/y"))
    assert machine.names("/") == ["x", "y"]


def test_unmounting_waits_for_what_is_not_stored(machine: Machine) -> None:
    written(machine, "/x/new")
    with pytest.raises(MountBusyError, match="1 change is"):
        machine.run(m.Unmount(b"/x"))
    machine.run(m.Unmount(b"/x", discard=True))
    assert machine.names("/") == []


def test_a_nested_mount_is_unmounted_first(machine: Machine) -> None:
    machine.run(m.Mount(b"/x/inner", "file:///data"))
    with pytest.raises(MountBusyError):
        machine.run(m.Unmount(b"/x"))
    machine.run(m.Unmount(b"/x/inner"))
    machine.run(m.Unmount(b"/x"))


# --- what stores say -------------------------------------------------------------------------


def test_objects_appear_with_their_size_and_the_owner_of_their_directory(machine: Machine) -> None:
    machine.run(m.SetAttributes(b"/x", owner="alice", group="artists"))
    learn(machine, "/x", known("a", 10_000), folder("d"))
    found = machine.stat("/x/a")
    assert (found.size, found.owner, found.group, found.modified_ns) == (
        10_000,
        "alice",
        "artists",
        123_000,
    )
    assert machine.stat("/x/d").kind == 1
    assert machine.du("/x") == (10_000, 1, 2, 20_000)
    assert state(machine, "/x/a") == ObjectState.CLEAN


def test_blocks_of_an_object_name_what_nodes_fetch(machine: Machine) -> None:
    learn(machine, "/x", known("a", BLOCK + 7))
    refs = machine.blocks("/x/a")
    assert [(ref.generation, ref.length, ref.replicas) for ref in refs] == [
        (0, BLOCK, ()),
        (0, 7, ()),
    ]
    assert all(machine.namespace.is_live(ref.version) for ref in refs)
    assert place(machine, "/x/a")[:7] == (0, 1, 1, "a", b'"t1"', BLOCK + 7, BLOCK)


def test_what_is_known_already_changes_nothing(machine: Machine) -> None:
    learn(machine, "/x", known("a"))
    before = machine.stat("/x/a")
    learn(machine, "/x", known("a"))
    assert machine.stat("/x/a") == before


def test_another_version_is_another_file_of_the_same_owner(machine: Machine) -> None:
    learn(machine, "/x", known("a"))
    machine.run(m.SetAttributes(b"/x/a", owner="bob", mode=0o600))
    old = machine.blocks("/x/a")[0]
    was = m.ObjectVersion(old.inode, old.sequence)
    learn(machine, "/x", known("a", 6, b'"t2"'))
    found = machine.stat("/x/a")
    assert found.inode != old.inode and (found.owner, found.mode, found.size) == ("bob", 0o600, 6)
    assert not machine.namespace.is_live(old.version)
    assert machine.ask(m.DescribeObjects((was,))).places[0].code != 0


def test_a_name_may_become_a_directory_and_back(machine: Machine) -> None:
    learn(machine, "/x", known("a"))
    learn(machine, "/x", folder("a"))
    learn(machine, "/x/a", known("b"))
    assert machine.names("/x/a") == ["b"]
    learn(machine, "/x", known("a"))
    machine.reclaim()
    assert machine.stat("/x/a").size == 5


def test_vanished_objects_go_and_changed_ones_stay(machine: Machine) -> None:
    learn(machine, "/x", known("a"), known("b"), folder("d"))
    learn(machine, "/x/d", known("c"))
    written(machine, "/x/b")
    written(machine, "/x/d/new")
    inode = machine.stat("/x").inode
    machine.run(m.ForgetObjects(1, 1, inode, (b"a", b"b", b"d", b"unknown")))
    assert machine.names("/x") == ["b", "d"]


def test_a_changed_file_is_not_overwritten_by_the_stores_word(machine: Machine) -> None:
    learn(machine, "/x", known("a"))
    written(machine, "/x/a", 2 * BLOCK)
    learn(machine, "/x", known("a", 5, b'"t2"'))
    assert machine.stat("/x/a").size == 2 * BLOCK and state(machine, "/x/a") == ObjectState.DIRTY


# --- changes ---------------------------------------------------------------------------------


def test_what_is_read_only_refuses_even_the_superuser(machine: Machine) -> None:
    machine.run(m.Mount(b"/r", "s3://bucket", read_only=True))
    inode = machine.stat("/r").inode
    machine.run(m.LearnObjects(2, 1, inode, (known("a"), folder("d"))))
    for request in (
        m.Create(b"/r/new"),
        m.Create(b"/r/a"),
        m.AcquireLease(b"/r/a"),
        m.MakeDirectory(b"/r/e"),
        m.MakeDirectory(b"/r/e/f", parents=True),
        m.Unlink(b"/r/a"),
        m.RemoveDirectory(b"/r/d"),
        m.Rename(b"/r/a", b"/r/b"),
        m.CreateDraft(b"/r/a"),
    ):
        with pytest.raises(ReadOnlyMountError):
            machine.run(request)
    machine.run(m.SetAttributes(b"/r/a", owner="alice"))  # as chown -R of what is shown


def test_a_written_file_is_dirty_until_it_is_stored(machine: Machine) -> None:
    version = written(machine, "/x/new")
    assert state(machine, "/x/new") == ObjectState.DIRTY
    machine.run(m.BeginPersist(machine.stat("/x/new").inode, version, 5, 77))
    assert state(machine, "/x/new") == ObjectState.PERSISTING
    machine.run(m.EndPersist(machine.stat("/x/new").inode, version, b'"t9"', 0))
    assert state(machine, "/x/new") == ObjectState.PERSISTED
    assert machine.blocks("/x/new")[0].generation == 1


def test_what_changed_on_the_way_is_still_to_be_stored(machine: Machine) -> None:
    version = written(machine, "/x/new")
    inode = machine.stat("/x/new").inode
    machine.run(m.BeginPersist(inode, version, 5, 77))
    written(machine, "/x/new", 9)
    machine.run(m.EndPersist(inode, version, b'"t9"', 0))
    assert state(machine, "/x/new") == ObjectState.DIRTY
    with pytest.raises(StaleHandleError):
        machine.run(m.BeginPersist(inode, version, 5, 77))


def test_freed_files_are_fetched_again_and_under_another_generation(machine: Machine) -> None:
    version = written(machine, "/x/new")
    stored(machine, "/x/new", version)
    before = machine.stat("/x/new")
    machine.run(m.EvictFiles((m.ChangeVersion(before.inode, before.change),)))
    assert state(machine, "/x/new") == ObjectState.CLEAN
    assert len(machine.discards) == 1
    (ref,) = machine.blocks("/x/new")
    assert (ref.generation, ref.sequence) == (0, before.generation + 1)
    assert place(machine, "/x/new").tag == b'"t9"'


def test_dirty_files_are_never_evicted(machine: Machine) -> None:
    written(machine, "/x/new")
    found = machine.stat("/x/new")
    machine.run(m.EvictFiles((m.ChangeVersion(found.inode, found.change),)))
    assert state(machine, "/x/new") == ObjectState.DIRTY and machine.discards == []


def test_a_part_cannot_be_written_over_what_the_store_alone_has(machine: Machine) -> None:
    learn(machine, "/x", known("a", 2 * BLOCK))
    lease = machine.run(m.AcquireLease(b"/x/a")).attributes
    refs = blocks_of(lease.inode, lease.generation, 2 * BLOCK)
    with pytest.raises(InvalidArgumentError, match="as a whole"):
        machine.run(m.Commit(lease.inode, lease.generation, 2 * BLOCK, refs[1:]))
    machine.run(m.Commit(lease.inode, lease.generation, 2 * BLOCK, refs, release=True))
    assert state(machine, "/x/a") == ObjectState.DIRTY


def tombstones(machine: Machine) -> dict[tuple[int, bytes], bytes | None]:
    held = machine.namespace.volume.mounts.tombstones
    return {key: each.tag for key, each in held.items()}


def test_a_deleted_object_does_not_come_back_until_the_store_has_forgotten(
    machine: Machine,
) -> None:
    learn(machine, "/x", known("a"))
    machine.run(m.Unlink(b"/x/a"))
    version = machine.namespace.applied
    assert tombstones(machine) == {(1, b"a"): b'"t1"'}
    learn(machine, "/x", known("a"))
    assert machine.names("/x") == []
    machine.run(m.BuryObject(1, b"a", version - 1))
    assert tombstones(machine)
    machine.run(m.BuryObject(1, b"a", version))
    learn(machine, "/x", known("a"))
    assert machine.names("/x") == ["a"]


def test_what_the_store_never_had_needs_no_tombstone(machine: Machine) -> None:
    written(machine, "/x/new")
    machine.run(m.Unlink(b"/x/new"))
    assert not tombstones(machine) and not machine.namespace.volume.mounts.changes


def test_what_may_have_reached_the_store_does(machine: Machine) -> None:
    version = written(machine, "/x/new")
    machine.run(m.BeginPersist(machine.stat("/x/new").inode, version, 5, 77))
    machine.run(m.Unlink(b"/x/new"))
    assert tombstones(machine) == {(1, b"new"): None}


def test_a_removed_tree_leaves_a_tombstone_for_each_of_its_objects(machine: Machine) -> None:
    learn(machine, "/x", folder("d"))
    learn(machine, "/x/d", known("a"), folder("e"))
    machine.run(m.RemoveDirectory(b"/x/d", recursive=True))
    machine.reclaim()
    assert set(tombstones(machine)) == {(1, b"d"), (1, b"d/a"), (1, b"d/e")}


def test_a_stored_file_moves_within_its_mount(machine: Machine) -> None:
    version = written(machine, "/x/tmp")
    stored(machine, "/x/tmp", version)
    learn(machine, "/x", known("final", 5, b'"old"'))
    machine.run(m.Rename(b"/x/tmp", b"/x/final"))
    assert tombstones(machine) == {(1, b"tmp"): b'"t9"'}
    assert state(machine, "/x/final") == ObjectState.DIRTY
    slot = machine.namespace.volume.tree.inodes.slot_of(machine.stat("/x/final").inode)
    assert machine.namespace.volume.mounts.tags.get(slot) == b'"old"'


def test_what_the_store_alone_has_is_copied_rather_than_moved(machine: Machine) -> None:
    learn(machine, "/x", known("a"), folder("d"))
    machine.file("/outside", 5)
    for source, target in (
        ("/x/a", "/x/b"),
        ("/x/a", "/b"),
        ("/outside", "/x/o"),
        ("/x/d", "/x/e"),
    ):
        with pytest.raises(CrossMountError):
            machine.run(m.Rename(source.encode(), target.encode()))
    with pytest.raises(MountBusyError):
        machine.run(m.Rename(b"/x", b"/y"))


def test_stores_hold_files_and_directories_only(machine: Machine) -> None:
    learn(machine, "/x", known("a"))
    machine.file("/outside")
    for request in (
        m.MakeSymlink(b"/x/link", b"a"),
        m.MakeLink(b"/x/a", b"/x/b"),
        m.MakeLink(b"/x/a", b"/b"),
        m.MakeLink(b"/outside", b"/x/b"),
        m.MakeNode(b"/x/pipe", 5, 0o644),
    ):
        with pytest.raises(StoreUnsupportedError):
            machine.run(request)


def test_a_file_replaced_by_a_draft_is_based_on_what_the_store_has(machine: Machine) -> None:
    learn(machine, "/x", known("a"))
    lease = machine.run(m.CreateDraft(b"/x/a")).attributes
    refs = blocks_of(lease.inode, lease.generation, 5)
    machine.run(m.PublishDraft(lease.inode, lease.generation, b"/x/a", 5, refs))
    volume = machine.namespace.volume
    slot = volume.tree.inodes.slot_of(machine.stat("/x/a").inode)
    assert volume.mounts.tags.get(slot) == b'"t1"' and slot in volume.mounts.changes
    assert machine.blocks("/x/a") == refs


def copied(machine: Machine, path: str, size: int, **options: int) -> tuple[m.AdoptDraft, Any]:
    """Lease a file of the store and fill a draft for it; what moves its content, and the blocks."""
    held = machine.run(m.AcquireLease(path.encode())).attributes
    options = {"block_size": held.block_size, "group_blocks": held.group_blocks, **options}
    draft = machine.run(m.CreateDraft(b"", base=held.inode, **options)).attributes
    refs = blocks_of(draft.inode, draft.generation, size)
    machine.run(m.Commit(draft.inode, draft.generation, size, refs))
    return m.AdoptDraft(held.inode, held.generation, draft.inode, draft.generation), refs


def test_a_draft_becomes_the_content_of_a_file_that_only_its_store_has(machine: Machine) -> None:
    size = 2 * BLOCK + 5
    learn(machine, "/x", known("a", size))
    before = machine.stat("/x/a")
    adopt, refs = copied(machine, "/x/a", size)
    assert machine.blocks("/x/a") != refs and state(machine, "/x/a") == ObjectState.CLEAN
    assert machine.run(adopt).attributes.leased
    after = machine.stat("/x/a")
    assert (after.inode, after.size, after.links) == (before.inode, size, 1)
    assert machine.blocks("/x/a") == refs and state(machine, "/x/a") == ObjectState.DIRTY
    assert machine.du("/x")[0] == size and machine.discards == []
    volume = machine.namespace.volume
    assert volume.mounts.tags.get(volume.tree.inodes.slot_of(after.inode)) == b'"t1"'
    assert not volume.tree.nameless
    with pytest.raises(StaleHandleError):
        machine.run(adopt)
    machine.run(m.Commit(adopt.inode, adopt.generation, BLOCK, release=True))
    assert machine.blocks("/x/a") == refs[:1] and len(machine.discards) == 2
    assert not machine.stat("/x/a").leased


def test_a_draft_is_refused_that_is_no_copy_of_what_the_store_has(machine: Machine) -> None:
    learn(machine, "/x", known("a", BLOCK), known("b", BLOCK))
    adopt, _ = copied(machine, "/x/a", BLOCK - 1)
    with pytest.raises(InvalidArgumentError, match="as long"):
        machine.run(adopt)
    for changed in (
        adopt._replace(generation=adopt.generation + 1),
        adopt._replace(draft_generation=9),
    ):
        with pytest.raises(LeaseLostError):
            machine.run(changed)
    with pytest.raises(InvalidArgumentError, match="a name already"):
        machine.run(adopt._replace(draft=adopt.inode, draft_generation=adopt.generation))
    assert state(machine, "/x/a") == ObjectState.CLEAN
    with pytest.raises(LeaseLostError):
        machine.run(m.CreateDraft(b"", base=machine.stat("/x/b").inode))
    machine.file("/own", BLOCK)
    adopt, _ = copied(machine, "/own", BLOCK)
    with pytest.raises(StaleHandleError, match="the cluster has"):
        machine.run(adopt)


def test_a_draft_goes_when_its_writer_goes(machine: Machine) -> None:
    learn(machine, "/x", known("a", BLOCK))
    _, refs = copied(machine, "/x/a", BLOCK)
    machine.run(m.ExpireSession(1))
    assert [each.version for each in machine.discards] == [each.version for each in refs]
    assert state(machine, "/x/a") == ObjectState.CLEAN


def test_both_are_kept_when_others_changed_the_object(machine: Machine) -> None:
    learn(machine, "/x", known("a"))
    version = written(machine, "/x/a", 9)
    inode = machine.stat("/x/a").inode
    machine.run(m.SetAside(inode, version, b"a.conflict", b'"mine"'))
    assert machine.names("/x") == ["a.conflict"] and machine.stat("/x/a.conflict").size == 9
    learn(machine, "/x", known("a", 3, b'"theirs"'))
    assert machine.names("/x") == ["a", "a.conflict"]
    assert state(machine, "/x/a.conflict") == ObjectState.PERSISTED


# --- pins ------------------------------------------------------------------------------------


def test_a_pin_holds_for_all_below_and_for_its_time(machine: Machine) -> None:
    learn(machine, "/x", folder("d"), known("b"))
    learn(machine, "/x/d", known("a"))
    assert place(machine, "/x/d/a").pinned_until_ns is None
    machine.run(m.Pin(b"/x/d", 5000))
    until = (machine.namespace.applied + 5) * 1_000_000_000
    assert place(machine, "/x/d/a").pinned_until_ns == until
    machine.run(m.Pin(b"/x"))
    assert place(machine, "/x/d/a").pinned_until_ns == 0 == place(machine, "/x/b").pinned_until_ns
    machine.run(m.Pin(b"/x", unpin=True))
    machine.run(m.Pin(b"/x/d", unpin=True))
    assert place(machine, "/x/d/a").pinned_until_ns is None
    with pytest.raises(InvalidArgumentError):
        machine.run(m.Pin(b"/"))


def test_pinned_files_are_not_evicted(machine: Machine) -> None:
    version = written(machine, "/x/new")
    stored(machine, "/x/new", version)
    machine.run(m.Pin(b"/x/new"))
    found = machine.stat("/x/new")
    machine.run(m.EvictFiles((m.ChangeVersion(found.inode, found.change),)))
    assert state(machine, "/x/new") == ObjectState.PERSISTED
    assert machine.copy().namespace.volume.mounts.pins == machine.namespace.volume.mounts.pins


# --- deleted trees ---------------------------------------------------------------------------


def buried_tree(machine: Machine) -> None:
    """/x/d with a file, a directory and a file in that, deleted."""
    learn(machine, "/x", folder("d"))
    learn(machine, "/x/d", known("f"), folder("e"))
    learn(machine, "/x/d/e", known("g"))
    machine.run(m.RemoveDirectory(b"/x/d", recursive=True))


def test_a_tree_is_deleted_in_one_step_and_its_objects_in_many(machine: Machine) -> None:
    buried_tree(machine)
    assert tombstones(machine) == {(1, b"d"): None}
    seen = set()
    while machine.namespace.volume.reclaim:
        machine.run(m.Reclaim(1))
        seen.add(len(tombstones(machine)))
    assert seen == {2, 3, 4}
    assert tombstones(machine) == {
        (1, b"d"): None,
        (1, b"d/e"): None,
        (1, b"d/e/g"): b'"t1"',
        (1, b"d/f"): b'"t1"',
    }
    assert not machine.namespace.volume.mounts.buried


def test_no_object_of_a_deleted_tree_comes_back_meanwhile(machine: Machine) -> None:
    buried_tree(machine)
    machine.mkdir("/x/d")
    written(machine, "/x/d/f")
    learn(machine, "/x/d", known("f"), known("h"), folder("e"))
    assert machine.names("/x/d") == ["f"] and state(machine, "/x/d/f") == ObjectState.DIRTY
    machine.run(m.RemoveDirectory(b"/x/d", recursive=True))
    machine.run(m.Reclaim(100))
    assert tombstones(machine)[1, b"d/f"] == b'"t1"', "of what the store has, not of what it lacks"


@pytest.mark.parametrize("steps", range(6))
def test_a_snapshot_goes_on_with_a_deleted_tree(machine: Machine, steps: int) -> None:
    buried_tree(machine)
    machine.run(m.Reclaim(steps))
    copied = machine.copy()
    for request in (m.Reclaim(1), m.Reclaim(100)):
        entry = machine.entry(request)
        machine.apply(entry)
        copied.apply(entry)
        assert machine.namespace.digest == copied.namespace.digest
        assert tombstones(machine) == tombstones(copied)


@pytest.mark.parametrize("made", [False, True])
def test_an_unmounted_tree_is_freed_and_deletes_nothing(made: bool) -> None:
    machine = Machine()
    if not made:
        machine.mkdir("/x")
    before = machine.namespace.statistics().inodes
    machine.run(m.Mount(b"/x", "s3://bucket/data"))
    buried_tree(machine)
    learn(machine, "/x", known("top"), folder("d2"))
    learn(machine, "/x/d2", known("f"))
    written(machine, "/x/d2/new")
    machine.run(m.Unmount(b"/x", discard=True))
    machine.run(m.Reclaim(100))
    mounts = machine.namespace.volume.mounts
    assert machine.namespace.statistics().inodes == before
    assert not tombstones(machine) and not mounts.changes and not mounts.tags.count
    assert machine.names("/") == ([] if made else ["x"])
    machine.run(m.Mount(b"/x", "s3://bucket/data"))
    assert machine.names("/x") == []


# --- snapshots -------------------------------------------------------------------------------


def test_a_snapshot_holds_all_of_it(machine: Machine) -> None:
    learn(machine, "/x", known("a", 5, b'"' + b"0f" * 16 + b'"'), known("b", 7), folder("d"))
    version = written(machine, "/x/new")
    machine.run(m.BeginPersist(machine.stat("/x/new").inode, version, 5, 77))
    stored_version = written(machine, "/x/old")
    stored(machine, "/x/old", stored_version)
    machine.run(m.Unlink(b"/x/b"))
    copied = machine.copy()
    ours, theirs = machine.namespace.volume.mounts, copied.namespace.volume.mounts
    assert theirs.by_slot == ours.by_slot and theirs.next_number == ours.next_number
    assert list(theirs.tags.items()) == list(ours.tags.items())
    assert (theirs.resident, theirs.changes) == (ours.resident, ours.changes)
    assert theirs.tombstones == ours.tombstones
    for request in (m.Unlink(b"/x/a"), m.Create(b"/x/old"), m.Unmount(b"/x", discard=True)):
        entry = machine.entry(request)
        machine.apply(entry)
        copied.apply(entry)
        assert machine.namespace.digest == copied.namespace.digest


def test_a_mount_that_is_gone_is_no_place(machine: Machine) -> None:
    with pytest.raises(PathNotFoundError):
        machine.run(m.Unmount(b"/nowhere"))
    machine.mkdir("/plain")
    for request in (m.Unmount(b"/plain"), m.Mount(b"/plain", "s3://b", update=True)):
        with pytest.raises(InvalidArgumentError, match="no store is mounted there"):
            machine.run(request)
    with pytest.raises(InvalidArgumentError, match="root"):
        machine.run(m.Mount(b"/", "s3://b"))
    with pytest.raises(StaleHandleError):
        machine.run(m.LearnObjects(7, 1, ROOT_INODE, (known("a"),)))


# --- what extended attributes say of objects --------------------------------------------------


def shown(machine: Machine, path: str, *names: str) -> dict[str, bytes]:
    return dict(machine.query(m.GetXattrs(path.encode(), names)).xattrs)


def test_attributes_say_how_a_file_stands_to_its_store(machine: Machine) -> None:
    learn(machine, "/x", known("a"), folder("d"))
    names = ("user.memfs.mount", "user.memfs.state", "user.memfs.in_memory", "user.memfs.version")
    assert shown(machine, "/x/a", *names) == {
        "user.memfs.mount": b"s3://bucket/data",
        "user.memfs.state": b"NOT_LOADED",  # as far as the namespace knows
        "user.memfs.in_memory": b"0%",
        "user.memfs.version": b'"t1"',
    }
    version = written(machine, "/x/new")
    assert shown(machine, "/x/new", "user.memfs.state") == {"user.memfs.state": b"DIRTY"}
    machine.run(m.BeginPersist(machine.stat("/x/new").inode, version, 5, 77))
    assert shown(machine, "/x/new", "user.memfs.state") == {"user.memfs.state": b"PERSISTING"}
    stored(machine, "/x/new", version)
    assert shown(machine, "/x/new", *names[1:]) == {
        "user.memfs.state": b"PERSISTED",
        "user.memfs.in_memory": b"100%",
        "user.memfs.version": b'"t9"',
    }
    assert shown(machine, "/x/d", "user.memfs.mount") == {"user.memfs.mount": b"s3://bucket/data"}
    assert shown(machine, "/x/d", "user.memfs.state") == {"user.memfs.state": b"PERSISTED"}
    with pytest.raises(NoAttributeError):
        shown(machine, "/x/d", "user.memfs.in_memory")


def test_attributes_and_listings_carry_the_state(machine: Machine) -> None:
    learn(machine, "/x", known("a"), folder("d"))
    written(machine, "/x/new")
    machine.file("/outside", 5)
    assert machine.stat("/x/a").object_state == ObjectState.CLEAN
    assert machine.stat("/x/d").object_state == ObjectState.CLEAN
    assert machine.stat("/x/new").object_state == ObjectState.DIRTY
    assert machine.stat("/x").object_state == machine.stat("/outside").object_state == 0


def test_those_attributes_are_not_listed_and_exist_below_mounts_only(machine: Machine) -> None:
    learn(machine, "/x", known("a"))
    machine.run(m.SetXattr(b"/x/a", "user.own", b"1"))
    assert shown(machine, "/x/a") == {"user.own": b"1"}
    both = shown(machine, "/x/a", "user.own", "user.memfs.state")
    assert both == {"user.own": b"1", "user.memfs.state": b"NOT_LOADED"}
    machine.file("/outside", 5)
    with pytest.raises(NoAttributeError):
        shown(machine, "/outside", "user.memfs.state")


def test_nobody_sets_or_removes_those_attributes(machine: Machine) -> None:
    learn(machine, "/x", known("a"))
    with pytest.raises(NotPermittedError, match="read-only"):
        machine.run(m.SetXattr(b"/x/a", "user.memfs.state", b"DIRTY"))
    with pytest.raises(NotPermittedError, match="read-only"):
        machine.run(m.RemoveXattr(b"/x/a", "user.memfs.version"))
    machine.run(m.SetXattr(b"/x/a", "user.memfs.signature", b"free"))
    assert shown(machine, "/x/a") == {"user.memfs.signature": b"free"}
