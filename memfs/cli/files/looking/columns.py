"""How listings look: columns, long lines, times, permissions. Pure.

Follows GNU ``ls``: the widths of a long listing fit its widest value, times older than half a
year show the year instead of the hour.
"""

from __future__ import annotations

import stat as _stat
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

from memfs.cli.files.looking.times import show_time
from memfs.client.stat import Stat
from memfs.quantities import show_short
from memfs.types import Attributes, FileKind, Residence

_KIND_NAMES = {
    FileKind.FILE: "file",
    FileKind.DIRECTORY: "directory",
    FileKind.SYMLINK: "symlink",
    FileKind.FIFO: "fifo",
    FileKind.CHARACTER_DEVICE: "character device",
    FileKind.BLOCK_DEVICE: "block device",
    FileKind.SOCKET: "socket",
}
_INDICATORS = {
    FileKind.DIRECTORY: "/",
    FileKind.SYMLINK: "@",
    FileKind.FIFO: "|",
    FileKind.SOCKET: "=",
}
_COLOURED = {
    FileKind.DIRECTORY: "di",
    FileKind.SYMLINK: "ln",
    FileKind.FIFO: "pi",
    FileKind.CHARACTER_DEVICE: "cd",
    FileKind.BLOCK_DEVICE: "bd",
    FileKind.SOCKET: "so",
}


_CODES = {
    "di": "01;34",
    "ln": "01;36",
    "ex": "01;32",
    "fi": "",
    "pi": "33",
    "so": "01;35",
    "bd": "01;33",
    "cd": "01;33",
}
"""Colours by default, as GNU ls has them."""


WIDTH_MAX = 65_535
"""Characters of a field: more than any terminal and most names have."""
_WIDTH_DIGITS = 9


class Row(NamedTuple):
    """One entry of a listing."""

    name: str
    attributes: Attributes
    target: str = ""
    """Where a symlink points."""
    path: str = ""
    residence: Residence | None = None
    """Its state in the external store; None: it is not below a mount."""
    leads_to_directory: bool = False
    """It is a symlink to a directory; False where that was not looked up."""


Decorate = Callable[[Row], str]
"""The name of a row with what marks its kind."""


def plain(row: Row) -> str:
    """The name alone."""
    return row.name


def indicator(attributes: Attributes) -> str:
    """What ``ls -F`` puts behind a name."""
    kind = FileKind(attributes.kind)
    if kind == FileKind.FILE:
        return "*" if attributes.mode & 0o111 else ""
    return _INDICATORS.get(kind, "")


class Colours:
    """The colours of names, as ``LS_COLORS`` has them."""

    def __init__(self, setting: str) -> None:
        self._codes = dict(_CODES)
        pairs = (pair.partition("=") for pair in setting.split(":"))
        self._codes.update({name: code for name, mark, code in pairs if mark})

    def __call__(self, name: str, attributes: Attributes) -> str:
        """``name`` between the sequences that switch its colour on and off."""
        kind = FileKind(attributes.kind)
        if kind == FileKind.FILE:
            extension = self._codes.get(f"*.{name.rpartition('.')[2]}", self._codes["fi"])
            code = self._codes["ex"] if attributes.mode & 0o111 else extension
        else:
            code = self._codes[_COLOURED[kind]]
        return f"\x1b[{code}m{name}\x1b[0m" if code else name


def permissions(attributes: Attributes) -> str:
    """``drwxr-xr-x``; ``+`` behind it where there is an access control list."""
    shown = _stat.filemode(attributes.mode | FileKind(attributes.kind).type_bits)
    return shown + "+" * attributes.acl


def kind_name(attributes: Attributes) -> str:
    """file, directory, symlink, or what special file it is."""
    return _KIND_NAMES[FileKind(attributes.kind)]


class Long(NamedTuple):
    """What a long listing shows."""

    human: bool = False
    """Sizes as 1.5K."""
    inodes: bool = False
    """Their numbers first."""
    owner: bool = True
    group: bool = True
    numeric: bool = False
    """Owner and group as this host's numbers."""
    style: str = "locale"
    """Of times."""
    clock: str = "modified_ns"
    """Which of the times: an attribute's name."""
    blocks: bool = False
    """KiB that the content takes, before all but the inode."""


