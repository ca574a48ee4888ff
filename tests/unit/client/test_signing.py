"""Signed files over a cluster without transport: what is refused, and by which word."""

from __future__ import annotations

import random

import pytest

from memfs.checksum import crc32c
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.sealed.filesystem import SealedFileSystem
from memfs.errors import IntegrityError
from memfs.security.sealing import Keyring
from memfs.security.signature import ATTRIBUTE
from memfs.security.signing import public_key
from tests.support.forgery import forge
from tests.unit.client.fake_cluster import FakeCluster

KEY = b"s" * 32
PUBLIC = public_key(KEY)
CONTENT = random.Random(8).randbytes(40_000)


async def test_a_signed_file_is_verified(fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/f", CONTENT)
    assert (await fs.sign("/f", KEY)).version == 1
    assert (await fs.verify("/f", PUBLIC)).version == 1
    assert await fs.read_signed("/f", b"o" * 32, PUBLIC) == CONTENT
    assert (await fs.sign("/f", KEY)).version == 2
    assert (await fs.verify("/f", PUBLIC, at_least=2)).size == len(CONTENT)
    await fs.write_bytes("/empty", b"")
    await fs.sign("/empty", KEY)
    assert await fs.read_signed("/empty", PUBLIC) == b""


async def test_what_is_not_what_was_signed(fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/f", CONTENT)
    with pytest.raises(IntegrityError, match="not signed") as told:
        await fs.verify("/f", PUBLIC)
    assert told.value.filename == "/f"
    await fs.sign("/f", KEY)
    with pytest.raises(IntegrityError, match="nobody trusts"):
        await fs.verify("/f", b"o" * 32)
    with pytest.raises(IntegrityError, match="older than 2"):
        await fs.verify("/f", PUBLIC, at_least=2)
    good = await fs.getxattr("/f", ATTRIBUTE)
    for damaged in (
        good.replace(b'"version": 1', b'"version": 9'),
        good.replace(b'"path": "/f"', b'"path": "/g"'),
        b"[" * 10_000,
        b"{}",
        b"\xff",
    ):
        await fs.setxattr("/f", ATTRIBUTE, damaged)
        with pytest.raises(IntegrityError):
            await fs.verify("/f", PUBLIC)
    await fs.setxattr("/f", ATTRIBUTE, good)
    await fs.rename("/f", "/g")
    with pytest.raises(IntegrityError, match="signed as /f"):
        await fs.verify("/g", PUBLIC)
    await fs.rename("/g", "/f")
    async with fs.open("/f", "r+b") as file:
        await file.pwrite(b"x", 30_000)
    with pytest.raises(IntegrityError, match="not what was signed"):
        await fs.verify("/f", PUBLIC)


async def test_a_node_that_lies_with_a_right_crc_is_found(
    cluster: FakeCluster, fs: AsyncFileSystem
) -> None:
    """Bytes are forged on every node, and the checksums in the namespace fit them."""
    await fs.write_bytes("/f", CONTENT)
    await fs.sign("/f", KEY)
    forged = forge(CONTENT[:4096])
    assert crc32c(forged) == crc32c(CONTENT[:4096]) and forged != CONTENT[:4096]
    for held in cluster.blocks.values():
        for version, data in held.items():
            if bytes(data) == CONTENT[:4096]:
                held[version] = forged
    assert (await fs.read_bytes("/f"))[:4096] == forged, "a CRC is no defence"
    with pytest.raises(IntegrityError, match="or by a node"):
        await fs.verify("/f", PUBLIC)
    with pytest.raises(IntegrityError):
        await fs.read_signed("/f", PUBLIC)


async def test_a_lie_about_a_sealed_file_is_found_at_once(cluster: FakeCluster) -> None:
    sealed = SealedFileSystem(cluster.session(), Keyring((b"k" * 32,)))
    await sealed.write_bytes("/f", CONTENT)
    await sealed.sign("/f", KEY)
    assert await sealed.read_signed("/f", PUBLIC) == CONTENT
    for held in cluster.blocks.values():
        for version, data in held.items():
            held[version] = forge(bytes(data)) if len(data) >= 64 else data
    with pytest.raises(IntegrityError):
        await sealed.read_bytes("/f")
