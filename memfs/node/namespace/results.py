"""Recorded results: what makes a retried command harmless (ExactlyOnce).

Owns the encoded outcomes of recent commands by (client, request id); does not know what they mean.
Part of the replicated state: a new primary answers a retry as the old one did.

Bounds: RESULTS_PER_SESSION newest per client, SESSIONS clients, RESULT_BYTES_TOTAL in all; the
clients that were silent for longest are forgotten first.
"""

from __future__ import annotations

from typing import Final

from memfs import limits

_OVERHEAD_BYTES: Final = 120
"""Of a recorded result beyond its bytes: object header, key, dictionary entry."""

FORGOTTEN: Final = b""
"""Stands for a result that was recorded once and has been pushed out since."""


class ClientResults:
    """Recent results of one client."""

    __slots__ = ("by_request", "bytes", "floor")

    def __init__(self) -> None:
        self.by_request: dict[int, bytes] = {}
        self.floor = 0
        """Highest request id that was pushed out: nothing can be said of ids up to it."""
        self.bytes = 0


class Results:
    """Recorded results of all clients, least recently active first."""

    __slots__ = ("by_client", "bytes")

    def __init__(self) -> None:
        self.by_client: dict[int, ClientResults] = {}
        self.bytes = 0

    def get(self, client: int, request_id: int) -> bytes | None:
        """The recorded result; FORGOTTEN when it can be neither told nor excluded; else None."""
        results = self.by_client.get(client)
        if results is None:
            return None
        found = results.by_request.get(request_id)
        if found is None and request_id <= results.floor:
            return FORGOTTEN
        return found

    def record(self, client: int, request_id: int, result: bytes) -> None:
        """Remember a result, and forget others where a bound says so."""
        results = self.by_client.pop(client, None) or ClientResults()
        self.by_client[client] = results
        by_request = results.by_request
        by_request[request_id] = result
        growth = len(result) + _OVERHEAD_BYTES
        if len(by_request) > limits.RESULTS_PER_SESSION:
            oldest = next(iter(by_request))
            growth -= len(by_request.pop(oldest)) + _OVERHEAD_BYTES
            results.floor = max(results.floor, oldest)
        results.bytes += growth
        self.bytes += growth
        while self.bytes > limits.RESULT_BYTES_TOTAL or len(self.by_client) > limits.SESSIONS:
            self.bytes -= self.by_client.pop(next(iter(self.by_client))).bytes

    def restore(self, client: int, floor: int) -> None:
        """Begin a client that a snapshot names; its results are recorded next."""
        results = self.by_client[client] = ClientResults()
        results.floor = floor
