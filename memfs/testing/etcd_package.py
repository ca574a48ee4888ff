"""Where the tests' etcd comes from: Debian trixie's packages, unpacked into a private directory.

Owns the cache directory of the test kit and one download into it, with apt directories of its own:
nothing is installed, the system's package lists are not touched, root is not needed. Invariant: a
directory with the final name is complete; several processes may ask at once.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

CACHE_VARIABLE = "MEMFS_TEST_CACHE"
"""Names the directory for what tests download; the default is under the user's cache."""
BINARIES_VARIABLE = "MEMFS_TEST_ETCD"
"""Names a directory with ``etcd`` to be used instead of Debian's."""
OLDEST = (3, 5, 3)
"""3.5.0 to 3.5.2 lose committed data when killed; 3.4 lacks what we ask for."""
_SUITE = "trixie"
_PACKAGES = ("etcd-server", "etcd-client")
_COMMAND_SECONDS = 300.0


def cache_directory() -> Path:
    """For downloads and for data that must not lie in RAM; made when missing."""
    chosen = os.environ.get(CACHE_VARIABLE)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    path = Path(chosen) if chosen else Path(base) / "memfs-tests"
    path.mkdir(parents=True, exist_ok=True)
    return path


def etcd_binaries() -> Path:
    """The directory of ``etcd`` and ``etcdctl``, fetched if need be.

    Raises RuntimeError with what to do when they cannot be had.
    """
    chosen = os.environ.get(BINARIES_VARIABLE)
    binaries = Path(chosen) if chosen else _fetched()
    version = _version(binaries / "etcd")
    if version < OLDEST:
        found, needed = (".".join(map(str, v)) for v in (version, OLDEST))
        raise RuntimeError(f"{binaries}/etcd is {found}; the tests need {needed} or newer")
    return binaries


def _version(binary: Path) -> tuple[int, ...]:
    text = _run([str(binary), "--version"])
    found = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", text)
    if found is None:
        raise RuntimeError(f"{binary} does not say its version: {text!r}")
    return tuple(map(int, found.groups()))


def _fetched() -> Path:
    cache = cache_directory()
    final = cache / f"etcd-{_SUITE}"
    with (cache / "etcd.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            _fetch(cache, final)
    return final / "usr" / "bin"


def _fetch(cache: Path, final: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix="apt-", dir=cache))
    try:
        root = work / "root"
        _download(work)
        for package in sorted(work.glob("*.deb")):
            _run(["dpkg-deb", "-x", str(package), str(root)])
        root.rename(final)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(work: Path) -> None:
    """The packages, into ``work``, by the machine's own mirror and proxy settings."""
    (work / "lists" / "partial").mkdir(parents=True)
    (work / "cache" / "archives" / "partial").mkdir(parents=True)
    sources = work / "trixie.sources"
    sources.write_text(debian_source(Path("/etc/apt")))
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
    _run([*apt, "update"], work)
    _run([*apt, "download", *_PACKAGES], work)


def debian_source(etc: Path) -> str:
    """The machine's Debian archives as a source of the suite we want."""
    archives = sorted(set(_archives(etc)))
    if not archives:
        raise RuntimeError(
            f"no Debian archive is configured in {etc}: get etcd 3.5.16 or newer and name the "
            f"directory of its binaries in {BINARIES_VARIABLE}"
        )
    lines = ["Types: deb", f"URIs: {' '.join(archives)}", f"Suites: {_SUITE}", "Components: main"]
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    return "\n".join([*lines, *([f"Signed-By: {keyring}"] if keyring.exists() else []), ""])


def _archives(etc: Path) -> Iterator[str]:
    """URIs whose path ends in ``/debian``, of both formats of source lists."""
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if not path.is_file():
            continue
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith(("URIs:", "deb ")):
                yield from (word for word in line.split() if word.rstrip("/").endswith("/debian"))


def _run(command: list[str], directory: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=directory,
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
