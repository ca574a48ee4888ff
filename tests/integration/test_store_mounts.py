"""Buckets mounted into clusters of real nodes: modes, stores that are away, nodes that die."""

from __future__ import annotations

import errno
import random
import re
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memfs.client.blocking.entry import connect
from memfs.client.blocking.filesystem import FileSystem
from memfs.errors import MemfsError, ObjectChangedError, StoreDeniedError, StoreMissingError
from memfs.limits import BLOCK_BYTES_DEFAULT
from memfs.testing.processes import Processes
from tests.integration.cli_cluster import execute
from tests.support.patience import PATIENCE_SECONDS, until
from tests.support.stores.counting import CountingProxy
from tests.support.stores.s3_servers import (
    REGION,
    SECRET,
    S3Server,
    moto,
    port_of,
    s3_client,
    seaweed,
)
from tests.support.stores.web_servers import BrokenServer, broken

pytestmark = pytest.mark.alone

BUCKET = "bucket"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    with Processes(nodes=2, replication=2, memory="256MiB", monitoring=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def fs(cluster: Processes) -> Iterator[FileSystem]:
    with connect(cluster.url) as fs:
        yield fs


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with moto(tmp_path_factory.mktemp("s3")) as server:
        server.client.create_bucket(Bucket=BUCKET)
        yield server


def content(server: S3Server, key: str) -> bytes | None:
    """What the bucket has, asked by boto3."""
    try:
        return bytes(server.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    except server.client.exceptions.NoSuchKey:
        return None


@pytest.mark.parametrize("mode", ["dual-sync", "dual-async", "proxy"])
def test_what_is_there_and_what_is_written_in_every_mode(
    fs: FileSystem, s3: S3Server, tmp_path: Path, mode: str
) -> None:
    dice, prefix = random.Random(mode), f"in {mode}"
    data = {f"d/{number}": dice.randbytes(dice.choice([0, 10, 70_000])) for number in range(20)}
    data["large"] = dice.randbytes(9_000_001)
    for key, each in data.items():
        s3.client.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=each)
    fs.mount("/m", f"s3://{BUCKET}/{prefix}", mode=mode, options=s3.mount_options(tmp_path))
    try:
        for _ in range(2):
            for key, each in data.items():
                assert fs.read_bytes(f"/m/{key}") == each
        assert sorted(fs.listdir("/m/d")) == sorted(key[2:] for key in data if key[1] == "/")
        if mode == "proxy":
            return
        written = dice.randbytes(20_000_000)
        fs.mkdir("/m/new")
        fs.write_bytes("/m/new/large", written)
        fs.write_bytes("/m/d/3", b"replaced")
        with fs.open("/m/d/4", "ab") as file:
            file.write(b"and more")
        fs.remove("/m/d/5")
        fs.write_bytes("/moves", b"in and out")
        for here, there in (("/moves", "/m/moves"), ("/m/moves", "/moves")):
            assert str(fs.path(here).move(there)) == there
            assert fs.read_bytes(there) == b"in and out" and not fs.exists(here)
        if mode == "dual-sync":
            assert content(s3, f"{prefix}/new/large") == written
        fs.persist("/m")
        assert content(s3, f"{prefix}/new/large") == written
        assert content(s3, f"{prefix}/d/3") == b"replaced"
        assert content(s3, f"{prefix}/d/4") == data["d/4"] + b"and more"
        assert content(s3, f"{prefix}/d/5") is None
        uploads = s3.client.list_multipart_uploads(Bucket=BUCKET)
        assert not uploads.get("Uploads")
    finally:
        fs.unmount("/m")
    assert content(s3, f"{prefix}/d/6") == data["d/6"]


def counted(cluster: Processes, name: str, mount: str) -> float:
    """A metric of a mount, over all nodes."""
    pattern = rf'^memfs_store_{name}{{mount="{mount}"}} (\S+)$'
    shown = []
    for node in cluster.nodes:
        with urllib.request.urlopen(f"{cluster.monitoring_url(node.name)}/metrics") as page:
            shown += re.findall(pattern, page.read().decode(), re.MULTILINE)
    assert shown, f"no node shows {name}"
    return sum(map(float, shown))


def test_a_warm_file_is_not_asked_for_again(
    cluster: Processes, fs: FileSystem, tmp_path: Path
) -> None:
    with broken(tmp_path) as server:
        names = [f"{number:03}" for number in range(50)]
        for name in names:
            (server.root / name).write_bytes(name.encode() * 1000)
        fs.mount("/web", server.url, mode="dual-async", read_only=True, sync_interval=600)
        try:
            for name in names:
                assert fs.read_bytes(f"/web/{name}") == name.encode() * 1000
            server.faults()
            for _ in range(2):
                for name in random.sample(names, len(names)):
                    assert fs.read_bytes(f"/web/{name}") == name.encode() * 1000
            assert server.asked() == 0
            assert counted(cluster, "misses_total", "/web") == len(names)
            assert counted(cluster, "hits_total", "/web") > 0  # not what is read out of its memory
            size = sum(len(name) * 1000 for name in names)
            assert counted(cluster, "fetched_bytes_total", "/web") == size
            assert counted(cluster, "cached_bytes", "/web") == size
            refused(fs, server)
        finally:
            fs.unmount("/web")


def test_what_was_just_fetched_is_read_out_of_the_memory_of_its_node(
    cluster: Processes, tmp_path: Path
) -> None:
    """By a client on the same host, which was told a moment ago that it is not there."""
    data = random.Random(1).randbytes(3 * BLOCK_BYTES_DEFAULT)
    with broken(tmp_path) as server, connect(cluster.url) as fs:
        (server.root / "large").write_bytes(data)
        fs.mount("/warm", server.url, read_only=True, sync_interval=600)
        try:
            assert fs.read_bytes("/warm/large") == data
            fetched = server.asked()
            hits = counted(cluster, "hits_total", "/warm")
            assert fs.read_bytes("/warm/large") == data
            assert server.asked() == fetched
            assert counted(cluster, "hits_total", "/warm") == hits
        finally:
            fs.unmount("/warm")


def refused(fs: FileSystem, server: BrokenServer) -> None:
    """Nothing is written below a read-only mount."""
    with pytest.raises(OSError, match=r"[Rr]ead-only"):
        fs.write_bytes("/web/new", b"x")
    assert not (server.root / "new").exists()


def test_the_first_page_of_a_large_directory_needs_one_page_of_the_store(
    cluster: Processes, fs: FileSystem, s3: S3Server, tmp_path: Path
) -> None:
    """With a directory whose key comes behind the names that follow it."""
    names = [f"part-{number:05}.tar" for number in range(2500)]
    keys = [f"many/{name}" for name in names] + ["many/part/below", "many/part-00001/below"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.client.put_object(Bucket=BUCKET, Key=key, Body=b"x"), keys))
    fs.mount("/many", f"s3://{BUCKET}/many", options=s3.mount_options(tmp_path), read_only=True)
    try:
        expected = sorted([*names, "part", "part-00001"])

        def requests() -> float:
            return counted(cluster, "requests_total", "/many")

        pages = fs.scandir_pages("/many")
        first = [entry.name for entry in next(pages)]
        assert len(first) > 100 and first == expected[: len(first)]
        assert requests() <= 2  # a page, and whether there is a directory "part"
        assert first + [entry.name for page in pages for entry in page] == expected
        assert requests() <= 5
        assert fs.listdir("/many") == expected
        assert requests() <= 5
    finally:
        fs.unmount("/many")


