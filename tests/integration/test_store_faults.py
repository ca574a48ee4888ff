"""Stores that fail, lie or refuse: what is read is right or an error, and no secret is told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memfs.errors import (
    InvalidArgumentError,
    MemfsError,
    ObjectChangedError,
    ObjectMissingError,
    StoreDeniedError,
    StoreMissingError,
    StoreUnreachableError,
    StoreUnsupportedError,
)
from memfs.paths import parse_endpoint
from memfs.stores import websites
from memfs.stores.clouds import CloudStore
from memfs.stores.interface import ABSENT, Store
from memfs.stores.opening import open_store
from memfs.stores.range_reader import client_options, library
from memfs.stores.retry import Retry
from memfs.stores.s3 import multipart
from memfs.testing.ports import free_port
from memfs.transport.environment import production_environment
from tests.support.proxy import Proxy
from tests.support.stores.counting import CountingProxy
from tests.support.stores.model import level, put
from tests.support.stores.processes import Server, listens
from tests.support.stores.s3_servers import (
    KEY,
    REGION,
    SECRET,
    S3Server,
    moto,
    port_of,
    seaweed,
)
from tests.support.stores.sftp import sftp
from tests.support.stores.web_servers import BrokenServer, broken, nginx

DATA = bytes(range(256)) * 400


def opened(url: str, **options: str) -> Store:
    return open_store(url, options, production_environment())


@contextlib.asynccontextmanager
async def store_at(url: str, **options: str) -> AsyncIterator[Store]:
    store = opened(url, **options)
    try:
        yield store
    finally:
        await store.close()


# --- a web server that breaks ------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokenServer]:
    with broken(tmp_path_factory.mktemp("broken")) as server:
        (server.root / "d").mkdir()
        (server.root / "d" / "data").write_bytes(DATA)
        yield server


@pytest.mark.parametrize(
    "faults",
    [["503"], ["reset", "503"], ["truncated"], ["wrong-range"], ["slow"], ["truncated", "reset"]],
    ids=" ".join,
)
async def test_what_passes_is_tried_again(server: BrokenServer, faults: list[str]) -> None:
    async with store_at(server.url) as store:
        info = await store.stat("d/data")
        assert info is not None and info.size == len(DATA)
        server.faults(*faults)
        assert bytes(await store.read("d/data", 1000, 5000, info.tag)) == DATA[1000:6000]
        assert server.asked() == len(faults) + (faults[-1] != "slow")


@pytest.mark.parametrize(
    "faults",
    [[], ["503"], ["truncated"], ["truncated"] * 3, ["reset", "truncated"], ["wrong-range"]],
    ids=" ".join,
)
async def test_a_body_arrives_whatever_breaks(server: BrokenServer, faults: list[str]) -> None:
    """Of S3, whose protocol the server speaks as far as reading needs it."""
    content = random.Random(1).randbytes(3_000_000)
    (server.root / "bucket").mkdir(exist_ok=True)
    (server.root / "bucket" / "large").write_bytes(content)
    async with store_at("s3://bucket", endpoint=server.url, anonymous="true") as store:
        info = await store.stat("large")
        assert info is not None and info.size == len(content)
        for at, size in ((0, len(content)), (999, 2_000_000), (5, 100)):
            into, counts = memoryview(bytearray(size)), list[int]()
            server.faults(*faults)
            await store.read_into("large", at, into, info.tag, counts.append)
            assert into == content[at : at + size] and sum(counts) == size
        into = memoryview(bytearray(len(content)))
        (server.root / "bucket" / "large").write_bytes(content[::-1])
        server.faults()
        with pytest.raises(ObjectChangedError):
            await store.read_into("large", 0, into, info.tag, counts.append)
        (server.root / "bucket" / "large").write_bytes(content[:-1])
        with pytest.raises(ObjectChangedError):
            await store.read_into("large", 0, into, info.tag, counts.append)
        assert into == bytes(len(content)), "of another version"


async def test_what_stays_is_an_error_within_the_time_given(server: BrokenServer) -> None:
    async with store_at(server.url, timeout="2s") as store:
        server.faults(*["503"] * 100)
        with pytest.raises(StoreUnreachableError, match="503"):
            await store.read("d/data", 0, 10)
        assert 2 <= server.asked() < 20
        server.faults(*["wrong-range"] * 100)
        with pytest.raises(StoreUnreachableError, match="another range"):
            await store.read("d/data", 5, 10)
        server.faults(*["stalled"] * 100)
        with pytest.raises(StoreUnreachableError, match="in time"):
            await store.read("d/data", 0, 1000)
        server.faults("403")
        with pytest.raises(StoreDeniedError):
            await store.read("d/data", 0, 10)
        assert server.asked() == 1
        for times in (1, 2):
            server.faults(*["no-range"] * times)
            assert bytes(await store.read("d/data", 5, 10)) == DATA[5:15]
        server.faults(*["503"] * 100)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await store.read("d/data", 0, 10)
        server.faults()
        with pytest.raises(ObjectChangedError):
            await store.read("d/data", len(DATA), 10)
        with pytest.raises(ObjectMissingError):
            await store.read("d/none", 0, 10)


REFUSAL = b"<Error><Code>InvalidRequest</Code><Message>a-secret</Message></Error>"


@pytest.fixture(scope="module")
def refusing() -> Iterator[CountingProxy]:
    """A server that refuses whatever it is asked: there is nobody behind it."""
    with CountingProxy(free_port()) as proxy:
        proxy.refuse = lambda headers: (400, REFUSAL)
        yield proxy


@pytest.mark.parametrize("kind", ["s3", "gs", "azblob", "webhdfs", "http", "fsspec"])
async def test_what_a_store_refuses_is_said_at_once(refusing: CountingProxy, kind: str) -> None:
    """Whatever is asked: trying for as long as a store may be away would change nothing."""
    place = refusing.endpoint.removeprefix("http://")
    url, options = {
        "s3": ("s3://bucket", {"endpoint": refusing.endpoint, "anonymous": "true"}),
        "gs": ("gs://bucket", {"endpoint": refusing.endpoint, "anonymous": "true"}),
        "azblob": (
            "azblob://bucket",
            {"endpoint": refusing.endpoint, "account": "account", "anonymous": "true"},
        ),
        "webhdfs": (f"webhdfs://{place}/d", {}),
        "http": (refusing.endpoint, {}),
        "fsspec": (f"fsspec+http://{place}/d", {}),
    }[kind]
    async with store_at(url, **options) as store:
        for name, ask in OPERATIONS.items():
            if name in ASK_NOTHING.get(kind, ()):
                continue
            refusing.set(0, lambda: None)
            with pytest.raises(MemfsError) as raised:
                await ask(store)
            assert not isinstance(raised.value, StoreUnreachableError), (name, raised.value)
            assert "a-secret" not in str(raised.value)
            assert len(refusing.seen) <= 4, (name, refusing.seen)  # some compare before they write


async def test_an_upload_that_a_server_refuses_is_said_at_once_and_given_up(
    strict: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are smaller here than S3 lets them be, which is said when they are joined."""
    monkeypatch.setattr(multipart, "PART_BYTES", 4 << 20)
    strict.client.create_bucket(Bucket="parts")
    with CountingProxy(port_of(strict)) as proxy:
        async with store_at(
            "s3://parts", **strict.options() | {"endpoint": proxy.endpoint}
        ) as store:
            proxy.set(0, lambda: None)
            with pytest.raises(InvalidArgumentError, match="EntityTooSmall"):
                await put(store, "x", bytes(17 << 20), ABSENT)
            posts = [line for line in proxy.seen if line.startswith("POST")]
            assert len(posts) == 2, posts
    assert not strict.client.list_multipart_uploads(Bucket="parts").get("Uploads")


