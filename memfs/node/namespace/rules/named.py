"""What a request names: the paths in it, wherever its record has them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memfs.protocol import messages as m
from memfs.types import ROOT_INODE


def named_paths(request: Any) -> Iterator[tuple[int, bytes]]:
    """(base, path) of all that a request names."""
    kind = type(request)
    if kind in (m.ReadFiles, m.ReadMany, m.LookupMany, m.UnlinkMany):
        yield from ((ROOT_INODE, path) for path in request.paths)
    elif kind is m.PutFiles:
        yield from ((ROOT_INODE, file.path) for file in request.files)
    elif kind in (m.Rename, m.MakeLink):
        yield request.source_base, request.source
        if kind is m.Rename:
            yield request.target_base, request.target
        else:
            yield request.base, request.path
    else:
        path = getattr(request, "path", None)
        if path is not None:
            yield getattr(request, "base", ROOT_INODE), path
        yield from ((ROOT_INODE, each) for each in getattr(request, "sources", ()))
