"""The manifests of ``deploy/kubernetes``: rendered by kustomize, checked against Kubernetes' own
schemas, and read as the pods would: what memfs makes of their files, variables and commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from kubernetes_objects import (
    MANIFESTS,
    NAMESPACE,
    VARIANTS,
    Object,
    Rendered,
    container,
    environment,
    made_secrets,
    memory_limit,
    probes,
    quantity,
)

from memfs import machine
from memfs.cli.main import memfs
from memfs.cli.serve.gateway import STOP_SECONDS as GATEWAY_STOP_SECONDS
from memfs.cli.serve.node import STOP_SECONDS
from memfs.config import ClientConfig, GatewayConfig, NodeConfig, load
from memfs.limits import GIB, MIB
from memfs.monitoring.http_server import Monitoring
from memfs.monitoring.metrics import Metrics
from memfs.paths import Endpoint, parse_etcd_url, parse_url
from memfs.quantities import parse_duration

VERSIONS = ("1.31", "1.37")
"""The oldest that the manifests are for, and the newest whose schemas are checked."""
OVERHEAD = 2 * GIB
"""What a pod needs beside the blocks: docs/deployment.md."""
SETTINGS = ("MEMFS_NODE_", "MEMFS_CLIENT_", "MEMFS_GATEWAY_", "MEMFS_URL", "MEMFS_CONFIG")
POD = "memfs-1"
SECRETS = {
    "memfs": "memfs-node-certs",
    "memfs-gateway": "memfs-gateway-certs",
    "etcd": "memfs-etcd-certs",
    "memfs-etcd-users": "memfs-etcd-users-certs",
}


@pytest.fixture(scope="module", params=VARIANTS, ids=["ram", "durable", "secure"])
def rendered(request: pytest.FixtureRequest) -> Rendered:
    return Rendered(request.param)


@pytest.fixture
def node(rendered: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeConfig:
    """What a node makes of its pod."""
    limit = memory_limit(rendered.nodes)
    monkeypatch.setattr(machine, "usable_memory", lambda: limit)
    file = tmp_path / "memfs.toml"
    file.write_text(rendered.file(rendered.nodes))
    return load(
        NodeConfig, path=str(file), environ=environment(rendered.nodes, POD, "host-7", "zone-b")
    )


def parsed(words: list[str]) -> dict[str, Any]:
    """The options of a ``memfs`` command line; a usage error when it has none such."""
    command: click.Command = memfs
    context = click.Context(memfs)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, words[0]
        command, words = found, words[1:]
    return command.make_context(command.name, list(words)).params


# --- as Kubernetes sees them ---------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_of_its_schema(rendered: Rendered, version: str) -> None:
    assert rendered.objects
    for each in rendered.objects:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_schemas_are_strict(rendered: Rendered) -> None:
    wrong = yaml.safe_load(yaml.safe_dump(rendered.nodes))
    container(wrong)["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_everything_is_in_one_namespace(rendered: Rendered) -> None:
    [namespace] = rendered.kind("Namespace")
    name = namespace["metadata"]["name"]
    rest = [each for each in rendered.objects if each is not namespace]
    assert {each["metadata"]["namespace"] for each in rest} == {name}
    assert name == NAMESPACE


def service_variables(service: Object) -> Iterator[str]:
    """What the kubelet would set in every pod for this service."""
    stem = service["metadata"]["name"].upper().replace("-", "_")
    yield from (f"{stem}_SERVICE_HOST", f"{stem}_SERVICE_PORT", f"{stem}_PORT")
    for port in service["spec"]["ports"]:
        yield f"{stem}_SERVICE_PORT_{port['name'].upper()}"
        for suffix in ("", "_PROTO", "_PORT", "_ADDR"):
            yield f"{stem}_PORT_{port['port']}_TCP{suffix}"


def test_no_service_makes_a_variable_that_is_a_setting(rendered: Rendered) -> None:
    for service in rendered.kind("Service"):
        clashes = [name for name in service_variables(service) if name.startswith(SETTINGS)]
        assert not clashes
    wrong = {"metadata": {"name": "memfs-node"}, "spec": {"ports": [{"name": "a", "port": 1}]}}
    assert any(name.startswith(SETTINGS) for name in service_variables(wrong))


def test_selectors_find_their_pods_and_no_others(rendered: Rendered) -> None:
    chosen = {
        "memfs": "memfs",
        "memfs-peers": "memfs",
        "memfs-node": "memfs",
        "webhdfs": "memfs-gateway",
        "memfs-gateway": "memfs-gateway",
        "etcd-peers": "etcd",
        "etcd": "etcd",
    }
    selectors = {
        each["metadata"]["name"]: each["spec"]["selector"] for each in rendered.kind("Service")
    }
    for each in [*rendered.kind("PodDisruptionBudget"), *rendered.workloads()]:
        selectors.setdefault(each["metadata"]["name"], each["spec"]["selector"]["matchLabels"])
    assert selectors.keys() == chosen.keys()
    for name, selector in selectors.items():
        found = [
            each["metadata"]["name"]
            for each in rendered.workloads()
            if selector.items() <= each["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert found == [chosen[name]], name


def test_ports_have_the_names_by_which_they_are_called(rendered: Rendered) -> None:
    ports = {port["name"] for each in rendered.workloads() for port in container(each)["ports"]}
    called = {p["targetPort"] for each in rendered.kind("Service") for p in each["spec"]["ports"]}
    called |= {
        port["port"]
        for policy in rendered.kind("NetworkPolicy")
        for rule in policy["spec"]["ingress"]
        for port in rule["ports"]
    }
    assert called == ports


def test_pods_are_confined(rendered: Rendered) -> None:
    """The Pod Security Standard "restricted", and a root file system that is read only."""
    for each in [*rendered.workloads(), *rendered.kind("Job")]:
        pod, inside = each["spec"]["template"]["spec"], container(each)["securityContext"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert inside == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert {kind for v in pod.get("volumes", []) for kind in v if kind != "name"} <= {
            "configMap",
            "emptyDir",
            "secret",
        }


def test_no_host_holds_two_copies_and_one_pod_goes_at_a_time(rendered: Rendered) -> None:
    for name in ("memfs", "etcd"):
        workload = rendered.of("StatefulSet", name)
        spec = workload["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
        [rule] = spec["requiredDuringSchedulingIgnoredDuringExecution"]
        assert rule["topologyKey"] == "kubernetes.io/hostname"
        assert rule["labelSelector"] == workload["spec"]["selector"]
        assert workload["spec"]["podManagementPolicy"] == "Parallel"
    budgets = rendered.kind("PodDisruptionBudget")
    assert len(budgets) == len(rendered.workloads())
    assert {each["spec"]["maxUnavailable"] for each in budgets} == {1}


def test_requests_of_memory_are_limits(rendered: Rendered) -> None:
    for name in ("memfs", "memfs-gateway"):
        [workload] = [w for w in rendered.workloads() if w["metadata"]["name"] == name]
        resources = container(workload)["resources"]
        assert resources["requests"]["memory"] == resources["limits"]["memory"]


# --- as the pods see them ------------------------------------------------------------------------


def test_a_node_is_reached_by_its_stable_name(rendered: Rendered, node: NodeConfig) -> None:
    peers = rendered.of("Service", rendered.nodes["spec"]["serviceName"])
    assert peers["spec"]["clusterIP"] == "None"
    assert peers["spec"]["publishNotReadyAddresses"] is True
    address = f"{POD}.{peers['metadata']['name']}.{NAMESPACE}.svc"
    assert node.name == POD
    assert node.advertised(node.port) == Endpoint(address, 10500)
    assert node.host == node.monitoring_host == "0.0.0.0"


def test_a_node_knows_where_it_is(node: NodeConfig) -> None:
    assert node.domain == "zone-b/host-7"


def test_a_node_listens_at_the_ports_of_its_pod(rendered: Rendered, node: NodeConfig) -> None:
    monitoring = node.monitoring()
    assert monitoring is not None
    ports = {port["name"]: port["containerPort"] for port in container(rendered.nodes)["ports"]}
    expected = {"memfs": node.port, "monitoring": monitoring.port}
    if rendered.variant == "secure":
        text = (MANIFESTS / "secure" / "nodes.yaml").read_text()
        [(name, port)] = re.findall(r"{name: (MEMFS_NODE_BULK_PORT), value: \"(\d+)\"}", text)
        variables = environment(rendered.nodes, POD, "host-7", "zone-b")
        assert variables["MEMFS_NODE_BULK"] == node.bulk == "tls"
        changed = load(
            NodeConfig, environ=variables | {"MEMFS_NODE_BULK": "authenticated", name: port}
        )
        expected["blocks"] = changed.bulk_port
    assert ports == expected
    notes = rendered.nodes["spec"]["template"]["metadata"]["annotations"]
    assert notes["prometheus.io/port"] == str(monitoring.port)


def test_the_blocks_leave_room_in_the_container(rendered: Rendered, node: NodeConfig) -> None:
    assert node.memory + OVERHEAD <= memory_limit(rendered.nodes)


def test_a_node_may_write_where_it_does(rendered: Rendered, node: NodeConfig) -> None:
    mounts = {m["mountPath"] for m in container(rendered.nodes)["volumeMounts"]}
    # The image sets XDG_RUNTIME_DIR=/run, and so the directory of the sockets.
    image = (MANIFESTS.parent / "Dockerfile").read_text()
    assert "XDG_RUNTIME_DIR=/run" in image and "/run/memfs" in mounts
    assert bool(node.journal) == (rendered.variant == "durable")
    assert not node.journal or str(Path(node.journal).parent) in mounts


def test_the_volume_has_room_for_the_journal(rendered: Rendered, node: NodeConfig) -> None:
    claims = rendered.nodes["spec"].get("volumeClaimTemplates", [])
    assert bool(claims) == node.journal_blocks == (node.ack == "journal")
    for claim in claims:
        room = quantity(claim["spec"]["resources"]["requests"]["storage"])
        assert room > node.memory * node.journal_ratio


def test_every_member_of_etcd_is_named(rendered: Rendered, node: NodeConfig) -> None:
    etcd = rendered.of("StatefulSet", "etcd")
    service = etcd["spec"]["serviceName"]
    port = next(p for p in container(etcd)["ports"] if p["name"] == "client")["containerPort"]
    url = parse_etcd_url(node.coordinator)
    assert url.secure == (rendered.variant == "secure")
    assert url.endpoints == tuple(
        Endpoint(f"etcd-{number}.{service}", port) for number in range(etcd["spec"]["replicas"])
    )


def test_there_is_time_to_wait_to_drain_and_to_stop(rendered: Rendered, node: NodeConfig) -> None:
    program, *words = container(rendered.nodes)["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "memfs"
    options = parsed(words)
    assert options["moves"] is False
    drain = node.drain_seconds if node.drain_blocks else 0
    given = rendered.nodes["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert given > options["timeout"] + drain + STOP_SECONDS


def test_a_durable_node_comes_back_with_its_blocks(rendered: Rendered, node: NodeConfig) -> None:
    assert node.drain_blocks == (rendered.variant != "durable")
    if node.ack == "journal":
        assert node.removal_seconds > 300, "a restart takes minutes"


def test_secrets_are_read_and_only_where_they_belong(
    rendered: Rendered, node: NodeConfig, tmp_path: Path
) -> None:
    """The keys are of the group of the pod, which a key may be; a gateway has none of a node's."""
    secure = rendered.variant == "secure"
    assert (node.insecure, bool(node.certificates)) == (not secure, secure)
    for workload in [*rendered.workloads(), *rendered.kind("Job")]:
        pod = workload["spec"]["template"]["spec"]
        secrets = [each["secret"] for each in pod.get("volumes", []) if "secret" in each]
        assert [each["secretName"] for each in secrets] == (
            [SECRETS[workload["metadata"]["name"]]] if secure else []
        )
        assert {each["defaultMode"] for each in secrets} <= {0o440}
        if secure:
            assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    for workload in (rendered.nodes, rendered.of("Deployment", "memfs-gateway")) if secure else ():
        mounts = {each["mountPath"] for each in container(workload)["volumeMounts"]}
        file = tmp_path / "memfs.toml"
        file.write_text(rendered.file(workload))
        variables = environment(workload, POD, "host-7")
        client = load(ClientConfig, path=str(file), environ=variables)
        assert client.certificates in mounts
        assert client.user in (node.superuser, *node.proxy_users)
    if secure:
        assert node.proxy_users == ("gateway",)
        assert node.authentication == ("certificate", "key", "token")


