"""The kinds of stores that the tests know, each with a server of its own, made once.

A :class:`Kind` opens stores and changes objects behind their back, by a client that is not ours.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import itertools
import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from memfs.client.blocking.entry import connect
from memfs.machine import module_command
from memfs.stores.clouds import CloudStore
from memfs.stores.interface import Store
from memfs.stores.opening import open_store
from memfs.stores.range_reader import client_options, library
from memfs.stores.retry import Retry
from memfs.testing.ports import free_port
from memfs.testing.processes import Processes
from memfs.transport.environment import production_environment
from tests.support.stores.gcs_server import fake_gcs
from tests.support.stores.processes import Server, listens
from tests.support.stores.s3_servers import KEY, REGION, SECRET, S3Server, moto, seaweed
from tests.support.stores.sftp import sftp

_serial = itertools.count(1)


@dataclass(frozen=True)
class Kind:
    """One kind of store.

    ``url`` of a fresh place, ``options`` to open it with; ``replace`` puts an object there and
    ``remove`` takes one away behind memfs's back, by the place's URL and key.
    """

    name: str
    url: Callable[[], str]
    options: Mapping[str, str]
    replace: Callable[[str, str, bytes], None]
    remove: Callable[[str, str], None]
    forbidden: str = ""
    """Characters that no name there has."""
    coarse: bool = False
    """Its times are seconds and its versions are made of them: only sizes tell changes apart."""
    make: Callable[[str], Store] | None = None
    """What opens it, if not its URL."""

    def open(self, url: str, **options: str) -> Store:
        """A store of a place."""
        if self.make is not None:
            return self.make(url)
        return open_store(url, {**self.options, **options}, production_environment())


@contextlib.contextmanager
def local(directory: Path) -> Iterator[Kind]:
    """A directory of this machine."""

    def fresh() -> str:
        place = directory / f"place{next(_serial)}"
        place.mkdir()
        return f"file://{place}"

    def path(url: str, key: str) -> Path:
        return Path(url.removeprefix("file://")) / key

    def replace(url: str, key: str, data: bytes) -> None:
        target = path(url, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_name("fresh").write_bytes(data)
        os.replace(target.with_name("fresh"), target)

    yield Kind("file", fresh, {}, replace, lambda url, key: path(url, key).unlink())


@contextlib.contextmanager
def s3(name: str, server: S3Server) -> Iterator[Kind]:
    """A bucket of an S3 server; places are prefixes of it."""
    bucket = "places"
    server.client.create_bucket(Bucket=bucket)

    def whole(url: str, key: str) -> str:
        return f"{url.removeprefix(f's3://{bucket}/')}/{key}"

    yield Kind(
        name,
        lambda: f"s3://{bucket}/place {next(_serial)}",
        server.options(),
        lambda url, key, data: server.client.put_object(
            Bucket=bucket, Key=whole(url, key), Body=data
        ),
        lambda url, key: server.client.delete_object(Bucket=bucket, Key=whole(url, key)),
    )


@contextlib.contextmanager
def s3_moto(directory: Path) -> Iterator[Kind]:
    with moto(directory) as server, s3("s3-moto", server) as kind:
        yield kind


@contextlib.contextmanager
def s3_seaweed(directory: Path) -> Iterator[Kind]:
    with seaweed(directory) as server, s3("s3-seaweed", server) as kind:
        yield kind


@contextlib.contextmanager
def fsspec_sftp(directory: Path) -> Iterator[Kind]:
    """Debian's OpenSSH by fsspec."""
    with sftp(directory) as server, local(directory) as files:
        front = f"fsspec+sftp://{server.user}@127.0.0.1:{server.port}"

        def as_file(url: str) -> str:
            return f"file://{url.removeprefix(front)}"

        yield Kind(
            "fsspec-sftp",
            lambda: files.url().replace("file://", front),
            {"key_filename": str(server.key)},
            lambda url, key, data: files.replace(as_file(url), key, data),
            lambda url, key: files.remove(as_file(url), key),
            coarse=True,
        )


@contextlib.contextmanager
def webhdfs(directory: Path) -> Iterator[Kind]:
    """Another memfs, by its gateway; changed by a client of its own."""
    with Processes(nodes=1, replication=1, memory="1GiB") as cluster:
        port = free_port()
        command = [*module_command("memfs.cli", "gateway", f"--port={port}")]
        variables = {"MEMFS_URL": cluster.url, "MEMFS_CONFIG": os.devnull}
        log = directory / "gateway.log"
        with (
            Server(command, log, lambda: listens(port), variables),
            connect(cluster.url) as files,
        ):
            front, user = f"webhdfs://127.0.0.1:{port}", getpass.getuser()

            def fresh() -> str:
                place = f"/place {next(_serial)}"
                files.mkdir(place, mode=0o777)
                return front + place

            def replace(url: str, key: str, data: bytes) -> None:
                path = f"{url.removeprefix(front)}/{key}"
                files.makedirs(path.rpartition("/")[0], exist_ok=True)
                files.write_bytes(path, data)

            def remove(url: str, key: str) -> None:
                files.remove(f"{url.removeprefix(front)}/{key}")

            yield Kind("webhdfs", fresh, {"user": user}, replace, remove, ":")


@contextlib.contextmanager
def clouds(directory: Path) -> Iterator[Kind]:
    """What gs: and azblob: share, over moto: no server of Azure's is to be had for tests."""
    with moto(directory) as server, s3("clouds", server) as kind:

        def make(url: str) -> Store:
            settings = {"access_key_id": KEY, "secret_access_key": SECRET, "region": REGION}
            client = client_options(server.endpoint)
            opened = library().store.S3Store(
                "places", endpoint=server.endpoint, client_options=client, **settings
            )
            prefix = url.removeprefix("s3://places/") + "/"
            return CloudStore(lambda: opened, prefix, Retry(random.Random(1), 10.0))

        yield dataclasses.replace(kind, make=make)


@contextlib.contextmanager
def gs(directory: Path) -> Iterator[Kind]:
    """Google's protocol."""
    with fake_gcs(directory) as server:
        front = f"gs://{server.bucket}/"

        def whole(url: str, key: str) -> str:
            return f"{url.removeprefix(front)}/{key}"

        yield Kind(
            "gs",
            lambda: f"{front}place{next(_serial)}",
            {"endpoint": server.endpoint},
            lambda url, key, data: server.replace(whole(url, key), data),
            lambda url, key: server.remove(whole(url, key)),
        )


KINDS = {
    "clouds": clouds,
    "file": local,
    "fsspec-sftp": fsspec_sftp,
    "gs": gs,
    "s3-moto": s3_moto,
    "s3-seaweed": s3_seaweed,
    "webhdfs": webhdfs,
}
