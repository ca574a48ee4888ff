"""Where commands run: without standard streams, without a home, without an entry in passwd."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_cluster import (
    COMMAND,
    Cluster,
    clean_environment,
    dev_cluster,
    wait_for_output,
)

import memfs
from memfs.testing.ports import free_port
from tests.support.patience import PATIENCE_SECONDS

NOBODY = ["unshare", "--user", "--map-user=54321"]
"""A number that passwd does not know, for whom files are still this user's."""


def shell(cluster: Cluster, script: str) -> subprocess.CompletedProcess[str]:
    """A shell's script in which ``$memfs`` runs the command."""
    environment = clean_environment(MEMFS_URL=cluster.url, memfs=" ".join(COMMAND))
    command = ["sh", "-c", script]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("$memfs ls / >&-", "ls / >&-"),
        ("$memfs cat /file >&-", "cat /etc/hostname >&-"),
        ("$memfs cat /file >/dev/full", "cat /etc/hostname >/dev/full"),
        ("$memfs ls / >/dev/full", "ls / >/dev/full"),
        ("$memfs put - /new <&-", "cat <&-"),
        ("$memfs mkdir /d$$ >&- <&-", "test -d / >&- <&-"),
        ("$memfs ls / 2>&-", "ls / 2>&-"),
        ("$memfs ls /gone 2>&-", "ls /gone 2>&-"),
        ("$memfs ls / >&- 2>&- <&-", "ls / >&- 2>&- <&-"),
    ],
)
def test_descriptors_that_are_closed(cluster: Cluster, ours: str, theirs: str) -> None:
    with memfs.connect(cluster.url) as fs:
        fs.write_bytes("/file", b"content")
    found, wanted = shell(cluster, ours), shell(cluster, theirs)
    assert bool(found.returncode) == bool(wanted.returncode), (found, wanted)
    if "rror" in wanted.stderr:  # write error: Bad file descriptor
        assert found.stderr.strip() == f"memfs: {wanted.stderr.strip().partition(': ')[2]}"
    else:
        assert bool(found.stderr) == bool(wanted.stderr)


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_serves_without_them(cluster: Cluster, tmp_path: Path, streams: str) -> None:
    """It goes on, and stops as it should."""
    port = free_port(1)
    gateway = f"{' '.join(COMMAND)} gateway --port {port} --url {cluster.url}"
    environment = clean_environment()
    process = subprocess.Popen(
        ["sh", "-c", f"exec {gateway} {streams}"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for_port(port)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


def test_a_node_without_them(tmp_path: Path) -> None:
    port = free_port(1)
    node = f"{' '.join(COMMAND)} node --port {port} --host 127.0.0.1 --memory 64MiB"
    places = f"--data-directory {tmp_path}/data --socket-directory {tmp_path}/s"
    process = subprocess.Popen(
        ["sh", "-c", f"exec {node} {places} <&- >&- 2>&-"], env=clean_environment()
    )
    try:
        _wait_for_port(port)
        with memfs.connect(f"memfs://127.0.0.1:{port}") as fs:
            fs.write_bytes("/file", b"content")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


def _wait_for_port(port: int) -> None:
    import socket
    import time

    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens at {port}"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def homeless() -> Iterator[dict[str, str]]:
    """The environment of a user without HOME, with a place for temporary files."""
    with tempfile.TemporaryDirectory() as directory:
        kept = clean_environment(TMPDIR=directory)
        unwanted = ("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "MEMFS_CONFIG", "USER", "LOGNAME")
        yield {key: value for key, value in kept.items() if key not in unwanted}


def test_a_user_without_passwd_and_home(homeless: dict[str, str], tmp_path: Path) -> None:
    """dev and its nodes, a gateway, commands and the library."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*NOBODY, *arguments],
            env=homeless | more,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )

    said = run(sys.executable, "-c", "import os, pathlib; print(os.geteuid()); pathlib.Path.home()")
    assert said.stdout == "54321\n" and "Could not determine home" in said.stderr
    with dev_cluster(
        tmp_path, "--memory=64MiB", nodes=1, command=[*NOBODY, "env", "-u", "HOME", *COMMAND]
    ) as own:
        url = {"MEMFS_URL": own.url}
        (tmp_path / "file").write_bytes(b"content")
        for command in (
            ("put", str(tmp_path / "file"), "/file"),
            ("ls", "-l", "/"),
            ("cat", "/file"),
            ("chmod", "600", "/file"),
            ("cluster", "status"),
            ("config",),
            ("completion", "bash"),
            ("fsck",),
        ):
            done = run(*COMMAND, *command, **url)
            assert (done.returncode, done.stderr) == (0, ""), (command, done)
        assert "54321" in run(*COMMAND, "ls", "-l", "/", **url).stdout
        script = "import memfs, sys; print(memfs.connect(sys.argv[1]).read_bytes('/file'))"
        assert run(sys.executable, "-c", script, own.url).stdout == "b'content'\n"
        port = free_port(1)
        gateway = subprocess.Popen(
            [*NOBODY, *COMMAND, "gateway", "--port", str(port), "--url", own.url],
            env=homeless,
            stdout=subprocess.PIPE,
            text=True,
        )
        wait_for_output(gateway, "ready")
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(PATIENCE_SECONDS) == 0
        assert gateway.stdout is not None
        gateway.stdout.close()


def test_a_home_that_takes_nothing(tmp_path: Path) -> None:
    """The node says which flag helps."""
    (tmp_path / "home").write_bytes(b"no directory")
    environment = clean_environment(HOME=str(tmp_path / "home"))
    done = subprocess.run(
        [*NOBODY, *COMMAND, "node", "--port", str(free_port(1)), "--host", "127.0.0.1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "cannot make" in done.stderr and "--data-directory" in done.stderr
