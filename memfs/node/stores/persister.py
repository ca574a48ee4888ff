"""Writes changes to the stores: several files at a time, the changes of a name in order.

Runs on the primary, for one term. Owns the uploads under way and the times of retries. The intent
is in the log before anything is sent, and the completion after it, so that the next primary can
continue: an upload whose completion was lost is recognised by its size and CRC32C. Invariants: an
upload follows earlier deletions of the same name; an object that others have changed is never
replaced: both are kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

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
from memfs.protocol import messages as m
from memfs.quantities import counted
from memfs.stores.interface import ABSENT, Expected, ObjectInfo, Store
from memfs.transport.environment import Environment
from memfs.types import BlockRef, Buffer

log = logging.getLogger(__name__)

FILES_AT_ONCE: Final = 8
FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 60.0
READ_SECONDS: Final = 30.0
"""For a block on its way from the node that has it."""

Job: TypeAlias = int | tuple[int, bytes]
"""A changed slot, or the (mount, key) of what was deleted."""


class _FailedPersist(NamedTuple):
    """What went wrong with a job, and when it is tried again."""

    times: int
    due: float
    error: errors.MemfsError


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
        self._running: dict[Job, asyncio.Task[None]] = {}
        self._busy: dict[Job, tuple[int, bytes]] = {}
        """The names of what is running: one thing at a time happens to each."""
        self._failures: dict[Job, _FailedPersist] = {}
        self._urgent: set[Job] = set()
        self._done = asyncio.Event()

    # --- what is due -------------------------------------------------------------------------

    async def step(self) -> None:
        """Begin what is due, as far as there is room."""
        mounts = self._primary.namespace.volume.mounts
        if not mounts.changes and not mounts.tombstones:
            return
        try:
            await self._primary.settle()  # nothing is done outside that may be undone here
        except errors.MemfsError:
            return
        now = self._environment.clock.monotonic()
        jobs: Iterator[Job] = itertools.chain(mounts.tombstones, mounts.changes)
        for job in jobs:
            if len(self._running) >= FILES_AT_ONCE:
                return
            if job in self._running or not self._is_due(job, now):
                continue
            key = self._key_of(job)
            if key is not None and key not in self._busy.values():
                self._busy[job] = key
                task = self._running[job] = asyncio.ensure_future(self._attempt(job))
                task.add_done_callback(functools.partial(self._ended, job))

    def _key_of(self, job: Job) -> tuple[int, bytes] | None:
        """The name in a store that a job is about; None: it has none any more."""
        if isinstance(job, tuple):
            return job
        volume = self._primary.namespace.volume
        mount = volume.mounts.mount_of(volume.tree, job)
        key = volume.mounts.key_of(volume.tree, mount, job) if mount is not None else None
        return (mount.number, key) if mount is not None and key is not None else None

    def _is_due(self, job: Job, now: float) -> bool:
        failure = self._failures.get(job)
        if failure is not None and failure.due > now:
            return False
        volume = self._primary.namespace.volume
        if isinstance(job, tuple):
            return not self._has_tombstones_below(job)
        return job in self._urgent or job not in volume.sessions.writers

    def _has_tombstones_below(self, job: tuple[int, bytes]) -> bool:
        """A directory goes after what was in it."""
        tombstones = self._primary.namespace.volume.mounts.tombstones
        if not tombstones[job].directory:
            return False
        below = job[1] + b"/"
        return any(n == job[0] and key.startswith(below) for n, key in tombstones)

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        self._running.pop(job, None)
        self._busy.pop(job, None)
        if not task.cancelled():
            task.exception()
        self._done.set()

    async def _attempt(self, job: Job) -> None:
        try:
            if isinstance(job, tuple):
                await self._delete(job)
            else:
                await self._store(job)
        except (errors.NotPrimaryError, errors.StaleHandleError):
            return  # the next look decides anew
        except errors.MemfsError as error:
            times = self._failures[job].times + 1 if job in self._failures else 1
            wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(times - 1, 10))
            wait *= 0.75 + self._environment.random.random() / 2
            due = self._environment.clock.monotonic() + wait
            self._failures[job] = _FailedPersist(times, due, error)
            log.warning("not stored yet", extra=fields(job=str(job), reason=error.message))
        else:
            self._failures.pop(job, None)

    async def until_stored(self, jobs: list[Job]) -> None:
        """Return when the store has all of it. Raises the error of what failed meanwhile.

        What was on its way before is tried once more when it fails: it may have been asked with
        keys that were over then, say.
        """
        mounts = self._primary.namespace.volume.mounts
        before = {job for job in jobs if job in self._running}
        self._urgent.update(jobs)
        for job in jobs:
            self._failures.pop(job, None)
        try:
            while True:
                left = [job for job in jobs if job in mounts.changes or job in mounts.tombstones]
                if not left:
                    return
                for job in left:
                    failure = self._failures.get(job)
                    if failure is not None and job in before:
                        before.discard(job)
                        del self._failures[job]
                    elif failure is not None:
                        raise failure.error
                self._done.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await self._done.wait()
                self._check_term()
        finally:
            self._urgent.difference_update(jobs)

    def _check_term(self) -> None:
        if self._primary.ended:
            raise errors.OutcomeUnknownError("this node is the primary no more")

    def failures(self) -> dict[int, str]:
        """Why changes are not stored yet, by the number of their mount: of each the last reason."""
        mounts = self._primary.namespace.volume.mounts
        found: dict[int, str] = {}
        for job, failure in list(self._failures.items()):
            if job not in mounts.changes and job not in mounts.tombstones:
                del self._failures[job]  # there is nothing to store any more
            elif (key := self._key_of(job)) is not None:
                found[key[0]] = f"{failure.error.message} (tried {counted(failure.times, 'time')})"
        return found

    def stop(self) -> None:
        """The term is over: what is on its way is given up."""
        for task in list(self._running.values()):
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
        if self._must_wait(mount, raw):
            return
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
        if self._key_of(slot) != (mount.number, raw) or volume.tree.inodes.slot_of(inode) != slot:
            return  # it has another name: what was sent is under the old one, and buried there
        self._note_stored(mount.number, raw)
        await self._primary.run_own(m.EndPersist(inode, change.version, info.tag, info.modified_ns))
        self._stores.traffic(record.number).persisted_bytes += upload.size
        if record.mode == m.MountMode.PROXY:
            await self._give_up(inode)

    def _must_wait(self, mount: MountPoint, key: bytes) -> bool:
        """Is a deletion of the same name, or of one above it, still to come first?"""
        tombstones = self._primary.namespace.volume.mounts.tombstones
        if not tombstones:
            return False
        parts = key.split(b"/")
        return any(
            (mount.number, b"/".join(parts[:count])) in tombstones
            for count in range(1, len(parts) + 1)
        )

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
            return await store.put(upload.key, self._content(upload), upload.size, ABSENT)
        ours = (upload.size, upload.crc)
        for attempt in (ours, *attempts):
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
