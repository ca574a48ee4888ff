"""The Docker engine of this machine, driven by its own command.

Owns how ``docker`` and ``docker compose`` are called; Compose version 2 is fetched from Debian
where the command does not have it. Must not know memfs. What fails is a RuntimeError with what the
command said.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.debian import cache_directory, unpacked

SOCKET = Path("/var/run/docker.sock")
COMMAND_SECONDS = 600.0
"""Longest time of a command: a build of the image on a busy machine."""


def obstacle() -> str:
    """Why there is no engine here; empty: there is one, whether or not it works."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    if "DOCKER_HOST" not in os.environ and not SOCKET.exists():
        return f"no Docker engine listens at {SOCKET}"
    return ""


def docker(
    *arguments: str,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    given: bytes = b"",
) -> bytes:
    """What the command prints.

    Args: ``environment``, beside that of this process; ``given``, its standard input. Raises
    RuntimeError.
    """
    done = subprocess.run(
        ["docker", *arguments],
        cwd=directory,
        env={**os.environ, **compose_environment(), **(environment or {})},
        input=given,
        capture_output=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace")[-6000:]
        raise RuntimeError(f"docker {' '.join(arguments)} ended with {done.returncode}:\n{said}")
    return done.stdout


def compose_environment() -> dict[str, str]:
    """What makes ``docker compose`` work in a child process: nothing, where it works already."""
    global _environment
    if _environment is None:
        found = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        _environment = {} if found.returncode == 0 else {"DOCKER_CONFIG": str(_configuration())}
    return _environment


def _configuration() -> Path:
    """A configuration directory of the docker command that has Debian's Compose as its plugin."""
    fetched = unpacked("docker-compose", ("docker-compose",))
    directory = cache_directory() / "docker"
    plugin = directory / "cli-plugins" / "docker-compose"
    plugin.parent.mkdir(parents=True, exist_ok=True)
    temporary = plugin.with_name(f"docker-compose.{os.getpid()}")
    temporary.symlink_to(fetched / "usr/libexec/docker/cli-plugins/docker-compose")
    temporary.replace(plugin)
    return directory


_environment: dict[str, str] | None = None
