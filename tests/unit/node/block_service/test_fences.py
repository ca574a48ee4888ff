"""A writer is fenced off by generations that the namespace gave out, and by no others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from memfs import errors, limits
from memfs.node.block_service.fences import Fences
from memfs.node.blocks import BlockStore
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m
from memfs.types import Attributes

from ..blocks.writing import V1, V2, content, derived, receive, some_bytes, store_whole, whole

FORGED = m.BlockVersion(1, 3, 1 << 31, 1)
REAL = m.BlockVersion(1, 3, 2, 1)


def primary(generation: int) -> Callable[[Any], Awaitable[Any]]:
    """Answers that the inode was given out ``generation`` last; 0: that there is no such file."""

    async def ask(request: m.Lookup) -> m.LookupReply:
        await asyncio.sleep(0)
        assert request == m.Lookup(b"", base=1)
        if not generation:
            raise errors.StaleHandleError
        nothing = Attributes(1, 0, 0, 0, "", "", 0, 0, 0, 0, 0, 0, 0, generation, 0)
        return m.LookupReply(nothing)

    return ask


async def refused(store: BlockStore, fences: Fences, request: m.WriteBlock) -> errors.MemfsError:
    """What the writer hears, after a while in which the primary answers."""
    with pytest.raises(errors.LeaseLostError) as caught:
        store.begin(request)
    refusal = fences.error_for(request, caught.value)
    for _ in range(5):
        await asyncio.sleep(0)
    store.check_invariants()
    return refusal


@pytest.mark.parametrize("generation", [1, 0])
async def test_a_forged_generation_delays_a_writer_and_is_forgotten(generation: int) -> None:
    store = BlockStore(1 << 24)
    fences = Fences(store, primary(generation), Tasks())
    store_whole(store, V1, b"abc")
    store_whole(store, FORGED, b"forged")
    request = derived(V2, V1, 4, [(3, b"d")])
    assert (await refused(store, fences, request)).retryable
    write = store.begin(request)
    receive(write, b"d")
    write.finish()
    assert content(store, V2) == b"abcd" and fences.disowned == 1
    assert [block[:4] for block in store.list(None, 9)] == [V1, V2]


async def test_a_generation_that_was_given_out_fences() -> None:
    store = BlockStore(1 << 24)
    fences = Fences(store, primary(2), Tasks())
    store_whole(store, REAL, b"new")
    request = whole(V1, b"abc")
    assert (await refused(store, fences, request)).retryable
    assert isinstance(await refused(store, fences, request), errors.LeaseLostError)
    assert content(store, REAL) == b"new" and not fences.disowned


async def test_what_came_after_the_question_is_kept() -> None:
    """A lease may be granted, and its blocks arrive, while the primary's answer is on its way."""
    store = BlockStore(1 << 24)
    asked = asyncio.Event()
    answer = asyncio.Event()

    async def ask(_: Any) -> m.LookupReply:
        asked.set()
        await answer.wait()
        reply: m.LookupReply = await primary(1)(m.Lookup(b"", base=1))
        return reply

    fences = Fences(store, ask, Tasks())
    store_whole(store, FORGED, b"forged")
    refusal = asyncio.ensure_future(refused(store, fences, whole(V1, b"abc")))
    await asked.wait()
    later = FORGED._replace(index=4)
    store_whole(store, later, b"x")
    answer.set()
    assert (await refusal).retryable
    for _ in range(5):
        await asyncio.sleep(0)
    assert [block[:4] for block in store.list(None, 9)] == [later]


async def test_while_the_primary_is_silent_nothing_is_decided() -> None:
    async def ask(_: Any) -> m.LookupReply:
        raise errors.UnavailableError

    store = BlockStore(1 << 24)
    fences = Fences(store, ask, Tasks())
    store_whole(store, REAL, b"new")
    for _ in range(2):
        assert (await refused(store, fences, whole(V1, b"abc"))).retryable
    assert content(store, REAL) == b"new"


def test_a_generation_that_no_file_can_reach_is_refused() -> None:
    store = BlockStore(1 << 24)
    with pytest.raises(errors.InvalidArgumentError):
        store.begin(whole(V1._replace(generation=limits.GENERATION_MAX + 1), some_bytes(3)))
