"""What all files of one client share: the session, how blocks are read, buffers, local memory."""

from __future__ import annotations

from memfs.client.reading.block_reader import BlockReader
from memfs.client.reading.buffers import BufferPool
from memfs.client.reading.local_blocks import LocalNodes
from memfs.client.session.session import Session


class ClientContext:
    """Handed to everything that reads or writes; lives as long as its client."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.blocks = BlockReader(session)
        self.buffers = BufferPool()
        self.local = LocalNodes(session)

    async def close(self) -> None:
        """End what runs on the side; the session stays."""
        self.local.close()
        await self.blocks.close()
