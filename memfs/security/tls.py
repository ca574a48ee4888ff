"""TLS contexts of one process, made of a directory of certificates and renewed with it.

Owns what is spoken: TLS 1.3 only, certificates on both sides, no resumption, so that every
connection proves itself. Invariant: a renewal that does not load leaves the
former certificate in use.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from memfs.errors import ConfigError
from memfs.logs import fields
from memfs.security import authority, directory

log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]
"""Inode, size and time of change (ns) of each file."""


class TlsCredentials:
    """A certificate, its key, and the authority that peers are verified against."""

    def __init__(self, where: Path, stem: str) -> None:
        """``where``: the directory; ``stem``: ``node``, or ``client.USER``. Raises ConfigError."""
        self._files = (where / f"{stem}.crt", where / f"{stem}.key", where / "ca.crt")
        self._stamp: _Stamp = ()
        self.expires = 0.0
        """When the certificate ends, seconds since the epoch."""
        self.client = _context(ssl.PROTOCOL_TLS_CLIENT)
        """For connections that this process opens."""
        self.server = _context(ssl.PROTOCOL_TLS_SERVER)
        """For those that it accepts: who has no certificate gets no byte."""
        self.server.num_tickets = 0
        self._load()

    def refresh(self) -> None:
        """Reload changed files for further connections."""
        if self._stamp == self._look():
            return
        try:
            self._load()
        except ConfigError as error:
            log.warning("the certificate is not renewed", extra=fields(reason=error.message))
        else:
            log.info("the certificate is renewed", extra=fields(file=self._files[0]))

    def _load(self) -> None:
        certificate, key, _ = self._files
        stamp = self._look()
        directory.check_private(key)
        self._apply(_context(ssl.PROTOCOL_TLS_CLIENT))  # before the good ones are touched
        self._apply(self.client)
        self._apply(self.server)
        self.expires = authority.expiry(certificate.read_bytes())
        self._stamp = stamp

    def _apply(self, context: ssl.SSLContext) -> None:
        certificate, key, ca = self._files
        try:
            context.load_verify_locations(ca)
            context.load_cert_chain(certificate, key)
        except ssl.SSLError as error:
            text = "do not belong together, or are no PEM files"
            raise ConfigError(f"{certificate} and {key} {text}: {error.reason}") from None
        except OSError as error:
            missing = next((each for each in self._files if not each.exists()), certificate)
            raise ConfigError(f"cannot read {missing}: {error.strerror}") from None

    def _look(self) -> _Stamp:
        return tuple(directory.file_version(each) for each in self._files)


def node_credentials(certificates: str) -> TlsCredentials:
    """What proves a node. Raises ConfigError."""
    return TlsCredentials(directory.at_home(certificates), directory.NODE)


def client_credentials(certificates: str, user: str) -> TlsCredentials | None:
    """The credentials of ``user``; None where ``certificates`` selects none.

    ``certificates``: a directory, ``auto`` for ``~/.memfs/certs`` if it is there, or nothing.
    Raises ConfigError.
    """
    where = directory.certificates_directory(certificates)
    return None if where is None else TlsCredentials(where, directory.find_client(where, user))


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    return context
