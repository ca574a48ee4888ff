"""The keys that sign requests: given ones, or those of a file, the environment or the machine's
role. Owns when they are read again. Invariant: a secret is in no ``repr`` and in no message.
"""

from __future__ import annotations

import asyncio
import configparser
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from memfs.errors import ConfigError, StoreDeniedError
from memfs.stores.options import Options
from memfs.transport.environment import Clock
from memfs.types import Untyped

KEPT_SECONDS: Final = 60.0
"""Longest time until a rewritten file or another role is noticed."""
EARLY_SECONDS: Final = 120.0
"""How long before their expiry temporary keys are renewed."""
_CHAIN_SECONDS: Final = 10.0
_NEVER_YEAR: Final = 3000


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys to sign with; ``expires`` in seconds since the epoch, None: never."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False, default="")
    expires: float | None = None


Source = Callable[[], Awaitable[Credentials | None]]
"""Returns the current keys; None: requests are not signed. Raises StoreDeniedError."""


class RefreshedCredentials:
    """Keeps the current keys, and renews them in time."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._known: Credentials | None = None
        self._until = 0.0
        self._turn = asyncio.Lock()

    async def current(self) -> Credentials | None:
        """The keys to sign with. Raises StoreDeniedError when there are none."""
        async with self._turn:
            if self._clock.monotonic() >= self._until:
                self._known = await self._source()
                self._until = self._clock.monotonic() + self._lifetime(self._known)
            return self._known

    def doubt(self) -> None:
        """The store refused the keys: read them again before the next request."""
        self._until = 0.0

    def _lifetime(self, credentials: Credentials | None) -> float:
        if credentials is None or credentials.expires is None:
            return KEPT_SECONDS
        left = credentials.expires - self._clock.wall_ns() / 1e9 - EARLY_SECONDS
        return min(KEPT_SECONDS, max(1.0, left))


def source_of(options: Options) -> Source:
    """Where the keys come from, by the options of a mount. Raises ConfigError."""
    anonymous, path = options.flag("anonymous"), options.text("credentials")
    profile = options.text("profile", "default")
    key, secret = options.text("access_key_id"), options.text("secret_access_key")
    token = options.text("session_token")
    if sum([anonymous, bool(path), bool(key or secret or token)]) > 1:
        raise ConfigError("give one of the options anonymous, credentials and access_key_id")
    if anonymous:
        return _nobody
    if path:
        return lambda: asyncio.to_thread(read_file, path, profile)
    if key or secret or token:
        if not (key and secret):
            raise ConfigError("give both options access_key_id and secret_access_key")
        fixed = Credentials(key, secret, token)

        async def same() -> Credentials:
            return fixed

        return same
    return Chain().credentials


async def _nobody() -> None:
    return None


def read_file(path: str, profile: str) -> Credentials:
    """The keys of a profile in a file as ``~/.aws/credentials``. Raises StoreDeniedError."""
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(Path(path).read_text())
    except OSError as error:
        raise StoreDeniedError(
            f"the node cannot read the credentials in {path}: {error.strerror}"
        ) from None
    except (configparser.Error, UnicodeDecodeError):
        # Without the parser's words: they quote the line, which may be a secret.
        raise StoreDeniedError(f"{path} is no file of credentials: [{profile}] and keys") from None
    if not parser.has_section(profile):
        raise StoreDeniedError(f"{path} has no profile [{profile}]")
    keys = dict(parser.items(profile))
    try:
        return Credentials(
            keys["aws_access_key_id"],
            keys["aws_secret_access_key"],
            keys.get("aws_session_token", ""),
        )
    except KeyError as missing:
        raise StoreDeniedError(f"{path} has no {missing.args[0]} in [{profile}]") from None


class Chain:
    """The default chain of awscrt: environment variables, the home directory's profile, a web
    identity, a container's role, the machine's role."""

    def __init__(self) -> None:
        self._provider: Untyped = None

    async def credentials(self) -> Credentials:
        """Raises StoreDeniedError when no source on this machine has keys."""
        if self._provider is None:
            self._provider = await asyncio.to_thread(_default_chain)
        asked: Future[Untyped] = self._provider.get_credentials()
        try:
            async with asyncio.timeout(_CHAIN_SECONDS):
                found = await asyncio.wrap_future(asked)
        except Exception:  # awscrt's own are none of Python's
            raise StoreDeniedError(
                "the node finds no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
                "for it, give its machine a role, or --option credentials=/path on the nodes"
            ) from None
        keys = found.access_key_id, found.secret_access_key, found.session_token or ""
        return Credentials(*keys, _seconds(found.expiration))


def _seconds(moment: datetime | None) -> float | None:
    """A time of awscrt, None when it is never."""
    if moment is None or moment.year >= _NEVER_YEAR:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _default_chain() -> object:
    from awscrt.auth import AwsCredentialsProvider
    from awscrt.io import ClientBootstrap

    return AwsCredentialsProvider.new_default_chain(ClientBootstrap.get_or_create_static_default())
