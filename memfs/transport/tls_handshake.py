"""TLS for the handshake only: such connections carry blocks in clear once both sides are verified.

Owns the record layer of such a connection until it is released, between the socket's transport and
the protocol of frames. The handshake is that of every connection, under TLS 1.3, up to and
including ``Welcome``; everything after it is in clear in both directions. Invariants: nothing is
given to the protocol before TLS has verified the peer as the context demands, and nothing that came
under TLS is left when the connection is released, nor is anything read as TLS after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Sequence
from typing import Any

from memfs import limits
from memfs.errors import ProtocolError
from memfs.types import Buffer

log = logging.getLogger(__name__)

_READ_BYTES = 16 * limits.KIB
"""What a record of TLS carries at most."""


class TlsHandshake(asyncio.BufferedProtocol):
    """The socket's protocol, and the transport of the protocol above, until :meth:`release`."""

    def __init__(
        self,
        protocol: asyncio.BufferedProtocol,
        context: ssl.SSLContext,
        *,
        accepts: bool = False,
        host: str | None = None,
    ) -> None:
        """``protocol`` is connected when the peer is verified. ``host``: the name that the node's
        certificate must have; None where this side ``accepts``."""
        self._protocol: Any = protocol
        self._context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=accepts, server_hostname=host
        )
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._socket: Any = None
        self._verified = self._released = self._paused = False
        self._loop = asyncio.get_running_loop()
        self._late: asyncio.TimerHandle | None = None
        self.verified: asyncio.Future[None] = self._loop.create_future()
        """Done when the peer is verified; fails with OSError, ssl.SSLError included."""

    def release(self) -> Any:
        """The socket's own transport, which is the protocol's from here on.

        Raises ProtocolError when the peer has sent more than the handshake.
        """
        if self._incoming.pending or self._tls.pending():
            raise ProtocolError("something came between the handshake and its answer")
        self._released = True
        self._socket.set_protocol(self._protocol)
        return self._socket

    # --- the socket's protocol ---------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Called by the loop."""
        self._socket = transport
        self._late = self._loop.call_later(limits.HANDSHAKE_SECONDS, self._give_up)
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        if self._verified:
            self._protocol.connection_lost(exc)
        else:
            self._fail(exc or ConnectionResetError("it hung up"))

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Called by the loop."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the loop."""
        self._incoming.write(self._buffer[:nbytes])
        self._advance()

    def pause_writing(self) -> None:
        """Called by the loop."""
        if self._verified:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Called by the loop."""
        if self._verified:
            self._protocol.resume_writing()

    def _advance(self) -> None:
        """Go on with what has come."""
        try:
            if not self._verified:
                self._tls.do_handshake()
                self._begin()
            while not self._paused and not self._released:
                data = self._tls.read(_READ_BYTES)
                if not data:
                    self._socket.close()
                    break
                self._give(memoryview(data))
        except ssl.SSLWantReadError:
            self._flush()
        except (ssl.SSLError, ConnectionError) as error:
            self._flush()  # the alert
            self._break_off(error)

    def _begin(self) -> None:
        self._verified = True
        self._flush()
        self._cancel_timer()
        self._protocol.connection_made(self)
        if not self.verified.done():
            self.verified.set_result(None)

    def _give(self, data: memoryview) -> None:
        while data:
            if self._released:
                self._socket.abort()
                return
            space = self._protocol.get_buffer(-1)
            piece = data[: len(space)]
            if not piece:
                raise ConnectionResetError("too much was sent before the handshake was answered")
            space[: len(piece)] = piece
            data = data[len(piece) :]
            self._protocol.buffer_updated(len(piece))

    def _break_off(self, error: OSError) -> None:
        self._socket.close()
        if self._verified:
            # What the loop says later is that it was closed here: this says why.
            self._verified = False
            self._protocol.connection_lost(error)
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._cancel_timer()
        if not self.verified.done():
            log.debug("a handshake of TLS failed: %s", error)
            self.verified.set_exception(error)
            self.verified.exception()  # nobody waits for it where connections are accepted

    def _give_up(self) -> None:
        self._fail(ConnectionResetError("the handshake of TLS was not completed in time"))
        self._socket.abort()

    def _cancel_timer(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._socket.write(data)

    # --- the transport of the protocol above -------------------------------------------------

    def write(self, data: Buffer) -> None:
        """See :class:`asyncio.WriteTransport`."""
        with contextlib.suppress(ssl.SSLError):  # it is closing: as a socket would
            self._tls.write(data)
            self._flush()

    def writelines(self, buffers: Sequence[Buffer]) -> None:
        """See :class:`asyncio.WriteTransport`."""
        self.write(b"".join(buffers))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See :class:`asyncio.BaseTransport`."""
        if name == "peercert":
            return self._tls.getpeercert()
        if name == "ssl_object":
            return self._tls
        if name == "sslcontext":
            return self._context
        return self._socket.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """See :class:`asyncio.ReadTransport`."""
        self._paused = True
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        """See :class:`asyncio.ReadTransport`."""
        self._paused = False
        self._socket.resume_reading()
        self._advance()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See :class:`asyncio.WriteTransport`."""
        self._socket.set_write_buffer_limits(high=high, low=low)

    def get_write_buffer_size(self) -> int:
        """See :class:`asyncio.WriteTransport`."""
        return int(self._socket.get_write_buffer_size())

    def close(self) -> None:
        """See :class:`asyncio.BaseTransport`."""
        self._socket.close()

    def abort(self) -> None:
        """See :class:`asyncio.WriteTransport`."""
        self._socket.abort()
