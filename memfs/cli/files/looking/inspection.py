"""``memfs stat``: all attributes of a file, or those that a format names."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

import click

from memfs.cli.files.looking import columns as layout
from memfs.cli.files.looking.times import iso_time
from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.shell import Shell, file_command, printable, quoted, write_json
from memfs.client.stat import BlockLocation, Stat
from memfs.quantities import counted, show_size
from memfs.types import Attributes, FileKind, Residence

_UNIT = 512
"""Bytes of the blocks that stat(1) counts."""


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
    for form in (pattern, printf):
        _check_widths(form or "")
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
                sys.stdout.write(formatted(printf, path, found, target, escapes=True))
            else:
                (residence,) = await shell.fs.residence([found])
                sys.stdout.write(_described(path, target, found, residence) + _blocks(where))


def _check_widths(form: str) -> None:
    """Raises a usage error."""
    for found in _DIRECTIVE.finditer(form):
        try:
            layout.field_width(found[2]), layout.field_width(found[3])
        except ValueError as error:
            raise click.UsageError(str(error)) from None


def formatted(
    pattern: str, path: str, found: Stat, target: str = "", *, escapes: bool = False
) -> str:
    """``pattern`` with ``%s`` and others replaced; unknown ones become ``?``, as in stat.

    ``escapes``: so are ``\\n``, ``\\x41``, ``\\101`` and their like.
    """
    values = _values(path, found, target)

    def filled(directive: re.Match[str]) -> str:
        if directive[0][0] == "\\":
            return _escaped(directive)
        flags, width, precision, letter = directive.group(1, 2, 3, 4)
        text = values.get(letter, "?")
        if precision is not None and letter in _TEXTS:
            text = text[: int(precision)]
        if "#" in flags and letter in "af":
            text = ("0" if letter == "a" else "0x") + text
        if precision is not None and letter not in _TEXTS:
            text = text.zfill(int(precision))  # as printf(3) has it for numbers
        if "+" in flags and letter in _SIGNED:
            text = f"+{text}"
        if "-" in flags:
            return text.ljust(int(width or 0))
        zeros = "0" in flags and precision is None and letter not in _TEXTS
        return text.rjust(int(width or 0), "0" if zeros else " ")

    return (_PRINTED if escapes else _DIRECTIVE).sub(filled, pattern)


_DIRECTIVE = re.compile(r"%([-0#+ ']*)([0-9]*)(?:\.([0-9]+))?([A-Za-z%])")
_ESCAPE = re.compile(r"\\(?:x(?P<hex>[0-9A-Fa-f]{1,2})|(?P<octal>[0-7]{1,3})|(?P<name>.))")
_PRINTED = re.compile(f"{_DIRECTIVE.pattern}|{_ESCAPE.pattern}", re.DOTALL)
_NAMED = dict(zip('abefnrtv\\"', '\a\b\x1b\f\n\r\t\v\\"', strict=True))
_TEXTS = "nNAUGFxyzwm%"
_SIGNED = "sXYZW"
"""Directives whose value is text."""


def _escaped(found: re.Match[str]) -> str:
    if found["name"]:
        return _NAMED.get(found["name"], found["name"])
    number = int(found["hex"], 16) if found["hex"] else int(found["octal"], 8) & 0xFF
    return os.fsdecode(bytes([number]))


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
    values |= {letter: iso_time(when) for letter, when in times.items()}
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
        f"Modify: {iso_time(attributes.modified_ns)}",
        f"Change: {iso_time(attributes.changed_ns)}",
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
