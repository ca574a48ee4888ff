"""A namespace with many files, built in this process by the commands that nodes apply.

Files lie a thousand to a directory, or all in one. No network, no log, no second node: what is
measured on it is the state machine alone.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from typing import Any

from memfs import limits
from memfs.node.log.entries import Entry
from memfs.node.namespace import Namespace, Settings
from memfs.protocol import messages
from memfs.types import BlockRef, Identity

ROOT = Identity("root", ("root",))
CLIENT = 1
PER_DIRECTORY = 1000
BATCH = limits.FILES_PER_BATCH
SIZE = 4096
SETTINGS = Settings("root", "root", 1, limits.BLOCK_BYTES_DEFAULT, limits.GROUP_BLOCKS_DEFAULT)


class Populated:
    """A namespace and the counters that its log entries need."""

    def __init__(self) -> None:
        self.namespace = Namespace(SETTINGS, 0)
        self._indices = itertools.count(1)

    def apply(self, request: Any) -> Any:
        """Apply one command; return the reply's record. An error is a bug of the benchmark."""
        index = next(self._indices)
        opcode = messages.BY_REQUEST[type(request)].opcode
        entry = Entry(index, 1, index, CLIENT, index, ROOT, opcode, b"")
        reply = self.namespace.apply(entry, request).record
        assert not isinstance(reply, messages.ErrorReply), reply
        return reply

    def fill(self, paths: Iterable[bytes]) -> None:
        """Create files and the directories that they lie in; those of one come together."""
        rest = iter(paths)
        directory = b""
        while batch := list(itertools.islice(rest, BATCH)):
            for path in batch:
                above = path.rpartition(b"/")[0]
                if above != directory:
                    self.apply(messages.MakeDirectory(above, parents=True))
                    directory = above
            self._put(batch)

    def _put(self, paths: Sequence[bytes]) -> None:
        inodes = self.apply(messages.ReserveInodes(len(paths))).inodes
        files = [_file(path, inode) for path, inode in zip(paths, inodes, strict=True)]
        results = self.apply(messages.PutFiles(tuple(files))).results
        assert not any(result.code for result in results), results[0]


def spread(count: int) -> list[bytes]:
    """Return paths of files, a thousand to a directory."""
    return [spread_path(number) for number in range(count)]


def spread_path(number: int) -> bytes:
    """Return the path of one file of :func:`spread`."""
    return b"/d%05d/f%07d" % (number // PER_DIRECTORY, number)


def sample(of: int, count: int) -> list[bytes]:
    """Choose ``count`` paths of ``spread(of)`` at random, the same ones every run.

    They are new objects, next to each other in memory: what is looked up is far apart in a large
    namespace, what it is looked up by is not.
    """
    return [spread_path(number) for number in random.Random(1).choices(range(of), k=count)]


def together(count: int) -> list[bytes]:
    """Return paths of files in one directory."""
    return [b"/all/f%07d" % number for number in range(count)]


def populated(paths: Iterable[bytes]) -> Populated:
    """Build a namespace that holds ``paths``."""
    result = Populated()
    result.fill(paths)
    return result


def _file(path: bytes, inode: int) -> messages.NewFile:
    block = BlockRef(inode, 0, 1, 0, SIZE, 0, (1,))
    return messages.NewFile(path, inode, SIZE, (block,))