async def test_parts_that_take_long_to_be_joined_are_joined_once(strict: S3Server) -> None:
    """moto fails when it is asked again while it is at it; others do all of it twice."""
    strict.client.create_bucket(Bucket="joined")

    def late(answer: bytes) -> bytes:
        if b"CompleteMultipartUploadResult" in answer:
            time.sleep(1.5)
        return answer

    with CountingProxy(port_of(strict), late) as proxy:
        async with store_at(
            "s3://joined", **strict.options() | {"endpoint": proxy.endpoint}
        ) as store:
            store._requests.client._idle = 0.5  # type: ignore[attr-defined]
            proxy.set(0, lambda: None)
            await put(store, "x", bytes(17 << 20), ABSENT)
            posts = [line for line in proxy.seen if line.startswith("POST")]
            assert len(posts) == 2, posts


async def test_nobody_there_is_said_in_one_line() -> None:
    for url, options in [
        (f"http://127.0.0.1:{free_port()}", {}),
        (f"webhdfs://127.0.0.1:{free_port()}/d", {}),
        ("s3://bucket", {"endpoint": f"http://127.0.0.1:{free_port()}", "anonymous": "true"}),
        (f"fsspec+sftp://127.0.0.1:{free_port()}/d", {}),
    ]:
        async with store_at(url, timeout="1s", **options) as store:
            with pytest.raises(StoreUnreachableError) as raised:
                await store.probe()
            assert "\n" not in str(raised.value)


