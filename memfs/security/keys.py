"""A user's own keys as they are written down: 32 bytes, in base64 or hex, in a file a line each.

Pure, and without the cryptography that uses them, which takes its time to be loaded.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from pathlib import Path
from typing import Final

from memfs.errors import ConfigError
from memfs.machine import make_private_directory

KEY_BYTES: Final = 32


def key_id(key: bytes) -> bytes:
    """Names a key without telling it."""
    return hashlib.sha256(b"memfs key id\0" + key).digest()[:8]


def key_of(given: bytes | str) -> bytes:
    """A key of 32 bytes, as such or as text in base64 or hex. Raises ConfigError."""
    raw = given
    if isinstance(given, str):
        text = given.strip()
        try:
            raw = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text)
        except (ValueError, binascii.Error):
            raw = b""
    if not isinstance(raw, bytes) or len(raw) != KEY_BYTES:
        raise ConfigError("a key has 32 bytes, as memfs keygen makes them: base64 or hex as text")
    return raw


def keys_in(text: str) -> tuple[bytes, ...]:
    """The keys of a key file: one a line, ``#`` begins a comment. Raises ConfigError."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(key_of(line) for line in lines if line)


def write_key(path: Path, key: bytes, mode: int) -> None:
    """Write a new key file. Raises ConfigError, also when there is one."""
    write_secret(path, base64.b64encode(key) + b"\n", mode)


def write_secret(path: Path, content: bytes, mode: int) -> None:
    """Write a new file of that mode from its first byte on. Raises ConfigError."""
    try:
        make_private_directory(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def secret_text(file: Path, what: str) -> str:
    """The text of a file that holds ``what``. Raises ConfigError."""
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {what} from {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"cannot read {what} from {file}: it is not text") from None


def key_from(given: bytes | str | os.PathLike[str]) -> bytes:
    """A key as such, as text, or the first one of a file. Raises ConfigError."""
    if not isinstance(given, os.PathLike):
        return key_of(given)
    found = keys_in(secret_text(Path(given), "a key"))
    if not found:
        raise ConfigError(f"{given} has no key: make one with memfs keygen")
    return found[0]
