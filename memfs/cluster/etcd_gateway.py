"""etcd's JSON gateway: requests to any member that answers, and their outcome if none does.

Owns the rotation of endpoints, the user's token, and the reading of refusals. Knows nothing of
views. Invariants: a request that may have been read by a member is sent again only if the caller
calls it repeatable; a call ends within its time, whatever the members do.

The gateway is etcd's own mapping of its gRPC interface (``/v3/...``): bytes are base64, 64-bit
integers are strings, and fields that are zero are left out.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import NamedTuple

from memfs import errors
from memfs.cluster.etcd_http import EtcdReply, Http
from memfs.paths import Endpoint
from memfs.transport.environment import Clock
from memfs.types import Json

_LINE_BYTES = 8 << 20  # of a watch stream: a view is < 64 KiB
_QUICK_SHARE = 0.1  # of a call's time: 0.5 s of 5 s, many times what a member that is up needs
_WITHOUT_EFFECT = frozenset({3, 5, 7, 9, 11, 12, 16})
"""gRPC codes of refusals before anything was changed: invalid argument, not found, permission,
failed precondition, out of range, unimplemented, unauthenticated. Not resource exhausted (8): the
transaction that fills the store's quota may be carried out and answered with it."""
_INVALID, _DENIED, _PRECONDITION, _UNAUTHENTICATED = 3, 7, 9, 16
_MISCONFIGURED = frozenset({_INVALID, _DENIED, _PRECONDITION, _UNAUTHENTICATED})
"""Every member would say the same: wrong password, missing role, no users at all."""


_NAMED_CERTIFICATE = (
    "with users enabled its gateway takes no client certificate that has a common name (CN): "
    "use one whose subject has none"
)


class EtcdUser(NamedTuple):
    """A user of etcd."""

    user: str
    password: str


