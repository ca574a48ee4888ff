"""What can be said of the container files without an engine; tests/integration/test_compose.py
brings them up.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from memfs import limits
from memfs.cli.serve.node import STOP_SECONDS
from memfs.config import ClientConfig, GatewayConfig, NodeConfig, load
from memfs.quantities import parse_duration, parse_size

PROJECT = Path(__file__).parents[3]
DEPLOY = PROJECT / "deploy"
OURS = ("node", "gateway", "cli")
NAMESPACE_BYTES = 256 * limits.MIB
"""Least room of a node's container beside the blocks."""
PROCESS_BYTES = 96 * limits.MIB


def plain(text, environ=None):
    """A file of Compose with its variables replaced, as Compose does it."""
    environ = environ or {}
    pattern = re.compile(r"\$\{(\w+):-([^${}]*)\}")
    while pattern.search(text):
        text = pattern.sub(lambda found: environ.get(found[1]) or found[2], text)
    return yaml.safe_load(text)


def plain_file(name):
    return plain((DEPLOY / name).read_text())


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def services():
    return plain((DEPLOY / "compose.yaml").read_text())["services"]


@pytest.fixture(scope="module")
def durable(services):
    """The services' environment with the override file."""
    above = plain((DEPLOY / "compose.durable.yaml").read_text())["services"]
    return {**services["node"]["environment"], **above["node"]["environment"]}


def loaded(kind, environment, tmp_path):
    nothing = tmp_path / "empty.toml"
    nothing.touch()
    return load(kind, path=str(nothing), environ=environment)


# --- compose.yaml --------------------------------------------------------------------------------


def test_every_setting_is_one(services, durable, tmp_path):
    node = loaded(NodeConfig, services["node"]["environment"], tmp_path)
    assert node.drain_blocks and node.advertise_host == ""  # the replica says it
    gateway = loaded(GatewayConfig, services["gateway"]["environment"], tmp_path)
    assert not gateway.find_peers
    for name in ("gateway", "cli"):
        client = loaded(ClientConfig, services[name]["environment"], tmp_path)
        assert [str(each) for each in client.endpoints] == ["node:10500"]
    kept = loaded(NodeConfig, {**durable, "MEMFS_NODE_JOURNAL": "/somewhere"}, tmp_path)
    assert kept.ack == "journal" and not kept.drain_blocks


def test_every_setting_of_the_secure_variant_is_one(services, tmp_path):
    above = plain((DEPLOY / "compose.secure.yaml").read_text())["services"]

    def environment(name):
        return {**services[name]["environment"], **above[name]["environment"]}

    node = loaded(NodeConfig, environment("node"), tmp_path)
    assert node.certificates and not node.insecure and node.socket_access == "user"
    assert node.coordinator.startswith("etcds://") and node.etcd_user
    assert node.bulk == "tls"
    text = (DEPLOY / "compose.secure.yaml").read_text()
    chosen = plain(text, {"MEMFS_BULK": "authenticated"})["services"]["node"]["environment"]
    chosen = {**services["node"]["environment"], **chosen}
    assert loaded(NodeConfig, chosen, tmp_path).bulk == "authenticated"
    scraped = {
        job["job_name"]: job for job in plain_file("prometheus.secure.yml")["scrape_configs"]
    }
    [where] = scraped["memfs-node"]["dns_sd_configs"]
    assert (where["port"], scraped["memfs-node"]["scheme"]) == (node.metrics_tls_port, "https")
    assert node.monitoring_host == "127.0.0.1", "nobody else asks in clear"
    gateway = loaded(GatewayConfig, environment("gateway"), tmp_path)
    assert gateway.authentication == ("bearer",)
    assert loaded(ClientConfig, environment("gateway"), tmp_path).user in node.proxy_users
    assert loaded(ClientConfig, environment("cli"), tmp_path).certificates == node.certificates
    for name in ("certificates", "etcd-users"):
        assert above[name]["cap_drop"] == ["ALL"] and above[name]["read_only"]


def test_no_variable_of_compose_is_taken_for_a_setting():
    for name in (
        "compose.yaml",
        "compose.durable.yaml",
        "compose.mount.yaml",
        "compose.secure.yaml",
    ):
        used = set(re.findall(r"\$\{(\w+)", (DEPLOY / name).read_text()))
        assert not [
            each for each in used if re.match(r"MEMFS_(NODE|CLIENT|GATEWAY)_|MEMFS_URL", each)
        ]


@pytest.mark.parametrize("limit", ["1g", "8g"])
def test_a_node_fits_its_container(limit):
    text = (DEPLOY / "compose.yaml").read_text()
    node = plain(text, {"MEMFS_CONTAINER_MEMORY": limit})["services"]["node"]
    assert node["mem_limit"] == node["memswap_limit"] == limit
    share = float(node["environment"]["MEMFS_NODE_MEMORY"].rstrip("%")) / 100
    assert parse_size(node["mem_limit"]) * (1 - share) > NAMESPACE_BYTES


