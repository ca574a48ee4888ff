"""The channel between a keeper and its worker: a socket pair, messages of JSON, a descriptor.

Owns the form of messages. Must not know what they are for.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Final

MESSAGE_BYTES: Final = 64 * 1024


class Channel:
    """One end. Every message is a record of its own, with a descriptor or without."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Both ends."""
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(first), cls(second)

    @classmethod
    def of_descriptor(cls, number: int) -> Channel:
        """The end that a process was started with."""
        os.set_inheritable(number, False)
        return cls(socket.socket(fileno=number))

    def fileno(self) -> int:
        """Of the socket."""
        return self._socket.fileno()

    def send(self, kind: str, fd: int | None = None, **fields: str) -> None:
        """Send a message. Raises OSError when the other end is gone."""
        raw = json.dumps({"kind": kind, **fields}).encode()
        if fd is None:
            self._socket.send(raw)
        else:
            socket.send_fds(self._socket, [raw], [fd])

    def receive(self) -> tuple[dict[str, str], int | None]:
        """The next message, and its descriptor; an empty one when the other end is gone."""
        try:
            raw, descriptors, _, _ = socket.recv_fds(self._socket, MESSAGE_BYTES, 1)
        except ConnectionResetError:
            return {}, None
        fd = descriptors[0] if descriptors else None
        if fd is not None:
            os.set_inheritable(fd, False)
        return (json.loads(raw) if raw else {}), fd

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
