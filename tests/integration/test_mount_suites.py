"""File system suites of others on a mount: what they say of tmpfs is what is right.

Both come from crates.io and are built with cargo, Debian's where there is none.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.debian import cache_directory, program, run
from tests.support.mounts import Mounted

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]

SETTINGS = """
[features]
posix_fallocate = {}
rename_ctime = {}
stat_st_birthtime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.01
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"""
OUTCOMES = {"ok", "FAILED", "skipped"}
OPERATIONS = 2_000


def built(name: str, version: str) -> Path:
    """The program of a crate, built once and kept in the cache of the test kit."""
    root = cache_directory() / f"{name}-{version}"
    program("cc", "gcc")
    cargo = program("cargo", "cargo")
    run([cargo, "install", "--quiet", "--locked", "--root", str(root), f"{name}@{version}"])
    return root / "bin" / name


def outcomes(suite: Path, settings: Path, directory: Path) -> dict[str, str]:
    """What pjdfstest says of each of its cases in ``directory``."""
    directory.chmod(0o755)
    done = subprocess.run(
        [suite, "--configuration-file", settings, "--path", directory],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
        check=False,
    )
    rows = (line.rsplit(maxsplit=1) for line in done.stdout.splitlines() if "::" in line)
    found = {row[0]: row[1] for row in rows if len(row) == 2 and row[1] in OUTCOMES}
    assert len(found) > 300, done.stdout
    return found


def test_pjdfstest_says_of_a_mount_what_it_says_of_tmpfs(
    open_mount: Mounted, tmp_path: Path
) -> None:
    suite = built("pjdfstest", "0.2.2")
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS)
    mine = open_mount.root / "suite"
    mine.mkdir()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        expected = outcomes(suite, settings, Path(memory))
    assert outcomes(suite, settings, mine) == expected
    assert open_mount.story() == ""


@pytest.mark.parametrize("seed", [1, 77, 2026])
def test_fsx_finds_each_byte_where_it_was_written(
    open_mount: Mounted, tmp_path: Path, seed: int
) -> None:
    suite = built("fsx", "0.3.2")
    command: list[str | Path] = [suite, f"-N{OPERATIONS}", f"-S{seed}", open_mount.root / "file"]
    environment = os.environ | {"RUST_LOG": "warn"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All operations completed" in done.stdout + done.stderr
    assert open_mount.story() == ""
