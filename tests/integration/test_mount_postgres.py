"""PostgreSQL with its data in a mount: what it has committed adds up, also after a crash."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.debian import install
from tests.support.mounts import Mounted

pytestmark = [pytest.mark.alone, pytest.mark.nightly]

USER = "nobody"  # PostgreSQL does not run as root
TRANSACTIONS = 500
CLIENTS = 2
SUMS = """
select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history),
       (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history),
       (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history),
       (select count(*) from pgbench_history)
"""


def programs() -> Path:
    """The directory of PostgreSQL's programs."""
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        install("postgresql")
    return max(Path("/usr/lib/postgresql").glob("*/bin/initdb")).parent


class Postgres:
    """One server, by its own programs, on a socket in a directory of its own."""

    def __init__(self, data: Path, socket: Path) -> None:
        self._bin, self._data, self._socket = programs(), data, socket

    def run(self, name: str, *arguments: str) -> str:
        """One of its programs, as USER; what it says."""
        environment = {"PATH": os.environ["PATH"], "PGHOST": str(self._socket), "LC_ALL": "C"}
        done = subprocess.run(
            [str(self._bin / name), *arguments],
            user=USER,
            group=pwd.getpwnam(USER).pw_gid,
            extra_groups=[],
            env=environment | {"PGDATABASE": "postgres", "PGDATA": str(self._data)},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stdout + self.log
        return done.stdout

    @property
    def log(self) -> str:
        """What the server says."""
        file = self._socket / "log"
        return file.read_text() if file.exists() else ""

    def start(self) -> None:
        """Start, and wait until it answers, as long as recovery takes."""
        options = f"-k {self._socket} -h ''"
        log = str(self._socket / "log")
        self.run("pg_ctl", "start", "-w", "-t", "300", "-o", options, "-l", log)

    def crash(self) -> None:
        """Have it stop at once and write nothing more; its next start is a recovery."""
        self.run("pg_ctl", "stop", "-w", "-m", "immediate")

    def end(self) -> None:
        """Leave nothing running."""
        if (self._data / "postmaster.pid").exists():
            self.crash()

    def sums(self) -> tuple[list[str], int]:
        """Whether what was moved adds up, and how many transactions are there."""
        *right, count = self.run("psql", "-AtX", "-c", SUMS).strip().split("|")
        return right, int(count)


def test_a_database_adds_up_also_after_a_crash(open_mount: Mounted) -> None:
    data = open_mount.root / "data"
    data.mkdir(mode=0o700)
    shutil.chown(data, USER)
    with ExitStack() as stack:
        socket = stack.enter_context(tempfile.TemporaryDirectory(prefix="memfs-pg-"))
        shutil.chown(socket, USER)
        server = Postgres(data, Path(socket))
        stack.callback(server.end)
        server.run("initdb", "--auth=trust", "--username=" + USER)
        server.start()
        server.run("pgbench", "--initialize", "--quiet", "--scale=1")
        load = ("--no-vacuum", f"--client={CLIENTS}", f"--transactions={TRANSACTIONS // CLIENTS}")
        said = server.run("pgbench", *load)
        assert f"actually processed: {TRANSACTIONS}/{TRANSACTIONS}" in said
        assert server.sums() == (["t", "t", "t"], TRANSACTIONS)
        server.crash()
        server.start()  # from its log of changes
        assert "automatic recovery in progress" in server.log
        assert server.sums() == (["t", "t", "t"], TRANSACTIONS)
        server.run("pgbench", *load)
        server.run("psql", "-AtX", "-c", "vacuum full", "-c", "reindex table pgbench_accounts")
        server.run("pg_amcheck", "--heapallindexed", "--install-missing")
        assert server.sums() == (["t", "t", "t"], 2 * TRANSACTIONS)
        server.run("pg_ctl", "stop", "-w")
        server.run("pg_checksums", "--enable")
        server.run("pg_checksums", "--check")
    assert open_mount.story() == ""
