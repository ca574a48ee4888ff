"""Debian's OpenSSH server on loopback, for one user and one key, without touching the system's."""

from __future__ import annotations

import contextlib
import getpass
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memfs.testing.ports import free_port
from tests.support.debian import program
from tests.support.stores.processes import Server, listens


@dataclass(frozen=True)
class SftpServer:
    """Where it is and how to get in."""

    port: int
    user: str
    key: Path
    server: Server


@contextlib.contextmanager
def sftp(directory: Path) -> Iterator[SftpServer]:
    """A server that serves this machine's files to whoever has the key."""
    sshd, keygen = program("sshd", "openssh-server"), program("ssh-keygen", "openssh-client")
    host_key, user_key = directory / "host_key", directory / "user_key"
    for key in (host_key, user_key):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    authorized = directory / "authorized_keys"
    authorized.write_bytes(user_key.with_suffix(".pub").read_bytes())
    port = free_port()
    config = directory / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\n"
        f"AuthorizedKeysFile {authorized}\nPasswordAuthentication no\nUsePAM no\n"
        "StrictModes no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\nMaxSessions 100\n"
        "KbdInteractiveAuthentication no\nMaxStartups 100\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    command = [sshd, "-D", "-e", "-f", str(config)]
    with Server(command, directory / "sshd.log", lambda: listens(port)) as server:
        yield SftpServer(port, getpass.getuser(), user_key, server)
