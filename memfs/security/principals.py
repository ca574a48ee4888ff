"""What a certificate says of its holder.

Owns the one rule that tells nodes from users: the common name ``node`` is a node's, any other is a
user's. Pure: who signed the certificate was checked by TLS before.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from memfs.errors import AccessDeniedError, ConfigError

NODE: Final = "node"
"""The common name of every node's certificate, as CockroachDB has it; no user may be called so."""
CERTIFICATE: Final = "certificate"
KEY: Final = "key"
TOKEN: Final = "token"
SOCKET: Final = "socket"
"""The kernel's word on who is at the other end of a unix socket."""
NAME_CHARACTERS: Final = 64
"""ub-common-name of RFC 5280."""


class Principal(NamedTuple):
    """Who somebody proved to be."""

    name: str
    """A user's name, or ``node``."""
    hosts: tuple[str, ...] = ()
    """Names and addresses that a node's certificate is for."""
    proof: str = CERTIFICATE
    """By what: ``CERTIFICATE``, ``SOCKET``, ``KEY`` or ``TOKEN``."""
    real_user: str = ""
    """Who asked for the token on their behalf."""
    shown: bytes = b""
    """The public key, or the token's identifier; empty: something else was the proof."""
    expires: float = 0.0
    """When the certificate ends, seconds since the epoch; 0: it was none."""

    @property
    def is_node(self) -> bool:
        """Is it a member of the cluster, or about to be? Only certificates say so."""
        return self.name == NODE and self.proof == CERTIFICATE

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
    ends = certificate.get("notAfter")
    return Principal(names[0], hosts, expires=ssl.cert_time_to_seconds(ends) if ends else 0.0)


def check_user(name: str) -> str:
    """The name, if a user may have it in a certificate. Raises ConfigError."""
    if flaw := user_flaw(name, NAME_CHARACTERS):
        raise ConfigError(flaw)
    return name


def user_flaw(name: str, most: int) -> str:
    """Why nobody who proves anything may have this name; empty: they may. ``most`` characters."""
    if name == NODE:
        return f"a user cannot be called {NODE!r}: that is the name of all nodes"
    if not name or len(name) > most:
        return f"a user's name has 1 to {most} characters, this {len(name)}"
    if "/" in name or name.startswith((".", "-")) or not name.isprintable():
        return f"{name!r} is no name of a user: no '/', no leading '.' or '-'"
    return ""


def _canonical(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")
