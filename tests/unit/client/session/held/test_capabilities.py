"""What the primary gave out is shown to nodes with each request, and asked for again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from memfs.client.session.held.capabilities import KEPT, SHOWN, KnownCapabilities
from memfs.protocol import messages as m
from memfs.security.capabilities import READ, WRITE, Key, make
from memfs.types import Attributes, BlockRef
from tests.golden.samples import sample

KEY = Key(1, b"k" * 32)


def capability(rights: int, number: int = 1) -> bytes:
    return make(KEY, b"", rights, number, [(number, 1)])


def attributes(inode: int) -> Attributes:
    found: Attributes = sample(Attributes, "attributes")
    return found._replace(inode=inode)


def ref(inode: int, index: int = 0) -> BlockRef:
    return BlockRef(inode, index, 1, 1, 10, 0, (1,))


def reading(inode: int) -> m.ReadBlock:
    return m.ReadBlock(inode, 0, 1, 1, 0, 10)


def writing(inode: int) -> m.WriteBlock:
    return m.WriteBlock(inode, 0, 1, 1, 10, 0, (1,), 4096, 16)


class Primary:
    """Takes down what it is asked, and lets ``kept`` have new capabilities."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.kept = KnownCapabilities(cast(Any, self), cast(Any, self))

    async def ask(
        self, request: Any, path: str | None = None, deadline: float | None = None
    ) -> Any:
        self.asked.append(request)
        if type(request) is m.Authorize:
            reply: Any = m.AuthorizeReply(capability(WRITE, 77))
        else:
            refs = (ref(900),) if request.count else ()
            reply = m.BlocksReply(
                attributes(request.base), request.first, refs, capability(READ, 77)
            )
        self.kept.note(request, reply)
        return reply

    async def by_handle(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        return await ask()


def test_each_request_shows_what_it_needs() -> None:
    kept = Primary().kept
    read, write, both = capability(READ), capability(WRITE, 2), capability(READ | WRITE, 3)
    kept.note(None, m.BlocksReply(attributes(1), 0, (ref(1),), read))
    kept.note(None, m.LeaseReply(attributes(2), capability=write))
    kept.note(None, m.LeaseReply(attributes(3), capability=both))
    assert kept.shown(reading(1)).capability == read
    assert kept.shown(reading(3)).capability == both == kept.shown(writing(3)).capability
    assert kept.shown(writing(2)).capability == write
    for nothing in (reading(2), reading(9), writing(1), m.Ping()):
        assert kept.shown(nothing) == nothing
    copy = m.CopyRange(m.BlockRange(1, 0, 1, 1, 0, 10), writing(2))
    shown = kept.shown(copy)
    assert (shown.capability, shown.target.capability) == (read, write)


def test_batches_show_each_once() -> None:
    kept = Primary().kept
    first, second = capability(WRITE, 1), capability(WRITE, 2)
    kept.note(None, m.ReserveReply((1, 2, 3), first))
    kept.note(None, m.ReserveReply((4,), second))
    blocks = tuple([m.SmallBlock(inode, 0, 1, 1, 10, 0) for inode in (1, 2, 4, 9, 3)])
    assert kept.shown(m.WriteBlocks(blocks, (1,))).capabilities == (first, second)
    small = m.FileReply(0, "", attributes(5), 10, 0)
    large = m.FileReply(0, "", attributes(6), blocks=(ref(6), ref(60, 1)))
    bare = m.FileReply(0, "", None, blocks=(ref(7),))
    read = capability(READ)
    kept.note(None, m.ReadFilesReply((small, large, bare), read))
    assert kept.for_reading([ref(n).version for n in (5, 6, 7, 60)]) == (read,)
    assert kept.for_reading([ref(5).version]) == ()


def test_files_in_columns_have_one_for_those_that_are_elsewhere() -> None:
    kept, token = Primary().kept, capability(READ)
    alone = m.FileReply(0, "", None, blocks=(ref(5),))
    large = m.FileReply(0, "", attributes(6), blocks=(ref(6), ref(900, 1)))
    missing = m.FileReply(2, "no such file")
    columns = m.ReadManyReply((3, -1, -1, -1), (0,) * 4, (alone, missing, large))
    kept.note(m.ReadMany((b"/",) * 4, 0), columns)
    assert kept.shown(reading(5)).capability == b""
    kept.note(m.ReadMany((b"/",) * 4, 0), columns._replace(capability=token))
    assert [kept.shown(reading(inode)).capability for inode in (5, 6, 900)] == [token] * 3


def test_an_older_primary_gives_none() -> None:
    kept = Primary().kept
    for reply in (
        m.BlocksReply(attributes(1), 0, (ref(1),)),
        m.LeaseReply(attributes(1)),
        m.ReserveReply((1,)),
        m.ReadFilesReply((m.FileReply(0, "", attributes(1), blocks=(ref(1),)),)),
        m.FileReply(0, "", attributes(1), blocks=(ref(1),)),
    ):
        kept.note(None, reply)
    assert kept.shown(reading(1)) == reading(1) and kept.shown(writing(1)) == writing(1)


async def test_another_one_for_reading_comes_with_the_map() -> None:
    primary = Primary()
    await primary.kept.renew(reading(5), 1.0)
    assert primary.asked == [m.GetBlocks(b"", 0, 0, 5)]
    assert primary.kept.shown(reading(5)).capability == capability(READ, 77)


async def test_a_block_that_came_by_concat_is_asked_for_with_its_file() -> None:
    primary = Primary()
    former = m.BlocksReply(attributes(5), 3, (ref(5), ref(900)), capability(READ))
    primary.kept.note(None, former)
    await primary.kept.renew(reading(900), 1.0)
    assert primary.asked == [m.GetBlocks(b"", 4, 1, 5)]
    assert primary.kept.shown(reading(900)).capability == capability(READ, 77)


async def test_so_is_a_last_block_that_came_by_concat() -> None:
    primary = Primary()
    leased = attributes(5)._replace(size=2500, block_size=1000)
    primary.kept.note(None, m.LeaseReply(leased, ref(900), capability=capability(WRITE)))
    await primary.kept.renew(reading(900), 1.0)
    assert primary.asked == [m.GetBlocks(b"", 2, 1, 5)]


async def test_a_batch_asks_for_what_expired_together() -> None:
    primary = Primary()
    kept = primary.kept
    files = tuple([m.FileReply(0, "", attributes(n), blocks=(ref(n),)) for n in (1, 2)])
    kept.note(None, m.ReadFilesReply(files, capability(READ)))
    kept.note(None, m.BlocksReply(attributes(3), 0, (ref(3),), capability(READ, 3)))
    ranges = tuple([m.BlockRange(n, 0, 1, 1, 0, 10) for n in (1, 2, 3, 4, 1)])
    await kept.renew(m.ReadBlocks(ranges), 1.0)
    assert [request.base for request in primary.asked] == [1, 2, 4]


@pytest.mark.parametrize(
    "request_",
    [
        writing(5),
        m.WriteBlocks((m.SmallBlock(5, 0, 1, 1, 10, 0),), (1,)),
        m.CopyRange(m.BlockRange(6, 0, 1, 1, 0, 10), writing(5)),
    ],
    ids=lambda request: type(request).__name__,
)
async def test_another_one_for_writing_is_asked_for_by_inode(request_: Any) -> None:
    primary = Primary()
    await primary.kept.renew(request_, 1.0)
    assert primary.asked[-1] == m.Authorize((5,))
    assert primary.kept.shown(writing(5)).capability == capability(WRITE, 77)


def test_what_is_kept_and_shown_is_bounded() -> None:
    kept = Primary().kept
    for number in range(KEPT + 100):
        kept.note(None, m.ReserveReply((number,), capability(WRITE, number)))
    assert not kept.shown(writing(0)).capability, "the oldest went"
    assert kept.shown(writing(KEPT)).capability
    blocks = tuple([m.SmallBlock(KEPT - n, 0, 1, 1, 10, 0) for n in range(60)])
    assert len(kept.shown(m.WriteBlocks(blocks, (1,))).capabilities) == SHOWN
