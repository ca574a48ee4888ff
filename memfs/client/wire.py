"""Turning what callers call a path into what the protocol calls one.

Callers give absolute paths, ``memfs://`` URLs, ``os.PathLike``; the result is cached, because the
same paths come again and a stat has no time to spare.
"""

from __future__ import annotations

import functools
import os
from typing import NamedTuple, TypeAlias

from memfs import paths
from memfs.errors import InvalidPathError

PathLike: TypeAlias = str | os.PathLike[str]


class WirePath(NamedTuple):
    """A path in its three forms."""

    given: str
    """As the caller wrote it: what errors name."""
    text: str
    """Absolute and normalised: what results are made of."""
    raw: bytes
    """What requests carry."""


@functools.lru_cache(maxsize=4096)
def _from_text(given: str) -> WirePath:
    local = paths.parse_url(given).path if given.startswith(paths.SCHEME + ":/") else given
    normal = _normalise(local)
    return WirePath(given, normal, paths.encode(normal))


def _normalise(text: str) -> str:
    """Absolute, without empty components; ``..`` stays, for only the walk knows the symlinks."""
    if ".." in text:
        return "/" + "/".join(part for part in text.split("/") if part not in ("", "."))
    return paths.normalise(text)


def wire(path: PathLike) -> WirePath:
    """Both forms of ``path``. Raises InvalidPathError, NameTooLongError, TypeError."""
    if type(path) is not str:
        path = os.fspath(path)
        if not isinstance(path, str):
            raise InvalidPathError(f"a path is text, not {type(path).__name__}")
    return _from_text(path)
