"""Commands on trees that are deep or wide."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_cluster import Cluster, Command, execute, start

import memfs
from memfs.limits import ENTRIES_PER_PAGE as PAGE

LEVELS = 300
FRAMES = 300
"""Of Python's stack: for these commands the tree is as a deeper one is for its usual stack."""
WIDE = 12_000


@pytest.fixture
def fs(cluster: Cluster) -> Iterator[memfs.FileSystem]:
    with memfs.connect(cluster.url) as fs:
        yield fs


@pytest.fixture
def shallow_stack() -> Iterator[None]:
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(FRAMES)
    yield
    sys.setrecursionlimit(usual)


def test_trees_deeper_than_the_stack_of_python(
    cli: Command, fs: memfs.FileSystem, tmp_path: Path, shallow_stack: None
) -> None:
    top = "/deep"
    deepest = top + "/d" * (LEVELS - 1)
    fs.makedirs(deepest)
    fs.write_bytes(f"{deepest}/file", b"content")
    assert cli.ok("tree", top)[-1] == f"{LEVELS - 1} directories, 1 file"
    assert cli.ok("ls", "-R", top)[-2:] == [f"{deepest}:", "file"]
    shown = cli.ok("du", top)
    assert (len(shown), shown[0], shown[-1]) == (LEVELS, f"7\t{deepest}", f"7\t{top}")
    assert cli.ok("find", top, "-type", "f") == [f"{deepest}/file"]
    assert cli.ok("ls", "/deep/**/file") == [f"{deepest}/file"]
    cli.ok("chmod", "-R", "g+w", top)
    cli.ok("chown", "-R", ":staff", top)
    cli.ok("setfacl", "-R", "-m", "u:ann:rwx", top)
    assert cli.ok("stat", "-c", "%A %G", f"{deepest}/file") == ["-rw-rwxr--+ staff"]
    assert len(cli.ok("getfacl", "-R", top)) > 7 * LEVELS
    cli.ok("cp", "-r", top, "/deep2")
    assert cli.ok("du", "-s", "/deep2") == ["7\t/deep2"]
    cli.ok("get", "-r", top, str(tmp_path))
    cli.ok("put", "-r", str(tmp_path / "deep"), "/deep3")
    assert cli.ok("du", "-s", "/deep3") == ["7\t/deep3"]
    cli.ok("mv", "/deep3", "/deep4")
    cli.ok("rm", "-r", top, "/deep2", "/deep4")
    subprocess.run(["rm", "-rf", str(tmp_path / "deep")], check=True)


def test_a_listing_begins_before_it_is_complete(
    cli: Command, cluster: Cluster, fs: memfs.FileSystem
) -> None:
    fs.mkdir("/wide")
    fs.write_many([(f"/wide/{number:06}", b"") for number in range(WIDE)])
    for options in ([], ["-l"], ["--json"]):
        listing = start(cluster.url, "ls", *options, "/wide", stdout=subprocess.PIPE)
        assert listing.stdout is not None
        assert b"000000" in listing.stdout.readline()
        listing.stdout.close()
        assert listing.wait() == 141
    assert len(cli.ok("ls", "/wide")) == WIDE
    lines = cli.ok("ls", "-li", "/wide")
    assert len({len(line) for line in lines[-1000:]}) == 1
    cli.ok("rm", "-r", "/wide")


def listed(cluster: Cluster) -> int:
    """Pages of listings that the nodes have answered so far."""
    found = 0
    for node in range(len(cluster.nodes())):
        with urllib.request.urlopen(
            f"http://127.0.0.1:{cluster.port + node + 1000}/metrics"
        ) as page:
            text = page.read().decode()
        found += sum(
            map(int, map(float, re.findall(r'operations_total\{.*"List".*\} (\S+)', text)))
        )
    return found


def test_who_wants_the_first_line_asks_for_no_more(cluster: Cluster, fs: memfs.FileSystem) -> None:
    """Two pages of these names are more than a pipe holds: no more is asked for ahead."""
    fs.mkdir("/long")
    fs.write_many([(f"/long/{number:04}{'x' * 240}", b"") for number in range(4 * PAGE)])
    for command in (
        *("ls", "ls -l", "ls -U", "ls --json", "ls -iF", "ls -R"),
        *("find", "find -ls", "tree -a", "du -a"),
    ):
        name, *options = command.split()
        operands = ["/long", *options] if name == "find" else [*options, "/long"]
        before = listed(cluster)
        process = start(cluster.url, name, *operands, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 141, command
        assert listed(cluster) - before <= 3, command
    before = listed(cluster)
    assert execute(cluster.url, ["ls", "/long"]).returncode == 0
    assert listed(cluster) - before > 10
    fs.rmtree("/long")
