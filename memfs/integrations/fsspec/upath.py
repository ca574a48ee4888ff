"""``upath.UPath("memfs:///data")``: paths of universal_pathlib, which finds this by entry point."""

from __future__ import annotations

from memfs.integrations import library

try:
    import fsspec
    from upath import UPath
except ImportError as error:
    raise library.missing("upath", "fsspec", error) from error

# universal_pathlib takes URLs apart by the file system's own rules only when it is loaded already;
# otherwise by those of another package that uses the same protocol.
fsspec.get_filesystem_class("memfs")


class MemfsUPath(UPath):
    """A path on a cluster: absolute always, ``/`` its root."""

    __slots__ = ()

    @property
    def path(self) -> str:
        """The path without protocol; no slash at its end."""
        text: str = super().path
        return text.rstrip("/") or "/"
