"""``bearer``: tokens whose digests stand in a file."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from pathlib import Path
from typing import Final

from aiohttp import web

from memfs.errors import ConfigError
from memfs.gateway.auth.authentication import BEARER, RequestUser, bearer_token
from memfs.gateway.hadoop.parameters import USER, Parameters
from memfs.logs import fields
from memfs.security.certificate_files import WatchedFiles

log = logging.getLogger(__name__)

_DIGEST: Final = re.compile("[0-9a-fA-F]{64}")


class TokenFile:
    """``Authorization: Bearer TOKEN``, looked up in a file of token digests.

    A line is ``SHA256-HEX USER [GROUP,...]``; the tokens themselves are written nowhere. The file
    is read again when it has changed; a malformed file is logged, and the former tokens stay valid
    meanwhile.
    """

    challenge = BEARER

    def __init__(self, path: str) -> None:
        """Raises ConfigError for a file that cannot be read."""
        self._path = Path(path)
        self._watched = WatchedFiles(self._path)
        self._tokens = self._read()

    async def authenticate(
        self, request: web.BaseRequest, parameters: Parameters
    ) -> RequestUser | None:
        """The owner of the request's token; None when there is no token or it is not in the
        file."""
        token = bearer_token(request)
        return self.principal(token) if token else None

    def principal(self, token: str) -> RequestUser | None:
        """The owner of a token, or None. Compares with all digests, each in constant time."""
        self._refresh()
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        found: RequestUser | None = None
        for known, principal in self._tokens.items():
            if hmac.compare_digest(known, digest):
                found = principal
        return found

    def _refresh(self) -> None:
        if not self._watched.changed():
            return
        try:
            self._tokens = self._read()
        except ConfigError as error:
            log.warning("%s; the former tokens stay good", error)
        else:
            log.info("the tokens were read again", extra=fields(tokens=len(self._tokens)))

    def _read(self) -> dict[str, RequestUser]:
        """Principals by the hexadecimal SHA-256 of their tokens. Raises ConfigError."""
        try:
            return parse_tokens(self._path.read_bytes().decode("utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"tokens_file: {self._path}: {error}") from None


def parse_tokens(content: str) -> dict[str, RequestUser]:
    """Principals by digest, of what a file says. Raises ValueError."""
    tokens: dict[str, RequestUser] = {}
    for number, line in enumerate(content.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) not in (2, 3) or not (
            _DIGEST.fullmatch(words[0]) and USER.fullmatch(words[1])
        ):
            raise ValueError(f"line {number} is no SHA256 USER [GROUPS]")
        groups = tuple(words[2].split(",")) if len(words) == 3 else None
        tokens[words[0].lower()] = RequestUser(words[1], groups)
    return tokens
