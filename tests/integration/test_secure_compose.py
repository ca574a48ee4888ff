"""``deploy/compose.secure.yaml`` without an engine: its scripts and settings, as processes here.

The certificates are those that its service makes, etcd and the nodes are started with what stands
in the files, at ports of this host.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from memfs import machine
from memfs.security.authority import expiry
from memfs.testing.ports import free_port
from tests.integration.cli_cluster import COMMAND, clean_environment
from tests.support.debian import unpacked
from tests.support.etcd_package import etcd_binaries
from tests.support.patience import PATIENCE_SECONDS
from tests.unit.deploy.test_alarms import SUITE

DEPLOY = Path(__file__).parents[2] / "deploy"
USER = machine.login_name()


class Place(NamedTuple):
    """What was started."""

    certificates: Path
    etcd: str
    url: str
    settings: dict[str, dict[str, str]]
    """By service, with this host's paths and ports."""
    metrics: list[int]
    """Ports of the nodes' metrics under TLS."""


def run(
    command: list[str], environment: dict[str, str], status: int | None = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert status is None or done.returncode == status, done.stdout + done.stderr
    return done


def services() -> dict[str, Any]:
    """Of both files, the environments put together."""
    plain, above = (
        yaml.safe_load((DEPLOY / name).read_text())["services"]
        for name in ("compose.yaml", "compose.secure.yaml")
    )
    for name in plain:
        own = above.get(name, {})
        together = {**plain[name].get("environment", {}), **own.get("environment", {})}
        above[name] = {**plain[name], **own, "environment": together}
    return above


@contextmanager
def started(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """A process that runs until then."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    top = tmp_path_factory.mktemp("compose")
    certificates, found = top / "certificates", services()
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = [str(DEPLOY / "certificates.sh"), str(certificates), USER, "127.0.0.0/24"]
    for _ in range(2):  # what is there stays
        run(script, clean_environment(PATH=programs))
    first = free_port(4)
    ports = range(first, first + 4)
    client, peer = (f"https://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")

    def here(text: str, service: str) -> str:
        text = re.sub(r"^\$\{\w+:-(\w+)\}$", r"\1", text)  # what Compose takes by default
        text = text.replace("/certificates", str(certificates / service))
        text = text.replace("https://0.0.0.0:2379", client).replace("https://etcd:2379", client)
        return text.replace("etcds://etcd:2379", client.replace("https", "etcds"))

    flags = [here(each, "etcd") for each in found["etcd"]["command"][1:]]
    data = next(each for each in flags if each.startswith("--data-dir="))
    flags[flags.index(data)] = f"--data-dir={top / 'etcd'}"
    flags += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    flags += [f"--initial-cluster=etcd={peer}", "--log-level=error"]
    settings = {
        name: {key: here(str(value), name) for key, value in found[name]["environment"].items()}
        for name in ("node", "gateway", "cli")
    }
    with ExitStack() as running:

        def start(command: list[str], environment: dict[str, str]) -> None:
            log = top / f"{Path(command[-1]).name}.log"
            running.enter_context(started(command, environment, log))

        start([str(etcd_binaries() / "etcd"), *flags], clean_environment())
        control = clean_environment(
            ETCDCTL_ENDPOINTS=client, ETCDCTL_CACERT=str(certificates / "etcd" / "ca.crt")
        )
        health = [str(etcd_binaries() / "etcdctl"), *found["etcd"]["healthcheck"]["test"][2:]]
        until(lambda: not run(health, control, None).returncode)
        users = [sys.executable, str(DEPLOY / "etcd_users.py"), client, str(certificates / "etcd")]
        for _ in range(2):
            run(users, clean_environment())
        assert not run(health, control).returncode, "with users, too"
        url = f"memfs://127.0.0.1:{ports[2]},127.0.0.1:{ports[3]}"
        metrics = {port: free_port() for port in ports[2:4]}
        for port in ports[2:4]:
            own = {
                "MEMFS_NODE_HOST": "127.0.0.1",
                "MEMFS_NODE_MONITORING_PORT": str(free_port()),
                "MEMFS_NODE_METRICS_TLS_PORT": str(metrics[port]),
                "MEMFS_NODE_MEMORY": "64MiB",
                "MEMFS_NODE_SUPERUSER": USER,
                "MEMFS_NODE_SOCKET_DIRECTORY": str(top / "sockets"),
                "MEMFS_NODE_DRAIN_BLOCKS": "false",
                "MEMFS_NODE_PORT": str(port),
                "MEMFS_NODE_NAME": f"node-{port}",
            }
            start([*COMMAND, "node"], clean_environment(**settings["node"] | own))
        yield Place(certificates, client, url, settings, list(metrics.values()))


def until(done: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def cli(place: Place, *arguments: str, status: int | None = 0, **own: str) -> Any:
    settings = place.settings["cli"] | {"MEMFS_URL": place.url, "MEMFS_CLIENT_USER": USER} | own
    return run([*COMMAND, *arguments], clean_environment(**settings), status)


def test_keys_are_for_their_owners_only(place: Place) -> None:
    secrets = [
        path
        for path in place.certificates.rglob("*")
        if path.suffix in (".key", ".password", ".token") or path.name == "tokens"
    ]
    assert len(secrets) >= 10
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    for part in ("node", "gateway", "cli", "etcd"):
        assert not list((place.certificates / part).glob("ca.key"))


def test_the_cluster_serves_who_proves_it(place: Place, tmp_path: Path) -> None:
    cli(place, "cluster", "wait", "--nodes=2")
    cli(place, "mkdir", "-p", "/user/alice")
    cli(place, "chown", "alice", "/user/alice")
    assert "TLS 1.3" in cli(place, "cluster", "status").stdout
    key = tmp_path / "alice.ed25519"
    cli(place, "user", "add", "alice", "--generate", "--output", str(key))
    only_ca = tmp_path / "certs"
    only_ca.mkdir()
    (only_ca / "ca.crt").write_bytes((place.certificates / "cli" / "ca.crt").read_bytes())
    alice = {
        "MEMFS_CLIENT_CERTIFICATES": str(only_ca),
        "MEMFS_CLIENT_KEY_FILE": str(key),
        "MEMFS_CLIENT_USER": "alice",
    }
    cli(place, "mkdir", "/user/alice/own", **alice)
    assert "Permission denied" in cli(place, "mkdir", "/mine", status=1, **alice).stderr
    refused = cli(place, "ls", "/", status=1, MEMFS_CLIENT_CERTIFICATES="")
    assert "TLS" in refused.stderr or "wrong magic" in refused.stderr


def test_the_gateway_speaks_for_users_but_the_superuser(place: Place) -> None:
    settings = place.settings["gateway"] | {"MEMFS_URL": place.url}
    environment = clean_environment(**settings)
    run([*COMMAND, "ls", "--user", "hadoop", "/"], environment)
    refused = run([*COMMAND, "ls", "--user", USER, "/"], environment, 1)
    assert "not for the superuser" in refused.stderr


def test_prometheus_scrapes_with_its_own_proofs(place: Place, tmp_path: Path) -> None:
    """The file's own settings, with the addresses that the names stand for in the containers."""
    gateway = place.settings["gateway"] | {
        "MEMFS_URL": place.url,
        "MEMFS_GATEWAY_HOST": "127.0.0.1",
        "MEMFS_GATEWAY_PORT": str(free_port()),
        "MEMFS_GATEWAY_ADVERTISE": "",
        "MEMFS_GATEWAY_INSECURE": "false",
    }
    text = (DEPLOY / "prometheus.secure.yml").read_text()
    text = text.replace("/certificates", str(place.certificates / "prometheus"))
    settings = yaml.safe_load(text)
    settings["rule_files"] = [str(DEPLOY / "alarms.yml")]
    targets = {
        "memfs-node": [f"127.0.0.1:{port}" for port in place.metrics],
        "memfs-gateway": [f"127.0.0.1:{gateway['MEMFS_GATEWAY_PORT']}"],
    }
    for job in settings["scrape_configs"]:
        assert job.pop("dns_sd_configs")
        job["static_configs"] = [{"targets": targets[job["job_name"]]}]
    prometheus = unpacked("prometheus", ["prometheus"], SUITE) / "usr" / "bin" / "prometheus"
    file, address = tmp_path / "prometheus.yml", f"127.0.0.1:{free_port()}"
    file.write_text(yaml.safe_dump(settings))
    flags = [f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    with (
        started([*COMMAND, "gateway"], clean_environment(**gateway), tmp_path / "gateway.log"),
        started(
            [str(prometheus), *flags, f"--web.listen-address={address}"],
            clean_environment(),
            tmp_path / "prometheus.log",
        ),
    ):
        until(lambda: _up(address) == {"memfs-node": "2", "memfs-gateway": "1"})
        own = expiry((place.certificates / "node" / "node.crt").read_bytes())
        found = _asked(address, "memfs_certificate_expires_seconds")
        assert [float(each["value"][1]) for each in found] == [own, own]
        for target in (*targets["memfs-node"], *targets["memfs-gateway"]):
            _refuses_metrics(target, place.certificates / "prometheus" / "ca.crt")


def _up(address: str) -> dict[str, str]:
    try:
        found = _asked(address, "sum by (job) (up)")
    except OSError:
        return {}
    return {each["metric"]["job"]: each["value"][1] for each in found}


def _asked(address: str, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers. Raises OSError."""
    url = f"http://{address}/api/v1/query?query={urllib.parse.quote(query)}"
    with urllib.request.urlopen(url, timeout=9) as answer:
        found: list[dict[str, Any]] = json.loads(answer.read())["data"]["result"]
        return found


def _refuses_metrics(target: str, authority: Path) -> None:
    """Without a certificate, or without a token, nothing is told; in clear neither."""
    context = ssl.create_default_context(cafile=str(authority))
    for scheme in ("http", "https"):
        try:
            urllib.request.urlopen(f"{scheme}://{target}/metrics", timeout=30, context=context)
        except urllib.error.HTTPError as error:
            assert error.code in (401, 403)
            assert b"memfs_" not in error.read()
        except (OSError, http.client.HTTPException):
            continue
        else:
            raise AssertionError(f"{target} tells its metrics by {scheme} to anybody")


def test_a_stranger_does_not_reach_etcd(place: Place) -> None:
    control = [str(etcd_binaries() / "etcdctl"), f"--endpoints={place.etcd}", "get", "--prefix", ""]
    known = [*control, f"--cacert={place.certificates / 'etcd' / 'ca.crt'}"]
    assert "user name is empty" in run(known, clean_environment(), None).stderr
    assert run(control, clean_environment(), None).returncode
