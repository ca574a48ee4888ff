"""Requests that concern mounts: look-ups before them, persisting after them.

Owns the look-ups and the persister of the primary's term. Where nothing is mounted a request costs
one check.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias, cast

from memfs import errors
from memfs.concurrency import with_rests
from memfs.node.namespace.mount_queries import path_of
from memfs.node.namespace.rules.mounted import not_mounted
from memfs.node.namespace.rules.refusals import not_superuser, text
from memfs.node.namespace.tables.inodes import DIRECTORY, FILE
from memfs.node.namespace.tables.unsaved import Unsaved
from memfs.node.replication.primary import Primary
from memfs.node.replication.role import NamespaceRole
from memfs.node.stores.metadata import Metadata, resolved
from memfs.node.stores.opened import OpenStores
from memfs.node.stores.persist_queue import Job
from memfs.node.stores.persister import Persister
from memfs.node.stores.relief import Relief
from memfs.node.tasks import set_aside
from memfs.protocol import messages as m
from memfs.quantities import counted
from memfs.stores.interface import Store
from memfs.stores.options import masked_url, refuse_secrets
from memfs.stores.retry import answered_within
from memfs.transport.server import IncomingCall, Served

STEP_SECONDS: Final = 0.02
WATCHERS_SECONDS: Final = 1.0
"""The shortest time for which clients that cache names believe what a store said."""
PROBE_SECONDS: Final = 8.0
"""What is mounted has to answer within this time: a few tries at a store that is busy."""
INODES_AT_ONCE: Final = 5000
NAMES_AT_ONCE: Final = 500
BelowPath: TypeAlias = m.SyncMetadata | m.PersistFiles | m.FreeFiles | m.Pin
"""Requests about all that is below a path."""
_SYNCED: Final = (m.MountMode.DUAL_SYNC, m.MountMode.PROXY)


class _Term(NamedTuple):
    """What belongs to one term of this node as the primary."""

    primary: Primary
    metadata: Metadata
    persister: Persister
    relief: Relief


class MountService:
    """Handles requests about mounts, and wraps those that touch files below them."""

    def __init__(self, role: NamespaceRole, stores: OpenStores) -> None:
        """Idle on nodes that are not the primary, and where nothing is mounted."""
        self._role = role
        self._stores = stores
        self._told: dict[int, float] = {}
        """When clients that cache were told to ask anew, by mount."""
        self._term: _Term | None = None

    # --- the term ----------------------------------------------------------------------------

    def _of(self, primary: Primary) -> _Term:
        """What belongs to this term of this node."""
        if self._term is None or self._term.primary is not primary:
            if self._term is not None:
                self._term.persister.stop()
            membership = self._role.membership
            environment = membership.environment
            metadata = Metadata(primary, self._stores, environment)
            persister = Persister(
                primary, membership, self._stores, environment, metadata.note_stored
            )
            self._term = _Term(primary, metadata, persister, Relief(primary, membership))
        return self._term

    @property
    def metadata(self) -> Metadata:
        """The questions of the present term. Raises NotPrimaryError."""
        return self._of(self._role.primary).metadata

    @property
    def persister(self) -> Persister:
        """The persister of the present term. Raises NotPrimaryError."""
        return self._of(self._role.primary).persister

    async def run(self) -> None:
        """Bring changes to the stores while this node is the primary, forever."""
        while True:
            if self._role.leads and self._role.primary.namespace.volume.mounts:
                with contextlib.suppress(errors.ClusterError):
                    term = self._of(self._role.primary)
                    await term.persister.step()
                    await term.relief.step()
                    self._have_watchers_ask()
                    await term.persister.rest(STEP_SECONDS)
                    continue
                await asyncio.sleep(STEP_SECONDS)
            else:
                if self._term is not None and not self._role.leads:
                    self._term.persister.stop()
                    self._term = None
                await asyncio.sleep(0.2)

    def unsaved(self) -> dict[str, Unsaved]:
        """What the stores lack, by the path of the mount; nothing on nodes that do not lead."""
        if not self._role.leads:
            return {}
        volume = self._role.primary.namespace.volume
        unsaved = volume.mounts.unsaved
        return {
            text(path_of(volume, mount.slot)): unsaved.of(mount.number)
            for mount in volume.mounts.by_slot.values()
        }

    def _have_watchers_ask(self) -> None:
        """Tell clients that cache names to ask anew once a mount's sync interval is over."""
        primary, now = self._role.primary, self._role.membership.environment.clock.monotonic()
        volume, due = primary.namespace.volume, set()
        for mount in volume.mounts.by_slot.values():
            seconds = max(mount.sync_ms / 1000, WATCHERS_SECONDS)
            if mount.sync_ms >= 0 and now - self._told.get(mount.number, 0.0) >= seconds:
                self._told[mount.number] = now
                due.add(mount.number)
        if not due or not primary.caches:
            return
        stale = []
        for inode in primary.caches.held():
            found = volume.mounts.mount_of(volume.tree, volume.tree.inodes.slot_of(inode))
            if found is not None and found.number in due:
                stale.append(inode)
        set_aside(primary.caches.change(0, stale))

    # --- around requests ---------------------------------------------------------------------

    def concerns(self, call: IncomingCall[object]) -> bool:
        """May the request be about what a store has? It is one look where nothing is mounted."""
        namespace = self._role.namespace
        return (
            namespace is not None
            and bool(namespace.volume.mounts)
            and 64 <= call.spec.opcode < 192
            and not call.spec.peer
            and self._role.leads
        )

    def around(
        self, call: IncomingCall[object], handler: Callable[[IncomingCall[object]], object]
    ) -> object:
        """Carry out a request after its look-ups, and answer as the mount's write mode requires.

        ``handler`` answers with a record or a future.
        """
        metadata = self.metadata
        wanted, bound = metadata.lacks(call.request)
        if isinstance(call.request, m.List) and (wanted is not None or bound is not None):

            async def show() -> m.ListReply:
                reply: m.ListReply = await resolved(cast(Any, handler(call)))
                return reply

            return asyncio.ensure_future(metadata.page(call.request, show))
        if wanted is not None:
            return asyncio.ensure_future(self._later(metadata, call, handler))
        answer, waits = self._carry_out(call, handler)
        return answer if not waits else asyncio.ensure_future(self._when_stored(answer, waits))

    async def _later(
        self,
        metadata: Metadata,
        call: IncomingCall[object],
        handler: Callable[[IncomingCall[object]], object],
    ) -> object:
        await metadata.prepare(call.request)
        return await self._when_stored(*self._carry_out(call, handler))

    def _carry_out(
        self, call: IncomingCall[object], handler: Callable[[IncomingCall[object]], object]
    ) -> tuple[object, list[Job]]:
        """The answer, and what must be stored before it is given."""
        if not call.spec.command:
            return handler(call), []
        namespace = self._role.primary.namespace
        mounts = namespace.volume.mounts
        again = namespace.has_answered(call.connection.peer.client, call.header.request_id)
        answer = handler(call)
        if isinstance(call.request, m.AdoptDraft):
            return answer, []  # the store has these bytes
        if not again:
            return answer, self._synced(mounts.recent)
        # Its first answer was lost, with another primary perhaps: what it changed may not be
        # stored, and is among what is not.
        if isinstance(call.request, m.Commit):
            slot = namespace.volume.tree.inodes.slot_of(call.request.inode)
            return answer, self._synced([slot] if slot in mounts.changes else [])
        return answer, self._synced([*mounts.changes, *mounts.tombstones])

    def _synced(self, changes: Iterable[Job]) -> list[Job]:
        """Those of some changes that must be stored before they are acknowledged."""
        volume = self._role.primary.namespace.volume
        found: list[Job] = []
        for changed in changes:
            if isinstance(changed, tuple):
                mount = volume.mounts.by_number(changed[0])
            else:
                mount = volume.mounts.mount_of(volume.tree, changed)
            if mount is None or mount.mode not in _SYNCED:
                continue
            if not isinstance(changed, tuple):
                change = volume.mounts.changes.get(changed)
                if change is None or (changed in volume.sessions.writers and not change.version):
                    continue
                empty = volume.tree.inodes.kind[changed] != DIRECTORY and (
                    changed in volume.sessions.writers and not volume.tree.inodes.size[changed]
                )
                if empty:
                    continue  # it was just created: what is written comes with a commit
            found.append(changed)
        return found

    async def _when_stored(self, answer: object, waits: list[Job]) -> object:
        record = await resolved(answer)
        if waits:
            await self._stored(waits)
        return record

    async def _stored(self, waits: list[Job]) -> None:
        """Return when a store has these changes. Raises what it said of one that it does not take,
        and that they are kept."""
        try:
            await self.persister.until_stored(waits)
        except (errors.NotPrimaryError, errors.OutcomeUnknownError):
            raise
        except errors.MemfsError as error:
            left = sum(map(self.persister.is_unsaved, waits))
            raise type(error)(
                f"{error.message}; {counted(left, 'change is', 'changes are')} not stored yet, "
                "kept, and tried again in the background"
            ) from error

    # --- requests about mounts ---------------------------------------------------------------

    async def mount(
        self,
        call: IncomingCall[m.Mount],
        submit: Callable[[IncomingCall[m.Mount]], m.MountRecord | Awaitable[m.MountRecord]],
    ) -> m.MountRecord:
        """Ask the store one question before it is mounted, so that what is wrong is said now."""
        request, caller = call.request, call.connection.peer.identity
        url = request.url
        if not (found := self._role.primary.namespace.caller(caller)).superuser:
            raise not_superuser(found)  # before a node asks an address, or opens a file, for them
        refuse_secrets(url, {option.name: option.value for option in request.options})
        if request.update:
            url = (await self._mounted(request.path)).url
        store = self._stores.make(url, request.options)
        try:
            if not request.read_only and not store.capabilities.writable:
                raise errors.InvalidArgumentError(
                    f"{url} can only be read: mount it read-only (--read-only)"
                )
            await self._answers(url, store)
        finally:
            await store.close()
        record = await resolved(submit(call))
        self.metadata.known.clear()
        return record

    async def _answers(self, url: str, store: Store) -> None:
        """Return when a store has answered. Raises what it said; nobody waits long for that."""
        try:
            async with asyncio.timeout(PROBE_SECONDS + 1):  # a directory's thread may hang
                with answered_within(PROBE_SECONDS):
                    await store.probe()
        except TimeoutError:
            raise errors.StoreUnreachableError(
                f"{masked_url(url)} does not answer within {PROBE_SECONDS:g} s"
            ) from None
        except errors.NotDirectoryError:
            raise errors.InvalidArgumentError(f"{masked_url(url)} is no directory") from None
        except errors.ObjectMissingError as error:
            raise errors.ObjectMissingError(f"{masked_url(url)}: {error.message}") from None

    async def _mounted(self, path: bytes) -> m.MountRecord:
        volume = self._role.primary.namespace.volume
        for mount in volume.mounts.by_slot.values():
            record = self.metadata.record(mount)
            if record.path.rstrip(b"/") == path.rstrip(b"/"):
                return record
        raise not_mounted(path)

    def list_mounts(
        self,
        call: IncomingCall[m.ListMounts],
        query: Callable[[IncomingCall[m.ListMounts]], m.MountsReply | Awaitable[m.MountsReply]],
    ) -> Served[m.MountsReply]:
        """All mounts, with what is wrong with their stores as this node saw it."""
        answer, fresh = query(call), call.request.fresh
        if isinstance(answer, m.MountsReply) and not fresh:
            return self._with_trouble(answer)
        return asyncio.ensure_future(self._list_later(answer, fresh=fresh))

    async def _list_later(
        self, answer: m.MountsReply | Awaitable[m.MountsReply], *, fresh: bool
    ) -> m.MountsReply:
        reply: m.MountsReply = await resolved(answer)
        if fresh:
            await self._stores.look(reply.mounts)
        return self._with_trouble(reply)

    def _with_trouble(self, reply: m.MountsReply) -> m.MountsReply:
        trouble = self._stores.trouble
        if self._role.leads:
            trouble = self.persister.failures() | trouble
        return reply._replace(
            mounts=tuple([r._replace(trouble=trouble.get(r.number, "")) for r in reply.mounts])
        )

    async def sync_metadata(self, call: IncomingCall[m.SyncMetadata]) -> m.StoreReport:
        """Ask anew about all that is known below a path. Raises when it is not there (any more)."""
        request = call.request
        metadata, before = self.metadata, self.metadata.asked
        metadata.known.clear()
        await metadata.prepare(m.Summarise(request.path, base=request.base))
        await self._slot(call)
        return m.StoreReport(metadata.asked - before)

    async def persist(self, call: IncomingCall[m.PersistFiles]) -> m.StoreReport:
        """Return when the store has what was changed below a path.

        Raises what the store said of a change that it does not take. That one is kept, and tried
        again in the background, as all that are left are.
        """
        waits = await self._below(call)
        await self._stored(waits)
        return m.StoreReport(len(waits))

    async def _below(self, call: IncomingCall[m.PersistFiles]) -> list[Job]:
        """Changed slots and deleted keys below a path of a request, which its caller may see."""
        primary = self._role.primary
        volume = primary.namespace.volume
        slot = await self._slot(call)
        mounts, found = volume.mounts, list[Job]()
        async for changed in with_rests(mounts.changes.from_slot()):
            if changed in mounts.changes and volume.tree.has_ancestor(changed, slot):
                found.append(changed)
        mount = mounts.mount_of(volume.tree, slot)
        async for number, key in with_rests(mounts.tombstones.in_order()):
            other = mounts.by_number(number)
            if other is mount or (other and volume.tree.has_ancestor(other.slot, slot)):
                found.append((number, key))
        return found

    async def _slot(self, call: IncomingCall[BelowPath]) -> int:
        """Where a request's path leads, once that is sure to stay so. Raises PathNotFoundError."""
        request, primary = call.request, self._role.primary
        question = m.Lookup(request.path, base=request.base)
        reply = await resolved(primary.query(call.connection.peer.identity, question))
        slot = primary.namespace.volume.tree.inodes.slot_of(reply.attributes.inode)
        if not slot:
            raise errors.PathNotFoundError("it was removed meanwhile", path=text(request.path))
        return slot

    async def free(self, call: IncomingCall[m.FreeFiles]) -> m.StoreReport:
        """Drop the cluster's copies of what the store has as well, below a path."""
        primary = self._role.primary
        volume, slot = primary.namespace.volume, await self._slot(call)
        inodes = volume.tree.inodes
        files = [
            m.ChangeVersion(inodes.id_of(s), inodes.change[s])
            async for s in with_rests(volume.mounts.resident.from_slot())
            if s in volume.mounts.resident and (s == slot or volume.tree.has_ancestor(s, slot))
        ]
        cached = [
            inodes.id_of(s)
            async for s in with_rests(self._files_below(slot))
            if volume.mounts.is_external(s)
        ]
        size = sum(inodes.size[inodes.slot_of(each.inode)] for each in files)
        for first in range(0, len(files), 1000):
            await primary.run_own(m.EvictFiles(tuple(files[first : first + 1000])))
        size += sum(inodes.size[inodes.slot_of(inode)] for inode in cached)
        await self._tell(cached, drop=True)
        return m.StoreReport(len(files) + len(cached), size=size)

    def _files_below(self, top: int) -> Iterator[int]:
        """Files that are known below a slot, or are it. Others may come and go meanwhile; they are
        seen or not."""
        tree = self._role.primary.namespace.volume.tree
        kinds, directories = tree.inodes.kind, [top]
        if kinds[top] == FILE:
            yield top
        while directories:
            slot, after = directories.pop(), b""
            while kinds[slot] == DIRECTORY:
                page = list(itertools.islice(tree.directory(slot).after(after), NAMES_AT_ONCE))
                for _, child in page:
                    if kinds[child] == DIRECTORY:
                        directories.append(child)
                    elif kinds[child] == FILE:
                        yield child
                if len(page) < NAMES_AT_ONCE:
                    break
                after = page[-1][0]

    async def pin(
        self,
        call: IncomingCall[m.Pin],
        submit: Callable[[IncomingCall[m.Pin]], m.Empty | Awaitable[m.Empty]],
    ) -> m.Empty:
        """Put a pin on record, and tell it to the nodes that have blocks already."""
        slot = await self._slot(call)
        reply = await resolved(submit(call))
        volume = self._role.primary.namespace.volume
        by_time: dict[int | None, list[int]] = {}
        async for each in with_rests(self._files_below(slot)):
            until = volume.mounts.pinned_until(volume.tree, each)
            by_time.setdefault(until, []).append(volume.tree.inodes.id_of(each))
        for until, inodes in by_time.items():
            await self._tell(inodes, pinned_until_ns=until)
        return reply

    async def _tell(
        self, inodes: list[int], *, drop: bool = False, pinned_until_ns: int | None = None
    ) -> None:
        """Tell all members; one that cannot be reached has lost what it had, or learns it later."""
        membership = self._role.membership
        view = membership.view
        for first in range(0, len(inodes), INODES_AT_ONCE):
            part = tuple(inodes[first : first + INODES_AT_ONCE])
            for member in view.members:
                with contextlib.suppress(errors.MemfsError):
                    await membership.ask(member, m.TellObjects(part, drop, pinned_until_ns))