def test_a_bucket_of_twenty_thousand_objects(fs: FileSystem, tmp_path: Path) -> None:
    names = [f"{number:05}.bin" for number in range(20_000)]
    with seaweed(tmp_path) as server:
        server.client.create_bucket(Bucket=BUCKET)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda part: put_all(server, part), [names[n::8] for n in range(8)]))
        given = server.mount_options(tmp_path)
        fs.mount("/20k", f"s3://{BUCKET}", options=given, sync_interval=600, read_only=True)
        try:
            assert fs.listdir("/20k") == names
            assert fs.du("/20k").files == len(names)
            chosen = random.Random(1).sample(names, 300)
            found = fs.read_many([f"/20k/{name}" for name in chosen])
            assert found == [name.encode() for name in chosen]
            with pytest.raises(FileNotFoundError):
                fs.stat("/20k/20000.bin")
        finally:
            fs.unmount("/20k")


def put_all(server: S3Server, names: list[str]) -> None:
    """Objects whose content is their name, over a connection of their own."""
    client = s3_client(server.endpoint)
    for name in names:
        client.put_object(Bucket=BUCKET, Key=name, Body=name.encode())


def test_readers_never_get_bytes_of_two_versions(
    fs: FileSystem, s3: S3Server, tmp_path: Path
) -> None:
    size, rounds = 5_000_000, 12
    versions = [bytes([number]) * size for number in range(rounds)]
    s3.client.put_object(Bucket=BUCKET, Key="changing/x", Body=versions[0])
    given = s3.mount_options(tmp_path)
    fs.mount("/c", f"s3://{BUCKET}/changing", sync_interval=0, read_only=True, options=given)
    ended, seen, wrong = threading.Event(), set(), []

    def read() -> None:
        while not ended.is_set():
            try:
                data = fs.read_bytes("/c/x")
            except ObjectChangedError:
                continue
            if data != bytes([data[0]]) * size:
                wrong.append(len(set(data)))
            seen.add(data[0])

    readers = [threading.Thread(target=read) for _ in range(4)]
    try:
        for reader in readers:
            reader.start()
        for each in versions:
            s3.client.put_object(Bucket=BUCKET, Key="changing/x", Body=each)
            time.sleep(0.2)
        until(lambda: rounds - 1 in seen or bool(wrong))
    finally:
        ended.set()
        for reader in readers:
            reader.join()
        fs.unmount("/c")
    assert not wrong and len(seen) > 2