async def test_a_web_servers_directories_by_nginx(tmp_path: Path) -> None:
    root = tmp_path / "root"
    names = ["plain", "a b", "a+b", "100%", "ümlaut", "#hash", "q?x"]
    (root / "d" / "sub").mkdir(parents=True)
    for name in names:
        (root / "d" / name).write_bytes(name.encode())
    root.chmod(0o755)
    with nginx(tmp_path, root) as url:
        async with store_at(f"{url}/d") as store:
            await store.probe()
            entries, unreachable = await level(store, "", 3)
            assert set(entries) == {*names, "sub/"} and not unreachable
            for name in names:
                info = entries[name]
                assert await store.stat(name) == info
                assert bytes(await store.read(name, 0, info.size, info.tag)) == name.encode()
            assert await store.stat("none") is None
            (root / "d" / "plain").write_bytes(b"another")
            with pytest.raises(ObjectChangedError):
                await store.read("plain", 0, 5, entries["plain"].tag)
            with pytest.raises(StoreUnsupportedError, match="read-only"):
                await put(store, "new", b"x")


async def test_a_web_server_without_ranges_by_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = random.Random(1).randbytes(300_000)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "data").write_bytes(content)
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind=127.0.0.1", str(port)]
    with Server(command, tmp_path / "log", lambda: listens(port)):
        async with store_at(f"http://127.0.0.1:{port}/d") as store:
            info = (await level(store, "", 10))[0]["data"]
            for at, size in (
                (0, 10),
                (0, 300_000),
                (1, 299_999),
                (100_000, 100_000),
                (299_990, 10),
            ):
                assert (
                    bytes(await store.read("data", at, size, info.tag)) == content[at : at + size]
                )
            with pytest.raises(ObjectChangedError):
                await store.read("data", 299_990, 11, info.tag)
            monkeypatch.setattr(websites, "PREFIX_BYTES", 100_000)  # it is read again and again
            with pytest.raises(StoreUnsupportedError, match="ranges"):
                await store.read("data", 100_000, 10, info.tag)
            (tmp_path / "d" / "data").write_bytes(content[1:])
            with pytest.raises(ObjectChangedError):
                await store.read("data", 5, 10, info.tag)


async def test_an_entry_that_a_web_server_refuses_hides_no_others(server: BrokenServer) -> None:
    (server.root / "many").mkdir()
    for number in range(4):
        (server.root / "many" / str(number)).write_bytes(b"x")
    async with store_at(server.url) as store:
        server.faults("slow", "403")  # the page comes, only late
        entries, unreachable = await level(store, "many", 10)
        assert (len(entries), unreachable) == (3, 1)
        server.faults("403")
        with pytest.raises(StoreDeniedError):
            await store.stat("many/1")


@pytest.mark.parametrize("kind", ["file", "fsspec+file"])
async def test_links_that_lead_nowhere_hide_no_others(tmp_path: Path, kind: str) -> None:
    (tmp_path / "there").write_bytes(b"x")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "through").symlink_to("there/x")
    async with store_at(f"{kind}://{tmp_path}") as store:
        entries, unreachable = await level(store, "", 10)
        assert (set(entries), unreachable) == ({"there"}, 3)
        assert await store.stat("loop") is None


async def test_a_key_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with sftp(tmp_path) as server:
        url = f"fsspec+sftp://{server.user}@127.0.0.1:{server.port}{tmp_path}"
        async with store_at(url, key_filename="/nowhere/key") as store:
            with pytest.raises(StoreDeniedError, match="cannot read /nowhere/key"):
                await store.probe()


