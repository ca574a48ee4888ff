"""Every example runs as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memfs.testing.processes import Processes
from tests.support.patience import PATIENCE_SECONDS

DIRECTORY = Path(__file__).parents[2] / "examples"
EXPECTED = {
    "copy_async.py": "equal: True",
    "hello.py": "Hello, world!",
    "log.py": "read: event 2",
    "tree.py": "['inner', 'notes.md']",
    "zero_copy.py": "[0. 1. 2. 3. 4.] mean",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Processes(nodes=3, replication=2) as cluster:
        yield cluster.url


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_example(name: str, url: str) -> None:
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", str(DIRECTORY / name)],
            env={**os.environ, "MEMFS_URL": url},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert EXPECTED[name] in done.stdout
        # asyncio's development mode tells of steps that took long: that is the machine's business
        assert not [
            line for line in done.stderr.splitlines() if not line.startswith("Executing <")
        ], done.stderr
