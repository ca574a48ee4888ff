"""Where the tests' etcd comes from: Debian's packages, or a directory that is named."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.support.debian import run, unpacked

BINARIES_VARIABLE = "MEMFS_TEST_ETCD"
"""Names a directory with ``etcd`` to be used instead of Debian's."""
OLDEST = (3, 5, 3)
"""3.5.0 to 3.5.2 lose committed data when killed; 3.4 lacks what we ask for."""


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


def _fetched() -> Path:
    try:
        return unpacked("etcd", ("etcd-server", "etcd-client")) / "usr" / "bin"
    except RuntimeError as error:
        needed = ".".join(map(str, OLDEST))
        raise RuntimeError(
            f"{error}\nget etcd {needed} or newer yourself and name the directory of its binaries "
            f"in {BINARIES_VARIABLE}"
        ) from error


def _version(binary: Path) -> tuple[int, ...]:
    text = run([str(binary), "--version"])
    found = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", text)
    if found is None:
        raise RuntimeError(f"{binary} does not say its version: {text!r}")
    return tuple(map(int, found.groups()))
