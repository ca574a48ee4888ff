"""Other people's clients, unchanged: curl, Python's ``hdfs``, fsspec's webhdfs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import hdfs
import pytest
from fsspec.implementations.webhdfs import WebHDFS
from gateway_served import Served
from hdfs.util import HdfsError

NAMES = ["plain", "a b", "a+b", "per%20cent", "q?u=e&s#t", "ümläut 日本 🙂"]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


@pytest.fixture
def top(served: Served, request: pytest.FixtureRequest) -> str:
    """An empty directory."""
    path = f"/{abs(hash(request.node.name))}"
    served.mkdir(path)
    return path


# --- curl ----------------------------------------------------------------------------------------


def curl(*arguments: str, given: bytes = b"") -> bytes:
    command = ["curl", "--silent", "--show-error", "--max-time", "30", *arguments]
    done = subprocess.run(command, input=given, capture_output=True, check=True)
    return done.stdout


def test_curl(served: Served, top: str, tmp_path: Path) -> None:
    url = f"{served.url}/webhdfs/v1{top}/file?user.name=root"
    local = tmp_path / "local"
    data = os.urandom(3_000_000)
    local.write_bytes(data)
    create = f"{url}&op=CREATE&overwrite=true"
    status = ("--output", "/dev/null", "--write-out", "%{http_code}")
    assert curl(*status, "-X", "PUT", "-T", str(local), create) == b"201"
    assert curl(f"{url}&op=OPEN") == data
    assert curl("--range", "100-199", f"{url}&op=OPEN") == data[100:200]
    assert curl(*status, "-L", "-X", "PUT", "-T", str(local), create) == b"201"
    location = curl(
        "--output", "/dev/null", "--write-out", "%{redirect_url}", "-X", "PUT", create
    ).decode()
    assert curl(*status, "-X", "PUT", "-T", str(local), location) == b"201"
    assert curl(*status, "-X", "POST", "-T", str(local), f"{url}&op=APPEND") == b"200"
    assert served.read(f"{top}/file") == data + data
    assert curl(*status, "-X", "PUT", "-T", "-", create, given=b"piped") == b"201"
    assert served.read(f"{top}/file") == b"piped"
    assert b"Content-Length: 5" in curl("--head", f"{url}&op=OPEN")


# --- hdfs ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Any]:
    client = hdfs.InsecureClient(served.url, user="root")
    yield client
    client._session.close()


@pytest.mark.parametrize("name", NAMES)
def test_hdfs_reads_and_writes(served: Served, client: Any, top: str, name: str) -> None:
    path = f"{top}/{name}"
    data = os.urandom(200_000)
    client.write(path, data)
    with client.read(path) as reader:
        assert reader.read() == data
    with client.read(path, offset=1000, length=50) as reader:
        assert reader.read() == data[1000:1050]
    client.write(path, b"more", append=True)
    assert served.read(path) == data + b"more"
    with pytest.raises(HdfsError, match="already exists"):
        client.write(path, b"x")
    with client.write(path, overwrite=True, encoding="utf-8") as writer:
        writer.write("text")
    assert served.read(path) == b"text"


def test_hdfs_names(served: Served, client: Any, top: str) -> None:
    client.makedirs(f"{top}/a/b", permission="750")
    client.write(f"{top}/a/f", b"abc")
    assert client.list(top) == ["a"]
    assert client.list(f"{top}/a") == ["b", "f"]
    assert client.status(f"{top}/a/b")["permission"] == "750"
    assert client.status(f"{top}/none", strict=False) is None
    with pytest.raises(HdfsError, match="File does not exist"):
        client.status(f"{top}/none")
    client.rename(f"{top}/a/f", f"{top}/a/g")
    client.set_permission(f"{top}/a/g", "600")
    client.set_owner(f"{top}/a/g", owner="bob")
    client.set_times(f"{top}/a/g", 1000, 2000)
    client.set_replication(f"{top}/a/g", 1)
    status = client.status(f"{top}/a/g")
    assert (status["permission"], status["owner"], status["replication"]) == ("600", "bob", 1)
    assert client.content(top)["fileCount"] == 1
    assert client.checksum(f"{top}/a/g")["algorithm"] == "MD5-of-0MD5-of-512CRC32C"
    assert [entry[0] for entry in client.walk(top)] == [top, f"{top}/a", f"{top}/a/b"]
    with pytest.raises(HdfsError, match="non empty"):
        client.delete(f"{top}/a")
    assert client.delete(f"{top}/a", recursive=True)
    assert not client.delete(f"{top}/a")


def test_hdfs_trees(client: Any, top: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(20):
        path = source / f"d{number % 3}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 1000))
    client.upload(f"{top}/tree", str(source), n_threads=4)
    client.download(f"{top}/tree", str(tmp_path / "back"), n_threads=4)
    for path in source.rglob("*"):
        if path.is_file():
            copy = tmp_path / "back" / path.relative_to(source)
            assert copy.read_bytes() == path.read_bytes()


# --- fsspec --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filesystem(served: Served) -> Iterator[WebHDFS]:
    filesystem = fsspec.filesystem(
        "webhdfs", host="127.0.0.1", port=served.port, user="root", skip_instance_cache=True
    )
    yield filesystem
    filesystem.session.close()


@pytest.mark.parametrize("name", NAMES)
def test_fsspec_reads_and_writes(served: Served, filesystem: WebHDFS, top: str, name: str) -> None:
    path = f"{top}/{name}"
    data = os.urandom(200_000)
    with filesystem.open(path, "wb", block_size=65536) as file:
        file.write(data)
    assert served.read(path) == data
    with filesystem.open(path, "rb", block_size=65536) as file:
        file.seek(100_000)
        assert file.read(10) == data[100_000:100_010]
        file.seek(-5, os.SEEK_END)
        assert file.read() == data[-5:]
    assert filesystem.cat_file(path, 10, 20) == data[10:20]


def test_fsspec_names(served: Served, filesystem: WebHDFS, top: str) -> None:
    filesystem.mkdirs(f"{top}/a/b")
    filesystem.pipe_file(f"{top}/a/f", b"abc")
    filesystem.touch(f"{top}/a/empty")
    assert sorted(each["name"] for each in filesystem.ls(f"{top}/a", detail=True)) == [
        f"{top}/a/{name}" for name in ("b", "empty", "f")
    ]
    assert filesystem.info(f"{top}/a/f")["size"] == 3
    assert filesystem.isdir(f"{top}/a/b") and not filesystem.exists(f"{top}/none")
    assert filesystem.content_summary(top)["fileCount"] == 2
    assert filesystem.ukey(f"{top}/a/f")["algorithm"].startswith("MD5-of")
    assert filesystem.home_directory() == "/user/root"
    with pytest.raises(FileNotFoundError):
        filesystem.cat_file(f"{top}/none")
    filesystem.mv(f"{top}/a/f", f"{top}/a/g")
    filesystem.chmod(f"{top}/a/g", "600")
    filesystem.set_replication(f"{top}/a/g", 1)
    assert sorted(filesystem.find(top)) == [f"{top}/a/empty", f"{top}/a/g"]
    filesystem.rm(f"{top}/a", recursive=True)
    assert not served.exists(f"{top}/a")


def test_fsspec_permission(served: Served, top: str) -> None:
    served.write(f"{top}/f", b"secret")
    served.run(served.fs.chmod(f"{top}/f", 0o600))
    other = fsspec.filesystem(
        "webhdfs", host="127.0.0.1", port=served.port, user="eve", skip_instance_cache=True
    )
    with pytest.raises(PermissionError):
        other.cat_file(f"{top}/f")
    other.session.close()
