"""Nodes that a secure cluster does not take in: their own log says why, and what to do."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from memfs.machine import module_command
from memfs.security.authority import make_node
from memfs.security.certificate_files import AUTHORITY, NODE, client_name
from memfs.testing.processes import Processes
from tests.attack.certificates import HOSTS, NOW, Authority, write
from tests.support.patience import PATIENCE_SECONDS, until


class Strangers:
    """A secure cluster of one, and certificates that are wrong in some way."""

    def __init__(self, top: Path) -> None:
        self.top, self.ours, self.others = top, Authority(top / "ours"), Authority(top / "others")

    def none(self) -> str:
        return ""

    def others_authority(self) -> str:
        return str(self.others.node())

    def believing_us(self) -> str:
        """Signed by another authority than the one beside it."""
        where = self._directory("believing")
        write(where, NODE, make_node(self.others.pair, HOSTS, 30, NOW))
        return str(where)

    def believing_both(self) -> str:
        """As one that was told of both authorities, where the cluster knows only its own."""
        where = Path(self.believing_us())
        with (where / "ca.crt").open("ab") as file:
            file.write(self.others.pair.certificate)
        return str(where)

    def expired(self) -> str:
        where, past = self._directory("expired"), NOW - datetime.timedelta(days=60)
        write(where, NODE, make_node(self.ours.pair, HOSTS, 30, past))
        return str(where)

    def elsewhere(self) -> str:
        return str(self.ours.node("elsewhere", ("10.9.9.9",)))

    def a_user(self) -> str:
        where = self.ours.user("mallory")
        for suffix in ("crt", "key"):
            shutil.copy(where / f"{client_name('mallory')}.{suffix}", where / f"{NODE}.{suffix}")
        return str(where)

    def _directory(self, name: str) -> Path:
        where = self.top / name
        write(where, AUTHORITY, self.ours.pair)
        return where


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Strangers:
    return Strangers(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="module")
def url(strangers: Strangers) -> Iterator[str]:
    flags = [f"--certificates={strangers.ours.node()}"]
    with Processes(1, flags=flags, memory="64MiB", replication=1) as cluster:
        yield cluster.url


@pytest.mark.parametrize(
    ("whose", "told"),
    [
        ("none", "does it want TLS? set certificates"),
        ("others_authority", "is ca.crt here of the authority that signed it?"),
        ("believing_us", "node.crt is not signed by the authority in"),
        ("believing_both", "does it know the authority of"),
        ("expired", "renew it with memfs certs create-node HOST... --overwrite"),
        ("elsewhere", "is for 10.9.9.9, not for 127.0.0.1: make one with memfs certs create-node"),
        ("a_user", "mallory is a user, not a node: a node needs node.crt of memfs certs"),
    ],
)
def test_who_waits_is_told_why(
    strangers: Strangers, url: str, whose: str, told: str, tmp_path: Path
) -> None:
    """In one line of its log, whether it waits or ends."""
    certificates: str = getattr(strangers, whose)()
    flags = ["--name=stranger", "--host=127.0.0.1", "--port=0", "--memory=64MiB"]
    flags += [f"--coordinator={url}", f"--certificates={certificates}"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            module_command("memfs.cli", "node", *flags),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "MEMFS_NODE_STANDARD_DIRECTORIES": "false"},
        )
    try:
        until(lambda: told in log.read_text() or process.poll() is not None)
        lines = [each for each in log.read_text().splitlines() if told in each]
        assert lines, log.read_text()
        assert "node stranger ready" not in log.read_text()
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
