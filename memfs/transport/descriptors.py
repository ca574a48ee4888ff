"""File descriptors of block memory, passed to processes of the same host.

Owns a unix socket of type SOCK_SEQPACKET: one datagram is one frame (header and record of
``GetDescriptors``), its answer one datagram with the descriptors beside it (SCM_RIGHTS). Knows
nothing of blocks: a handler names the descriptors, which stay the handler's.

Who reaches the socket is decided by its mode and its directory
(:mod:`memfs.transport.local_sockets`), and, where it is for some accounts only, by the kernel's
word on who connects; which blocks they may have by the handler, from what the request shows.
Writing is impossible: the descriptors are sealed before they come here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import re
import socket
import stat
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from memfs import limits
from memfs.errors import (
    DeadlineError,
    InternalError,
    MemfsError,
    ProtocolError,
    UnavailableError,
    from_wire,
)
from memfs.protocol import frames, records
from memfs.protocol.messages import (
    BY_REQUEST,
    BlockVersion,
    DescriptorsReply,
    ErrorReply,
    GetDescriptors,
    Segment,
)
from memfs.transport.local_sockets import check_peer, user_of

log = logging.getLogger(__name__)

DESCRIPTORS_PER_REPLY: Final = 200
"""The kernel passes 253 at once (SCM_MAX_FD); blocks in further ones are read over the network."""
_SCM_MAX_FD: Final = 253
_BACKLOG: Final = 128
_NAME: Final = re.compile(r"[0-9a-f]{16}(\.fd)?")
"""Names of a node's sockets: its incarnation."""
SETTLED_SECONDS: Final = 1.0
"""A socket has a name for a moment before its process listens."""
_INT_BYTES: Final = array("i").itemsize
CLIENTS: Final = 1024
"""Processes that may be connected; one socket each, no buffers."""
_OPCODE: Final = BY_REQUEST[GetDescriptors].opcode
_DATAGRAM_BYTES: Final = frames.HEADER_BYTES + limits.RECORD_BYTES

Handler = Callable[[GetDescriptors], tuple[DescriptorsReply, list[int]]]
"""Returns the segments and the descriptors that they index; called in the event loop."""


def remove_stale_sockets(directory: Path, settled_seconds: float = SETTLED_SECONDS) -> None:
    """Remove the sockets of nodes that were killed, at which no process listens any more."""
    for path in directory.iterdir():
        with contextlib.suppress(OSError):
            if _NAME.fullmatch(path.name) and _is_stale(path, time.time() - settled_seconds):
                path.unlink()


def _is_stale(path: Path, before: float) -> bool:
    found = path.lstat()
    own = stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid()
    if not own or found.st_mtime > before:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED


