"""The same API for asyncio: eight files copied at once."""

import asyncio
import os

from memfs import aio


async def main() -> None:
    """Write, copy, compare."""
    async with aio.connect() as fs:
        await fs.makedirs("/concurrent", exist_ok=True)
        names = [f"/concurrent/{number}" for number in range(8)]
        contents = [os.urandom(1 << 20) for _ in names]
        await asyncio.gather(*map(fs.write_bytes, names, contents))
        await asyncio.gather(*(fs.copy(name, name + ".copy") for name in names))

        async with fs.open(names[0] + ".copy", "rb") as f:
            first = await f.read(1 << 20)
        print("equal:", first == contents[0])
        await fs.rmtree("/concurrent")


asyncio.run(main())
