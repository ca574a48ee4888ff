"""Writes changes to the stores: several files at a time, the changes of a name in order.

Runs on the primary, for one term. Owns the uploads under way; ``persist_queue`` says what is next.
The intent is in the log before anything is sent, and the completion after it, so that the next
primary can continue: an upload whose completion was lost is recognised by its size and CRC32C.
Invariant: an object that others have changed is never replaced: both are kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple

from memfs import errors
from memfs.checksum import combine, crc32c, crc_of_zeros
from memfs.logs import fields
from memfs.node.membership.members import Membership
from memfs.node.namespace.commands.mounts import record_of
from memfs.node.namespace.mount_queries import path_of
from memfs.node.namespace.tables.inodes import DIRECTORY
from memfs.node.namespace.tables.mounts import MountPoint
from memfs.node.replication.primary import Primary
from memfs.node.stores.opened import OpenStores
from memfs.node.stores.persist_queue import Job, PersistQueue
from memfs.protocol import messages as m
from memfs.stores.interface import ABSENT, Expected, ObjectInfo, Store
from memfs.transport.environment import Environment
from memfs.types import BlockRef, Buffer

log = logging.getLogger(__name__)

JOBS_WAITED_FOR: Final = 1000
"""By one waiter at a time: those of a large request follow one another."""
READ_SECONDS: Final = 30.0
"""For a block on its way from the node that has it."""


class _Upload(NamedTuple):
    """One content of a file, to be sent."""

    inode: int
    version: int
    key: str
    size: int
    crc: int
    block_size: int
    blocks: tuple[BlockRef, ...]


class Persister:
    """The changes of one term on their way."""

    def __init__(
        self,
        primary: Primary,
        membership: Membership,
        stores: OpenStores,
        environment: Environment,
        note_stored: Callable[[int, bytes], None],
    ) -> None:
        """``note_stored`` is called with a mount's key right before its change counts as stored."""
        self._primary = primary
        self._membership = membership
        self._stores = stores
        self._environment = environment
        self._note_stored = note_stored
        self._queue = PersistQueue(primary.namespace.volume)
        self._tasks: dict[Job, asyncio.Task[errors.MemfsError | None]] = {}
        self._ended = asyncio.Event()
        """Something else can be begun."""

    # --- what is due -------------------------------------------------------------------------

    async def step(self) -> None:
        """Begin what is due, as far as there is room."""
        mounts = self._primary.namespace.volume.mounts
        self._ended.clear()
        if not mounts.changes and not mounts.tombstones:
            return
        try:
            await self._primary.settle()  # nothing is done outside that may be undone here
        except errors.MemfsError:
            return
        for job in self._queue.begin(self._environment.clock.monotonic()):
            task = self._tasks[job] = asyncio.ensure_future(self._attempt(job))
            task.add_done_callback(functools.partial(self._end, job))

    async def rest(self, seconds: float) -> None:
        """Return after so many seconds, sooner when something else can be begun."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    async def _attempt(self, job: Job) -> errors.MemfsError | None:
        """Bring one change to its store; returns why that failed."""
        try:
            if isinstance(job, tuple):
                await self._delete(job)
            else:
                await self._store(job)
        except (errors.NotPrimaryError, errors.StaleHandleError):
            return None  # the next look decides anew
        except errors.MemfsError as error:
            log.warning("not stored yet", extra=fields(job=str(job), reason=error.message))
            return error
        return None

    def _end(self, job: Job, task: asyncio.Task[errors.MemfsError | None]) -> None:
        del self._tasks[job]
        error: errors.MemfsError | None = None
        if not task.cancelled() and (broken := task.exception()) is not None:
            log.error("storing failed", extra=fields(job=str(job)), exc_info=broken)
            error = errors.InternalError(str(broken))
        elif not task.cancelled():
            error = task.result()
        spread = 0.75 + self._environment.random.random() / 2
        if self._queue.ended(job, error, self._environment.clock.monotonic(), spread):
            self._ended.set()

    async def until_stored(self, jobs: list[Job]) -> None:
        """Return when the stores have all of it. Raises the error of what failed meanwhile.

        What was on its way before is tried once more when it fails: it may have been asked with
        keys that were over then, say.
        """
        for first in range(0, len(jobs), JOBS_WAITED_FOR):
            await self._until_stored(jobs[first : first + JOBS_WAITED_FOR])

    async def _until_stored(self, jobs: list[Job]) -> None:
        queue = self._queue
        waiter = queue.wait_for(jobs)
        queue.look_at(waiter)
        self._ended.set()
        try:
            while waiter.left:
                waiter.changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await waiter.changed.wait()
                self._check_term()
                if waiter.error is not None:
                    raise waiter.error
                queue.look_at(waiter)
        finally:
            queue.forget(waiter, jobs)

    def _check_term(self) -> None:
        if self._primary.ended:
            raise errors.OutcomeUnknownError("this node is the primary no more")

    def is_unsaved(self, job: Job) -> bool:
        """Does the store lack it still?"""
        return self._queue.is_unsaved(job)

    def failures(self) -> dict[int, str]:
        """Why changes are not stored yet, by the number of their mount: of each the last reason."""
        return self._queue.failures()

    def stop(self) -> None:
        """The term is over: what is on its way is given up."""
        for task in list(self._tasks.values()):
            task.cancel()

    # --- one deletion ------------------------------------------------------------------------

    async def _delete(self, job: tuple[int, bytes]) -> None:
        volume = self._primary.namespace.volume
        number, raw = job
        tombstone, mount = volume.mounts.tombstones.get(job), volume.mounts.by_number(number)
        if tombstone is None or mount is None:
            return
        record, store = self._store_of(mount)
        key = raw.decode("utf-8")
        with self._stores.watching(record):
            try:
                if tombstone.directory:
                    await store.remove_directory(key)
                else:
                    await self._delete_object(store, key, tombstone.tag)
            except (errors.ObjectMissingError, errors.DirectoryNotEmptyError):
                pass
            except errors.StoreConflictError:
                self._stores.traffic(number).conflicts += 1
                log.warning(
                    "deleted here and changed in the store: it stays there",
                    extra=fields(url=mount.url, key=key),
                )
        self._note_stored(number, raw)
        await self._primary.run_own(m.BuryObject(number, raw, tombstone.version))

    async def _delete_object(self, store: Store, key: str, tag: bytes | None) -> None:
        """Delete one version: a late request must not delete what was written since."""
        if tag is None:
            found = await store.stat(key)
            if found is None or found.is_directory:
                return
            tag = found.tag
        await store.delete(key, tag)

    # --- one file or directory ---------------------------------------------------------------

    async def _store(self, slot: int) -> None:
        volume = self._primary.namespace.volume
        mount = volume.mounts.mount_of(volume.tree, slot)
        change = volume.mounts.changes.get(slot)
        raw = volume.mounts.key_of(volume.tree, mount, slot) if mount is not None else None
        if mount is None or change is None or raw is None:
            return
        if self._queue.follows_deletion((mount.number, raw)):
            return  # deleted and made anew since this was begun
        record, store = self._store_of(mount)
        inode, key = volume.tree.inodes.id_of(slot), raw.decode("utf-8")
        if volume.tree.inodes.kind[slot] == DIRECTORY:
            with self._stores.watching(record):
                await store.make_directory(key)
            self._note_stored(mount.number, raw)
            await self._primary.run_own(m.EndPersist(inode, change.version, b"", 0))
            return
        upload = self._upload(slot, key, change.version)
        await self._primary.run_own(m.BeginPersist(inode, change.version, upload.size, upload.crc))
        tag = volume.mounts.tags.get(slot)
        with self._stores.watching(record):
            info = await self._put(store, upload, ABSENT if tag is None else tag, change.attempts)
        if info is None:
            self._stores.traffic(record.number).conflicts += 1
            return
        is_same = volume.tree.inodes.slot_of(inode) == slot
        if not is_same or self._queue.key_of(slot) != (mount.number, raw):
            return  # it has another name: what was sent is under the old one, and buried there
        self._note_stored(mount.number, raw)
        await self._primary.run_own(m.EndPersist(inode, change.version, info.tag, info.modified_ns))
        self._stores.traffic(record.number).persisted_bytes += upload.size
        if record.mode == m.MountMode.PROXY:
            await self._give_up(inode)

    async def _give_up(self, inode: int) -> None:
        """Nothing is kept of a file that passes through."""
        inodes = self._primary.namespace.volume.tree.inodes
        version = m.ChangeVersion(inode, inodes.change[inodes.slot_of(inode)])
        await self._primary.run_own(m.EvictFiles((version,)))

    def _upload(self, slot: int, key: str, version: int) -> _Upload:
        volume = self._primary.namespace.volume
        inodes = volume.tree.inodes
        size = inodes.size[slot]
        block_size = volume.tree.layouts.values[inodes.layout[slot]][0]
        blocks = volume.blocks.refs(slot, 0, volume.block_count(slot))
        crc, at = 0, 0
        for position, ref in enumerate(blocks):
            end = min(size, (position + 1) * block_size)
            stored = min(ref.length, end - at)
            crc = combine(crc, ref.crc if stored == ref.length else 0, stored)
            crc = combine(crc, crc_of_zeros(end - at - stored), end - at - stored)
            at = end
        return _Upload(inodes.id_of(slot), version, key, size, crc, block_size, blocks)

    async def _put(
        self,
        store: Store,
        upload: _Upload,
        expected: Expected,
        attempts: tuple[tuple[int, int], ...],
    ) -> ObjectInfo | None:
        """Send it; None: the store has another one's object, and both are kept."""
        try:
            return await store.put(upload.key, self._content(upload), upload.size, expected)
        except errors.StoreConflictError:
            found = await store.stat(upload.key)
        if found is None:  # it was deleted there: ours is what is left
            try:
                return await store.put(upload.key, self._content(upload), upload.size, ABSENT)
            except errors.StoreConflictError:
                if await store.stat(upload.key) is not None:
                    raise  # made meanwhile: the next attempt compares it
            await self._keep_both(store, upload)  # a broken link, say, which no list shows
            return None
        ours = (upload.size, upload.crc)
        for attempt in () if found.is_directory else (ours, *attempts):
            if found.size == attempt[0] and await self._is(store, upload.key, found, attempt):
                if attempt == ours:
                    return found
                return await store.put(upload.key, self._content(upload), upload.size, found.tag)
        await self._keep_both(store, upload)
        return None

    async def _is(self, store: Store, key: str, info: ObjectInfo, attempt: tuple[int, int]) -> bool:
        """Is the object one that this cluster has sent?"""
        crc, at, step = 0, 0, 4 << 20
        while at < info.size:
            data = await store.read(key, at, min(step, info.size - at), info.tag)
            crc = combine(crc, crc32c(data), len(data))
            at += len(data)
        return crc == attempt[1]

    async def _keep_both(self, store: Store, upload: _Upload) -> None:
        """Others have changed the object: store ours beside it, under a name that says so."""
        self._check_current(upload)
        directory, slash, name = upload.key.rpartition("/")
        aside = f"{name[:200]}.conflict-{upload.inode:x}-{upload.version}"
        key = directory + slash + aside
        info = await store.put(key, self._content(upload), upload.size, None)
        try:
            await self._primary.run_own(
                m.SetAside(upload.inode, upload.version, aside.encode(), info.tag)
            )
        except errors.StaleHandleError:
            await store.delete(key, info.tag)
            raise
        log.error(
            "changed here and in the store: both are kept",
            extra=fields(key=upload.key, kept_as=aside),
        )

    def _check_current(self, upload: _Upload) -> None:
        """Raise StaleHandleError when the file was changed again, or is gone."""
        volume = self._primary.namespace.volume
        change = volume.mounts.changes.get(volume.tree.inodes.slot_of(upload.inode))
        if change is None or change.version != upload.version:
            raise errors.StaleHandleError("the file has changed since, or is gone")

    async def _content(self, upload: _Upload) -> AsyncIterator[Buffer]:
        """The file's bytes, block by block, holes as zeros."""
        for position, ref in enumerate(upload.blocks):
            length = min(upload.block_size, upload.size - position * upload.block_size)
            stored = min(ref.length, length)
            if stored:
                yield await self._block(ref, stored)
            if stored < length:
                yield bytes(length - stored)

    async def _block(self, ref: BlockRef, length: int) -> Buffer:
        """A block from whichever node answers."""
        last: errors.MemfsError = errors.UnavailableError("no live node holds a copy")
        mine = self._membership.number
        for number in sorted(ref.replicas, key=lambda number: number != mine):
            try:
                request = m.ReadBlock(*ref.version, 0, length)
                answer = await self._membership.call(number, request, READ_SECONDS, bulk=True)
            except errors.MemfsError as error:
                last = error
                continue
            expected = ref.crc if length == ref.length else answer.record.crc
            if len(answer.payload) == length and crc32c(answer.payload) == expected:
                payload: Buffer = answer.payload
                return payload
            last = errors.CorruptBlockError(f"block {ref.index} arrived damaged")
        raise last

    # --- the log and the stores --------------------------------------------------------------

    def _store_of(self, mount: MountPoint) -> tuple[m.MountRecord, Store]:
        volume = self._primary.namespace.volume
        record = record_of(mount, path_of(volume, mount.slot))
        return record, self._stores.adopt(record)
