"""What a request names: the paths in it, wherever its record has them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from memfs.protocol import messages as m
from memfs.types import ROOT_INODE


def named_paths(request: object) -> Iterator[tuple[int, bytes]]:
    """(base, path) of all that a request names."""
    if isinstance(request, (m.ReadFiles, m.ReadMany, m.LookupMany, m.UnlinkMany)):
        yield from ((ROOT_INODE, path) for path in request.paths)
    elif isinstance(request, m.PutFiles):
        yield from ((ROOT_INODE, file.path) for file in request.files)
    elif isinstance(request, m.Rename):
        yield request.source_base, request.source
        yield request.target_base, request.target
    elif isinstance(request, m.MakeLink):
        yield request.source_base, request.source
        yield request.base, request.path
    else:
        path = getattr(request, "path", None)
        if path is not None:
            yield getattr(request, "base", ROOT_INODE), path
        yield from ((ROOT_INODE, each) for each in getattr(request, "sources", ()))
