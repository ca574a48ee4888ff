"""Wrong arguments of fsspec's calls are said before anything is sent: there is no cluster here."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from memfs.fsspec import MemfsFileSystem


@pytest.fixture
def fs() -> MemfsFileSystem:
    return MemfsFileSystem("memfs://127.0.0.1:1", asynchronous=True, skip_instance_cache=True)


WRITES: dict[str, Callable[[MemfsFileSystem, Any], Coroutine[Any, Any, None]]] = {
    "pipe_file": lambda fs, mode: fs._pipe_file("/f", b"x", mode=mode),
    "pipe": lambda fs, mode: fs._pipe({"/f": b"x"}, mode=mode),
    "put_file": lambda fs, mode: fs._put_file("/etc/hostname", "/f", mode=mode),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_mode_of_whole_files(
    fs: MemfsFileSystem, write: Callable[[MemfsFileSystem, Any], Coroutine[Any, Any, None]]
) -> None:
    with pytest.raises(ValueError, match=r"mode is .*, not 'replace'"):
        await write(fs, "replace")
    with pytest.raises(TypeError, match="mode is text, not int"):
        await write(fs, 1)


@pytest.mark.parametrize("size", ["4096", 1.5, True, b"1", [1]])
def test_a_block_size_that_is_no_number(fs: MemfsFileSystem, size: object) -> None:
    with pytest.raises(TypeError, match="block_size"):
        fs._open("/f", block_size=size)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("size", [0, -1, np.int64(-5)])
async def test_a_block_size_that_is_none(fs: MemfsFileSystem, size: int) -> None:
    with pytest.raises(ValueError, match="block_size"):
        fs._open("/f", block_size=size)
    with pytest.raises(ValueError, match="block_size"):
        await fs.open_async("/f", "rb", block_size=size)
