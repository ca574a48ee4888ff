"""The last PySpark of the 3.5 series against memfs: committers, streams and its event log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hadoop_served import Site, site
from spark_served import TOP, session
from spark_streaming import Feed, exactly_once

from tests.support.hadoop import OLDER

pytestmark = [pytest.mark.alone, pytest.mark.nightly, pytest.mark.timeout(900)]

ROWS = 20_000
UNCACHED = {"spark.hadoop.fs.webhdfs.impl.disable.cache": "true"}
"""A new client of the gateway for every task and every look."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("nodes")) as served:
        yield served


def test_a_stream_and_jobs(served: Site, tmp_path: Path) -> None:
    """One session is killed, another goes on and ends in good order: its log is whole."""
    with (
        session(served, tmp_path / "first", OLDER) as first,
        session(served, tmp_path / "second", OLDER, UNCACHED) as second,
    ):
        exactly_once(Feed(served, "/stream"), first, second)
        names = ["parquet", "orc"]
        found = second.run("formats", at=f"{TOP}/formats", rows=ROWS, names=names)
        assert found == {name: [ROWS, ROWS * (ROWS - 1) // 2] for name in names}
        found = second.run("commits", at=f"{TOP}/commits", rows=ROWS)
        assert found == {"1": 2 * ROWS, "2": 2 * ROWS}
        unfinished = served.native.listdir("/events")
    (log,) = [name for name in served.native.listdir("/events") if name not in unfinished]
    lines = served.native.read_bytes(f"/events/{log}").splitlines()
    events = [json.loads(line)["Event"] for line in lines]
    assert events[0] == "SparkListenerLogStart" and events[-1] == "SparkListenerApplicationEnd"