def test_a_store_that_is_away_for_a_while_gets_everything(
    cluster: Processes, fs: FileSystem, tmp_path: Path
) -> None:
    with moto(tmp_path) as server:
        server.client.create_bucket(Bucket=BUCKET)
        fs.mount(
            "/away", f"s3://{BUCKET}/p", options=server.mount_options(tmp_path), sync_interval=600
        )
        fs.write_bytes("/away/before", b"before")
        fs.persist("/away")
        assert fs.listdir("/away") == ["before"]  # so that what is not there is known
        server.server.stop()
        written = {f"{number}": b"%d" % number * 1000 for number in range(20)}
        for name, each in written.items():
            fs.write_bytes(f"/away/{name}", each)
        assert fs.read_bytes("/away/7") == written["7"]
        until(lambda: counted(cluster, "in_trouble", "/away") == 1)
        assert counted(cluster, "unsaved_changes", "/away") == 20
        assert counted(cluster, "unsaved_bytes", "/away") == sum(map(len, written.values()))
        server.server.start()  # and has forgotten all it had
        s3_client(server.endpoint).create_bucket(Bucket=BUCKET)
        until(lambda: all(content(server, f"p/{n}") == each for n, each in written.items()))
        fs.persist("/away")
        assert counted(cluster, "unsaved_changes", "/away") == 0
        assert counted(cluster, "in_trouble", "/away") == 0
        assert counted(cluster, "persisted_bytes_total", "/away") >= sum(map(len, written.values()))
        fs.unmount("/away")


EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>"


def test_keys_that_end_are_said_and_new_ones_count_without_another_mount(
    cluster: Processes, fs: FileSystem, tmp_path: Path
) -> None:
    """Temporary keys, in a file on the nodes that somebody writes anew."""
    good, keys = {"first"}, tmp_path / "keys"

    def refuse(headers: Mapping[str, str]) -> tuple[int, bytes] | None:
        signed = re.search(r"Credential=(\w+)/", headers.get("authorization", ""))
        return None if signed is not None and signed[1] in good else (400, EXPIRED)

    def give(key: str) -> None:
        keys.write_text(
            f"[default]\naws_access_key_id={key}\naws_secret_access_key={SECRET}\n"
            f"aws_session_token={key}-session\n"
        )

    def status() -> str:
        done = execute(cluster.url, ["cluster", "status"])
        return (done.stdout + done.stderr).decode()

    give("first")
    with moto(tmp_path) as server, CountingProxy(port_of(server)) as proxy:
        proxy.refuse = refuse
        server.client.create_bucket(Bucket=BUCKET)
        for key in ("warm", "cold"):
            server.client.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
        options = {"endpoint": proxy.endpoint, "region": REGION, "credentials": str(keys)}
        fs.mount("/ends", f"s3://{BUCKET}", options=options, sync_interval=600)
        assert sorted(fs.listdir("/ends")) == ["cold", "warm"]
        assert fs.read_bytes("/ends/warm") == b"warm"
        assert "is in trouble" not in status()
        good.clear()
        assert fs.read_bytes("/ends/warm") == b"warm"
        with pytest.raises(StoreDeniedError, match="the credentials have expired") as no:
            fs.read_bytes("/ends/cold")
        assert no.value.errno == errno.EACCES and SECRET not in str(no.value)
        fs.write_bytes("/ends/new", b"new")
        until(lambda: "the store mounted at /ends is in trouble" in status())
        assert "the credentials have expired" in status()
        give("second")
        good.add("second")
        assert fs.read_bytes("/ends/cold") == b"cold"
        fs.persist("/ends", timeout=PATIENCE_SECONDS)
        assert content(server, "new") == b"new"
        assert "is in trouble" not in status()
        fs.unmount("/ends")


