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
from memfs.security import authority, certificate_files

log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]
"""Inode, size and time of change (ns) of each file."""


class TlsCredentials:
    """A certificate, its key, and the authority that peers are verified against."""

    def __init__(self, where: Path, stem: str = "", *, strangers: bool = False) -> None:
        """``where``: the directory; ``stem``: ``node``, ``client.USER``, or nothing for who has no
        certificate and proves itself otherwise.

        ``strangers``: whoever has none may connect, to prove itself otherwise. Raises ConfigError.
        """
        self._ca = where / "ca.crt"
        self._pair = (where / f"{stem}.crt", where / f"{stem}.key") if stem else None
        self._files = (*(self._pair or ()), self._ca)
        self._stamp: _Stamp = ()
        self.expires = 0.0
        """When the certificate ends, seconds since the epoch; 0: there is none."""
        self.digest = b""
        """SHA-256 of it, as DER."""
        self.client = _context(ssl.PROTOCOL_TLS_CLIENT)
        """For connections that this process opens."""
        self.server = _context(ssl.PROTOCOL_TLS_SERVER)
        """For those that it accepts: who has no certificate gets no byte, but for strangers."""
        if strangers:
            self.server.verify_mode = ssl.CERT_OPTIONAL
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

    def doubt(self, now: float) -> str:
        """What may be why a node hangs up that was shown this certificate, and what to do.

        ``now``: seconds since the epoch.
        """
        if self._pair is None:
            return "does it take what proves you?"
        file = self._pair[0]
        try:
            certificate, believed = file.read_bytes(), self._ca.read_bytes()
            expires = authority.expiry(certificate)
            signed = authority.is_signed_by(certificate, believed)
        except (OSError, ConfigError):  # it is being replaced
            return f"does it accept {file}?"
        of_whom = "create-node HOST..." if file.stem == certificate_files.NODE else "create-client"
        if expires <= now:
            return f"{file} is expired: renew it with memfs certs {of_whom} --overwrite"
        if not signed:
            return (
                f"{file} is not signed by the authority in {self._ca}: make one with that one's "
                f"key, memfs certs {of_whom}"
            )
        return f"does it know the authority of {file}? its ca.crt has to have the certificate"

    def _load(self) -> None:
        stamp = self._look()
        if self._pair is not None:
            certificate_files.check_private(self._pair[1])
        self._apply(_context(ssl.PROTOCOL_TLS_CLIENT))  # before the good ones are touched
        self._apply(self.client)
        self._apply(self.server)
        if self._pair is not None:
            certificate = self._pair[0].read_bytes()
            self.expires = authority.expiry(certificate)
            self.digest = authority.digest(certificate)
        self._stamp = stamp

    def _apply(self, context: ssl.SSLContext) -> None:
        try:
            context.load_verify_locations(self._ca)
            if self._pair is not None:
                context.load_cert_chain(*self._pair)
        except ssl.SSLError as error:
            names = " and ".join(map(str, self._pair or self._files))
            text = "do not belong together, or are no PEM files"
            raise ConfigError(f"{names} {text}: {error.reason}") from None
        except OSError as error:
            missing = next((each for each in self._files if not each.exists()), self._ca)
            raise ConfigError(f"cannot read {missing}: {error.strerror}") from None

    def _look(self) -> _Stamp:
        return tuple(certificate_files.file_version(each) for each in self._files)


def node_credentials(certificates: str, *, strangers: bool = False) -> TlsCredentials:
    """What proves a node; ``strangers``: see :class:`TlsCredentials`. Raises ConfigError."""
    return TlsCredentials(
        certificate_files.at_home(certificates), certificate_files.NODE, strangers=strangers
    )


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    return context
