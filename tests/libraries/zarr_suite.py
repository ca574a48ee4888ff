"""zarr's own suite for its stores, over a directory of memfs."""

from __future__ import annotations

import uuid
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
from zarr.core.buffer import Buffer, cpu
from zarr.storage import FsspecStore
from zarr.testing.store import StoreTests


class TestStore(StoreTests[FsspecStore, cpu.Buffer]):
    store_cls = FsspecStore
    buffer_cls = cpu.Buffer

    @pytest.fixture
    def store_kwargs(self) -> dict[str, Any]:
        url = f"memfs:///zarr/{uuid.uuid4().hex}"
        fs, path = fsspec.url_to_fs(url, asynchronous=True)
        return {"fs": fs, "path": path}

    @pytest.fixture
    async def store(self, store_kwargs: dict[str, Any]) -> FsspecStore:
        return self.store_cls(**store_kwargs)

    async def get(self, store: FsspecStore, key: str) -> Buffer:
        return self.buffer_cls.from_bytes(fsspec.filesystem("memfs").cat(f"{store.path}/{key}"))

    async def set(self, store: FsspecStore, key: str, value: Buffer) -> None:
        fsspec.filesystem("memfs").write_bytes(f"{store.path}/{key}", value.to_bytes())

    def test_store_repr(self, store: FsspecStore) -> None:
        assert str(store) == f"<FsspecStore(MemfsFileSystem, {store.path})>"

    def test_store_supports_writes(self, store: FsspecStore) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: FsspecStore) -> None:
        assert store.supports_listing

    async def test_what_is_absent_is_empty(self, store_kwargs: dict[str, Any]) -> None:
        store = await self.store_cls.open(fs=store_kwargs["fs"], path=store_kwargs["path"] + "/abc")
        assert await store.is_empty("")


@pytest.mark.parametrize("asynchronous", [True, False])
def test_arrays_in_a_mapping(asynchronous: bool) -> None:
    fs = fsspec.filesystem("memfs", asynchronous=asynchronous)
    store = fs.get_mapper(f"memfs:///zarr/{uuid.uuid4().hex}")
    zarr.create_array(store=store, data=np.ones((3, 3)))
    assert (zarr.open_array(store=store)[:] == 1).all()