def test_a_bucket_that_is_gone_is_said_and_nothing_is_taken_for_deleted(
    fs: FileSystem, tmp_path: Path
) -> None:
    with moto(tmp_path) as server:
        url, given = f"s3://{BUCKET}", server.mount_options(tmp_path)
        with pytest.raises(StoreMissingError, match="no such bucket"):
            fs.mount("/gone", url, options=given)
        server.client.create_bucket(Bucket=BUCKET)
        fs.mount("/gone", url, options=given, sync_interval=0)
        fs.write_bytes("/gone/x", b"content")
        fs.persist("/gone")
        server.client.delete_object(Bucket=BUCKET, Key="x")
        server.client.delete_bucket(Bucket=BUCKET)
        for ask in (fs.stat, fs.exists, fs.read_bytes):
            with pytest.raises(StoreMissingError, match="no such bucket"):
                ask("/gone/x")
        with pytest.raises(StoreMissingError, match="/gone"):
            fs.listdir("/gone")
        (mount,) = [each for each in fs.mounts() if each.path == "/gone"]
        assert "no such bucket" in mount.trouble
        server.client.create_bucket(Bucket=BUCKET)
        server.client.put_object(Bucket=BUCKET, Key="x", Body=b"content")
        assert fs.read_bytes("/gone/x") == b"content"
        fs.unmount("/gone")


def test_nodes_that_die_in_the_middle_lose_nothing(tmp_path: Path) -> None:
    with (
        Processes(nodes=3, replication=2, memory="256MiB") as cluster,
        connect(cluster.url) as fs,
        moto(tmp_path) as server,
    ):
        server.client.create_bucket(Bucket=BUCKET)
        fs.mount("/s", f"s3://{BUCKET}/p", options=server.mount_options(tmp_path))
        dice, wanted = random.Random(7), {}
        for number in range(60):
            name, data = f"{dice.randrange(20)}", dice.randbytes(dice.choice([10, 300_000]))
            fs.write_bytes(f"/s/{name}", data)
            wanted[name] = data
            if number in (20, 40):
                cluster.nodes[number // 20].kill()
                cluster.restart(number // 20)
        fs.persist("/s", timeout=PATIENCE_SECONDS)
        assert {name: content(server, f"p/{name}") for name in wanted} == wanted
        found = server.client.list_objects_v2(Bucket=BUCKET, Prefix="p/")["Contents"]
        assert {each["Key"] for each in found} == {f"p/{name}" for name in wanted}


def test_wrong_keys_are_said_at_the_mount_and_no_secret_is_anywhere(
    cluster: Processes, fs: FileSystem, tmp_path: Path
) -> None:
    with seaweed(tmp_path) as server:
        server.client.create_bucket(Bucket=BUCKET)
        with pytest.raises(StoreDeniedError) as raised:
            fs.mount("/k", f"s3://{BUCKET}", options=server.mount_options(tmp_path, f"no-{SECRET}"))
        assert SECRET not in str(raised.value) and "\n" not in str(raised.value)
        with pytest.raises(MemfsError) as given:
            fs.mount("/k", f"s3://{BUCKET}", options={"secret_access_key": SECRET})
        assert SECRET not in str(given.value) and "credentials=" in str(given.value)
        fs.mount("/k", f"s3://{BUCKET}", options=server.mount_options(tmp_path))
        fs.write_bytes("/k/x", b"content")
        fs.persist("/k")
        assert content(server, "x") == b"content"
        assert SECRET not in repr(fs.mounts())
        fs.unmount("/k")
    assert all(SECRET not in node.log.read_text() for node in cluster.nodes)


def test_no_secret_is_in_what_a_node_keeps_or_shows(tmp_path: Path) -> None:
    """Keys lie in a file on the nodes: the journal and its snapshots hold its path alone."""
    kept = tmp_path / "journal"
    flags = (
        f"--journal={kept}",
        "--journal-blocks",
        "--ack=journal",
        "--journal-segment-size=1MiB",
    )
    with (
        Processes(nodes=1, replication=1, memory="256MiB", flags=flags) as cluster,
        connect(cluster.url) as fs,
        moto(tmp_path) as server,
    ):
        server.client.create_bucket(Bucket=BUCKET)
        given = server.mount_options(tmp_path)
        for secret in ({"secret_access_key": SECRET}, {"endpoint": f"http://me:{SECRET}@host"}):
            with pytest.raises(MemfsError, match="credentials=") as raised:
                fs.mount("/k", f"s3://{BUCKET}", options=given | secret)
            assert SECRET not in str(raised.value)
        fs.mount("/k", f"s3://{BUCKET}", options=given)
        fs.write_bytes("/k/x", bytes(5_000_000))
        fs.persist("/k")
        assert content(server, "x") == bytes(5_000_000)
        cluster.nodes[0].kill()
        node = cluster.restart(0)
        node.wait_ready(time.monotonic() + PATIENCE_SECONDS)
        assert fs.read_bytes("/k/x") == bytes(5_000_000)
        files = [path for path in kept.rglob("*") if path.is_file()]
        held = b"".join(path.read_bytes() for path in files)
        assert given["credentials"].encode() in held and SECRET.encode() not in held
        assert SECRET not in node.log.read_text()
        assert SECRET not in Path(f"/proc/{node.pid}/cmdline").read_text()
