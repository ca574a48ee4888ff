"""A directory as a store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

from memfs.stores.key_names import PARTS
from memfs.stores.local import LocalStore


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


def test_nothing_is_left_beside_what_many_puts_have_stored(tmp_path: Path) -> None:
    sizes = range(1, 17)

    async def put_all() -> None:
        store = LocalStore(str(tmp_path), random.Random(1))
        for _ in range(10):
            puts = [store.put(f"d/{size}", pieces(bytes(size)), size) for size in sizes]
            await asyncio.gather(*puts)
        await store.close()

    asyncio.run(put_all())
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    assert sorted(path.stat().st_size for path in (tmp_path / "d").iterdir()) == [*sizes]


def test_parts_of_others_stay_until_they_are_swept(tmp_path: Path) -> None:
    stray = tmp_path / PARTS / "stray"
    stray.parent.mkdir()
    stray.write_bytes(b"half")

    async def put_and_sweep() -> int:
        store = LocalStore(str(tmp_path), random.Random(1))
        await store.put("e", pieces(b"e"), 1)
        assert stray.exists()
        swept = await store.sweep(-1.0)
        await store.close()
        return swept

    assert asyncio.run(put_and_sweep()) == 1
    assert not stray.exists()
