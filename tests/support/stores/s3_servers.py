"""S3 servers of PyPI: moto, which knows every condition, and SeaweedFS, which checks signatures."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memfs.testing.ports import free_port
from tests.support.stores.processes import Server, listens

KEY, SECRET = "test-key", "test-secret-Xq7canary"
"""The secret is one that is found again wherever it leaks."""
REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """A server that runs; ``client`` is boto3's, for what happens behind memfs's back."""

    endpoint: str
    client: Any
    server: Server

    def options(self, **more: str) -> dict[str, str]:
        """What a store needs to reach it."""
        keys = {"access_key_id": KEY, "secret_access_key": SECRET}
        return {"endpoint": self.endpoint, "region": REGION} | keys | more

    def mount_options(self, directory: Path, secret: str = SECRET) -> dict[str, str]:
        """As a mount is given them: the keys lie in a file on the nodes."""
        keys = directory / "keys"
        keys.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {secret}\n")
        return {"endpoint": self.endpoint, "region": REGION, "credentials": str(keys)}


@contextlib.contextmanager
def moto(directory: Path) -> Iterator[S3Server]:
    """moto's server: any secret will do."""
    port = free_port()
    program = Path(sys.executable).with_name("moto_server")
    command = [str(program), "-H", "127.0.0.1", "-p", str(port)]
    with Server(command, directory / "moto.log", lambda: listens(port)) as server:
        endpoint = f"http://127.0.0.1:{port}"
        yield S3Server(endpoint, s3_client(endpoint), server)


@contextlib.contextmanager
def seaweed(directory: Path) -> Iterator[S3Server]:
    """SeaweedFS with one user, in a mount namespace of its own.

    Its sockets have fixed names in /tmp by port number, which two servers would share.
    """
    servers = ("master", "volume", "filer", "s3")
    ports = {name: free_port() for name in servers}
    identities = [
        {
            "name": "test",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
    private, alone = directory / "tmp", _may_unshare()
    (private / "data").mkdir(parents=True, exist_ok=True)
    (private / "s3.json").write_text(json.dumps({"identities": identities}))
    seen = Path("/tmp") if alone else private
    weed = [
        str(Path(sys.executable).with_name("weed")),
        "server",
        "-ip=127.0.0.1",
        f"-dir={seen / 'data'}",
        "-s3",
        f"-s3.config={seen / 's3.json'}",
        *(f"-{name}.port={port}" for name, port in ports.items()),
        *(f"-{name}.port.grpc={free_port()}" for name in servers),  # else 10,000 higher
        "-volume.max=20",
        "-master.volumeSizeLimitMB=256",
        "-s3.allowDeleteBucketNotEmpty=true",
        "-s3.port.iceberg=0",  # these two have fixed ports
        "-s3.port.lance=0",
        "-master.telemetry=false",
    ]
    # Opened before: its environment may lie in /tmp itself.
    script = f'exec 3<"$1" && shift && mount --bind {private} /tmp && exec /proc/self/fd/3 "$@"'
    unshared = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *weed]
    command = unshared if alone else weed

    endpoint = f"http://127.0.0.1:{ports['s3']}"

    def ready() -> bool:
        return all(map(listens, (ports["s3"], ports["volume"]))) and _answers(endpoint)

    with Server(command, directory / "seaweed.log", ready) as server:
        yield S3Server(endpoint, s3_client(endpoint), server)


def port_of(server: S3Server) -> int:
    """Where it listens, on loopback."""
    return int(server.endpoint.rpartition(":")[2])


def s3_client(endpoint: str, key: str = KEY, secret: str = SECRET) -> Any:
    """boto3's client of a server."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


def _answers(endpoint: str) -> bool:
    """Does it answer a signed request?"""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        s3_client(endpoint).list_buckets()
    except (BotoCoreError, ClientError):
        return False
    return True


def _may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