def long_lines(
    rows: Sequence[Row],
    now: float,
    form: Long = Long(),  # noqa: B008  # immutable
    *,
    decorate: Decorate = plain,
    least: list[int] | None = None,
) -> list[str]:
    """``ls -l``: permissions, links, owner, group, size, time, name.

    Below a mount the state and the share in memory stand before the time. ``least`` is a list of
    the widths so far: the later pages of a listing get no narrower.
    """
    least = [] if least is None else least
    stored = any(row.residence is not None for row in rows)
    cells = []
    for row in rows:
        attributes = row.attributes
        size = show_short(attributes.size) if form.human else str(attributes.size)
        number = [str(attributes.inode)] if form.inodes else []
        number += [kibibytes(attributes, form.human)] if form.blocks else []
        if attributes.is_bare:
            bare = permissions(attributes)[0] + "?????????"
            owners = "?" * (form.owner + form.group)
            cells.append([*number, bare, "?", *owners, "?", *("??" if stored else "")])
            continue
        kept = residence_cells(row.residence, attributes) if stored else ()
        owned = _owner_cells(attributes, form)
        shown = (permissions(attributes), str(attributes.links), *owned, size)
        cells.append([*number, *shown, *kept])
    columns = list(zip(*cells, strict=True))
    before = [*least, *[0] * len(columns)]
    least[:] = [max(before[at], *map(text_width, column)) for at, column in enumerate(columns)]
    numeric = _numeric_columns(form)
    return [
        " ".join(
            [
                *_aligned(row_cells, least, numeric),
                _time_cell(row.attributes, now, form),
                decorate(row) + (f" -> {row.target}" if row.target else ""),
            ]
        )
        for row, row_cells in zip(rows, cells, strict=True)
    ]


def _owner_cells(attributes: Attributes, form: Long) -> list[str]:
    found = Stat(attributes)
    owner = str(found.st_uid) if form.numeric else found.owner
    group = str(found.st_gid) if form.numeric else found.group
    return [owner] * form.owner + [group] * form.group


def _numeric_columns(form: Long) -> set[int]:
    """Those that are aligned to the right."""
    first, owners = form.inodes + form.blocks, form.owner + form.group
    size = first + 2 + owners
    ids = set(range(first + 2, size)) if form.numeric else set()
    return {*range(first), first + 1, size, size + 2} | ids


def kibibytes(attributes: Attributes, human: bool) -> str:
    """What ``ls -s`` shows: the content of one copy, in KiB that are begun."""
    if attributes.is_bare:
        return "?"
    size = attributes.size if attributes.kind == FileKind.FILE else 0
    return show_short(size) if human else str(-(-size // 1024))


def residence_cells(residence: Residence | None, attributes: Attributes) -> tuple[str, str]:
    """``PERSISTED``, ``100%``; of a directory ``DIR``, of what is below no mount ``-``."""
    if residence is None:
        return "-", "-"
    is_directory = attributes.kind == FileKind.DIRECTORY
    return residence.name, "DIR" if is_directory else f"{residence.percent}%"


def _time_cell(attributes: Attributes, now: float, form: Long) -> str:
    if attributes.is_bare:
        return f"{'?':>12}"
    when: int = getattr(attributes, form.clock)
    return show_time(when, now, form.style)


def _aligned(cells: Sequence[str], widths: Sequence[int], numeric: set[int]) -> list[str]:
    return [
        _right(cell, width) if at in numeric else _left(cell, width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]


def columns(names: Sequence[str], width: int, shown: Sequence[str] | None = None) -> list[str]:
    """Names in as many columns as fit ``width``, filled downwards.

    ``shown``: what is printed instead, of the same widths on a terminal.
    """
    shown = shown or names
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
            shown[at] + " " * (spans[at // lines] - widths[at] + 2)
            for at in range(line, len(names), lines)
        ).rstrip()
        for line in range(lines)
    ]


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: set[int]) -> list[str]:
    """Lines of a table; the columns in ``numeric`` are aligned to the right."""
    every = [header, *rows]
    widths = [max(text_width(row[at]) for row in every) for at in range(len(header))]
    return ["  ".join(_aligned(row, widths, numeric)).rstrip() for row in every]


def field_width(digits: str | None) -> int:
    """Of a field in a format, or its precision. Raises ValueError for one that fills the memory."""
    if digits and (len(digits) > _WIDTH_DIGITS or int(digits) > WIDTH_MAX):
        raise ValueError(f"a field is {WIDTH_MAX} characters wide at most")
    return int(digits or "0")


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


def described(
    path: str, attributes: Attributes, target: str = "", residence: Residence | None = None
) -> dict[str, object]:
    """A file as the ``--json`` outputs show it; times in nanoseconds, sizes in bytes.

    Of one that its directory told the kind of and no more, what is not known is None.
    """
    extra: dict[str, object] = {"target": target} if target else {}
    if residence is not None:
        extra["state"] = residence.name
        if attributes.kind == FileKind.FILE:
            extra["in_memory_percent"] = residence.percent
    if attributes.is_bare:
        told = {"path": path, "kind": kind_name(attributes), "inode": attributes.inode}
        return dict.fromkeys(described("", attributes._replace(links=1))) | told
    return extra | {
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
