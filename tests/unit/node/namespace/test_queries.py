"""Questions and the shapes of their answers."""

from __future__ import annotations

import pytest

from memfs import errors, limits
from memfs.errors import (
    InvalidArgumentError,
    IsDirectoryError,
    MemfsError,
    NameTooLongError,
    NotDirectoryError,
    PathNotFoundError,
    StaleHandleError,
    UnsupportedError,
)
from memfs.protocol import messages as m
from memfs.types import BlockRef, Identity

from .machine import BLOCK, SETTINGS, Machine, block


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.file("/d/f", 2 * BLOCK + 1, parents=True)
    machine.run(m.MakeSymlink(b"/s", b"d/f"))
    return machine


def test_the_root(machine: Machine) -> None:
    root = Machine(open_to_all=False).stat("/")
    assert (root.inode, root.kind, root.mode, root.links) == (1, 1, 0o755, 2)
    assert (root.owner, root.group, root.modified_ns) == ("root", "wheel", 1_000)
    for path in ("", "/", "//", "/.", "/..", "/./../.."):
        assert machine.stat(path).inode == 1


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"/x", PathNotFoundError),
        (b"/x/", PathNotFoundError),
        (b"/d/f/", NotDirectoryError),
        (b"/d/f/.", NotDirectoryError),
        (b"/d/f/x", NotDirectoryError),
        (b"/s/x", NotDirectoryError),
        (b"/" + b"x" * 256, NameTooLongError),
        (b"/x" * 2049, NameTooLongError),
        (b"/d\0", errors.InvalidPathError),
        (b"/\xff", PathNotFoundError),
    ],
)
def test_paths_that_lead_nowhere(machine: Machine, path: bytes, error: type[MemfsError]) -> None:
    for request in (m.Lookup(path), m.GetBlocks(path), m.List(path), m.Summarise(path)):
        with pytest.raises(error):
            machine.ask(request)


def test_handles(machine: Machine) -> None:
    file, directory = machine.stat("/d/f"), machine.stat("/d")
    assert machine.ask(m.Lookup(b"", base=file.inode)).attributes == file
    assert machine.ask(m.Lookup(b"f", base=directory.inode)).attributes == file
    assert machine.ask(m.Lookup(b"../d/f", base=directory.inode)).attributes == file
    for path in (b"x", b"/", b".."):
        with pytest.raises(NotDirectoryError):
            machine.ask(m.Lookup(path, base=file.inode))
    for base in (0, -1, 2, 1 << 32 | 1, 1 << 64):
        if base != file.inode and base != directory.inode:
            with pytest.raises(StaleHandleError):
                machine.ask(m.Lookup(b"", base=base))
    (reserved,) = machine.run(m.ReserveInodes(1)).inodes
    with pytest.raises(StaleHandleError):
        machine.ask(m.Lookup(b"", base=reserved))


def test_errors_name_the_path(machine: Machine) -> None:
    with pytest.raises(PathNotFoundError) as caught:
        machine.ask(m.Lookup(b"/no/such"))
    assert caught.value.filename == "/no/such"


def test_lookup_many(machine: Machine) -> None:
    machine.mkdir("/secret", 0o700)
    machine.file("/secret/x")
    paths = (b"/d/f", b"/x", b"/secret/x", b"/s")
    found = machine.ask(m.LookupMany(paths), "alice").attributes
    assert found == (machine.stat("/d/f"), None, None, machine.stat("/d/f"))
    found = machine.ask(m.LookupMany((b"/s",), follow=False)).attributes
    assert found == (machine.stat("/s", follow=False),)
    with pytest.raises(InvalidArgumentError):
        machine.ask(m.LookupMany((b"/x",) * (limits.FILES_PER_BATCH + 1)))
    machine.run(m.SetAttributes(b"/d/f", owner="o" * 255, group="é" * 127))
    machine.ask(m.LookupMany((b"/d/f",) * 30))
    with pytest.raises(InvalidArgumentError):
        machine.ask(m.LookupMany((b"/d/f",) * 200))


def test_block_maps_come_in_pages(machine: Machine) -> None:
    inode = machine.stat("/d/f").inode
    refs = (block(inode, 0), block(inode, 1), block(inode, 2, length=1))
    for first, count, expected in (
        (0, 700, refs),
        (1, 1, refs[1:2]),
        (2, 99, refs[2:]),
        (3, 1, ()),
        (1 << 63, 1, ()),
        (0, 0, ()),
    ):
        reply = machine.ask(m.GetBlocks(b"/s", first, count))
        assert (reply.first, reply.blocks) == (first, expected)
        assert reply.attributes == machine.stat("/d/f")
    for first, count in ((-1, 1), (0, -1)):
        with pytest.raises(InvalidArgumentError):
            machine.ask(m.GetBlocks(b"/s", first, count))
    with pytest.raises(IsDirectoryError):
        machine.ask(m.GetBlocks(b"/d"))


