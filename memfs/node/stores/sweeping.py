"""What puts that broke off have left in external stores is given up, by the primary.

A persister that dies in the middle leaves parts of a file or of a multipart upload, which cost room
and, in a bucket, money. Only what is older than any upload can be is touched.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from memfs.errors import MemfsError
from memfs.logs import fields
from memfs.node.namespace.commands.mounts import record_of
from memfs.node.namespace.mount_queries import path_of
from memfs.node.replication.role import NamespaceRole
from memfs.node.stores.opened import OpenStores
from memfs.protocol import messages as m

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 3600.0
LOOK_SECONDS: Final = 5.0
"""How soon a new mount is noticed."""
AGE_SECONDS: Final = 7 * 86_400.0
"""Other programs may upload below the same prefix: a week is what Amazon's examples of lifecycle
rules give an upload."""


class Sweeper:
    """Looks after the writable mounts while its node is the primary."""

    def __init__(self, role: NamespaceRole, stores: OpenStores) -> None:
        """Nothing has been swept."""
        self._role = role
        self._stores = stores
        self._clock = role.membership.environment.clock
        self._swept: dict[int, float] = {}
        """When, by mount."""

    async def run(self) -> None:
        """Sweep each mount when it is new to this primary, and every hour, forever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for record in self._due():
                self._swept[record.number] = self._clock.monotonic()
                await self._sweep(record)

    def _due(self) -> list[m.MountRecord]:
        if not self._role.leads:
            self._swept.clear()
            return []
        volume, now = self._role.primary.namespace.volume, self._clock.monotonic()
        return [
            record_of(mount, path_of(volume, mount.slot))
            for mount in volume.mounts.by_slot.values()
            if not mount.read_only
            and now - self._swept.get(mount.number, -EVERY_SECONDS) >= EVERY_SECONDS
        ]

    async def _sweep(self, record: m.MountRecord) -> None:
        try:
            count = await self._stores.adopt(record).sweep(AGE_SECONDS)
        except MemfsError as error:
            reason = error.message
            log.info("a store was not swept", extra=fields(url=record.url, reason=reason))
            return
        if count:
            log.info("unfinished uploads were given up", extra=fields(url=record.url, count=count))
