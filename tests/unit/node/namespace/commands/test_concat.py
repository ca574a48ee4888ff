"""concat and the versions that keep their names."""

from __future__ import annotations

import pytest

from memfs.errors import (
    InvalidArgumentError,
    IsDirectoryError,
    LeaseHeldError,
    LeaseLostError,
    MemfsError,
    PathNotFoundError,
    StaleHandleError,
)
from memfs.protocol import messages as m

from ..machine import BLOCK, Machine, block


@pytest.fixture
def machine() -> Machine:
    """/a, /b, /c of two, three and one and a half blocks; /e empty."""
    machine = Machine()
    machine.file("/a", 2 * BLOCK)
    machine.file("/b", 3 * BLOCK)
    machine.file("/c", BLOCK + 5)
    machine.file("/e")
    return machine


def concat(machine: Machine, target: str, *sources: str) -> None:
    machine.run(m.Concat(target.encode(), tuple(path.encode() for path in sources)))


def live(machine: Machine, *refs: object) -> list[bool]:
    return [machine.namespace.is_live(ref.version) for ref in refs]  # type: ignore[index]


def test_blocks_move_and_keep_their_versions(machine: Machine) -> None:
    refs = machine.blocks("/a") + machine.blocks("/b") + machine.blocks("/c")
    source = machine.stat("/b").inode
    concat(machine, "/a", "/b", "/c")
    assert machine.names("/") == ["a", "e"] and machine.blocks("/a") == refs
    size = 6 * BLOCK + 5
    assert machine.stat("/a").size == size and machine.du("/") == (size, 2, 1, 2 * size)
    assert machine.discards == [] and all(live(machine, *refs))
    assert [machine.namespace.block(ref.version) for ref in refs] == list(refs)
    with pytest.raises(StaleHandleError):
        machine.ask(m.Lookup(b"", base=source))


def test_replaced_blocks_of_sources_are_discarded_and_the_last_frees_the_inode(
    machine: Machine,
) -> None:
    before = machine.namespace.statistics().inodes
    refs = machine.blocks("/b")
    concat(machine, "/a", "/b")
    held = machine.run(m.AcquireLease(b"/a")).attributes
    new = block(held.inode, 2, held.generation)
    machine.run(m.Commit(held.inode, held.generation, 5 * BLOCK, (new, *refs[1:])))
    assert machine.discards == [refs[0]] and live(machine, *refs) == [False, True, True]
    assert machine.blocks("/a")[2:] == (new, *refs[1:])
    machine.run(m.Commit(held.inode, held.generation, 3 * BLOCK))
    assert machine.discards == list(refs) and not any(live(machine, *refs))
    assert machine.namespace.statistics().inodes == before - 1
    assert machine.namespace.volume.blocks.absorbed == {}


def test_an_older_version_of_a_moved_block_is_not_live(machine: Machine) -> None:
    ref = machine.blocks("/b")[0]
    concat(machine, "/a", "/b")
    assert live(machine, ref, ref._replace(sequence=1), ref._replace(index=5)) == [
        True,
        False,
        False,
    ]


def test_concat_of_what_was_concatenated(machine: Machine) -> None:
    refs = machine.blocks("/b") + machine.blocks("/a") + machine.blocks("/c")
    concat(machine, "/a", "/c")
    concat(machine, "/b", "/a")
    concat(machine, "/e", "/b")
    assert machine.blocks("/e") == refs and all(live(machine, *refs))
    machine.run(m.SetReplicas(*refs[-1][:4], (7,)))
    assert machine.blocks("/e")[-1].replicas == (7,)
    assert machine.namespace.statistics().inodes == 5  # the root, /e, three absorbed
    machine.run(m.Unlink(b"/e"))
    machine.discards.remove(refs[-1]._replace(replicas=(1, 2)))
    assert len(machine.discards) == 7 and machine.namespace.statistics().inodes == 1


def test_holes_move_too(machine: Machine) -> None:
    held = machine.run(m.Create(b"/sparse")).attributes
    last = block(held.inode, 4, length=9)
    machine.run(m.Commit(held.inode, 1, 4 * BLOCK + 9, (last,), release=True))
    held = machine.run(m.Create(b"/void")).attributes
    machine.run(m.Commit(held.inode, 1, 2 * BLOCK, release=True))
    concat(machine, "/a", "/void", "/sparse")
    assert machine.stat("/a").size == 8 * BLOCK + 9
    assert [ref.length for ref in machine.blocks("/a")] == [BLOCK, BLOCK, *[0] * 6, 9]
    assert machine.namespace.statistics().inodes == 6  # /void left nothing behind


