"""Files that are written without a name, and named by the command that commits."""

from __future__ import annotations

from typing import Any

import pytest

from memfs import errors
from memfs.protocol import messages as m
from memfs.types import AclEntry, Attributes
from tests.support.placed import placed_blocks

from ..machine import BLOCK, Machine, blocks_of


@pytest.fixture
def machine() -> Machine:
    return Machine()


def draft(machine: Machine, path: str, user: str = "root", client: int = 1, **options: Any) -> Any:
    return machine.run(m.CreateDraft(path.encode(), **options), user, client).attributes


def publish(
    machine: Machine,
    lease: Attributes,
    path: str,
    size: int = 2 * BLOCK + 5,
    user: str = "root",
    client: int = 1,
    **options: Any,
) -> Attributes:
    refs = blocks_of(lease.inode, lease.generation, size)
    held = lease.inode, lease.generation
    request = m.PublishDraft(*held, path.encode(), size, refs, **options)
    return machine.run(request, user, client).attributes  # type: ignore[no-any-return]


def refused(machine: Machine, *args: Any, **options: Any) -> type[errors.MemfsError]:
    """The error of a publication that changes nothing."""
    before = machine.names("/"), machine.du("/"), len(machine.discards)
    with pytest.raises(errors.MemfsError) as caught:
        publish(machine, *args, **options)
    assert (machine.names("/"), machine.du("/"), len(machine.discards)) == before
    return type(caught.value)


def test_a_draft_is_seen_when_it_is_published(machine: Machine) -> None:
    lease = draft(machine, "/f", "alice")
    assert machine.names("/") == [] and machine.du("/")[:2] == (0, 0)
    made = publish(machine, lease, "/f", user="alice", mode=0o640)
    found = machine.stat("/f")
    assert made == found and found.inode == lease.inode
    assert (found.mode, found.owner, found.size, found.leased) == (0o640, "alice", 8197, False)
    assert machine.du("/") == (8197, 1, 1, 2 * 8197)
    assert machine.namespace.sessions == {} and machine.discards == []


@pytest.mark.parametrize("end", ["release", "expire", "commit"])
def test_a_draft_that_is_not_published_leaves_nothing(machine: Machine, end: str) -> None:
    machine.file("/f", BLOCK)
    lease = draft(machine, "/f")
    refs = blocks_of(lease.inode, lease.generation, 3 * BLOCK)
    held = lease.inode, lease.generation
    machine.run(m.Commit(*held, 3 * BLOCK, refs))
    assert [block.ref for block in placed_blocks(machine.namespace) if block.ref in refs], "healed"
    assert machine.stat("/f").size == BLOCK and machine.du("/")[1] == 1
    if end == "release":
        machine.run(m.ReleaseLease(*held))
    elif end == "expire":
        machine.run(m.ExpireSession(1))
    else:
        machine.run(m.Commit(*held, 3 * BLOCK, release=True))
    assert set(machine.discards) == set(refs)
    assert not machine.namespace.reclaiming and machine.names("/") == ["f"]
    assert not any(machine.namespace.is_live(ref.version) for ref in refs)
    with pytest.raises(errors.StaleHandleError):
        publish(machine, lease, "/f")


def test_a_deleted_client_with_many_blocks_is_freed_in_steps(machine: Machine) -> None:
    lease = draft(machine, "/f")
    size = 5000 * BLOCK
    for first in range(0, 5000, 900):
        refs = blocks_of(lease.inode, 1, size)[first : first + 900]
        end = min(size, (first + 900) * BLOCK)
        machine.run(m.Commit(lease.inode, 1, end, refs))
    machine.run(m.ExpireSession(1))
    machine.reclaim()
    assert len(machine.discards) == 5000


def test_a_copy_of_the_namespace_has_the_drafts(machine: Machine) -> None:
    lease = draft(machine, "/f")
    machine.run(m.Commit(lease.inode, 1, BLOCK, blocks_of(lease.inode, 1, BLOCK)))
    copy = machine.copy()
    refs = blocks_of(lease.inode, 1, 2 * BLOCK)
    request = m.PublishDraft(lease.inode, 1, b"/f", 2 * BLOCK, refs)
    record = copy.apply(copy.entry(request, request_id=100), request).record
    assert record.attributes.size == 2 * BLOCK and copy.names("/") == ["f"]
    copy = machine.copy()
    copy.apply(copy.entry(m.ExpireSession(1), request_id=100))
    assert len(copy.discards) == 1 and not copy.namespace.reclaiming


