"""The blocking client with a certificate, of nodes that want one: all under TLS.

Its users are those whose groups the nodes know by themselves: cases with made-up ones are left out.
"""

from __future__ import annotations

import datetime
import tempfile
from pathlib import Path
from typing import Any

from memfs.client.blocking.filesystem import FileSystem as BlockingFileSystem
from memfs.config import ClientConfig
from memfs.security import certificate_files
from memfs.security.authority import make_authority, make_client, make_node

from ..surface import Feature
from .client import ADMIN, BlockingSurface
from .served import Served


class SecureSurface(BlockingSurface):
    """The blocking client under TLS; its cluster is its own."""

    name = "secure"
    features = frozenset(Feature) - {Feature.USERS}

    def __init__(self, served: Served, **identity: Any) -> None:
        self._kept = tempfile.TemporaryDirectory()
        self._certificates = Path(self._kept.name)
        self._make_certificates()
        own = Served(certificates=str(self._certificates), socket_directory="")
        super().__init__(own, **identity)

    def _make_certificates(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        authority = make_authority("memfs CA", 2, now)
        pairs = {
            certificate_files.AUTHORITY: authority,
            certificate_files.NODE: make_node(authority, ["127.0.0.1"], 2, now),
            certificate_files.client_name(ADMIN["user"]): make_client(
                authority, ADMIN["user"], 2, now
            ),
        }
        for stem, pair in pairs.items():
            key = self._certificates / f"{stem}.key"
            certificate_files.write_pair(self._certificates, stem, pair, key, overwrite=True)

    def connect(self, **identity: Any) -> BlockingFileSystem:
        config = ClientConfig(
            endpoints=self.served.cluster.endpoints,
            certificates=str(self._certificates),
            **identity,
        )
        return BlockingFileSystem(config)

    def as_user(self, user: str, groups: tuple[str, ...] = ()) -> BlockingSurface:
        assert user == ADMIN["user"], "nobody else has a certificate"
        return self

    def close(self) -> None:
        super().close()
        self.served.close()
        self._kept.cleanup()
