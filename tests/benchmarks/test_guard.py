"""What ends a benchmark ends its nodes, its mounts and what else it has started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.guard import mounts_below, processes_of
from tests.support.mounts import need_mounts
from tests.support.patience import PATIENCE_SECONDS

RUN = """
import time
from pathlib import Path
from contextlib import ExitStack
from benchmarks import cluster
from benchmarks.guard import guarded
from benchmarks.mount import pass_through
from tests.support.mounts import mounted
import tempfile

with guarded() as directory, ExitStack() as stack:
    url = stack.enter_context(cluster.cluster(1))
    top = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    stack.enter_context(mounted(url, top))
    (top / "peer").mkdir()
    stack.enter_context(pass_through(top, top / "peer"))
    print(directory, flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize(
    "ending",
    [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL],
    ids=lambda each: each.name,
)
def test_nothing_outlives_a_benchmark(ending: signal.Signals) -> None:
    need_mounts()
    with subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        directory = Path(run.stdout.readline().strip())
        assert directory.is_dir()
        held = [process for process in processes_of(directory) if process != run.pid]
        assert len(held) >= 4, "a node, bindfs, a keeper and a worker"
        assert len(mounts_below(directory)) == 2
        run.send_signal(ending)
        assert run.wait(PATIENCE_SECONDS) != 0
    until = time.monotonic() + PATIENCE_SECONDS
    while (
        processes_of(directory) or mounts_below(directory) or directory.exists()
    ) and time.monotonic() < until:
        time.sleep(0.05)
    left = processes_of(directory)
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert (left, mounts_below(directory), directory.exists()) == ([], [], False)
