"""The state that the handlers of one mount share: the cluster's client, open files, caches.

Must not know requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import stat
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path

from memfs.client.inodes import Made, Owner
from memfs.client.session.held.locks import Holding
from memfs.client.session.request_ids import Errand, repeats
from memfs.client.session.watch import CacheWatch
from memfs.errors import AccessDeniedError, NotDirectoryError, PathNotFoundError, RequestError
from memfs.fuse.attributes import NEVER, Shapes, Validity
from memfs.fuse.believed_names import BelievedNames
from memfs.fuse.files.directory_stream import DirectoryStream
from memfs.fuse.files.open_inode import OpenInode
from memfs.fuse.files.open_inodes import OpenInodes
from memfs.fuse.kernel.negotiation import WRITE_BYTES
from memfs.fuse.kernel.protocol import InHeader
from memfs.fuse.known import ABSENT, KnownTree, PendingRead
from memfs.fuse.ledger import MountLedger, OpenDescriptor
from memfs.fuse.lookahead import Lookahead, Window
from memfs.fuse.mounted_tree import MountedTree
from memfs.fuse.numbers import Numbers
from memfs.fuse.options import MountOptions
from memfs.types import Attributes, FileKind, LockKind

NOBODY_ELSE = Owner("", "")
FLAGS = (1 << 32) - 1
"""Of what was opened, in its number."""
READ_BYTES = WRITE_BYTES
"""Most bytes that the kernel asks for at once."""


class PendingCommand:
    """A command of this mount that is under way, and what its reply says."""

    __slots__ = ("also_changed", "found", "good", "reading", "swaps")

    def __init__(self, reading: PendingRead) -> None:
        self.reading = reading
        self.found: Attributes | None = None
        """The inode's new attributes, as far as the reply has them."""
        self.also_changed: tuple[Attributes, ...] = ()
        """The new attributes of directories, and of what was moved."""
        self.swaps = False
        """Both names exist afterwards (an exchange)."""
        self.good = False
        """Its reply may be cached."""