class DescriptorServer:
    """Answers ``GetDescriptors`` on a unix socket, within the running event loop."""

    def __init__(
        self,
        path: str,
        handler: Handler,
        mode: int = 0o600,
        clients: int = CLIENTS,
        accounts: frozenset[int] | None = None,
    ) -> None:
        """Listens at ``path``, replacing a socket left there; ``clients`` at a time.

        ``accounts``: uids that are answered; None: all who can connect. Raises OSError.
        """
        self._accounts = accounts
        self._path = path
        self._most = clients
        self._handler = handler
        self._clients: set[socket.socket] = set()
        self._loop = asyncio.get_running_loop()
        self._socket = _listen(path, mode)
        self._loop.add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Stop listening, disconnect the clients, remove the socket file."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for client in list(self._clients):
            self._drop(client)
        with contextlib.suppress(OSError):
            Path(self._path).unlink()

    def _accept(self) -> None:
        try:
            client, _ = self._socket.accept()
        except OSError as error:  # out of descriptors, or the client is gone again
            log.warning("descriptor socket: %s", error)
            return
        if self._accounts is not None and (user := user_of(client)) not in self._accounts:
            log.warning("descriptor socket: user %d is refused", user)
            client.close()
            return
        if len(self._clients) >= self._most:
            log.info("descriptor socket: %d clients, one more is refused", self._most)
            client.close()
            return
        client.setblocking(False)
        self._clients.add(client)
        self._loop.add_reader(client, self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            data, _, flags, _ = client.recvmsg(_DATAGRAM_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data, flags = b"", 0
        if not data:
            self._drop(client)
            return
        try:
            if flags & socket.MSG_TRUNC:
                raise ProtocolError("a datagram longer than a frame")
            self._answer(client, data)
        except OSError as error:  # a peer that breaks the protocol, is gone, or does not read
            log.info("descriptor client dropped: %s", error)
            self._drop(client)

    def _answer(self, client: socket.socket, data: bytes) -> None:
        header, record = _split(data)
        if header.flags != frames.REQUEST or header.opcode != _OPCODE:
            raise ProtocolError(f"opcode {header.opcode} on the socket for descriptors")
        request = records.decode(GetDescriptors, record)
        descriptors: list[int] = []
        try:
            answer, descriptors = _within_bounds(*self._handler(request))
            flags, reply = frames.REPLY, records.encode(answer)
        except Exception as error:
            flags, reply = frames.ERROR, records.encode(_error_reply(error))
        frame = frames.pack_frame(flags, _OPCODE, header.request_id, header.epoch, 0, reply)
        # A client that does not read gets EAGAIN and is dropped: nothing is ever queued here.
        socket.send_fds(client, [frame], descriptors)

    def _drop(self, client: socket.socket) -> None:
        self._loop.remove_reader(client)
        self._clients.discard(client)
        client.close()


class DescriptorClient:
    """Fetches descriptors from a node's socket; connects when needed, and again after a failure.

    A fetch takes microseconds, so that it may block; :meth:`fetch_async` waits without blocking,
    on a connection of its own. The first is safe from many threads, the second within one loop.
    """

    def __init__(self, path: str, client: int = 0, user: str = "") -> None:
        """``path`` of the node's descriptor socket; nothing is opened yet.

        ``client`` and ``user`` are those whose capabilities are shown.
        """
        self._blocking = _Link(path, client, user)
        self._waiting = _Link(path, client, user)
        self._lock = threading.Lock()
        self._turn = asyncio.Lock()

    def fetch(
        self,
        versions: Sequence[BlockVersion],
        timeout: float,
        capabilities: tuple[bytes, ...] = (),
    ) -> tuple[DescriptorsReply, list[int]]:
        """Segments of ``versions`` and the descriptors they index, which are the caller's to close.

        Waits up to ``timeout`` seconds. Raises UnavailableError, DeadlineError, ProtocolError, and
        what the node answers; no descriptor is left open then.
        """
        with self._lock, _failures(self._blocking, timeout):
            self._blocking.send(versions, timeout, capabilities, ())
            return self._blocking.receive()

    async def fetch_async(
        self,
        versions: Sequence[BlockVersion],
        timeout: float,
        capabilities: tuple[bytes, ...] = (),
        small: Sequence[int] = (),
    ) -> tuple[DescriptorsReply, list[int]]:
        """As :meth:`fetch`, leaving the event loop free while the node works.

        ``small``: segments of small blocks to be lent as well, by their numbers.
        """
        try:
            async with asyncio.timeout(timeout), self._turn:
                with _failures(self._waiting, timeout):
                    await _readable(self._waiting.send(versions, 0, capabilities, small))
                    return self._waiting.receive()
        except MemfsError:
            raise
        except TimeoutError:
            raise _too_late(timeout) from None

    def close(self) -> None:
        """Disconnect; a later fetch connects again."""
        self._blocking.disconnect()
        self._waiting.disconnect()


class _Link:
    """One connection to a node's descriptor socket, with one request at a time."""

    def __init__(self, path: str, client: int, user: str) -> None:
        self._path = path
        self._client = client
        self._user = user
        self._socket: socket.socket | None = None
        self._request = 0
        self._asked = GetDescriptors(())

    def send(
        self,
        versions: Sequence[BlockVersion],
        timeout: float,
        capabilities: tuple[bytes, ...],
        small: Sequence[int],
    ) -> socket.socket:
        """Ask for ``versions``; connects first, and again when the node has hung up since."""
        self._request += 1
        shown = capabilities, self._client, self._user
        request = self._asked = GetDescriptors(tuple(versions), *shown, tuple(small))
        record = records.encode(request)
        frame = frames.pack_frame(frames.REQUEST, _OPCODE, self._request, 0, 0, record)
        if self._socket is not None:
            try:
                self._socket.settimeout(timeout)
                self._socket.send(frame)
                return self._socket
            except (BrokenPipeError, ConnectionResetError):
                self.disconnect()
        self._socket = _connect(self._path, timeout)
        self._socket.send(frame)
        return self._socket

    def receive(self) -> tuple[DescriptorsReply, list[int]]:
        """The answer to what was sent last. Raises what the node answers."""
        assert self._socket is not None, "nothing was sent"
        data, descriptors, flags = _receive(self._socket)
        try:
            if not data:
                raise ConnectionResetError("the node hung up")
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ProtocolError("a truncated answer: the process has no descriptors left")
            return self._decode(data, len(descriptors)), descriptors
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise

    def disconnect(self) -> None:
        """Close the connection: a late answer and its descriptors go with it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _decode(self, data: bytes, descriptors: int) -> DescriptorsReply:
        header, record = _split(data)
        if header.opcode != _OPCODE or header.request_id != self._request:
            raise ProtocolError(f"an answer to request {header.request_id}, not {self._request}")
        if header.flags == frames.ERROR:
            raise from_wire(*records.decode(ErrorReply, record))
        reply = records.decode(DescriptorsReply, record)
        asked = self._asked
        if header.flags != frames.REPLY or len(reply.segments) != len(asked.versions):
            raise ProtocolError(f"{len(reply.segments)} segments for {len(asked.versions)} blocks")
        for segment in reply.segments:
            known = -1 <= segment.descriptor < descriptors
            told = -(-segment.length // limits.CHUNK_BYTES) * 4 if segment.sums else 0
            if not known or min(segment.offset, segment.length) < 0 or len(segment.sums) != told:
                raise ProtocolError(f"{segment} with {descriptors} descriptors")
        if len(reply.lent) > len(asked.small):
            raise ProtocolError(f"{len(reply.lent)} segments lent of {len(asked.small)}")
        for index in reply.lent:
            if not -1 <= index < descriptors:
                raise ProtocolError(f"descriptor {index} of {descriptors}")
        return reply


@contextlib.contextmanager
def _failures(link: _Link, timeout: float) -> Iterator[None]:
    """Turn what a socket raises into the errors of memfs; hang up where answers may be lost."""
    try:
        yield
    except ProtocolError:
        link.disconnect()
        raise
    except MemfsError:
        raise
    except TimeoutError:
        link.disconnect()
        raise _too_late(timeout) from None
    except OSError as error:
        link.disconnect()
        raise UnavailableError(f"the node's descriptor socket: {error}") from None
    except BaseException:  # cancelled between question and answer
        link.disconnect()
        raise


def _too_late(timeout: float) -> DeadlineError:
    return DeadlineError(f"no descriptors from the node within {timeout} s")


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)


def _connect(path: str, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(timeout)
        connection.connect(path)
        check_peer(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _receive(connection: socket.socket) -> tuple[bytes, list[int], int]:
    """A datagram, its descriptors and flags; ``socket.recv_fds`` cannot close them on exec."""
    room = socket.CMSG_LEN(_SCM_MAX_FD * _INT_BYTES)
    data, ancillary, flags, _ = connection.recvmsg(_DATAGRAM_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    numbers = array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(content[: len(content) - len(content) % _INT_BYTES])
    return data, list(numbers), flags


def _listen(path: str, mode: int) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(Path(path).stat().st_mode):
            Path(path).unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(path)
        Path(path).chmod(mode)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _error_reply(error: Exception) -> ErrorReply:
    if isinstance(error, MemfsError):
        return ErrorReply(error.code, error.message)
    log.error("descriptor request failed", exc_info=error)
    return ErrorReply(InternalError.code, f"the node failed: {type(error).__name__}")


def _split(data: bytes) -> tuple[frames.FrameHeader, bytes]:
    """Header and record of a datagram. Raises ProtocolError."""
    if len(data) < frames.HEADER_BYTES:
        raise ProtocolError(f"a datagram of {len(data)} bytes")
    header = frames.unpack_header(data)
    record = data[frames.HEADER_BYTES :]
    if len(record) != header.record_length or header.payload_length:
        raise ProtocolError("a datagram that is not one frame")
    frames.check_record(header, record)
    return header, record


def _within_bounds(
    reply: DescriptorsReply, descriptors: list[int]
) -> tuple[DescriptorsReply, list[int]]:
    """The descriptors that fit one datagram; the segments of others are read over the network."""
    if len(descriptors) <= DESCRIPTORS_PER_REPLY:
        return reply, descriptors
    segments = tuple(
        segment if segment.descriptor < DESCRIPTORS_PER_REPLY else Segment(-1, 0, 0)
        for segment in reply.segments
    )
    lent = tuple(index if index < DESCRIPTORS_PER_REPLY else -1 for index in reply.lent)
    return DescriptorsReply(segments, lent), descriptors[:DESCRIPTORS_PER_REPLY]
