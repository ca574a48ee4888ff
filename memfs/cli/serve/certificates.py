"""Certificates that a command makes for its own cluster."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memfs.security import certificate_files

if TYPE_CHECKING:
    from memfs.security.authority import Pair


def make_certificates(where: Path, hosts: Sequence[str], user: str) -> None:
    """An authority, nodes reached by ``hosts``, and a user, as far as they are not there yet.

    Raises ConfigError.
    """
    from memfs.security.authority import (
        AUTHORITY_DAYS,
        CERTIFICATE_DAYS,
        make_authority,
        make_client,
        make_node,
    )

    now = datetime.datetime.now(datetime.UTC)

    def add(stem: str, make: Callable[[], Pair]) -> None:
        if not (where / f"{stem}.crt").exists():
            certificate_files.write_pair(where, stem, make(), where / f"{stem}.key", overwrite=True)

    add(certificate_files.AUTHORITY, lambda: make_authority("memfs CA", AUTHORITY_DAYS, now))
    authority = certificate_files.read_pair(where, certificate_files.AUTHORITY)
    add(certificate_files.NODE, lambda: make_node(authority, hosts, CERTIFICATE_DAYS, now))
    name = certificate_files.client_name(user)
    add(name, lambda: make_client(authority, user, CERTIFICATE_DAYS, now))
