"""``tfrecords.py ROUNDS DIRECTORY MIB``, with MEMFS_URL: reading records, in megabytes a second."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

import memfs.tensorflow  # noqa: F401  # registers memfs://
from benchmarks.harness import Stopwatch, alternate

RECORDS = {"64 KiB": 64 << 10, "1 MiB": 1 << 20}


def write(url: str, record: int, size: int) -> None:
    """One file, as TensorFlow writes it."""
    noise = random.Random(record).randbytes(record)
    with tf.io.TFRecordWriter(url) as writer:
        for _ in range(size // record):
            writer.write(noise)


def reading(url: str, size: int) -> Callable[[], float]:
    """A contender: goes through the file."""

    def rate() -> float:
        with Stopwatch() as watch:
            lengths = tf.data.TFRecordDataset(url).map(tf.strings.length)
            total = lengths.reduce(tf.constant(0), lambda before, each: before + each)
        assert int(total) == size
        return size / watch.seconds / 1e6

    return rate


def main(rounds: int, directory: Path, mebibytes: int) -> None:
    """Print the medians."""
    size = mebibytes << 20
    contenders: dict[str, Callable[[], float]] = {}
    for name, record in RECORDS.items():
        ours, theirs = f"memfs:///{record}.tfrecord", f"{directory}/{record}.tfrecord"
        for url in (ours, theirs):
            write(url, record, size)
        contenders |= {name: reading(ours, size), f"{name} on tmpfs": reading(theirs, size)}
    print(json.dumps(alternate(contenders, rounds)))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
