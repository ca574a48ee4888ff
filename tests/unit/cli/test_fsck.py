"""What fsck concludes from what the nodes say."""

from __future__ import annotations

from typing import Any

import pytest

from memfs.cli.fsck import Problem, _Check, _fitting, _Reference
from memfs.errors import BlockNotFoundError, CorruptBlockError, PathNotFoundError, UnavailableError
from memfs.limits import RECORD_BYTES
from memfs.protocol import messages as m
from memfs.transport.connection import Answer
from memfs.types import BlockRef, Member


class FakeSession:
    """Nodes as sets of what they hold; ``corrupt`` and ``silent`` ones; files as lists of refs."""

    def __init__(self) -> None:
        self.members = {n: Member(n, f"node-{n}", n, "h", n) for n in (1, 2, 3)}
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
            self.held[number].add(m.BlockVersion(*ref[:4]))
        return _Reference(path, ref, copies)


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


async def checked(session: Any, *references: _Reference, verify: bool = False) -> list[Problem]:
    check = _Check(session)
    await check.list_nodes()
    return await check.examine([each for each in references if verify or check.is_suspect(each)])


async def test_healthy(session: FakeSession) -> None:
    files = [session.store(f"/{number}", (1, 2)) for number in range(5)]
    assert await checked(session, *files) == []
    assert await checked(session, *files, verify=True) == []


async def test_lost_and_under_replicated(session: FakeSession) -> None:
    one, two = session.store("/one", (1, 2)), session.store("/two", (2, 3))
    session.held[1].clear()
    session.held[2].clear()
    assert await checked(session, one, two) == [
        Problem("/one", 0, "lost", 0, 2, ("node-1", "node-2")),
        Problem("/two", 0, "under-replicated", 1, 2, ("node-2",)),
    ]


async def test_corruption_is_found_by_verify_only(session: FakeSession) -> None:
    file = session.store("/a", (1, 2))
    session.corrupt.add((1, file.version))
    assert await checked(session, file) == []
    assert await checked(session, file, verify=True) == [
        Problem("/a", 0, "corrupt", 1, 2, ("node-1",))
    ]


async def test_a_silent_node_holds_nothing(
    session: FakeSession, capsys: pytest.CaptureFixture[str]
) -> None:
    file = session.store("/a", (1, 3))
    session.silent.add(3)
    assert await checked(session, file) == [Problem("/a", 0, "under-replicated", 1, 2, ("node-3",))]
    assert "node-3 does not answer" in capsys.readouterr().err


async def test_too_few_copies_were_made(session: FakeSession) -> None:
    file = session.store("/a", (1,))
    assert [each.kind for each in await checked(session, file)] == ["under-replicated"]
    many = session.store("/b", (1, 2, 3), copies=8)
    assert await checked(session, many) == []  # more than there are nodes cannot be had


async def test_a_replica_that_left_the_cluster(session: FakeSession) -> None:
    file = session.store("/a", (1, 2))
    session.silent.add(2)
    del session.members[2]
    assert await checked(session, file) == [
        Problem("/a", 0, "under-replicated", 1, 2, ("member 2 (gone)",))
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


def test_requests_fit_a_record() -> None:
    names = ["/" + "x" * 4000] * 100
    fitting = _fitting(names)
    assert 1 <= len(fitting) < 100
    assert sum(map(len, fitting)) < RECORD_BYTES
    assert len(_fitting(["/a"] * 5)) == 5
