"""An etcd of one process and no sockets: enough of its JSON gateway for unit tests, with faults.

It keeps to what real members were seen to answer: base64, integers as text, zeros left out. What
it does not know it refuses. Time is the running loop's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from memfs import errors
from memfs.cluster.etcd_gateway import bytes_of, text_of
from memfs.cluster.etcd_http import EtcdReply

INVALID, EXHAUSTED, UNAVAILABLE, UNAUTHENTICATED = 3, 8, 14, 16


class Refused(Exception):
    """Answered as an error of gRPC."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.reply = {"error": message, "code": code, "message": message}


@dataclass
class Pair:
    value: bytes
    revision: int


class FakeEtcd:
    """The state that all members share."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0
        self.pairs: dict[bytes, Pair] = {}
        self.user: tuple[str, str] | None = None
        self.tokens: set[str] = set()
        self.watches: list[tuple[bytes, asyncio.Queue[dict[str, Any] | None]]] = []
        self._events: list[tuple[int, bytes]] = []
        self._issued = 0

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def handle(self, path: str, body: dict[str, Any], token: str) -> dict[str, Any]:
        handlers = {
            "/v3/auth/authenticate": self._authenticate,
            "/v3/kv/range": self._range,
            "/v3/kv/txn": self._txn,
        }
        if self.user and path != "/v3/auth/authenticate" and token not in self.tokens:
            raise Refused(UNAUTHENTICATED, "etcdserver: invalid auth token")
        return handlers[path](body)

    def compact(self) -> None:
        self.compacted = self.revision

    def break_watches(self) -> None:
        for _, queue in self.watches:
            queue.put_nowait(None)

    def _header(self) -> dict[str, Any]:
        return {"header": {"cluster_id": "1", "revision": str(self.revision)}}

    def _authenticate(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.user:
            raise Refused(9, "etcdserver: authentication is not enabled")
        if (body["name"], body["password"]) != self.user:
            raise Refused(INVALID, "etcdserver: authentication failed, invalid user ID or password")
        self._issued += 1
        self.tokens.add(f"token.{self._issued}")
        return {**self._header(), "token": f"token.{self._issued}"}

    def _range(self, body: dict[str, Any]) -> dict[str, Any]:
        key, end = bytes_of(body["key"]), bytes_of(body.get("range_end", ""))
        found = [
            {"key": text_of(k), "value": text_of(p.value), "mod_revision": str(p.revision)}
            for k, p in sorted(self.pairs.items())
            if k == key or key <= k < end
        ]
        return {**self._header(), **({"kvs": found, "count": str(len(found))} if found else {})}

    def _txn(self, body: dict[str, Any]) -> dict[str, Any]:
        for condition in body.get("compare", ()):
            assert (condition["target"], condition["result"]) == ("MOD", "EQUAL")
            pair = self.pairs.get(bytes_of(condition["key"]))
            if (pair.revision if pair else 0) != int(condition["mod_revision"]):
                return self._header()
        puts = [operation["request_put"] for operation in body.get("success", ())]
        self.revision += 1
        for put in puts:
            key = bytes_of(put["key"])
            self.pairs[key] = Pair(bytes_of(put["value"]), self.revision)
            self._tell(key)
        return {**self._header(), "succeeded": True}

    # --- watches -----------------------------------------------------------------------------

    def watch(self, body: dict[str, Any]) -> asyncio.Queue[dict[str, Any] | None]:
        create = body["create_request"]
        key, start = bytes_of(create["key"]), int(create["start_revision"])
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        queue.put_nowait({"result": {**self._header(), "created": True}})
        if start <= self.compacted:
            canceled = {"canceled": True, "compact_revision": str(self.compacted)}
            queue.put_nowait({"result": {**self._header(), **canceled}})
        if any(revision >= start and changed == key for revision, changed in self._events):
            queue.put_nowait(self._event())
        self.watches.append((key, queue))
        return queue

    def _tell(self, key: bytes) -> None:
        self._events.append((self.revision, key))
        for watched, queue in self.watches:
            if watched == key:
                queue.put_nowait(self._event())

    def _event(self) -> dict[str, Any]:
        return {"result": {**self._header(), "events": [{"kv": {}}]}}


class FakeHttp:
    """The way to the members: ``modes`` says what is wrong with each, by its address.

    ``refused``: nobody listens. ``silent``: takes the request and forgets it. ``deaf``: carries
    it out and never answers. ``broken``: carries it out, then the connection breaks.
    ``full``: carries it out and says that there is no space. ``leaderless``: answers that it
    cannot. ``gibberish``: answers something that is no etcd.
    """

    def __init__(self, etcd: FakeEtcd) -> None:
        self.etcd = etcd
        self.modes: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.closed = False
        self.chunk = 7
        self.seconds = 0.001

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> EtcdReply:
        address, path, mode = self._arrive(url)
        await asyncio.sleep(self.seconds)
        if mode == "refused":
            raise errors.UnavailableError(f"cannot connect to {address}")
        if mode == "silent":
            await asyncio.sleep(3600)
        if mode == "gibberish":
            return EtcdReply(400, b"Client sent an HTTP request to an HTTPS server.\n")
        reply = self._reply(path, body, headers, mode)
        if mode == "deaf":
            await asyncio.sleep(3600)
        if mode == "broken":
            raise errors.OutcomeUnknownError(f"{address} broke off")
        return reply

    def _reply(self, path: str, body: bytes, headers: Mapping[str, str], mode: str) -> EtcdReply:
        try:
            if mode == "leaderless":
                raise Refused(UNAVAILABLE, "etcdserver: leader changed")
            token = headers.get("Authorization", "")
            answer = self.etcd.handle(path, json.loads(body), token)
            if mode == "full":
                raise Refused(EXHAUSTED, "etcdserver: mvcc: database space exceeded")
            return EtcdReply(200, json.dumps(answer).encode())
        except Refused as refused:
            return EtcdReply(503, json.dumps(refused.reply).encode())

    @asynccontextmanager
    async def stream(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        address, _, mode = self._arrive(url)
        if mode:
            raise errors.UnavailableError(f"cannot connect to {address}")
        queue = self.etcd.watch(json.loads(body))
        try:
            yield self._pieces(queue)
        finally:
            self.etcd.watches = [each for each in self.etcd.watches if each[1] is not queue]

    async def _pieces(self, queue: asyncio.Queue[dict[str, Any] | None]) -> AsyncIterator[bytes]:
        """Lines, cut anywhere."""
        while (line := await queue.get()) is not None:
            raw = json.dumps(line).encode() + b"\n"
            for at in range(0, len(raw), self.chunk):
                yield raw[at : at + self.chunk]

    async def close(self) -> None:
        self.closed = True

    def _arrive(self, url: str) -> tuple[str, str, str]:
        if self.closed:
            raise errors.UnavailableError("the session is closed")
        _, _, rest = url.partition("://")
        address, _, path = rest.partition("/")
        self.asked.append((address, "/" + path))
        return address, "/" + path, self.modes.get(address, "")
