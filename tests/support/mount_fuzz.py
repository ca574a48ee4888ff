"""Random operations on mounts for minutes, seed after seed, while processes are killed.

    python -m tests.support.mount_fuzz --minutes 10 --seed 7

Three nodes, two mounts of one directory, a tmpfs that says what is right. In every second seed
nodes and the mounts' workers are killed and come back: what a program sees must not differ.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from memfs.testing.processes import Processes
from tests.support.mount_random import Comparison, Difference
from tests.support.mounts import Mounted, mounted, tmpfs

STEPS = 2000
STEPS_BETWEEN_FAULTS = 400
SETTLE_SECONDS = 60.0


class Faults:
    """Kills a node or a worker now and then, and brings it back."""

    def __init__(self, seed: int, cluster: Processes, mounts: list[Mounted]) -> None:
        self._random = random.Random(f"faults {seed}")
        self._cluster = cluster
        self._mounts = mounts
        self._down: int | None = None

    def strike(self) -> str:
        """One fault, or the end of one; says which."""
        if self._down is not None:
            return self.heal()
        if self._random.random() < 0.5:
            self._down = self._random.randrange(1, len(self._cluster.nodes))
            self._cluster.nodes[self._down].kill()
            return f"{self._cluster.nodes[self._down].name} killed"
        here = self._random.choice(self._mounts)
        for process in here.processes("work"):
            os.kill(process, signal.SIGKILL)
        return f"the worker of {here.root} killed"

    def heal(self) -> str:
        """Bring a node back that is down."""
        if self._down is None:
            return ""
        node = self._cluster.restart(self._down)
        node.wait_ready(time.monotonic() + SETTLE_SECONDS)
        self._down = None
        return f"{node.name} is back"


def run_seed(seed: int, cluster: Processes, mounts: list[Mounted], oracle: Path) -> None:
    """Raises Difference."""
    name = f"seed-{seed}"
    for root in (mounts[0].root, oracle):
        (root / name).mkdir()
    comparison = Comparison(seed, [each.root / name for each in mounts], oracle / name)
    faults = Faults(seed, cluster, mounts) if seed % 2 else None
    told = []
    for _ in range(0, STEPS, STEPS_BETWEEN_FAULTS):
        # What was neither flushed nor closed goes with a worker (docs/mount.md): a run closes its
        # files before the fault.
        comparison.run(STEPS_BETWEEN_FAULTS)
        if faults is not None:
            told.append(faults.strike())
    if faults is not None:
        told.append(faults.heal())
    said = "; ".join(filter(None, told)) or "no faults"
    print(f"seed {seed}: {STEPS} operations, {said}: no difference", flush=True)


def main() -> int:
    """0: no difference was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    with (
        tempfile.TemporaryDirectory(prefix="memfs-fuzz-") as directory,
        Processes(nodes=3) as cluster,
    ):
        first, second = Path(directory, "first"), Path(directory, "second")
        first.mkdir()
        second.mkdir()
        with (
            mounted(cluster.url, first) as one,
            mounted(cluster.url, second) as two,
            tmpfs(Path(directory)) as oracle,
        ):
            seed = given.seed
            while time.monotonic() < until:
                try:
                    run_seed(seed, cluster, [one, two], oracle)
                except Difference as difference:
                    print(f"seed {seed}:\n{difference}", file=sys.stderr)
                    print(one.story() + two.story() + cluster.story(), file=sys.stderr)
                    return 1
                seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
