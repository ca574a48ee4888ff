"""``checkpoint.py ROUNDS URL DIRECTORY MIB``: save and load, in megabytes a second."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import memfs
from benchmarks.harness import Stopwatch, alternate
from memfs.torch import load, save

TENSORS = 16


def main(rounds: int, url: str, directory: Path, mebibytes: int) -> None:
    """Print the medians."""
    size = mebibytes << 20
    state = {f"layer{n}": torch.rand(size // TENSORS // 4) for n in range(TENSORS)}
    local = directory / "checkpoint.pt"

    def rate(work: Callable[[], object]) -> Callable[[], float]:
        def measured() -> float:
            with Stopwatch() as watch:
                work()
            return size / watch.seconds / 1e6

        return measured

    with memfs.connect(url, replication=1) as fs:
        found = alternate(
            {
                "save": rate(lambda: save(fs, state, "/checkpoint.pt")),
                "save on tmpfs": rate(lambda: torch.save(state, local)),
                "load": rate(lambda: load(fs, "/checkpoint.pt")),
                "load on tmpfs": rate(lambda: torch.load(local)),
            },
            rounds,
        )
        loaded = load(fs, "/checkpoint.pt")
    assert all(torch.equal(loaded[name], each) for name, each in state.items())
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
