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
import logging
import warnings
from typing import TYPE_CHECKING, Any

from memfs import installation

if TYPE_CHECKING:
    from memfs.client.blocking.entry import connect, open
    from memfs.client.blocking.filesystem import FileSystem
    from memfs.client.blocking.path import MemfsPath
    from memfs.errors import MemfsError

__version__ = "0.1.0"
__distribution__ = "memfs-cluster"
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
    "FileSystem": "memfs.client.blocking.filesystem",
    "MemfsError": "memfs.errors",
    "MemfsPath": "memfs.client.blocking.path",
    "connect": "memfs.client.blocking.entry",
    "open": "memfs.client.blocking.entry",
}


logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library asks to be heard

if _wrong := installation.mixture():
    warnings.warn(_wrong, RuntimeWarning, stacklevel=2)


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
