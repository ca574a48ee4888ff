"""``memfs du`` and ``memfs df``: the sizes of trees and of the cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import click

from memfs.cli.files.looking import columns as layout
from memfs.cli.files.looking.block_sizes import BLOCK_SIZE, BlockSize
from memfs.cli.options import PATH, Operand, WholeNumber, json_option
from memfs.cli.shell import (
    VANISHED,
    Shell,
    file_command,
    printable,
    quoted,
    reason,
    write_json,
)
from memfs.client.stat import DirEntry, Stat, Usage
from memfs.errors import AccessDeniedError
from memfs.quantities import show_short


@file_command("du", example="memfs du -sh /data/*")
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@click.option("-s", "--summarize", is_flag=True, help="Only the operands.")
@click.option("-h", "--human-readable", "human", is_flag=True, help="Sizes as 1.5K, 64M.")
@click.option("-k", "unit", flag_value=1 << 10, type=int, help="Sizes in KiB, rounded up.")
@click.option("-m", "unit", flag_value=1 << 20, type=int, help="Sizes in MiB, rounded up.")
@click.option("-b", "--bytes", "unit", flag_value=1, type=int, help="Sizes in bytes, as always.")
@click.option("-B", "--block-size", "blocks", type=BLOCK_SIZE, help="Sizes in units of 1M or such.")
@click.option("-a", "--all", "everything", is_flag=True, help="Files too.")
@click.option("-c", "--total", is_flag=True, help="A last line with the sum.")
@click.option("-d", "--max-depth", "depth", type=WholeNumber(0), help="Levels to show.")
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
    blocks: BlockSize | None,
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
    if summarize and everything:
        raise click.UsageError("--summarize shows the operands alone, --all files too: take one")
    if summarize and depth:
        raise click.UsageError(f"--summarize is --max-depth=0, not {depth}: take one")
    levels = 0 if summarize else 1 << 30 if depth is None else depth
    sum_all = 0

    def show(path: str, usage: Usage) -> None:
        size = usage.space if replicated else usage.length
        if as_json:
            write_json({"path": path} | usage._asdict())
        else:
            print(f"{shown(size)}\t{printable(path)}")

    def shown(size: int) -> str:
        return show_short(size) if human else (blocks or BlockSize(unit or 1)).shown(size)

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
    """What trees hold, as far as the caller may read them; each unreadable directory is reported
    once."""

    def __init__(self, shell: Shell, links: bool) -> None:
        """``links``: every name of a file is one of its own."""
        self.shell = shell
        self._links = links
        self._refused: set[str] = set()
        self._several: set[int] = set()
        """Inodes of files with several names, of which one was shown already."""

    def is_new(self, found: Stat) -> bool:
        """Whether no other name of the file was shown before."""
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
        """The sum of the readable parts: the namespace gives totals only to users who may read the
        whole tree."""
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
        """Entries of a directory; none, and an error message, when it cannot be read."""
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
@click.option(
    "-k", "blocks", flag_value=BlockSize(1 << 10), type=BLOCK_SIZE, help="Sizes in KiB, rounded up."
)
@click.option("-B", "--block-size", "blocks", type=BLOCK_SIZE, help="Sizes in units of 1M or such.")
@click.option("-i", "--inodes", is_flag=True, help="Counts of files and directories, not bytes.")
@click.option("-n", "--nodes", "by_node", is_flag=True, help="A line a node, and what is in it.")
@json_option
async def df(
    shell: Shell,
    paths: tuple[Operand, ...],
    kind: bool,
    human: bool,
    blocks: BlockSize | None,
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
    show: Callable[[int], str] = show_short if human else (blocks or BlockSize(1)).shown
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
    title = "Size" if human or blocks is None else blocks.title
    header = ["Filesystem", title, "Used", "Avail", "Use%", "Files", "Copies"]
    row = [
        *(url, show(found.capacity), show(found.used), show(free), share),
        *(str(found.files), str(found.replication)),
    ]
    if inodes:  # memory is all that bounds them
        header = ["Filesystem", "Inodes", "IUsed", "IFree", "IUse%"]
        row = [url, "-", (show_short if human else str)(found.f_files), "-", "-"]
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
