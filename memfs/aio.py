"""The asynchronous API: ``async with memfs.aio.connect(url) as fs: ...``.

The same operations as the blocking one, awaited; both are one implementation. A file system
belongs to the event loop in which it was connected.
"""

from memfs.client.aiofiles import AsyncFile, AsyncTextFile
from memfs.client.connect import connect
from memfs.client.filesystem import AsyncFileSystem

__all__ = ["AsyncFile", "AsyncFileSystem", "AsyncTextFile", "connect"]
