"""Sealed files over a cluster without transport, against a plain dictionary as the oracle."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from memfs.client.calls import modes
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.sealed.filesystem import SealedFileSystem
from memfs.errors import IntegrityError, MemfsError, UnsupportedError
from memfs.security.sealing import PIECE_BYTES, Keyring, stored_size
from tests.unit.client.fake_cluster import FakeCluster

RING = Keyring((b"k" * 32,))
SIZES = [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7]


@pytest.fixture
async def sealed(cluster: FakeCluster) -> SealedFileSystem:
    return SealedFileSystem(cluster.session(), RING)


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_written_reads_back_and_is_not_what_lies_there(
    sealed: SealedFileSystem, fs: AsyncFileSystem, size: int
) -> None:
    data = random.Random(size).randbytes(size)
    assert await sealed.write_bytes("/whole", data) == size
    async with sealed.open("/opened", "wb") as file:
        await file.write(data)
    for path in ("/whole", "/opened"):
        assert await sealed.read_bytes(path) == data
        async with sealed.open(path, "rb") as file:
            assert await file.read() == data
        assert (await sealed.stat(path)).st_size == size
        stored = await fs.read_bytes(path)
        assert len(stored) == stored_size(size)
        assert size < 16 or data[:16] not in stored
    listed = {entry.name: entry.stat().st_size for entry in await sealed.scandir("/")}
    assert listed == {"whole": size, "opened": size}
    assert await sealed.stat_many(["/whole"]) == [await sealed.stat("/whole")]


@pytest.mark.parametrize("seed", range(12))
async def test_random_operations_agree_with_a_dictionary(
    sealed: SealedFileSystem, seed: int
) -> None:
    dice = random.Random(seed)
    oracle: dict[str, bytearray] = {}
    for _ in range(60):
        path = dice.choice(["/a", "/b", "/c"])
        held = oracle.get(path)
        data = dice.randbytes(dice.choice([0, 1, 100, 5_000, PIECE_BYTES, 2 * PIECE_BYTES + 3]))
        at = dice.randrange(3 * PIECE_BYTES)
        match dice.choice(["put", "append", "write", "cut", "zero", "read", "rename", "copy"]):
            case "put":
                await sealed.write_bytes(path, data)
                oracle[path] = bytearray(data)
            case "append":
                async with sealed.open(path, "ab") as file:
                    await file.write(data)
                oracle.setdefault(path, bytearray()).extend(data)
            case "write" if held is not None:
                async with sealed.open(path, "r+b") as file:
                    for _ in range(3):
                        await file.pwrite(data, at)
                        if data:
                            held.extend(bytes(max(0, at - len(held))))
                            held[at : at + len(data)] = data
                        at = dice.randrange(3 * PIECE_BYTES)
                        if dice.random() < 0.3:
                            await file.flush()
                        assert await file.pread(1000, at) == held[at : at + 1000]
            case "cut" if held is not None:
                await sealed.truncate(path, at)
                held.extend(bytes(max(0, at - len(held))))
                del held[at:]
            case "zero" if held is not None and at < len(held):
                async with sealed.open(path, "r+b") as file:
                    await file.punch_hole(at, 70_000)
                end = min(len(held), at + 70_000)
                held[at:end] = bytes(end - at)
            case "rename" if held is not None:
                await sealed.rename(path, "/c")
                oracle["/c"] = oracle.pop(path)
            case "copy" if held is not None and path != "/a":
                await sealed.copy(path, "/a")
                oracle["/a"] = bytearray(held)
            case _ if held is not None:
                async with sealed.open(path, "rb") as file:
                    assert await file.pread(len(data), at) == held[at : at + len(data)]
    for path, content in oracle.items():
        assert await sealed.read_bytes(path) == content
        assert (await sealed.stat(path)).st_size == len(content)
    assert sorted(oracle) == [f"/{name}" for name in await sealed.listdir("/")]


async def test_a_draft_takes_writes_in_any_order(sealed: SealedFileSystem) -> None:
    async with sealed.replacing("/f") as draft:
        await draft.write(200_000, memoryview(b"end"))
        await draft.write(10, memoryview(b"begin"))
        await draft.truncate(200_002)
    content = await sealed.read_bytes("/f")
    assert content == bytes(10) + b"begin" + bytes(200_000 - 15) + b"en"


async def test_a_draft_is_read_back_opened(sealed: SealedFileSystem) -> None:
    async with sealed.replacing("/f") as draft:
        await draft.write(0, memoryview(b"secret" * 50_000))
        assert await draft.read(6, 12) == b"secretsecret"
        await draft.write(6, memoryview(b"public"))
        assert await draft.read(0, -1) == b"secretpublic" + b"secret" * 49_998
    assert (await sealed.read_bytes("/f"))[:12] == b"secretpublic"


async def test_a_draft_that_fails_changes_nothing(sealed: SealedFileSystem) -> None:
    await sealed.write_bytes("/f", b"old")
    with pytest.raises(ZeroDivisionError):
        async with sealed.replacing("/f") as draft:
            await draft.write(0, memoryview(b"new"))
            raise ZeroDivisionError
    assert await sealed.read_bytes("/f") == b"old"


async def test_batches_ranges_and_maps(sealed: SealedFileSystem) -> None:
    files = {"/a": b"x" * 10, "/b": b"y" * 100_000}
    assert await sealed.write_many(files) == [10, 100_000]
    assert await sealed.read_many(files) == list(files.values())
    assert await sealed.map_many(files) == list(files.values())
    assert await sealed.read_ranges([("/b", -3, None), ("/a", 2, 4)]) == [b"yyy", b"xx"]
    assert bytes(await sealed.map("/b")) == files["/b"]
    found = await sealed.read_many(["/a", "/none"], return_errors=True)
    assert found[0] == files["/a"] and isinstance(found[1], FileNotFoundError)
    with pytest.raises(UnsupportedError):
        await sealed.concat("/a", ["/b"])


async def test_a_reader_sees_what_others_append_and_replace(
    cluster: FakeCluster, sealed: SealedFileSystem
) -> None:
    other = SealedFileSystem(cluster.session(), RING)
    await sealed.write_bytes("/f", b"one")
    async with sealed.open("/f", "rb") as file:
        assert await file.read() == b"one"
        assert await file.read() == b""
        async with other.open("/f", "ab") as more:
            await more.write(b" two")
        assert await file.read() == b" two"
        async with other.open("/f", "wb") as new:
            await new.write(b"another file")
        assert await file.pread(100, 0) == b"another file"


async def test_keys_are_rolled(cluster: FakeCluster, sealed: SealedFileSystem) -> None:
    await sealed.write_bytes("/old", b"by the old key")
    rolled = SealedFileSystem(cluster.session(), Keyring((b"n" * 32, b"k" * 32)))
    await rolled.write_bytes("/new", b"by the new key")
    assert await rolled.read_bytes("/old") == b"by the old key"
    with pytest.raises(IntegrityError, match="which is not at hand") as told:
        await sealed.read_bytes("/new")
    assert told.value.filename == "/new"


TAMPERED = 2 * PIECE_BYTES + 100


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda raw: raw[:100] + bytes([raw[100] ^ 1]) + raw[101:], id="a bit"),
        pytest.param(lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), id="the end"),
        pytest.param(lambda raw: bytes([raw[0] ^ 1]) + raw[1:], id="the magic number"),
        pytest.param(lambda raw: raw[:20] + bytes([raw[20] ^ 1]) + raw[21:], id="the salt"),
        pytest.param(lambda raw: raw[: 64 + 65536], id="cut at a piece"),
        pytest.param(lambda raw: raw[: 64 + 65536] + raw[-16:], id="cut, with the old end"),
        pytest.param(
            lambda raw: raw[:64] + raw[65600:131136] + raw[64:65600] + raw[131136:],
            id="pieces exchanged",
        ),
        pytest.param(lambda raw: b"", id="emptied"),
        pytest.param(lambda raw: bytes(len(raw)), id="zeros"),
        pytest.param(lambda raw: b"x" * 1000, id="never sealed"),
    ],
)
async def test_tampering_is_told(
    sealed: SealedFileSystem, fs: AsyncFileSystem, change: Callable[[bytes], bytes]
) -> None:
    data = random.Random(5).randbytes(TAMPERED)
    await sealed.write_bytes("/f", data)
    await fs.write_bytes("/f", change(await fs.read_bytes("/f")))
    with pytest.raises(IntegrityError):
        await sealed.read_bytes("/f")
    with pytest.raises(IntegrityError):
        async with sealed.open("/f", "rb") as file:
            await file.read()
    if (await fs.stat("/f")).st_size:
        with pytest.raises(IntegrityError):
            async with sealed.open("/f", "a+b") as file:
                await file.pread(TAMPERED, 0)


async def test_a_piece_of_another_file_is_told(
    sealed: SealedFileSystem, fs: AsyncFileSystem
) -> None:
    for path in ("/f", "/g"):
        await sealed.write_bytes(path, bytes(2 * PIECE_BYTES))
    mine, other = await fs.read_bytes("/f"), await fs.read_bytes("/g")
    await fs.write_bytes("/f", mine[:64] + other[64 : 64 + 65536] + mine[64 + 65536 :])
    handle = await sealed.open_handle("/f", modes.parse("rb"))
    with pytest.raises(IntegrityError, match="bytes from 0 on"):
        await handle.read(5, 10)
    assert await handle.read(PIECE_BYTES, 10) == bytes(10)
    await handle.close()


async def test_a_failed_write_does_not_lose_what_was_there(
    cluster: FakeCluster, sealed: SealedFileSystem
) -> None:
    await sealed.write_bytes("/f", b"kept")
    with pytest.raises(MemfsError):
        await sealed.write_bytes("/f", b"new", exclusive=True)
    assert await sealed.read_bytes("/f") == b"kept"
