"""``memfs du``, ``memfs df`` and ``memfs stat``: what there is, and how large."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import click

from memfs.cli.files import columns as layout
from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.shell import (
    VANISHED,
    Shell,
    file_command,
    printable,
    quoted,
    reason,
    write_json,
)
from memfs.client.stat import BlockLocation, DirEntry, Stat, Usage
from memfs.errors import AccessDeniedError
from memfs.quantities import counted, show_short, show_size
from memfs.types import Attributes, FileKind, Residence

_UNIT = 512
"""Bytes of the blocks that stat(1) counts."""


@file_command("du", example="memfs du -sh /data/*")
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@click.option("-s", "--summarize", is_flag=True, help="Only the operands.")
@click.option("-h", "--human-readable", "human", is_flag=True, help="Sizes as 1.5K, 64M.")
@click.option("-k", "unit", flag_value=1 << 10, type=int, help="Sizes in KiB, rounded up.")
@click.option("-m", "unit", flag_value=1 << 20, type=int, help="Sizes in MiB, rounded up.")
@click.option("-b", "--bytes", "unit", flag_value=1, type=int, help="Sizes in bytes, as always.")
@click.option("-a", "--all", "everything", is_flag=True, help="Files too.")
@click.option("-c", "--total", is_flag=True, help="A last line with the sum.")
@click.option("-d", "--max-depth", "depth", type=click.IntRange(0), help="Levels to show.")
@click.option("-D", "--dereference-args", "follow", is_flag=True, help="Follow links as operands.")
@click.option("-l", "--count-links", "links", is_flag=True, help="Each name of a file counts.")
@click.option("--replicated", is_flag=True, help="Count every copy.")
@json_option
async def du(
    shell: Shell,
    paths: tuple[Operand, ...],
    summarize: bool,
    human: bool,
    unit: int | None,
    everything: bool,
    total: bool,
    depth: int | None,
    follow: bool,
    links: bool,
    replicated: bool,
    as_json: bool,
) -> None:
    """Show the bytes that trees hold (one copy counted), the root by default.

    The totals are kept by the namespace: -s costs the same for one file as for a million. A file
    with several names counts in the directory of the first one, and is shown once.
    """
    levels = 0 if summarize else 1 << 30 if depth is None else depth
    sum_all = 0

    def show(path: str, usage: Usage) -> None:
        size = usage.space if replicated else usage.length
        if as_json:
            write_json({"path": path} | usage._asdict())
        else:
            print(f"{shown(size)}\t{printable(path)}")

    def shown(size: int) -> str:
        return show_short(size) if human else str(-(-size // (unit or 1)))

    totals = _Totals(shell, links)
    counted_trees: set[str] = set()
    for path in await shell.expand(paths or (Operand("/"),), "cannot access"):
        if not links and not counted_trees.isdisjoint(_with_those_above(path.bare)):
            continue  # as du(1) has it: an operand was this one, or a directory above it
        with shell.attempt("cannot access", path):
            top = await (shell.fs.stat if follow else shell.fs.lstat)(path)
            counted_trees.add(path.bare)
            if not totals.is_new(top):
                continue
            usage = await totals.of(path, top)
            if levels and top.is_dir():
                await _du_below(totals, path, levels, everything, show)
            show(path, usage)
            sum_all += usage.space if replicated else usage.length
    if total and not as_json:
        print(f"{shown(sum_all)}\ttotal")


def _with_those_above(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield "/"


class _Totals:
    """What trees hold, as far as the caller may know; each directory that refuses is said once."""

    def __init__(self, shell: Shell, links: bool) -> None:
        """``links``: every name of a file is one of its own."""
        self.shell = shell
        self._links = links
        self._refused: set[str] = set()
        self._several: set[int] = set()
        """Inodes of the files with several names of which one was shown."""

    def is_new(self, found: Stat) -> bool:
        """Whether no other name of the file was shown."""
        if self._links or found.is_dir() or found.st_nlink == 1:
            return True
        if found.st_ino in self._several:
            return False
        self._several.add(found.st_ino)
        return True

    async def of(self, path: str, found: Stat) -> Usage:
        """The bytes of one inode; only a directory takes a request, a symlink has none."""
        if not found.is_dir():
            length = found.st_size if found.is_file() else 0
            return Usage(length, 1, 0, length * found.replication)
        try:
            return await self.shell.fs.du(path)
        except AccessDeniedError:
            return await self._open_parts(path)

    async def _open_parts(self, top: str) -> Usage:
        """The sum of what is not closed: the namespace tells of a tree only to who may read all."""
        sums, waiting = Usage(0, 0, 0, 0), [top]
        while waiting:
            path = waiting.pop()
            sums = _sum(sums, Usage(0, 0, 1, 0))
            async for entry in self.entries(path):
                if not entry.is_dir():
                    sums = _sum(sums, await self.of(entry.path, entry.stat()))
                    continue
                try:
                    sums = _sum(sums, await self.shell.fs.du(entry.path))
                except AccessDeniedError:
                    waiting.append(entry.path)
                except VANISHED:
                    continue
        return sums

    async def entries(self, path: str) -> AsyncIterator[DirEntry]:
        """Entries of a directory; none, and a message, where it refuses."""
        try:
            async for entry in self.shell.entries(path):
                yield entry
        except VANISHED:
            return
        except AccessDeniedError as error:
            if path not in self._refused:
                self._refused.add(path)
                said = f"cannot read directory {quoted(path)}: {reason(error)}"
                self.shell.complain(said)


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(*(left + right for left, right in zip(one, other, strict=True)))


async def _du_below(
    totals: _Totals, top: str, high: int, everything: bool, show: Callable[[str, Usage], None]
) -> None:
    """What is below a directory, deepest first."""
    shell = totals.shell
    levels: list[tuple[str, Stat | None, AsyncIterator[DirEntry]]]
    levels = [(top, None, totals.entries(top))]
    while levels:
        path, found, listing = levels[-1]
        entry = None
        with shell.attempt("cannot access", path):
            entry = await anext(listing, None)
        if entry is None:
            levels.pop()
            if found is not None:
                with shell.attempt("cannot access", path):
                    show(path, await totals.of(path, found))
        elif entry.is_dir() and len(levels) < high:
            levels.append((entry.path, entry.stat(), totals.entries(entry.path)))
        elif entry.is_dir() or everything:
            with shell.attempt("cannot access", entry.path):
                if totals.is_new(entry.stat()):
                    show(entry.path, await totals.of(entry.path, entry.stat()))


@file_command("df", example="memfs df -h")
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@click.option("-T", "--print-type", "kind", is_flag=True, help="The type of the file system.")
@click.option("-h", "--human-readable", "human", is_flag=True, help="Sizes as 1.5K, 64M.")
@click.option("-i", "--inodes", is_flag=True, help="Counts of files and directories, not bytes.")
@click.option("-n", "--nodes", "by_node", is_flag=True, help="A line a node, and what is in it.")
@json_option
async def df(
    shell: Shell,
    paths: tuple[Operand, ...],
    kind: bool,
    human: bool,
    inodes: bool,
    by_node: bool,
    as_json: bool,
) -> None:
    """Show the memory of the cluster, of which all paths are part: every copy counts.

    With -n: of each node the bytes of blocks (Data), of records, index, namespace and buffers
    (Overhead), of what was deleted and is kept for what comes (Spare); and what the kernel says
    that its process (Resident) and its container (Container) take.
    """
    for path in await shell.expand(paths, "cannot access"):
        with shell.attempt("cannot access", path):
            await shell.fs.stat(path)
    if paths and shell.status:
        return
    show: Callable[[int], str] = show_short if human else str
    if by_node:
        await _df_nodes(shell, show, as_json)
        return
    found = await shell.fs.statvfs()
    free = max(0, found.capacity - found.used)
    if as_json:
        write_json(
            {
                "capacity": found.capacity,
                "used": found.used,
                "available": free,
                "files": found.files,
                "directories": found.directories,
                "replication": found.replication,
            }
        )
        return
    share = f"{-(-100 * found.used // found.capacity)}%" if found.capacity else "-"
    url = "memfs://" + ",".join(map(str, shell.fs.config.endpoints))
    header = ["Filesystem", "Size", "Used", "Avail", "Use%", "Files", "Copies"]
    row = [
        *(url, show(found.capacity), show(found.used), show(free), share),
        *(str(found.files), str(found.replication)),
    ]
    if inodes:  # memory is all that bounds them
        header = ["Filesystem", "Inodes", "IUsed", "IFree", "IUse%"]
        row = [url, "-", show(found.f_files), "-", "-"]
    if kind:
        header.insert(1, "Type")
        row.insert(1, "memfs")
    numeric = set(range(1 + kind, len(header)))
    print("\n".join(layout.table(header, [row], numeric)))


async def _df_nodes(shell: Shell, show: Callable[[int], str], as_json: bool) -> None:
    rows = []
    for node in (await shell.fs.cluster_status()).nodes:
        usage = node.usage
        numbers = {
            "size": usage.limit,
            "data": usage.used - usage.overhead,
            "overhead": usage.overhead,
            "spare": usage.spare,
            "available": max(0, usage.limit - usage.used),
            "resident": usage.resident,
            "container": usage.container,
        }
        if as_json:
            write_json({"node": node.member.name} | numbers)
        known = [show(each) if each else "-" for each in list(numbers.values())[-2:]]
        rows.append([node.member.name, *map(show, list(numbers.values())[:-2]), *known])
    header = ["Node", "Size", "Data", "Overhead", "Spare", "Avail", "Resident", "Container"]
    if not as_json:
        print("\n".join(layout.table(header, rows, set(range(1, len(header))))))


@file_command("stat", example="memfs stat -c '%s %n' /data/*\nmemfs stat --blocks /data/large")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-L", "--dereference", "follow", is_flag=True, help="Follow a symbolic link.")
@click.option(
    "-c",
    "--format",
    "pattern",
    help="%n %N %s %b %B %a %A %f %U %u %G %g %F %h %i %d %t %T %m %x %y %z %X %Y %Z %o %r %%.",
)
@click.option("--printf", help="The same with \\n and its like, and no line end of its own.")
@click.option("--blocks", is_flag=True, help="Where each block lies.")
@json_option
async def stat(
    shell: Shell,
    paths: tuple[Operand, ...],
    follow: bool,
    pattern: str | None,
    printf: str | None,
    blocks: bool,
    as_json: bool,
) -> None:
    """Show all that is known of files.

    Formats are those of stat(1), widths and flags included (%-10s, %04a): %n %N names, %s size, %b
    of %B bytes, %a %A %f mode, %U %G owner and group, %u %g their numbers here, %F kind, %h links,
    %i inode, %x %y %z times of access, content and attributes, %X %Y %Z the same in seconds, %w %W
    none of birth; %o is the size of a block, %r the number of copies.
    """
    for path in await shell.expand(paths, "cannot stat"):
        with shell.attempt("cannot stat", path):
            found = await (shell.fs.stat if follow else shell.fs.lstat)(path)
            target = await shell.fs.readlink(path) if found.is_symlink() else ""
            where = await shell.fs.block_locations(path) if blocks and found.is_file() else []
            if as_json:
                extra = {"blocks": [block._asdict() for block in where]} if blocks else {}
                (residence,) = await shell.fs.residence([found])
                described = layout.described(path, found.attributes, residence=residence)
                write_json(described | extra)
            elif pattern is not None:
                print(formatted(pattern, path, found, target))
            elif printf is not None:
                sys.stdout.write(formatted(unescaped(printf), path, found, target))
            else:
                (residence,) = await shell.fs.residence([found])
                sys.stdout.write(_described(path, target, found, residence) + _blocks(where))


def formatted(pattern: str, path: str, found: Stat, target: str = "") -> str:
    """``pattern`` with ``%s`` and others replaced; unknown ones become ``?``, as in stat."""
    values = _values(path, found, target)

    def filled(directive: re.Match[str]) -> str:
        flags, width, precision, letter = directive.groups()
        text = values.get(letter, "?")
        if precision is not None and letter in _TEXTS:
            text = text[: int(precision)]
        if "#" in flags and letter in "af":
            text = ("0" if letter == "a" else "0x") + text
        if "-" in flags:
            return text.ljust(int(width or 0))
        zeros = "0" in flags and letter not in _TEXTS
        return text.rjust(int(width or 0), "0" if zeros else " ")

    return _DIRECTIVE.sub(filled, pattern)


_DIRECTIVE = re.compile(r"%([-0#+ ']*)(\d*)(?:\.(\d+))?([A-Za-z%])")
_TEXTS = "nNAUGFxyzwm%"
"""Letters of what is no number."""


def unescaped(text: str) -> str:
    """``\\n``, ``\\x41``, ``\\101`` and their like replaced, as printf(1) has them."""
    return _ESCAPE.sub(_escaped, text)


_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|(.))", re.DOTALL)
_NAMED = dict(zip('abefnrtv\\"', '\a\b\x1b\f\n\r\t\v\\"', strict=True))


def _escaped(found: re.Match[str]) -> str:
    hexadecimal, octal, name = found.groups()
    if hexadecimal:
        return chr(int(hexadecimal, 16))
    return chr(int(octal, 8) & 0xFF) if octal else _NAMED.get(name, name)


def _values(path: str, found: Stat, target: str) -> dict[str, str]:
    attributes = found.attributes
    values = {
        "n": printable(path),
        "N": quoted(path) + (f" -> {quoted(target)}" if target else ""),
        "s": str(attributes.size),
        "b": str(-(-attributes.size // _UNIT)),
        "B": str(_UNIT),
        "a": f"{attributes.mode:o}",
        "A": layout.permissions(attributes),
        "U": attributes.owner,
        "G": attributes.group,
        "F": _kind(attributes),
        "h": str(attributes.links),
        "i": str(attributes.inode),
        "o": str(attributes.block_size),
        "r": str(attributes.replication),
        "%": "%",
        "f": f"{found.st_mode:x}",
        "u": str(found.st_uid),
        "g": str(found.st_gid),
        "d": str(found.st_dev),
        "D": f"{found.st_dev:x}",
        "t": f"{os.major(found.st_rdev):x}",
        "T": f"{os.minor(found.st_rdev):x}",
        "m": "/",
        "w": "-",
        "W": "0",
    }
    times = {"x": found.st_atime_ns, "y": found.st_mtime_ns, "z": found.st_ctime_ns}
    values |= {letter: layout.iso_time(when) for letter, when in times.items()}
    values |= {letter.upper(): str(when // 10**9) for letter, when in times.items()}
    return values


def _kind(attributes: Attributes) -> str:
    """As stat(1) names it."""
    if attributes.kind == FileKind.FILE:
        return "regular file" if attributes.size else "regular empty file"
    return "symbolic link" if attributes.kind == FileKind.SYMLINK else layout.kind_name(attributes)


def _described(path: str, target: str, found: Stat, residence: Residence | None) -> str:
    attributes = found.attributes
    shown = printable(f"{path} -> {target}" if target else path)
    lines = [
        f"  File: {shown}",
        f"  Size: {attributes.size:<15} Inode: {attributes.inode:#x}   Links: {attributes.links}",
        f"Access: ({attributes.mode:04o}/{layout.permissions(attributes)})  "
        f"Owner: {attributes.owner}   Group: {attributes.group}",
        f"Modify: {layout.iso_time(attributes.modified_ns)}",
        f"Change: {layout.iso_time(attributes.changed_ns)}",
    ]
    if attributes.kind == FileKind.FILE:
        lines.append(
            f"Copies: {attributes.replication}   Block: {show_size(attributes.block_size)}   "
            f"Group: {counted(attributes.group_blocks, 'block')}"
            f"{'   open' if attributes.leased else ''}"
        )
    if attributes.kind == FileKind.DIRECTORY:
        lines.append(f"Entries: {attributes.children}")
    if residence is not None:
        state, share = layout.residence_cells(residence, attributes)
        shown = "" if attributes.kind == FileKind.DIRECTORY else f"   In memory: {share}"
        lines.append(f" State: {state}{shown}")
    return "\n".join(lines) + "\n"


def _blocks(blocks: Sequence[BlockLocation]) -> str:
    rows = [
        (
            str(each.block),
            str(each.offset),
            str(each.length),
            "" if each.hole else f"{each.crc:08x}",
            "(hole)" if each.hole else " ".join(each.nodes) or "(none)",
        )
        for each in blocks
    ]
    if not rows:
        return ""
    header = ("Block", "Offset", "Length", "CRC32C", "Nodes")
    return "\n".join(layout.table(header, rows, {0, 1, 2})) + "\n"
