"""TLS of a gateway's port, renewed with its files.

Owns what is spoken: TLS 1.2 and later, since that is what Java 8 has. Invariant: a renewal that
does not load leaves the former certificate in use.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from memfs.config import GatewayConfig
from memfs.errors import ConfigError
from memfs.logs import fields
from memfs.security.certificate_files import WatchedFiles

log = logging.getLogger(__name__)


class GatewayTls:
    """The certificate that a gateway shows, and the authority of its users' certificates."""

    def __init__(self, config: GatewayConfig) -> None:
        """Raises ConfigError."""
        self._certificate = config.tls_certificate
        self._key = config.tls_key or config.tls_certificate
        self._client_ca = config.tls_client_ca
        files = (self._certificate, self._key, self._client_ca)
        self._watched = WatchedFiles(*(Path(each) for each in files if each))
        self.context = self._loaded()

    def refresh(self) -> None:
        """Reload the files when they have changed; new connections use them."""
        if not self._watched.changed():
            return
        try:
            self._loaded()  # before the good one is touched
            self._load(self.context)
        except ConfigError as error:
            log.warning("the certificate is not renewed", extra=fields(reason=error.message))
        else:
            log.info("the certificate is renewed", extra=fields(file=self._certificate))

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._certificate, self._key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"tls_certificate: {self._certificate}: {error}") from None
        if not self._client_ca:
            return
        try:
            context.load_verify_locations(self._client_ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"tls_client_ca: {self._client_ca}: {error}") from None
        context.verify_mode = ssl.CERT_OPTIONAL
