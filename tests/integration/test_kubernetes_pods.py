"""The pods of ``deploy/kubernetes`` in real containers, as a kubelet would start and stop them.

There is no Kubernetes in it: who schedules, resolves names and replaces pods is the test. Where
there is no Docker engine this says so and does not run.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from kubernetes_objects import Rendered, made_secrets
from kubernetes_pods import Pods

from tests.support.containers.cluster import Containers

MEMORY = "512m"
DATA = random.Random(7).randbytes(20 << 20)
STATUS = (
    "import urllib.request as r; print(r.urlopen("
    "'http://webhdfs:9870/webhdfs/v1/shared/file?op=GETFILESTATUS').read().decode())"
)

pytestmark = [pytest.mark.alone, pytest.mark.nightly]
AS_HADOOP = (
    "import sys, urllib.request as r; print(r.urlopen(r.Request("
    "'http://webhdfs:9870/webhdfs/v1/shared/file?op=GETFILESTATUS', "
    "headers={'Authorization': 'Bearer ' + sys.argv[1]} if sys.argv[1:] else {})).read().decode())"
)


@pytest.fixture(scope="module")
def images(containers: Containers) -> dict[str, str]:
    return {"memfs": containers.image, "etcd": containers.environment["MEMFS_ETCD_IMAGE"]}


def start(pods: Pods, *jobs: str) -> None:
    """All of it; a file is in it then."""
    for number in range(3):
        pods.start("etcd", number)
    for job in jobs:
        pods.finish(job)
    for number in range(3):
        pods.start("memfs", number)
    for number in range(3):
        pods.wait_ready("memfs", number)
    pods.run("memfs-0", "memfs", "cluster", "wait", "--nodes", "3")
    pods.run("memfs-0", "memfs", "mkdir", "-m", "1777", "/shared")
    pods.run("memfs-1", "memfs", "put", "-", "/shared/file", given=DATA)


def test_a_pod_is_replaced_and_nothing_is_lost(images: dict[str, str]) -> None:
    with Pods(Rendered(""), images, MEMORY) as pods:
        start(pods)
        pods.start("memfs-gateway", 0)
        pods.wait_ready("memfs-gateway", 0)
        assert f'"length":{len(DATA)}' in pods.run("memfs-0", "python3", "-c", STATUS).decode()
        status = pods.run("memfs-0", "memfs", "cluster", "status").decode()
        assert "memfs-2.memfs-peers.memfs.svc:10500" in status and "/host-2" in status
        assert pods.stop("memfs", 1) == 0
        assert b" 0 under-replicated" in pods.run("memfs-0", "memfs", "fsck")
        pods.start("memfs", 1)
        pods.wait_ready("memfs", 1)
        pods.run("memfs-1", "memfs", "cluster", "wait", "--nodes", "3", "--no-moves")
        assert pods.run("memfs-1", "memfs", "cat", "/shared/file") == DATA
        assert pods.stop("memfs-gateway", 0) == 0


def test_durable_pods_come_back_from_a_power_cut(images: dict[str, str]) -> None:
    with Pods(Rendered("durable"), images, MEMORY) as pods:
        start(pods)
        pods.all("kill", "memfs", 3)
        pods.all("start", "memfs", 3)
        for number in range(3):
            pods.wait_ready("memfs", number)
        pods.run("memfs-2", "memfs", "cluster", "wait", "--nodes", "3", "--no-moves")
        assert pods.run("memfs-2", "memfs", "cat", "/shared/file") == DATA


def test_secure_pods_prove_themselves(images: dict[str, str], tmp_path: Path) -> None:
    """Certificates, an etcd with TLS and users, and a gateway that wants a token."""
    with Pods(Rendered("secure"), images, MEMORY, made_secrets(tmp_path)) as pods:
        start(pods, "memfs-etcd-users")
        assert "TLS 1.3" in pods.run("memfs-0", "memfs", "cluster", "status").decode()
        pods.start("memfs-gateway", 0)
        pods.wait_ready("memfs-gateway", 0)
        token = (tmp_path / "clients" / "gateway.token").read_text()
        ask = ("memfs-0", "python3", "-c", AS_HADOOP)
        assert f'"length":{len(DATA)}' in pods.run(*ask, token).decode()
        with pytest.raises(RuntimeError, match="401"):
            pods.run(*ask)
        with pytest.raises(RuntimeError, match=r"TLS|magic"):
            pods.run("memfs-1", "env", "MEMFS_CLIENT_CERTIFICATES=", "memfs", "ls", "/")
        assert pods.stop("memfs", 1) == 0
        pods.start("memfs", 1)
        pods.wait_ready("memfs", 1)
        pods.run("memfs-1", "memfs", "cluster", "wait", "--nodes", "3", "--no-moves")
        assert pods.run("memfs-1", "memfs", "cat", "/shared/file") == DATA
