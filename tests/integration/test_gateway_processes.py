"""``memfs gateway`` as people start it: processes, workers, signals, a cluster that goes away."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import opendal
import pytest
from cli_cluster import (
    COMMAND,
    Cluster,
    clean_environment,
    dev_cluster,
    execute,
    wait_for_output,
)

from memfs.testing.ports import free_port
from memfs.testing.processes import Processes
from tests.support.patience import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with dev_cluster(tmp_path_factory.mktemp("gateway"), nodes=2) as cluster:
        yield cluster


@contextlib.contextmanager
def gateway(
    url: str, *arguments: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running ``memfs gateway`` and its port."""
    port = free_port(1)
    process = subprocess.Popen(
        [*COMMAND, "gateway", f"--port={port}", *arguments],
        stdout=subprocess.PIPE,
        env=clean_environment(MEMFS_URL=url, **environment),
        text=True,
    )
    try:
        wait_for_output(process, "gateway")
        wait_ready(port)
        yield process, port
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def call(
    port: int, target: str, method: str = "GET", body: bytes | None = None, timeout: float = 20.0
) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{target}", body, method=method)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return bytes(response.read())


def wait_ready(port: int, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            call(port, "/readyz")
            return
        except OSError:
            assert time.monotonic() < deadline, "the gateway does not become ready"
            time.sleep(0.05)


def children(process: subprocess.Popen[Any]) -> list[int]:
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def memory(pid: int) -> int:
    """Bytes of a process's own memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such line")


CREATE = "?op=CREATE&user.name=root&overwrite=true"


def test_a_gateway_serves_and_ends_in_good_order(cluster: Cluster) -> None:
    with gateway(cluster.url) as (process, port):
        call(port, f"/webhdfs/v1/file{CREATE}", "PUT", b"content")
        assert execute(cluster.url, ["cat", "/file"]).stdout == b"content"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


def test_two_gateways_serve_the_same_files(cluster: Cluster) -> None:
    with gateway(cluster.url) as (_, first), gateway(cluster.url) as (_, second):
        call(first, f"/webhdfs/v1/shared{CREATE}", "PUT", b"1" * 100_000)
        assert call(second, "/webhdfs/v1/shared?op=OPEN&user.name=root") == b"1" * 100_000


@pytest.mark.parametrize("chunked", [True, False])
def test_memory_is_flat_whatever_the_size(cluster: Cluster, tmp_path: Path, chunked: bool) -> None:
    source = tmp_path / "source"
    with gateway(cluster.url) as (process, port):
        url = f"http://127.0.0.1:{port}/webhdfs/v1/large"
        used = []
        for size in (20, 400):
            source.touch()
            os.truncate(source, size << 20)
            upload = ["curl", "-sf", "-T", "-" if chunked else source]
            with source.open() as content:
                subprocess.run([*upload, f"{url}{CREATE}&replication=1"], stdin=content, check=True)
            used.append(memory(process.pid))
            subprocess.run(
                ["curl", "-sf", "-o", "/dev/null", f"{url}?op=OPEN&user.name=root"], check=True
            )
            used.append(memory(process.pid))
        assert max(used[2:]) - max(used[:2]) < 64 << 20, used


def test_workers_share_a_port_and_are_replaced(cluster: Cluster) -> None:
    with gateway(cluster.url, "--workers=2") as (process, port):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(children(process)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = children(process)
        call(port, f"/webhdfs/v1/w{CREATE}", "PUT", b"x")
        os.kill(before[0], signal.SIGKILL)
        while len(now := children(process)) < 2 or before[0] in now:
            assert time.monotonic() < deadline, "the worker was not replaced"
            time.sleep(0.05)
        wait_ready(port)
        assert call(port, "/webhdfs/v1/w?op=OPEN&user.name=root") == b"x"
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
        for pid in now:
            assert not Path(f"/proc/{pid}").exists()


def test_workers_count_together(cluster: Cluster) -> None:
    """Whichever is asked says the same, and nothing is forgotten with a worker that ends."""

    def listings() -> float:
        shown = call(port, "/metrics").decode()
        assert shown.count("# TYPE memfs_operations_total counter") == 1
        found = re.search(
            r'^memfs_operations_total\{kind="LISTSTATUS",result="ok"\} (.+)$', shown, re.M
        )
        return float(found[1]) if found else 0.0

    with gateway(cluster.url, "--workers=3") as (process, port):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(before := children(process)) < 3 or listings() < 20:
            assert time.monotonic() < deadline
            if len(before) == 3 and not listings():
                for _ in range(20):  # each on a connection of its own
                    call(port, "/webhdfs/v1/?op=LISTSTATUS&user.name=root")
        assert [listings() for _ in range(10)] == [20.0] * 10
        os.kill(before[0], signal.SIGKILL)
        while Path(f"/proc/{before[0]}").exists():
            time.sleep(0.01)
        assert listings() == 20.0
        while len(now := children(process)) < 3 or before[0] in now:
            assert time.monotonic() < deadline, "the worker was not replaced"
            time.sleep(0.05)
        wait_ready(port)
        assert listings() == 20.0
        call(port, "/webhdfs/v1/?op=LISTSTATUS&user.name=root")
        assert [listings() for _ in range(10)] == [21.0] * 10


def test_a_worker_that_stands_still_counts_with_what_it_last_said(cluster: Cluster) -> None:
    with gateway(cluster.url, "--workers=2") as (process, port):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(workers := children(process)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for _ in range(10):
            call(port, "/webhdfs/v1/?op=LISTSTATUS&user.name=root")
        pattern = r'operations_total\{kind="LISTSTATUS",result="ok"\} 10.0'
        assert re.search(pattern, call(port, "/metrics").decode())
        os.kill(workers[0], signal.SIGSTOP)
        try:
            said = None
            while said is None:  # some connections lead to the one that is stopped
                assert time.monotonic() < deadline
                try:
                    said = call(port, "/metrics", timeout=3).decode()
                except OSError:
                    continue
            assert re.search(pattern, said)
        finally:
            os.kill(workers[0], signal.SIGCONT)


def test_a_cluster_that_stands_still_costs_one_request_time(tmp_path: Path) -> None:
    with (
        dev_cluster(tmp_path, nodes=1) as cluster,
        gateway(cluster.url, MEMFS_CLIENT_TIMEOUT_SECONDS="2") as (_, port),
    ):
        call(port, f"/webhdfs/v1/here{CREATE}", "PUT", b"content")
        (node,) = cluster.nodes().values()
        os.kill(node, signal.SIGSTOP)
        try:
            for method, target in (("GET", "here?op=OPEN"), ("PUT", "a/b/c?op=MKDIRS")):
                with pytest.raises(urllib.error.HTTPError) as refused:
                    call(port, f"/webhdfs/v1/{target}&user.name=root", method)
                said = json.loads(refused.value.read())["RemoteException"]
                unknown = "it may have taken effect or not" in said["message"]
                assert unknown == (method == "PUT"), said
                assert said["exception"] == ("IOException" if unknown else "RetriableException")
        finally:
            os.kill(node, signal.SIGCONT)
        wait_ready(port)
        assert call(port, "/webhdfs/v1/here?op=OPEN&user.name=root") == b"content"


def test_a_gateway_that_is_killed_publishes_no_half_and_holds_nothing(cluster: Cluster) -> None:
    with gateway(cluster.url) as (process, port):
        command = ["curl", "-s", "-X", "PUT", "-T", "-", "-H", "Expect:"]
        upload = subprocess.Popen(
            [*command, f"http://127.0.0.1:{port}/webhdfs/v1/half{CREATE}"], stdin=subprocess.PIPE
        )
        assert upload.stdin is not None
        upload.stdin.write(bytes(100_000))
        upload.stdin.flush()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while execute(cluster.url, ["stat", "/half"]).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.kill()
        upload.stdin.close()
        assert upload.wait(PATIENCE_SECONDS) != 0
    with gateway(cluster.url) as (_, port):
        status = json.loads(call(port, "/webhdfs/v1/half?op=GETFILESTATUS"))["FileStatus"]
        assert status["length"] in (0, 100_000)  # what was published in a pause, never a part of it
        call(port, f"/webhdfs/v1/half{CREATE}", "PUT", b"another")
        assert call(port, "/webhdfs/v1/half?op=OPEN&user.name=root") == b"another"


def test_a_cluster_that_was_begun_anew_is_served() -> None:
    target = "/webhdfs/v1/file?op=GETFILESTATUS&user.name=somebody"
    with Processes(nodes=1, replication=1) as nodes, gateway(nodes.url) as (_, port):
        call(port, f"/webhdfs/v1/file{CREATE}", "PUT", b"of the old one")
        assert json.loads(call(port, target))["FileStatus"]["length"] == 14
        nodes.nodes[0].kill()
        shutil.rmtree(nodes.directory / "node-1")
        nodes.restart(0).wait_ready(time.monotonic() + PATIENCE_SECONDS)
        with pytest.raises(urllib.error.HTTPError) as refused:
            call(port, target)
        told = json.loads(refused.value.read())["RemoteException"]
        assert told["exception"] == "RetriableException" and "belongs to cluster" in told["message"]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            call(port, target)
        call(port, "/readyz")
        call(port, f"/webhdfs/v1/file{CREATE}", "PUT", b"new")
        assert json.loads(call(port, target))["FileStatus"]["length"] == 3


def test_what_is_wrong_is_said_at_once() -> None:
    for arguments, text in [
        (["--host", "0.0.0.0"], "insecure"),
        (["--host", "0.0.0.0", "--insecure"], "advertise"),
        (["--advertise", "ftp://x"], "https://host:port"),
        (["--authentication", "bearer"], "tokens_file"),
        (["--peers", "nonsense"], "name=value"),
        (["--port", "99999"], "out of range"),
    ]:
        done = execute("memfs://127.0.0.1:1", ["gateway", *arguments])
        assert done.returncode == 2
        assert text in done.stderr.decode()
    done = execute("memfs://127.0.0.1:1", ["gateway", f"--port={free_port(1)}"])
    assert done.returncode == 1
    assert b"127.0.0.1:1" in done.stderr


def test_a_node_runs_a_gateway_beside_it(tmp_path: Path) -> None:
    port, http_port = free_port(1), free_port(1)
    sizes = ("--memory=64MiB", "--replication=1", "--socket-directory=")
    process = subprocess.Popen(
        [*COMMAND, "node", "--gateway", f"--port={port}", f"--data-directory={tmp_path}", *sizes],
        stdout=subprocess.PIPE,
        env=clean_environment(MEMFS_GATEWAY_PORT=str(http_port)),
        text=True,
    )
    try:
        wait_for_output(process, "webhdfs://")
        wait_ready(http_port)
        call(http_port, f"/webhdfs/v1/file{CREATE}", "PUT", b"x")
        (beside,) = children(process)
        assert b"gateway" in Path(f"/proc/{beside}/cmdline").read_bytes()
    finally:
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stdout is not None
        process.stdout.close()
    assert not Path(f"/proc/{beside}").exists()


@pytest.mark.parametrize("pieces", [1, 5], ids=["at once", "in pieces that are joined"])
def test_opendal(cluster: Cluster, pieces: int) -> None:
    """Here, since its calls hold the interpreter: a gateway in this process could not answer."""
    top = f"/opendal-{pieces}"
    piece = os.urandom(100_001)
    path = "a b/ü+%.bin"
    with gateway(cluster.url, "--default-user=root") as (_, port):
        operator = opendal.Operator(
            "webhdfs",
            root=top,
            endpoint=f"http://127.0.0.1:{port}",
            user_name="root",
            atomic_write_dir=f"{top}/.tmp",
        )
        operator.create_dir("a b/")  # it renames without asking whether there is one
        with operator.open(path, "wb") as file:
            for _ in range(pieces):
                file.write(piece)
        assert execute(cluster.url, ["cat", f"{top}/{path}"]).stdout == piece * pieces
        assert operator.read(path) == piece * pieces
        assert operator.stat(path).content_length == len(piece) * pieces
        assert path in [entry.path for entry in operator.list("a b/")]
        operator.create_dir("d/e/")
        assert operator.stat("d/e/").mode.is_dir()
        operator.delete(path)
        with pytest.raises(opendal.exceptions.NotFound):
            operator.stat(path)
