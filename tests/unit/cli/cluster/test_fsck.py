"""What fsck concludes from what the nodes say."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from memfs.cli.cluster.fsck import (
    FileProblem,
    _Check,
    _Reference,
    _references,
    _references_of,
)
from memfs.cli.shell import Shell
from memfs.client.session.known_view import KnownView
from memfs.client.stat import DirEntry, Stat
from memfs.errors import (
    AccessDeniedError,
    BlockNotFoundError,
    CorruptBlockError,
    IsDirectoryError,
    MemfsError,
    NotDirectoryError,
    PathNotFoundError,
    UnavailableError,
)
from memfs.protocol import messages as m
from memfs.transport.connection import Answer
from memfs.types import Attributes, BlockRef, FileKind, Member, View


class FakeSession:
    """Nodes as sets of what they hold; ``corrupt`` and ``silent`` ones; files as lists of refs."""

    def __init__(self) -> None:
        members = tuple(Member(n, f"node-{n}", n, "h", n) for n in (1, 2, 3))
        self.known = KnownView(View("c", 1, 1, (1,), members, 4), "")
        self.held: dict[int, set[m.BlockVersion]] = {1: set(), 2: set(), 3: set()}
        self.corrupt: set[tuple[int, m.BlockVersion]] = set()
        self.silent: set[int] = set()
        self.files: dict[str, list[BlockRef]] = {}

    def deadline(self, timeout: float | None = None) -> float:
        return 0.0

    async def ask(self, request: m.GetBlocks, path: str) -> Any:
        if path not in self.files:
            raise PathNotFoundError(path=path)
        blocks = self.files[path][request.first : request.first + request.count]
        return m.BlocksReply(None, request.first, tuple(blocks))  # type: ignore[arg-type]

    async def ask_member(self, number: int, request: Any, *, deadline: float) -> Answer:
        if number in self.silent:
            raise UnavailableError("gone")
        if isinstance(request, m.VerifyBlocks):
            codes = [self._code(number, version) for version in request.versions]
            return Answer(m.VerifyBlocksReply(tuple(codes)), memoryview(b""), 1)
        after = request.after or m.BlockVersion(0, 0, 0, 0)
        rest = sorted(version for version in self.held[number] if version > after)
        page = tuple(m.StoredBlock(*version, 1, 1) for version in rest[:2])
        return Answer(m.ListBlocksReply(page, len(rest) > 2), memoryview(b""), 1)

    def _code(self, number: int, version: m.BlockVersion) -> int:
        if version not in self.held[number]:
            return BlockNotFoundError.code
        return CorruptBlockError.code if (number, version) in self.corrupt else 0

    def store(self, path: str, replicas: tuple[int, ...], copies: int = 2) -> _Reference:
        """A file of one block, held by all of its replicas."""
        ref = BlockRef(len(self.files) + 10, 0, 1, 1, 100, 7, replicas)
        self.files[path] = [ref]
        for number in replicas:
            self.held[number].add(ref.version)
        return _Reference(path, ref, copies)


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


async def checked(session: Any, *references: _Reference, verify: bool = False) -> list[FileProblem]:
    check = _Check(session, verify)
    await check.list_nodes()
    return await check.examine([each for each in references if check.is_suspect(each)])


async def test_healthy(session: FakeSession) -> None:
    files = [session.store(f"/{number}", (1, 2)) for number in range(5)]
    assert await checked(session, *files) == []
    assert await checked(session, *files, verify=True) == []


async def test_lost_and_under_replicated(session: FakeSession) -> None:
    one, two = session.store("/one", (1, 2)), session.store("/two", (2, 3))
    session.held[1].clear()
    session.held[2].clear()
    assert await checked(session, one, two) == [
        FileProblem("/one", 0, "lost", 0, 2, ("node-1", "node-2")),
        FileProblem("/two", 0, "under-replicated", 1, 2, ("node-2",)),
    ]


async def test_corruption_is_found_by_verify_only(session: FakeSession) -> None:
    file = session.store("/a", (1, 2))
    session.corrupt.add((1, file.version))
    assert await checked(session, file) == []
    assert await checked(session, file, verify=True) == [
        FileProblem("/a", 0, "corrupt", 1, 2, ("node-1",))
    ]


async def test_a_silent_node_holds_nothing(
    session: FakeSession, capsys: pytest.CaptureFixture[str]
) -> None:
    file = session.store("/a", (1, 3))
    session.silent.add(3)
    assert await checked(session, file) == [
        FileProblem("/a", 0, "under-replicated", 1, 2, ("node-3",))
    ]
    assert "node-3 does not answer" in capsys.readouterr().err


async def test_too_few_copies_were_made(session: FakeSession) -> None:
    file = session.store("/a", (1,))
    assert [each.kind for each in await checked(session, file)] == ["under-replicated"]


async def test_copies_that_the_nodes_do_not_suffice_for_are_missing(session: FakeSession) -> None:
    many = session.store("/b", (1, 2, 3), copies=8)
    problems = await checked(session, many)
    assert problems == [FileProblem("/b", 0, "under-replicated", 3, 8, ())]
    assert _Check(session).advice(problems) == "add a node: 3 nodes cannot hold 8 copies"  # type: ignore[arg-type]
    assert _Check(session).advice([]) == ""  # type: ignore[arg-type]


def test_a_hole_has_no_copies_and_needs_none() -> None:
    refs = [BlockRef(7, 0, 1, 1, 9, 0, (1,)), BlockRef(7, 1, 0, 0, 0, 0, ())]
    found = _references_of("/sparse", refs, _attributes("/sparse"))
    assert [each.ref.index for each in found] == [0]


async def test_a_replica_that_left_the_cluster(session: FakeSession) -> None:
    file = session.store("/a", (1, 2))
    session.silent.add(2)
    del session.known.members[2]
    assert await checked(session, file) == [
        FileProblem("/a", 0, "under-replicated", 1, 2, ("member 2 (gone)",))
    ]


async def test_what_changed_meanwhile_is_no_problem(session: FakeSession) -> None:
    gone, changed = session.store("/gone", (1, 2)), session.store("/changed", (1, 2))
    session.held[1].clear()
    del session.files["/gone"]
    session.files["/changed"] = [changed.ref._replace(sequence=2)]
    assert await checked(session, gone, changed) == []


async def test_orphans(session: FakeSession) -> None:
    file = session.store("/a", (1, 2))
    stray = m.BlockVersion(99, 0, 1, 1)
    session.held[3].add(stray)
    check = _Check(session)  # type: ignore[arg-type]
    await check.list_nodes()
    check.named.add(file.version)
    assert check.orphans() == [("node-3", stray)]


class FakeTree:
    """A tree in which names meet errors after they were listed; also the session that tells it."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.errors: dict[str, type[MemfsError]] = {}

    def deadline(self, timeout: float | None = None) -> float:
        return 0.0

    async def lstat(self, path: str) -> Stat:
        return Stat(_attributes(path))

    async def scandir_pages(self, path: str) -> AsyncIterator[list[DirEntry]]:
        self._check(path)
        inside = {name.removeprefix(path).lstrip("/").split("/")[0] for name in self._under(path)}
        for name in sorted(inside):
            yield [DirEntry(path, name, _attributes(f"{path}/{name}"))]

    async def ask(self, request: m.ReadFiles, *, deadline: float) -> m.ReadFilesReply:
        return m.ReadFilesReply(tuple(self._file(path.decode()) for path in request.paths))

    def _under(self, path: str) -> list[str]:
        return [name for name in self.names if name.startswith(path.rstrip("/") + "/")]

    def _file(self, path: str) -> m.FileReply:
        try:
            self._check(path)
        except MemfsError as error:
            return m.FileReply(error.code, error.message)
        return m.FileReply(0, "", _attributes(path), blocks=(BlockRef(7, 0, 1, 1, 9, 0, (1,)),))

    def _check(self, path: str) -> None:
        if path in self.errors:
            raise self.errors[path](path=path)


