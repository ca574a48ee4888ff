"""A file that is open through a mount, however often: one reader, one lease.

Owns when the lease of a file is acquired and when it is released. It is acquired at the first
change and not when the file is opened, since programs on several hosts open a file for writing and
take turns by locks. It is released when a descriptor is closed, a while after the last change, and
when the file is unlocked. Invariants: all descriptors of one mount share the lease; attributes are
shown after they are published, so that no program sees a time or size that others never see;
whoever reads through this mount sees what was written through it before, also while it is being
published.

Must not know the kernel's protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol, TypeAlias, TypeVar

from memfs.client.handles.handle import Handle
from memfs.client.inodes import InodeOperations
from memfs.concurrency import Coro
from memfs.errors import LeaseHeldError, LeaseLostError, MemfsError, StaleHandleError
from memfs.fuse.kept import KeptWrites, Payload
from memfs.types import Attributes

log = logging.getLogger(__name__)
T = TypeVar("T")

IDLE_SECONDS: Final = 1.0
"""A lease is released after this time without a change: somebody else may wait for it."""
PASS_ON_SECONDS: Final = 0.05
"""The same after an unlock: programs on several hosts may take turns."""
RETRY_SECONDS: Final = 0.02
RETRY_SECONDS_MAX: Final = 0.25


class CommandOutcome(Protocol):
    """What the reply to a command says about the file."""

    found: Attributes | None
    """The file's new attributes; None: the reply has none."""


Observed: TypeAlias = Callable[[int], AbstractContextManager[CommandOutcome]]


