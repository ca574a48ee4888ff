"""The etcd of ``deploy/kubernetes`` as processes on loopback, with the flags of the manifests."""

from __future__ import annotations

import dataclasses
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from kubernetes_objects import (
    MANIFESTS,
    Object,
    Rendered,
    container,
    environment,
    made_secrets,
    probes,
)

from memfs import errors
from memfs.cluster.etcd import open_etcd
from memfs.cluster.view import form
from memfs.config import NodeConfig, load
from memfs.testing.ports import free_port
from memfs.transport.environment import production_environment
from memfs.types import Member
from tests.support.debian import cache_directory
from tests.support.etcd_package import etcd_binaries
from tests.support.patience import PATIENCE_SECONDS

PORTS = (2379, 2380, 2381)


class Members:
    """The pods of etcd: where each of their ports is here."""

    def __init__(self, variant: str, secrets: Path, data: Path) -> None:
        self.rendered = Rendered(variant)
        self.etcd = self.rendered.of("StatefulSet", "etcd")
        self.secrets, self._data = secrets, data
        count: int = self.etcd["spec"]["replicas"]
        first = free_port(count * len(PORTS))
        self._ports = {
            (f"etcd-{number}", port): first + number * len(PORTS) + index
            for number in range(count)
            for index, port in enumerate(PORTS)
        }
        self.names = [f"etcd-{number}" for number in range(count)]

    def port(self, name: str, port: int) -> int:
        return self._ports[name, port]

    def here(self, text: str, name: str, secret: str) -> str:
        """Of a pod's arguments, what they are on this host."""
        text = text.replace("$(NAME)", name).replace("/var/lib/etcd", str(self._data / name))
        text = text.replace("/certificates", str(self.secrets / secret))

        def moved(found: re.Match[str]) -> str:
            whose = found[2] if found[2] in self.names else name
            return f"{found[1]}127.0.0.1:{self.port(whose, int(found[3]))}"

        return re.sub(r"(//|(?<=,)(?=etcd-\d+\.))([\w-]+)[\w.-]*:(\d+)", moved, text)

    def command(self, name: str) -> list[str]:
        only = container(self.etcd)
        flags = [self.here(each, name, "etcd") for each in only["args"]]
        return [str(etcd_binaries() / only["command"][0]), *flags]


@contextmanager
def running(members: Members) -> Iterator[None]:
    """All of them, until their probes are answered."""
    with ExitStack() as stack:
        for name in members.names:
            process = subprocess.Popen(
                members.command(name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait, PATIENCE_SECONDS)
            stack.callback(process.terminate)
        for name in members.names:
            for path, port in probes(members.etcd):
                assert port == "metrics"
                assert answers(f"http://127.0.0.1:{members.port(name, 2381)}{path}"), (name, path)
        yield


def answers(url: str) -> bool:
    """Whether it says 200 within a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            time.sleep(0.1)
    return False


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """On a disk: an etcd that forgets is none."""
    where = cache_directory() / f"etcd-{tmp_path.parent.parent.name}-{tmp_path.name}"
    yield where
    shutil.rmtree(where, ignore_errors=True)


def test_etcd_takes_its_flags_and_answers_its_probes(tmp_path: Path, data: Path) -> None:
    with running(Members("", tmp_path, data)):
        pass


async def test_the_secure_etcd_serves_the_nodes_and_nobody_else(tmp_path: Path, data: Path) -> None:
    made_secrets(tmp_path)
    members = Members("secure", tmp_path, data)
    with running(members):
        client = f"127.0.0.1:{members.port('etcd-1', 2379)}"
        for _ in range(2):  # the job, and again with another image
            switch_users_on(members, members.rendered.of("Job", "memfs-etcd-users"), client)
        config = node_config(members)
        coordinator = open_etcd(production_environment().clock, config)
        assert (await coordinator.read_view()).view is None
        view = form("kubernetes", Member(1, "memfs-0", 1, "memfs-0", 10500))
        assert await coordinator.swap_view(0, view) is not None
        await coordinator.close()
        for flags, said in (
            ([f"--endpoints=https://{client}", authority(members)], "user name is empty"),
            ([f"--endpoints=https://{client}"], "certificate"),
            ([f"--endpoints=http://{client}", authority(members)], ""),
        ):
            refused = control(*flags, "get", "--prefix", "")
            assert refused.returncode and said in refused.stderr, refused
        wrong = open_etcd(
            production_environment().clock,
            dataclasses.replace(config, etcd_password="x", etcd_password_file=""),
        )
        with pytest.raises(errors.ConfigError, match="etcd_user"):
            await wrong.read_view()
        await wrong.close()
        assert not peer_answers(members)


def node_config(members: Members) -> NodeConfig:
    """What a node's pod makes of its variables, with this host's addresses."""
    variables = environment(members.rendered.nodes, "memfs-0", "host-0")
    here = {
        name: members.here(value, "etcd-0", "none").replace(
            "/etc/memfs-certs", str(members.secrets / "node")
        )
        for name, value in variables.items()
    }
    return load(NodeConfig, environ=here)


def switch_users_on(members: Members, job: Object, client: str) -> None:
    """What the job runs; the image has its program there."""
    [python], [program, url, directory] = container(job)["command"], container(job)["args"]
    image = (MANIFESTS.parent / "Dockerfile").read_text()
    [source] = re.findall(rf"COPY (\S+) {re.escape(program)}\n", image)
    assert python.startswith("/opt/memfs/bin/python")
    url = url.replace("etcd-peers:2379", client)
    where = str(members.secrets / "etcd-users")
    assert directory == "/certificates" and url == f"https://{client}"
    subprocess.run([sys.executable, MANIFESTS.parents[1] / source, url, where], check=True)


def authority(members: Members) -> str:
    return f"--cacert={members.secrets / 'etcd' / 'ca.crt'}"


def control(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(etcd_binaries() / "etcdctl"), "--dial-timeout=5s", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def peer_answers(members: Members) -> bool:
    """Whether the members' own port serves somebody who believes it and shows no certificate."""
    trusting = ssl.create_default_context(cafile=str(members.secrets / "etcd" / "ca.crt"))
    url = f"https://127.0.0.1:{members.port('etcd-0', 2380)}/version"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS, context=trusting):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError as error:
        assert "certificate" in str(error).lower(), error
        return False
