"""``memfs dev`` and ``memfs node`` as processes: signals, deaths, what is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from cli_cluster import (
    COMMAND,
    Cluster,
    clean_environment,
    dev_cluster,
    execute,
    free_ports,
    wait_for_output,
)


def runs(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(map(runs, pids)):
        assert time.monotonic() < deadline, "a node outlives its cluster"
        time.sleep(0.05)


def wait_for_status(cluster: Cluster, text: bytes) -> subprocess.CompletedProcess[bytes]:
    deadline = time.monotonic() + 20
    while True:
        done = execute(cluster.url, ["cluster", "status"])
        if text in done.stdout:
            return done
        assert time.monotonic() < deadline, done.stdout.decode()
        time.sleep(0.2)


def test_a_node_dies(tmp_path: Path) -> None:
    quick = {"MEMFS_NODE_MEMBER_TIMEOUT_SECONDS": "1s", "MEMFS_NODE_HEARTBEAT_SECONDS": "200ms"}
    with dev_cluster(tmp_path, "--memory=64MiB", "--replication=2", **quick) as cluster:
        (tmp_path / "f").write_bytes(b"precious")
        for name in ("a", "b", "c", "d"):
            execute(cluster.url, ["put", str(tmp_path / "f"), f"/{name}"])
        assert execute(cluster.url, ["fsck"]).returncode == 0
        view = json.loads(execute(cluster.url, ["cluster", "status", "--json"]).stdout)
        victim = next(
            node["name"] for node in view["nodes"] if node["blocks"] and not node["primary"]
        )
        os.kill(cluster.nodes()[victim], signal.SIGKILL)
        done = wait_for_status(cluster, b"degraded")
        assert done.returncode == 1
        for name in ("a", "b", "c", "d"):
            done = execute(cluster.url, ["cat", f"/{name}"])
            assert (done.returncode, done.stdout) == (0, b"precious"), done.stderr
        checked = execute(cluster.url, ["fsck"])
        assert checked.returncode == 1
        assert b"under-replicated, 1 of 2 copies" in checked.stdout
        said = cluster.said.read_text()
        assert f"memfs: {victim} (process " in said
        assert "was killed by signal 9; 2 of 3 nodes left" in said


def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    with dev_cluster(tmp_path, nodes=2) as cluster:
        pids = list(cluster.nodes().values())
        assert len(pids) == 2 and all(map(runs, pids))
        assert list(cluster.temporary.iterdir())
        assert cluster.stop() == 0
        wait_gone(pids)
        assert not list(cluster.temporary.iterdir())


def test_nodes_do_not_outlive_a_killed_dev(tmp_path: Path) -> None:
    with dev_cluster(tmp_path, nodes=2) as cluster:
        pids = list(cluster.nodes().values())
        cluster.process.kill()
        cluster.process.wait()
        wait_gone(pids)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    port = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        done = subprocess.run(
            [*COMMAND, "dev", f"--port={port}"],
            capture_output=True,
            text=True,
            env=clean_environment(),
            timeout=60,
        )
    assert done.returncode == 1
    assert f"memfs: cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_data_directory_is_kept(tmp_path: Path) -> None:
    with dev_cluster(tmp_path, f"--data={tmp_path / 'data'}", nodes=1):
        pass
    assert any((tmp_path / "data" / "node-1").iterdir())


def test_a_node_alone(tmp_path: Path) -> None:
    port = free_ports(1)
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*COMMAND, "node", f"--port={port}", "--log-format=json", "--memory=64MiB"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=clean_environment(
                MEMFS_NODE_DATA_DIRECTORY=str(tmp_path / "data"),
                MEMFS_NODE_SOCKET_DIRECTORY=str(tmp_path),
                MEMFS_NODE_NAME="solo",
            ),
        )
    try:
        said = wait_for_output(process, "\n")
        assert said == f"memfs node solo ready: memfs://127.0.0.1:{port}\n"
        done = execute(f"memfs://127.0.0.1:{port}", ["ls", "/"])
        assert (done.returncode, done.stdout) == (0, b"")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stdout is not None
        process.stdout.close()
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert records and {record["node"] for record in records} == {"solo"}
    assert {"time", "level", "logger", "message"} <= records[0].keys()


def test_an_open_address_is_refused(tmp_path: Path) -> None:
    done = execute("memfs://127.0.0.1:9", ["node", "--host=0.0.0.0", "--port=0"])
    assert done.returncode == 2
    assert done.stderr == (
        b"memfs: host: '0.0.0.0' is open to the network, which needs insecure = true\n"
    )
