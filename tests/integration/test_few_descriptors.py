"""Nodes and gateways that may open few files: blocks do not take what connections need."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_cluster import execute

import memfs
from memfs.machine import module_command
from memfs.testing.processes import Place, Processes
from tests.support.patience import PATIENCE_SECONDS

LIMITED = ("sh", "-c", 'ulimit -n "$0" && exec "$@"')
FILES = {f"/file-{number}": os.urandom(1000) * 5000 for number in range(60)}
"""Of 5 MB, two blocks each: every one would take a descriptor or two."""


class Limited(Processes):
    """A cluster whose nodes may open 100 files each."""

    def place(self, name: str) -> Place:
        return super().place(name)._replace(command=(*LIMITED, "100"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Limited]:
    with Limited(memory="512MiB", flags=["--log-format=json"]) as cluster:
        yield cluster


def test_connections_keep_their_share(cluster: Limited) -> None:
    with memfs.connect(cluster.url) as fs:
        for path, data in FILES.items():
            fs.write_bytes(path, data)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(memfs.connect(cluster.url)) for _ in range(4)]
        for number, (path, data) in enumerate(FILES.items()):
            assert clients[number % len(clients)].read_bytes(path) == data
    shown = execute(cluster.url, ["cluster", "status"]).stdout.decode()
    assert "limit of 100 open files" in shown and "LimitNOFILE" in shown
    for node in cluster.nodes:
        said = [json.loads(line) for line in node.log.read_text().splitlines()]
        assert any("limit of 100 open files" in each.get("reason", "") for each in said)
        assert len(os.listdir(f"/proc/{node.pid}/fd")) < 90


def test_too_few_are_refused_at_the_start(tmp_path: Path) -> None:
    command = [*LIMITED, "60", *module_command("memfs.cli", "node", "--port=0")]
    command += [f"--data-directory={tmp_path}", "--socket-directory="]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert ended.returncode != 0
    assert "60 open files are allowed" in ended.stderr and "ulimit -n" in ended.stderr


@contextlib.contextmanager
def gateway(url: str, log: Path) -> Iterator[int]:
    """Its port; it may open 100 files."""
    command = [*LIMITED, "100", *module_command("memfs.cli", "gateway", "--port=0")]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [*command, f"--url={url}"], stdout=subprocess.PIPE, stderr=stderr
        ) as process,
    ):
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], 30)[0], log.read_text()
            yield int(process.stdout.readline().split()[-1].rstrip(b"/").rpartition(b":")[2])
        finally:
            process.terminate()


def test_a_gateway_reaches_the_cluster_whatever_connects_to_it(
    cluster: Limited, tmp_path: Path
) -> None:
    path, data = next(iter(FILES.items()))
    with memfs.connect(cluster.url) as fs:
        fs.write_bytes(path, data)
    log = tmp_path / "log"
    with gateway(cluster.url, log) as port, contextlib.ExitStack() as stack:
        first = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        stack.callback(first.close)
        first.connect()
        for _ in range(150):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        for user in range(5):
            first.request("GET", f"/webhdfs/v1{path}?op=OPEN&user.name=user{user}")
            assert first.getresponse().read() == data
        first.request("GET", "/metrics")
        shown = first.getresponse().read().decode()
        assert "memfs_gateway_connections_limit 50.0" in shown
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "connections are refused" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        assert "fewer connections than configured" in log.read_text()
