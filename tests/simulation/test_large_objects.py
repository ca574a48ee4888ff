"""Objects of more blocks than one page of a file's map, or one record of the log, holds."""

from __future__ import annotations

import random

import pytest
from mounted_scene import Scene

from memfs.errors import StoreUnsupportedError
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


@pytest.mark.parametrize("blocks", [512, 513])
def test_what_only_the_store_has_is_changed_in_its_middle_up_to_a_size(blocks: int) -> None:
    """Beyond, an error says what can be done, before anything was copied."""

    async def main() -> None:
        scene = Scene(6, block_size=BLOCK, group_blocks=4)
        data = random.Random(2).randbytes(blocks * BLOCK)
        scene.bucket.replace("object", data)
        fs = await scene.start(sync_interval=-1)
        if blocks == 512:
            async with await fs.open("/x/object", "ab") as file:
                await file.write(b"tail")
            await scene.settled(fs)
            assert scene.bucket.contents() == {"object": data + b"tail"}
            return
        before = scene.bucket.requests["read"]
        for mode in ("ab", "r+b"):
            async with await fs.open("/x/object", mode) as file:
                with pytest.raises(StoreUnsupportedError, match="copy it"):
                    await file.write(b"tail")
        assert scene.bucket.requests["read"] == before
        await fs.copy("/x/object", "/x/copy")
        async with await fs.open("/x/copy", "ab") as file:
            await file.write(b"tail")
        await fs.replace("/x/copy", "/x/object")
        await scene.settled(fs)
        assert scene.bucket.contents() == {"object": data + b"tail"}

    run(main())
