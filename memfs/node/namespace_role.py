"""This node's part in the namespace: primary, backup, or neither yet.

Joins membership and log. The primary takes in members, brings them up to date and publishes them
as in sync; a backup that failed is taken out of the view before anything is acknowledged without
it (ShrinkBeforeAck). The loss of the primary stops the namespace with a clear error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from memfs import errors
from memfs.cluster import view as rules
from memfs.limits import NAMESPACE_COPIES
from memfs.logs import fields
from memfs.node.backup import Backup
from memfs.node.backup_link import BackupLink
from memfs.node.membership import Membership
from memfs.node.namespace import Namespace, Settings
from memfs.node.primary import Primary
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m
from memfs.transport.pool import Pool
from memfs.transport.server import Call
from memfs.types import BlockRef, Member

log = logging.getLogger(__name__)

BACKUP_RETRY_SECONDS = 5.0
"""A member that failed as a backup is tried again after this long: no flapping."""


class NamespaceRole:
    """What this node is to the namespace, and how that changes."""

    def __init__(
        self,
        membership: Membership,
        pool: Pool,
        tasks: Tasks,
        *,
        discard: Callable[[tuple[BlockRef, ...]], None],
        ack_seconds: float,
    ) -> None:
        """``discard`` is told the blocks that no file references any more."""
        self.membership = membership
        self._pool = pool
        self._tasks = tasks
        self._discard = discard
        self._ack_seconds = ack_seconds
        self._primary: Primary | None = None
        self._backup = Backup()
        self._retry_at: dict[int, float] = {}
        self._taking_in: set[int] = set()

    @property
    def primary(self) -> Primary:
        """The log of this node. Raises NotPrimaryError on any other node."""
        if self._primary is None:
            view = self.membership.view
            where = rules.member(view, view.primary) if view else None
            at = f"{where.name} ({where.host}:{where.port})" if where else "not known yet"
            raise errors.NotPrimaryError(f"this node is not the primary; the primary is {at}")
        return self._primary

    @property
    def namespace(self) -> Namespace | None:
        """The state this node holds, as primary or as backup."""
        return self._primary.namespace if self._primary else self._backup.namespace

    @property
    def committed(self) -> int:
        """Log index up to which this node knows commands to be acknowledged."""
        return self._primary.committed if self._primary else self._backup.committed

    def become_primary(self, settings: Settings) -> None:
        """Begin an empty namespace: this node formed the cluster."""
        environment = self.membership.environment
        self._primary = Primary(
            Namespace(settings, environment.clock.wall_ns()),
            environment,
            self._pool,
            epoch=lambda: self.membership.epoch,
            discard=self._discard,
            lost=self._lost,
            ack_seconds=self._ack_seconds,
        )

    def close(self) -> None:
        """Stop serving."""
        if self._primary is not None:
            self._primary.close("the primary stops")

    # --- members come and go (primary) -------------------------------------------------------

    async def join(self, call: Call) -> m.ViewReply:
        """Take a node in as a member; it becomes a backup in the background."""
        primary, member = self.primary, call.request.member
        view = await self.membership.change(lambda view: rules.join(view, member))
        for number in set(primary.links) - {known.number for known in view.members}:
            primary.remove_backup(number)
        joined = view.members[-1]
        log.info("member joined", extra=fields(member=joined.number, name=joined.name))
        self._announce()
        return m.ViewReply(view)

    async def leave(self, call: Call) -> m.Empty:
        """Let a member go."""
        primary, number = self.primary, call.request.member
        await self.membership.change(
            lambda view: rules.leave(view, number) if rules.member(view, number) else view
        )
        primary.remove_backup(number)
        log.info("member left", extra=fields(member=number))
        self._announce()
        return m.Empty()

    def heartbeat(self, call: Call) -> m.ViewReply:
        """Note a member's sign of life; a member without a role may become a backup."""
        self.membership.heard(call.request.usage)
        view = self.membership.view
        if self._primary is None or view is None:
            raise errors.NotPrimaryError("heartbeats go to the primary")
        self._consider(call.request.usage.member)
        return m.ViewReply(view)

    def _consider(self, number: int) -> None:
        view = self.membership.view
        assert view is not None
        wanted = len(view.in_sync) + len(self._taking_in) < NAMESPACE_COPIES
        now = self.membership.environment.clock.monotonic()
        if (
            wanted
            and number not in view.in_sync
            and number not in self._taking_in
            and rules.member(view, number) is not None
            and now >= self._retry_at.get(number, 0.0)
        ):
            self._taking_in.add(number)
            self._retry_at[number] = now + BACKUP_RETRY_SECONDS
            self._tasks.spawn(self._take_in(number), f"catch up member {number}")

    async def _take_in(self, number: int) -> None:
        try:
            await self.primary.add_backup(self.membership.find(number))
            await self.membership.change(lambda view: rules.expand(view, number))
            self._announce()
        except errors.MemfsError as error:
            # MaximalInSync: an unanswered expansion keeps requiring the member's acks.
            if not isinstance(error, errors.OutcomeUnknownError):
                self.primary.remove_backup(number)
            log.warning("member did not catch up", extra=fields(member=number, reason=error))
        finally:
            self._taking_in.discard(number)

    def _lost(self, link: BackupLink) -> None:
        self._tasks.spawn(self._drop(link.member.number), f"drop member {link.member.number}")

    async def _drop(self, number: int) -> None:
        try:
            await self.membership.change(
                lambda view: rules.shrink(view, number) if number in view.in_sync else view
            )
        except errors.MemfsError as error:
            log.error(
                "a backup is gone and the view cannot be changed: writes wait",
                extra=fields(member=number, reason=error),
            )
            return
        self.primary.remove_backup(number)
        self._announce()

    def _announce(self) -> None:
        """Tell every member the newest view; who misses it learns from its next heartbeat."""
        view = self.membership.view
        assert view is not None
        for member in view.members:
            if member.number != self.membership.number:
                self._tasks.spawn(self._tell(member, m.NewView(view)), f"view to {member.number}")

    async def _tell(self, member: Member, news: m.NewView) -> None:
        try:
            connection = await self._pool.control(member)
            await connection.call(
                news,
                request_id=self._pool.next_request_id(),
                timeout=self._ack_seconds,
                epoch=news.view.epoch,
            )
        except errors.MemfsError as error:
            log.info("view not delivered", extra=fields(member=member.number, reason=error))

    # --- messages of the primary (backup) ----------------------------------------------------

    def new_view(self, call: Call) -> m.Empty:
        """Adopt what the primary announces."""
        self.membership.adopt(call.request.view)
        return m.Empty()

    def install(self, call: Call) -> m.ReplicateReply:
        """One piece of a snapshot from the primary."""
        self._fence(call)
        return self._backup.install(call.request, call.payload)

    def replicate(self, call: Call) -> m.ReplicateReply:
        """Log entries from the primary."""
        self._fence(call)
        return self._backup.replicate(call.request, call.payload)

    def _fence(self, call: Call) -> None:
        """ReceiverFence: nothing of a former primary's epoch, nothing from who is not the primary.

        A lower epoch of the same primary is no danger: its log has one order, and frames that
        were under way when it published a view must not count as lost.
        """
        view = self.membership.view
        if view is None or call.header.epoch < view.primary_since:
            raise errors.StaleEpochError(
                f"epoch {call.header.epoch} is over, {view.epoch if view else 0} is known here"
            )
        if call.connection.peer.member != view.primary or self._primary is not None:
            raise errors.StaleEpochError(
                f"member {call.connection.peer.member} is not the primary of epoch {view.epoch}"
            )