def _attributes(path: str) -> Attributes:
    """Directories are those whose name begins with a d."""
    is_directory = path == "/" or path.rsplit("/", 1)[-1].startswith("d")
    kind, size = (FileKind.DIRECTORY, 0) if is_directory else (FileKind.FILE, 9)
    return Attributes(7, kind, 0o755, 1, "root", "root", size, 0, 0, 0, 16, 16, 1, 1, 1)


async def walked(tree: Any) -> tuple[list[str], int]:
    """The files that fsck found, and its exit status so far."""
    shell = Shell(tree, tree)
    found = [path async for path, _ in _references(shell, "/")]
    return found, shell.status


@pytest.mark.parametrize("error", [PathNotFoundError, NotDirectoryError, IsDirectoryError])
@pytest.mark.parametrize("name", ["/a", "/d1", "/d1/d2", "/d1/b"])
async def test_names_that_vanish_meanwhile_are_no_damage(
    name: str, error: type[MemfsError], capsys: pytest.CaptureFixture[str]
) -> None:
    tree = FakeTree("/a", "/d1/b", "/d1/d2/c", "/e")
    tree.errors[name] = error
    found, status = await walked(tree)
    assert found == [path for path in tree.names if path != name and f"{name}/" not in path]
    assert (status, capsys.readouterr().err) == (0, "")


async def test_a_tree_deeper_than_the_stack() -> None:
    deep = "/d" * (sys.getrecursionlimit() + 100)
    assert await walked(FakeTree(f"{deep}/a")) == ([f"{deep}/a"], 0)


@pytest.mark.parametrize("name", ["/a", "/d1"])
async def test_what_cannot_be_checked_is_said(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = FakeTree("/a", "/d1/b", "/e")
    tree.errors[name] = AccessDeniedError
    _, status = await walked(tree)
    assert status == 1
    assert f"'{name}': Permission denied" in capsys.readouterr().err