def test_the_file_that_was_there_hands_its_own_on(machine: Machine) -> None:
    old = machine.file("/f", BLOCK, "alice", 0o604)
    machine.run(m.SetXattr(b"/f", "user.a", b"x"))
    machine.run(m.SetAttributes(b"/f", replication=3))
    lease = draft(machine, "/f", "root")
    made = publish(machine, lease, "/f", mode=0o777)
    assert made.inode != old.inode and machine.discards == [
        ref._replace(replicas=(1, 2)) for ref in blocks_of(old.inode, 1, BLOCK)
    ]
    assert (made.owner, made.mode, made.replication) == ("alice", 0o604, 3)
    assert machine.ask(m.GetXattrs(b"/f")).xattrs
    assert machine.du("/") == (8197, 1, 1, 3 * 8197)


@pytest.mark.parametrize("why", ["linked", "directory", "sticky"])
def test_a_file_that_has_to_stay_changes_in_one_step(machine: Machine, why: str) -> None:
    machine.mkdir("/d", 0o777)
    old = machine.file("/d/f", 2 * BLOCK, "alice", 0o666)
    if why == "linked":
        machine.run(m.MakeLink(b"/d/f", b"/g"))
    else:
        machine.run(m.SetAttributes(b"/d", mode=0o755 if why == "directory" else 0o1777))
    lease = draft(machine, "/d/f", "bob", block_size=2 * BLOCK)
    refs = blocks_of(lease.inode, 1, 5 * BLOCK, 2 * BLOCK)
    request = m.PublishDraft(lease.inode, 1, b"/d/f", 5 * BLOCK, refs)
    made = machine.run(request, "bob").attributes
    assert (made.inode, made.size, made.owner) == (old.inode, 5 * BLOCK, "alice")
    assert made.block_size == 2 * BLOCK and machine.blocks("/d/f") == refs
    assert set(machine.discards) == set(blocks_of(old.inode, 1, 2 * BLOCK))
    assert machine.du("/d") == (5 * BLOCK, 1, 1, 10 * BLOCK)
    assert machine.namespace.is_live(m.BlockVersion(*refs[0][:4]))
    machine.run(m.Unlink(b"/d/f"))
    if why == "linked":
        machine.run(m.Unlink(b"/g"))
    assert set(machine.discards) >= set(refs) and not machine.namespace.reclaiming


def test_an_empty_draft_over_a_file_that_stays(machine: Machine) -> None:
    machine.file("/f", BLOCK)
    machine.run(m.MakeLink(b"/f", b"/g"))
    assert publish(machine, draft(machine, "/f"), "/f", 0).size == 0
    assert machine.stat("/g").size == 0 and machine.du("/")[0] == 0


def test_what_speaks_against_it_is_said_at_the_beginning_and_at_the_end(machine: Machine) -> None:
    machine.mkdir("/d")
    machine.file("/f", 1)
    cases: list[tuple[str, str, dict[str, Any], type[errors.MemfsError]]] = [
        ("/d", "root", {}, errors.IsDirectoryError),
        ("/new/", "root", {}, errors.IsDirectoryError),
        ("/f", "root", {"exclusive": True}, errors.PathExistsError),
        ("/f", "bob", {}, errors.AccessDeniedError),
        ("/d/x", "bob", {}, errors.AccessDeniedError),
        ("/d/x/y", "bob", {"parents": True}, errors.AccessDeniedError),
        ("/no/x", "root", {}, errors.PathNotFoundError),
        ("/f/x", "root", {}, errors.NotDirectoryError),
    ]
    for path, user, options, expected in cases:
        with pytest.raises(expected):
            draft(machine, path, user, **options)
        lease = draft(machine, "/ok", user, client=2)
        assert refused(machine, lease, path, user=user, client=2, **options) is expected
        machine.run(m.ReleaseLease(lease.inode, 1), user, 2)