class OpenInode:
    """One inode, while it is open somewhere or has a lease."""

    def __init__(
        self,
        cluster: InodeOperations,
        inode: int,
        patience: float | None,
        observed: Observed,
        changed: Callable[[int], None],
        kept: KeptWrites,
    ) -> None:
        """``patience``: seconds to wait for another writer, None: for as long as it takes.

        ``observed`` encloses every call that may change the file in the cluster; ``changed`` is
        called for a change that is done at once. ``kept``: for the worker after this one.
        """
        self.inode = inode
        self._kept = kept
        self._observed = observed
        self._changed = changed
        self.opens = 0
        """Open descriptors; the kernel tells when one is closed."""
        self.writers = 0
        """Descriptors open for writing."""
        self._cluster = cluster
        self._stays = False
        """Whether the file stays when its last name is removed: the cluster knows that it is open,
        or the lease keeps it until the cluster is told."""
        self._staying = asyncio.Lock()
        self._patience = patience
        self._reading: Handle | None = None
        self._writing: Handle | None = None
        self._closing: Handle | None = None
        """The former :attr:`_writing`, while its last changes are being published."""
        self._published = asyncio.Event()
        self._leases = 0
        """Leases acquired so far."""
        self._changing = asyncio.Lock()
        self._changed_at = 0.0
        self._small = True
        self._ended = False
        """The lease went when a descriptor of the only open for writing was closed."""
        self._goes_on = False
        """... and another descriptor of that open wrote on."""
        self._lost: MemfsError | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._finishing: set[asyncio.Task[None]] = set()
        """Tasks that release the lease, kept until they are done."""

    # --- looking ----------------------------------------------------------------------------

    @property
    def dirty(self) -> bool:
        """Whether something was written that is not published yet."""
        writing = self._writing or self._closing
        return writing is not None and writing.writer is not None and writing.writer.dirty

    @property
    def leased(self) -> bool:
        """Whether this mount has the file's lease."""
        return self._writing is not None or self._closing is not None

    def notice(self, attributes: Attributes) -> None:
        """The file has these attributes now: forget what was known of an older state."""
        reading = self._reading
        if reading is not None and reading.file.attributes.change != attributes.change:
            self._drop_reading()

    async def refresh(self) -> int:
        """Ask for the file's attributes again; returns ``Attributes.change``."""
        handle = await self._cluster.open_for_reading(self.inode)
        change = handle.file.attributes.change
        reading = self._reading
        if not self.leased and (reading is None or reading.file.attributes.change != change):
            self._drop_reading()
            self._reading = handle
        return change

    async def stay(self) -> None:
        """Have the cluster keep the file while it is open here, even when its name is removed.
        Concurrent calls wait for the same reply; the next one asks again if the first was
        cancelled.
        """
        async with self._staying:
            if not self._stays:
                kept = self._writing is not None or self._reading is not None
                self._stays = await self._cluster.keep(self.inode, kept=kept)

    def adopt(self) -> None:
        """A former process has opened it, and the cluster keeps it for that."""
        self._stays = True

    async def outlast_name(self) -> None:
        """The name is about to be removed, or there is none: make sure that the cluster keeps the
        file."""
        if self._stays:
            await self._cluster.session.opens.tell(self.inode)

    def _leave(self) -> None:
        if self._stays:
            self._stays = False
            self._cluster.session.opens.close(self.inode)

    def begin_writing(self, handle: Handle) -> None:
        """Adopt a handle that came with a lease."""
        assert self._writing is None, "a file has one lease"
        self._hold(handle)

    # --- bytes ------------------------------------------------------------------------------

    def read_now(self, offset: int, into: memoryview) -> int:
        """As :meth:`read`, into ``into``, when nothing has to be awaited; else -1."""
        handle = self._writing or self._reading
        return -1 if handle is None else handle.read_now(offset, into)

    def views_now(self, offset: int, length: int) -> tuple[memoryview, ...] | None:
        """As :meth:`read_now`, where the bytes lie in memory of this host; None: copy them."""
        handle = self._writing or self._reading
        return None if handle is None else handle.views_now(offset, length)

    async def read(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset``, fewer only at the end."""
        while True:
            handle = await self._readable()
            try:
                return await handle.read(offset, length)
            except MemfsError:
                if handle in (self._writing, self._reading):
                    raise  # otherwise it was given up meanwhile: there is a newer one

    async def _readable(self) -> Handle:
        """A handle that sees everything written through this mount before."""
        while True:
            await self._until_published()
            handle = self._writing or self._reading
            if handle is not None:
                return handle
            leases = self._leases
            opened = await self._cluster.open_for_reading(self.inode)
            if self._reading is None and leases == self._leases:
                self._reading = opened
            else:  # it may be older than what is written now
                await opened.close()

    async def _until_published(self) -> None:
        while self._closing is not None:
            await self._published.wait()

    async def seek(self, offset: int, whence: int) -> int | None:
        """Where data, or a hole, begins from ``offset`` on; None: behind the end."""
        await self._until_published()
        handle = self._writing
        if handle is None:
            await self.refresh()
            handle = await self._readable()
        if offset >= handle.size:
            return None
        if whence == os.SEEK_DATA:
            return await handle.data_from(offset)
        return await handle.hole_from(offset)

    def write_now(self, offset: int | None, payload: Payload, *, lent: bool) -> bool:
        """As :meth:`write`, if nothing has to be awaited; False: nothing was done. The caller
        answers at once. ``lent``: the bytes are given back when they are not needed any more.
        """
        handle = self._writing
        if handle is None or self._lost is not None or self._changing.locked():
            return False
        if not self._kept.can_keep(payload):
            return False
        at = handle.size if offset is None else offset
        self._kept.note(payload, self.inode, at, answered=True)  # before it may be given back
        if not handle.write_now(at, payload.data, payload.lend() if lent else None):
            payload.lent = False
            self._kept.take_back(payload)
            return False
        self._changed(self.inode)
        self._stay()
        self._small &= handle.size <= handle.file.attributes.block_size
        return True

    async def write(self, offset: int | None, payload: Payload) -> int:
        """Write at ``offset``, None: at the end; the position after it.

        What cannot be kept for another worker is published.
        """
        async with self._changing:
            handle = await self._lease()
            at = handle.size if offset is None else offset
            keeps = self._kept.can_keep(payload)
            if keeps:
                self._kept.note(payload, self.inode, at)
            try:
                end = await self._keeping(handle.write(at, payload.data))
                self._small &= end <= handle.file.attributes.block_size
                if not keeps:
                    await self._keeping(handle.flush())
            except BaseException:
                self._kept.take_back(payload)
                raise
        return end

    async def write_again(self) -> None:
        """Write, and publish, what a former worker has kept. Raises LeaseHeldError at once.

        After an error it is kept on.
        """
        async with self._changing:
            with self._observed(self.inode) as change:
                handle = await self._cluster.open_for_writing(self.inode)
                try:
                    for each in self._kept.writes(self.inode):
                        await handle.write(each.offset, each.data)
                    await handle.flush()
                except BaseException:
                    with contextlib.suppress(MemfsError):
                        await handle.discard()
                    raise
                self._kept.forget(self.inode)
                await handle.close()  # somebody else may wait for the lease
                change.found = handle.file.attributes

    def lose(self, error: MemfsError) -> None:
        """What a former worker has kept cannot be written again: who publishes next hears it."""
        self._lost = error
        self._kept.forget(self.inode)

    async def truncate(self, size: int) -> Attributes:
        """Set the length, visibly for all."""
        async with self._changing:
            return await self._truncate(await self._lease(), size)

    async def _truncate(self, handle: Handle, size: int) -> Attributes:
        before = handle.file.attributes
        await self._keeping(handle.truncate(size))
        if handle.file.attributes is before:  # it was so long
            return await self._touch()
        return handle.file.attributes

    async def touch(self) -> None:
        """What a program did has changed no byte, but the time of the last change."""
        async with self._changing:
            if not self.dirty:
                await self._touch()

    async def _touch(self) -> Attributes:
        with self._observed(self.inode) as change:
            change.found = await self._cluster.touch(self.inode)
            return change.found

    async def zero(self, offset: int, length: int, *, grow: bool) -> None:
        """Let a range read as zeros; with ``grow`` the file ends behind it at least."""
        async with self._changing:
            handle = await self._lease()
            before = handle.file.attributes
            await self._keeping(handle.zero(offset, length, grow=grow))
            await self._keeping(handle.flush())  # only writes are kept for another worker
            if not self.dirty and handle.file.attributes is before:  # there was nothing
                await self._touch()

    async def copy_from(self, source: OpenInode, start: int, offset: int, length: int) -> int:
        """Copy a range of another file, or of this one, by the nodes; how many bytes."""
        if source is self:
            return await self._copy(None, start, offset, length)
        await source.publish()
        reading = await self._cluster.open_for_reading(source.inode)
        try:
            return await self._copy(reading, start, offset, length)
        finally:
            await reading.close()

    async def _copy(self, reading: Handle | None, start: int, offset: int, length: int) -> int:
        async with self._changing:
            handle = await self._lease()
            copying = handle.copy_range(reading or handle, start, offset, length)
            done = await self._keeping(copying)
            await self._keeping(handle.flush())  # only writes are kept for another worker
            self._small &= handle.size <= handle.file.attributes.block_size
        return done

    # --- publishing -------------------------------------------------------------------------

    async def publish(self) -> None:
        """Let everybody see what was written; the lease stays."""
        async with self._changing:
            self._tell_lost()
            if self._writing is not None:
                await self._keeping(self._writing.flush())

    async def settle(self) -> None:
        """As :meth:`publish`, for nobody: that something is lost is told to who publishes next."""
        async with self._changing:
            if self._lost is None and self._writing is not None:
                await self._keeping(self._writing.flush())

    async def publish_settled(self) -> None:
        """Publish what lies on nodes while it is written on."""
        if self._writing is not None:
            with self._observed(self.inode):
                await self._writing.publish_settled()

    async def publish_for_stat(self) -> None:
        """As :meth:`publish`, when attributes are asked for: a small file is probably complete."""
        await self._undisturbed(self._publish_for_stat())

    async def _publish_for_stat(self) -> None:
        async with self._changing:
            if self._small:
                await self._end_writing()
            elif self._writing is not None:
                await self._keeping(self._writing.flush())

    async def pass_on(self) -> None:
        """As :meth:`publish`; somebody else may want to write, soon."""
        await self.publish()
        if self._idle is not None:
            self._idle.cancel()
        self._changed_at -= IDLE_SECONDS
        self._idle = asyncio.get_running_loop().call_later(PASS_ON_SECONDS, self._look_idle)

    async def release(self) -> None:
        """Publish, and give the lease back."""
        await self._undisturbed(self._release())

    async def release_at_last(self) -> None:
        """As :meth:`release`, when the only open is probably closed next: nothing is told about
        that one, so that whoever makes many files does not pay for it.

        The kernel says the same when one of several descriptors is closed that were duplicated or
        inherited. Once another one has written on, the lease stays until the last is closed.
        """
        if self._goes_on:
            await self.publish()
            return
        self._ended = self._writing is not None
        await self._undisturbed(self._release(stays=self.opens > 1))

    def not_written(self) -> None:
        """The last open for writing is over."""
        self._ended = self._goes_on = False

    async def _release(self, *, stays: bool = True) -> None:
        async with self._changing:
            self._tell_lost()
            await self._end_writing(stays=stays)

    async def _undisturbed(self, work: Coro[None]) -> None:
        """Release the lease to the end even when the program that asked for it is killed meanwhile:
        what a program has written must not be lost with it."""
        task = asyncio.create_task(work)
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._tell_log)
            raise

    def _tell_log(self, done: asyncio.Task[None]) -> None:
        """An error that no caller sees is logged."""
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("what was written is lost: %s: %s", self, error)

    def close_now(self) -> bool:
        """As :meth:`close` when nothing has to be awaited; returns whether that was so."""
        ending = self._ending is not None and not self._ending.done()
        if self._writing is not None or self._lost is not None or ending or self._changing.locked():
            return False
        if self._idle is not None:
            self._idle.cancel()
        self._drop_reading()
        self._leave()
        return True

    async def close(self) -> None:
        """Close the file after its last descriptor, unless somebody opens it meanwhile."""
        if self._idle is not None:
            self._idle.cancel()
        try:
            await self.release()
        finally:
            if self.opens <= 0:
                self._drop_reading()
                self._leave()
            if self._ending is not None and self._ending is not asyncio.current_task():
                await asyncio.gather(self._ending, return_exceptions=True)

    # --- the lease --------------------------------------------------------------------------

    async def _lease(self) -> Handle:
        """The handle that may write."""
        if self._writing is None:
            self._hold(await self._wait_for_lease())
            self._goes_on |= self._ended
        assert self._writing is not None
        return self._writing

    async def empty(self) -> Attributes:
        """Empty it, as O_TRUNC does."""
        async with self._changing:
            if self._writing is not None:
                return await self._truncate(self._writing, 0)
            with self._observed(self.inode):
                handle = await self._patiently(lambda: self._cluster.empty(self.inode))
            self._hold(handle)
            return handle.file.attributes

    async def _wait_for_lease(self) -> Handle:
        return await self._patiently(lambda: self._cluster.open_for_writing(self.inode))

    async def _patiently(self, ask: Callable[[], Awaitable[Handle]]) -> Handle:
        """Ask for the lease until nobody else has it. Raises LeaseHeldError after a while."""
        loop = asyncio.get_running_loop()
        until = None if self._patience is None else loop.time() + self._patience
        pause = RETRY_SECONDS
        while True:
            try:
                return await ask()
            except LeaseHeldError:
                if until is not None and loop.time() + pause > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_SECONDS_MAX)

    def _hold(self, handle: Handle) -> None:
        self._writing = handle
        writer = handle.writer
        assert writer is not None, "a lease is for writing"
        size = writer.block_size
        writer.committed = lambda: self._kept.publish(self.inode, size, writer.pending)
        self._leases += 1
        self._small = True
        self._drop_reading()
        self._stay()

    def _stay(self) -> None:
        """The lease is in use."""
        loop = asyncio.get_running_loop()
        self._changed_at = loop.time()
        if self._idle is None:
            self._idle = loop.call_later(IDLE_SECONDS, self._look_idle)

    def _look_idle(self) -> None:
        """Release the lease when it was not used for a while."""
        self._idle = None
        if self._writing is None:
            return
        loop = asyncio.get_running_loop()
        left = self._changed_at + IDLE_SECONDS - loop.time()
        if left > 0 or self._changing.locked():
            self._idle = loop.call_later(max(left, 0.1), self._look_idle)
        else:
            self._ending = asyncio.create_task(self._end_idle())

    async def _end_idle(self) -> None:
        try:
            await self.release()
        except MemfsError as error:  # whoever writes or closes next hears it
            log.warning("%s is not published: %s", self, error)

    async def _keeping(self, work: Awaitable[T]) -> T:
        """Encloses the use of the lease. When it has ended or the writer has failed, the next use
        acquires another."""
        self._stay()
        before = self._writing.file.attributes if self._writing is not None else None
        with self._observed(self.inode) as change:
            done = await self._trying(work)
            writing = self._writing
            if writing is not None and not self.dirty:
                change.found = _told(writing, before)
            return done

    async def _trying(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except (LeaseLostError, StaleHandleError) as error:
            await self._give_up(error)
            raise
        except MemfsError as error:
            writing = self._writing
            if writing is not None and writing.writer is not None and writing.writer.failed:
                await self._give_up(error)
            raise

    async def _give_up(self, error: MemfsError) -> None:
        """What was written and not published is lost: the next call that publishes raises it."""
        lost, writing = self.dirty, self._writing
        self._writing = None
        self._kept.forget(self.inode)
        if lost:
            self._lost = error
        if writing is not None:
            with contextlib.suppress(MemfsError):
                await writing.discard()

    def _tell_lost(self) -> None:
        error, self._lost = self._lost, None
        if error is not None:
            raise error

    async def _end_writing(self, *, stays: bool = True) -> None:
        """Publish and release. Raises what publishing raises; the changes are lost then. A file
        that ``stays`` open is registered as open before the lease, which kept it so far, ends.
        """
        if stays and self._stays and self.opens > 0 and self._writing is not None:
            await self._cluster.session.opens.tell(self.inode)
        writing, self._writing = self._writing, None
        if writing is None:
            return
        self._closing = writing
        self._published.clear()
        try:
            with self._observed(self.inode) as change:
                before = writing.file.attributes
                await writing.close()
                change.found = _told(writing, before)
        finally:
            self._kept.forget(self.inode)
            self._closing = None
            self._published.set()

    def _drop_reading(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None and reading.quiet:
            reading.drop()
        elif reading is not None:
            task = asyncio.create_task(reading.close())
            task.add_done_callback(lambda _: None)

    def __repr__(self) -> str:
        return f"<inode {self.inode}, open {self.opens} times>"


def _told(handle: Handle, before: Attributes | None) -> Attributes | None:
    """The attributes that the cluster has returned for a file since ``before``; None: none. A
    handle's own attributes may be older than a change of mode by this mount."""
    found = handle.file.attributes
    return None if found is before else found
