"""Objects of more blocks than one page of a file's map, or one record of the log, holds."""

from __future__ import annotations

import random

import pytest
from mounted_scene import Scene

from memfs.errors import ObjectChangedError
from memfs.testing.simulation.virtual import run

BLOCK = 4096
BLOCKS = 2000


def test_objects_of_many_blocks_are_read_written_and_evicted() -> None:
    async def main() -> None:
        scene = Scene(5, block_size=BLOCK, group_blocks=4)
        data = random.Random(1).randbytes(BLOCKS * BLOCK - 5)
        scene.bucket.replace("theirs", data)
        fs = await scene.start(sync_interval=-1)
        assert await fs.read_bytes("/x/theirs") == data
        await fs.write_bytes("/x/ours", data[::-1])
        await scene.settled(fs)
        assert scene.bucket.contents()["ours"] == data[::-1]
        async with await fs.open("/x/ours", "r+b") as file:
            await file.pwrite(b"changed", BLOCK * 1500 - 3)
            await file.pwrite(b"tail", len(data))
        changed = bytearray(data[::-1] + b"tail")
        changed[BLOCK * 1500 - 3 : BLOCK * 1500 + 4] = b"changed"
        await scene.settled(fs)
        assert scene.bucket.contents()["ours"] == changed
        await fs.free("/x")
        (held,) = await fs.residence([await fs.stat("/x/ours")])
        assert held is not None and held.percent == 0
        await fs.load("/x/ours")
        (held,) = await fs.residence([await fs.stat("/x/ours")])
        assert held is not None and held.percent == 100
        async with await fs.open("/x/ours", "rb") as file:
            assert await file.pread(100, 1900 * BLOCK - 10) == changed[1900 * BLOCK - 10 :][:100]

    run(main())


@pytest.mark.parametrize("mode", ["dual-async", "dual-sync"])
@pytest.mark.parametrize("blocks", [512, 1300])
def test_what_only_the_store_has_is_changed_in_its_middle(blocks: int, mode: str) -> None:
    """However large it is; the store never gets it half changed, and is sent it once."""

    async def main() -> None:
        scene = Scene(6, block_size=BLOCK, group_blocks=4)
        data = random.Random(2).randbytes(blocks * BLOCK - 7)
        scene.bucket.replace("object", data)
        fs = await scene.start(sync_interval=-1, mode=mode)
        reading = await fs.open("/x/object", "rb")
        assert await reading.pread(BLOCK, 0) == data[:BLOCK]
        async with await fs.open("/x/object", "r+b") as file:
            await file.pwrite(b"changed", BLOCK * 300 - 3)
            assert await file.pread(9, BLOCK * 300 - 4) == (
                data[BLOCK * 300 - 4 : BLOCK * 300 - 3] + b"changed" + data[BLOCK * 300 + 4 :][:1]
            )
            assert await fs.read_bytes("/x/object") == data
            await file.pwrite(b"tail", len(data))
        changed = bytearray(data + b"tail")
        changed[BLOCK * 300 - 3 : BLOCK * 300 + 4] = b"changed"
        assert await fs.read_bytes("/x/object") == changed
        await scene.settled(fs)
        assert scene.bucket.contents() == {"object": bytes(changed)}
        assert scene.bucket.requests["put"] == 1
        await reading.close()
        async with await fs.open("/x/object", "ab") as file:
            await file.write(b"more")
        await scene.settled(fs)
        assert scene.bucket.contents() == {"object": bytes(changed) + b"more"}

    run(main())


def test_a_copy_that_is_given_up_leaves_the_file_to_its_store() -> None:
    async def main() -> None:
        scene = Scene(7, block_size=BLOCK, group_blocks=4)
        data = random.Random(3).randbytes(1300 * BLOCK)
        scene.bucket.replace("object", data)
        fs = await scene.start(sync_interval=-1)
        file = await fs.open("/x/object", "r+b")
        await fs.read_bytes("/x/object")
        scene.bucket.replace("object", data[::-1])
        await fs.free("/x/object")
        with pytest.raises(ObjectChangedError):
            await file.pwrite(b"changed", BLOCK * 600)
        await file.close()
        await fs.sync_metadata("/x")
        assert await fs.read_bytes("/x/object") == data[::-1]
        assert scene.bucket.requests["put"] == 0
        async with await fs.open("/x/object", "r+b") as file:
            await file.pwrite(b"changed", 5)
        await scene.settled(fs)
        assert scene.bucket.contents()["object"][:12] == data[::-1][:5] + b"changed"

    run(main())
