"""Questions that a blocking caller asks in its own thread, without the event loop.

Owns one connection to the primary for that, made once it is worth it, and the rule when it is
used: for single questions that the primary answers at once. Whatever is not usual, no answer, a
view that changes, an answer that needs the loop, ends in :class:`NeedsLoopError`: then the same is
asked again on the loop, which knows about retries and other nodes. Questions change nothing, so
asking twice does no harm. Must not know files. Invariant: of the session only what any thread may
touch is touched.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

from memfs.client.session.known_view import KnownView
from memfs.client.session.routing import Routing
from memfs.errors import ProtocolError, RetryableError
from memfs.paths import Endpoint
from memfs.protocol import messages as m
from memfs.protocol.records import check
from memfs.transport.blocking import BlockingConnection, connect
from memfs.transport.connection import Answer
from memfs.types import Member

T = TypeVar("T")

WORTH: Final = 64
"""Calls after which a connection of its own is worth its while."""
PATIENCE_SECONDS: Final = 0.2
"""For one answer. After it the loop asks, and looks for another primary."""
BUDGET_SECONDS: Final = 10 * PATIENCE_SECONDS
"""Callers with less time for a whole call have none for a question that may be asked twice."""
RETRY_SECONDS: Final = 1.0
"""Before another connection is tried, twice as long each time that one brings no answer..."""
RETRY_SECONDS_MAX: Final = 60.0
"""... which may be for the way there: what takes longer than the patience is not asked so."""
_PATIENCE_MS: Final = int(1000 * PATIENCE_SECONDS)
_QUESTIONS: Final = frozenset((m.Lookup, m.ReadMany))


class NeedsLoopError(BaseException):
    """What is asked needs the event loop."""


class DirectQuestions:
    """Of one session. Any thread may ask; one that finds another asking goes to the loop."""

    def __init__(
        self, routing: Routing, answered: Callable[[int], None], *, sockets: bool, clear: bool
    ) -> None:
        """``answered`` is told in any thread of each answer, with the epoch of one that is newer
        than what is known; ``sockets``: nodes of this host are reached by theirs; ``clear``: others
        without TLS.
        """
        self._routing = routing
        self._answered = answered
        self._sockets = sockets
        self._clear = clear
        self._busy = threading.Lock()
        self._thread = 0
        self._calls = 0
        self._again = 0.0
        self._pause = RETRY_SECONDS
        self._connection: BlockingConnection | None = None
        self._place: tuple[object, ...] = ()
        self._closed = False
        _all.add(self)

    def run(
        self, work: Callable[..., Coroutine[Any, Any, T]], args: Any, kwargs: Any
    ) -> tuple[T] | None:
        """The result of ``work(*args, **kwargs)`` as the only item; None: it needs the loop.

        Raises what the work does.
        """
        if self._calls < WORTH:
            self._calls += 1
            return None
        if self._connection is None and time.monotonic() < self._again:
            return None
        if not self._busy.acquire(blocking=False):
            return None
        try:
            self._thread = threading.get_ident()
            coroutine = work(*args, **kwargs)
            try:
                coroutine.send(None)
            except StopIteration as done:
                return (done.value,)
            except (NeedsLoopError, RuntimeError):  # the latter of what misses a running loop
                return None
            coroutine.close()
            return None
        finally:
            self._thread = 0
            if self._connection is not None and (self._closed or self._connection.closed):
                self._drop()
            self._busy.release()

    @property
    def asking(self) -> bool:
        """Whether the work of this thread is done directly."""
        return self._thread == threading.get_ident()

    def ask(self, request: m.Request[m.R], deadline: float | None) -> Answer[m.R]:
        """The primary's answer. Raises what it answers; NeedsLoopError."""
        if type(request) not in _QUESTIONS:
            raise NeedsLoopError
        check(request)
        known = self._routing.known
        if deadline is not None and deadline - time.monotonic() < PATIENCE_SECONDS:
            raise NeedsLoopError
        try:
            answer = self._open(known).call(request, timeout_ms=_PATIENCE_MS, epoch=known.epoch)
        except (RetryableError, ProtocolError):
            raise NeedsLoopError from None
        record = answer.record
        granted = isinstance(record, m.ReadManyReply) and record.capability
        if answer.epoch > known.epoch or granted:
            self._answered(answer.epoch)
            raise NeedsLoopError
        self._pause = RETRY_SECONDS
        self._answered(0)
        return answer

    def _open(self, known: KnownView) -> BlockingConnection:
        """The connection to the primary of a view. Raises NeedsLoopError."""
        member = known.member(known.primary_number)
        place = known.view.primary_since, member.number, member.incarnation
        connection = self._connection
        if connection is not None and place == self._place and not self._closed:
            return connection
        self._drop()
        if self._closed or time.monotonic() < self._again:
            raise NeedsLoopError
        self._again = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, RETRY_SECONDS_MAX)
        hello = self._routing.hello(m.Lane.CONTROL.value)
        for where in self._places(member, known):
            with contextlib.suppress(OSError):  # MemfsError is one
                connection = connect(where, hello, PATIENCE_SECONDS)
                welcome = connection.welcome
                if welcome is not None and welcome.incarnation == member.incarnation:
                    self._connection, self._place = connection, place
                    return connection
                connection.close()
        raise NeedsLoopError

    def _places(self, member: Member, known: KnownView) -> Iterator[Endpoint | str]:
        if self._sockets and member.socket and known.is_local(member.number):
            yield member.socket
        if self._clear:
            yield Endpoint(member.host, member.port)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """The session ends, in whatever thread."""
        self._closed = True
        connection = self._connection
        if connection is None:
            return
        if self._busy.acquire(blocking=False):
            connection.close()
            self._busy.release()
        else:
            connection.interrupt()

    def release(self) -> None:
        """In a forked child: let go of the parent's connection."""
        if self._connection is not None:
            self._connection.close()


_all: weakref.WeakSet[DirectQuestions] = weakref.WeakSet()


def release_inherited() -> None:
    """In a forked child: let go of the parent's connections."""
    for each in _all:
        each.release()