class MountSession:
    """Lives as long as its mount."""

    def __init__(
        self, cluster: MountedTree, options: MountOptions, ledger: MountLedger | None = None
    ) -> None:
        """``ledger``: for the worker after this one, None: there is none."""
        self.cluster = cluster
        self.options = options
        self.ledger = ledger or MountLedger.alone()
        self.kept = self.ledger.kept
        self._unanswered: dict[int, OpenDescriptor] = {}
        """What a former worker has opened, by the request, as far as the kernel may not know it."""
        self._errands: dict[int, int] = {}
        """Request ids of commands that a former worker has sent and the cluster has answered, by
        the kernel's request."""
        self.numbers = Numbers()
        patience = 0.0 if options.nowait else None
        self.files = OpenInodes(cluster, patience, self.changing_file, self.changed, self.kept)
        self.directories: dict[int, DirectoryStream] = {}
        self.numbering = itertools.count(int.from_bytes(os.urandom(4), "big"))
        """Of what is opened. A server that takes over begins elsewhere: what its predecessor has
        opened is still in use."""
        self.range_owners: dict[int, set[int]] = {}
        """Who has locked ranges through what was opened under a number."""
        self.scratch = memoryview(bytearray(READ_BYTES))
        """Buffer of replies that are sent at once: the kernel copies the bytes before the next
        request."""
        self.refused_links: dict[int, int] = {}
        """By thread, the inode of its last LINK that failed because another host had deleted it.
        The kernel then looks the path up again, and repeats LINK if it finds the same inode."""
        self.interruptible: dict[int, asyncio.Event] = {}
        """Interruptible requests by ``unique``; each ends when its event is set."""
        self.invalidate: Callable[[Sequence[int]], Awaitable[None]] | None = None
        """Has the kernel forget attributes of nodes."""
        self.in_doubt: set[int] = set()
        """Directories in which it is not known what a name means."""
        self.names = BelievedNames(cluster.session.environment.clock.boottime_ns)
        self.shapes = Shapes(
            self.numbers,
            Validity(options.attr_timeout),
            Validity(options.entry_timeout),
            self.names.withheld,
        )
        self.known = KnownTree()
        self.lookahead = Lookahead()
        self.watch = CacheWatch(cluster.session, self._forget, self._forget_all)
        identity = cluster.session.identity
        self._own = Owner(identity.user, identity.groups[0] if identity.groups else identity.user)

    async def go_on(self, errands: dict[int, int]) -> None:
        """Take over what the ledger says is open, locked and written. Raises RetryableError."""
        self._errands = errands
        self.ledger.keep_sent(errands)
        for opened in self.ledger.opened:
            file = self.files.use(opened.inode)
            self.files.opened(file, opened.handle & FLAGS)
            file.adopt()
            self._unanswered[opened.request] = opened
        for locked in self.ledger.locked:
            if locked.kind == LockKind.RANGE:
                self.range_owners.setdefault(locked.handle, set()).add(locked.owner)
        await self.files.write_again(self.options.timeout)
        for where in self.ledger.left_locked:
            self._unlock_left(where)

    def _unlock_left(self, where: Holding) -> None:
        """A former worker was about to unlock when a descriptor was closed."""

        async def nothing() -> None:
            """What was written is published."""

        self.cluster.locks.release_later(
            where.inode,
            where.owner,
            kind=where.kind,
            first=nothing,
            then=lambda: self.ledger.unlock(where.inode, where.owner, where.kind),
        )

    def errand(self, request: int, *, again: bool) -> Errand:
        """What the kernel asks for, ``again`` after another worker has not answered it."""
        return Errand(request, self._errands.pop(request, 0) if again else 0)

    def not_opened(self, request: int) -> None:
        """The kernel asks again for what a former worker has opened: it knows nothing of that."""
        opened = self._unanswered.pop(request, None)
        if opened is not None and self.ledger.close(opened.handle):
            self.files.released(opened.inode, opened.handle & FLAGS)

    async def close(self) -> None:
        """Publish what is open, and leave the cluster."""
        try:
            await self.files.close()
        finally:
            await self.watch.close()
            await self.cluster.close()

    def owner(self, header: InHeader) -> Owner:
        """Owner and group of what a process creates."""
        found = Owner(self.numbers.user(header.uid), self.numbers.group(header.gid))
        return NOBODY_ELSE if found == self._own else found

    # --- what is believed -------------------------------------------------------------------

    async def _forget(self, inodes: tuple[int, ...]) -> None:
        """Inodes that others have changed: invalidate them here and in the kernel."""
        self.known.forget(inodes)
        self.names.withdraw(inodes)
        await self._tell_kernel(inodes)

    async def forget_doubtful(self) -> None:
        """Withdraw what the kernel believes of directories in which a command of this mount has
        ended without an answer."""
        inodes = tuple(self.in_doubt)
        self.in_doubt.clear()
        await self._forget(inodes)

    async def _forget_all(self) -> None:
        await self._tell_kernel(self.known.forget_all())

    async def _tell_kernel(self, inodes: Iterable[int]) -> None:
        for inode in inodes:
            self.shapes.has_list.pop(inode, None)
        if self.invalidate is not None:
            await self.invalidate([self.cluster.node(inode) for inode in inodes])

    def changed(self, *inodes: int) -> None:
        """Inodes that this mount has changed: invalidate them here. The kernel knows: it asked for
        the change."""
        self.known.forget(inodes)

    async def make(self, parent: int, name: bytes, work: Awaitable[Made]) -> tuple[bytes]:
        """Create an inode; returns the kernel's reply."""
        with self.making(parent, name) as change:
            found, change.also_changed = await work
            self.known.forget((found.inode,), change.reading)  # it may have had another name
            change.found = found
        believed = self.validity() if change.good else None
        return self.entry(found, believed, self.named(parent, name, found))

    @contextlib.contextmanager
    def making(self, parent: int, name: bytes) -> Iterator[PendingCommand]:
        """Encloses a command that creates a name."""
        with self.change() as change, self._renaming(parent, name, change.reading):
            yield change
        if change.good and change.found is not None:
            made = change.found
            self.known.learn_name(change.reading, parent, name, made)
            if made.kind == FileKind.DIRECTORY:  # new, so there is nothing in it
                self.known.learn_page(change.reading, made.inode, b"", (), False)

    @contextlib.contextmanager
    def removing(self, parent: int, name: bytes) -> Iterator[PendingCommand]:
        """Encloses a command that removes a name."""
        with self.change() as change, self._changing_name(parent, name, change):
            yield change
        if change.good:
            self.known.learn_name(change.reading, parent, name, None)

    @contextlib.contextmanager
    def renaming(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes
    ) -> Iterator[PendingCommand]:
        """Encloses a rename."""
        with (
            self.change() as change,
            self._changing_name(parent, name, change),
            self._changing_name(new_parent, new_name, change),
        ):
            yield change
        self.names.moved(parent, new_parent)
        if change.swaps:
            self.names.moved(new_parent, parent)
        if change.good and change.also_changed and not change.swaps:
            self.known.learn_name(change.reading, parent, name, None)
            self.known.learn_name(change.reading, new_parent, new_name, change.also_changed[-1])

    @contextlib.contextmanager
    def _changing_name(self, parent: int, name: bytes, change: PendingCommand) -> Iterator[None]:
        """Encloses a command on a name that may exist."""
        before = self.known.name(parent, name)
        try:
            with self._renaming(parent, name, change.reading):
                yield
        finally:
            if isinstance(before, Attributes):
                self.known.forget((before.inode,), change.reading)
            elif before is None:  # nobody knows of what the links are other ones now
                self.known.forget_all()

    @contextlib.contextmanager
    def _renaming(self, parent: int, name: bytes, by: PendingRead | None = None) -> Iterator[None]:
        """Encloses every command that changes a name."""
        self.known.forget_name(parent, name, by)
        try:
            yield
        except RequestError:
            raise
        except BaseException:  # others may see it done, now or later
            self.in_doubt.add(parent)
            raise
        finally:
            self.known.forget_name(parent, name, by)

    @contextlib.contextmanager
    def changing_file(self, inode: int) -> Iterator[PendingCommand]:
        """Encloses every change of a file's content by this mount."""
        with self.change() as change:
            try:
                yield change
            finally:
                self.known.forget((inode,), change.reading)

    @contextlib.contextmanager
    def change(self) -> Iterator[PendingCommand]:
        """Encloses a command. Its reply is cached unless it may be that of an earlier attempt over
        another connection, or others have changed the inode meanwhile."""
        routing = self.cluster.session.routing
        way = routing.open_primary
        with self.known.reading() as reading:
            change = PendingCommand(reading)
            yield change
            if way is not None and routing.open_primary is way and not repeats():
                change.good = change.found is None or self.known.learn(reading, change.found)
                for each in change.also_changed:
                    self.known.learn(reading, each)

    async def forget(self, inode: int) -> None:
        """Drop a file's cached attributes: the next reader asks the cluster."""
        await self._forget((inode,))

    def validity(self) -> Validity:
        """How long the kernel may cache what is known now."""
        return Validity(max(self.watch.trusted(), self.options.attr_timeout))

    # --- attributes ------------------------------------------------------------------------

    def recall(self, inode: int) -> bytes | None:
        """The reply to GETATTR when it can be given from the cache."""
        found = self.known.attributes(inode)
        if found is None or self._is_dirty(inode) or inode in self.names.withheld:
            return None
        trust = self.watch.trusted()
        if not trust:
            return None
        return self.shapes.attr(found, Validity(max(trust, self.options.attr_timeout)))

    def recall_name(self, parent: int, name: bytes) -> bytes | int | None:
        """The reply to LOOKUP, or ABSENT, when it can be given from the cache."""
        found = self.known.name(parent, name)
        if found is None:
            return None
        self.lookahead.hit(parent)
        trust = self.watch.trusted()
        if not trust:
            return None
        if not isinstance(found, Attributes):
            return found
        if self._is_dirty(found.inode):
            return None
        aged = self.known.is_aged(found.inode)
        validity = NEVER if aged else Validity(max(trust, self.options.attr_timeout))
        named = self._named(parent, trust)
        return self.shapes.entry(self.cluster.node(found.inode), found, validity, named)

    def _is_dirty(self, inode: int) -> bool:
        file = self.files.get(inode)
        return file is not None and file.dirty

    async def attributes(self, inode: int) -> tuple[Attributes, Validity]:
        """An inode's attributes, including what was written through this mount, and how long they
        are valid."""
        file = self.files.get(inode)
        if file is not None and file.dirty:
            await file.publish_for_stat()
        with self.known.reading() as reading:
            found = await self.cluster.attributes(inode)
            kept = self.known.learn(reading, found)
        if file is not None:
            file.notice(found)
        return found, self.validity() if kept else self.shapes.attributes

    async def look_up(self, parent: int, name: bytes) -> tuple[Attributes, Validity]:
        """The inode that a name refers to. Raises PathNotFoundError."""
        with self.known.reading() as reading:
            window = None
            if self.watch.trusted() and not self.known.is_complete(parent):
                window = self.lookahead.miss(parent, name)
            found = await self._fetch(reading, parent, name, window) if window else None
            try:
                found = found or await self.cluster.lookup(parent, name)
            except PathNotFoundError:
                self.known.learn_name(reading, parent, name, None)
                raise
            kept = self.known.learn_name(reading, parent, name, found)
        file = self.files.get(found.inode)
        if file is not None:
            if file.dirty:
                return await self.attributes(found.inode)
            file.notice(found)
        return found, self.validity() if kept else self.shapes.attributes

    async def _fetch(
        self, reading: PendingRead, parent: int, name: bytes, window: Window
    ) -> Attributes | None:
        """Cache a page of a directory; returns the attributes of ``name`` if it is in the page,
        else None.

        Raises PathNotFoundError.
        """
        try:
            entries, more = await self.cluster.list(parent, window.after, window.entries)
        except (AccessDeniedError, NotDirectoryError):
            return None
        self.known.learn_page(reading, parent, window.after, entries, more)
        if not window.after:
            self.lookahead.whole(parent, small=not more)
        found = next((each.attributes for each in entries if each.name == name), None)
        if found is not None:
            return found if found.links else None  # without them: it may not be looked at
        if window.after < name and (not more or (entries and name < entries[-1].name)):
            raise PathNotFoundError("it is not in the page that would have it")
        return None

    def entry(
        self, found: Attributes, validity: Validity | None = None, named: Validity | None = None
    ) -> tuple[bytes]:
        """The reply to whatever finds or makes a name. ``validity``: of the attributes, ``named``:
        of the name."""
        return (self.shapes.entry(self.cluster.node(found.inode), found, validity, named),)

    def named(self, parent: int, name: bytes, found: Attributes) -> Validity:
        """How long the kernel may believe now that a name means what was just found."""
        kept = self.known.name(parent, name) is found
        return self._named(parent, self.watch.trusted()) if kept else self.shapes.entries

    def _named(self, parent: int, trust: float) -> Validity:
        """How long the kernel may believe a name that is known."""
        seconds = self.names.hand_out(parent, trust, self.watch.promised())
        return Validity(seconds) if seconds > self.options.entry_timeout else self.shapes.entries

    def unnamed(self, parent: int, name: bytes) -> float:
        """Seconds for which the kernel may believe that a name does not exist."""
        seconds = 0.0
        if self.known.name(parent, name) == ABSENT:
            trust = self.watch.trusted()
            seconds = self.names.hand_out(parent, trust, self.watch.promised())
        return max(seconds, self.options.negative_timeout)

    async def outlast_name(self, parent: int, name: bytes) -> None:
        """A name is about to be removed: files open here stay, even when their lease ends at
        once."""
        found = self.known.name(parent, name)
        if found is None:
            await self.files.outlast_names()
        elif isinstance(found, Attributes) and (file := self.files.get(found.inode)) is not None:
            await file.outlast_name()

    def has_directory_open(self, inode: int) -> bool:
        """Whether somebody reads this directory, or works in it."""
        return any(stream.inode == inode for stream in self.directories.values())

    # --- privileges ------------------------------------------------------------------------

    async def drop_set_id(self, file: OpenInode, found: Attributes, header: InHeader) -> int:
        """An unprivileged user has changed the content: clear the set-id bits; the mode then."""
        mode = self.without_set_id(found, header)
        if mode != found.mode:
            await self.cluster.set_attributes(file.inode, mode=mode)
            self.changed(file.inode)
        return mode

    def without_set_id(self, found: Attributes, header: InHeader) -> int:
        """The mode of a file after a change by somebody unprivileged, as Linux has it."""
        mode = found.mode & ~stat.S_ISUID
        if mode & stat.S_ISGID:
            group = self.numbers.gid(found.group)
            mine = group == header.gid or not header.uid or group in groups_of(header.pid)
            if mode & stat.S_IXGRP or not mine:
                mode &= ~stat.S_ISGID
        return mode


def groups_of(thread: int, proc: Path = Path("/proc")) -> tuple[int, ...]:
    """Supplementary groups; none of a thread that cannot be seen from here."""
    try:
        text = (proc / str(thread) / "status").read_text()
    except OSError:
        return ()
    (line,) = (line for line in text.splitlines() if line.startswith("Groups:"))
    return tuple(map(int, line.split()[1:]))
