"""A node that lies: other bytes with a checksum that fits, over real sockets, and who finds out."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import IntegrityError
from memfs.node.blocks.block_store import BlockStore
from memfs.security.signing import public_key
from memfs.testing.in_process import Cluster
from tests.support.forgery import forge

SIGNING_KEY = b"s" * 32
WHOLE = 1_000_000
"""Reads of more bytes than that are lied to."""
CONTENT = random.Random(4).randbytes(9_000_000)
REMOTE: dict[str, Any] = {"local_descriptors": False}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=2, replication=1) as cluster:
        yield cluster


def turn_hostile(store: BlockStore, victim: bytes) -> None:
    """From now on the store lends forged bytes for the whole block that holds ``victim``.

    They have the block's CRC32C, so that a client compares what it is told with what it computes
    and with what the namespace says, and all three agree.
    """
    honest = store.read

    def read(version: Any, offset: int, length: int) -> tuple[memoryview, int]:
        data, crc = honest(version, offset, length)
        if len(data) > WHOLE and bytes(data[: len(victim)]) == victim:
            return memoryview(forge(bytes(data))), crc
        return data, crc

    store.read = read  # type: ignore[method-assign]  # this node is run by somebody else


async def stored(fs: AsyncFileSystem, path: str) -> bytes:
    """The beginning of a file as the cluster holds it."""
    async with fs.open(path, "rb") as file:
        return await file.read(64)


async def test_a_forged_block_passes_for_plain_files_and_not_for_signed_ones(
    cluster: Cluster,
) -> None:
    fs = await cluster.connect(**REMOTE)
    await fs.write_bytes("/f", CONTENT)
    await fs.sign("/f", SIGNING_KEY)
    reader = await cluster.connect(**REMOTE)
    assert await reader.read_signed("/f", public_key(SIGNING_KEY)) == CONTENT
    for node in cluster.nodes:
        turn_hostile(node.store, CONTENT[:64])
    assert await (await cluster.connect(**REMOTE)).read_bytes("/f") != CONTENT
    with pytest.raises(IntegrityError, match="not what was signed"):
        await reader.verify("/f", public_key(SIGNING_KEY))


async def test_a_forged_block_of_a_sealed_file_is_found_by_its_reader(cluster: Cluster) -> None:
    sealed = await cluster.connect(**REMOTE, encryption_key=b"k" * 32)
    await sealed.write_bytes("/f", CONTENT)
    assert await sealed.read_bytes("/f") == CONTENT
    plain = await cluster.connect(**REMOTE)
    beginning = await stored(plain, "/f")
    assert CONTENT[:64] not in await plain.read_bytes("/f")
    for node in cluster.nodes:
        turn_hostile(node.store, beginning)
    with pytest.raises(IntegrityError):
        await sealed.read_bytes("/f")
    async with sealed.open("/f", "rb") as file:
        assert await file.pread(1000, 8_000_000) == CONTENT[8_000_000:8_001_000]
