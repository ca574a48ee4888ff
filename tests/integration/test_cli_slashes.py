"""Operands that end in a slash or a dot mean directories: each command beside coreutils."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cli_cluster import Cluster, Command

import memfs

LINES = [
    *("cat f/", "ls f/", "ls ld/", "ls -d ld/", "stat -c %n_%F ld/", "find ld/ -name g", "find f/"),
    *("touch new/", "touch d/", "truncate -s 5 new/", "chmod 700 ld/", "chmod 700 f/"),
    *("mkdir new/", "mkdir -p new/a/", "mkdir f/", "rmdir empty/", "rmdir ld/", "rmdir empty/."),
    *("rm f/", "rm -f f/", "rm ld/", "rm -r d/", "rm -r empty/.", "rm -r d/e/.."),
    *("rm -rf d/../", "rm -r d/./", "rm -r d/../f"),
    *("mv f/ x", "mv ld/ x", "mv d/. x", "mv f abc/", "mv f new/", "mv empty new/", "mv f d/"),
    *("mv d/ empty/", "mv d/g ."),
    *("cp f/ x", "cp f new/", "cp -r f new/", "cp f d/", "cp -r d/ new/", "cp -r d/ empty/"),
    *("cp -r ld/ x", "cp -r d/. x/", "ln -s a new/", "ln -s a d/", "ln f/ x"),
]


def tree(top: Path) -> Path:
    (top / "d" / "e").mkdir(parents=True)
    (top / "empty").mkdir()
    for name in ("f", "abc", "d/g"):
        (top / name).write_text(name)
    (top / "l").symlink_to("f")
    (top / "ld").symlink_to("d")
    return top


@pytest.mark.parametrize("line", LINES)
def test_as_coreutils(cli: Command, cluster: Cluster, tmp_path: Path, line: str) -> None:
    top = tree(tmp_path / "top")
    with memfs.connect(cluster.url) as fs:
        fs.makedirs(str(tmp_path), exist_ok=True)
        fs.put(top, str(top), preserve=True)
    command, *words = line.split()
    kept = ("-", "%", "5", "7", "g")
    if command == "ln" and "-s" in words:
        kept += ("a",)
    words = [each if each.startswith(kept) else os.path.join(top, each) for each in words]
    wanted = subprocess.run([command, *words], capture_output=True, text=True)
    found = cli(command, *words)
    assert (found.status > 0, found.out) == (wanted.returncode > 0, wanted.stdout), found.err
    assert bool(found.err) == bool(wanted.stderr)
    there = set(cli.ok("find", str(tmp_path)))
    assert there == {str(tmp_path), *(str(each) for each in tmp_path.rglob("*"))}


@pytest.mark.parametrize("options", [["-r"], ["-rf"], ["-r", "-v"]])
def test_a_link_to_a_tree_is_no_tree(
    cli: Command, cluster: Cluster, tmp_path: Path, options: list[str]
) -> None:
    """In the words of rm(1); but it empties the directory before it says so."""
    top = tree(tmp_path / "top")
    with memfs.connect(cluster.url) as fs:
        fs.makedirs(str(tmp_path), exist_ok=True)
        fs.put(top, str(top), preserve=True)
        before = [each.path for each in fs.scandir(f"{top}/d")]
        wanted = subprocess.run(["rm", *options, f"{top}/ld/"], capture_output=True, text=True)
        found = cli("rm", *options, f"{top}/ld/")
        assert found.status == wanted.returncode
        assert found.err == wanted.stderr.replace("rm: ", "memfs: ") and not found.out
        assert [each.path for each in fs.scandir(f"{top}/d")] == before
