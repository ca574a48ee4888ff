"""Order, prefetching and formats of ``memfs.integrations.training``."""

from __future__ import annotations

import asyncio
import io
import pickle
import tarfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from memfs.integrations.torch.dataset import FileDataset
from memfs.integrations.training import (
    EpochOrder,
    Prefetcher,
    position,
    samples,
    tfrecord,
    tfrecords,
)

ORDER = [[0, 1, 2, 4], [3, 5, 7, 6]]


def test_an_order_is_always_the_same() -> None:
    assert EpochOrder(5, 2, seed=None).batches(3) == [[0, 1], [2, 3], [4]]
    assert EpochOrder(8, 4, seed=7).batches(1) == ORDER
    assert EpochOrder(8, 4, seed=7).batches(2) != ORDER


@pytest.mark.parametrize("size", [0, 1, 2, 7, 24, 25])
@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_share_an_epoch(size: int, drop_last: bool) -> None:
    ranks = [EpochOrder(size, 3, 1, rank, 4, drop_last).batches(0) for rank in range(4)]
    counts = {tuple(map(len, batches)) for batches in ranks}
    seen = [item for batches in ranks for batch in batches for item in batch]
    assert len(counts) == 1
    assert all(
        len(batches) == EpochOrder(size, 3, 1, 0, 4, drop_last).batch_count for batches in ranks
    )
    if drop_last:
        assert len(set(seen)) == len(seen) == size - size % 12
    else:
        assert set(seen) == set(range(size)) and len(seen) - size < 4


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"world_size": 0}, {"rank": 1}, {"rank": -1}, {"size": -1}]
)
def test_wrong_orders(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        EpochOrder(**{"size": 1, "batch_size": 1} | wrong)


class FakeFiles:
    """What a prefetcher uses of a file system: ``read_many`` on a loop of another thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.missing: set[str] = set()
        self.asynchronous = self
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    async def read_many(self, paths: Sequence[str]) -> list[bytes]:
        if self.missing & set(paths):
            raise FileNotFoundError(*self.missing)
        return [path.encode() for path in paths]

    def prefetcher(self, count: int, ahead: int = 2) -> Any:
        fs: Any = self
        paths = [f"/{number}" for number in range(count)]
        return Prefetcher(fs, paths, EpochOrder(count, 2, seed=None), ahead=ahead)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def files() -> Iterator[FakeFiles]:
    files = FakeFiles()
    yield files
    files.close()


def test_epochs_follow_each_other(files: FakeFiles) -> None:
    prefetcher = files.prefetcher(5)
    for epoch in range(2):
        assert prefetcher.state_dict()["epoch"] == epoch
        assert [batch.contents for batch in prefetcher] == [[b"/0", b"/1"], [b"/2", b"/3"], [b"/4"]]


def test_it_goes_on_in_the_middle(files: FakeFiles) -> None:
    first, second = files.prefetcher(6), files.prefetcher(6)
    going = iter(first)
    next(going)
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    going.close()
    assert [batch.items for batch in second] == [batch.items for batch in first] == [[2, 3], [4, 5]]
    with pytest.raises(ValueError, match="another order"):
        files.prefetcher(8).load_state_dict(first.state_dict())
    for wrong in ({"position": -1}, {"position": 4}, {"position": "1"}, {"epoch": -1}):
        with pytest.raises(ValueError, match=r"position|batch"):
            second.load_state_dict(first.state_dict() | wrong)
    with pytest.raises(ValueError, match="an epoch and a position"):
        second.load_state_dict({})
    second.load_state_dict({"epoch": 0, "position": 3})
    assert list(second) == [] and len(list(second)) == 3, "the end, then the next epoch"


def test_what_one_rank_saved_serves_all() -> None:
    one, two = EpochOrder(9, 2, 7, 0, 2), EpochOrder(9, 2, 7, 1, 2)
    assert position.found(position.noted(one, 3, 1), two) == (3, 1)
    with pytest.raises(ValueError, match="another order"):
        position.found(position.noted(one, 3, 1), EpochOrder(9, 2, 7, 0, 3))


def test_an_error_is_raised_at_its_batch(files: FakeFiles) -> None:
    files.missing = {"/3"}
    prefetcher = files.prefetcher(6, ahead=3)
    going = iter(prefetcher)
    assert next(going).items == [0, 1]
    with pytest.raises(FileNotFoundError):
        next(going)
    files.missing = set()
    assert [batch.items for batch in prefetcher] == [[2, 3], [4, 5]]


def test_datasets_ask_for_files_or_for_parts() -> None:
    class Files:
        def read_many(self, paths: Sequence[str]) -> list[bytes]:
            return [path.encode() for path in paths]

        def map_many(self, paths: Sequence[str]) -> list[memoryview]:
            return [memoryview(path.encode()) for path in paths]

        def read_ranges(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes]:
            return [path.encode()[start:stop] for path, start, stop in ranges]

    fs: Any = Files()
    assert FileDataset(fs, ["/a", "/b", "/c"]).__getitems__([2, 0]) == [b"/c", b"/a"]
    (view,) = FileDataset(fs, ["/a"], lambda _, data: data).__getitems__([0])
    assert isinstance(view, memoryview) and bytes(view) == b"/a"
    parts = FileDataset(fs, [("/abc", 1, 3), ("/abc", 0, 1)], lambda item, data: (item[1], data))
    assert (len(parts), parts[0], parts.__getitems__([])) == (2, (1, b"ab"), [])


def test_records() -> None:
    file = tfrecord(b"one") + tfrecord(b"") + tfrecord(b"three")
    assert [bytes(each) for each in tfrecords(file)] == [b"one", b"", b"three"]
    for cut in range(1, len(tfrecord(b"one"))):
        with pytest.raises(ValueError, match="at byte 0 is cut off"):
            list(tfrecords(file[:cut]))
    for at in range(len(tfrecord(b"one"))):
        damaged = bytearray(file)
        damaged[at] ^= 1
        with pytest.raises(ValueError, match="damaged"):
            list(tfrecords(damaged))


def test_shards() -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name in ("a/1.jpg", "a/1.cls", "a/" + "2" * 200 + ".seg.png", "README"):
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    shard = target.getvalue()
    found = [
        (key, {kind: bytes(part) for kind, part in each.items()}) for key, each in samples(shard)
    ]
    long = "a/" + "2" * 200
    assert found == [
        ("a/1", {"jpg": b"a/1.jpg", "cls": b"a/1.cls"}),
        (long, {"seg.png": f"{long}.seg.png".encode()}),
    ]
    with pytest.raises(ValueError, match="shard"):
        list(samples(shard[:515]))
    with pytest.raises(ValueError, match="shard"):
        list(samples(b"x" * 1024))


def shard_of(*members: tuple[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def test_shards_that_lack_something() -> None:
    """A header that cannot be read is no end: what comes behind it would be lost unnoticed."""
    whole = shard_of(("1.bin", b"a" * 700), ("2.bin", b"b"), ("3.bin", b"c"))
    second = 3 * tarfile.BLOCKSIZE
    for cut in (second + 1, second + 100, second + 511):
        with pytest.raises(ValueError, match=f"cut off at byte {second}"):
            list(samples(whole[:cut]))
    for at in range(tarfile.BLOCKSIZE):
        if whole[second + at] and at != 155:  # the space that ends the checksum means nothing
            damaged = bytearray(whole)
            damaged[second + at] ^= 0x55
            with pytest.raises(ValueError, match="shard"):
                list(samples(damaged))
    assert len(list(samples(whole[: second + 2 * tarfile.BLOCKSIZE]))) == 2, "without an end mark"


def test_shards_with_odd_names() -> None:
    shard = shard_of(("._1.jpg", b"x"), ("1.jpg", b"a"), (".hidden", b"x"), ("d.x/1.cls", b"b"))
    assert [(name, list(parts)) for name, parts in samples(shard)] == [
        ("1", ["jpg"]),
        ("d.x/1", ["cls"]),
    ]
    with pytest.raises(ValueError, match=r"1\.jpg is in the shard twice"):
        list(samples(shard_of(("1.jpg", b"a"), ("1.jpg", b"b"))))
