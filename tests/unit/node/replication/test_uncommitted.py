"""A stat waits for the commands that touched its path, and for those of which that is not known."""

from __future__ import annotations

import random

import pytest

from memfs import errors
from memfs.node.log.entries import Entry
from memfs.node.namespace import Namespace, Settings
from memfs.node.replication.uncommitted import Pending
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.types import Identity

ROOT = Identity("root", ("root",))
NAMES = [b"a", b"b", b"c"]
PATHS = [b"/" + x for x in NAMES] + [b"/" + x + b"/" + y for x in NAMES for y in NAMES]


class Log:
    """A namespace whose commands are noted and not committed until it is said."""

    def __init__(self) -> None:
        self.namespace = Namespace(Settings("root", "supergroup", 2, 4096, 4), 1)
        self.pending = Pending(0)
        self.committed = 0
        self.inodes: list[int] = []

    def run(self, request: object) -> object:
        index = self.namespace.applied + 1
        opcode = m.BY_REQUEST[type(request)].opcode
        entry = Entry(index, 1, index, 7, index, ROOT, opcode, records.encode(request))  # type: ignore[arg-type]
        outcome = self.namespace.apply(entry, request)
        self.pending.note(index, request, outcome.touched, outcome.named)
        return outcome.record

    def commit(self) -> None:
        self.committed = self.namespace.applied
        self.pending.forget(self.committed)

    def put(self, *paths: bytes, parents: bool = False) -> None:
        while len(self.inodes) < len(paths):
            reply = self.run(m.ReserveInodes(64))
            assert isinstance(reply, m.ReserveReply)
            self.inodes += reply.inodes
        files = [
            m.NewFile(path, self.inodes.pop(), 0, (), 0o644, parents=parents) for path in paths
        ]
        self.run(m.PutFiles(tuple(files)))

    def concerns(self, path: bytes) -> bool:
        return self.pending.concern(self.namespace, m.Lookup(path), self.committed)

    def look(self, path: bytes) -> object:
        try:
            return self.namespace.query(ROOT, m.Lookup(path))
        except errors.MemfsError as error:
            return type(error)


@pytest.fixture
def log() -> Log:
    log = Log()
    for path in (b"/busy", b"/quiet"):
        log.run(m.MakeDirectory(path))
    log.put(b"/quiet/file")
    log.commit()
    return log


def test_files_put_elsewhere_are_not_waited_for(log: Log) -> None:
    log.put(b"/busy/1", b"/busy/2")
    assert not log.concerns(b"/quiet/file")
    assert not log.concerns(b"/quiet/none")
    assert not log.concerns(b"/quiet")
    assert not log.concerns(b"/quiet/file/below")


def test_what_was_touched_is_waited_for_until_it_is_committed(log: Log) -> None:
    log.put(b"/busy/1")
    for path in (b"/busy", b"/busy/1"):
        assert log.concerns(path)
    log.commit()
    assert not log.concerns(b"/busy/1")


def test_of_two_commands_the_later_one_counts(log: Log) -> None:
    log.put(b"/busy/1")
    first = log.namespace.applied
    log.put(b"/busy/2")
    log.pending.forget(first)
    assert log.concerns(b"/busy") and not log.concerns(b"/busy/1")


@pytest.mark.parametrize(
    "request_", [m.Create(b"/other"), m.Rename(b"/busy", b"/b"), m.SetAttributes(b"/", mode=0o700)]
)
def test_other_commands_are_waited_for_by_all(log: Log, request_: object) -> None:
    log.run(request_)
    log.put(b"/quiet/more")
    assert log.concerns(b"/quiet/file")
    log.commit()
    assert not log.concerns(b"/quiet/file")


def test_of_a_directory_on_the_way_only_the_name_counts(log: Log) -> None:
    log.put(b"/busy/old")
    log.commit()
    log.run(m.MakeDirectory(b"/other"))
    log.put(b"/busy/1")
    log.run(m.UnlinkMany((b"/busy/2",)))
    for path in (b"/quiet/file", b"/busy/old", b"/busy/none", b"/quiet/none"):
        assert not log.concerns(path)
    for path in (b"/", b"/other", b"/other/none", b"/busy", b"/busy/1"):
        assert log.concerns(path)
    log.run(m.UnlinkMany((b"/busy/old",)))
    assert log.concerns(b"/busy/old")


def test_a_name_that_came_by_a_symlink_counts(log: Log) -> None:
    log.run(m.MakeSymlink(b"/link", b"/quiet/new"))
    log.commit()
    assert log.look(b"/quiet/new") is errors.PathNotFoundError
    log.put(b"/link")
    assert log.concerns(b"/quiet/new") and not log.concerns(b"/quiet/file")


def test_what_came_from_another_term_is_waited_for_by_all(log: Log) -> None:
    log.pending.unknown(log.namespace.applied + 1)
    assert log.concerns(b"/quiet/file")


def test_ways_that_are_not_plain_wait(log: Log) -> None:
    log.run(m.MakeSymlink(b"/link", b"/busy"))
    log.commit()
    log.put(b"/busy/1")
    assert log.concerns(b"/link/1") and log.concerns(b"/quiet/../busy/1")
    inode = log.namespace.query(ROOT, m.Lookup(b"/quiet")).attributes.inode
    handle = m.Lookup(b"file", base=inode)
    assert log.pending.concern(log.namespace, handle, log.committed)
    assert log.pending.concern(log.namespace, m.Summarise(b"/quiet"), log.committed)


@pytest.mark.parametrize("seed", range(40))
def test_who_need_not_wait_gets_the_answer_of_the_committed_state(seed: int) -> None:
    dice, log = random.Random(seed), Log()
    for _ in range(60):
        before = {path: log.look(path) for path in PATHS}
        for _ in range(dice.randint(1, 3)):
            change(dice, log)
        for path in PATHS:
            if not log.concerns(path):
                assert log.look(path) == before[path]
        log.commit()
        passed = log.namespace.volume.tree.passed  # None: by a symlink, which always waits
        assert not any(log.concerns(path) for path in PATHS if passed(path) is not None)


def change(dice: random.Random, log: Log) -> None:
    path = dice.choice(PATHS)
    match dice.randrange(12):
        case 0:
            log.run(m.Unlink(path))
        case 4:
            log.run(m.UnlinkMany(tuple(dice.sample(PATHS, 2))))
        case 1:
            log.run(m.Rename(path, dice.choice(PATHS)))
        case 2:
            log.run(m.RemoveDirectory(path, recursive=True))
        case 3:
            log.run(m.Reclaim(2))
        case 5:
            log.run(m.MakeSymlink(path, dice.choice(PATHS)))
        case 6 | 7:
            log.run(m.MakeDirectory(path, parents=dice.random() < 0.5))
        case 8:
            log.run(m.MakeLink(path, dice.choice(PATHS)))
        case _:
            chosen = dice.sample(PATHS, dice.randint(1, 3))
            log.put(*chosen, parents=dice.random() < 0.5)
