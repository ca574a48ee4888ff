"""``fsspec_cat.py ROUNDS URL DIRECTORY ENDPOINT/BUCKET FILES``: ``cat``, in files a second."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import fsspec

from benchmarks.harness import Stopwatch, alternate

BYTES = 4096


def cat(fs: Any, top: str, files: int) -> Callable[[], float]:
    """A contender; its files are made."""
    contents = {f"{top}/{number:04}": bytes([number % 256]) * BYTES for number in range(files)}
    fs.makedirs(top, exist_ok=True)
    for name, content in contents.items():
        fs.pipe_file(name, content)
    names = list(contents)

    def rate() -> float:
        with Stopwatch() as watch:
            found = fs.cat(names)
        assert found == contents
        return files / watch.seconds

    return rate


def main(rounds: int, url: str, directory: str, bucket: str, files: int) -> None:
    """Print the medians."""
    endpoint, _, name = bucket.rpartition("/")
    contenders = {
        "memfs": cat(fsspec.filesystem("memfs", url=url), "/small", files),
        "local": cat(fsspec.filesystem("file"), f"{directory}/small", files),
        "s3fs": cat(fsspec.filesystem("s3", endpoint_url=endpoint), f"{name}/small", files),
    }
    print(json.dumps(alternate(contenders, rounds)))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
