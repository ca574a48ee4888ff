"""A Kerberos realm for the tests: MIT's key distribution centre from Debian, on a free port.

Owns its database, keytabs and ticket caches, all in a directory of the test's.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

from memfs.testing.started import Started
from tests.support.debian import install, program, run
from tests.support.patience import PATIENCE_SECONDS

REALM = "MEMFS.TEST"


class Realm(Started):
    """Principals ``NAME@MEMFS.TEST``. Use it with ``with``."""

    def __init__(self, directory: Path, port: int) -> None:
        """Args: ``directory``, its own; ``port``, where the centre listens. Raises RuntimeError."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._port = port
        self._centre = program("krb5kdc", "krb5-kdc")
        program("kadmin.local", "krb5-admin-server")
        program("kinit", "krb5-user")
        self.configuration = directory / "krb5.conf"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """What a process needs to be in the realm."""
        return {
            "KRB5_CONFIG": str(self.configuration),
            "KRB5_KDC_PROFILE": str(self._directory / "kdc.conf"),
        }

    def set_up(self) -> None:
        """Make the database and start the centre."""
        where = f"127.0.0.1:{self._port}"
        self.configuration.write_text(
            f"[libdefaults]\ndefault_realm = {REALM}\ndns_lookup_kdc = false\n"
            "rdns = false\ndns_canonicalize_hostname = false\nudp_preference_limit = 1\n"
            f"[realms]\n{REALM} = {{\n kdc = {where}\n}}\n[domain_realm]\nlocalhost = {REALM}\n"
        )
        (self._directory / "kdc.conf").write_text(
            f"[kdcdefaults]\nkdc_listen = {where}\nkdc_tcp_listen = {where}\n"
            f"[realms]\n{REALM} = {{\n database_name = {self._directory}/principals\n"
            f" key_stash_file = {self._directory}/stash\n acl_file = /dev/null\n}}\n"
        )
        self._run("kdb5_util", "create", "-s", "-r", REALM, "-P", "master")
        with (self._directory / "kdc.log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._centre, "-n"],
                env=os.environ | self.variables,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the key distribution centre does not listen")
            time.sleep(0.05)

    def story(self) -> str:
        return (self._directory / "kdc.log").read_text(errors="replace")[-4000:]

    def keytab(self, principal: str) -> Path:
        """A new principal with a random key; the file that has it."""
        path = self._directory / f"{principal.replace('/', '-')}.keytab"
        self._run("kadmin.local", "-r", REALM, "addprinc", "-randkey", principal)
        self._run("kadmin.local", "-r", REALM, "ktadd", "-k", str(path), principal)
        return path

    def tickets(self, user: str) -> dict[str, str]:
        """The variables of a process that has a new user's ticket."""
        cache = self._directory / f"{user.replace('/', '-')}.cache"
        keytab = self.keytab(user)
        self._run("kinit", "-c", str(cache), "-k", "-t", str(keytab), f"{user}@{REALM}")
        return self.variables | {"KRB5CCNAME": f"FILE:{cache}"}

    def _run(self, *command: str) -> None:
        words = [f"{name}={value}" for name, value in self.variables.items()]
        run(["env", *words, *command])

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), 1).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """End the centre."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_SECONDS)


def install_headers() -> None:
    """What ``pip install gssapi`` compiles against."""
    if not any(Path("/usr/include").glob("gssapi/gssapi_ext.h")):
        install("libkrb5-dev")
