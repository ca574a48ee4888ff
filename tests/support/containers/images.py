"""The images of the cluster, built on the spot and without a registry.

Owns the base made of Debian packages, the directory that the project's Dockerfile is built in, with
its dependencies as wheels, and a stand-in for the public images: the same programs, from Debian.
Invariant: what is downloaded is kept in the test kit's cache, with its final name once complete.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memfs.machine import module_command
from tests.support.containers.engine import docker
from tests.support.debian import cache_directory, debian_archives, program, run, unpacked
from tests.support.etcd_package import etcd_binaries

BASE_VARIABLE = "MEMFS_TEST_BASE"
"""Names a base image to be used instead, such as ``python:3.12-slim``."""
BASE = "memfs-test-base:bookworm"
PROGRAMS = "memfs-test-programs:bookworm"
"""etcd, HAProxy, Prometheus, and the ``wget`` that their own images have too."""
SUITE = "bookworm"
PYTHON = "3.11"
"""Of the base image; the wheels are for it."""
_PROGRAMS = {
    "haproxy": "usr/sbin/haproxy",
    "prometheus": "usr/bin/prometheus",
    "busybox-static": "bin/busybox",
}
"""Package and program."""
_LIBRARIES = ("liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1", "libstdc++6")
_SOURCES = (
    "pyproject.toml",
    "hatch_build.py",
    "README.md",
    "LICENSE",
    ".dockerignore",
    "memfs",
    "deploy",
)


def base_image(project: Path) -> str:
    """Its name; made by ``deploy/base-image.sh`` when it is not there yet."""
    chosen = os.environ.get(BASE_VARIABLE)
    if chosen:
        return chosen
    script = project / "deploy" / "base-image.sh"
    with _lock("base-image"):
        if not _exists(BASE):
            program("mmdebstrap", "mmdebstrap")
            tarball = cache_directory() / f"base-{_digest(script)}.tar"
            archives = debian_archives(Path("/etc/apt"))
            mirrors = [f"deb {archive} {SUITE} main" for archive in archives]
            run([str(script), BASE, str(tarball), *mirrors])
    return BASE


def programs_image(project: Path) -> str:
    """The stand-in for the images of etcd, HAProxy and Prometheus; its name."""
    base = base_image(project)
    with _lock("programs-image"), tempfile.TemporaryDirectory() as directory:
        if not _exists(PROGRAMS):
            context = Path(directory)
            (context / "bin").mkdir()
            for program in ("etcd", "etcdctl"):
                shutil.copy(etcd_binaries() / program, context / "bin")
            tree = unpacked("programs", (*_PROGRAMS, *_LIBRARIES), SUITE)
            for path in _PROGRAMS.values():
                shutil.copy(tree / path, context / "bin")
            shutil.copytree(tree / "usr" / "lib", context / "lib", symlinks=True)
            (context / "Dockerfile").write_text(_PROGRAMS_DOCKERFILE.format(base=base))
            docker("build", "--quiet", "--tag", PROGRAMS, str(context))
    return PROGRAMS


_PROGRAMS_DOCKERFILE = """\
FROM {base}
COPY lib/ /usr/lib/
COPY bin/ /usr/local/bin/
RUN ln -s busybox /usr/local/bin/wget \\
    && ldconfig \\
    && install --directory --owner=65534 --group=65534 /prometheus
"""


def build_context(project: Path, target: Path) -> None:
    """Copy into ``target`` what the image is built of, and the wheels it needs."""
    target.mkdir(parents=True, exist_ok=True)
    for name in _SOURCES:
        if (source := project / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "wheels")
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            shutil.copy(source, target / name)
    shutil.copytree(_wheels(project), target / "deploy" / "wheels")


def _wheels(project: Path) -> Path:
    """A directory with what both lock files name, for the Python of the base image."""
    locks = [project / "deploy" / name for name in ("build.lock", "requirements.lock")]
    final = cache_directory() / f"wheels-{_digest(*locks)}"
    with _lock("wheels"):
        if not final.exists():
            work = Path(tempfile.mkdtemp(prefix="wheels-", dir=cache_directory()))
            pip = module_command("pip", "download", "--quiet", "--require-hashes")
            wanted = [f"--requirement={lock}" for lock in locks]
            kind = ["--only-binary=:all:", "--no-deps", f"--python-version={PYTHON}"]
            try:
                run([*pip, *kind, f"--dest={work}", *wanted])
                work.rename(final)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return final


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _exists(image: str) -> bool:
    command = ["docker", "image", "inspect", image]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def _lock(name: str) -> Iterator[None]:
    with (cache_directory() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
