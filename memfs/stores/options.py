"""The options of a mount: texts by name, read one by one; secrets are never shown.

Owns which names are secrets and how they are masked. Invariant: the ``repr`` of nothing here, and
no message, holds the value of a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from urllib.parse import SplitResult, urlsplit, urlunsplit

from memfs.errors import ConfigError, InvalidArgumentError
from memfs.quantities import parse_duration, parse_size

T = TypeVar("T")
MASK: Final = "***"
_SECRET_PARTS: Final = (
    "secret",
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "token",
    "account_key",
    "api_key",
    "apikey",
    "private_key",
    "pkey",
    "sas",
    "connection_string",
    "authorization",
    "cookie",
)
_PRIVATE_KEY: Final = "-----BEGIN "
_REFERENCES: Final = ("_file", "_path")


def is_secret(name: str) -> bool:
    """Is the value of option ``name`` a secret? A path of a file that holds one is none."""
    lowered = name.lower()
    named = any(part in lowered for part in _SECRET_PARTS) or lowered.endswith("access_key")
    return named and not lowered.endswith(_REFERENCES)


def refuse_secrets(url: str, options: Mapping[str, str]) -> None:
    """Raises InvalidArgumentError for a secret in what a mount is given, which the namespace keeps.

    It is known by the name of an option, or by what the value looks like: an address with a
    password, a private key. Credentials stay on the nodes.
    """
    secret = "the URL holds" if _has_password(url) else ""
    for name, value in options.items():
        if is_secret(name):
            secret = f"the value of {name} is"
        elif _PRIVATE_KEY in value or _has_password(value):
            secret = f"the value of {name} holds"
    if secret:
        raise InvalidArgumentError(
            f"{secret} a secret: put it into a file on the nodes and give its path as "
            "credentials=FILE, or leave it to the nodes' environment"
        )


def _has_password(url: str) -> bool:
    return "://" in url and "@" in url and split(url).password is not None


def masked(options: Mapping[str, str]) -> dict[str, str]:
    """The options as they may be shown."""
    return {name: MASK if is_secret(name) else value for name, value in options.items()}


def masked_url(url: str) -> str:
    """The URL as it may be shown: without a password, and without a query, which may sign it."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        user, _, host = parts.netloc.rpartition("@")
        name, colon, _ = user.partition(":")
        parts = parts._replace(netloc=f"{name}{colon and ':' + MASK}@{host}")
    return urlunsplit(parts._replace(query=parts.query and MASK, fragment=""))


class Options:
    """The values of ``--option`` that have not been read yet."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._left = dict(given)
        self._known: set[str] = set()

    def __repr__(self) -> str:
        return f"Options({masked(self._left)})"

    def text(self, name: str, default: str = "") -> str:
        """Read a text option."""
        self._known.add(name)
        return self._left.pop(name, default)

    def flag(self, name: str, default: bool = False) -> bool:
        """Read an option that is ``true`` or ``false``. Raises ConfigError."""
        return self._parsed(name, default, _parse_flag)

    def seconds(self, name: str, default: float) -> float:
        """Read a duration. Raises ConfigError."""
        return self._parsed(name, default, parse_duration)

    def size(self, name: str, default: int) -> int:
        """Read a number of bytes. Raises ConfigError."""
        return self._parsed(name, default, parse_size)

    def rest(self) -> dict[str, str]:
        """Read all remaining options, for a library that knows its own."""
        left, self._left = self._left, {}
        return left

    def finish(self, kind: str) -> None:
        """Raises ConfigError when an option remains that ``kind`` does not know."""
        if self._left:
            unknown, known = ", ".join(sorted(self._left)), ", ".join(sorted(self._known))
            raise ConfigError(f"{kind} knows no option {unknown}; it knows {known or 'none'}")

    def _parsed(self, name: str, default: T, parse: Callable[[str], T]) -> T:
        raw = self.text(name)
        if not raw:
            return default
        try:
            return parse(raw)
        except ValueError as error:
            raise ConfigError(f"option {name}: {error}") from None


def _parse_flag(raw: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if raw.lower() not in words:
        raise ValueError(f"{raw!r} is neither true nor false")
    return words[raw.lower()]


def split(url: str) -> SplitResult:
    """The parts of a store's URL. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{masked_url(url)} is no URL: {error}") from None
    if not parts.scheme:
        raise ConfigError(f"{masked_url(url)} has no scheme; write s3://bucket/prefix, for example")
    return parts