def test_every_file_that_is_named_is_in_its_secret(tmp_path: Path) -> None:
    """What ``certificates.sh`` makes is what the pods look for, and no authority's key is in it."""
    rendered, made = Rendered("secure"), made_secrets(tmp_path)
    for workload in [*rendered.workloads(), *rendered.kind("Job")]:
        mounts = container(workload)["volumeMounts"]
        [where] = [each["mountPath"] for each in mounts if each["name"] == "certificates"]
        files = set(made[SECRETS[workload["metadata"]["name"]]])
        named = set(re.findall(rf"{where}/([\w.]+)", yaml.safe_dump(container(workload))))
        assert named <= files and "ca.crt" in files and "ca.key" not in files
    nodes, gateways = made["memfs-node-certs"], made["memfs-gateway-certs"]
    assert {"node.key", "client.memfs.key", "etcd.crt", "etcd.password"} <= nodes.keys()
    assert {"client.gateway.key", "tokens"} <= gateways.keys()
    assert not {"node.key", "etcd.password"} & gateways.keys()
    assert made["memfs-etcd-certs"]["node.key"] != nodes["node.key"]


def test_who_comes_through_a_secure_gateway_shows_a_token(tmp_path: Path) -> None:
    rendered = Rendered("secure")
    gateways = rendered.of("Deployment", "memfs-gateway")
    file = tmp_path / "memfs.toml"
    file.write_text(rendered.file(gateways))
    found = load(GatewayConfig, path=str(file), environ=environment(gateways, POD, "host-7"))
    assert (found.authentication, found.audit) == (("bearer",), "deny")
    assert found.tokens_file in {"/etc/memfs-certs/tokens"}


