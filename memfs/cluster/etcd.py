"""The coordinator on etcd: the view under one key.

Owns the key under a prefix and its encoding; several clusters share an etcd under different
prefixes. Invariants: the view changes by a transaction that compares its mod revision
and is never sent twice; watches are hints, and nothing here relies on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path

from memfs import errors, limits
from memfs.cluster.coordinator import StoredView
from memfs.cluster.etcd_gateway import EtcdGateway, EtcdRefusal, EtcdUser, bytes_of, text_of
from memfs.cluster.etcd_http import AiohttpHttp, TlsFiles
from memfs.config import NodeConfig
from memfs.logs import fields
from memfs.paths import parse_etcd_url
from memfs.protocol import records
from memfs.transport.environment import Clock
from memfs.types import Json, View

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.5  # between attempts to watch an etcd that is out of reach


class EtcdCoordinator:
    """A :class:`~memfs.cluster.coordinator.Coordinator` on an etcd cluster."""

    def __init__(self, clock: Clock, gateway: EtcdGateway, prefix: str) -> None:
        """Everything is kept under ``prefix/``. Takes over the gateway: :meth:`close` closes it."""
        self._clock = clock
        self._gateway = gateway
        self._view_key = f"{prefix}/view"

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
        except (errors.MemfsError, EtcdRefusal) as error:
            log.debug("watch of the view broke off", extra=fields(reason=error))
        return False


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


def _credentials(config: NodeConfig) -> EtcdUser | None:
    if not config.etcd_user:
        return None
    password = config.etcd_password
    if config.etcd_password_file:
        try:
            password = Path(config.etcd_password_file).read_text().rstrip("\n")
        except (OSError, ValueError) as error:
            raise errors.ConfigError(f"etcd_password_file: {error}") from error
    return EtcdUser(config.etcd_user, password)


def _bytes(text: str) -> str:
    return text_of(text.encode())


def _revision(answer: Mapping[str, Json]) -> int:
    """The store's revision in an answer's header."""
    return int(answer["header"]["revision"])
