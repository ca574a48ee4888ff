"""Memory that the system refuses in the middle of something: it is as if nothing had been tried."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence

import pytest

from memfs import errors
from memfs.checksum import crc32c
from memfs.limits import MIB
from memfs.node.blocks import BlockStore
from memfs.protocol.messages import BlockVersion, SmallBlock, WriteBlock
from memfs.types import Buffer

from .writing import BLOCK, content, derived, receive, some_bytes, store_whole, whole


class Scarce:
    """The system's memory: writes into memfds are refused after so many."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = sys.maxsize
        pwritev, pwrite = os.pwritev, os.pwrite

        def piecewise(descriptor: int, pieces: Sequence[Buffer], at: int) -> int:
            """Half of it, as far as there is memory."""
            self._take()
            data = b"".join(pieces)
            return pwritev(descriptor, [data[: len(data) // 2 + 1]], at)

        def rest(descriptor: int, data: Buffer, at: int) -> int:
            self._take()
            return pwrite(descriptor, data, at)

        monkeypatch.setattr(os, "pwritev", piecewise)
        monkeypatch.setattr(os, "pwrite", rest)

    def _take(self) -> None:
        if not self.left:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.left -= 1


def small_ones(store: BlockStore, sequence: int) -> None:
    """A batch of blocks of all kinds: some have other versions, one is here already."""
    lengths = {2: 8000, 3: 65_400, 4: 65_536, 5: 77, 6: 200_000, 7: 300}
    data = {BlockVersion(i, 0, 1, sequence): some_bytes(n, i) for i, n in lengths.items()}
    repeated = BlockVersion(8, 0, 1, 0)
    data[repeated] = content(store, repeated)
    blocks = tuple(SmallBlock(*v, len(each), crc32c(each)) for v, each in data.items())
    store.put_copies(blocks, b"".join(data.values()))


def write(store: BlockStore, request: WriteBlock, data: bytes) -> None:
    arriving = store.begin(request)
    try:
        receive(arriving, data)
    except errors.NoSpaceError:
        arriving.abort()
        raise
    arriving.finish()


def new(store: BlockStore, index: int, length: int) -> None:
    data = some_bytes(length, index)
    write(store, whole(BlockVersion(1, index, 1, 1), data), data)


def rewrite(store: BlockStore, start: int, length: int, end: int) -> None:
    data = some_bytes(length, 9)
    request = derived(BlockVersion(1, 0, 1, 1), BlockVersion(1, 0, 1, 0), end, [(start, data)])
    write(store, request, data)


SCARCE = {
    "a large block": lambda store: new(store, 4, BLOCK),
    "a medium block": lambda store: new(store, 4, 99_000),
    "a batch": lambda store: small_ones(store, 1),
    "over a batch": lambda store: small_ones(store, 2),
    "an append": lambda store: rewrite(store, 100_000, 50_000, 150_000),
    "a hole": lambda store: rewrite(store, 130_000, 20_000, 150_000),
    "in the middle": lambda store: rewrite(store, 50_000, 20_000, 100_000),
    "a group that grows large": lambda store: [new(store, index, BLOCK) for index in range(1, 6)],
    "cleaning": lambda store: store.clean(10**6, 1 << 30),
}


def crowd(store: BlockStore) -> None:
    """Sparse segments, of records whose bytes are written and not copied."""
    versions = [BlockVersion(inode, 0, 1, 1) for inode in range(20, 200)]
    for version in versions:
        store_whole(store, version, some_bytes(20_000 + version.inode, version.inode))
    for version in versions:
        if version.inode % 9:
            store.discard(version)


@pytest.mark.parametrize("act", SCARCE.values(), ids=SCARCE)
def test_memory_that_ends_in_the_middle_of_a_write(
    act: Callable[[BlockStore], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = 0
    for granted in range(60):
        store = BlockStore(64 * MIB, memfds=100)
        store_whole(store, BlockVersion(1, 0, 1, 0), some_bytes(100_000))
        store_whole(store, BlockVersion(8, 0, 1, 0), some_bytes(300, 8))
        small_ones(store, 1) if act is SCARCE["over a batch"] else None
        if act is SCARCE["cleaning"]:
            crowd(store)
        before = {block.version: content(store, block.version) for block in store.list(None, 1000)}
        used = store.used
        with monkeypatch.context() as patch:
            memory = Scarce(patch)
            memory.left = granted
            try:
                act(store)
            except errors.NoSpaceError:
                refused = True
            else:
                refused = not memory.left
        store.check_invariants()
        kept = {version: content(store, version) for version in before}
        assert kept == before and all(store.verify(version) == 0 for version in before)
        if not refused:
            break
        failed += 1
        act(store)
        store.check_invariants()
        for block in list(store.list(None, 1000)):
            assert store.verify(block.version) == 0
            store.discard(block.version)
        assert store.used == 0 and used
        store.check_invariants()
    else:
        pytest.fail("it never had enough")
    assert failed
