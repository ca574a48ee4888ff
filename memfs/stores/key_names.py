"""Which keys of a store can be names of a file system, and how keys make levels. Pure.

A store's key is any text, a path is not: empty and dot segments, NUL, and segments of more than 255
bytes have no name. Such keys are counted, so that a listing says that it is not complete.
"""

from __future__ import annotations

from typing import Final

from memfs.limits import NAME_BYTES

PARTS: Final = ".memfs-uploads"
"""The directory at a mount's root in which stores without uploads keep unfinished files."""


def is_name(text: str) -> bool:
    """Can ``text`` be the name of a file or directory?"""
    if not text or text in (".", "..") or "/" in text or "\0" in text:
        return False
    if text.isascii():
        return len(text) <= NAME_BYTES
    try:
        return len(text.encode()) <= NAME_BYTES
    except UnicodeEncodeError:  # bytes that are not UTF-8, as os.fsdecode marks them
        return False


def is_key(key: str) -> bool:
    """Is every segment of ``key`` a name? The empty key is the mount's own directory."""
    return not key or all(map(is_name, key.split("/")))


def joined(directory: str, name: str) -> str:
    """The key of a name in a directory."""
    return f"{directory}/{name}" if directory else name


def parent(key: str) -> str:
    """The directory of a key."""
    return key.rpartition("/")[0]


def as_prefix(directory: str) -> str:
    """The prefix of all keys below a directory."""
    return f"{directory}/" if directory else ""
