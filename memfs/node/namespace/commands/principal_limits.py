"""Setting and listing limits of users: the superuser's business."""

from __future__ import annotations

import bisect
from typing import Final

from memfs import limits
from memfs.errors import InvalidArgumentError
from memfs.node.namespace.rules.permissions import Caller
from memfs.node.namespace.rules.refusals import not_superuser
from memfs.node.namespace.tables.principal_limits import SETTABLE
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.protocol import messages as m

PAGE: Final = 128
"""Names of 255 bytes each: 40 KiB of a record."""


def set_limit(volume: Volume, command: Command, request: m.SetLimit) -> m.Empty:
    """Set a limit of one user, or of everybody, or take it back."""
    if not command.caller.superuser:
        raise not_superuser(command.caller)
    most = SETTABLE.get(request.name)
    if most is None:
        raise InvalidArgumentError(
            f"there is no limit called {request.name[:64]!r}: {', '.join(SETTABLE)}"
        )
    if request.value is not None and not 0 <= request.value <= most:
        raise InvalidArgumentError(f"{request.name} can be 0 to {most}, not {request.value}")
    if len(request.user.encode()) > limits.OWNER_BYTES:
        raise InvalidArgumentError(f"a user has {limits.OWNER_BYTES} bytes at most")
    table, key = volume.limits, (request.name, request.user)
    if key not in table.by_key and request.value is None:
        raise InvalidArgumentError(f"{request.name} is not set for {request.user or 'everybody'}")
    if key not in table.by_key and len(table.by_key) >= limits.LIMITS_SET:
        raise InvalidArgumentError(f"{limits.LIMITS_SET} limits are set: take some back")
    table.set(*key, request.value)
    return m.Empty()


def list_limits(volume: Volume, caller: Caller, request: m.ListLimits) -> m.LimitsReply:
    """A page of the limits that are set."""
    if not caller.superuser:
        raise not_superuser(caller)
    rows = list(volume.limits.rows())
    after = request.name, request.user
    first = bisect.bisect_right([row[:2] for row in rows], after)
    page = tuple(m.SetLimit(*row) for row in rows[first : first + PAGE])
    return m.LimitsReply(page, first + PAGE < len(rows))
