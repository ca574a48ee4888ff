"""System calls on a mount come to what they come to on tmpfs, and to that when others intervene."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mount_calls
import pytest
from cli_cluster import Cluster

import memfs
from tests.support.mounts import Mounted, mounted, need_mounts, tmpfs
from tests.support.patience import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def here(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    need_mounts()
    with mounted(cluster.url, tmp_path_factory.mktemp("calls")) as found:
        yield found


@pytest.mark.parametrize("name", mount_calls.CASES)
def test_a_call_does_what_it_does_on_tmpfs(name: str, here: Mounted, tmp_path: Path) -> None:
    with tmpfs(tmp_path) as oracle:
        found, expected = (said(name, each / name) for each in (here.root, oracle))
    assert found.splitlines() == expected.splitlines()
    assert here.story() == ""


def said(name: str, directory: Path) -> str:
    directory.mkdir()
    done = subprocess.run(
        [sys.executable, "-IS", mount_calls.__file__, name, str(directory)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return re.sub(re.escape(str(directory)), "HERE", done.stdout)


def test_what_another_client_has_deleted_gets_no_further_name(
    here: Mounted, cluster: Cluster
) -> None:
    """As when this host has deleted it; a path that leads to another file by now is followed."""
    path = here.root / "linked"
    path.write_bytes(b"old")
    with memfs.connect(cluster.url) as fs, path.open("rb") as file:
        fs.remove("/linked")
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                mount_calls.link(f"/proc/self/fd/{file.fileno()}", here.root / "back")
        with pytest.raises(FileNotFoundError):
            os.link(path, here.root / "back")
        fs.write_bytes("/linked", b"new")
        os.link(path, here.root / "back")
        assert (here.root / "back").read_bytes() == b"new"


def test_a_directory_that_is_open_stays_itself_when_the_worker_is_replaced(
    cluster: Cluster, tmp_path: Path
) -> None:
    """What the next worker opens is told from it, whatever it is called."""
    with mounted(cluster.url, tmp_path) as here:
        directories = [here.root / "replaced" / name for name in ("first", "second")]
        for directory in directories:
            directory.mkdir(parents=True)
            (directory / directory.name).touch()
        first = os.open(directories[0], os.O_RDONLY)
        (worker,) = here.processes("work")
        os.kill(worker, signal.SIGKILL)
        seconds = [os.open(directories[1], os.O_RDONLY) for _ in range(20)]
        assert os.listdir(first) == ["first"]
        assert all(os.listdir(each) == ["second"] for each in seconds)
        for each in (first, *seconds):
            os.close(each)