# --- S3: odd keys, many keys, credentials ------------------------------------------------------


@pytest.fixture(scope="module", params=[moto, seaweed])
def s3(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Server]:
    make: Callable[[Path], Any] = request.param
    with make(tmp_path_factory.mktemp("s3")) as server:
        server.client.create_bucket(Bucket="keys")
        yield server


async def test_keys_that_are_no_names_are_counted_and_harm_nothing(s3: S3Server) -> None:
    rewrites = "x//double" not in stored(s3, "x//double", "probe")  # as SeaweedFS does
    for key in ["odd/dir/", "odd/a", "odd/a/b", "odd/ok", "odd/a+b"]:
        s3.client.put_object(Bucket="keys", Key=key, Body=b"" if key.endswith("/") else b"x")
    if not rewrites:
        for key in ["odd//double", "odd/./dot", "odd/../up", "odd/" + "n" * 256]:
            s3.client.put_object(Bucket="keys", Key=key, Body=b"x")
    async with store_at("s3://keys/odd", **s3.options()) as store:
        entries, unreachable = await level(store, "", 1000)
        assert set(entries) >= {"dir/", "ok", "a+b", "a/"}
        assert set(entries) <= {"dir/", "ok", "a+b", "a/", "a"}
        assert unreachable == (0 if rewrites else 4)
        assert await level(store, "dir", 1000) == ({}, 0)
        both = await store.stat("a")
        assert both is not None and both.is_directory == ("a" not in entries)
        assert set((await level(store, "a", 1000))[0]) == {"a/b"}


async def test_names_that_the_library_refuses_are_written_and_read(s3: S3Server) -> None:
    async with store_at("s3://keys/controls", **s3.options()) as store:
        for name in ("tab\tx", "bell\a", "del\x7f", "plain"):
            info = await put(store, name, DATA)
            assert info.tag and name in (await level(store, "", 1000))[0]
            assert bytes(await store.read(name, 100, 1000, info.tag)) == DATA[100:1100]
            got = memoryview(bytearray(len(DATA)))
            await store.read_into(name, 0, got, info.tag, lambda _: None)
            assert got == DATA
            s3.client.put_object(Bucket="keys", Key=f"controls/{name}", Body=DATA[::-1])
            with pytest.raises(ObjectChangedError):
                await store.read(name, 0, 10, info.tag)
            with pytest.raises(ObjectChangedError):
                await store.read(name, 0, len(DATA) + 1)
            await store.delete(name)
            with pytest.raises(ObjectMissingError):
                await store.read(name, 0, 10)


def stored(s3: S3Server, key: str, prefix: str) -> list[str]:
    s3.client.put_object(Bucket="keys", Key=f"{prefix}/{key}", Body=b"x")
    found = s3.client.list_objects_v2(Bucket="keys", Prefix=prefix)["Contents"]
    return [each["Key"].removeprefix(f"{prefix}/") for each in found]


