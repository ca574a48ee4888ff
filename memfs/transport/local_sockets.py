"""Unix sockets of this host: the owner of their directory, and the user at the other end.

Owns two rules: a node creates its sockets only where nobody else can replace them, and a client
checks who listens (SO_PEERCRED) before it sends anything.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Final, NamedTuple

_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class SocketAccess(NamedTuple):
    """Modes of the directory and of the sockets in it."""

    directory: int
    sockets: int


ACCESS: Final = {
    "user": SocketAccess(0o700, 0o600),
    "group": SocketAccess(0o750, 0o660),
    "all": SocketAccess(0o755, 0o666),
}
"""Who may connect: the node's user and root only, its group too, or every user of this host."""


def prepare_directory(directory: Path, access: SocketAccess) -> None:
    """Create it, or check that it is ours, no symlink, and not writable by others.

    Raises PermissionError, NotADirectoryError, other OSErrors of making it.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        directory.mkdir(access.directory)
    except FileExistsError:
        pass
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{directory} is no directory: name another socket_directory")
    if found.st_uid != os.geteuid():
        raise PermissionError(
            f"{directory} belongs to user {found.st_uid}, who could read and replace the sockets: "
            "name another socket_directory"
        )
    if stat.S_IMODE(found.st_mode) != access.directory:
        directory.chmod(access.directory)


async def connect(path: str) -> socket.socket:
    """Connect to ``path`` if a trusted user listens there. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, path)
        check_peer(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def peer_user(transport: asyncio.BaseTransport) -> int | None:
    """The user at the other end of a unix socket (SO_PEERCRED); None of other sockets."""
    found = transport.get_extra_info("socket")
    if found is None or found.family != socket.AF_UNIX:
        return None
    with socket.socket(fileno=os.dup(found.fileno())) as own:  # uvloop's stand-in has no options
        return user_of(own)


def user_of(connection: socket.socket) -> int:
    """The user at the other end of a unix socket, as it was when they connected (SO_PEERCRED)."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(raw)[1]
    return user


def check_peer(connection: socket.socket, path: str) -> None:
    """Check that a trusted user listens at ``path``. Raises ConnectionRefusedError.

    Trusted are root, our own user, and whoever owns a directory that only root could have made.
    """
    user = user_of(connection)
    if user in (0, os.geteuid()):
        return
    directory = Path(path).parent
    owned, above = directory.lstat(), directory.parent.lstat()
    placed_by_root = above.st_uid == 0 and not above.st_mode & _WRITABLE_BY_OTHERS
    private = owned.st_uid == user and not owned.st_mode & _WRITABLE_BY_OTHERS
    if not (placed_by_root and private):
        raise ConnectionRefusedError(f"user {user} listens at {path}, and is not trusted")
