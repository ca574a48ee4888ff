"""How listings look: columns, long lines, times, permissions. Pure.

Follows GNU ``ls``: the widths of a long listing fit its widest value, times older than half a
year show the year instead of the hour.
"""

from __future__ import annotations

import stat as _stat
import time
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from memfs.quantities import show_short
from memfs.types import Attributes, FileKind

_HALF_YEAR_SECONDS = 31_556_952 // 2
_KIND_BITS = {
    FileKind.FILE: _stat.S_IFREG,
    FileKind.DIRECTORY: _stat.S_IFDIR,
    FileKind.SYMLINK: _stat.S_IFLNK,
}
_KIND_NAMES = {
    FileKind.FILE: "file",
    FileKind.DIRECTORY: "directory",
    FileKind.SYMLINK: "symlink",
}


class Row(NamedTuple):
    """One entry of a listing."""

    name: str
    attributes: Attributes
    target: str = ""
    """Where a symlink points."""


def permissions(attributes: Attributes) -> str:
    """``drwxr-xr-x``; ``+`` behind it where there is an access control list."""
    shown = _stat.filemode(attributes.mode | _KIND_BITS[FileKind(attributes.kind)])
    return shown + "+" * attributes.acl


def kind_name(attributes: Attributes) -> str:
    """file, directory or symlink."""
    return _KIND_NAMES[FileKind(attributes.kind)]


def long_lines(rows: Sequence[Row], now: float, human: bool = False) -> list[str]:
    """``ls -l``: permissions, links, owner, group, size, time, name."""
    cells = []
    for name, attributes, target in rows:
        size = show_short(attributes.size) if human else str(attributes.size)
        when = show_time(attributes.modified_ns, now)
        shown = f"{name} -> {target}" if target else name
        columns = (str(attributes.links), attributes.owner, attributes.group, size, when, shown)
        cells.append((permissions(attributes), *columns))
    widths = [max(map(text_width, column)) for column in zip(*cells, strict=True)]
    return [
        f"{_left(mode, widths[0])} {_right(links, widths[1])} {_left(owner, widths[2])} "
        f"{_left(group, widths[3])} {_right(size, widths[4])} {when} {name}"
        for mode, links, owner, group, size, when, name in cells
    ]


def show_time(nanoseconds: int, now: float) -> str:
    """``Jan 31 12:00``, or ``Jan 31  2024`` when that is over half a year away; local time."""
    seconds = nanoseconds / 1e9
    local = time.localtime(seconds)
    recent = now - _HALF_YEAR_SECONDS < seconds <= now + 60
    return time.strftime("%b %e %H:%M" if recent else "%b %e  %Y", local)


def iso_time(nanoseconds: int) -> str:
    """``2026-01-31 12:00:00.000000000 +0000``, as ``stat`` prints it; local time."""
    local = time.localtime(nanoseconds // 1_000_000_000)
    fraction = nanoseconds % 1_000_000_000
    return time.strftime(f"%Y-%m-%d %H:%M:%S.{fraction:09d} %z", local)


def columns(names: Sequence[str], width: int) -> list[str]:
    """Names in as many columns as fit ``width``, filled downwards."""
    widths = [text_width(name) + 2 for name in names]
    lines = len(names)
    for count in range(min(len(names), (width + 2) // 3), 1, -1):
        fewer = -(-len(names) // count)
        if sum(max(widths[at : at + fewer]) for at in range(0, len(names), fewer)) - 2 <= width:
            lines = fewer
            break
    spans = [max(widths[at : at + lines]) for at in range(0, len(names), lines or 1)]
    return [
        "".join(
            _left(names[at], spans[at // lines]) for at in range(line, len(names), lines)
        ).rstrip()
        for line in range(lines)
    ]


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: set[int]) -> list[str]:
    """Lines of a table; the columns in ``numeric`` are aligned to the right."""
    every = [header, *rows]
    widths = [max(text_width(row[at]) for row in every) for at in range(len(header))]
    return [
        "  ".join(
            _right(cell, widths[at]) if at in numeric else _left(cell, widths[at])
            for at, cell in enumerate(row)
        ).rstrip()
        for row in every
    ]


def text_width(text: str) -> int:
    """Cells of a terminal that ``text`` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


def _left(text: str, width: int) -> str:
    return text + " " * (width - text_width(text))


def _right(text: str, width: int) -> str:
    return " " * (width - text_width(text)) + text


def described(path: str, attributes: Attributes) -> dict[str, object]:
    """A file as the ``--json`` outputs show it; times in nanoseconds, sizes in bytes."""
    return {
        "path": path,
        "kind": kind_name(attributes),
        "size": attributes.size,
        "mode": f"{attributes.mode:04o}",
        "owner": attributes.owner,
        "group": attributes.group,
        "links": attributes.links,
        "modified_ns": attributes.modified_ns,
        "changed_ns": attributes.changed_ns,
        "accessed_ns": attributes.accessed_ns,
        "inode": attributes.inode,
        "replication": attributes.replication,
        "block_size": attributes.block_size,
        "group_blocks": attributes.group_blocks,
        "open": attributes.leased,
    }
