"""What is dropped unclosed: a warning as CPython's, and it is closed all the same."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

from .fake_cluster import FakeCluster


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def dropped() -> str:
    """The warning that comes with a collection; empty: none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    return " ".join(str(each.message) for each in caught)


@pytest.mark.parametrize("mode", ["wb", "w", "ab", "rb", "r", "r+b"])
async def test_a_file(mode: str) -> None:
    fs = FakeCluster().connect()
    await fs.write_bytes("/f", b"old")
    file = await fs.open("/f", mode)
    if "r" not in mode:
        await file.write("new" if mode == "w" else b"new")
    with pytest.warns(ResourceWarning, match="unclosed file <memfs.aio file '/f'"):
        del file
        gc.collect()
    await settled()
    found = {"wb": b"new", "w": b"new", "ab": b"oldnew"}.get(mode, b"old")
    assert await fs.read_bytes("/f") == found
    async with fs.open("/f", "ab"):  # the lease was given back
        pass
    await fs.close()


async def test_what_is_closed_is_not_spoken_of() -> None:
    fs = FakeCluster().connect()
    file = await fs.open("/f", "wb")
    await file.close()
    lock = await fs.lock("/f")
    await lock.close()
    async with fs.open("/f"), fs.lock("/f"):
        pass
    opened = await fs.open("/f")
    held = await fs.lock("/f")
    await fs.close()
    del file, lock, opened, held
    assert not dropped()


async def test_a_lock() -> None:
    fs = FakeCluster().connect()
    lock = await fs.lock("/l")
    with pytest.raises(BlockingIOError):
        await fs.lock("/l", blocking=False)
    with pytest.warns(ResourceWarning, match="unclosed lock <memfs lock '/l'>"):
        del lock
        gc.collect()
    await settled()
    async with fs.lock("/l", blocking=False):
        pass
    await fs.close()
