"""``memfs rm`` of many operands beside coreutils: what goes, what is said, in which order."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
from cli_cluster import Cluster, Command

import memfs
from memfs import limits

FILES = 3 * limits.FILES_PER_COMMAND


@pytest.fixture
def top(cluster: Cluster, tmp_path: Path) -> Path:
    """A tree that lies under the same path here and in the cluster."""
    top = tmp_path / "top"
    for directory in ("d/deep", "empty", "full"):
        (top / directory).mkdir(parents=True)
    for name in ("a", "b", "d/x", "d/deep/y", "full/z", *(f"n{n:03}" for n in range(FILES))):
        (top / name).write_bytes(b"1")
    (top / "link").symlink_to("d")
    (top / "dangling").symlink_to("nowhere")
    with memfs.connect(cluster.url) as fs:
        fs.makedirs(str(tmp_path), exist_ok=True)
        fs.put(top, str(top), preserve=True)
    return top


MANY = [f"n{number:03}" for number in range(FILES)]


@pytest.mark.parametrize("flags", ["", "-v", "-rf", "-d"])
@pytest.mark.parametrize(
    "operands",
    [
        ["a", "missing", "b", "d", "a", "dangling"],
        ["d/x", "d/deep/y", "d/deep", "d", "d/x"],
        ["d", "d/x", "a"],
        ["full", "full/z", "full"],
        ["a/", "a/below", "empty/", "empty", "b"],
        ["link", *MANY, "link/x", "link/deep"],
        ["link/x", *MANY, "link", "d"],
        [*MANY, "full", *reversed(MANY), "a"],
    ],
    ids=lambda operands: f"{operands[0]}-{len(operands)}".replace("/", "_"),
)
def test_many_operands(
    cli: Command, cluster: Cluster, top: Path, flags: str, operands: list[str]
) -> None:
    paths = [f"{top}/{name}" for name in operands]
    theirs = subprocess.run(
        ["rm", *flags.split(), *paths], capture_output=True, text=True, check=False
    )
    ours = cli("rm", *flags.split(), *paths)
    assert ours.status == theirs.returncode
    assert ours.err == theirs.stderr.replace("rm: ", "memfs: ")
    if flags == "-v":
        assert ours.out == theirs.stdout
    with memfs.connect(cluster.url) as fs:
        left = sorted(path.removeprefix(str(top)) for path in _names(fs, str(top)))
    assert left == sorted(str(path).removeprefix(str(top)) for path in top.rglob("*"))


@pytest.mark.parametrize("flags", ["", "-v", "-rf"])
def test_operands_that_end_in_dots(cli: Command, top: Path, flags: str) -> None:
    command = ["rm", *flags.split(), *(f"{top}/{name}" for name in ("d/.", "a", "empty/..", "b"))]
    theirs = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = cli(*command)
    assert (ours.status, ours.err) == (
        theirs.returncode,
        theirs.stderr.replace("rm: ", "memfs: "),
    )


def _names(fs: memfs.FileSystem, top: str) -> list[str]:
    return [
        f"{where}/{name}" for where, folders, files in fs.walk(top) for name in [*folders, *files]
    ]


def test_files_go_some_tens_a_command(cli: Command, cluster: Cluster, top: Path) -> None:
    before = _unlinks(cluster)
    cli.ok("rm", *(f"{top}/{name}" for name in MANY))
    assert _unlinks(cluster) - before == FILES // limits.FILES_PER_COMMAND


def _unlinks(cluster: Cluster) -> int:
    """Commands so far that took names away, by the count of each node."""
    total = 0
    for node in range(len(cluster.nodes())):
        address = f"http://127.0.0.1:{cluster.port + node + 1000}/metrics"
        with urllib.request.urlopen(address) as answer:
            counts = re.findall(r'operations_total\{.*"Unlink.*\} (\S+)', answer.read().decode())
        total += sum(map(int, map(float, counts)))
    return total