def test_a_page_of_blocks_with_all_replicas_fits_a_record(machine: Machine) -> None:
    held = machine.run(m.Create(b"/big")).attributes
    most = (1 << 63) - 1
    for first in range(0, 700, 350):
        refs = tuple(
            block(held.inode, first + index, sequence=(1 << 32) - 1)._replace(
                replicas=tuple(most - number for number in range(4)), crc=(1 << 32) - 1
            )
            for index in range(350)
        )
        machine.run(m.Commit(held.inode, 1, (first + 350) * BLOCK, refs))
    assert len(machine.ask(m.GetBlocks(b"/big")).blocks) == 700


def test_read_files(machine: Machine) -> None:
    machine.file("/secret", mode=0o600)
    reply = machine.ask(m.ReadFiles((b"/d/f", b"/x", b"/secret", b"/d"), 99), "alice").files
    assert [file.code for file in reply] == [
        0,
        PathNotFoundError.code,
        errors.AccessDeniedError.code,
        IsDirectoryError.code,
    ]
    assert reply[0].attributes == machine.stat("/d/f") and reply[0].length == -1
    assert reply[0].blocks == machine.blocks("/d/f") and reply[1].attributes is None
    machine.file("/big", 600 * BLOCK)
    found = machine.ask(m.ReadFiles((b"/d/f", b"/big", b"/big", b"/d/f"), 0)).files
    assert 2 <= len(found) < 4, "the rest does not fit a record"


def test_listing_in_pages(machine: Machine) -> None:
    names = [b"%03d" % number for number in range(300)]
    for name in reversed(names):
        machine.run(m.MakeSymlink(b"/l/" + name, b"x", parents=True))
    seen, after = [], b""
    while True:
        page = machine.ask(m.List(b"/l", after, 64))
        seen += [entry.name for entry in page.entries]
        assert page.remaining == 300 - len(seen)
        if not page.remaining:
            break
        after = seen[-1]
    assert seen == names
    assert machine.ask(m.List(b"/l", b"0500")).entries[0].name == b"051"
    assert machine.ask(m.List(b"/l", b"zzz")) == m.ListReply((), 0)
    entry = machine.ask(m.List(b"/l", b"", 1)).entries[0]
    assert entry.attributes == machine.stat("/l/000", follow=False)


def test_pages_end_where_the_record_is_full(machine: Machine) -> None:
    for number in range(250):
        machine.run(m.MakeSymlink(b"/l/%03d" % number + b"x" * 252, b"x", parents=True))
    page = machine.ask(m.List(b"/l", b"", 1000))
    assert 100 < len(page.entries) < 250 == len(page.entries) + page.remaining


def test_names_alone_come_in_pages_too(machine: Machine) -> None:
    names = [b"%03d" % number + b"x" * 252 for number in range(300)]
    for name in names:
        machine.run(m.MakeSymlink(b"/l/" + name, b"x", parents=True))
    seen: list[bytes] = []
    while True:
        page = machine.ask(m.List(b"/l", seen[-1] if seen else b"", 1000, names_only=True))
        assert not page.entries and 100 <= len(page.names) <= 260
        seen += page.names
        assert page.remaining == 300 - len(seen)
        if not page.remaining:
            break
    assert seen == names
    assert machine.ask(m.List(b"/l", b"", 2, names_only=True)).names == (*names[:2],)


def test_listing_what_is_no_directory(machine: Machine) -> None:
    itself = m.DirectoryEntry(b"", machine.stat("/d/f"))
    for names_only in (False, True):
        asked = m.List(b"/s", names_only=names_only)
        assert machine.ask(asked) == m.ListReply((itself,), 0)
        assert machine.ask(asked._replace(after=b"a")) == m.ListReply((), 0)
    for limit in (0, -1, limits.ENTRIES_PER_PAGE + 1):
        with pytest.raises(InvalidArgumentError):
            machine.ask(m.List(b"/", b"", limit))


def test_summaries_of_anything(machine: Machine) -> None:
    size = 2 * BLOCK + 1
    assert machine.du("/") == (size, 2, 2, 2 * size)
    assert machine.du("/d/f") == machine.du("/s") == (size, 1, 0, 2 * size)


