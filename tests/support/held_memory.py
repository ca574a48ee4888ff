"""The memory that a node holds, as the kernel sees it from outside."""

from __future__ import annotations

import os
import re
from pathlib import Path


def resident(pid: int) -> int:
    """Bytes of the process's own, and of all memfds that it holds or, where that is more, of shared
    memory that it has touched."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = dict(re.findall(r"^Rss(\w+):\s*(\d+) kB", status, re.MULTILINE))
    anonymous, touched = (1024 * int(found[name]) for name in ("Anon", "Shmem"))
    shared, seen = 0, set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(link).startswith("/memfd:memfs"):
                stat = os.stat(link)
                if stat.st_ino not in seen:
                    seen.add(stat.st_ino)
                    shared += stat.st_blocks * 512
        except FileNotFoundError:
            continue  # closed meanwhile
    return anonymous + max(shared, touched)
