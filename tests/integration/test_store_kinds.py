"""Every kind of external store against real servers: one suite, a model as oracle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from memfs.errors import (
    DirectoryNotEmptyError,
    ObjectChangedError,
    ObjectMissingError,
    StoreConflictError,
    StoreUnsupportedError,
)
from memfs.stores.clouds import CloudStore
from memfs.stores.interface import ABSENT, Store
from tests.support.stores.kinds import KINDS, Kind
from tests.support.stores.model import Course, level, pieces, put

LARGE = 33 * (1 << 20) + 5
"""More than one part of an upload."""


SLOW = {"fsspec-sftp"}
"""Of which ``make test-integrations`` and the nights take care."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.nightly if name in SLOW else ())
        for name in sorted(KINDS)
    ],
)
def kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kind]:
    with KINDS[request.param](tmp_path_factory.mktemp(request.param)) as kind:
        yield kind


@pytest.fixture
def url(kind: Kind) -> str:
    return kind.url()


@pytest.fixture
async def store(kind: Kind, url: str) -> AsyncIterator[Store]:
    store = kind.open(url)
    yield store
    await store.close()


@pytest.mark.parametrize("seed", range(3))
async def test_a_random_course_is_as_the_model(kind: Kind, store: Store, seed: int) -> None:
    await Course(store, seed, kind.forbidden).run(60)


async def test_a_large_object_in_parts_is_whole_or_not_there(kind: Kind, store: Store) -> None:
    data = bytes(range(251)) * (LARGE // 251 + 1)
    data = data[:LARGE]
    first = await put(store, "large", data, ABSENT)
    assert await store.stat("large") == first and first.size == LARGE
    for offset, size in [(0, 1), (LARGE - 3, 3), (8_388_600, 100), (0, LARGE)]:
        got = await store.read("large", offset, size, first.tag)
        assert bytes(got) == data[offset : offset + size]
    again = await put(store, "large", data, ABSENT)  # a reply was lost: it is there
    assert again.tag == first.tag
    with pytest.raises(StoreConflictError):
        await put(store, "large", data[:-1], b'"another"')
    second = await put(store, "large", data[::-1] + b"!" * kind.coarse, first.tag)
    assert second.tag != first.tag
    with pytest.raises(StoreConflictError):
        await put(store, "large", data[1:], first.tag)


@pytest.mark.parametrize("size", [1000, LARGE])
async def test_a_writer_that_fails_leaves_what_was_there(store: Store, size: int) -> None:
    async def broken() -> AsyncIterator[bytes]:
        async for piece in pieces(bytes(size - 10)):
            yield piece
        raise ConnectionResetError("the source is gone")

    await put(store, "kept", b"before")
    with pytest.raises(ConnectionResetError):
        await store.put("kept", broken(), size)
    with pytest.raises(ValueError):
        await store.put("kept", pieces(bytes(size - 10)), size)
    with pytest.raises(ValueError):
        await store.put("kept", pieces(bytes(size + 10)), size)
    with pytest.raises(ConnectionResetError):
        await store.put("fresh", broken(), size)
    assert bytes(await store.read("kept", 0, 6)) == b"before"
    entries, unreachable = await level(store, "", 100)
    assert set(entries) == {"kept"} and not unreachable
    assert await store.sweep(0) == 0


async def test_a_cancelled_put_leaves_what_was_there(store: Store) -> None:
    reached = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        async for piece in pieces(bytes(LARGE - 10)):
            yield piece
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.put("never", stalled(), LARGE))
    await asyncio.wait([task, asyncio.create_task(reached.wait())], return_when="FIRST_COMPLETED")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.stat("never") is None
    assert await level(store, "", 100) == ({}, 0)
    assert await store.sweep(0) == 0


async def test_what_is_replaced_behind_our_back_is_never_mixed(
    kind: Kind, url: str, store: Store
) -> None:
    contents = [bytes([65 + number]) * (200_000 + number * kind.coarse) for number in range(30)]
    kind.replace(url, "d/x", contents[0])
    first = await store.stat("d/x")
    assert first is not None
    reading, seen = True, asyncio.Event()

    async def reader() -> None:
        while reading:
            now = await store.stat("d/x")
            assert now is not None
            try:
                cuts = ((0, 100_000), (100_000, now.size - 100_000))
                halves = [await store.read("d/x", *cut, now.tag) for cut in cuts]
            except ObjectChangedError:
                continue
            assert bytes(halves[0]) + bytes(halves[1]) in contents, "bytes of two versions"
            seen.set()

    readers = [asyncio.create_task(reader()) for _ in range(4)]
    for number in range(30):
        fresh = contents[number if kind.coarse else number % 2]
        await asyncio.to_thread(kind.replace, url, "d/x", fresh)
    # A slow machine may have replaced it under every reader so far.
    found = asyncio.create_task(seen.wait())
    await asyncio.wait([found, *readers], return_when=asyncio.FIRST_COMPLETED)
    reading = False
    await asyncio.gather(found, *readers)
    kind.replace(url, "d/x", b"now short")
    with pytest.raises(ObjectChangedError):
        await store.read("d/x", 0, 100_000, first.tag)
    with pytest.raises(ObjectChangedError):
        await store.read("d/x", 150_000, 10)
    kind.remove(url, "d/x")
    with pytest.raises(ObjectMissingError):
        await store.read("d/x", 0, 10, first.tag)


async def test_directories(store: Store) -> None:
    assert (await store.stat("")).is_directory  # type: ignore[union-attr]
    await put(store, "a/b/c", b"deep")
    found = await store.stat("a/b")
    assert found is not None and found.is_directory and found.key == "a/b"
    if type(store) is CloudStore:  # which has no empty ones
        await store.make_directory("empty")
        assert set((await level(store, "", 10))[0]) == {"a/"}
        return
    await store.make_directory("empty")
    await store.make_directory("empty")
    assert (await store.stat("empty")).is_directory  # type: ignore[union-attr]
    assert (await level(store, "empty", 10)) == ({}, 0)
    entries, _ = await level(store, "", 1)
    assert set(entries) == {"a/", "empty/"}
    with pytest.raises(DirectoryNotEmptyError):
        await store.remove_directory("a")
    await store.remove_directory("empty")
    await store.remove_directory("empty")
    assert await store.stat("empty") is None


async def test_rename_moves_in_one_step_or_is_refused(store: Store) -> None:
    await put(store, "d/a", b"first")
    await put(store, "d/b", b"second")
    if not store.capabilities.rename:
        with pytest.raises(StoreUnsupportedError):
            await store.rename("d/a", "d/b")
        return
    await store.rename("d/a", "d/b")
    await store.rename("d", "e")
    assert set((await level(store, "", 10))[0]) == {"e/"}
    assert set((await level(store, "e", 10))[0]) == {"e/b"}
    assert bytes(await store.read("e/b", 0, 5)) == b"first"


async def test_many_puts_of_one_key_end_with_one_of_them(store: Store) -> None:
    contents = [b"%d" % number * 1000 for number in range(8)]
    outcomes = await asyncio.gather(
        *(put(store, "x", data, ABSENT) for data in contents), return_exceptions=True
    )
    won = [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(isinstance(failure, StoreConflictError) for failure in failures), failures
    assert len(won) == 1 or not store.capabilities.conditional_put
    assert bytes(await store.read("x", 0, 1000)) in [contents[number] for number in won]