async def test_wrong_keys_are_denied_and_no_secret_is_told(
    s3: S3Server, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    s3.client.put_object(Bucket="keys", Key="kept/x", Body=b"content")
    checks = "seaweed" in str(s3.server._log)
    told = []
    file = tmp_path / "credentials"
    file.write_text(
        f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = wrong-{SECRET}\n"
    )
    options = {key: value for key, value in s3.options().items() if key in ("endpoint", "region")}
    async with store_at("s3://keys/kept", credentials=str(file), **options) as store:
        if checks:
            for attempt in (
                store.probe,
                lambda: store.read("x", 0, 7),
                lambda: put(store, "y", b"z"),
            ):
                with pytest.raises(StoreDeniedError) as raised:
                    await attempt()
                told.append(f"{raised.value!r} {raised.value}")
        # The file is rewritten: the next request finds it, without a new mount.
        file.write_text(f"[default]\naws_access_key_id={KEY}\naws_secret_access_key={SECRET}\n")
        assert bytes(await store.read("x", 0, 7)) == b"content"
        await store.probe()
        file.unlink()
        told.append(repr(vars(store)))
    with pytest.raises(MemfsError) as missing:
        await opened("s3://keys", credentials=str(file), **options).probe()
    told += [str(missing.value), caplog.text]
    assert not any(SECRET in text for text in told)


async def test_a_store_that_is_down_for_a_while_is_waited_for(tmp_path: Path) -> None:
    with moto(tmp_path) as s3:
        s3.client.create_bucket(Bucket="keys")
        with Proxy(parse_endpoint(s3.endpoint.removeprefix("http://"))) as front:
            options = s3.options() | {"endpoint": f"http://{front.endpoint}", "timeout": "60s"}
            async with store_at("s3://keys", **options) as store:
                await put(store, "before", b"x")
                front.link.refusing = True
                front.cut()
                pending = asyncio.create_task(put(store, "after", b"y"))
                while front.refused < 3:
                    assert not pending.done()
                    await asyncio.sleep(0.01)
                front.heal()
                assert (await pending).size == 1
                assert bytes(await store.read("before", 0, 1)) == b"x"


# --- a bucket that does not exist --------------------------------------------------------------


def cloud(server: S3Server, bucket: str) -> Store:
    """What gs: and azblob: share, over an S3 server."""
    opened = library().store.S3Store(
        bucket,
        endpoint=server.endpoint,
        client_options=client_options(server.endpoint),
        access_key_id=KEY,
        secret_access_key=SECRET,
        region=REGION,
    )
    return CloudStore(lambda: opened, "p/", Retry(random.Random(1), 10.0))


OPERATIONS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "probe": lambda store: store.probe(),
    "stat": lambda store: store.stat("x"),
    "list": lambda store: store.list("d"),
    "read": lambda store: store.read("x", 0, 1),
    "read of a version": lambda store: store.read("x", 0, 1, b'"e"'),
    "put": lambda store: put(store, "x", b"y"),
    "put of what is new": lambda store: put(store, "x", b"y", ABSENT),
    "put of a version": lambda store: put(store, "x", b"y", b'"e"'),
    "put in parts": lambda store: put(store, "x", bytes(17 << 20), ABSENT),
    "delete": lambda store: store.delete("x"),
    "delete of a version": lambda store: store.delete("x", b'"e"'),
    "make_directory": lambda store: store.make_directory("d"),
    "remove_directory": lambda store: store.remove_directory("d"),
    "sweep": lambda store: store.sweep(0),
}
ASK_NO_CLOUD = ("make_directory", "sweep")
"""Which have nothing to do there."""
ASK_NOTHING = {
    "gs": ASK_NO_CLOUD,
    "azblob": ASK_NO_CLOUD,
    "http": ("sweep",),
    # fsspec's takes a refusal of a question for a file that is not there
    "fsspec": tuple(name for name in OPERATIONS if not name.startswith("read")),
}
"""Which are no questions to the kinds of stores."""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server that makes no bucket by itself, as SeaweedFS does."""
    with moto(tmp_path_factory.mktemp("strict")) as server:
        yield server


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        *[("s3", asked) for asked in OPERATIONS],
        *[("cloud", asked) for asked in OPERATIONS if asked not in ASK_NO_CLOUD],
    ],
)
async def test_a_bucket_that_does_not_exist_is_said_whatever_is_asked(
    strict: S3Server, kind: str, asked: str
) -> None:
    options = strict.options()
    store = opened("s3://none/p", **options) if kind == "s3" else cloud(strict, "none")
    try:
        with pytest.raises(StoreMissingError, match="no such bucket"):
            await OPERATIONS[asked](store)
    finally:
        await store.close()


async def test_a_bucket_that_goes_and_comes_again(strict: S3Server) -> None:
    strict.client.create_bucket(Bucket="going")
    async with store_at("s3://going", **strict.options()) as store:
        info = await put(store, "x", b"content")
        strict.client.delete_object(Bucket="going", Key="x")
        with pytest.raises(ObjectMissingError):
            await store.read("x", 0, 7, info.tag)
        strict.client.delete_bucket(Bucket="going")
        with pytest.raises(StoreMissingError):
            await store.read("x", 0, 7, info.tag)
        with pytest.raises(StoreMissingError):
            await put(store, "x", b"content", info.tag)
        strict.client.create_bucket(Bucket="going")
        assert await store.stat("x") is None
        await put(store, "x", b"again", ABSENT)
