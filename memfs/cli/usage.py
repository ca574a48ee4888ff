"""``memfs du``, ``memfs df`` and ``memfs stat``: what there is, and how large."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import click

from memfs.cli import layout
from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.shell import Shell, file_command, printable, write_json
from memfs.client.stat import BlockLocation, Stat, Usage
from memfs.quantities import show_short, show_size
from memfs.types import Attributes, FileKind


@file_command("du", example="memfs du -sh /data/*")
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@click.option("-s", "--summarize", is_flag=True, help="Only the operands.")
@click.option("-h", "--human-readable", "human", is_flag=True, help="Sizes as 1.5K, 64M.")
@click.option("-a", "--all", "everything", is_flag=True, help="Files too.")
@click.option("-c", "--total", is_flag=True, help="A last line with the sum.")
@click.option("-d", "--max-depth", "depth", type=click.IntRange(0), help="Levels to show.")
@click.option("--replicated", is_flag=True, help="Count every copy.")
@json_option
async def du(
    shell: Shell,
    paths: tuple[Operand, ...],
    summarize: bool,
    human: bool,
    everything: bool,
    total: bool,
    depth: int | None,
    replicated: bool,
    as_json: bool,
) -> None:
    """Show the bytes that trees hold (one copy counted), the root by default.

    The totals are kept by the namespace: -s costs the same for one file as for a million.
    """
    levels = 0 if summarize else 1 << 30 if depth is None else depth
    sum_all = 0

    def show(path: str, usage: Usage) -> None:
        size = usage.space if replicated else usage.length
        if as_json:
            write_json({"path": path} | usage._asdict())
        else:
            print(f"{show_short(size) if human else size}\t{printable(path)}")

    for path in await shell.expand(paths or (Operand("/"),), "cannot access"):
        with shell.attempt("cannot access", path):
            usage = await shell.fs.du(path)
            if levels:
                await _du_below(shell, path, levels, everything, show)
            show(path, usage)
            sum_all += usage.space if replicated else usage.length
    if total and not as_json:
        print(f"{show_short(sum_all) if human else sum_all}\ttotal")


async def _du_below(
    shell: Shell, path: str, levels: int, everything: bool, show: Callable[[str, Usage], None]
) -> None:
    """The entries of a directory, deepest first; nothing for a file."""
    if not (await shell.fs.stat(path)).is_dir():
        return
    async for entry in shell.entries(path):
        with shell.attempt("cannot access", entry.path):
            if entry.is_dir():
                if levels > 1:
                    await _du_below(shell, entry.path, levels - 1, everything, show)
                show(entry.path, await shell.fs.du(entry.path))
            elif everything:
                show(entry.path, await shell.fs.du(entry.path))


@file_command("df", example="memfs df -h")
@click.option("-h", "--human-readable", "human", is_flag=True, help="Sizes as 1.5K, 64M.")
@json_option
async def df(shell: Shell, human: bool, as_json: bool) -> None:
    """Show the memory of the cluster: every copy counts."""
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
    show: Callable[[int], str] = show_short if human else str
    share = f"{-(-100 * found.used // found.capacity)}%" if found.capacity else "-"
    url = "memfs://" + ",".join(map(str, shell.fs.config.endpoints))
    header = ("Filesystem", "Size", "Used", "Avail", "Use%", "Files", "Copies")
    row = (
        *(url, show(found.capacity), show(found.used), show(free), share),
        *(str(found.files), str(found.replication)),
    )
    print("\n".join(layout.table(header, [row], {1, 2, 3, 4, 5, 6})))


@file_command("stat", example="memfs stat -c '%s %n' /data/*\nmemfs stat --blocks /data/large")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-L", "--dereference", "follow", is_flag=True, help="Follow a symbolic link.")
@click.option("-c", "--format", "pattern", help="%n %s %a %A %U %G %F %h %i %Y %r %B %%.")
@click.option("--blocks", is_flag=True, help="Where each block lies.")
@json_option
async def stat(
    shell: Shell,
    paths: tuple[Operand, ...],
    follow: bool,
    pattern: str | None,
    blocks: bool,
    as_json: bool,
) -> None:
    """Show all that is known of files.

    Formats: name, size, octal and text mode, owner, group, kind, links, inode, seconds of the last
    change, copies (r), bytes of a block (B).
    """
    for path in await shell.expand(paths, "cannot stat"):
        with shell.attempt("cannot stat", path):
            found = await (shell.fs.stat if follow else shell.fs.lstat)(path)
            where = await shell.fs.block_locations(path) if blocks and found.is_file() else []
            if as_json:
                extra = {"blocks": [block._asdict() for block in where]} if blocks else {}
                write_json(layout.described(path, found.attributes) | extra)
            elif pattern is not None:
                print(formatted(pattern, path, found.attributes))
            else:
                target = await shell.fs.readlink(path) if found.is_symlink() else ""
                sys.stdout.write(_described(path, target, found) + _blocks(where))


def formatted(pattern: str, path: str, attributes: Attributes) -> str:
    """``pattern`` with ``%s`` and others replaced; unknown ones become ``?``, as in stat."""
    values = {
        "n": printable(path),
        "s": str(attributes.size),
        "a": f"{attributes.mode:o}",
        "A": layout.permissions(attributes),
        "U": attributes.owner,
        "G": attributes.group,
        "F": layout.kind_name(attributes),
        "h": str(attributes.links),
        "i": str(attributes.inode),
        "Y": str(attributes.modified_ns // 1_000_000_000),
        "r": str(attributes.replication),
        "B": str(attributes.block_size),
        "%": "%",
    }
    head, *parts = pattern.replace("%%", "%\0").split("%")
    values["\0"] = "%"
    return head + "".join(values.get(part[:1], "?") + part[1:] for part in parts)


def _described(path: str, target: str, found: Stat) -> str:
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
            f"Group: {attributes.group_blocks} blocks{'   open' if attributes.leased else ''}"
        )
    if attributes.kind == FileKind.DIRECTORY:
        lines.append(f"Entries: {attributes.children}")
    return "\n".join(lines) + "\n"


def _blocks(blocks: Sequence[BlockLocation]) -> str:
    rows = [
        (
            str(each.index),
            str(each.offset),
            str(each.length),
            f"{each.crc:08x}",
            " ".join(each.nodes),
        )
        for each in blocks
    ]
    if not rows:
        return ""
    header = ("Block", "Offset", "Length", "CRC32C", "Nodes")
    return "\n".join(layout.table(header, rows, {0, 1, 2})) + "\n"
