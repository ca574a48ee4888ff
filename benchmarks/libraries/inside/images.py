"""``images.py ROUNDS URL PORT DIRECTORY FILES``: epochs of loaders, in files a second."""

from __future__ import annotations

import functools
import io
import json
import os
import random
import shutil
import sys
import tarfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import redis
import torch
import webdataset
from torch.utils.data import DataLoader

import memfs
from benchmarks.harness import Stopwatch, alternate
from memfs.torch import FileDataset, FileStream, StreamLoader

SMALLEST, LARGEST = 4096, 150 * 1024
BATCH, WORKERS = 64, 2
SHARD_FILES = 1000
AT_ONCE = 100
"""Files that are put by one call."""
SEED = 5


def images(files: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of each."""
    dice = random.Random(SEED)
    noise = dice.randbytes(LARGEST + files)
    for number in range(files):
        yield f"{number:06}.jpg", noise[number : number + dice.randint(SMALLEST, LARGEST)]


def image(content: bytes | memoryview) -> torch.Tensor:
    """What stands for decoding."""
    return torch.frombuffer(content, dtype=torch.uint8, count=SMALLEST)


class Files(torch.utils.data.Dataset):  # type: ignore[misc]  # torch is not there for mypy
    """Local files, read one by one."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> torch.Tensor:
        with open(self._names[number], "rb", buffering=0) as file:  # noqa: PTH123  # the fastest
            return image(file.read())


class Values(torch.utils.data.Dataset):  # type: ignore[misc]
    """Values of Redis, a batch with one request."""

    def __init__(self, port: int, names: Sequence[str]) -> None:
        self._port = port
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    @functools.cached_property
    def _client(self) -> redis.Redis:
        return redis.Redis("127.0.0.1", self._port)

    def __getitems__(self, numbers: Sequence[int]) -> list[torch.Tensor]:
        found: Any = self._client.mget([self._names[number] for number in numbers])
        return [image(content) for content in found]


def shuffled(dataset: Any) -> Any:
    """The usual loader of it."""
    return DataLoader(
        dataset,
        BATCH,
        shuffle=True,
        num_workers=WORKERS,
        persistent_workers=True,
        collate_fn=torch.stack,
    )


def stream(fs: memfs.FileSystem, names: Sequence[str]) -> Any:
    """The loader that knows the order."""
    return StreamLoader(
        FileStream(fs, names, BATCH, decode=decoded),
        num_workers=WORKERS,
        persistent_workers=True,
        collate_fn=torch.stack,
    )


def decoded(_: str, content: memoryview) -> torch.Tensor:
    """``image`` as memfs's datasets call it."""
    return image(content)


def shards(directory: Path) -> Any:
    """WebDataset: the shards in random order, and samples out of a buffer of 1000."""
    urls = sorted(map(str, directory.glob("*.tar")))
    dataset = (
        webdataset.WebDataset(urls, shardshuffle=len(urls), empty_check=False)
        .shuffle(1000)
        .map(lambda sample: image(sample["jpg"]))
        .batched(BATCH, collation_fn=torch.stack)
    )
    return DataLoader(dataset, None, num_workers=WORKERS, persistent_workers=True)


def epoch(loader: Any, files: int) -> Callable[[], float]:
    """A contender."""

    def rate() -> float:
        with Stopwatch() as watch:
            count = sum(len(batch) for batch in loader)
        assert count == files, f"{count} of {files}"
        return files / watch.seconds

    return rate


def put_local(directory: Path, files: int) -> None:
    """As files, and as shards."""
    for start in range(0, files, SHARD_FILES):
        os.makedirs(directory / f"{start:06}")  # noqa: PTH103
    archive: tarfile.TarFile | None = None
    for number, (name, content) in enumerate(images(files)):
        start = number - number % SHARD_FILES
        (directory / f"{start:06}" / name).write_bytes(content)
        if number == start:
            if archive is not None:
                archive.close()
            archive = tarfile.open(directory / f"{start:06}.tar", "w")  # noqa: SIM115
        assert archive is not None, "the first file begins a shard"
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    if archive is not None:
        archive.close()


def in_batches(files: int, put: Callable[[dict[str, bytes]], object]) -> list[str]:
    """Put all of them, some at a time; their names."""
    batch: dict[str, bytes] = {}
    names = []
    for name, content in images(files):
        batch[f"/images/{name}"] = content
        if len(batch) == AT_ONCE:
            put(batch)
            batch = {}
        names.append(f"/images/{name}")
    if batch:
        put(batch)
    return names


def main(rounds: int, url: str, port: int, directory: Path, files: int) -> None:
    """Print the medians."""
    warnings.filterwarnings("ignore", category=UserWarning)
    with memfs.connect(url, replication=1) as fs:
        fs.mkdir("/images")
        names = in_batches(files, fs.write_many)
        put_local(directory, files)
        found = alternate(
            {
                "stream": epoch(stream(fs, names), files),
                "dataset": epoch(shuffled(FileDataset(fs, names, decoded)), files),
                "files": epoch(shuffled(Files(sorted(map(str, directory.glob("*/*.jpg"))))), files),
                "shards": epoch(shards(directory), files),
            },
            rounds,
        )
        for each in directory.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    with (
        memfs.connect(url, local_descriptors=False) as remote,
        redis.Redis("127.0.0.1", port) as server,
    ):
        in_batches(files, server.mset)
        found |= alternate(
            {
                "over TCP": epoch(stream(remote, names), files),
                "redis": epoch(shuffled(Values(port, names)), files),
            },
            rounds,
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
