"""Stores that fail, lie or refuse: what is read is right or an error, and no secret is told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memfs.errors import (
    MemfsError,
    ObjectChangedError,
    ObjectMissingError,
    StoreDeniedError,
    StoreUnreachableError,
    StoreUnsupportedError,
)
from memfs.stores.interface import Store
from memfs.stores.opening import open_store
from memfs.testing.ports import free_port
from memfs.transport.environment import production_environment
from tests.support.stores.model import level, put
from tests.support.stores.s3_servers import KEY, SECRET, S3Server, moto, s3_client, seaweed
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
        server.faults("no-range")
        with pytest.raises(StoreUnsupportedError, match="ranges"):
            await store.read("d/data", 5, 10)
        server.faults(*["503"] * 100)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await store.read("d/data", 0, 10)
        server.faults()
        with pytest.raises(ObjectChangedError):
            await store.read("d/data", len(DATA), 10)
        with pytest.raises(ObjectMissingError):
            await store.read("d/none", 0, 10)


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
        async with store_at("s3://keys", **s3.options(timeout="20s")) as store:
            await put(store, "before", b"x")
            s3.server.stop()
            pending = asyncio.create_task(put(store, "after", b"y"))
            await asyncio.sleep(1)
            assert not pending.done()
            await asyncio.to_thread(s3.server.start)
            await asyncio.to_thread(s3_client(s3.endpoint).create_bucket, Bucket="keys")
            with contextlib.suppress(
                ObjectMissingError
            ):  # it was asked before the bucket was there
                await pending
            assert (await put(store, "after", b"y")).size == 1
