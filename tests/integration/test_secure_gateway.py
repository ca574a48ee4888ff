"""A gateway in front of nodes that want proof: it speaks for its users, and for nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from memfs.machine import login_name
from memfs.testing.processes import Processes
from tests.attack.certificates import Authority
from tests.integration.cli_cluster import COMMAND, clean_environment, wait_for_output
from tests.support.patience import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Processes, Authority]]:
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    flags = [f"--certificates={authority.node()}", "--proxy-users=gateway"]
    flags += ["--standard-directories", "--homes=alice"]
    with Processes(1, memory="256MiB", flags=flags) as processes:
        yield processes, authority


def gateway(
    nodes: tuple[Processes, Authority], user: str, directory: Path
) -> subprocess.Popen[str]:
    """A gateway that proves to be ``user``."""
    processes, authority = nodes
    certificates = authority.user(user)
    with (directory / f"{user}.log").open("w") as log:
        return subprocess.Popen(
            [*COMMAND, "gateway", "--port=0"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=clean_environment(
                MEMFS_URL=processes.url,
                MEMFS_CLIENT_CERTIFICATES=str(certificates),
                MEMFS_CLIENT_USER=user,
            ),
        )


@pytest.fixture(scope="module")
def where(
    nodes: tuple[Processes, Authority], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a gateway that may speak for others."""
    running = gateway(nodes, "gateway", tmp_path_factory.mktemp("gateways"))
    try:
        said = wait_for_output(running, "webhdfs://")
        yield said.split("webhdfs://")[1].split("/")[0]
    finally:
        running.terminate()
        running.wait(PATIENCE_SECONDS)
        assert running.stdout is not None
        running.stdout.close()


def ask(where: str, path: str, user: str, operation: str, method: str, data: bytes = b"") -> bytes:
    url = f"http://{where}/webhdfs/v1{path}?op={operation}&user.name={user}"
    request = urllib.request.Request(url, data=data or None, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: bytes = answer.read()
        return found


def test_a_proxy_serves_its_users(where: str) -> None:
    content = os.urandom(5 << 20)
    ask(where, "/user/alice/file", "alice", "CREATE&data=true", "PUT", content)
    assert ask(where, "/user/alice/file", "alice", "OPEN", "GET") == content
    status = json.loads(ask(where, "/user/alice/file", "alice", "GETFILESTATUS", "GET"))
    assert status["FileStatus"]["owner"] == "alice"


def test_a_proxy_is_never_the_superuser(where: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(where, "/", login_name(), "LISTSTATUS", "GET")
    with caught.value as error:
        assert error.code == 403
        assert "not for the superuser" in json.load(error)["RemoteException"]["message"]


def test_a_gateway_that_is_no_proxy_does_not_start(
    nodes: tuple[Processes, Authority], tmp_path: Path
) -> None:
    running = gateway(nodes, "mallory", tmp_path)
    assert running.wait(PATIENCE_SECONDS) == 1
    assert running.stdout is not None
    running.stdout.close()
    assert "you are mallory, as is proved" in (tmp_path / "mallory.log").read_text()