def test_a_gateway_fits_its_container(services, tmp_path):
    gateway = services["gateway"]
    settings = loaded(GatewayConfig, gateway["environment"], tmp_path)
    uploads = settings.uploads * 3 * limits.BLOCK_BYTES_DEFAULT
    assert uploads + settings.stream_memory + PROCESS_BYTES < parse_size(gateway["mem_limit"])


def test_a_stop_is_waited_for(services, tmp_path):
    node = services["node"]
    drain = loaded(NodeConfig, node["environment"], tmp_path).drain_seconds
    assert parse_duration(node["stop_grace_period"]) > drain + STOP_SECONDS
    assert parse_duration(services["gateway"]["stop_grace_period"]) > STOP_SECONDS


def test_containers_have_no_rights_that_they_do_not_need(services):
    for name, service in services.items():
        if name == "etcd":  # writes into its container
            continue
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_what_waits_for_health_waits_for_a_health_check(services):
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, name
            in_image = services[other]["image"] == services["node"]["image"]
            assert in_image or "test" in services[other]["healthcheck"], other


def test_ports_are_open_on_loopback_only(services):
    published = [port for service in services.values() for port in service.get("ports", ())]
    ports = {"127.0.0.1:10500:10500", "127.0.0.1:9870:9870", "127.0.0.1:9090:9090"}
    assert set(published) == ports


def test_prometheus_looks_for_the_services_there_are(services):
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    looked_for = {
        (name, found["port"])
        for job in config["scrape_configs"]
        for found in job["dns_sd_configs"]
        for name in found["names"]
    }
    assert looked_for == {("node", 11500), ("gateway", 9870)}
    assert {name for name, _ in looked_for} < set(services)


# --- the image -----------------------------------------------------------------------------------


def test_the_version_is_the_projects(project, services):
    version = project["project"]["version"]
    assert {services[name]["image"] for name in OURS} == {f"memfs:{version}"}
    assert f"ARG VERSION={version}\n" in (DEPLOY / "Dockerfile").read_text()


def test_the_dockerfile_builds_without_buildkit():
    text = (DEPLOY / "Dockerfile").read_text()
    assert not re.search(r"RUN --|COPY --(?!from=)|<<|^# *syntax", text, re.MULTILINE)


def test_the_image_is_nobodys_in_particular():
    [_, final] = (DEPLOY / "Dockerfile").read_text().split("\nFROM ${BASE}\n")
    assert "\nUSER memfs\n" in final
    assert re.search(r"^ENTRYPOINT \[", final, re.MULTILINE), "signals must reach memfs itself"


def test_what_the_image_takes_is_not_ignored():
    let_through = [
        line[1:]
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for line in re.findall(r"^COPY (?!--from)(.+)$", (DEPLOY / "Dockerfile").read_text(), re.M):
        for source in (each.rstrip("/") for each in line.split()[:-1]):
            matching = [each for each in let_through if fnmatch(source, each)]
            assert matching or source == "deploy", source


@pytest.mark.parametrize("name", ["requirements.lock", "build.lock"])
def test_every_dependency_is_pinned_with_hashes(project, name):
    pinned = {}
    for entry in re.split(r"\n(?=\w)", (DEPLOY / name).read_text()):
        found = re.match(r"([\w.-]+)==([\w.]+)", entry)
        assert found and "--hash=sha256:" in entry, entry
        pinned[canonicalize_name(found[1])] = Version(found[2])
    wanted = {
        "requirements.lock": [
            *project["project"]["dependencies"],
            *project["project"]["optional-dependencies"]["jwt"],
        ],
        "build.lock": project["build-system"]["requires"],
    }
    for text in wanted[name]:
        requirement = Requirement(text)
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier


# --- the scripts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("script", sorted(DEPLOY.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_can_be_run(script):
    assert os.access(script, os.X_OK)
    shell = script.read_text().splitlines()[0].split()[-1].rpartition("/")[2]
    subprocess.run([shell, "-n", script], check=True)


@pytest.fixture
def replica(tmp_path):
    """Starts deploy/replica.sh with a ``memfs`` that says its arguments and stays."""
    fake = tmp_path / "bin" / "memfs"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$@"\nread -r _\n')
    fake.chmod(0o755)
    running = []

    def start(**environment):
        process = subprocess.Popen(
            [DEPLOY / "replica.sh", "--flag"],
            env={**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process, process.stdout.readline()

    yield start
    for process in running:
        end(process)


def end(process):
    process.stdin.close()
    process.wait()
    process.stdout.close()


def test_a_replica_has_the_name_and_the_address_of_its_container(replica):
    host = subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout.strip()
    _, said = replica(JOURNALS="")
    assert re.fullmatch(rf"node --name {host} --advertise-host \S+ --flag\n", said)


def test_replicas_share_the_journals_out(replica, tmp_path):
    def name_of(said):
        [name] = re.findall(rf"--name (\S+) .* --journal {tmp_path}/(?=\1)", said)
        return name

    first, said = replica(JOURNALS=str(tmp_path))
    assert name_of(said) == "node-1"
    assert name_of(replica(JOURNALS=str(tmp_path))[1]) == "node-2"
    end(first)
    assert name_of(replica(JOURNALS=str(tmp_path))[1]) == "node-1"
