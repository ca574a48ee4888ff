"""``deploy/compose.yaml`` in real containers: every door, scaling, faults under load.

The image is built on the spot from the project's Dockerfile. Where there is no Docker engine this
says so and does not run; what can be said of the files without one is in tests/unit/deploy.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

import memfs
from memfs.errors import NoSpaceError
from memfs.machine import login_name
from tests.support.containers.engine import docker
from tests.support.nemesis.clients import Worker, wait_served
from tests.support.nemesis.run import CREWS, SIZES
from tests.support.nemesis.worker import Order

pytestmark = pytest.mark.alone

SERVED_SECONDS = 90
USER = {"user.name": login_name()}


@pytest.fixture(scope="module")
def cluster(containers):
    """Three nodes, two gateways, all in RAM."""
    containers.use()
    containers.up()
    yield containers
    containers.down("--volumes", "--timeout=0")


@pytest.fixture
def fs(cluster):
    with memfs.connect(cluster.url) as fs:
        yield fs


@pytest.fixture
def workers(cluster, tmp_path):
    """Clients at work, whose histories are judged when the test is over."""
    started = []
    for index, names in enumerate(CREWS):
        order = Order(
            cluster.url,
            seed=index,
            top=f"/{tmp_path.name}-{index}",
            workloads=list(names),
            sizes=SIZES,
            options={"timeout_seconds": 15.0},
        )
        started.append(Worker(order, tmp_path / f"worker-{index}.log"))
    try:
        for worker in started:
            worker.wait_ready()
        yield started
        for worker in started:
            worker.stop()
        judgements = [worker.judgement() for worker in started]
    finally:
        for worker in started:
            worker.close()
    assert [found.violations for found in judgements] == [[] for _ in started]
    assert all(found.counts["ok"] > 100 for found in judgements)


def content(seed, size):
    return random.Random(seed).randbytes(size)


def upload(cluster, path, data):
    parameters = {"op": "CREATE", **USER}
    asked = requests.put(
        cluster.gateway(path), params=parameters, allow_redirects=False, timeout=60
    )
    assert asked.status_code == 307, asked.text
    sent = requests.put(asked.headers["Location"], data=data, timeout=60)
    assert sent.status_code == 201, sent.text


def download(cluster, path):
    reply = requests.get(cluster.gateway(path), params={"op": "OPEN", **USER}, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.content


# --- every door ----------------------------------------------------------------------------------


def test_files_through_every_door(cluster, fs):
    doors = {
        "container": lambda path, data: cluster.cli("put", "-", path, given=data),
        "host": fs.write_bytes,
        "webhdfs": lambda path, data: upload(cluster, path, data),
    }
    ways_back = {
        "container": lambda path: cluster.cli("cat", path),
        "host": fs.read_bytes,
        "webhdfs": lambda path: download(cluster, path),
    }
    fs.makedirs("/doors")
    for door, put in doors.items():
        data = content(door, 9_000_000)
        put(f"/doors/{door}", data)
        for back, get in ways_back.items():
            assert get(f"/doors/{door}") == data, f"in by {door}, out by {back}"
    small = {f"/doors/small/{number}": content(number, 500) for number in range(500)}
    fs.makedirs("/doors/small")
    fs.write_many(small)
    assert fs.read_many(list(small)) == list(small.values())


def test_both_gateways_serve(cluster, fs):
    fs.write_text("/by-all-gateways", "the same")
    for gateway in cluster.containers("gateway"):
        address = cluster.address_of(gateway)
        reply = requests.get(f"http://{address}:9870/webhdfs/v1/by-all-gateways?op=OPEN", timeout=9)
        assert reply.text == "the same"


def test_another_container_reads_through_descriptors(cluster, fs):
    data = content("descriptors", 20_000_000)
    fs.write_bytes("/mapped", data)
    client = Path(__file__).with_name("compose_client.py").read_text()
    digest = hashlib.sha256(data).hexdigest()
    run = [
        *("run", "--rm", "--network", cluster.network, "--user", "4321", "--read-only"),
        *("--env", "MEMFS_URL=memfs://node:10500", "--entrypoint", "python3"),
    ]
    program = [cluster.image, "-c", client, "/mapped", digest]
    sockets = ("--volume", f"{cluster.name}_sockets:/run/memfs:ro")
    assert docker(*run, *sockets, *program) == b"through descriptors\n"
    assert docker(*run, *program) == b"through sockets\n"


def test_a_container_shows_the_cluster_as_a_directory(cluster, fs):
    """It stops in good order."""
    script = "cd /mnt/memfs/cluster/shown && cp in out && mv out kept && sha256sum < kept"
    cluster.use("mount")
    try:
        cluster.up("mount")
        data = content(8, 9_000_000)
        fs.write_bytes("/shown/in", data, parents=True)
        told = cluster.compose("exec", "--no-TTY", "mount", "sh", "-c", script)
        assert told.split()[0].decode() == hashlib.sha256(data).hexdigest()
        assert fs.read_bytes("/shown/kept") == data
        [container] = cluster.containers("mount")
        cluster.compose("stop", "mount")
        assert cluster.state(container)["ExitCode"] == 0
    finally:
        cluster.compose("rm", "--force", "--stop", "mount")
        cluster.use()


def test_prometheus_scrapes_all_of_them(cluster):
    deadline = time.monotonic() + SERVED_SECONDS
    url = f"http://{cluster.address}:9090/api/v1/query?query=sum by (job) (up)"
    up = {}
    while up != {"memfs-node": "3", "memfs-gateway": "2"}:
        assert time.monotonic() < deadline, f"Prometheus sees {up}"
        time.sleep(0.5)
        found = requests.get(url, timeout=9).json()["data"]["result"]
        up = {each["metric"]["job"]: each["value"][1] for each in found}


def test_the_tour(cluster):
    done = subprocess.run(
        [str(cluster.directory / "tour.sh")],
        env={**os.environ, **cluster.environment, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    killed = done.stdout.partition("is killed")[2].partition("It comes back")[0]
    for line in ("written in a container", "written by Python", "on the host: written by curl"):
        assert line in killed, done.stdout
    assert "healthy" in done.stdout.partition("It comes back")[2]


# --- memory --------------------------------------------------------------------------------------


def test_a_full_cluster_says_no_space_within_its_memory(cluster, fs):
    nodes = cluster.containers("node")
    before = {node: cluster.state(node)["StartedAt"] for node in nodes}
    fs.makedirs("/full")
    written = 0
    try:
        with pytest.raises(NoSpaceError):
            while True:
                fs.write_bytes(f"/full/{written}", content(written, 8_000_000))
                written += 1
        until_used(fs, 0.9)
        for number in range(written):
            assert fs.read_bytes(f"/full/{number}") == content(number, 8_000_000)
        for node in nodes:
            state = cluster.state(node)
            assert state["StartedAt"] == before[node] and not state["OOMKilled"]
    finally:
        fs.rmtree("/full")


def until_used(fs, share):
    """Wait for a node that says so: the status knows what the last heartbeats told."""
    deadline = time.monotonic() + SERVED_SECONDS
    while True:
        usages = [node.usage for node in fs.cluster_status().nodes]
        if max(usage.used / usage.limit for usage in usages) > share:
            return
        assert time.monotonic() < deadline, usages
        time.sleep(0.2)


# --- change and faults, with clients at work -----------------------------------------------------


def test_scaling_up_and_down(cluster, workers):
    cluster.up(scale={"node": 5, "gateway": 3})
    cluster.wait(5)
    assert wait_served(workers, SERVED_SECONDS)
    cluster.up()  # two of each go at once, and the nodes move their blocks away first
    assert len(cluster.containers("node")) == 3 and len(cluster.containers("gateway")) == 2
    cluster.wait(3)
    assert wait_served(workers, SERVED_SECONDS)


def test_a_killed_and_a_crashed_node(cluster, workers):
    first, second, _ = cluster.containers("node")
    cluster.kill(first)
    assert wait_served(workers, SERVED_SECONDS)
    cluster.up()
    cluster.wait(3)
    cluster.crash(second)  # and the engine starts it again
    assert wait_served(workers, SERVED_SECONDS)
    cluster.wait(3)


def test_a_node_cut_off_and_brought_back(cluster, workers):
    node = cluster.containers("node")[1]
    address = cluster.cut(node)
    assert wait_served(workers, SERVED_SECONDS)
    time.sleep(6)  # longer than the lease and the member timeout
    cluster.mend(node, address, "node")
    cluster.wait(3)
    assert wait_served(workers, SERVED_SECONDS)


def test_all_but_the_nodes_restart(cluster, workers):
    cluster.compose("restart", "etcd", "gateway", "proxy")
    cluster.up()
    cluster.wait(3)
    assert wait_served(workers, SERVED_SECONDS)


def test_a_stopped_node_leaves_in_good_order(cluster, workers):
    node = cluster.containers("node")[-1]
    name = cluster.id_of(node)
    docker("stop", node)
    state = cluster.state(node)
    assert state["ExitCode"] == 0 and not state["Running"]
    members = json.loads(cluster.command("cluster", "status", "--json"))["nodes"]
    assert name not in [each["name"] for each in members]
    cluster.up()
    cluster.wait(3)


def test_the_cluster_is_sound_in_the_end(cluster):
    cluster.command("fsck", "--verify", "/")


def test_when_all_nodes_were_stopped_the_status_says_to_begin_anew(cluster):
    cluster.compose("stop", "node")  # "restart" may leave one that waits for the first to come back
    cluster.compose("start", "node")
    with pytest.raises(RuntimeError, match=r"nothing is left; .* begin anew"):
        cluster.cli("cluster", "status")
    cluster.down()
    cluster.up()
    cluster.cli("put", "-", "/anew", given=b"again")
    assert download(cluster, "/anew") == b"again"


# --- on disk -------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_a_durable_cluster_survives_a_restart_and_down_and_up(containers, cluster):
    cluster.down("--volumes", "--timeout=0")
    containers.use("durable")
    containers.up("node")
    files = {f"/kept/{number}": content(number, 3_000_000) for number in range(10)}
    with memfs.connect(containers.nodes) as fs:
        fs.makedirs("/kept")
        fs.write_many(files)
    for act in (restart, power_cut, down_and_up):
        act(containers)
        containers.wait(3)
        with memfs.connect(containers.nodes) as fs:
            assert fs.read_many(list(files)) == list(files.values()), f"after {act.__name__}"
            files[f"/kept/{act.__name__}"] = act.__name__.encode() * 1000
            fs.write_bytes(f"/kept/{act.__name__}", files[f"/kept/{act.__name__}"])
    containers.command("fsck", "--verify", "/")
    containers.down("--volumes", "--timeout=0")


def restart(containers):
    containers.compose("restart")
    containers.up("node")


def power_cut(containers):
    containers.compose("kill", "node")
    containers.up("node")


def down_and_up(containers):
    containers.down()
    containers.up("node")


def test_the_secure_variant(containers, cluster):
    """Certificates, an etcd with users, and gateways that want a token, out of one command."""
    cluster.down("--volumes", "--timeout=0")
    containers.use("secure")
    containers.up()
    assert b"TLS 1.3" in containers.cli("cluster", "status")
    containers.cli("mkdir", "-p", "/user/hadoop")
    containers.cli("chown", "hadoop", "/user/hadoop")
    token = containers.compose(
        "exec", "-T", "certificates", "cat", "/certificates/cli/gateway.token"
    )
    url = containers.gateway("/user/hadoop?op=LISTSTATUS")
    assert requests.get(url, timeout=SERVED_SECONDS).status_code == 401
    bearer = {"Authorization": f"Bearer {token.decode()}"}
    assert requests.get(url, headers=bearer, timeout=SERVED_SECONDS).status_code == 200
    containers.up(scale={"node": 4})
    containers.cli("cluster", "wait", "--nodes=4")
    containers.down("--volumes", "--timeout=0")
