"""A served connection that takes no more than its share, and reads what it has asked for.

Owns when the socket of an accepted connection is read: not while the peer leaves its answers
unread, and for clients only in their turn. Ends the connection of a peer that reads nothing or says
nothing. Must not know requests. Invariant: each part that halts the reading continues it later, or
ends the connection.
"""

from __future__ import annotations

import asyncio
import logging

from memfs import limits
from memfs.protocol.messages import Role
from memfs.transport.bounds.ledgers import LOCAL, UserAtAddress
from memfs.transport.bounds.load import ServerLoad
from memfs.transport.connection import Connection

log = logging.getLogger(__name__)

_SILENCE = "nothing is heard"
_UNREAD = "the peer does not read"


class PacedConnection(Connection):
    """A connection whose peer cannot take the node's time or memory by itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop, load: ServerLoad) -> None:
        """``load``: what it shares with the server's other connections."""
        super().__init__(loop)
        self.stalled_seconds = load.bounds.stalled_seconds
        self.account = UserAtAddress("", LOCAL)
        """What it uses is counted there."""
        self._load = load
        self._bounds = load.bounds
        self._greeted = False
        self._unread = 0
        self._turns = load.turns
        self._turn = 0
        self._frames = 0
        self._share_ends = 0.0
        self._waits = False
        self._curbed = False

    # --- a peer that says nothing ------------------------------------------------------------

    def _watch_silence(self) -> None:
        due = self._loop.time() + self._bounds.silence_seconds
        self._deadlines.set(_SILENCE, due, self._listen_for_silence)

    def _listen_for_silence(self, _key: str) -> None:
        if not self.received_since and self._blocked is None:
            log.info("closed the connection with %s: nothing was heard", self.address)
            self.close("nothing was heard")
            return
        self.received_since = False
        self.shrink()
        self._watch_silence()

    # --- a peer that stops in the midst ------------------------------------------------------

    def may_have_inbox(self, size: int, *, needed: bool) -> bool:
        """See :class:`~memfs.transport.framing.FrameProtocol`."""
        if self._greeted and not self._is_shared:
            return True
        more = size - limits.INBOX_BYTES
        return self._load.arriving.lend(self, self.account, more, needed=needed)

    def shrink(self) -> None:
        """See :class:`~memfs.transport.framing.FrameProtocol`."""
        super().shrink()
        if len(self._inbox) <= limits.INBOX_BYTES:
            self._load.arriving.take_back(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        super().connection_lost(exc)
        self._load.arriving.take_back(self)

    # --- a peer that does not read -----------------------------------------------------------

    def pause_writing(self) -> None:
        """Called by the loop: as long as answers wait, no further request is read."""
        super().pause_writing()
        self.halt_reading()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Called by the loop."""
        super().resume_writing()
        self._deadlines.clear(_UNREAD)
        self.continue_reading()

    def _watch_reader(self) -> None:
        self._unread = self._transport.get_write_buffer_size()
        due = self._loop.time() + self._bounds.stalled_seconds
        self._deadlines.set(_UNREAD, due, self._check_reader)

    def _check_reader(self, _key: str) -> None:
        if self._transport.get_write_buffer_size() < self._unread:
            self._watch_reader()
            return
        seconds = self._bounds.stalled_seconds
        log.warning("closed the connection with %s: it read nothing in %g s", self.address, seconds)
        self.abort("the peer does not read")

    @property
    def unread(self) -> int:
        """See :class:`~memfs.transport.bounds.unread.Reader`."""
        return self.bytes_sent - self.bytes_left

    def curb(self) -> None:
        """See :class:`~memfs.transport.bounds.unread.Reader`."""
        if not self._curbed and not self.closed:
            self._curbed = True
            self.halt_reading()

    def uncurb(self) -> None:
        """See :class:`~memfs.transport.bounds.unread.Reader`."""
        if self._curbed:
            self._curbed = False
            self.continue_reading()

    def drop(self, reason: str) -> None:
        """See :class:`~memfs.transport.bounds.unread.Reader`."""
        self.abort(reason)

    # --- a peer that asks much ---------------------------------------------------------------

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the loop. Bytes that arrive when the clients' part of a turn is over wait for
        the next turn."""
        if self._is_shared and self._arrival is None and nbytes and self._turns.is_over():
            self._leave_turn()
        super().buffer_updated(nbytes)

    @property
    def _is_shared(self) -> bool:
        return self._greeted and self.peer.role != Role.NODE

    def _count_frame(self) -> None:
        """Count a client's frame that is being served; it may be the last one of this turn."""
        turns = self._turns
        over = turns.is_over()
        if self._turn != turns.number:
            self._turn, self._frames, self._share_ends = turns.number, 0, turns.begin_share()
        self._frames += 1
        if over or self._frames >= turns.frames:
            self._leave_turn()

    def _check_share(self) -> None:
        """A client's frame was served; the time of its connection may be over now."""
        if self._turns.has_passed(self._share_ends):
            self._leave_turn()

    def _leave_turn(self) -> None:
        if not self._waits and not self.closed:
            self._waits = True
            self.halt_reading()
            self._turns.wait(self)

    def take_turn(self) -> None:
        """See :class:`~memfs.transport.bounds.turns.Waiting`."""
        self._waits = False
        self._continue()

    def _continue(self) -> None:
        if not self._waits and not self._curbed:
            super()._continue()
