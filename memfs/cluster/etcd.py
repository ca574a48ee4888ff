"""The coordinator on etcd: the view under one key, a leased key per node.

Owns the layout of the keys under a prefix and their encoding; several clusters share an etcd under
different prefixes. Invariants: the view changes by a transaction that compares its mod revision
and is never sent twice; leases and watches are hints, and nothing here relies on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from memfs import errors, limits
from memfs.cluster.coordinator import StoredView
from memfs.cluster.etcd_gateway import Credentials, EtcdGateway, Refusal, bytes_of, text_of
from memfs.cluster.etcd_http import AiohttpHttp, TlsFiles
from memfs.config import NodeConfig
from memfs.logs import fields
from memfs.paths import parse_etcd_url
from memfs.protocol import records
from memfs.transport.environment import Clock
from memfs.types import Member, View

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.5  # between attempts to watch an etcd that is out of reach


class _Lease(NamedTuple):
    """What this process holds at etcd."""

    id: str
    member: Member
    ttl: int


class EtcdCoordinator:
    """A :class:`~memfs.cluster.coordinator.Coordinator` on an etcd cluster."""

    def __init__(self, clock: Clock, gateway: EtcdGateway, prefix: str) -> None:
        """Everything is kept under ``prefix/``. Takes over the gateway: :meth:`close` closes it."""
        self._clock = clock
        self._gateway = gateway
        self._view_key = f"{prefix}/view"
        self._nodes = f"{prefix}/nodes/"
        self._lease: _Lease | None = None
        self._registering = asyncio.Lock()

    async def read_view(self) -> StoredView:
        """See :class:`~memfs.cluster.coordinator.Coordinator`. Raises DataLossError when what is
        stored is no view."""
        stored, _ = await self._read()
        return stored

    async def swap_view(self, expected: int, view: View) -> StoredView | None:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        key = _bytes(self._view_key)
        unchanged = {
            "key": key,
            "target": "MOD",
            "result": "EQUAL",
            "mod_revision": str(expected),
        }
        put = {"request_put": {"key": key, "value": text_of(records.encode(view))}}
        answer = await self._gateway.call(
            "/v3/kv/txn", {"compare": [unchanged], "success": [put]}, repeatable=False
        )
        if not answer.get("succeeded"):
            return None
        return StoredView(_revision(answer), view)

    async def register(self, member: Member, ttl_seconds: float) -> None:
        """See :class:`~memfs.cluster.coordinator.Coordinator`; rounded up to whole seconds."""
        ttl = math.ceil(ttl_seconds)
        async with self._registering:
            lease = self._lease
            if lease is None or lease.ttl != ttl or not await self._keep_alive(lease):
                self._lease = None
                lease = _Lease(await self._grant(ttl), member, 0)
            if lease.ttl != ttl or lease.member != member:
                await self._put_node(member, lease.id)
            self._lease = _Lease(lease.id, member, ttl)

    async def members(self) -> tuple[Member, ...]:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        request = {"key": _bytes(self._nodes), "range_end": _bytes(_after(self._nodes))}
        answer = await self._gateway.call("/v3/kv/range", request, repeatable=True)
        found = (_member(pair) for pair in answer.get("kvs", ()))
        return tuple(sorted((m for m in found if m is not None), key=lambda m: m.name))

    async def wait_for_change(self, revision: int, timeout_seconds: float) -> None:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        deadline = self._clock.monotonic() + timeout_seconds
        while (left := deadline - self._clock.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, limits.COORDINATOR_WAIT_SECONDS)):
                    if await self._changed(revision):
                        return
                    await asyncio.sleep(_PAUSE_SECONDS)

    async def close(self) -> None:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        await self._gateway.close()

    # --- the view ----------------------------------------------------------------------------

    async def _read(self) -> tuple[StoredView, int]:
        """The view, and the revision of the whole store at that moment."""
        request = {"key": _bytes(self._view_key)}
        answer = await self._gateway.call("/v3/kv/range", request, repeatable=True)
        pairs = answer.get("kvs")
        if not pairs:
            return StoredView(0, None), _revision(answer)
        try:
            view = records.decode(View, bytes_of(pairs[0]["value"]))
            return StoredView(int(pairs[0]["mod_revision"]), view), _revision(answer)
        except (errors.ProtocolError, ValueError, KeyError) as error:
            raise errors.DataLossError(
                f"etcd's key {self._view_key} holds no view of a memfs cluster: restore it, or "
                "choose another prefix"
            ) from error

    async def _changed(self, revision: int) -> bool:
        """Read, then watch from there: no gap, whatever was compacted. False if it broke off."""
        try:
            stored, now = await self._read()
            if stored.revision != revision:
                return True
            watch = {"key": _bytes(self._view_key), "start_revision": str(now + 1)}
            stream = self._gateway.lines("/v3/watch", {"create_request": watch})
            async with contextlib.aclosing(stream) as lines:
                async for line in lines:
                    result = line.get("result", {})
                    if result.get("events"):
                        return True
                    if result.get("canceled"):
                        return False
        except (errors.MemfsError, Refusal) as error:
            log.debug("watch of the view broke off", extra=fields(reason=error))
        return False

    # --- the lease ---------------------------------------------------------------------------

    async def _grant(self, ttl: int) -> str:
        answer = await self._gateway.call("/v3/lease/grant", {"TTL": str(ttl)}, repeatable=True)
        return str(answer["ID"])

    async def _keep_alive(self, lease: _Lease) -> bool:
        """Refresh the lease; False when it is gone: the answer then has no time to live."""
        answer = await self._gateway.call("/v3/lease/keepalive", {"ID": lease.id}, repeatable=True)
        return int(answer.get("result", {}).get("TTL", 0)) > 0

    async def _put_node(self, member: Member, lease: str) -> None:
        key = _bytes(self._nodes + member.name)
        put = {"key": key, "value": text_of(records.encode(member)), "lease": lease}
        try:
            await self._gateway.call(
                "/v3/kv/txn", {"success": [{"request_put": put}]}, repeatable=True
            )
        except errors.UnavailableError:
            self._lease = None
            raise


def open_etcd(clock: Clock, config: NodeConfig) -> EtcdCoordinator:
    """The coordinator that ``config`` names. Call it inside the loop.

    Raises ConfigError for files that cannot be read; connects at the first call only.
    """
    url = parse_etcd_url(config.coordinator)
    files = TlsFiles(config.etcd_ca, config.etcd_certificate, config.etcd_key)
    tls = files.context() if url.secure else None
    credentials = _credentials(config)
    seconds = config.member_timeout_seconds
    # Less than an attempt may take: then it is known that nothing was sent.
    connect_seconds = seconds / len(url.endpoints) / 2
    gateway = EtcdGateway(
        clock,
        AiohttpHttp(connect_seconds, tls),
        url.endpoints,
        secure=url.secure,
        credentials=credentials,
        timeout_seconds=seconds,
    )
    return EtcdCoordinator(clock, gateway, url.prefix)


def _credentials(config: NodeConfig) -> Credentials | None:
    if not config.etcd_user:
        return None
    password = config.etcd_password
    if config.etcd_password_file:
        try:
            password = Path(config.etcd_password_file).read_text().rstrip("\n")
        except (OSError, ValueError) as error:
            raise errors.ConfigError(f"etcd_password_file: {error}") from error
    return Credentials(config.etcd_user, password)


def _bytes(text: str) -> str:
    return text_of(text.encode())


def _after(prefix: str) -> str:
    """The first key behind all that begin with ``prefix``, which ends in ASCII."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _revision(answer: Mapping[str, Any]) -> int:
    """The store's revision in an answer's header."""
    return int(answer["header"]["revision"])


def _member(pair: Mapping[str, Any]) -> Member | None:
    """The node that a leased key describes; None for what another program put there."""
    try:
        return records.decode(Member, bytes_of(pair["value"]))
    except (errors.ProtocolError, ValueError, KeyError):
        return None