def test_pages_of_a_summary_add_up(machine: Machine) -> None:
    machine.mkdir("/l")
    made = [machine.mkdir(f"/l/{number:03d}{'x' * 252}") for number in range(250)]
    for number in range(250):
        machine.run(m.MakeLink(b"/d/f", b"/l/y%03d" % number))
        machine.run(m.MakeSymlink(b"/l/s%03d" % number + b"x" * 200, b"x"))
    machine.run(m.Unlink(b"/d/f"))  # its home is /l now
    after, more, below, files, several = b"", True, [], 0, set()
    while more:
        page = machine.ask(m.SummarisePage(b"/l", after))
        assert page.summary.directories == (not after)
        assert page.last > after
        below += page.below
        files += page.summary.files
        several.update(page.several)
        after, more = page.last, page.more
    assert [each.inode for each in below] == [each.inode for each in made]
    size = 2 * BLOCK + 1
    assert (files, [each[1:] for each in several]) == (250, [(size, 2 * size)])
    assert machine.du("/l") == (size, 251, 251, 2 * size)


def test_pages_of_a_summary_that_cannot_be(machine: Machine) -> None:
    with pytest.raises(NotDirectoryError):
        machine.ask(m.SummarisePage(b"/d/f"))
    for limit in (0, -1, limits.ENTRIES_PER_PAGE + 1):
        with pytest.raises(InvalidArgumentError):
            machine.ask(m.SummarisePage(b"/", b"", limit))


def test_totals_beyond_64_bits_are_cut(machine: Machine) -> None:
    size = limits.FILE_BYTES_MAX
    big = 64 * limits.MIB
    volume = machine.namespace.volume
    lease = machine.run(m.Create(b"/big", block_size=big)).attributes
    machine.run(m.Commit(lease.inode, 1, size))
    volume.tree.directory(1).length += 1 << 70
    try:
        assert machine.du("/")[0] == (1 << 63) - 1
        assert machine.namespace.statistics().bytes == (1 << 63) - 1
    finally:
        volume.tree.directory(1).length -= 1 << 70


def test_statfs(machine: Machine) -> None:
    assert machine.ask(m.StatFileSystem()) == (0, 0, 2, 2, *SETTINGS[2:5])


@pytest.mark.parametrize("mask", [-1, 8])
def test_masks(machine: Machine, mask: int) -> None:
    with pytest.raises(InvalidArgumentError):
        machine.ask(m.Access(b"/", mask))


def test_directories_may_be_entered_by_the_superuser_whatever_their_mode(machine: Machine) -> None:
    machine.run(m.SetAttributes(b"/d", mode=0))
    machine.ask(m.Access(b"/d", 7))


def test_what_is_no_question(machine: Machine) -> None:
    for request in (m.Create(b"/x"), m.Ping(), None, b""):
        with pytest.raises(UnsupportedError):
            machine.namespace.query(Identity("root"), request)


def states(machine: Machine, *refs: BlockRef, user: str = "root") -> list[m.VersionState]:
    versions = tuple(ref.version for ref in refs)
    return [m.VersionState(each) for each in machine.ask(m.CheckVersions(versions, user)).states]


def test_what_becomes_of_block_versions(machine: Machine) -> None:
    named, pending, unknown = m.VersionState.NAMED, m.VersionState.PENDING, m.VersionState.UNKNOWN
    refs = machine.blocks("/d/f")
    inode = refs[0].inode
    other, beyond = block(inode, 0, 1, sequence=9), block(inode, 99)
    assert states(machine, *refs, other, beyond) == [named, named, named, unknown, unknown]
    lease = machine.run(m.AcquireLease(b"/d/f")).attributes
    new = block(inode, 0, lease.generation)
    assert states(machine, *refs, other, new) == [named, named, named, unknown, pending]
    assert states(machine, refs[0], new, user="bob") == [named, unknown]
    machine.run(m.Commit(inode, lease.generation, lease.size, (new,), release=True))
    assert states(machine, refs[0], new) == [unknown, named]
    (reserved,) = machine.run(m.ReserveInodes(1)).inodes
    assert states(machine, block(reserved), block(12345)) == [unknown, unknown]


def test_blocks_that_another_file_took_over_are_named(machine: Machine) -> None:
    machine.file("/a", BLOCK)
    machine.file("/b", BLOCK)
    refs = machine.blocks("/b")
    machine.run(m.Concat(b"/a", (b"/b",)))
    assert states(machine, *refs) == [m.VersionState.NAMED]
