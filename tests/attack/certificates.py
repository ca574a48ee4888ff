"""Certificates as attackers have them: of another authority, of the past, of another host."""

from __future__ import annotations

import datetime
from pathlib import Path

from memfs.security.authority import Pair, make_authority, make_client, make_node
from memfs.security.certificate_files import AUTHORITY, NODE, client_name, write_pair

HOSTS = ("127.0.0.1", "localhost")
NOW = datetime.datetime.now(datetime.UTC)
PAST = NOW - datetime.timedelta(days=30)


def write(directory: Path, stem: str, pair: Pair) -> None:
    """One pair, over a former one."""
    write_pair(directory, stem, pair, directory / f"{stem}.key", overwrite=True)


class Authority:
    """An authority, and directories of what it signs."""

    def __init__(self, top: Path) -> None:
        """The directories are made in ``top``."""
        self.pair = make_authority("memfs CA", 365, NOW)
        self._top = top

    def _directory(self, name: str) -> Path:
        directory = self._top / name
        write(directory, AUTHORITY, self.pair)
        return directory

    def node(self, name: str = "nodes", hosts: tuple[str, ...] = HOSTS) -> Path:
        """A node's directory."""
        directory = self._directory(name)
        write(directory, NODE, make_node(self.pair, hosts, 30, NOW))
        return directory

    def user(self, user: str, *, when: datetime.datetime = NOW, days: int = 30) -> Path:
        """A user's directory, with a certificate that begins at ``when``."""
        directory = self._directory(f"{user}-{when:%Y%m%d}")
        write(directory, client_name(user), make_client(self.pair, user, days, when))
        return directory

    def stranger(self, user: str, other: Authority) -> Path:
        """A user's directory with this authority's word on nodes, and the other's on the user."""
        directory = self._directory(f"stranger-{user}")
        write(directory, client_name(user), make_client(other.pair, user, 30, NOW))
        return directory
