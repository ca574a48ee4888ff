"""tmpfs, the limit for local reads: a file in ``/dev/shm``, read with one copy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

SHARED_MEMORY = Path("/dev/shm")


@contextmanager
def tmpfs_file(pieces: Iterable[bytes]) -> Iterator[Path]:
    """Store the pieces in one file on tmpfs."""
    with NamedTemporaryFile(dir=SHARED_MEMORY, prefix="memfs-bench-", buffering=0) as file:
        for piece in pieces:
            os.write(file.fileno(), piece)
        yield Path(file.name)
