"""``memfs dev`` and ``memfs node`` as processes: signals, deaths, what is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

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
from tests.support.patience import PATIENCE_SECONDS


def runs(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(map(runs, pids)):
        assert time.monotonic() < deadline, "a node outlives its cluster"
        time.sleep(0.05)


def wait_for_status(cluster: Cluster, text: bytes) -> subprocess.CompletedProcess[bytes]:
    deadline = time.monotonic() + PATIENCE_SECONDS
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
        os.kill(cluster.nodes()[victim], signal.SIGSTOP)  # dead to the others, and not restarted
        done = wait_for_status(cluster, b"degraded")
        assert done.returncode == 1
        os.kill(cluster.nodes()[victim], signal.SIGKILL)
        for name in ("a", "b", "c", "d"):
            done = execute(cluster.url, ["cat", f"/{name}"])
            assert (done.returncode, done.stdout) == (0, b"precious"), done.stderr
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "started again" not in (said := cluster.said.read_text()):
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        assert f"memfs: {victim} (process " in said
        assert "was killed by signal 9: it is started again" in said
        assert execute(cluster.url, ["cluster", "wait", "--nodes=3"]).returncode == 0
        checked = execute(cluster.url, ["fsck", "--verify"])
        assert checked.returncode == 0, checked.stdout


def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    with dev_cluster(tmp_path, nodes=2) as cluster:
        pids = list(cluster.nodes().values())
        assert len(pids) == 2 and all(map(runs, pids))
        assert list(cluster.temporary.iterdir())
        assert cluster.stop() == 0
        wait_gone(pids)
        assert cluster.said.read_text() == ""
        assert not list(cluster.temporary.iterdir())


def test_nodes_do_not_outlive_a_killed_dev(tmp_path: Path) -> None:
    with dev_cluster(tmp_path, nodes=2) as cluster:
        pids = list(cluster.nodes().values())
        cluster.process.kill()
        cluster.process.wait()
        wait_gone(pids)


@pytest.mark.parametrize(("beyond", "flag"), [(1, "--port"), (1001, "--monitoring-port")])
def test_a_port_that_is_taken(beyond: int, flag: str) -> None:
    port = free_port(2)
    with socket.create_server(("127.0.0.1", port + beyond)):
        done = execute("memfs://127.0.0.1:9", ["dev", "--nodes=2", f"--port={port}"])
    assert done.returncode == 1
    assert done.stderr.decode() == (
        f"memfs: cannot listen on 127.0.0.1:{port + beyond}: Address already in use; choose other "
        f"ports with {flag}\n"
    )


@pytest.mark.parametrize("limit", [8, 10, 12, 14])
def test_a_command_without_descriptors_says_so(limit: int) -> None:
    done = subprocess.run(
        ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *COMMAND, "ls", "/"],
        env={**os.environ, "MEMFS_URL": "memfs://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("memfs: ") and done.stderr.count("\n") == 1, done.stderr
    assert "Too many open files" in done.stderr


def test_an_early_ctrl_c_is_silent() -> None:
    """The signal comes at moments spread over the start of the event loop.

    It comes where a function begins, as Python looks for signals there: not between the moment at
    which a lock is acquired and the one from which it would be released, nor in the callbacks of
    the import system, which swallow it.
    """
    program = (
        "import itertools, signal, sys\n"
        "from memfs.cli import command, main\n"
        "calls = itertools.count()\n"
        "def interrupt(frame, event, argument):\n"
        "    importing = frame.f_code.co_filename.startswith('<frozen importlib')\n"
        "    if event == 'call' and not importing and next(calls) == MOMENT:\n"
        "        sys.setprofile(None)\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "body = command.run_loop\n"
        "def run_loop(work):\n"
        "    sys.setprofile(interrupt)\n"
        "    try:\n"
        "        return body(work)\n"
        "    finally:\n"
        "        sys.setprofile(None)\n"
        "command.run_loop = run_loop\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.exit(main.run(['ls', '/']))\n"
    )
    for moment in (3, 10, 30, 100, 400):
        done = subprocess.run(
            [sys.executable, "-c", program.replace("MOMENT", str(moment))],
            env={**os.environ, "MEMFS_URL": "memfs://127.0.0.1:9"},
            capture_output=True,
            text=True,
        )
        said = (done.returncode, done.stderr.strip())
        assert said == (130, ""), (moment, said)


@pytest.mark.parametrize("script", ["memfs", "mount.memfs"])
def test_ctrl_c_while_the_command_is_imported_is_silent(script: str) -> None:
    """The signal comes at moments spread over the imports, when what they begin with is loaded."""
    program = (
        "import importlib, itertools, signal, sys\n"
        "import memfs.cli\n"
        "calls = itertools.count()\n"
        "def interrupt(frame, event, argument):\n"
        "    importing = frame.f_code.co_filename.startswith('<frozen importlib')\n"
        "    if event == 'call' and not importing and next(calls) == MOMENT:\n"
        "        sys.setprofile(None)\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "module, _, name = ENTRY.partition(':')\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.argv = [SCRIPT, '--help']\n"
        "sys.setprofile(interrupt)\n"
        "sys.exit(getattr(importlib.import_module(module), name)())\n"
    )
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    entry = project["project"]["scripts"][script]
    for moment in (30, 300, 1000, 3000):
        text = program.replace("MOMENT", str(moment)).replace("SCRIPT", repr(script))
        text = text.replace("ENTRY", repr(entry))
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (130, ""), moment


def test_a_killed_dev_goes_on_at_once_with_its_data(tmp_path: Path) -> None:
    """Also in a directory whose modules have the names of Python's own."""
    (tmp_path / "http.py").write_text("raise SystemExit('imported from the current directory')")
    data = f"--data={tmp_path / 'data'}"
    for attempt in range(3):
        with dev_cluster(tmp_path, data) as cluster:
            assert execute(cluster.url, ["mkdir", f"/{attempt}"]).returncode == 0
            found = execute(cluster.url, ["ls", "/"]).stdout.split()
            assert len(found) == attempt + 1
            cluster.process.kill()
            cluster.process.wait()


def test_data_is_for_one_dev_at_a_time(tmp_path: Path) -> None:
    data = f"--data={tmp_path / 'data'}"
    with dev_cluster(tmp_path, data, nodes=1):
        done = execute("memfs://127.0.0.1:9", ["dev", data])
    assert (done.returncode, done.stderr.decode()) == (
        1,
        f"memfs: --data: another memfs dev uses {tmp_path / 'data'}\n",
    )


def test_data_directory_is_kept(tmp_path: Path) -> None:
    with dev_cluster(tmp_path, f"--data={tmp_path / 'data'}", nodes=1):
        pass
    assert any((tmp_path / "data" / "node-1").iterdir())


def test_a_node_alone(tmp_path: Path) -> None:
    port = free_port(1)
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
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stdout is not None
        process.stdout.close()
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert records and {record["node"] for record in records} == {"solo"}
    assert {"time", "level", "logger", "message"} <= records[0].keys()


def test_an_open_address_is_refused(tmp_path: Path) -> None:
    done = execute("memfs://127.0.0.1:9", ["node", "--host=0.0.0.0", "--port=0"])
    assert done.returncode == 2
    assert done.stderr == (
        b"memfs: host: '0.0.0.0' is open to the network, which needs certificates = DIRECTORY "
        b"(memfs certs makes them), or insecure = true\n"
    )
