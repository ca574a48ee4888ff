"""Virtual environments of heavy libraries, made once and kept outside the checkout.

Each holds one set of requirements and what memfs itself needs; memfs comes in as the wheel that the
``wheel`` fixture built, so that entry points and extension modules are those that users get.
Invariant: an environment with its final name is complete; several processes may ask at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tests.support.debian import cache_directory, run

TOP = Path(__file__).parents[2]
TORCH = ("torch==2.15.0", "numpy", "webdataset==1.0.2", "redis>=5.2", "hiredis>=3.0")
"""The newest PyTorch, and what benchmarks compare its loaders with."""
PROGRAM_SECONDS = 1500.0
"""Ends a program that hangs: on a machine with much else to do TensorFlow starts in minutes."""
USED: dict[str, str] = {}
"""Of each environment that this process took: when it was made and what was asked for."""


class LibraryEnvironment:
    """A Python with some libraries; ``wheel`` is the directory that holds memfs, unpacked."""

    def __init__(self, python: Path, wheel: Path) -> None:
        self.python = python
        self._wheel = wheel

    def variables(self, **more: str) -> dict[str, str]:
        """What a process of it gets: no settings of memfs but those in ``more``."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MEMFS_")}
        paths = f"{self.python.parent}:{kept.get('PATH', '')}"
        return kept | {"PYTHONPATH": str(self._wheel), "PATH": paths} | more

    def start(
        self, arguments: Sequence[str | Path], directory: Path, **variables: str
    ) -> subprocess.Popen[str]:
        """Start its Python with ``arguments``; its output is one stream of text."""
        return subprocess.Popen(
            [str(self.python), *map(str, arguments)],
            cwd=directory,
            env=self.variables(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(
        self,
        arguments: Sequence[str | Path],
        directory: Path,
        seconds: float = PROGRAM_SECONDS,
        **variables: str,
    ) -> str:
        """Run its Python to the end; what it printed. Fails the test when it fails."""
        process = self.start(arguments, directory, **variables)
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            raise AssertionError(f"it did not end within {seconds:.0f} s:\n{said}") from None
        assert process.returncode == 0, said
        return said


def environment(name: str, requirements: Sequence[str], wheel: Path) -> LibraryEnvironment:
    """The environment called ``name``, made when these requirements have not been met yet.

    ``wheel``: as of the fixture. ``USED`` then says how old it is, and pytest at its end. Raises
    RuntimeError when the requirements cannot be had.
    """
    wanted = [*requirements, *_own_requirements()]
    digest = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:12]
    cache = cache_directory()
    final = cache / f"environment-{name}-{digest}"
    with (cache / f"environment-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (final / "complete").exists():
            _make(final, wanted)
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime((final / "complete").stat().st_mtime))
    USED[name] = f"environment {name}: made {made}, {', '.join(requirements)}"
    return LibraryEnvironment(final / "bin" / "python", wheel)


def _own_requirements() -> list[str]:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"]]


def _make(final: Path, requirements: Sequence[str]) -> None:
    """A virtual environment cannot be moved, so a file in it says that it is complete."""
    shutil.rmtree(final, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(final)])
    pip = [str(final / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--no-cache-dir", *requirements])
    (final / "complete").touch()


def built_wheel(target: Path) -> Path:
    """Build memfs's wheel into ``target``; its path."""
    run([sys.executable, "-m", "build", "--wheel", "--outdir", str(target), str(TOP)])
    (wheel,) = target.glob("*.whl")
    return wheel


def unpacked_wheel(wheel: Path) -> Path:
    """A directory with what the wheel installs, metadata included."""
    target = Path(tempfile.mkdtemp(prefix="wheel-", dir=wheel.parent))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--no-deps", "--target", str(target), str(wheel)])
    return target
