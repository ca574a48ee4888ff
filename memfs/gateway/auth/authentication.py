"""Who asks: the interface, and the ways that come with memfs.

An :class:`Authenticator` looks at a request's headers and parameters and names a
:class:`RequestUser`, or raises :class:`Unauthenticated` with the challenge to send (SPNEGO
fits: its ``Negotiate`` round trips are challenges). ``doas`` is judged afterwards, for all alike.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from aiohttp import hdrs, web

from memfs.errors import ConfigError
from memfs.gateway.hadoop.exceptions import AUTHORIZATION, UNAUTHENTICATED, RemoteException
from memfs.gateway.hadoop.parameters import DELEGATION, USER, Parameters
from memfs.logs import fields

log = logging.getLogger(__name__)

_FileVersion = tuple[int, int, int]
"""Inode, size, and time of the last change in nanoseconds."""


class RequestUser(NamedTuple):
    """On whose behalf a request is made."""

    user: str
    groups: tuple[str, ...] | None = None
    """None: to be looked up."""
    real: str = ""
    """Who asked, when they asked for another (``doas``)."""


NOBODY: Final = RequestUser("")
"""Who asks until that is known."""


class Unauthenticated(RemoteException):
    """401. Hadoop shows the reason phrase only."""

    def __init__(self, reason: str, challenge: str = "") -> None:
        """``challenge``: the WWW-Authenticate header."""
        super().__init__(UNAUTHENTICATED, reason)
        self.challenge = challenge


class Authenticator(Protocol):
    """Names the principal of a request."""

    async def authenticate(self, request: web.BaseRequest, parameters: Parameters) -> RequestUser:
        """Raises Unauthenticated, or RemoteException for what makes no sense."""


class Simple:
    """``user.name``: everybody is who they say they are, as in Hadoop without Kerberos."""

    def __init__(self, default_user: str) -> None:
        self._default = default_user

    async def authenticate(self, request: web.BaseRequest, parameters: Parameters) -> RequestUser:
        """The name given, or the default one."""
        return RequestUser(parameters.matching("user.name", USER, self._default))


class Bearer:
    """``Authorization: Bearer TOKEN``, looked up in a file of token digests.

    A line is ``SHA256-HEX USER [GROUP,...]``; the tokens themselves are written nowhere. The file
    is read again when it has changed; one that makes no sense is logged, and the former tokens stay
    good until it does.
    """

    def __init__(self, path: str) -> None:
        """Raises ConfigError for a file that cannot be read."""
        self._path = path
        self._version = self._look()
        self._tokens = self._read()

    def _look(self) -> _FileVersion | None:
        """What differs after a change of the file; None: there is none."""
        try:
            found = Path(self._path).stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _refresh(self) -> None:
        """Before the file is read it is looked at: a change meanwhile is seen the next time."""
        version = self._look()
        if version == self._version:
            return
        self._version = version
        try:
            self._tokens = self._read()
        except ConfigError as error:
            log.warning("%s; the former tokens stay good", error)
        else:
            log.info("the tokens were read again", extra=fields(tokens=len(self._tokens)))

    def _read(self) -> dict[str, RequestUser]:
        """Principals by the hexadecimal SHA-256 of their tokens. Raises ConfigError."""
        path = self._path
        try:
            lines = Path(path).read_text("utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"tokens_file: {path}: {error}") from None
        tokens: dict[str, RequestUser] = {}
        for number, line in enumerate(lines, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            if len(words) not in (2, 3) or len(words[0]) != 64 or not USER.fullmatch(words[1]):
                raise ConfigError(f"tokens_file: {path}: line {number} is no SHA256 USER [GROUPS]")
            groups = tuple(words[2].split(",")) if len(words) == 3 else None
            tokens[words[0].lower()] = RequestUser(words[1], groups)
        return tokens

    async def authenticate(self, request: web.BaseRequest, parameters: Parameters) -> RequestUser:
        """Raises Unauthenticated without a token that the file has."""
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("Authentication required", 'Bearer realm="memfs"')
        found = self.principal(token.strip())
        if found is None:
            raise Unauthenticated("Invalid token", 'Bearer realm="memfs", error="invalid_token"')
        return found

    def principal(self, token: str) -> RequestUser | None:
        """Whose token it is, None: nobody's. Compares digests in constant time, and all of them."""
        self._refresh()
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        found: RequestUser | None = None
        for known, principal in self._tokens.items():
            if hmac.compare_digest(known, digest):
                found = principal
        return found


ANYWHERE: Final = "*"


class Proxies:
    """Who may ask on behalf of others: ``name``, or ``name@address`` from that address only."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._addresses: dict[str, set[str]] = {}
        for each in allowed:
            name, _, address = each.partition("@")
            self._addresses.setdefault(name, set()).add(address or ANYWHERE)

    def principal(
        self, asking: RequestUser, parameters: Parameters, address: str | None
    ) -> RequestUser:
        """The principal that ``doas`` names, if any. Raises RemoteException unless ``asking`` may.

        A token already says on whose behalf.
        """
        user = parameters.matching("doas", USER)
        if not user or user == asking.user or DELEGATION in parameters:
            return asking
        allowed = self._addresses.get(asking.user, set())
        if ANYWHERE not in allowed and address not in allowed:
            text = f"User: {asking.user} is not allowed to impersonate {user}"
            raise RemoteException(AUTHORIZATION, text)
        return RequestUser(user, None, asking.user)
