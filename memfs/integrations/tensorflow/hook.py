"""The hook that makes every program of an environment know ``memfs://`` in TensorFlow.

Owns the two files in ``site-packages``: a copy of :mod:`import_hook`, and a ``.pth`` by which
Python imports it at its start. Invariant: where the ``.pth`` is, the copy is too.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

MODULE = "_memfs_tensorflow_hook"
SOURCE = Path(__file__).with_name("import_hook.py")


def directory() -> Path:
    """``site-packages`` of the running Python."""
    return Path(sysconfig.get_path("purelib"))


def installed(where: Path) -> bool:
    """Whether it is there."""
    return (where / f"{MODULE}.pth").exists()


def install(where: Path) -> None:
    """Put it there, or the present version of it. Raises OSError."""
    start = f"import {MODULE}; {MODULE}.watch()\n"
    for suffix, text in ((".py", SOURCE.read_text()), (".pth", start)):
        new = where / f"{MODULE}.new"
        new.write_text(text)
        new.replace(where / f"{MODULE}{suffix}")


def remove(where: Path) -> None:
    """Take it away. Raises OSError."""
    for suffix in (".pth", ".py"):
        (where / f"{MODULE}{suffix}").unlink(missing_ok=True)
