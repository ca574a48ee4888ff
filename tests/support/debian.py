"""Programs of Debian for the tests: packages unpacked into a private directory, or installed.

Owns the cache directory of the test kit and downloads into it, with apt directories of its own: the
system's package lists are not touched, root is not needed. Invariant: a directory with the final
name is complete; several processes may ask at once. Only :func:`install` changes the machine.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.patience import PATIENCE_SECONDS

CACHE_VARIABLE = "MEMFS_TEST_CACHE"
"""Names the directory for what tests download; the default is under the user's cache."""
SUITE = "trixie"
"""Debian's release that the packages are of; they also run on the one before it."""
_COMMAND_SECONDS = 1800.0


def cache_directory() -> Path:
    """For downloads and for data that must not lie in RAM; made when missing."""
    chosen = os.environ.get(CACHE_VARIABLE)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    path = Path(chosen) if chosen else Path(base) / "memfs-tests"
    path.mkdir(parents=True, exist_ok=True)
    return path


def unpacked(name: str, packages: Sequence[str], suite: str = SUITE) -> Path:
    """The root of a tree with these packages, without what they depend on; fetched if need be.

    ``name`` is that of the tree in the cache, ``suite`` Debian's release. Raises RuntimeError when
    they cannot be had.
    """
    cache = cache_directory()
    final = cache / f"{name}-{suite}"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            _fetch(packages, suite, cache, final)
    return final


def _fetch(packages: Sequence[str], suite: str, cache: Path, final: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix="apt-", dir=cache))
    try:
        root = work / "root"
        _download(packages, suite, work)
        for package in sorted(work.glob("*.deb")):
            run(["dpkg-deb", "-x", str(package), str(root)])
        root.rename(final)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(packages: Sequence[str], suite: str, work: Path) -> None:
    """The packages, into ``work``, by the machine's own mirror and proxy settings."""
    (work / "lists" / "partial").mkdir(parents=True)
    (work / "cache" / "archives" / "partial").mkdir(parents=True)
    sources = work / f"{suite}.sources"
    sources.write_text(debian_source(Path("/etc/apt"), suite))
    settings = {
        "Dir::Etc::sourcelist": str(sources),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": str(work / "lists"),
        "Dir::Cache": str(work / "cache"),
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "APT::Sandbox::User": "root",  # who asks: the directories are private
    }
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in settings.items())]
    run([*apt, "update"], work)
    run([*apt, "download", *packages], work)


def debian_source(etc: Path, suite: str = SUITE) -> str:
    """The machine's Debian archives as a source of the suite we want."""
    archives = debian_archives(etc)
    if not archives:
        raise RuntimeError(f"no Debian archive is configured in {etc}")
    lines = ["Types: deb", f"URIs: {' '.join(archives)}", f"Suites: {suite}", "Components: main"]
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    return "\n".join([*lines, *([f"Signed-By: {keyring}"] if keyring.exists() else []), ""])


def debian_archives(etc: Path) -> list[str]:
    """Addresses of the archives that the machine is configured to use."""
    return sorted(set(_archives(etc)))


def _archives(etc: Path) -> Iterator[str]:
    """URIs whose path ends in ``/debian``, of both formats of source lists."""
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if not path.is_file():
            continue
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith(("URIs:", "deb ")):
                yield from (word for word in line.split() if word.rstrip("/").endswith("/debian"))


def run(command: Sequence[str], directory: Path | None = None) -> str:
    """What it prints. Raises RuntimeError with that when it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND_SECONDS,
            text=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"cannot run {command[0]}: {error}") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def program(name: str, package: str) -> str:
    """The path of a program of this machine; its package is installed when it is missing.

    Raises RuntimeError when that fails.
    """
    found = shutil.which(name)
    if found is None:
        install(package)
        found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"the package {package} has no program {name}")
    return found


def _update(command: Sequence[str]) -> None:
    """Fetch the machine's lists, when others have: apt's patience is for dpkg's lock alone."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            run(command)
            return
        except RuntimeError as error:
            if "Could not get lock" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def install(*packages: str) -> None:
    """Install the first of these packages that can be had, on this machine.

    Raises RuntimeError with what went wrong.
    """
    apt = ["apt-get", "-q", "-y", "-oAcquire::Retries=3", "-oDPkg::Lock::Timeout=300"]
    _update([*apt, "update"])
    failures = []
    for package in packages:
        try:
            run([*apt, "install", "--no-install-recommends", package])
            return
        except RuntimeError as error:
            failures.append(str(error))
    raise RuntimeError("\n".join(failures))
