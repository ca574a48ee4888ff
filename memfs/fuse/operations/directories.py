"""Open directories: their entries, with attributes where the kernel wants them."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterable
from typing import Final

from memfs import limits
from memfs.errors import StaleHandleError
from memfs.fuse.attributes import TYPE_BITS
from memfs.fuse.files.directory_stream import DirectoryStream, Listed
from memfs.fuse.kernel.protocol import (
    DIRENT,
    ENTRY_OUT_SIZE,
    OPEN_OUT,
    READ_IN,
    RELEASE_IN,
    InHeader,
    Opcode,
)
from memfs.fuse.mount import MountSession
from memfs.fuse.operations.handler import DONE, Handler, Parts, Reply

_UNKNOWN_INODE: Final = 0xFFFFFFFF
_NO_ENTRY: Final = bytes(ENTRY_OUT_SIZE)
"""Of an entry whose attributes the kernel asks for when it needs them."""
_DIRECTORY_TYPE: Final = stat.S_IFDIR >> 12
_DOTS: Final = (b".", b"..")
_TYPES: Final = {kind: bits >> 12 for kind, bits in TYPE_BITS.items()}
_ENTRIES: Final = tuple(
    struct.Struct(f"={DIRENT.code}{length + 7 & ~7}s") for length in range(limits.NAME_BYTES + 1)
)
"""An entry without attributes, by the length of its name."""
_PADDING: Final = tuple(bytes(-length % 8) for length in range(8))
"""Behind a name, by its length modulo 8: entries begin at multiples of 8 bytes."""


def open_(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """opendir."""
    number = next(mount.numbering)
    mount.directories[number] = _stream(mount, header)
    return (OPEN_OUT.pack(number, 0, 0),)


def _stream(mount: MountSession, header: InHeader) -> DirectoryStream:
    inode = mount.cluster.inode(header.nodeid)
    return DirectoryStream(mount.cluster, mount.known, mount.watch.trusted, inode)


def release(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """closedir."""
    mount.directories.pop(RELEASE_IN.unpack(body).fh, None)
    return DONE


def synchronise(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """fsync of a directory: names are on all nodes that count when a call returns."""
    return DONE


def read(mount: MountSession, header: InHeader, body: bytes) -> Reply:
    """readdir."""
    return _read(mount, header, body, plus=False)


def read_plus(mount: MountSession, header: InHeader, body: bytes) -> Reply:
    """readdir, and stat of what is in it."""
    return _read(mount, header, body, plus=True)


def _read(mount: MountSession, header: InHeader, body: bytes, *, plus: bool) -> Reply:
    asked = READ_IN.unpack(body)
    stream = mount.directories.get(asked.fh)
    if stream is None:  # opened before this server took over
        stream = mount.directories[asked.fh] = _stream(mount, header)
    page = _Page(asked.size, plus)
    position = asked.offset
    entries = stream.known(position - len(_DOTS)) if position > len(_DOTS) else None
    if entries is None:
        return _load(mount, page, stream, position)
    _fill(mount, page, position, entries, stream.inode)
    return page.reply()


async def _load(mount: MountSession, page: _Page, stream: DirectoryStream, position: int) -> Parts:
    """A page whose entries must be asked for."""
    while position < len(_DOTS):
        inode = stream.inode if position == 0 else _UNKNOWN_INODE
        if not page.add(_NO_ENTRY, inode, position + 1, _DIRECTORY_TYPE, _DOTS[position]):
            return page.reply()
        position += 1
    try:
        entries = await stream.entries(position - len(_DOTS))
    except StaleHandleError:
        return DONE  # a removed directory has no entries, not even the dots
    _fill(mount, page, position, entries, stream.inode)
    return page.reply()


def _fill(
    mount: MountSession,
    page: _Page,
    position: int,
    entries: Iterable[Listed],
    directory: int,
) -> None:
    """As many entries as there is room for."""
    cluster, shapes, files, known = mount.cluster, mount.shapes, mount.files, mount.known
    if not page.plus:
        page.add_names(position, entries)
        return
    validity, named = mount.validity(), None
    for name, found in entries:
        position += 1
        described = _NO_ENTRY
        if found.links and page.has_room(name):
            file = files.get(found.inode)
            if file is None or not file.leased:
                sure = known.name(directory, name) is found and not known.is_aged(found.inode)
                believed = validity if sure else shapes.attributes
                if sure and named is None:
                    named = mount.named(directory, name, found)
                node = cluster.node(found.inode)
                described = shapes.entry(node, found, believed, named if sure else None)
        if not page.add(described, found.inode, position, _TYPES[found.kind], name):
            return


class _Page:
    """The reply being filled."""

    def __init__(self, room: int, plus: bool) -> None:
        self.plus = plus
        self._parts: list[bytes] = []
        self._room = room
        self._head = DIRENT.size + (ENTRY_OUT_SIZE if plus else 0)

    def reply(self) -> Parts:
        """All of it, as one part: one call writes a thousand at most."""
        return (b"".join(self._parts),)

    def has_room(self, name: bytes) -> bool:
        """Whether a name can be added."""
        return self._room >= self._length(name)

    def add(self, entry: bytes, inode: int, after: int, kind: int, name: bytes) -> bool:
        """Add a name; False when there is no room for it."""
        length = self._length(name)
        if length > self._room:
            return False
        self._room -= length
        if self.plus:
            self._parts.append(entry)
        self._parts += (DIRENT.pack(inode, after, len(name), kind), name, _PADDING[len(name) & 7])
        return True

    def add_names(self, position: int, entries: Iterable[Listed]) -> None:
        """Add entries without attributes as long as there is room."""
        parts, room = self._parts, self._room
        for after, (name, found) in enumerate(entries, position + 1):
            entry = _ENTRIES[len(name)]
            room -= entry.size
            if room < 0:
                return
            parts.append(entry.pack(found.inode, after, len(name), _TYPES[found.kind], name))

    def _length(self, name: bytes) -> int:
        return self._head + (len(name) + 7 & ~7)


HANDLERS: Final[dict[int, Handler]] = {
    Opcode.OPENDIR: open_,
    Opcode.READDIR: read,
    Opcode.READDIRPLUS: read_plus,
    Opcode.RELEASEDIR: release,
    Opcode.FSYNCDIR: synchronise,
}
