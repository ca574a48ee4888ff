"""The simulated store: whole objects, versions, pages in any order, and the faults it is for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from memfs.errors import (
    DirectoryNotEmptyError,
    ObjectChangedError,
    ObjectMissingError,
    StoreConflictError,
    StoreDeniedError,
    StoreUnreachableError,
)
from memfs.stores.interface import ABSENT, Expected, ObjectInfo
from memfs.testing.simulation.external_store import FaultyStore, StoreConditions, StoreServer
from memfs.testing.simulation.virtual import Process, run


async def pieces(data: bytes, size: int = 3) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def put(store: FaultyStore, key: str, data: bytes, expected: Expected = None) -> ObjectInfo:
    return await store.put(key, pieces(data), len(data), expected)


def test_objects_have_versions_and_reads_name_them() -> None:
    async def main() -> None:
        bucket = StoreServer(1)
        store = bucket.connect()
        first = await put(store, "d/a", b"0123456789")
        assert await store.stat("d/a") == first
        assert await store.read("d/a", 2, 3, first.tag) == b"234"
        second = bucket.replace("d/a", b"abc")
        with pytest.raises(ObjectChangedError):
            await store.read("d/a", 0, 3, first.tag)
        with pytest.raises(ObjectChangedError):
            await store.read("d/a", 2, 3)
        assert await store.read("d/a", 0, 3, second) == b"abc"
        with pytest.raises(StoreConflictError):
            await put(store, "d/a", b"mine", first.tag)
        with pytest.raises(StoreConflictError):
            await store.delete("d/a", first.tag)
        with pytest.raises(ObjectMissingError):
            await store.read("nothing", 0, 1)
        await store.delete("d/a", second)
        await store.delete("d/a", second)
        assert bucket.versions("d/a") == [b"0123456789", b"abc", None]

    run(main())


def test_what_is_not_given_whole_is_not_there() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise ConnectionResetError

    async def main() -> None:
        bucket = StoreServer(1)
        with pytest.raises(ConnectionResetError):
            await bucket.connect().put("a", broken(), 8)
        with pytest.raises(ValueError):
            await bucket.connect().put("a", pieces(b"some"), 8)
        assert bucket.contents() == {}

    run(main())


def test_a_level_comes_in_pages_each_entry_once() -> None:
    async def main() -> None:
        bucket = StoreServer(3)
        for number in range(25):
            bucket.replace(f"d/{number:02}", b"x")
            bucket.replace(f"d/sub{number % 3}/{number}", b"y")
        bucket.replace("d/sub0", b"a key that is also a prefix")
        bucket.replace("d/" + "n" * 256, b"no name")
        bucket.replace("d//double", b"no name")
        store = bucket.connect()
        await store.make_directory("d/empty")
        found, unreachable, after = [], 0, None
        while True:
            page = await store.list("d", after, 7)
            assert len(page.entries) <= 7
            found += [(entry.key, entry.is_directory) for entry in page.entries]
            unreachable += page.unreachable
            after = page.after
            if after is None:
                break
        files = [(f"d/{number:02}", False) for number in range(25)]
        directories = [(f"d/{name}", True) for name in ("sub0", "sub1", "sub2", "empty")]
        assert sorted(found) == sorted([*files, *directories, ("d/sub0", False)])
        assert found != sorted(found)
        assert unreachable == 2
        with pytest.raises(DirectoryNotEmptyError):
            await store.remove_directory("d")
        await store.remove_directory("d/empty")
        assert await store.stat("d/empty") is None

    run(main())


def test_a_lost_reply_leaves_what_was_sent_and_a_second_try_finds_it() -> None:
    async def main() -> None:
        bucket = StoreServer(5, StoreConditions(lost_reply_chance=1.0))
        store = bucket.connect()
        with pytest.raises(StoreUnreachableError):
            await put(store, "a", b"content", ABSENT)
        bucket.conditions = StoreConditions()
        assert (await put(store, "a", b"content", ABSENT)).size == 7
        assert bucket.versions("a") == [b"content"]
        with pytest.raises(StoreConflictError):
            await put(store, "a", b"another", ABSENT)

    run(main())


def test_a_late_request_is_carried_out_after_it_was_given_up() -> None:
    async def main() -> None:
        bucket = StoreServer(7, StoreConditions(late_chance=1.0, late_seconds=3.0))
        with pytest.raises(StoreUnreachableError):
            await put(bucket.connect(), "a", b"late")
        assert bucket.contents() == {}
        await asyncio.sleep(3.0)
        assert bucket.contents() == {"a": b"late"}

    run(main())


def test_down_and_denied_change_nothing() -> None:
    async def main() -> None:
        bucket = StoreServer(9)
        store = bucket.connect()
        bucket.down = True
        with pytest.raises(StoreUnreachableError):
            await put(store, "a", b"x")
        bucket.down, bucket.denied = False, True
        with pytest.raises(StoreDeniedError):
            await put(store, "a", b"x")
        assert bucket.contents() == {} and bucket.requests["put"] == 2

    run(main())


async def tried(store: FaultyStore, key: str, data: bytes) -> None:
    with contextlib.suppress(StoreUnreachableError):
        await put(store, key, data)


def outcome(seed: int) -> tuple[dict[str, bytes], int]:
    """What the store holds, and was asked, after writers that were killed on the way."""

    async def main() -> tuple[dict[str, bytes], int]:
        bucket = StoreServer(seed, StoreConditions(refused_chance=0.2, lost_reply_chance=0.2))
        writers = [Process(f"w{number}") for number in range(8)]
        for number, writer in enumerate(writers):
            writer.spawn(tried(bucket.connect(), f"key{number}", b"%d" % number))
        await asyncio.sleep(0.03)
        for writer in writers:
            writer.kill()
        await asyncio.sleep(1)
        return bucket.contents(), bucket.requests["put"]

    return run(main())


def test_a_killed_writer_leaves_all_or_nothing_and_a_seed_gives_one_run() -> None:
    outcomes = [outcome(seed) for seed in range(6)]
    assert outcomes == [outcome(seed) for seed in range(6)]
    assert len({asked for _, asked in outcomes}) > 1
    for kept, asked in outcomes:
        assert len(kept) <= asked <= 8
        assert all(data == key.removeprefix("key").encode() for key, data in kept.items())
