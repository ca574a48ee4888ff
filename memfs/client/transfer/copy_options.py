"""How a tree is copied: the options of one call, passed down as they were given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from memfs.client.transfer.copying import Choose, Follow, Progress
from memfs.client.transfer.hard_links import HardLinks


class CopyKeywords(TypedDict, total=False):
    """Keyword arguments of calls that copy: the fields of :class:`CopyOptions`."""

    preserve: bool
    xattrs: bool
    follow_symlinks: bool | Follow
    progress: Progress | None
    choose: Choose | None
    links: HardLinks | None
    return_errors: bool
    timeout: float | None


class StoreKeywords(CopyKeywords, total=False):
    """Those of calls that copy into the cluster: the fields of :class:`StoreOptions`."""

    replication: int | None
    recover: bool


@dataclass(frozen=True, kw_only=True)
class CopyOptions:
    """How a file or tree is copied."""

    preserve: bool = False
    """Keep exact modes and times, and what has several names one file with several names."""
    xattrs: bool = False
    """With ``preserve``: extended attributes, too."""
    follow_symlinks: bool | Follow = False
    progress: Progress | None = None
    choose: Choose | None = None
    links: HardLinks | None = None
    """Shared by several calls: what has one name in each becomes one file."""
    return_errors: bool = False
    timeout: float | None = None

    @property
    def follow(self) -> Follow:
        """Which symbolic links stand for what they lead to."""
        if isinstance(self.follow_symlinks, Follow):
            return self.follow_symlinks
        return Follow.ALWAYS if self.follow_symlinks else Follow.NAMED

    @property
    def hard_links(self) -> HardLinks | None:
        """What remembers files with several names; None: each name becomes a file."""
        return HardLinks() if self.links is None and self.preserve else self.links


@dataclass(frozen=True, kw_only=True)
class StoreOptions(CopyOptions):
    """How a file or tree is copied into the cluster."""

    replication: int | None = None
    recover: bool = False
    """Replace files that somebody else has open for writing, too."""
