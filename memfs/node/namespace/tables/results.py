"""Recorded results: what makes a retried command harmless (ExactlyOnce).

Owns the encoded outcomes of recent commands by (client, request id); does not know what they mean.
Each is stored with a mark of its request, so that a reused id does not get another request's
result. Part of the replicated state: a new primary answers a retry as the old one did.

Bounds: RESULTS_PER_SESSION newest per client, SESSIONS clients, RESULT_BYTES_TOTAL in all; the
clients that were silent for longest are forgotten first, and in any case after RESULT_SECONDS,
for longer than which no client repeats a command. Time is the log's, so that every member forgets
at the same entry; a wall clock that was set forward counts for one step only, one that was set
back for none.
"""

from __future__ import annotations

import functools
import hashlib
import struct
import zlib
from typing import Final

from memfs import limits
from memfs.types import Identity

_OVERHEAD_BYTES: Final = 120
"""Of a recorded result beyond its bytes: object header, key, dictionary entry."""

FORGOTTEN: Final = b""
"""Stands for a result that was recorded once and has been pushed out since."""

MARK_BYTES: Final = 16
NO_MARK: Final = bytes(MARK_BYTES)
"""Of a result from a snapshot that had no marks yet: it is told to whoever asks."""
_MARK: Final = struct.Struct("<HI10s")

STEP_NS: Final = 10 * 10**9
"""Most time that passes from one entry to the next."""
_AGE_NS: Final = limits.RESULT_SECONDS * 10**9


class ClientResults:
    """Recent results of one client."""

    __slots__ = ("active_ns", "by_request", "bytes", "floor")

    def __init__(self) -> None:
        self.by_request: dict[int, bytes] = {}
        self.floor = 0
        """Highest request id that was pushed out, or closed: nothing can be said of ids up to it
        that have no result."""
        self.bytes = 0
        self.active_ns = 0
        """When the last one was recorded, in the time of :class:`Results`."""


class Results:
    """Recorded results of all clients, least recently active first."""

    __slots__ = ("by_client", "bytes", "clock_ns")

    def __init__(self) -> None:
        self.by_client: dict[int, ClientResults] = {}
        self.bytes = 0
        self.clock_ns = 0
        """Time that has passed as the log tells it."""

    def advance(self, passed_ns: int) -> None:
        """Advance the clock and forget clients that were silent for too long."""
        self.clock_ns += min(passed_ns, STEP_NS)
        oldest = self.clock_ns - _AGE_NS
        while self.by_client:
            first = next(iter(self.by_client))
            if self.by_client[first].active_ns >= oldest:
                return
            self.bytes -= self.by_client.pop(first).bytes

    @property
    def most(self) -> int:
        """Bytes of the client that has most."""
        return max((each.bytes for each in self.by_client.values()), default=0)

    def get(self, client: int, request_id: int) -> bytes | None:
        """What is recorded: a mark and the result behind it.

        FORGOTTEN when it can be neither told nor excluded; None for a new request.
        """
        results = self.by_client.get(client)
        if results is None:
            return None
        found = results.by_request.get(request_id)
        if found is None and request_id <= results.floor:
            return FORGOTTEN
        return found

    def record(self, client: int, request_id: int, marked: bytes) -> None:
        """Remember a mark and its result, and forget others where a bound says so."""
        results = self.by_client.pop(client, None) or ClientResults()
        self.by_client[client] = results
        results.active_ns = self.clock_ns
        self._put(results, request_id, marked)
        while self.bytes > limits.RESULT_BYTES_TOTAL or len(self.by_client) > limits.SESSIONS:
            self.bytes -= self.by_client.pop(next(iter(self.by_client))).bytes

    def _put(self, results: ClientResults, request_id: int, result: bytes) -> None:
        by_request = results.by_request
        by_request[request_id] = result
        growth = len(result) + _OVERHEAD_BYTES
        if len(by_request) > limits.RESULTS_PER_SESSION:
            oldest = next(iter(by_request))
            growth -= len(by_request.pop(oldest)) + _OVERHEAD_BYTES
            results.floor = max(results.floor, oldest)
        results.bytes += growth
        self.bytes += growth

    def has(self, client: int, request_id: int) -> bool:
        """Whether a result can be told."""
        return self.get(client, request_id) not in (None, FORGOTTEN)

    def close_below(self, client: int, request_id: int) -> None:
        """No command of the client under a lower id is new any more."""
        results = self.by_client.setdefault(client, ClientResults())
        results.active_ns = self.clock_ns
        results.floor = max(results.floor, request_id - 1)

    def restore(self, client: int, floor: int, silent_ns: int = 0) -> None:
        """Begin a client that a snapshot names; its results are restored next."""
        results = self.by_client[client] = ClientResults()
        results.floor = floor
        results.active_ns = self.clock_ns - silent_ns

    def restore_result(self, client: int, request_id: int, result: bytes) -> None:
        """A result that a snapshot names, after its client."""
        self._put(self.by_client[client], request_id, result)


def mark_of(opcode: int, record: bytes, identity: Identity) -> bytes:
    """A digest of a request's kind, content and user, to detect a reused id."""
    return _MARK.pack(opcode, zlib.crc32(record), _digest_of(identity.user))


@functools.lru_cache(4096)
def _digest_of(user: str) -> bytes:
    return hashlib.blake2b(user.encode(), digest_size=10).digest()
