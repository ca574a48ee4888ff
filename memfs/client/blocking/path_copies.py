"""Copies of a path, as ``pathlib`` of 3.14 makes them, for every Python.

Owns what becomes of each kind of file, and how a tree reaches another cluster. Within a cluster and
to the local disk trees go in parallel, by :mod:`memfs.client.transfer`. A directory that is there
already is an error, whatever it holds.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO, NamedTuple

from memfs import paths
from memfs.client.blocking import bridge as bridges
from memfs.client.blocking.cluster_files import ClusterFiles
from memfs.client.stat import Stat
from memfs.client.transfer import copy_calls as transfer
from memfs.client.transfer.copying import BUFFER_BYTES, Follow


class How(NamedTuple):
    """What a copy is asked to do."""

    follow: bool
    """Copy what symlinks lead to."""
    preserve: bool
    """Keep modes, times and extended attributes, and owners where that is allowed."""

    @property
    def links(self) -> Follow:
        """The same, as the transfer calls have it."""
        return Follow.ALWAYS if self.follow else Follow.NEVER


def within(fs: ClusterFiles, source: str, target: str, how: How) -> None:
    """Copy a file, symlink or tree to another name of its cluster."""
    found = fs.stat(source, follow_symlinks=how.follow)
    if found.is_symlink():
        _link(fs, source, fs, target, how)
        return
    if found.is_dir():
        fs.mkdir(target)
    bridges.bridge().run(
        transfer.copy,
        *(fs.asynchronous, source, target),
        preserve=how.preserve,
        xattrs=how.preserve,
        follow_symlinks=how.links,
    )


def to_disk(fs: ClusterFiles, source: str, target: Path, how: How) -> None:
    """Copy a file, symlink or tree to the local disk."""
    found = fs.stat(source, follow_symlinks=how.follow)
    if found.is_symlink():
        target.symlink_to(fs.readlink(source))
        return
    if found.is_dir():
        target.mkdir()
    fs.get(source, target, follow_symlinks=how.links, preserve=how.preserve, xattrs=how.preserve)


def between(fs: ClusterFiles, source: str, other: ClusterFiles, target: str, how: How) -> None:
    """Copy a file, symlink or tree to another cluster, through this process."""
    made: list[tuple[str, str, Stat]] = []
    waiting = [(source, target)]
    while waiting:
        here, there = waiting.pop()
        found = fs.stat(here, follow_symlinks=how.follow)
        if found.is_symlink():
            _link(fs, here, other, there, how)
            continue
        if found.is_dir():
            other.mkdir(there)
            names = fs.listdir(here)
            waiting += [(paths.join(here, name), paths.join(there, name)) for name in names]
        else:
            with fs.open(here, "rb") as reading, other.replacing(there) as writing:
                _copy_content(reading, writing, found.st_size)
        if how.preserve:
            made.append((here, there, found))
    for here, there, found in reversed(made):  # a directory's times after what was put into it
        _keep(fs, here, other, there, found)


def _copy_content(reading: IO[bytes], writing: IO[bytes], size: int) -> None:
    """Copy the first ``size`` bytes; holes stay holes."""
    position = 0
    while position < size:
        try:
            start = reading.seek(position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # a hole to the end
        position = min(reading.seek(start, os.SEEK_HOLE), size)
        reading.seek(start)
        writing.seek(start)
        while start < position and (data := reading.read(min(BUFFER_BYTES, position - start))):
            start += writing.write(data)
    writing.truncate(size)


def _link(fs: ClusterFiles, source: str, other: ClusterFiles, target: str, how: How) -> None:
    other.symlink(fs.readlink(source), target)
    if how.preserve:
        found = fs.lstat(source)
        times = (found.st_atime_ns, found.st_mtime_ns)
        other.utime(target, ns=times, follow_symlinks=False)


def _keep(fs: ClusterFiles, source: str, other: ClusterFiles, target: str, found: Stat) -> None:
    for name, value in fs.getxattrs(source).items():
        other.setxattr(target, name, value)
    other.chmod(target, found.attributes.mode)
    other.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
