"""PutFiles and the inodes reserved for it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from memfs import errors, limits
from memfs.errors import BusyError, InvalidArgumentError
from memfs.protocol import messages as m

from ..machine import BLOCK, Machine, block, blocks_of


@pytest.fixture
def machine() -> Machine:
    return Machine()


def reserve(machine: Machine, count: int = 1, client: int = 1) -> tuple[int, ...]:
    reply = machine.run(m.ReserveInodes(count), client=client)
    return reply.inodes  # type: ignore[no-any-return]


def new(machine: Machine, path: str, size: int = 5, **options: Any) -> m.NewFile:
    (inode,) = reserve(machine)
    return m.NewFile(path.encode(), inode, size, blocks_of(inode, 1, size), **options)


def put(machine: Machine, *files: m.NewFile, user: str = "root", client: int = 1) -> list[int]:
    """Error codes, 0 for what succeeded."""
    reply = machine.run(m.PutFiles(files), user, client)
    for file, result in zip(files, reply.results, strict=True):
        assert (result.attributes is None) == bool(result.code)
        if not result.code:
            assert result.attributes.inode == file.inode
    return [result.code for result in reply.results]


def test_a_file_appears_whole(machine: Machine) -> None:
    file = new(machine, "/f", 2 * BLOCK + 5, mode=0o640, replication=3)
    assert put(machine, file, user="alice") == [0]
    made = machine.stat("/f")
    assert (made.inode, made.size, made.mode, made.owner) == (
        file.inode,
        2 * BLOCK + 5,
        0o640,
        "alice",
    )
    assert (made.generation, made.leased, made.replication) == (1, False, 3)
    assert machine.blocks("/f") == file.blocks
    assert machine.du("/") == (2 * BLOCK + 5, 1, 1, 3 * (2 * BLOCK + 5))
    assert machine.run(m.AcquireLease(b"/f")).attributes.generation == 2


def test_each_file_of_a_batch_stands_alone(machine: Machine) -> None:
    machine.mkdir("/d")
    files = [
        new(machine, "/ok"),
        new(machine, "/missing/x"),
        new(machine, "/made/on/demand", parents=True),
        new(machine, "/d"),
        new(machine, "/ok", exclusive=True),
        new(machine, "/bad", mode=0o10000),
        new(machine, "/empty", 0),
        new(machine, "/x" * 10),
    ]
    codes = put(machine, *files)
    assert codes == [
        0,
        errors.PathNotFoundError.code,
        0,
        errors.IsDirectoryError.code,
        errors.PathExistsError.code,
        errors.InvalidArgumentError.code,
        0,
        errors.PathNotFoundError.code,
    ]
    assert machine.names("/") == ["d", "empty", "made", "ok"]
    assert machine.namespace.statistics().reserved == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"inode": 1},
        {"inode": 0},
        {"inode": 1 << 63},
        {"blocks": ()},
        {"size": 4},
        {"size": -1},
        {"path": b"/x/"},
        {"path": b"/"},
        {"path": b""},
        {"path": b"/\xff"},
        {"path": b"/a/" + b"x" * 256, "parents": True},
        {"replication": 9},
        {"block_size": 1},
    ],
)
def test_what_is_refused_leaves_nothing_and_may_be_tried_again(
    machine: Machine, changes: dict[str, Any]
) -> None:
    file = new(machine, "/f")
    if changes == {"blocks": ()}:
        changes = {"blocks": (block(file.inode, generation=2, length=5),)}
    assert put(machine, file._replace(**changes)) != [0]
    assert machine.names("/") == []
    assert put(machine, file) == [0]


def test_a_reservation_is_one_sessions_and_for_one_file(machine: Machine) -> None:
    file = new(machine, "/f")
    refused = [errors.UploadLostError.code]
    assert put(machine, file, client=2) == refused
    assert put(machine, file, file._replace(path=b"/g")) == [0, *refused]
    assert put(machine, file) == refused


def test_a_replaced_file_hands_on_what_it_was(machine: Machine) -> None:
    old = machine.file("/f", BLOCK, "alice", mode=0o666)
    machine.run(m.SetXattr(b"/f", "user.a", b"1"))
    assert put(machine, new(machine, "/f", 3, mode=0o600), user="bob") == [0]
    after = machine.stat("/f")
    assert after.inode != old.inode and after.links == 1 and after.size == 3
    assert (after.owner, after.group, after.mode) == ("alice", "people", 0o666)
    assert machine.ask(m.GetXattrs(b"/f")).xattrs == (("user.a", b"1"),)
    assert machine.du("/") == (3, 1, 1, 6)
    assert [ref.inode for ref in machine.discards] == [old.inode]


def test_a_file_with_further_names_is_left_to_be_rewritten(machine: Machine) -> None:
    before = machine.file("/f", BLOCK)
    machine.run(m.MakeLink(b"/f", b"/g"))
    file = new(machine, "/f")
    assert put(machine, file) == [errors.UnsupportedError.code]
    assert machine.stat("/g").size == before.size
    machine.run(m.Unlink(b"/g"))
    assert put(machine, file) == [0]


def test_replacing_needs_the_directory_and_the_file(machine: Machine) -> None:
    machine.mkdir("/d", 0o777, "alice")
    machine.file("/d/f", 0, "alice", mode=0o644)
    denied, rewrite = [errors.AccessDeniedError.code], [errors.UnsupportedError.code]
    assert put(machine, new(machine, "/d/f"), user="bob") == denied
    machine.run(m.SetAttributes(b"/d/f", mode=0o666))
    for mode in (0o755, 0o1777):
        machine.run(m.SetAttributes(b"/d", mode=mode))
        assert put(machine, new(machine, "/d/f"), user="bob") == rewrite
    assert put(machine, new(machine, "/d/f"), user="alice") == [0]


def test_a_file_under_construction_is_not_replaced(machine: Machine) -> None:
    machine.run(m.Create(b"/f"), client=2)
    assert put(machine, new(machine, "/f")) == [errors.LeaseHeldError.code]


def test_symlinks_are_followed(machine: Machine) -> None:
    machine.run(m.MakeSymlink(b"/s", b"d/f"))
    assert put(machine, new(machine, "/s")) == [errors.PathNotFoundError.code]
    machine.mkdir("/d")
    assert put(machine, new(machine, "/s"), new(machine, "/s", 7)) == [0, 0]
    assert machine.names("/d") == ["f"] and machine.stat("/d/f").size == 7
    assert put(machine, new(machine, "/s", exclusive=True)) == [errors.PathExistsError.code]


def test_writing_takes_set_id_bits_away(machine: Machine) -> None:
    machine.file("/f", 0, "alice")
    machine.run(m.SetAttributes(b"/f", mode=0o6777))
    put(machine, new(machine, "/f"), user="alice")
    assert machine.stat("/f").mode == 0o777


def test_blocks_of_reserved_inodes_are_live(machine: Machine) -> None:
    """NoEarlyGC: they may still be committed, until they can no longer."""
    inode, other = reserve(machine, 2)
    version = m.BlockVersion(inode, 0, 1, 0)
    assert machine.namespace.is_live(version)
    put(machine, m.NewFile(b"/f", inode, 5, blocks_of(inode, 1, 5)))
    assert machine.namespace.is_live(version)
    assert not machine.namespace.is_live(version._replace(sequence=1))
    machine.run(m.ExpireSession(1))
    assert not machine.namespace.is_live(version._replace(inode=other))
    assert machine.namespace.is_live(version)


def test_reservations_end_with_their_session(machine: Machine) -> None:
    first = reserve(machine, 3, client=5)
    machine.run(m.ExpireSession(5))
    again = reserve(machine, 3, client=5)
    assert not set(first) & set(again) and machine.namespace.statistics().reserved == 3


def test_reservations_may_be_given_back(machine: Machine) -> None:
    inodes = reserve(machine, 4)
    put(machine, m.NewFile(b"/f", inodes[0], 5, blocks_of(inodes[0], 1, 5)))
    others = reserve(machine, 1, client=2)
    machine.run(m.ReleaseInodes((*inodes[:3], *inodes[:3], *others, 1, 0, -1, 1 << 63)))
    assert machine.namespace.statistics().reserved == 2
    assert machine.namespace.is_live(m.BlockVersion(inodes[0], 0, 1, 0))
    assert not machine.namespace.is_live(m.BlockVersion(inodes[1], 0, 1, 0))
    assert put(machine, m.NewFile(b"/g", inodes[1], 0, ())) == [errors.UploadLostError.code]
    assert put(machine, m.NewFile(b"/g", inodes[3], 0, ())) == [0]


@pytest.mark.parametrize("count", [0, -1, limits.INODES_PER_RESERVATION + 1])
def test_bad_counts(machine: Machine, count: int) -> None:
    with pytest.raises(InvalidArgumentError):
        reserve(machine, count)


def test_reservations_are_bounded(machine: Machine) -> None:
    namespace = machine.namespace
    machine.apply = lambda entry, request=None: namespace.apply(entry, request)  # type: ignore[assignment]
    for _ in range(16):
        reserve(machine, limits.INODES_PER_RESERVATION)
    with pytest.raises(BusyError):
        reserve(machine)


def test_a_batch_is_bounded_and_its_reply_fits_a_record(machine: Machine) -> None:
    inodes = reserve(machine, limits.FILES_PER_BATCH + 1)
    files = [
        m.NewFile(b"/%d" % number, inode, 5, blocks_of(inode, 1, 5))
        for number, inode in enumerate(inodes)
    ]
    with pytest.raises(InvalidArgumentError):
        put(machine, *files)
    machine.run(m.SetAttributes(b"/", owner="o" * 255, group="g" * 255, mode=0o2777))
    results = machine.run(m.PutFiles(tuple(files[:-1]))).results
    assert [result.code for result in results] == [0] * limits.FILES_PER_BATCH
    assert results[0].attributes is not None and results[-1].attributes is None
    again = [file._replace(path=b"/" + b"x" * 300) for file in files[:100]]
    results = machine.run(m.PutFiles(tuple(again))).results
    assert all(result.code for result in results)


DIRECTORIES = ["", "/open", "/open/sub", "/closed", "/sticky", "/full", "/here", "/new/deep", "/f"]
NAMES = ["a", "b", "c", "link", "away", ".", "..", "", "n" * 256, "\0", "d"]


def prepared() -> Machine:
    machine = Machine()
    for path in ("/open/sub", "/closed", "/sticky", "/full", "/open/d"):
        machine.mkdir(path)
    for path, mode in ((b"/open", 0o777), (b"/open/sub", 0o777), (b"/sticky", 0o1777)):
        machine.run(m.SetAttributes(path, mode=mode))
    machine.run(m.SetAttributes(b"/full", mode=0o2777, group="artists"))
    machine.run(m.SetQuota(b"/full", 3, 40_000))
    machine.run(m.MakeSymlink(b"/here", b"open"))
    machine.run(m.MakeSymlink(b"/open/link", b"/sticky/by-link"))
    machine.run(m.MakeSymlink(b"/open/away", b"nowhere/x"))
    machine.file("/f", 5)
    machine.file("/sticky/a", 5, user="bob")
    return machine


def drawn(dice: random.Random, inodes: list[int]) -> tuple[m.NewFile, ...]:
    """Files of one command, most of them in the directory of the one before."""
    files, directory = [], ""
    for inode in inodes:
        directory = directory if dice.random() < 0.7 else dice.choice(DIRECTORIES)
        raw = f"{directory}/{dice.choice(NAMES[:6] if dice.random() < 0.8 else NAMES)}".encode()
        if dice.random() < 0.05:
            raw += b"\xff"
        size = dice.choice((0, 5, BLOCK + 5))
        refs = blocks_of(inode, 1, size) if dice.random() < 0.97 else ()
        exclusive, parents = dice.random() < 0.2, dice.random() < 0.3
        files.append(m.NewFile(raw, inode, size, refs, 0o644, exclusive, parents))
    return tuple(files)


@pytest.mark.parametrize("seed", range(60))
def test_many_files_are_put_as_one_after_the_other(seed: int) -> None:
    dice, together, single = random.Random(seed), prepared(), prepared()
    user = ("root", "alice", "bob")[seed % 3]
    for _ in range(4):
        inodes = list(reserve(together, 12))
        assert list(reserve(single, 12)) == inodes
        files = drawn(dice, inodes)
        outcomes = together.run(m.PutFiles(files), user).results
        singly = [single.run(m.PutFiles((file,)), user).results[0] for file in files]
        assert list(map(outcome, outcomes)) == list(map(outcome, singly))
    assert any(not each.code for each in outcomes) or user != "root"
    assert together.discards == single.discards
    for path in ("/", "/open", "/open/sub", "/closed", "/sticky", "/full"):
        assert together.du(path) == single.du(path)
        listed = m.List(path.encode(), b"", 1000)
        assert [
            (each.name, timeless(each.attributes)) for each in together.ask(listed).entries
        ] == [(each.name, timeless(each.attributes)) for each in single.ask(listed).entries]


def outcome(result: m.PutResult) -> tuple[Any, ...]:
    shown = result.attributes
    return result.code, result.message, result.replaced, shown and timeless(shown)


def timeless(attributes: Any) -> Any:
    return attributes._replace(modified_ns=0, changed_ns=0, accessed_ns=0, change=0)


def test_the_directory_of_many_files_shows_when_they_came(machine: Machine) -> None:
    machine.mkdir("/a")
    machine.mkdir("/b")
    before = machine.stat("/a").change
    files = [new(machine, path) for path in ("/a/1", "/a/2", "/b/1", "/a/3")]
    assert put(machine, *files) == [0] * 4
    for path in ("/a", "/b"):
        made = machine.stat(path)
        assert made.change == machine.namespace.applied > before
        assert made.modified_ns == made.changed_ns == machine.stat(f"{path}/1").modified_ns