def test_missing_directories_are_made_at_the_end(machine: Machine) -> None:
    lease = draft(machine, "/a/b/f", "alice", parents=True)
    assert machine.names("/") == []
    publish(machine, lease, "/a/b/f", user="alice", parents=True)
    assert machine.stat("/a/b").owner == "alice"


def test_a_default_list_is_inherited_as_by_create(machine: Machine) -> None:
    machine.mkdir("/d")
    entries = (AclEntry(0, "bob", 6, True),)
    machine.run(m.ChangeAcl(b"/d", m.AclChange.MODIFY, entries))
    machine.run(m.SetAttributes(b"/d", mode=0o2777, group="artists"))
    made = machine.run(m.Create(b"/d/a", 0o640, unmasked=0o666), "carol").attributes
    lease = draft(machine, "/d/b", "carol")
    put = publish(machine, lease, "/d/b", 0, "carol", mode=0o640, unmasked=0o666)
    assert (put.mode, put.group, put.owner) == (made.mode, "artists", "carol")
    assert machine.ask(m.GetAcl(b"/d/a")).entries == machine.ask(m.GetAcl(b"/d/b")).entries


def test_a_quota_counts_what_is_replaced(machine: Machine) -> None:
    machine.mkdir("/d")
    machine.file("/d/f", 3 * BLOCK)
    machine.run(m.SetQuota(b"/d", space=8 * BLOCK))
    lease = draft(machine, "/d/f")
    assert refused(machine, lease, "/d/f", 5 * BLOCK) is errors.SpaceQuotaError
    assert refused(machine, lease, "/d/g", 2 * BLOCK) is errors.SpaceQuotaError
    assert publish(machine, lease, "/d/f", 4 * BLOCK).size == 4 * BLOCK


def test_another_writer_is_in_the_way_unless_the_newest_is_to_win(machine: Machine) -> None:
    theirs = machine.run(m.Create(b"/f"), client=2).attributes
    with pytest.raises(errors.LeaseHeldError):
        draft(machine, "/f")
    lease = draft(machine, "/f", recover=True)
    assert refused(machine, lease, "/f") is errors.LeaseHeldError
    publish(machine, lease, "/f", recover=True)
    with pytest.raises(errors.StaleHandleError):
        machine.write(theirs, BLOCK, client=2)
    theirs = machine.run(m.AcquireLease(b"/f"), client=2).attributes
    machine.run(m.MakeLink(b"/f", b"/g"))
    publish(machine, draft(machine, "/f", recover=True), "/f", recover=True)
    with pytest.raises(errors.LeaseLostError):
        machine.write(theirs, BLOCK, client=2)


def test_what_it_was_made_from_must_be_what_it_was(machine: Machine) -> None:
    source = machine.file("/s", BLOCK)
    lease = draft(machine, "/f")
    seen = m.FileVersion(source.inode, machine.stat("/s").change)
    machine.write(machine.run(m.AcquireLease(b"/s")).attributes, 2 * BLOCK)
    assert refused(machine, lease, "/f", unchanged=(seen,)) is errors.StaleHandleError
    seen = m.FileVersion(source.inode, machine.stat("/s").change)
    assert publish(machine, lease, "/f", unchanged=(seen,)).size


def test_a_draft_gets_no_name_in_another_way(machine: Machine) -> None:
    lease = draft(machine, "/f")
    with pytest.raises(errors.StaleHandleError):
        machine.run(m.MakeLink(b"", b"/g", source_base=lease.inode))
    with pytest.raises(errors.AccessDeniedError):
        machine.ask(m.Access(b"", 4, base=lease.inode), "bob")
    named = machine.run(m.Create(b"/g")).attributes
    with pytest.raises(errors.InvalidArgumentError, match="has a name already"):
        publish(machine, named, "/f")
    machine.mkdir("/d")
    for linkable, reason in ((True, "a link gives it its name"), (False, "made to have no name")):
        unnamed = machine.run(m.CreateUnnamed(b"/d", linkable=linkable)).attributes
        with pytest.raises(errors.InvalidArgumentError, match=reason):
            publish(machine, unnamed, "/f")
    assert machine.run(m.SetAttributes(b"", mode=0o400, base=lease.inode)).attributes.mode == 0o400
