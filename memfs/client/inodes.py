"""The operations of a file system by inode instead of by path: what a mount asks of a cluster.

Owns which request an operation is. Must not know the kernel's protocol. Errors are those of
``memfs.errors``. Whoever calls has checked permissions: what is made is made in the name of the
:class:`Owner` given, where this client's user may do so.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from memfs import limits, paths
from memfs.client.calls import xattrs
from memfs.client.calls.modes import parse
from memfs.client.context import ClientContext
from memfs.client.handles.create_options import CreateOptions
from memfs.client.handles.handle import Handle
from memfs.client.handles.opening import open_inode
from memfs.client.reading.block_map import BlockMap
from memfs.client.session.session import Session
from memfs.errors import AccessDeniedError
from memfs.protocol import messages as m
from memfs.types import (
    AclEntry,
    Attributes,
    DirectoryEntry,
    FileKind,
    RenameMode,
    XattrMode,
)

R = TypeVar("R")

READING = parse("rb")
UPDATING = parse("r+b")


class Owner(NamedTuple):
    """The owner and group of what is created."""

    user: str
    group: str


class Made(NamedTuple):
    """What was created, and the new attributes of its directory, if the primary sent them."""

    attributes: Attributes
    also_changed: tuple[Attributes, ...]


class MadeFile(NamedTuple):
    """As :class:`Made`, for a file, which is open."""

    handle: Handle
    also_changed: tuple[Attributes, ...]


class InodeOperations:
    """A session, seen by inode."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._context = ClientContext(session)
        self.locks = session.locks

    async def close(self) -> None:
        """Close what was opened here, the session too."""
        try:
            await self._context.close()
        finally:
            await self.session.close()

    # --- looking ----------------------------------------------------------------------------

    async def find(self, path: str) -> Attributes:
        """What a path from the cluster's root leads to."""
        return (await self.session.ask(m.Lookup(paths.encode(path)), path)).attributes

    async def lookup(self, parent: int, name: bytes) -> Attributes:
        """What a name in a directory means."""
        reply = await self.session.ask(m.Lookup(name, False, parent))
        return reply.attributes

    async def attributes(self, inode: int) -> Attributes:
        """What an inode is."""
        return (await self._ask_of(m.Lookup(b"", False, inode))).attributes

    async def _ask_of(self, request: m.Request[R]) -> R:
        """Ask for an inode itself, which may be open and have no name any more."""
        session = self.session
        return await session.opens.by_handle(lambda: session.ask(request))

    async def list(
        self, inode: int, after: bytes, limit: int = limits.ENTRIES_PER_PAGE
    ) -> tuple[tuple[DirectoryEntry, ...], bool]:
        """Entries after a name, ordered by the bytes of the names, and whether there are more."""
        request = m.List(b"", after, limit, inode)
        reply = await self.session.ask(request)
        return reply.entries, bool(reply.remaining)

    async def read_link(self, inode: int) -> bytes:
        """The text of a symbolic link."""
        reply = await self.session.ask(m.ReadLink(b"", inode))
        return reply.target

    async def capacity(self) -> m.FileSystemReply:
        """Bytes, files, and what a new file is made of."""
        reply = await self.session.ask(m.StatFileSystem())
        return reply

    # --- changing ---------------------------------------------------------------------------

    async def set_attributes(
        self,
        inode: int,
        *,
        mode: int | None = None,
        owner: str | None = None,
        group: str | None = None,
        modified_ns: int | None = None,
        accessed_ns: int | None = None,
        now: bool = False,
        modified_now: bool = False,
        accessed_now: bool = False,
    ) -> Attributes:
        """chmod, chown, utimens."""
        request = m.SetAttributes(
            b"",
            mode,
            owner,
            group,
            modified_ns,
            accessed_ns,
            now=now,
            modified_now=modified_now,
            accessed_now=accessed_now,
            follow=False,
            base=inode,
        )
        return (await self._ask_of(request)).attributes

    async def touch(self, inode: int) -> Attributes:
        """Set the time of modification, as who may write may; writing nothing does not."""
        request = m.SetAttributes(b"", modified_now=True, follow=False, base=inode, by_writers=True)
        return (await self._ask_of(request)).attributes

    async def make_directory(
        self, parent: int, name: bytes, mode: int, unmasked: int, owner: Owner
    ) -> Made:
        """mkdir."""
        request = m.MakeDirectory(
            name, mode, base=parent, unmasked=unmasked, owner=owner.user, group=owner.group
        )
        reply = await self.session.ask(request)
        return Made(*reply)

    async def make_symlink(self, parent: int, name: bytes, target: bytes, owner: Owner) -> Made:
        """symlink."""
        request = m.MakeSymlink(name, target, base=parent, owner=owner.user, group=owner.group)
        reply = await self.session.ask(request)
        return Made(*reply)

    async def make_node(
        self,
        parent: int,
        name: bytes,
        kind: FileKind,
        mode: int,
        unmasked: int,
        device: int,
        owner: Owner,
    ) -> Made:
        """mknod of what is no file."""
        request = m.MakeNode(
            name, int(kind), mode, device, parent, unmasked, owner.user, owner.group
        )
        reply = await self.session.ask(request)
        return Made(*reply)

    async def make_link(self, inode: int, parent: int, name: bytes) -> Made:
        """link."""
        reply = await self._ask_of(m.MakeLink(b"", name, inode, parent))
        return Made(*reply)

    async def unlink(self, parent: int, name: bytes) -> tuple[Attributes, ...]:
        """unlink; the new attributes of the directory, if the primary sent them."""
        return (await self.session.ask(m.Unlink(name, parent))).also_changed

    async def remove_directory(self, parent: int, name: bytes) -> tuple[Attributes, ...]:
        """rmdir; returns as :meth:`unlink`."""
        return (await self.session.ask(m.RemoveDirectory(name, False, parent))).also_changed

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, mode: RenameMode
    ) -> tuple[Attributes, ...]:
        """rename in all its modes; returns as :meth:`unlink`, the moved inode last."""
        request = m.Rename(name, new_name, mode, parent, new_parent)
        return (await self.session.ask(request)).also_changed

    # --- extended attributes ----------------------------------------------------------------

    async def xattrs(self, inode: int, *names: str) -> dict[str, bytes]:
        """Those named (NoAttributeError when one is missing), or all."""
        session, request = self.session, m.GetXattrs(b"", names, False, inode)
        answer = await session.opens.by_handle(lambda: session.primary.call(request))
        return xattrs.values(answer.record, answer.payload)

    async def xattr_names(self, inode: int) -> tuple[str, ...]:
        """listxattr."""
        reply = await self._ask_of(m.GetXattrs(b"", (), False, inode, values=False))
        return tuple(each.name for each in reply.xattrs)

    async def set_xattr(self, inode: int, name: str, value: bytes, mode: XattrMode) -> None:
        """setxattr."""
        session = self.session
        request, payload = xattrs.split_value(m.SetXattr(b"", name, value, mode, False, inode))
        await session.opens.by_handle(lambda: session.primary.call(request, payload=payload))

    async def remove_xattr(self, inode: int, name: str) -> None:
        """removexattr."""
        await self._ask_of(m.RemoveXattr(b"", name, False, inode))

    async def acl(self, inode: int) -> tuple[AclEntry, ...]:
        """The access control list, the entries that the mode bits stand for included."""
        return (await self.session.ask(m.GetAcl(b"", inode))).entries

    async def set_acl(self, inode: int, entries: tuple[AclEntry, ...]) -> Attributes:
        """Replace the access list, the default list, or both: those of which entries are given."""
        return await self._change_acl(inode, m.AclChange.SET, entries)

    async def remove_default_acl(self, inode: int) -> Attributes:
        """Remove what is inherited by new files."""
        return await self._change_acl(inode, m.AclChange.REMOVE_DEFAULT, ())

    async def _change_acl(
        self, inode: int, change: m.AclChange, entries: tuple[AclEntry, ...]
    ) -> Attributes:
        request = m.ChangeAcl(b"", int(change), entries, base=inode)
        return (await self.session.ask(request)).attributes

    # --- files ------------------------------------------------------------------------------

    async def open_for_reading(self, inode: int) -> Handle:
        """A handle of a file, as it is now."""
        return await open_inode(self._context, _shown(inode), inode, READING)

    async def keep(self, inode: int, *, kept: bool) -> bool:
        """Have a file stay until ``session.opens.close``; ``kept``: a handle keeps it for now.

        False for what this client's user may not read: that goes with its last name.
        """
        opens = self.session.opens
        if kept:
            opens.keep(inode)
            return True
        try:
            await opens.open(b"", _shown(inode), self.session.deadline(), base=inode)
        except AccessDeniedError:
            return False
        return True

    async def open_for_writing(self, inode: int) -> Handle:
        """A handle of a file under a lease. Raises LeaseHeldError."""
        return await self._leased(m.AcquireLease(b"", base=inode, holder=self.session.holder))

    async def empty(self, inode: int) -> Handle:
        """As :meth:`open_for_writing`, and empties the file in the same step."""
        options = CreateOptions.of(self.session.config, permissions=0)
        request = options.create(b"", exclusive=False, holder=self.session.holder)
        return await self._leased(request._replace(base=inode))

    async def create(
        self, parent: int, name: bytes, mode: int, unmasked: int, owner: Owner
    ) -> MadeFile:
        """Make a file, under a lease. Raises PathExistsError."""
        reply = await self._granted(self._creation(parent, name, mode, unmasked, owner))
        return MadeFile(self._under(reply), reply.also_changed)

    async def find_created(
        self, parent: int, name: bytes, mode: int, unmasked: int, owner: Owner
    ) -> int:
        """The inode of a file that a former process has made by :meth:`create`, in an errand that
        repeats that; the lease is over. Raises what it raised.
        """
        request = self._creation(parent, name, mode, unmasked, owner)
        return (await self.session.ask(request)).attributes.inode

    def _creation(
        self, parent: int, name: bytes, mode: int, unmasked: int, owner: Owner
    ) -> m.Create:
        options = CreateOptions.of(self.session.config, permissions=mode, unmasked=unmasked)
        request = options.create(name, exclusive=True, holder=self.session.holder)
        return request._replace(base=parent, owner=owner.user, group=owner.group)

    async def create_unnamed(
        self, parent: int, mode: int, unmasked: int, owner: Owner, *, linkable: bool
    ) -> Handle:
        """Make a file without a name, under a lease; ``linkable``: it may get one."""
        session = self.session
        options = CreateOptions.of(session.config)
        request = m.CreateUnnamed(
            b"",
            parent,
            linkable,
            mode,
            unmasked,
            options.replication,
            options.block_size,
            options.group_blocks,
            session.holder,
            owner.user,
            owner.group,
        )
        return self._under(await session.grants.unnamed(request, "", session.deadline()))

    async def _leased(self, request: m.Create | m.AcquireLease) -> Handle:
        return self._under(await self._granted(request))

    async def _granted(self, request: m.Create | m.AcquireLease) -> m.LeaseReply:
        session = self.session
        reply = await session.opens.by_handle(
            lambda: session.grants.lease(request, "", session.deadline())
        )
        if isinstance(request, m.Create):
            session.commits += 1
        return reply

    def _under(self, reply: m.LeaseReply) -> Handle:
        """A handle that may write, under a lease."""
        file = BlockMap.leased(self.session, _shown(reply.attributes.inode), reply)
        return Handle(self._context, file, UPDATING)


def _shown(inode: int) -> str:
    """The name in errors of a file without a known path."""
    return f"inode {inode}"
