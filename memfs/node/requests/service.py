"""Dispatch of requests: every message of the protocol to the part that answers it.

Owns the handshake, the dispatch table and the timing of requests. Answers are given inline
wherever nothing has to be waited for.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Final, TypeVar, cast

from memfs import errors, limits
from memfs.cluster import view as rules
from memfs.cluster.coordinator import Coordinator
from memfs.concurrency import Coro
from memfs.monitoring.metrics import Metrics, OperationMetrics
from memfs.node.block_service.guard import Guard
from memfs.node.block_service.service import BlockService
from memfs.node.bounds import Bounds
from memfs.node.healing.copier import Copier
from memfs.node.healing.service import Healing
from memfs.node.housekeeping import Housekeeping
from memfs.node.membership.coordinator_service import add_coordinator_handlers
from memfs.node.membership.members import Membership
from memfs.node.namespace import Settings
from memfs.node.namespace.commands.xattrs import check_value_length
from memfs.node.namespace.rules.permissions import caller_of
from memfs.node.replication.backup_service import BackupService
from memfs.node.replication.role import NamespaceRole
from memfs.node.requests.admission import Admission
from memfs.node.requests.audited import RequestAudit
from memfs.node.requests.authentication import PeerAuthentication
from memfs.node.requests.cluster_status import ClusterStatus
from memfs.node.requests.control import Control
from memfs.node.requests.delegation import Delegation
from memfs.node.requests.granting import Granting
from memfs.node.requests.lock_waits import LockWaits
from memfs.node.requests.namespace_reads import NamespaceReads
from memfs.node.requests.opens import OpensService
from memfs.node.requests.proofs import Proofs
from memfs.node.requests.standing import Standing
from memfs.node.stores.cached_blocks import ObjectBlocks
from memfs.node.stores.mount_service import MountService
from memfs.node.stores.residence import ResidenceService
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.messages.registry import Request
from memfs.security.principals import Principal
from memfs.transport.connection import Connection, Peer
from memfs.transport.handlers import Handler, Handlers
from memfs.transport.server import IncomingCall
from memfs.transport.sink import Sink

R = TypeVar("R")
V = TypeVar("V", m.VerifyTokenReply, m.CheckProofReply)

SHARES_SHOWN: Final = 16
"""Of each bound, holders in a reply: 10 names of 300 bytes, 48 KiB at most."""


class NodeService:
    """A :class:`memfs.transport.server.Service` over the parts of a node."""

    def __init__(
        self,
        *,
        membership: Membership,
        role: NamespaceRole,
        admission: Admission,
        backup: BackupService,
        blocks: BlockService,
        housekeeping: Housekeeping,
        control: Control,
        copier: Copier,
        healing: Healing,
        delegation: Delegation,
        granting: Granting,
        guard: Guard,
        mounts: MountService,
        objects: ObjectBlocks,
        residence: ResidenceService,
        coordinator: Coordinator | None,
        authentication: PeerAuthentication | None,
        proofs: Proofs | None,
        standing: Standing,
        audit: RequestAudit,
        security: Callable[[], tuple[str, int, str]],
        bounds: Callable[[], Bounds],
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        """``coordinator`` is the embedded one if this node hosts it.

        ``authentication`` and ``proofs``: None on a trusted network, where everybody is believed.
        ``security``: the fields of ``StatusReply`` from that one on. ``bounds`` are what clients
        have a share of.
        ``settings`` name the superuser on a node that holds no namespace; elsewhere the namespace
        does.
        """
        self._membership = membership
        self._role = role
        self._admission = admission
        self._backup = backup
        self._blocks = blocks
        self._housekeeping = housekeeping
        self._control = control
        self._copier = copier
        self._healing = healing
        self._delegation = delegation
        self._granting = granting
        self._guard = guard
        self._mounts = mounts
        self._objects = objects
        self._residence = residence
        self._reads = NamespaceReads(membership, role, blocks, granting, residence, delegation)
        self._status = ClusterStatus(membership, role, healing, control, security)
        self._lock_waits = LockWaits(role)
        self._opens = OpensService(role, housekeeping, blocks, granting)
        self._authentication = authentication
        self._proofs = proofs
        self._standing = standing
        self._audit = audit
        self._bounds = bounds
        self._settings = settings
        self._coordinator = coordinator
        self._now = membership.environment.clock.monotonic
        self._handlers: dict[type, tuple[Handler, OperationMetrics]] = {
            request: (handler, metrics.operation(request.__name__))
            for request, handler in self._table().items()
        }

    # --- memfs.transport.server.Service ------------------------------------------------------

    def challenge(self, connection: Connection) -> m.Challenge:
        """What a client is to sign. Raises AccessDeniedError, UnsupportedError."""
        if self._proofs is None:
            raise errors.UnsupportedError("this cluster believes everybody: prove nothing")
        return self._proofs.challenge(connection)

    def welcome(self, hello: m.Hello, connection: Connection) -> m.Welcome | Coro[m.Welcome]:
        """Admit a connection; a task where another node has to be asked.

        Raises AccessDeniedError, BusyError, ProtocolError, StaleEpochError, OtherClusterError.
        """
        claimed = hello.identity.user
        try:
            if self._proofs is not None and self._has_to_ask(hello, connection):
                return self._proved_welcome(hello, connection, self._proofs)
            welcome = self._admit(hello, connection)
        except errors.MemfsError as error:
            self._audit.greeted(connection.peer, claimed, error)
            raise
        self._audit.greeted(connection.peer, claimed)
        return welcome

    def _has_to_ask(self, hello: m.Hello, connection: Connection) -> bool:
        if hello.role == m.Role.NODE:
            return False
        if hello.authentication and connection.local_user is None:
            return True
        if self._role.namespace is not None or self._authentication is None:
            return False
        proven = self._authentication.proven(connection)
        return self._authentication.is_proxied(proven, hello.identity.user)

    async def _proved_welcome(
        self, hello: m.Hello, connection: Connection, proofs: Proofs
    ) -> m.Welcome:
        assert self._authentication is not None
        claimed, groups = hello.identity.user, None
        try:
            if hello.authentication:
                proven = await proofs.proven(hello, connection)
            else:
                proven = self._authentication.proven(connection)
            connection.peer = connection.peer._replace(principal=proven)
            if self._role.namespace is None and self._authentication.is_proxied(proven, claimed):
                groups = await proofs.groups_of(claimed)
            welcome = self._admit(hello, connection, proven, groups)
        except errors.MemfsError as error:
            self._audit.greeted(connection.peer, claimed, error)
            raise
        self._audit.greeted(connection.peer, claimed)
        return welcome

    def _admit(
        self,
        hello: m.Hello,
        connection: Connection,
        proven: Principal | None = None,
        groups: tuple[str, ...] | None = None,
    ) -> m.Welcome:
        view = self._membership.latest
        if self._authentication is not None:
            connection.peer = self._authentication.peer(hello, connection, view, proven, groups)
        if view is not None and hello.cluster not in ("", view.cluster):
            raise errors.OtherClusterError(
                f"this node belongs to cluster {view.cluster}, not to {hello.cluster}: connect anew"
            )
        if view is not None and hello.role == m.Role.NODE and 0 < hello.member < view.next_number:
            member = rules.member(view, hello.member)
            if member is None or member.incarnation != hello.incarnation:
                raise errors.StaleEpochError(f"member {hello.member} left the cluster")
        if hello.role != m.Role.NODE:
            self._standing.check(connection.peer)
        if self._authentication is not None:
            self._authentication.opened(connection.peer)
        if hello.role != m.Role.NODE:
            self._standing.opened(connection)
            self._housekeeping.connected(hello.client)
        member = self._membership.member
        return m.Welcome(
            frames.VERSION_MAX,
            view.cluster if view else "",
            member.name,
            member.incarnation,
            member.number,
            view,
            member.machine,
        )

    def sink(self, call: IncomingCall[object]) -> Sink | None:
        """Where the payload of a write goes; others are received into fresh memory.

        Raises AttributeTooLargeError: a header is not to cost what no command may take.
        """
        if isinstance(call.request, m.WriteBlock | m.WriteBlocks):
            return self._blocks.sink(cast(IncomingCall[m.WriteBlock | m.WriteBlocks], call))
        if call.spec.peer:
            return None
        if type(call.request) is m.SetXattr:
            check_value_length(call.header.payload_length)
            return None
        raise errors.InvalidArgumentError(f"{call.spec.request.__name__} takes no payload")

    def handle(self, call: IncomingCall[object]) -> object:
        """Answer one request, inline if possible."""
        started = self._now()
        found = self._handlers.get(call.spec.request)
        if found is None:
            raise errors.UnsupportedError(f"this node offers no {call.spec.request.__name__}")
        handler, operation = found
        try:
            if call.connection.peer.proxied:
                self._check_proxied(call.connection.peer)
            if call.spec.privileged and not self._is_superuser(call.connection.peer):
                result = self._privileged_elsewhere(call, handler)
            elif self._mounts.concerns(call):
                result = self._mounts.around(call, handler)
            else:
                result = handler(call)
        except errors.MemfsError as error:
            operation.failed(self._now() - started, type(error).__name__)
            self._audit.failed(call, error)
            raise
        if isinstance(result, asyncio.Future):
            result.add_done_callback(functools.partial(self._observe, call, operation, started))
        else:
            operation.succeeded(self._now() - started)
            self._audit.answered(call, result)
        return result

    def denied(self, call: IncomingCall[object], error: errors.MemfsError) -> None:
        """A client asked for what is for nodes only."""
        self._audit.failed(call, error)

    def connection_closed(self, connection: Connection) -> None:
        """Sessions outlive connections; a member's may be the first sign of its end."""
        self._guard.forget(connection)
        self._standing.closed(connection)
        if self._authentication is not None:
            self._authentication.closed(connection.peer)
        if connection.peer.role == m.Role.NODE:
            self._membership.suspect(connection.peer.member)
        else:
            self._housekeeping.disconnected(connection.peer.client)

    def _observe(
        self,
        call: IncomingCall[object],
        operation: OperationMetrics,
        started: float,
        done: asyncio.Future[object],
    ) -> None:
        """Count a request that had to wait."""
        took = self._now() - started
        if done.cancelled():
            operation.failed(took, "cancelled")
            self._audit.failed(call, asyncio.CancelledError())
        elif (error := done.exception()) is not None:
            operation.failed(took, type(error).__name__)
            self._audit.failed(call, error)
        else:
            operation.succeeded(took)
            self._audit.answered(call, done.result())

    # --- the table ---------------------------------------------------------------------------

    def _table(self) -> dict[type, Handler]:
        handlers = Handlers()
        on = handlers.add
        on(m.Ping, self._ping)
        on(m.Goodbye, self._housekeeping.goodbye)
        on(m.GetView, self._get_view)
        on(m.GetStatus, self._status.get)
        on(m.Join, self._admission.join)
        on(m.Leave, self._admission.leave)
        on(m.Heartbeat, self._admission.heartbeat)
        on(m.NewView, self._backup.new_view)
        on(m.Replicate, self._backup.replicate)
        on(m.InstallSnapshot, self._backup.install)
        on(m.RenewLease, self._backup.renew_lease)
        on(m.Reconcile, self._backup.reconcile)
        on(m.FetchLog, self._backup.fetch_log)
        on(m.GetNodeState, self._control.state)
        on(m.GetCapabilityKeys, self._granting.tell_keys)
        on(m.Authorize, self._granting.authorize)
        on(m.GetBounds, lambda call: m.BoundsReply(self._bounds().all()))
        on(m.GetShares, self._shares)
        on(m.HandOver, self._control.hand_over)
        on(m.ForceRecover, self._control.force_recover)
        on(m.ReadFiles, self._reads.read_files)
        on(m.ReadMany, self._reads.read_many)
        on(m.OpenFile, self._opens.open)
        on(m.ReportOpens, self._opens.report)
        on(m.GetXattrs, self._reads.get_xattrs)
        on(m.StatFileSystem, self._reads.stat_file_system)
        on(m.VerifyToken, self._reads.verify_token)
        on(m.CheckProof, self._reads.verify_token)
        on(m.CheckStanding, self._reads.check_standing)
        on(m.AwaitLock, self._lock_waits.wait)
        on(m.ListMounts, lambda call: self._mounts.list_mounts(call, self._reads.query))
        on(m.SyncMetadata, self._mounts.sync_metadata)
        on(m.PersistFiles, self._mounts.persist)
        on(m.FreeFiles, self._mounts.free)
        on(m.GetResidence, self._residence.get)
        on(m.TellObjects, self._objects.tell)
        on(m.CountCached, self._objects.count)
        on(m.Watch, self._watch)
        on(m.WriteBlock, self._blocks.write)
        on(m.WriteBlocks, self._blocks.write)
        on(m.CopyRange, self._blocks.copy)
        on(m.ReadBlock, self._blocks.read)
        on(m.ReadBlocks, self._blocks.read_many)
        on(m.DiscardBlocks, self._copier.discard)
        on(m.CopyBlocks, self._copier.copy)
        on(m.ListBlocks, self._blocks.list)
        on(m.VerifyBlocks, self._blocks.verify)
        on(m.ReportCorrupt, self._healing.corrupt.report)
        on(m.SetWeight, self._healing.decommission.set_weight)
        on(m.Decommission, self._healing.decommission.request)
        on(m.Rebalance, self._healing.rebalance)
        on(m.Retire, self._healing.retirement.order)
        on(m.Mount, self._mount)
        on(m.Pin, self._pin)
        if self._coordinator is not None:
            add_coordinator_handlers(handlers, self._coordinator)
        table = handlers.by_request
        for spec in m.BY_OPCODE.values():
            if spec.command and not spec.peer:
                table.setdefault(spec.request, cast(Handler, self._command))
            elif 64 <= spec.opcode < 128:
                table.setdefault(spec.request, cast(Handler, self._reads.query))
        return table

    def _command(self, call: IncomingCall[Request[R]]) -> R | asyncio.Future[R]:
        peer = call.connection.peer
        self._housekeeping.note_heartbeat(peer.client)
        primary, request_id = self._role.primary, call.header.request_id
        request = call.request
        primary.check_takes_commands()  # first: what the next line refuses is over for good
        self._healing.commits.check(request, primary.namespace, peer.client, request_id)
        if isinstance(request, m.IssueToken | m.RenewToken):
            self._delegation.prepare(primary, peer.principal)
        if len(call.payload):
            xattr = _with_value(cast(m.SetXattr, request), call.payload)  # no other has a payload
            request = cast(Request[R], xattr)
        finish = self._granting.finish(call)
        return primary.submit(
            request, call.spec.opcode, peer.client, request_id, peer.identity, finish
        )

    async def _mount(self, call: IncomingCall[m.Mount]) -> m.MountRecord:
        return await self._mounts.mount(call, self._command)

    async def _pin(self, call: IncomingCall[m.Pin]) -> m.Empty:
        return await self._mounts.pin(call, self._command)

    async def _watch(self, call: IncomingCall[m.Watch]) -> m.WatchReply:
        return await self._role.primary.watch(call.connection.peer.client, call.request)

    # --- superusers --------------------------------------------------------------------------

    def _is_superuser(self, peer: Peer, groups: tuple[str, ...] | None = None) -> bool:
        """Is the peer a superuser, or a node? ``groups``: the user's, None: as this node knows
        them."""
        if peer.role == m.Role.NODE:
            return True
        namespace, identity, settings = self._role.namespace, peer.identity, self._settings
        if namespace is not None:
            return namespace.caller(identity).superuser
        if groups is not None:
            identity = identity._replace(groups=groups)
        return caller_of(identity, settings.superuser, settings.supergroup).superuser

    def _check_proxied(self, peer: Peer) -> None:
        """Refuse a proxy whose user has become a superuser since."""
        if self._is_superuser(peer):
            proxy = peer.principal.name if peer.principal is not None else ""
            raise errors.NotPermittedError(
                f"{proxy} may speak for others, but not for {peer.identity.user}, a superuser"
            )

    def _privileged_elsewhere(self, call: IncomingCall[object], handler: Handler) -> object:
        """A privileged request of somebody who is no superuser as far as this node knows."""
        peer = call.connection.peer
        if self._role.namespace is None and self._proofs is not None and not peer.proxied:
            return asyncio.ensure_future(self._privileged_by_table(call, handler, self._proofs))
        raise self._not_superuser(peer)

    async def _privileged_by_table(
        self, call: IncomingCall[object], handler: Handler, proofs: Proofs
    ) -> object:
        """The table of groups is not here: the primary has it."""
        peer = call.connection.peer
        groups = await proofs.groups_of(peer.identity.user)
        if groups is None or not self._is_superuser(peer, groups):
            raise self._not_superuser(peer)
        result = handler(call)
        return await result if inspect.isawaitable(result) else result

    def _not_superuser(self, peer: Peer) -> errors.NotPermittedError:
        namespace = self._role.namespace
        settings = self._settings if namespace is None else namespace.settings
        return errors.NotPermittedError(
            f"this is for the superuser, {settings.superuser}, and members of "
            f"{settings.supergroup} only; you are {peer.identity.user}"
        )

    def _shares(self, call: IncomingCall[m.GetShares]) -> m.SharesReply:
        return m.SharesReply(self._bounds().shares(_within(call.request.heaviest)))

    def _ping(self, call: IncomingCall[m.Ping]) -> m.Empty:
        self._housekeeping.note_heartbeat(call.connection.peer.client)
        return m.Empty()

    def _get_view(self, call: IncomingCall[m.GetView]) -> m.ViewReply:
        return m.ViewReply(self._membership.view)


def _within(heaviest: int) -> int:
    return max(0, min(heaviest, SHARES_SHOWN))


def _with_value(request: m.SetXattr, payload: memoryview) -> m.SetXattr:
    """A command as it is logged. Raises AttributeTooLargeError."""
    if request.value or len(payload) > limits.XATTR_VALUE_BYTES:
        raise errors.AttributeTooLargeError(
            f"an attribute's value has {limits.XATTR_VALUE_BYTES} bytes at most"
        )
    return request._replace(value=bytes(payload))
