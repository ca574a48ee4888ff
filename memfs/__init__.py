"""memfs: a distributed in-memory file system.

>>> import memfs
>>> with memfs.open("memfs:///hello.txt", "w") as f:
...     f.write("Hello, world!")
>>> fs = memfs.connect("memfs://node1:10500,node2:10500")
>>> fs.read_text("/hello.txt")
'Hello, world!'

``memfs.aio.connect`` is the same API for asyncio, ``memfs.errors`` what can go wrong. What is
imported here is loaded on first use, so that ``import memfs.errors`` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memfs.client.blocking import connect, open
    from memfs.client.path import MemfsPath
    from memfs.client.sync import FileSystem
    from memfs.errors import MemfsError

__version__ = "0.1.0"
__all__ = [
    "FileSystem",
    "MemfsError",
    "MemfsPath",
    "__version__",
    "aio",
    "connect",
    "errors",
    "open",
]

_HOMES = {
    "FileSystem": "memfs.client.sync",
    "MemfsError": "memfs.errors",
    "MemfsPath": "memfs.client.path",
    "connect": "memfs.client.blocking",
    "open": "memfs.client.blocking",
}


def __getattr__(name: str) -> Any:
    if name in ("aio", "errors"):
        return importlib.import_module(f"memfs.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'memfs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
