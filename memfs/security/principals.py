"""What a certificate says of its holder.

Owns the one rule that tells nodes from users: the common name ``node`` is a node's, any other is a
user's. Pure: who signed the certificate was checked by TLS before.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from memfs.errors import AccessDeniedError, ConfigError

NODE: Final = "node"
"""The common name of every node's certificate, as CockroachDB has it; no user may be called so."""
NAME_CHARACTERS: Final = 64
"""ub-common-name of RFC 5280."""


class Principal(NamedTuple):
    """Who somebody proved to be."""

    name: str
    """A user's name, or ``node``."""
    hosts: tuple[str, ...] = ()
    """Names and addresses that a node's certificate is for."""
    local: bool = False
    """It is the kernel's word, which makes nobody a node: an account may be called so."""

    @property
    def is_node(self) -> bool:
        """Is it a member of the cluster, or about to be?"""
        return self.name == NODE and not self.local

    def speaks_for(self, host: str) -> bool:
        """Is the certificate for this name or address?"""
        wanted = _canonical(host)
        return any(_canonical(each) == wanted for each in self.hosts)


def principal_of(certificate: Mapping[str, Any]) -> Principal:
    """The holder of a certificate as ``SSLSocket.getpeercert`` describes it.

    Raises AccessDeniedError when it names nobody.
    """
    names = [
        value
        for attributes in certificate.get("subject", ())
        for kind, value in attributes
        if kind == "commonName"
    ]
    if len(names) != 1 or not names[0]:
        raise AccessDeniedError("the certificate has no common name: make it with memfs certs")
    alternatives = certificate.get("subjectAltName", ())
    hosts = tuple(value for kind, value in alternatives if kind in ("DNS", "IP Address"))
    return Principal(names[0], hosts)


def check_user(name: str) -> str:
    """The name, if a user may have it in a certificate. Raises ConfigError."""
    if name == NODE:
        raise ConfigError(f"a user cannot be called {NODE!r}: that is the name of all nodes")
    if not name or len(name) > NAME_CHARACTERS:
        raise ConfigError(f"a user's name has 1 to {NAME_CHARACTERS} characters, this {len(name)}")
    if "/" in name or name.startswith((".", "-")) or not name.isprintable():
        raise ConfigError(f"{name!r} is no name of a user: no '/', no leading '.' or '-'")
    return name


def _canonical(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")
