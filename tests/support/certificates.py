"""A throw-away certificate authority for tests of TLS, by the ``openssl`` command.

Owns a directory with an authority, a server certificate for 127.0.0.1 and localhost, and two
client certificates, without and with a common name. Worth nothing, they live for two days.
"""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

_DAYS = 2
_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Certificates:
    """Files of one authority and of what it has signed, all PEM."""

    def __init__(self, directory: Path) -> None:
        """Make them in ``directory``. Raises RuntimeError when openssl is missing or refuses."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.authority, self._authority_key = self._files("authority")
        self.server_certificate, self.server_key = self._files("server")
        self.client_certificate, self.client_key = self._files("client")
        self.named_certificate, self.named_key = self._files("named")
        self._make_authority()
        addresses = "subjectAltName=IP:127.0.0.1,DNS:localhost"
        # A server that shows its certificate to itself, as etcd's gateway does, is a client, too.
        usage = "extendedKeyUsage=serverAuth,clientAuth"
        self._sign("server", "/CN=server", f"{addresses}\n{usage}")
        self._sign("client", "/O=memfs tests", "extendedKeyUsage=clientAuth")
        self._sign("named", "/CN=client", "extendedKeyUsage=clientAuth")

    def client_context(self) -> ssl.SSLContext:
        """Trusts the authority, shows the client certificate."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.client_certificate, self.client_key)
        return context

    def _files(self, name: str) -> tuple[Path, Path]:
        return self._directory / f"{name}.pem", self._directory / f"{name}.key"

    def _make_authority(self) -> None:
        _openssl(
            ["req", "-x509", *_NEW_KEY],
            ["-days", str(_DAYS), "-subj", "/CN=memfs test authority"],
            ["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
            ["-keyout", str(self._authority_key), "-out", str(self.authority)],
        )

    def _sign(self, name: str, subject: str, extensions: str) -> None:
        certificate, key = self._files(name)
        request, extension_file = (self._directory / f"{name}.{end}" for end in ("csr", "ext"))
        extension_file.write_text(extensions)
        _openssl(
            ["req", "-new", *_NEW_KEY],
            ["-subj", subject, "-keyout", str(key), "-out", str(request)],
        )
        _openssl(
            ["x509", "-req", "-in", str(request), "-days", str(_DAYS)],
            ["-CA", str(self.authority), "-CAkey", str(self._authority_key), "-CAcreateserial"],
            ["-extfile", str(extension_file), "-out", str(certificate)],
        )


def _openssl(*arguments: list[str]) -> None:
    command = ["openssl", *(word for part in arguments for word in part)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        raise RuntimeError(f"cannot run openssl: {error}") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr}")
