"""Opening a file by its path: the requests behind each mode, and the races of creation.

Must not know what is done with the handle.
"""

from __future__ import annotations

import contextlib
import posixpath

from memfs.client.calls.modes import Mode
from memfs.client.context import ClientContext
from memfs.client.handles.create_options import CreateOptions
from memfs.client.handles.handle import Handle
from memfs.client.reading.block_map import BlockMap
from memfs.client.session.session import Session
from memfs.errors import (
    InvalidArgumentError,
    LeaseHeldError,
    PathExistsError,
    PathNotFoundError,
)
from memfs.protocol import messages as m

CREATE_RACES = 8
"""Rounds of "it does not exist" and "it exists" before opening for append gives up."""


async def open_handle(
    context: ClientContext,
    path: str,
    raw: bytes,
    mode: Mode,
    options: CreateOptions,
    timeout: float | None = None,
    kind: type[Handle] = Handle,
) -> Handle:
    """Open ``raw`` (the wire form of ``path``). Raises what the builtin ``open`` raises."""
    session = context.session
    deadline = session.deadline(timeout)
    if not mode.writing:
        file = await BlockMap.open_to_stay(session, path, raw, deadline)
        return kind(context, file, mode, stays=True)
    if mode.truncating or mode.creating:
        request = options.create(raw, exclusive=mode.creating, holder=session.holder)
        reply = await _create(session, request, path, options.recover, deadline)
        session.commits += 1
        file = BlockMap.leased(session, path, reply)
    else:
        file = await _open_existing(session, path, raw, mode, options, deadline)
    return kind(context, file, mode)


async def _create(
    session: Session, request: m.Create, path: str, recover: bool, deadline: float
) -> m.LeaseReply:
    """Create or empty a file; ``recover``: end the lease of whoever writes it before."""
    grants = session.grants
    for _ in range(CREATE_RACES if recover else 0):
        try:
            return await grants.lease(request, path, deadline)
        except LeaseHeldError:
            with contextlib.suppress(PathNotFoundError):  # it went meanwhile
                await grants.recover(request.path, path, deadline)
    return await grants.lease(request, path, deadline)


async def reopen_handle(
    context: ClientContext, handle: Handle, kind: type[Handle] = Handle
) -> Handle:
    """The inode of ``handle``, open for reading over another session."""
    assert not handle.mode.writing, "a lease cannot be taken along"
    file = handle.file
    inode = file.attributes.inode
    return await open_inode(context, file.path, inode, handle.mode, kind=kind)


async def open_inode(
    context: ClientContext,
    path: str,
    inode: int,
    mode: Mode,
    timeout: float | None = None,
    kind: type[Handle] = Handle,
) -> Handle:
    """Open a file by its inode, for reading; errors call it ``path``."""
    session = context.session
    deadline = session.deadline(timeout)
    file = await BlockMap.open_to_stay(session, path, b"", deadline, inode)
    return kind(context, file, mode, stays=True)


async def _open_existing(
    session: Session,
    path: str,
    raw: bytes,
    mode: Mode,
    options: CreateOptions,
    deadline: float,
) -> BlockMap:
    """``a`` and ``r+``: take the lease; ``a`` creates what does not exist."""
    if mode.appending and raw.endswith(b"/"):  # the slash is refused first, whatever is there
        refused = options.create(raw, exclusive=True, holder=session.holder)
        await session.grants.lease(refused, path, deadline)
    if mode.reading:
        await _check_readable(session, path, raw, mode, deadline)
    for _ in range(CREATE_RACES):
        try:
            reply = await session.grants.lease(
                m.AcquireLease(raw, options.recover, holder=session.holder), path, deadline
            )
            break
        except PathNotFoundError:
            if not mode.appending:
                raise
        try:
            request = options.create(raw, exclusive=True, holder=session.holder)
            reply = await session.grants.lease(request, path, deadline)
            break
        except PathExistsError:
            raw = await _leads_to(session, raw, path, deadline)
    else:
        raise PathNotFoundError("the file appears and vanishes", path=path)
    return BlockMap.leased(session, path, reply)


async def _leads_to(session: Session, raw: bytes, path: str, deadline: float) -> bytes:
    """Where the symlink ``raw`` points (it may be broken); ``raw`` when it is none (any more)."""
    try:
        reply = await session.ask(m.ReadLink(raw), path, deadline)
    except (PathNotFoundError, InvalidArgumentError):
        return raw
    return posixpath.join(posixpath.dirname(raw), reply.target)


async def _check_readable(
    session: Session, path: str, raw: bytes, mode: Mode, deadline: float
) -> None:
    """Opening for update needs the right to read as well as the lease."""
    try:
        await session.ask(m.Access(raw, 4), path, deadline)
    except PathNotFoundError:
        if not mode.appending:
            raise
