"""The cluster of ``deploy/compose.yaml``, and what can be done to it.

Owns a directory that is a copy of what the image is built of, a project of Compose, and what an
operator does with both. Must not know what is tested. Invariant: when the ``with`` block ends,
its containers, networks, volumes and image are gone; the images that it was built on stay.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from memfs.machine import login_name, module_command
from memfs.testing.started import Started
from tests.support.containers.engine import compose_environment, docker
from tests.support.containers.images import base_image, build_context, programs_image

_PREFIX = "memfs-test-"
FILE = "compose.yaml"
WAIT_SECONDS = 180
"""How long the containers may take to be healthy."""


class Containers(Started):
    """``with Containers(project) as cluster: cluster.up()``; ``project`` is a checkout."""

    def __init__(self, project: Path, *, memory: str = "384m") -> None:
        """Args: ``memory``, limit of a node's container."""
        pid = os.getpid()
        self.name = f"{_PREFIX}{pid}"
        self.image = _image(self.name)
        self.address = f"127.77.{pid // 250 % 250}.{pid % 250 + 1}"
        """Where this host finds the cluster: an address of loopback that nothing else uses."""
        self.network = f"{self.name}_default"
        self._project = project
        self._work = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.directory = self._work / "deploy"
        self.environment: dict[str, str] = {}
        """Of ``docker compose`` in :attr:`directory`, and of scripts that call it there."""
        self._memory = memory
        self._files: tuple[str, ...] = (FILE,)

    # --- life --------------------------------------------------------------------------------

    def set_up(self) -> None:
        """Build the image."""
        _sweep()
        build_context(self._project, self._work)
        programs = programs_image(self._project)
        pid = os.getpid()
        self.environment = compose_environment() | {
            "COMPOSE_PROJECT_NAME": self.name,
            "MEMFS_IMAGE": self.image,
            "MEMFS_BASE_IMAGE": base_image(self._project),
            "MEMFS_WHEELS": "deploy/wheels",
            "MEMFS_ETCD_IMAGE": programs,
            "MEMFS_PROXY_IMAGE": programs,
            "MEMFS_PROMETHEUS_IMAGE": programs,
            "MEMFS_SUPERUSER": login_name(),
            "MEMFS_BIND": self.address,
            "MEMFS_SUBNET": f"172.29.{pid % 250}.0/24",
            "MEMFS_CONTAINER_MEMORY": self._memory,
            "MEMFS_MOUNT": str(self._work / "mount"),
            "MEMFS_PROPAGATION": "rprivate",  # rshared needs a shared mount on this host
        }
        self.compose("build")

    def close(self) -> None:
        """Remove all of it."""
        if self.environment:
            self.down("--volumes", "--timeout=0")
            _remove_image(self.image)
        shutil.rmtree(self._work, ignore_errors=True)

    def use(self, *variants: str) -> None:
        """Which files of Compose count from now on, by their words: ``durable``, ``mount``."""
        self._files = (FILE, *(f"compose.{each}.yaml" for each in variants))

    def up(self, *services: str, scale: Mapping[str, int] | None = None) -> None:
        """Start what does not run, until all of it is healthy; ``scale``, replicas of services."""
        scales = [f"--scale={name}={count}" for name, count in (scale or {}).items()]
        flags = ("--detach", "--wait", f"--wait-timeout={WAIT_SECONDS}", "--no-build")
        self.compose("up", *flags, *scales, *services)

    def down(self, *flags: str) -> None:
        """Stop and remove the containers and the network; volumes stay unless a flag says."""
        self.compose("down", *flags)

    # --- what people type --------------------------------------------------------------------

    def compose(self, *arguments: str, given: bytes = b"") -> bytes:
        """What ``docker compose`` prints. Raises RuntimeError."""
        files = [f"--file={name}" for name in self._files]
        return docker(
            "compose",
            *("--ansi=never", "--progress=plain", *files, *arguments),
            directory=self.directory,
            environment=self.environment,
            given=given,
        )

    def cli(self, *arguments: str, given: bytes = b"") -> bytes:
        """What the ``memfs`` command prints in a container of its own. Raises RuntimeError."""
        return self.compose("run", "--rm", "--no-TTY", "cli", *arguments, given=given)

    def command(self, *arguments: str) -> str:
        """What the ``memfs`` command prints on this host. Raises RuntimeError when it fails."""
        done = subprocess.run(
            module_command("memfs.cli", f"--url={self.nodes}", *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=WAIT_SECONDS,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"memfs {' '.join(arguments)}: {done.returncode}\n{done.stdout}")
        return done.stdout

    def wait(self, nodes: int) -> None:
        """Until there are so many nodes, and every block has its copies. Raises RuntimeError.

        Not until none is on the move: files that somebody appends to all the time are never done.
        """
        wait = ("wait", "--no-moves", f"--nodes={nodes}", f"--timeout={WAIT_SECONDS - 20}s")
        self.command("cluster", *wait)

    # --- where things are --------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Of the cluster, for this host."""
        return f"memfs://{self.address}:10500"

    @property
    def nodes(self) -> str:
        """Of the cluster, without the proxy: the containers' own addresses."""
        return "memfs://" + ",".join(
            f"{self.address_of(each)}:10500" for each in self.containers("node")
        )

    def gateway(self, path: str = "") -> str:
        """Of WebHDFS, or of a file there."""
        return f"http://{self.address}:9870/webhdfs/v1{path}"

    def containers(self, service: str) -> list[str]:
        """Names of a service's containers that run."""
        listed = self.compose("ps", "--format=json", service).decode().splitlines()
        return sorted(json.loads(line)["Name"] for line in listed)

    def state(self, container: str) -> dict[str, object]:
        """What the engine says of a container's process: running, exit code, killed for memory."""
        found: dict[str, object] = json.loads(
            docker("inspect", "--format={{json .State}}", container)
        )
        return found

    def id_of(self, container: str) -> str:
        """Its short id: the name of the node in it."""
        return docker("inspect", "--format={{.Config.Hostname}}", container).decode().strip()

    def address_of(self, container: str) -> str:
        """Its address, which this host can reach."""
        template = "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return docker("inspect", template, container).decode().strip()

    def story(self) -> str:
        """The ends of all logs."""
        try:
            return self.compose("logs", "--no-color", "--tail=60").decode(errors="replace")
        except RuntimeError as error:
            return f"no logs: {error}"

    # --- what goes wrong ---------------------------------------------------------------------

    def kill(self, container: str) -> None:
        """SIGKILL; the engine leaves it dead until somebody starts it."""
        docker("kill", container)

    def crash(self, container: str) -> None:
        """Its processes are killed from inside: the engine starts it again by itself."""
        docker("exec", container, "bash", "-c", "kill -KILL -1")

    def cut(self, container: str) -> str:
        """Disconnect it from the network; the address it had."""
        address = self.address_of(container)
        docker("network", "disconnect", self.network, container)
        return address

    def mend(self, container: str, address: str, service: str) -> None:
        """Connect it again, under the address and the name that it had."""
        names = (f"--ip={address}", f"--alias={service}")
        docker("network", "connect", *names, self.network, container)


def _image(name: str) -> str:
    return f"{name}:test"


def _remove_image(image: str) -> None:
    """If it was built."""
    subprocess.run(["docker", "image", "rm", image], capture_output=True, check=False)


def _sweep() -> None:
    """Remove what processes left that did not end in good order."""
    for project in json.loads(docker("compose", "ls", "--all", "--format=json")):
        name = project["Name"]
        pid = name.removeprefix(_PREFIX)
        if name.startswith(_PREFIX) and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            docker("compose", f"--project-name={name}", "down", "--volumes", "--timeout=0")
            _remove_image(_image(name))