class EtcdRefusal(Exception):
    """A member answered with an error. ``code`` is gRPC's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def certain(self) -> bool:
        """Nothing was changed, nor will be."""
        return self.code in _WITHOUT_EFFECT

    @property
    def stale_token(self) -> bool:
        """Whether the token is no longer valid: expired, its member restarted, or users changed."""
        return self.code == _UNAUTHENTICATED or (
            self.code == _INVALID and "auth" in self.message and "revision" in self.message
        )


class EtcdGateway:
    """A client of one etcd cluster."""

    def __init__(
        self,
        clock: Clock,
        http: Http,
        endpoints: Sequence[Endpoint],
        *,
        secure: bool = False,
        credentials: EtcdUser | None = None,
        timeout_seconds: float = 5.0,
    ) -> None:
        """``timeout_seconds`` bound a call, all its attempts together."""
        scheme = "https" if secure else "http"
        self._urls = [f"{scheme}://{endpoint}" for endpoint in endpoints]
        self._clock = clock
        self._http = http
        self._credentials = credentials
        self._timeout = timeout_seconds
        self._current = 0
        self._token = ""
        self._worked = False

    async def call(self, path: str, body: Mapping[str, object], *, repeatable: bool) -> Json:
        """The JSON that etcd answers.

        Raises UnavailableError when certainly nothing happened (or, for a ``repeatable`` request,
        when no member answered); else OutcomeUnknownError. Raises ConfigError when etcd refuses
        this user or the request and never accepted any.
        """
        deadline = self._clock.monotonic() + self._timeout
        reasons: list[str] = []
        for attempt in range(2 * len(self._urls)):
            left = deadline - self._clock.monotonic()
            if left <= 0:
                break
            tried = self._current
            try:
                async with asyncio.timeout(self._patience(attempt, left, repeatable)):
                    return await self._authorised(path, body)
            except errors.UnavailableError as error:  # certainly not sent, or not accepted
                reasons.append(error.message)
            except (EtcdRefusal, errors.OutcomeUnknownError, TimeoutError) as error:
                reasons.append(str(error) or f"{self._url} did not answer in time")
                if not repeatable and not (isinstance(error, EtcdRefusal) and error.certain):
                    self._turn_from(tried)
                    raise errors.OutcomeUnknownError(f"etcd: {reasons[-1]}") from error
            self._turn_from(tried)
        last = "; ".join(reasons[-len(self._urls) :])
        raise errors.UnavailableError(f"no member of etcd answers: {last}")

    async def lines(self, path: str, body: Mapping[str, object]) -> AsyncGenerator[Json, None]:
        """The JSON lines that etcd streams, from the member that answered last.

        Ends when the stream does. Raises UnavailableError, OutcomeUnknownError, EtcdRefusal.
        """
        async with self._http.stream(self._url + path, _encode(body), self._headers()) as pieces:
            rest = bytearray()
            async for piece in pieces:
                rest += piece
                *whole, rest = rest.split(b"\n")
                for line in whole:
                    if line.strip():
                        yield _decoded(EtcdReply(200, bytes(line)))
                if len(rest) > _LINE_BYTES:
                    raise errors.OutcomeUnknownError(f"{self._url}{path} sends a line without end")
            if rest.strip():
                yield _decoded(EtcdReply(200, bytes(rest)))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    # --- internals ---------------------------------------------------------------------------

    @property
    def _url(self) -> str:
        return self._urls[self._current % len(self._urls)]

    def _patience(self, attempt: int, left: float, repeatable: bool) -> float:
        """Timeout of one attempt, so that every member is tried even if others do not answer.

        A first round is quick, since a host that is gone answers nothing at all; the second one
        shares the rest, which an etcd that elects a leader needs.
        """
        members = len(self._urls)
        if not repeatable:
            return min(left, self._timeout / members)
        if attempt < members:
            return min(left, self._timeout * _QUICK_SHARE)
        return left / (2 * members - attempt)

    def _turn_from(self, tried: int) -> None:
        """Go on to the next member, unless another call has done so."""
        if self._current == tried:
            self._current += 1

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = self._token
        return headers

    async def _authorised(self, path: str, body: Mapping[str, object]) -> object:
        """One request to the current member, with a token if there is a user.

        A refusal that concerns the user or the request becomes a ConfigError if etcd never accepted
        any, else an UnavailableError: it must not end a node that serves.
        """
        try:
            answer = await self._with_token(path, body)
        except EtcdRefusal as refusal:
            if refusal.code not in _MISCONFIGURED:
                raise
            message = f"etcd refuses: {refusal.message}"
            if self._worked:
                raise errors.UnavailableError(message) from refusal
            hint = "check etcd_user, its password and role"
            raise errors.ConfigError(f"{message}; {hint}") from refusal
        self._worked = True
        return answer

    async def _with_token(self, path: str, body: Mapping[str, object]) -> object:
        if self._credentials and not self._token:
            await self._authenticate(self._credentials)
        try:
            return await self._send(path, body)
        except EtcdRefusal as refusal:
            if not (self._credentials and refusal.stale_token):
                raise
            await self._authenticate(self._credentials)
            return await self._send(path, body)

    async def _authenticate(self, credentials: EtcdUser) -> None:
        self._token = ""
        request = {"name": credentials.user, "password": credentials.password}
        try:
            answer = await self._send("/v3/auth/authenticate", request)
        except errors.OutcomeUnknownError as error:  # of this, not of the caller's request
            raise errors.UnavailableError(error.message) from error
        self._token = answer.get("token", "")

    async def _send(self, path: str, body: Mapping[str, object]) -> Json:
        reply = await self._http.post(self._url + path, _encode(body), self._headers())
        return _decoded(reply)


def _encode(body: Mapping[str, object]) -> bytes:
    return json.dumps(body).encode()


def _decoded(reply: EtcdReply) -> object:
    """The answer in a reply. Raises EtcdRefusal; OutcomeUnknownError when it is none of etcd's."""
    try:
        answer = json.loads(reply.body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        if reply.status == 400 and b"CommonName" in reply.body:
            raise EtcdRefusal(_PRECONDITION, _NAMED_CERTIFICATE)
        text = reply.body[:80].decode(errors="replace")
        raise errors.OutcomeUnknownError(f"status {reply.status} and no JSON: {text!r}")
    error = answer.get("error")
    if isinstance(error, dict):  # inside a stream
        raise EtcdRefusal(int(error.get("grpc_code", 2)), str(error.get("message", error)))
    if error is not None or reply.status != 200:
        code = answer.get("code", 2)
        raise EtcdRefusal(code if isinstance(code, int) else 2, str(answer.get("message", error)))
    return answer


def text_of(raw: bytes) -> str:
    """Bytes as the gateway wants them."""
    return base64.b64encode(raw).decode()


def bytes_of(text: str) -> bytes:
    """Bytes as the gateway gives them. Raises ValueError."""
    return base64.b64decode(text, validate=True)
