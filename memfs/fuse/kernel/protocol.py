# ruff: noqa: F403  a name is declared once, in one of the modules below
"""The kernel's FUSE protocol, version 7: numbers, flags and structures of ``linux/fuse.h``.

Owns how they are written in memory, and nothing else: no file descriptor, no file system. Names are
those of the header, so that its comments are this module's documentation; the header may be used
under BSD-2. Invariant: sizes and offsets are those of the header (``tests/golden/fuse.json`` holds
what a C compiler says). Numbers are in the byte order of this machine.
"""

from __future__ import annotations

from memfs.fuse.kernel.constants import *
from memfs.fuse.kernel.replies import *
from memfs.fuse.kernel.requests import *
from memfs.fuse.kernel.structures import *
