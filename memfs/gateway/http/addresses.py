"""The addresses of a gateway: which ``Host`` headers are accepted, and where redirects lead.

Pure. A page of another site whose name is made to resolve to a gateway (DNS rebinding) sends that
name as Host; a redirect that followed Host would carry a delegation token wherever a forged request
names. Invariant: a base URL is an advertised one, or leads to the very socket that the client has
connected to, or to the client's own machine.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Final

from memfs.config import GatewayConfig
from memfs.config.values import is_loopback
from memfs.gateway.hadoop.exceptions import SECURITY, RemoteException

_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")
_PORTS: Final = {"http": ":80", "https": ":443"}
ANY: Final = "*"


class Addresses:
    """The names and base URLs of one gateway."""

    def __init__(self, config: GatewayConfig, own: Iterable[str] | None = None) -> None:
        """``own``: names of this machine, instead of those that it has."""
        self._scheme = "https" if config.tls_certificate else "http"
        self.advertised: Final = tuple(
            each if "://" in each else f"{self._scheme}://{each}" for each in config.advertise
        )
        """Base URLs."""
        self._by_host = {host: base for base in self.advertised[::-1] for host in _hosts(base)}
        names = {host for each in self.advertised if (host := _host(each.partition("://")[2]))}
        machine = (socket.gethostname(), socket.getfqdn()) if own is None else own
        self._names = {*names, config.host.lower(), *map(str.lower, machine)}
        self._allowed = tuple(each.lower() for each in config.allowed_hosts)

    def check(self, host: str, local: str) -> None:
        """Raises RemoteException when a request with ``host`` as Host is not for this gateway.

        ``local``: the address of this side of its connection. Without Host (HTTP/1.0) no browser
        asks.
        """
        if not host or ANY in self._allowed:
            return
        name = _host(host)
        if not (name and self._is_own(name, local)):
            text = f"{host[:255]!r} is no name of this gateway: put it into allowed_hosts"
            raise RemoteException(SECURITY, text)

    def _is_own(self, name: str, local: str) -> bool:
        if name in self._names or name in self._allowed or is_loopback(name):
            return True
        if any(each.startswith(".") and name.endswith(each) for each in self._allowed):
            return True
        return _same_address(name, local)

    def base(self, host: str, local: str, port: int) -> str:
        """``scheme://host:port`` for a client that said ``host`` and reached ``local``:``port``."""
        known = self._by_host.get(host.lower())
        if known or self.advertised:
            return known or self.advertised[0]
        if (name := _host(host)) and is_loopback(name):
            return f"{self._scheme}://{host}"
        return f"{self._scheme}://" + (f"[{local}]:{port}" if ":" in local else f"{local}:{port}")


def _host(authority: str) -> str:
    """The host of ``host:port`` in small letters, "": it is malformed."""
    found = _AUTHORITY.fullmatch(authority)
    return (found[1] or found[2]).lower().rstrip(".") if found else ""


def _hosts(base: str) -> tuple[str, ...]:
    """What clients of a base URL may send as Host: most leave the scheme's own port out."""
    scheme, _, authority = base.lower().partition("://")
    found = _AUTHORITY.fullmatch(authority)
    if found and found[3] and not authority.endswith(_PORTS[scheme]):
        return (authority,)
    bare = authority.removesuffix(_PORTS[scheme])
    return bare, bare + _PORTS[scheme]


def _same_address(name: str, local: str) -> bool:
    try:
        return _plain(name) == _plain(local)
    except ValueError:
        return False


def _plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Of an IPv4 address that came through an IPv6 socket: itself."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