def test_a_deleted_target_takes_all_with_it_in_pieces(machine: Machine) -> None:
    count = 1200
    for name in ("/x", "/y"):
        held = machine.run(m.Create(name.encode())).attributes
        for first in range(0, count, 600):
            refs = tuple(block(held.inode, first + index) for index in range(600))
            machine.run(m.Commit(held.inode, 1, (first + 600) * BLOCK, refs))
        machine.run(m.ReleaseLease(held.inode, 1))
    concat(machine, "/x", "/y")
    machine.run(m.Unlink(b"/x"))
    assert machine.namespace.reclaiming
    machine = machine.copy()
    machine.reclaim()
    assert machine.namespace.statistics().inodes == 5


@pytest.mark.parametrize(
    ("target", "sources", "error"),
    [
        ("/a", (), InvalidArgumentError),
        ("/a", ("/a",), InvalidArgumentError),
        ("/a", ("/b", "/b"), InvalidArgumentError),
        ("/c", ("/b",), InvalidArgumentError),  # does not end on a boundary
        ("/a", ("/c", "/b"), InvalidArgumentError),
        ("/a", ("/link",), InvalidArgumentError),
        ("/a", ("/other",), InvalidArgumentError),
        ("/a", ("/groups",), InvalidArgumentError),
        ("/a", ("/linked",), InvalidArgumentError),
        ("/a", ("/open",), LeaseHeldError),
        ("/open", ("/a",), LeaseHeldError),
        ("/a", ("/d",), IsDirectoryError),
        ("/d", ("/a",), IsDirectoryError),
        ("/a", ("/b", "/x"), PathNotFoundError),
        ("/x", ("/a",), PathNotFoundError),
    ],
)
def test_what_cannot_be_concatenated(
    machine: Machine, target: str, sources: tuple[str, ...], error: type[MemfsError]
) -> None:
    machine.mkdir("/d")
    machine.run(m.MakeSymlink(b"/link", b"b"))
    machine.file("/other", block_size=8192)
    machine.file("/groups", group_blocks=8)
    machine.file("/linked")
    machine.run(m.MakeLink(b"/linked", b"/d/again"))
    machine.run(m.Create(b"/open"))
    before = machine.names("/"), machine.du("/")
    with pytest.raises(error):
        concat(machine, target, *sources)
    assert (machine.names("/"), machine.du("/")) == before


def seen(machine: Machine, *paths: str) -> tuple[m.FileVersion, ...]:
    found = [machine.stat(path) for path in paths]
    return tuple(m.FileVersion(each.inode, each.change) for each in found)


def test_sources_that_the_caller_has_copied_vanish_together(machine: Machine) -> None:
    before, refs = machine.du("/"), machine.blocks("/b") + machine.blocks("/c")
    copied = seen(machine, "/b", "/c")
    machine.run(m.AcquireLease(b"/a"))
    machine.run(m.Concat(b"/a", (b"/b", b"/c"), copied))
    assert machine.names("/") == ["a", "e"] and machine.discards == list(refs)
    gone = 4 * BLOCK + 5
    assert machine.du("/") == (before[0] - gone, 2, 1, before[3] - 2 * gone)


@pytest.mark.parametrize(
    ("meanwhile", "error"),
    [
        (m.AcquireLease(b"/c"), LeaseHeldError),
        (m.Unlink(b"/c"), PathNotFoundError),
        (m.Rename(b"/e", b"/c"), StaleHandleError),
        (None, StaleHandleError),
    ],
)
def test_a_source_that_changed_since_it_was_copied_stops_it(
    machine: Machine, meanwhile: object, error: type[MemfsError]
) -> None:
    copied = seen(machine, "/b", "/c")
    machine.run(m.AcquireLease(b"/a"))
    if meanwhile is None:  # written and closed again
        machine.write(machine.run(m.AcquireLease(b"/c"), client=2).attributes, 9, client=2)
    else:
        machine.run(meanwhile, client=2)
    names = machine.names("/")
    with pytest.raises(error) as caught:
        machine.run(m.Concat(b"/a", (b"/b", b"/c"), copied))
    assert caught.value.filename == "/c" and machine.names("/") == names


def test_only_who_has_the_target_leased_may_say_that_he_copied(machine: Machine) -> None:
    with pytest.raises(LeaseLostError):
        machine.run(m.Concat(b"/a", (b"/b",), seen(machine, "/b")))
    machine.run(m.AcquireLease(b"/a"), client=2)
    with pytest.raises(LeaseLostError):
        machine.run(m.Concat(b"/a", (b"/b",), seen(machine, "/b")))
    with pytest.raises(InvalidArgumentError):
        machine.run(m.Concat(b"/a", (b"/b", b"/c"), seen(machine, "/b")), client=2)


def test_a_writer_is_named_before_what_does_not_fit(machine: Machine) -> None:
    machine.run(m.AcquireLease(b"/b"))
    with pytest.raises(LeaseHeldError) as caught:
        concat(machine, "/c", "/a", "/b")  # /c does not end on a boundary
    assert caught.value.filename == "/b"
