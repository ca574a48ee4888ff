"""The units of ``deploy/systemd`` before systemd's own tools, and their commands run."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from memfs.testing.ports import free_port
from tests.support.debian import program
from tests.support.patience import PATIENCE_SECONDS

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = ("memfs-node.service", "memfs-gateway.service")
EXPOSURE = 15
"""Of 100: 1.5 in what ``systemd-analyze security`` prints."""


@pytest.fixture(scope="module")
def analyze() -> str:
    return program("systemd-analyze", "systemd")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A directory of units, with a program in place of memfs, which is not installed here."""
    for name in SERVICES:
        text = (UNITS / name).read_text().replace("/opt/memfs/bin/memfs", "/bin/true")
        (tmp_path / name).write_text(text)
    return tmp_path


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def verify(analyze: str, units: Path, name: str) -> tuple[int, str]:
    """Exit status and complaints; an unknown setting is a complaint with status 0."""
    done = run(analyze, "verify", "--man=no", name, SYSTEMD_UNIT_PATH=f"{units}:")
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_has_no_complaint(analyze: str, installed: Path, name: str) -> None:
    assert verify(analyze, installed, name) == (0, "")


def test_systemd_has_no_complaint_about_the_mount(analyze: str, tmp_path: Path) -> None:
    name = "mnt-memfs.mount"
    (tmp_path / name).write_text((UNITS / name).read_text())
    assert verify(analyze, tmp_path, name) == (0, "")
    (tmp_path / name).write_text((UNITS / name).read_text().replace("Where=", "Were="))
    assert "Were" in verify(analyze, tmp_path, name)[1], "it is not read"


def test_systemd_has_no_complaint_about_the_drop_in(analyze: str, installed: Path) -> None:
    folder = installed / f"{SERVICES[0]}.d"
    folder.mkdir()
    text = (UNITS / "drain.conf").read_text()
    (folder / "drain.conf").write_text(text)
    assert verify(analyze, installed, SERVICES[0]) == (0, "")
    (folder / "drain.conf").write_text(text + "TimeoutStopSex=1\n")
    assert "TimeoutStopSex" in verify(analyze, installed, SERVICES[0])[1], "it is not read"


@pytest.mark.parametrize("name", SERVICES)
def test_services_expose_little(analyze: str, installed: Path, name: str) -> None:
    file = str(installed / name)
    done = run(analyze, "security", "--no-pager", "--offline=true", f"--threshold={EXPOSURE}", file)
    assert done.returncode == 0, done.stdout


def test_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    tool = program("systemd-sysusers", "systemd")
    made = run(tool, f"--root={tmp_path}", str(UNITS / "memfs.sysusers"))
    assert made.returncode == 0, made.stdout
    assert "memfs:" in (tmp_path / "etc" / "passwd").read_text()


@pytest.fixture
def runtime() -> Iterator[Path]:
    """Its path is short, for sockets."""
    with tempfile.TemporaryDirectory(prefix="memfs-test-") as directory:
        yield Path(directory)


@pytest.fixture
def supervisor(runtime: Path) -> Iterator[socket.socket]:
    """Where systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(runtime / "notify"))
        heard.settimeout(PATIENCE_SECONDS)
        yield heard


def start(name: str, directory: Path, settings: str) -> subprocess.Popen[bytes]:
    """ExecStart of a unit, with another file and directories."""
    file = directory / "memfs.toml"
    file.write_text(settings)
    text = (UNITS / name).read_text()
    [line] = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    for there, here in {
        "/opt/memfs/bin/memfs": f"{sys.executable} -m memfs.cli",
        "/etc/memfs/memfs.toml": str(file),
        "%t": str(directory),
        "%S": str(directory),
    }.items():
        line = line.replace(there, here)
    return subprocess.Popen(
        shlex.split(line.removeprefix("ExecStart=")),
        env=os.environ | {"NOTIFY_SOCKET": str(directory / "notify")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def stop(process: subprocess.Popen[bytes], supervisor: socket.socket) -> None:
    process.send_signal(signal.SIGTERM)
    assert supervisor.recv(100) == b"STOPPING=1"
    assert process.wait(PATIENCE_SECONDS) == 0


def test_services_say_when_they_serve_and_stop(runtime: Path, supervisor: socket.socket) -> None:
    port = free_port()
    settings = f"""
[node]
port = {port}
monitoring_port = -1
memory = "64MiB"
[client]
endpoints = ["127.0.0.1:{port}"]
[gateway]
port = 0
"""
    with start(SERVICES[0], runtime, settings) as node:
        try:
            assert supervisor.recv(100) == b"READY=1"
            with start(SERVICES[1], runtime, settings) as gateway:
                try:
                    assert supervisor.recv(100) == b"READY=1"
                    stop(gateway, supervisor)
                finally:
                    gateway.kill()
            with start(SERVICES[1], runtime, settings + "workers = 2\n") as gateway:
                try:
                    assert supervisor.recv(100) == b"READY=1"
                    stop(gateway, supervisor)  # and no word from the workers
                finally:
                    gateway.kill()
            stop(node, supervisor)
        finally:
            node.kill()
