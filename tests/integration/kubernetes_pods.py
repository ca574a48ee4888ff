"""Pods as containers: what a kubelet would start for the manifests, on one Docker engine.

Owns the containers, their network and directories. Names of pods are names in that network; the
limits of confinement are those of the manifests, that of memory is the caller's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from kubernetes_objects import NAMESPACE, Object, Rendered, container, environment

from memfs.testing.started import Started
from tests.support.containers.engine import docker

READY_SECONDS = 120.0
_PROBE = "import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=5)"


class Pods(Started):
    """``with Pods(rendered, images, memory="512m") as pods: pods.start("memfs", 0)``."""

    def __init__(
        self,
        rendered: Rendered,
        images: dict[str, str],
        memory: str,
        secrets: Mapping[str, Mapping[str, bytes]] | None = None,
    ) -> None:
        """Args: ``images``, of containers by their names in the manifests; ``memory``, limit;
        ``secrets``, files by names."""
        self._rendered, self._images, self._memory = rendered, images, memory
        self._secrets = secrets or {}
        self.network = f"memfs-test-pods-{os.getpid()}"
        self._started: list[str] = []
        self._work = Path(tempfile.mkdtemp(prefix="memfs-pods-"))

    def set_up(self) -> None:
        """Make their network."""
        docker("network", "create", self.network)

    def story(self) -> str:
        return "\n".join(f"{name}:\n{self._log(name)}" for name in self._started)

    def close(self) -> None:
        if self._started:
            docker("rm", "--force", "--volumes", *self._started)
        docker("network", "rm", self.network)
        shutil.rmtree(self._work)

    def start(self, workload: str, number: int) -> None:
        """One pod of a workload; a new one in place of one that was removed."""
        found = self._workload(workload)
        pod, only = f"{workload}-{number}", container(found)
        environ = environment(found, pod, f"host-{number}")
        user = found["spec"]["template"]["spec"]["securityContext"]
        inside = only["securityContext"]
        assert inside["readOnlyRootFilesystem"] and inside["capabilities"] == {"drop": ["ALL"]}
        docker(
            *("run", "--detach", f"--name={self._name(pod)}", f"--hostname={pod}", "--init"),
            *("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
            *(f"--user={user['runAsUser']}:{user['runAsGroup']}", f"--memory={self._memory}"),
            *(f"--network={self.network}", *self._aliases(found, pod)),
            *(f"--env={name}={value}" for name, value in environ.items()),
            *(flag for mount in only["volumeMounts"] for flag in self._mount(found, pod, mount)),
            *(f"--entrypoint={word}" for word in only.get("command", [])),
            self._images[only["name"]],
            *(re.sub(r"\$\((\w+)\)", lambda m: environ[m[1]], word) for word in only["args"]),
        )
        self._started.append(self._name(pod))

    def wait_ready(self, workload: str, number: int) -> None:
        """Until its readiness probe succeeds. Raises TimeoutError."""
        only = container(self._workload(workload))
        probe = only["readinessProbe"]["httpGet"]
        [port] = [p["containerPort"] for p in only["ports"] if p["name"] == probe["port"]]
        ask = ["python3", "-c", _PROBE, f"http://127.0.0.1:{port}{probe['path']}"]
        name = self._name(f"{workload}-{number}")
        deadline = time.monotonic() + READY_SECONDS
        while subprocess.run(["docker", "exec", name, *ask], capture_output=True).returncode:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} is not ready")
            time.sleep(0.5)

    def finish(self, job: str) -> None:
        """One pod of a job, again until it ends well. Raises TimeoutError."""
        deadline = time.monotonic() + READY_SECONDS
        self.start(job, 0)
        name = self._name(f"{job}-0")
        while docker("wait", name).strip() != b"0":
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} ends badly")
            time.sleep(0.5)
            docker("start", name)

    def stop(self, workload: str, number: int) -> int:
        """As Kubernetes does: ``preStop``, SIGTERM, patience; the exit code of its process."""
        found, name = self._workload(workload), self._name(f"{workload}-{number}")
        docker("exec", name, *container(found)["lifecycle"]["preStop"]["exec"]["command"])
        seconds = found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        docker("stop", f"--time={seconds}", name)
        code = int(docker("inspect", "--format={{.State.ExitCode}}", name))
        docker("rm", name)
        self._started.remove(name)
        return code

    def run(self, pod: str, *command: str, given: bytes = b"") -> bytes:
        """What a command prints that is run in a pod. Raises RuntimeError."""
        return docker("exec", "--interactive", self._name(pod), *command, given=given)

    def all(self, verb: str, workload: str, count: int) -> None:
        """``kill`` or ``start`` all pods of a workload at once."""
        docker(verb, *(self._name(f"{workload}-{number}") for number in range(count)))

    # --- what a kubelet knows ----------------------------------------------------------------

    def _workload(self, name: str) -> Object:
        [found] = [
            each
            for each in (*self._rendered.workloads(), *self._rendered.kind("Job"))
            if each["metadata"]["name"] == name
        ]
        return found

    def _name(self, pod: str) -> str:
        return f"{self.network}-{pod}"

    def _log(self, name: str) -> str:
        done = subprocess.run(["docker", "logs", "--tail=20", name], capture_output=True)
        return (done.stdout + done.stderr).decode(errors="replace")

    def _aliases(self, found: Object, pod: str) -> list[str]:
        """Its names in the cluster: of each service that selects it, and its own in a headless."""
        labels = found["spec"]["template"]["metadata"]["labels"]
        names = []
        for service in self._rendered.kind("Service"):
            if service["spec"]["selector"].items() <= labels.items():
                name = service["metadata"]["name"]
                headless = service["spec"].get("clusterIP") == "None"
                for each in (name, f"{pod}.{name}") if headless else (name,):
                    names += [each, f"{each}.{NAMESPACE}.svc"]
        return [f"--network-alias={name}" for name in names]

    def _mount(self, found: Object, pod: str, mount: Object) -> list[str]:
        path, name = mount["mountPath"], mount["name"]
        volumes = {v["name"]: v for v in found["spec"]["template"]["spec"].get("volumes", [])}
        if "emptyDir" in volumes.get(name, {}):
            return [f"--tmpfs={path}:mode=1777"]
        directory = self._work / f"{pod}-{name}"
        if "secret" in volumes.get(name, {}):
            secret = volumes[name]["secret"]
            group = found["spec"]["template"]["spec"]["securityContext"]["fsGroup"]
            directory.mkdir(mode=0o755, exist_ok=True)
            for file, content in self._secrets[secret["secretName"]].items():
                (directory / file).write_bytes(content)
                os.chown(directory / file, 0, group)
                (directory / file).chmod(secret["defaultMode"])
            return [f"--volume={directory}:{path}:ro"]
        if name in volumes:
            directory.mkdir(mode=0o755, exist_ok=True)
            (directory / "memfs.toml").write_text(self._rendered.file(found))
            return [f"--volume={directory}:{path}:ro"]
        if not directory.exists():
            user = found["spec"]["template"]["spec"]["securityContext"]
            directory.mkdir(mode=0o700)
            os.chown(directory, user["runAsUser"], user["fsGroup"])
        return [f"--volume={directory}:{path}"]
