"""A directory of certificates, laid out as CockroachDB's.

::

    ca.crt              the authority, which everybody needs
    ca.key              its key, which no node needs: keep it elsewhere
    node.crt            a node's certificate and key
    node.key
    client.USER.crt     a user's certificate and key
    client.USER.key

Owns names and modes of the files. Invariant: keys are written for their owner alone (0600); one
that more than the owner and its group can read is not used.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memfs.errors import ConfigError
from memfs.machine import make_private_directory

if TYPE_CHECKING:
    from memfs.security.authority import Pair

AUTHORITY: Final = "ca"
NODE: Final = "node"
_CLIENT: Final = "client."
AUTO: Final = "auto"
_USUAL: Final = "~/.memfs/certs"


def usual_certificates() -> Path | None:
    """``~/.memfs/certs``, if there is an authority's certificate in it."""
    usual = at_home(_USUAL)
    return usual if (usual / f"{AUTHORITY}.crt").exists() else None


def certificates_directory(setting: str) -> Path | None:
    """The directory that a setting means (``auto``: the usual one), None: none."""
    if setting == AUTO:
        return usual_certificates()
    return at_home(setting) if setting else None


def at_home(path: str) -> Path:
    """A path with its ``~`` replaced; as it is for a user without a home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def client_name(user: str) -> str:
    """The stem of a user's files."""
    return f"{_CLIENT}{user}"


def write_pair(directory: Path, stem: str, pair: Pair, key: Path, *, overwrite: bool) -> None:
    """Write ``stem.crt`` and the key; each appears whole or not at all. Raises ConfigError."""
    try:
        make_private_directory(directory)
    except OSError as error:
        raise ConfigError(f"cannot make {directory}: {error.strerror}") from None
    certificate = directory / f"{stem}.crt"
    for path in (key, certificate):
        if path.exists() and not overwrite:
            raise ConfigError(f"{path} exists: --overwrite replaces it")
    _write(key, pair.key, 0o600)
    _write(certificate, pair.certificate, 0o644)


def read_pair(directory: Path, stem: str, key: Path | None = None) -> Pair:
    """A certificate with its key. Raises ConfigError."""
    key = key or directory / f"{stem}.key"
    check_private(key)
    from memfs.security.authority import Pair

    return Pair(_read(directory / f"{stem}.crt"), _read(key))


def find_client(directory: Path, user: str) -> str:
    """The stem of the files that prove ``user``, or else the only user's there are.

    One who may act for others (a gateway, the superuser) has one certificate for all of them.
    Raises ConfigError.
    """
    if (directory / f"{client_name(user)}.crt").exists():
        return client_name(user)
    others = sorted(path.stem for path in directory.glob(f"{_CLIENT}*.crt"))
    if len(others) == 1:
        return others[0]
    text = f"{directory} has no {client_name(user)}.crt"
    raise ConfigError(
        f"{text}: make one with memfs certs create-client {user}, or a key with memfs user add "
        f"{user} --generate"
    )


def check_private(key: Path) -> None:
    """Refuse a key that others can read. Raises ConfigError."""
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise ConfigError(f"cannot read {key}: {error.strerror}") from None
    if stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO) & ~stat.S_IRGRP:
        raise ConfigError(f"others may use the private key {key}: chmod 600 it")


def file_version(path: Path) -> tuple[int, int, int]:
    """What differs after a change of the file: inode, size, time of change in ns; 0: no file."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


class WatchedFiles:
    """Files that may be replaced while a process uses what they say."""

    def __init__(self, *files: Path) -> None:
        """They are looked at now: read them after this, so that no change is missed."""
        self._files = files
        self._versions = self._look()

    def changed(self) -> bool:
        """Whether one of them is another than at the last look."""
        before, self._versions = self._versions, self._look()
        return self._versions != before

    def _look(self) -> list[tuple[int, int, int]]:
        return [file_version(each) for each in self._files]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write under another name first, so that a watcher never reads half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
