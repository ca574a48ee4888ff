"""Prefetching for a training loop from real nodes, in this process and in others."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any

import pytest

import memfs
from memfs.integrations.training import EpochOrder, Prefetcher
from memfs.testing.processes import Processes

PATHS = [f"/images/{number}" for number in range(40)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    with Processes(nodes=3, replication=2, memory="256MiB") as cluster:
        with memfs.connect(cluster.url) as fs:
            fs.write_many({path: path.encode() for path in PATHS}, parents=True)
        yield cluster


def rest(prefetcher: Any) -> list[bytes]:
    return [content for batch in prefetcher for content in batch.contents]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_go_on_where_their_parent_was(method: str, cluster: Processes) -> None:
    with memfs.connect(cluster.url) as fs:
        prefetcher = Prefetcher(fs, PATHS, EpochOrder(len(PATHS), 4))
        going = iter(prefetcher)
        begun = next(going).contents
        with multiprocessing.get_context(method).Pool(1) as pool:
            theirs = pool.apply(rest, (prefetcher,))
        ours = rest(going)
    assert theirs == ours
    assert sorted(begun + ours) == sorted(path.encode() for path in PATHS)
