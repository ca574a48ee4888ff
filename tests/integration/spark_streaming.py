"""A stream of files for Spark, and the proof that each of them counts once."""

from __future__ import annotations

import time

from hadoop_served import Site
from spark_served import TOP, Spark

FILES = 8
LINES = 500
FILES_A_BATCH = 2
BATCHES = 2
"""Committed ones of each query before it is killed."""
QUERIES = ("rows", "sums")
WAIT_SECONDS = 300.0


class Feed:
    """Files of numbers for the streams at ``path``."""

    def __init__(self, served: Site, path: str) -> None:
        self.native = served.native
        self.path = path
        self.count = 0
        self.native.makedirs(f"{path}/in")

    def add(self, files: int) -> None:
        """So many more; each appears at once, with all of its numbers."""
        for _ in range(files):
            numbers = range(self.count, self.count + LINES)
            text = "".join(f"{number}\n" for number in numbers)
            self.native.write_bytes(f"{self.path}/in/{self.count:08}.txt", text.encode())
            self.count += LINES

    def batches(self, name: str) -> tuple[int, int]:
        """Of a query: how many were begun, how many committed."""
        begun, done = (
            self.native.glob(f"{self.path}/{name}.checkpoint/{kind}/[0-9]*")
            for kind in ("offsets", "commits")
        )
        return len(begun), len(done)

    def unread(self) -> int:
        """Files that the slower query has not begun with."""
        begun = min(self.batches(name)[0] for name in QUERIES)
        return self.count // LINES - begun * FILES_A_BATCH


def exactly_once(feed: Feed, first: Spark, second: Spark) -> None:
    """Kill ``first`` in the middle of a batch of its streams; ``second`` goes on with them."""
    feed.add(FILES)
    first.run("begin_streams", at=TOP + feed.path)
    deadline = time.monotonic() + WAIT_SECONDS
    while not _in_the_middle(feed):
        assert time.monotonic() < deadline, "no batch is seen in the middle"
        if feed.unread() < FILES // 2:
            feed.add(1)
        time.sleep(0.02)
    first.kill()
    feed.add(FILES)
    found = second.run("end_streams", at=TOP + feed.path)
    count = feed.count
    assert found["rows"] == [count, count, sum(range(count))]
    assert found["sums"] == [sum(range(k, count, 3)) for k in range(3)]


def _in_the_middle(feed: Feed) -> bool:
    """Have both queries committed batches, and has one begun another that is not?"""
    pairs = [feed.batches(name) for name in QUERIES]
    return all(done >= BATCHES for _, done in pairs) and any(b > done for b, done in pairs)
