"""The journal of a node: its two logs, and the tasks that maintain them.

Owns the directory, the namespace's log, the blocks' log, and the tasks that write them, take
snapshots and compact. Knows neither the view nor requests: the node says which member it is and
asks whether something is durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from memfs.errors import ConfigError, MemfsError, NoSpaceError
from memfs.limits import MIB
from memfs.logs import fields
from memfs.node.blocks import BlockStore
from memfs.node.journal.block_log import BlockLog
from memfs.node.journal.loading import JournalLoader
from memfs.node.journal.namespace_log import NamespaceLog, Recovered
from memfs.node.journal.ownership import JournalDirectory, JournalOwner
from memfs.node.namespace import Namespace
from memfs.transport.environment import Environment

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS: Final = 1.0
BEGIN_SECONDS: Final = 10.0
"""Between attempts to begin anew: each costs a copy of the namespace."""
LAG_BYTES: Final = 256 * MIB
"""Most bytes by which a log that nobody waits for may lag behind memory. Beyond that, to begin anew
with a snapshot is cheaper than to catch up."""


class NamespaceHolder(Protocol):
    """Whose namespace is journaled."""

    @property
    def namespace(self) -> Namespace | None:
        """The one that the node holds now."""

    @property
    def is_journaled(self) -> bool:
        """Do acknowledgements wait for the journal? If not it may lag, and be begun again."""


class Journal:
    """What a node keeps on its disk."""

    def __init__(
        self,
        environment: Environment,
        directory: str,
        *,
        name: str,
        store: BlockStore,
        segment_bytes: int,
        ratio: float,
        keep_blocks: bool,
    ) -> None:
        """``store`` holds the blocks that are journaled if ``keep_blocks``."""
        self.directory = JournalDirectory(environment.disk, directory)
        self.log: NamespaceLog | None = None
        """None before the cluster is known."""
        self.blocks: BlockLog | None = None
        self.keeps_blocks = keep_blocks
        self.loader: JournalLoader | None = None
        self.loading = keep_blocks
        """No block may be taken yet: it is not known whose the journal is, nobody would write the
        block there, or those from there are still on their way into memory."""
        self.recovered: Recovered | None = None
        """What was found at the start, until somebody takes it or another namespace begins."""
        self.followers: list[Callable[[], None]] = []
        """Called when more of the namespace's log is durable."""
        self._environment = environment
        self._name = name
        self._store = store
        self._segment_bytes = segment_bytes
        self._ratio = ratio
        self._tasks: list[asyncio.Task[None]] = []
        self._begin_at = 0.0
        self._closing = asyncio.Event()
        self._started = asyncio.Event()

    @property
    def owner(self) -> JournalOwner | None:
        """The member that the journal belongs to."""
        return self.directory.owner

    # --- the beginning -----------------------------------------------------------------------

    async def open(self) -> None:
        """Take the directory, recover the namespace, find the blocks.

        Raises ConfigError (in use, unusable), DataLossError (damaged).
        """
        try:
            await self._environment.disk.run(self.directory.open)
            if self.owner is not None:
                await self._recover(self.owner.cluster)
        except MemfsError:
            raise
        except OSError as error:
            raise ConfigError(
                f"journal: {self.directory.path} cannot be used: {error.strerror}"
            ) from error

    async def _recover(self, cluster: str) -> None:
        self._make_logs(cluster)
        assert self.log is not None
        self.recovered = await self.log.recover()
        if self.blocks is not None:
            await self.blocks.recover()
        index = self.recovered.namespace.applied if self.recovered else 0
        log.info("journal opened", extra=fields(at=self.directory.path, index=index))

    def pop_recovered(self) -> Recovered | None:
        """The recovered namespace; None from the second call on."""
        found, self.recovered = self.recovered, None
        return found

    async def belong(self, cluster: str, member: int) -> None:
        """Set the member that the node is now.

        Blocks of a former process are deleted under a new number, since nothing names them. Those
        that this one holds stay: it will say that it has them.
        """
        owner = JournalOwner(cluster, member, self._name)
        if owner == self.owner:
            return
        if self.owner is None or self.owner.cluster != cluster:
            self._make_logs(cluster)
        await self._environment.disk.run(lambda: self.directory.own(owner))
        if self.blocks is not None and not self._started.is_set():
            await self.blocks.begin()

    def _make_logs(self, cluster: str) -> None:
        environment, top = self._environment, self.directory.path
        self.log = NamespaceLog(
            environment,
            f"{top}/namespace",
            cluster,
            segment_bytes=self._segment_bytes,
            relieve=self.directory.release,
            advanced=self._advanced,
        )
        if self.keeps_blocks:
            self.blocks = BlockLog(
                environment,
                f"{top}/blocks",
                cluster,
                segment_bytes=self._segment_bytes,
                ratio=self._ratio,
                no_room=self.directory.refuse,
            )

    def start(self, holder: NamespaceHolder) -> None:
        """Start the writers and the maintenance task; they run until :meth:`close`."""
        assert self.log is not None, "the journal belongs to nobody"
        work = [self.log.commits.run(), self._run_housekeeping(holder)]
        if self.blocks is not None:
            work.append(self.blocks.commits.run())
            self._store.watch(self.blocks)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(each, name="journal") for each in work]
        self._started.set()

    async def ready(self) -> NamespaceLog:
        """The namespace's log; None before the node is a member."""
        await self._started.wait()
        assert self.log is not None, "the journal belongs to nobody"
        return self.log

    async def load_blocks(self) -> None:
        """Bring the blocks back into memory."""
        if self.blocks is None:
            return
        self.loader = JournalLoader(self.blocks, self._store)
        await self.loader.run()
        self.loading = False

    async def close(self) -> None:
        """Write what is queued, as far as the disk allows, and release the directory."""
        self._closing.set()
        for each in self.parts():
            await self._finish(each)
            each.commits.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.directory.close()

    async def _finish(self, each: NamespaceLog | BlockLog) -> None:
        try:
            if self._tasks:
                await each.until_durable()
        except NoSpaceError as error:
            log.warning("journal closed behind", extra=fields(reason=error))

    # --- what the node asks ------------------------------------------------------------------

    def check_room(self, *, frees: bool) -> None:
        """Check that a command may be accepted. Raises NoSpaceError while the disk fails.

        One that ``frees`` space is accepted while the disk is full.
        """
        if self.log is not None and self.log.commits.failure is not None:
            raise NoSpaceError(self.log.commits.failure.message)
        if self.directory.full and not frees:
            raise NoSpaceError("the disk of the node's journal is full: free space on it")

    def check_block_room(self) -> None:
        """Check that a block may be accepted. Raises NoSpaceError while the disk fails."""
        if self.blocks is not None and self.blocks.commits.failure is not None:
            raise NoSpaceError(self.blocks.commits.failure.message)
        self.check_room(frees=False)

    async def until_blocks_durable(self) -> None:
        """Wait until all blocks stored so far are on the disk. Raises NoSpaceError."""
        assert self.blocks is not None, "blocks are not journaled"
        await self.blocks.until_durable()

    @property
    def durable(self) -> int:
        """Namespace log index up to which everything is on the disk."""
        return self.log.durable if self.log is not None and self.log.complete else 0

    def parts(self) -> list[NamespaceLog | BlockLog]:
        """The logs that are open."""
        return [each for each in (self.log, self.blocks) if each is not None]

    @property
    def lag_bytes(self) -> int:
        """Bytes that are not on the disk yet."""
        return sum(each.commits.waiting_bytes for each in self.parts())

    @property
    def failing(self) -> bool:
        """Whether the last batch of a part could not be written."""
        return any(each.commits.failure is not None for each in self.parts())

    @property
    def trouble(self) -> str:
        """Why the last batch could not be written; empty if it was."""
        try:
            self.check_block_room()
        except NoSpaceError as error:
            return error.message
        return ""

    @property
    def unusable_blocks(self) -> int:
        """Blocks that were damaged, or do not fit into memory."""
        return self.loader.corrupt + len(self.loader.waiting) if self.loader is not None else 0

    # --- housekeeping -------------------------------------------------------------------------

    def _advanced(self) -> None:
        for follow in self.followers:
            follow()

    async def _run_housekeeping(self, holder: NamespaceHolder) -> None:
        while not self._closing.is_set():
            try:
                await self.look_after(holder)
            except (MemfsError, OSError) as error:
                log.warning("journal housekeeping failed", extra=fields(reason=error))
            try:
                await asyncio.wait_for(self._closing.wait(), HOUSEKEEPING_SECONDS)
            except TimeoutError:
                continue

    async def look_after(self, holder: NamespaceHolder) -> None:
        """One round of maintenance: the reserve, snapshots, compaction."""
        disk = self._environment.disk
        if self.directory.full and not self.failing:  # else what waits comes before the reserve
            await disk.run(self.directory.restore)
        if self.log is not None:
            await self._look_after_log(self.log, holder)
        if self.blocks is not None and not self.loading:
            while self.blocks.wants_room and not self._closing.is_set():
                if not await self.blocks.make_room(self._store.whole):
                    break
            if self.loader is not None and self.loader.waiting:
                await self.loader.retry()

    async def _look_after_log(self, own: NamespaceLog, holder: NamespaceHolder) -> None:
        namespace = holder.namespace
        if namespace is None:
            return
        late = own.commits.waiting_bytes > LAG_BYTES
        if own.complete and late and not holder.is_journaled:
            own.abandon("the disk is too slow")
        now = self._environment.clock.monotonic()
        if own.follows is not namespace and now >= self._begin_at:
            self._begin_at = now + BEGIN_SECONDS
            self.recovered = None
            await own.begin(namespace)
        elif own.wants_snapshot and own.follows is namespace and namespace.applied == own.appended:
            await own.snapshot(namespace)
