"""Real programs on a mount do what they do on tmpfs.

A script of ``mount_scripts`` begins in an empty directory of its own. What it prints and what it
leaves behind have to be the same, but for the sizes of directories.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_cluster import Cluster

from tests.support.debian import install
from tests.support.mounts import Mounted, mounted, need_mounts, tmpfs

SCRIPTS = {path.stem: path for path in sorted(Path(__file__).parent.glob("mount_scripts/*.sh"))}
PACKAGES = {
    "ed": "ed",
    "gcc": "gcc",
    "getfattr": "attr",
    "git": "git",
    "make": "make",
    "rsync": "rsync",
    "setfacl": "acl",
    "setpriv": "util-linux",
}
"""Debian's packages of the programs that the scripts call."""


@pytest.fixture(scope="module")
def here(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    need_mounts()
    for program, package in PACKAGES.items():
        if shutil.which(program) is None:
            install(package)
    with mounted(cluster.url, tmp_path_factory.mktemp("programs")) as found:
        yield found


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    need_mounts()
    with tmpfs(tmp_path_factory.mktemp("oracle")) as found:
        yield found


@pytest.mark.parametrize("name", SCRIPTS)
def test_programs_do_what_they_do_on_tmpfs(name: str, here: Mounted, oracle: Path) -> None:
    expected, left = run(SCRIPTS[name], oracle / name)
    said, found = run(SCRIPTS[name], here.root / name)
    assert said == expected
    assert found == left
    assert here.story() == ""


def run(script: Path, directory: Path) -> tuple[str, dict[str, tuple[object, ...]]]:
    """What a script says in an empty directory, and what it leaves there."""
    directory.mkdir()
    directory.chmod(0o755)
    done = subprocess.run(
        ["bash", str(script)],
        cwd=directory,
        env=os.environ | {"HOME": "/nonexistent", "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=500,
        check=False,
    )
    said = done.stdout.decode(errors="replace").replace(str(directory), "HERE")
    return said, dict(tree(directory))


VOLATILE = (".git", ".zip", ".tar", "db")
"""What holds times or random numbers."""


def tree(top: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    """What is below a directory: all that ``stat`` knows but times and sizes of directories."""
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if any(part.endswith(VOLATILE) for part in path.relative_to(top).parts):
            continue
        found = path.lstat()
        content: object = None
        if stat.S_ISREG(found.st_mode):
            content = found.st_size, hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(found.st_mode):
            content = os.readlink(path)
        links = found.st_nlink if not stat.S_ISDIR(found.st_mode) else 0
        yield name, (oct(found.st_mode), found.st_uid, found.st_gid, links, content)
