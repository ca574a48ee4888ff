"""The objects of ``deploy/kubernetes`` as kustomize renders them, and what a pod is made of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from memfs.limits import GIB, MIB
from tests.support.debian import unpacked

MANIFESTS = Path(__file__).parents[2] / "deploy" / "kubernetes"
VARIANTS = ("", "durable", "secure")
NAMESPACE = "memfs"

Object = dict[str, Any]


class Rendered:
    """All objects of one variant."""

    def __init__(self, variant: str) -> None:
        tool = unpacked("kustomize", ["kustomize"]) / "usr" / "bin" / "kustomize"
        done = subprocess.run(
            [tool, "build", MANIFESTS / variant], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        self.variant = variant
        self.objects: list[Object] = list(yaml.safe_load_all(done.stdout))

    def of(self, kind: str, name: str) -> Object:
        """The object of that name."""
        [found] = [
            each
            for each in self.objects
            if each["kind"] == kind and each["metadata"]["name"] == name
        ]
        return found

    def kind(self, *kinds: str) -> list[Object]:
        """All objects of these kinds."""
        return [each for each in self.objects if each["kind"] in kinds]

    def workloads(self) -> list[Object]:
        """What makes pods."""
        return self.kind("StatefulSet", "Deployment")

    @property
    def nodes(self) -> Object:
        return self.of("StatefulSet", "memfs")

    def file(self, workload: Object) -> str:
        """The content of the file of settings that its pods see."""
        pod = workload["spec"]["template"]["spec"]
        [mount] = [m for m in container(workload)["volumeMounts"] if m["name"] == "settings"]
        assert mount["mountPath"] == "/etc/memfs"
        [volume] = [v for v in pod["volumes"] if v["name"] == "settings"]
        content: str = self.of("ConfigMap", volume["configMap"]["name"])["data"]["memfs.toml"]
        return content


def container(workload: Object) -> Object:
    [only] = workload["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def environment(workload: Object, pod: str, host: str, zone: str = "") -> dict[str, str]:
    """The variables of a pod, with ``$(NAME)`` replaced by what came before."""
    fields = {
        "metadata.namespace": NAMESPACE,
        "metadata.name": pod,
        "spec.nodeName": host,
        "metadata.labels['topology.kubernetes.io/zone']": zone,
    }
    found: dict[str, str] = {}
    for each in container(workload).get("env", []):
        if "value" in each:
            value = re.sub(r"\$\((\w+)\)", lambda m: found.get(m[1], m[0]), each["value"])
        else:
            value = fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
        assert "$(" not in value, f"{each['name']} refers to a later variable"
        found[each["name"]] = value
    return found


def probes(workload: Object) -> set[tuple[str, str]]:
    """Path and port of all probes."""
    found = [each for key, each in container(workload).items() if key.endswith("Probe")]
    return {(each["httpGet"]["path"], each["httpGet"]["port"]) for each in found}


def made_secrets(directory: Path) -> dict[str, dict[str, bytes]]:
    """What ``secure/certificates.sh`` makes there, as the Secrets' files by their names."""
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for _ in range(2):  # what is there stays
        subprocess.run(
            [MANIFESTS / "secure" / "certificates.sh", directory], env=environ, check=True
        )
    return {
        f"memfs-{part.name}-certs": {each.name: each.read_bytes() for each in part.iterdir()}
        for part in directory.iterdir()
        if part.name not in ("authority", "clients")
    }


def quantity(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"Mi": MIB, "Gi": GIB}[unit]


def memory_limit(workload: Object) -> int:
    return quantity(container(workload)["resources"]["limits"]["memory"])
