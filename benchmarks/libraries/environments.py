"""Run a script of ``inside`` where the library is, with memfs as it is installed.

Owns the wheel that is built once for all. What cannot be had makes the benchmark one that is
skipped, with a sentence that says why.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.harness import Scale, SkippedError
from benchmarks.tmpfs import SHARED_MEMORY
from tests.support.environments import TOP, USED, built_wheel, environment, unpacked_wheel

SECONDS = 3600.0
Figures = dict[str, float]
"""The median rate of each contender."""


def figures(
    name: str,
    requirements: Sequence[str],
    script: str,
    scale: Scale,
    *arguments: object,
    **variables: str,
) -> Figures:
    """What ``inside/SCRIPT.py ROUNDS ARGUMENT...`` measures in the environment ``name``.

    Raises SkippedError when the environment cannot be made.
    """
    wheel = _wheel()
    try:
        libraries = environment(name, requirements, Path(wheel.name, "memfs"))
    except RuntimeError as error:
        raise SkippedError(f"no environment with {requirements[0]}: {error}") from error
    print(USED[name], file=sys.stderr)
    path = Path(__file__).parent / "inside" / f"{script}.py"
    given: list[str | Path] = [path, str(scale.rounds), *map(str, arguments)]
    with tempfile.TemporaryDirectory(prefix="memfs-bench-") as directory:
        said = libraries.run(
            given,
            Path(directory),
            SECONDS,
            PYTHONPATH=f"{Path(wheel.name, 'memfs')}:{TOP}",
            **variables,
        )
    found: Figures = json.loads(said.splitlines()[-1])
    return found


@functools.cache
def _wheel() -> tempfile.TemporaryDirectory[str]:
    """A directory that goes with this process; ``memfs`` in it is what the wheel installs."""
    directory = tempfile.TemporaryDirectory(prefix="memfs-bench-")
    built = built_wheel(Path(directory.name))
    unpacked_wheel(built).rename(Path(directory.name, "memfs"))
    return directory


@contextlib.contextmanager
def tmpfs_directory() -> Iterator[Path]:
    """An empty directory in memory."""
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY, prefix="memfs-bench-") as directory:
        yield Path(directory)