def test_the_secure_etcd_has_the_flags_of_the_other(tmp_path: Path) -> None:
    """But for the scheme, and what the certificates want."""
    plain, secure = (
        container(Rendered(variant).of("StatefulSet", "etcd"))["args"] for variant in ("", "secure")
    )
    assert secure[: len(plain)] == [
        flag if "metrics" in flag else flag.replace("http:", "https:") for flag in plain
    ]
    assert all("cert" in flag or "key" in flag or "ca" in flag for flag in secure[len(plain) :])


def test_clients_begin_at_the_service(rendered: Rendered, tmp_path: Path) -> None:
    file = tmp_path / "memfs.toml"
    file.write_text(rendered.file(rendered.nodes))
    port = rendered.of("Service", "memfs")["spec"]["ports"][0]["port"]
    assert load(ClientConfig, path=str(file), environ={}).endpoints == (Endpoint("memfs", port),)
    text = (MANIFESTS / "base" / "nodes.yaml").read_text()
    assert parse_url(re.search(r"memfs://\S+", text)[0]).endpoints == (  # type: ignore[index]
        Endpoint("memfs.memfs", port),
    )


def test_a_gateway_fits_its_container(rendered: Rendered, tmp_path: Path) -> None:
    gateways = rendered.of("Deployment", "memfs-gateway")
    file = tmp_path / "memfs.toml"
    file.write_text(rendered.file(gateways))
    found = load(GatewayConfig, path=str(file), environ=environment(gateways, POD, "host-7"))
    [port] = container(gateways)["ports"]
    assert (found.host, found.port) == ("0.0.0.0", port["containerPort"])
    blocks = NodeConfig().block_size
    assert found.uploads * 3 * blocks + found.stream_memory + 128 * MIB <= memory_limit(gateways)
    given = gateways["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    pause = int(container(gateways)["lifecycle"]["preStop"]["exec"]["command"][1])
    assert given > pause + GATEWAY_STOP_SECONDS


def test_commands_are_those_of_memfs(rendered: Rendered) -> None:
    for name in ("memfs", "memfs-gateway"):
        [workload] = [w for w in rendered.workloads() if w["metadata"]["name"] == name]
        parsed(container(workload)["args"])


# --- the cluster as a directory of every host ----------------------------------------------------


def test_the_daemon_set_of_mounts(tmp_path: Path) -> None:
    rendered = Rendered("mount")
    for version in VERSIONS:
        for each in rendered.objects:
            kubernetes_validate.validate(each, version, strict=True)
    [namespace] = rendered.kind("Namespace")
    assert namespace["metadata"]["labels"]["memfs-access"] == "true", "the nodes' policy"
    daemons = rendered.of("DaemonSet", "memfs-mount")
    pod = daemons["spec"]["template"]
    assert daemons["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    [mount] = container(daemons)["volumeMounts"]
    assert mount["mountPropagation"] == "Bidirectional"
    [script] = container(daemons)["args"]
    for line in script.split(";"):
        if "memfs fuse" in line:
            words = line.partition("memfs fuse")[2].partition("2>")[0].split()
            told = parsed(["fuse", *words])
            assert str(told.get("directories", told.get("operands"))).count(mount["mountPath"])
    file = tmp_path / "memfs.toml"
    file.touch()
    client = load(ClientConfig, path=str(file), environ=environment(daemons, "memfs-mount-x", "h"))
    assert [str(each) for each in client.endpoints] == ["memfs.memfs:10500"]


# --- probes --------------------------------------------------------------------------------------


def test_probes_ask_what_is_answered(rendered: Rendered) -> None:
    assert probes(rendered.nodes) == {("/healthz", "monitoring"), ("/readyz", "monitoring")}
    gateways = rendered.of("Deployment", "memfs-gateway")
    assert probes(gateways) == {("/healthz", "webhdfs"), ("/readyz", "webhdfs")}
    assert patience(rendered.nodes["spec"]["template"]["spec"]) >= parse_duration("30s")


def patience(pod: Object) -> float:
    """How long a node may be silent before it is killed."""
    probe = pod["containers"][0]["livenessProbe"]
    return float(probe["periodSeconds"] * probe["failureThreshold"])


async def test_a_node_answers_its_probes(rendered: Rendered) -> None:
    import aiohttp

    monitoring = Monitoring(Endpoint("127.0.0.1", 0), Metrics(), lambda: "")
    port = await monitoring.start()
    try:
        async with aiohttp.ClientSession() as session:
            for path in [path for path, _ in probes(rendered.nodes)] + ["/metrics"]:
                async with session.get(f"http://127.0.0.1:{port}{path}") as reply:
                    assert reply.status == 200
    finally:
        await monitoring.stop()
