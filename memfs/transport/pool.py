"""Connections to members, made when they are needed and shared while they last.

Owns one control and one bulk connection per member, one for blocks where the member offers it (its
``bulk_port``), and the spare ones for streams. Invariants: at most one dial per shared connection
at a time; a connection leads to the very incarnation of the member that was asked for
(IncarnationIdentity), never to what was started later at its address; and peers reached through it
know this process under its present member number.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import NamedTuple

from memfs.errors import AccessDeniedError, MemfsError, ProtocolError, UnavailableError
from memfs.logs import fields
from memfs.paths import Endpoint
from memfs.protocol.messages import Hello, Lane
from memfs.quantities import show_duration
from memfs.transport.connection import Connection
from memfs.transport.dial import dial
from memfs.transport.environment import Environment
from memfs.types import Member

log = logging.getLogger(__name__)

DIAL_SECONDS = 5.0
BACKOFF_SECONDS = 0.05
BACKOFF_SECONDS_MAX = 2.0
SPARE_CONNECTIONS = 4
"""Idle connections kept per member for the streams to come."""


_Place = tuple[str, int, int]
"""An incarnation of a member, with its address."""
_Self = tuple[int, int]
"""The member number and the incarnation under which this process introduces itself."""


class _Way(NamedTuple):
    """One shared connection."""

    place: _Place
    lane: str
    introduced: _Self


class _FailedDial(NamedTuple):
    """The last dial failed, as all have since a time: not again before ``until``."""

    since: float
    until: float
    delay: float
    reason: str
    """As text: an exception would keep everything that its traceback refers to."""
    ended: bool
    """The host refused, or another process answered: that incarnation has ended."""


class Pool:
    """Reaches members; ``hello`` makes the handshake for a lane (``control`` or ``bulk``)."""

    def __init__(
        self, environment: Environment, hello: Callable[[str], Hello], machine: str = ""
    ) -> None:
        """Args: ``machine``, this host: members on it are reached by their unix socket."""
        self._environment = environment
        self._hello = hello
        self._machine = machine
        self._shared: dict[_Way, Connection] = {}
        self._dialling: dict[_Way, asyncio.Task[Connection]] = {}
        self._failures: dict[_Place, _FailedDial] = {}
        self._spare: dict[_Place, list[Connection]] = {}
        self._former: list[Connection] = []
        self._bulk_ports: dict[_Place, int] = {}
        self._introduced: _Self = (0, 0)
        self._request_ids = itertools.count(1)
        self._closed = False

    def next_request_id(self) -> int:
        """An id for a request that needs no id of its own."""
        return next(self._request_ids)

    async def control(self, member: Member) -> Connection:
        """The shared connection for small messages. Raises UnavailableError, ..."""
        return await self._reach(member, Lane.CONTROL.value)

    async def bulk(self, member: Member) -> Connection:
        """The shared connection for payloads. Raises UnavailableError, ..."""
        return await self._reach(member, Lane.BULK.value)

    async def blocks(self, member: Member) -> Connection:
        """The shared connection for blocks, :meth:`bulk` where the member offers no other."""
        if not await self._offers_blocks(member):
            return await self.bulk(member)
        try:
            return await self._reach(member, Lane.BLOCKS.value)
        except (UnavailableError, ProtocolError) as error:
            self._bulk_ports[_place(member)] = 0
            connection = await self.bulk(member)
            _say_without(member, error)
            return connection

    @contextlib.asynccontextmanager
    async def exclusive(self, member: Member) -> AsyncIterator[Connection]:
        """For one stream of blocks; kept for the next one when nothing is left open."""
        self._introduce(Lane.BULK.value)
        spare = self._spare.setdefault(_place(member), [])
        connection = _take_idle(spare) or await self._dial_for_blocks(member)
        try:
            yield connection
        finally:
            current = self._spare.get(_place(member)) is spare and not self._closed
            if connection.idle and len(spare) < SPARE_CONNECTIONS and current:
                spare.append(connection)
            else:
                connection.close("not needed any more")

    def retain(self, members: Iterable[Member]) -> None:
        """Keep connections to these members of a newer view; close the others once idle."""
        places = {_place(member) for member in members}
        shared = self._shared.items()
        gone = [one for way, one in shared if way.place not in places]
        gone += [
            one for place, spare in self._spare.items() if place not in places for one in spare
        ]
        self._shared = {way: one for way, one in shared if way.place in places and not one.closed}
        self._spare = {place: spare for place, spare in self._spare.items() if place in places}
        self._failures = {at: each for at, each in self._failures.items() if at in places}
        self._bulk_ports = {at: each for at, each in self._bulk_ports.items() if at in places}
        self._former = [each for each in (*self._former, *gone) if not _over(each)]

    async def close(self) -> None:
        """Close every connection; calls in flight fail."""
        self._closed = True
        dialling = list(self._dialling.values())
        for task in dialling:
            task.cancel()
        spare = [one for several in self._spare.values() for one in several]
        connections = [*self._shared.values(), *spare, *self._former]
        self._shared.clear()
        self._spare.clear()
        self._former.clear()
        for connection in connections:
            connection.close("the pool is closed")
        # Whoever is cancelled from here on has closed everything all the same.
        await asyncio.gather(*dialling, return_exceptions=True)
        await asyncio.gather(*(connection.wait_closed() for connection in connections))

    async def _reach(self, member: Member, lane: str) -> Connection:
        way = _Way(_place(member), lane, self._introduce(lane))
        connection = self._shared.get(way)
        if connection is not None and not connection.closed:
            return connection
        task = self._dialling.get(way)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._dial_shared(member, way))
            self._dialling[way] = task
            task.add_done_callback(lambda task: self._dialled(way, task))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not self._closed or is_being_cancelled():
                raise
            raise _closed_error() from None

    def _introduce(self, lane: str) -> _Self:
        """The present handshake; connections made with another identity are not used again.

        A node that joins gets a new number, and peers identify a connection by the number of its
        handshake.
        """
        hello = self._hello(lane)
        introduced = (hello.member, hello.incarnation)
        if introduced != self._introduced:
            self._introduced = introduced
            self._former += self._shared.values()
            self._former += [one for several in self._spare.values() for one in several]
            self._shared.clear()
            self._spare.clear()
        if self._former:
            self._former = [each for each in self._former if not _over(each)]
        return introduced

    async def _dial_shared(self, member: Member, way: _Way) -> Connection:
        connection = await self._dial(member, way.lane)
        if way.introduced == self._introduced:
            self._shared[way] = connection
        else:  # it was somebody else who dialled
            self._former.append(connection)
        return connection

    def _dialled(self, way: _Way, task: asyncio.Task[Connection]) -> None:
        del self._dialling[way]
        if not task.cancelled():
            task.exception()  # those who waited have it; it may be nobody any more

    async def _dial_for_blocks(self, member: Member) -> Connection:
        if not await self._offers_blocks(member):
            return await self._dial(member, Lane.BULK.value)
        try:
            return await self._dial(member, Lane.BLOCKS.value)
        except (UnavailableError, ProtocolError) as error:
            self._bulk_ports[_place(member)] = 0
            connection = await self._dial(member, Lane.BULK.value)
            _say_without(member, error)
            return connection

    async def _offers_blocks(self, member: Member) -> bool:
        """Whether the member has a port for blocks, which each greeting by TCP names. After a
        failed connection the port is not used until another greeting.
        """
        if self._environment.blocks is None:
            return False
        place = _place(member)
        if place not in self._bulk_ports:
            await self.bulk(member)
        return self._bulk_ports.get(place, 0) > 0

    async def _dial(self, member: Member, lane: str) -> Connection:
        """A new connection to this incarnation of the member; fails fast after a recent failure."""
        self._check_open(member)
        if lane == Lane.BLOCKS.value:  # says nothing of the member if it fails
            where = Endpoint(member.host, self._bulk_ports.get(_place(member), 0))
            return self._unless_closed(await self._dial_one(member, where, lane))
        now = self._environment.clock.monotonic
        began = now()
        try:
            connection = await self._dial_nearest(member, lane)
        except MemfsError as error:
            failure = self._failures.get(_place(member))
            delay = min(2 * failure.delay if failure else BACKOFF_SECONDS, BACKOFF_SECONDS_MAX)
            until = now() + delay * self._environment.random.uniform(0.5, 1.0)
            since = failure.since if failure else began
            ended = isinstance(error, _EndedError) or _is_refusal(error)
            self._failures[_place(member)] = _FailedDial(since, until, delay, str(error), ended)
            raise
        self._failures.pop(_place(member), None)
        return self._unless_closed(connection)

    def _unless_closed(self, connection: Connection) -> Connection:
        if self._closed:
            connection.close("the pool is closed")
            raise _closed_error()
        return connection

    def _check_open(self, member: Member) -> None:
        if self._closed:
            raise _closed_error()
        failure = self._failures.get(_place(member))
        if failure is not None and self._environment.clock.monotonic() < failure.until:
            raise UnavailableError(f"{member.name} is not reachable: {failure.reason}")

    def has_ended(self, member: Member) -> bool:
        """Whether its host refused the last attempt to connect, or another process answered. A host
        that is cut off, without power or overloaded does not answer.
        """
        failure = self._failures.get(_place(member))
        return failure is not None and failure.ended

    def trouble(self, member: Member) -> str:
        """How long the member has been unreachable, and why; empty: no attempt has failed."""
        failure = self._failures.get(_place(member))
        if failure is None:
            return ""
        long = show_duration(self._environment.clock.monotonic() - failure.since)
        return f"{member.name} has not been reachable for {long}: {failure.reason}"

    async def _dial_nearest(self, member: Member, lane: str) -> Connection:
        if member.socket and member.machine and member.machine == self._machine:
            # E.g. another container's file system, or another account's: a certificate may do.
            with contextlib.suppress(UnavailableError, AccessDeniedError):
                return await self._dial_one(member, member.socket, lane)
        return await self._dial_one(member, Endpoint(member.host, member.port), lane)

    async def _dial_one(self, member: Member, where: Endpoint | str, lane: str) -> Connection:
        hello = self._hello(lane)
        connection = await dial(self._environment, where, hello, timeout=DIAL_SECONDS)
        assert connection.welcome is not None
        found = connection.welcome.incarnation
        if member.incarnation not in (0, found):
            connection.close("another incarnation")
            raise _EndedError(f"{member.name} at {where} was restarted")
        local = isinstance(where, str)
        self._bulk_ports[_place(member)] = 0 if local else connection.welcome.bulk_port
        return connection


class _EndedError(UnavailableError):
    """Another incarnation answers at the member's address."""


def _say_without(member: Member, error: MemfsError) -> None:
    about = fields(member=member.name, reason=error.message)
    log.warning("blocks go under TLS: the port for them is not reached", extra=about)


def _is_refusal(error: MemfsError) -> bool:
    return isinstance(error.__cause__, ConnectionRefusedError)


def _take_idle(spare: list[Connection]) -> Connection | None:
    """The newest open connection; closed ones are dropped."""
    while spare:
        connection = spare.pop()
        if connection.idle:
            return connection
        connection.close("not needed any more")
    return None


def _over(connection: Connection) -> bool:
    """Close a connection once none of its requests waits for an answer."""
    if connection.idle:
        connection.close("not needed any more")
    return connection.closed


def is_being_cancelled() -> bool:
    """Whether a CancelledError is meant for the running task, not for one that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _closed_error() -> UnavailableError:
    return UnavailableError("the pool of connections is closed")


def _place(member: Member) -> _Place:
    return member.host, member.port, member.incarnation
