"""``memfs cat``, ``head`` and ``tail``: the content of files.

Bytes go to the output as they are, in constant memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import click

from memfs.cli.files.looking.counts import Count
from memfs.cli.files.looking.marking import Marking, Marks
from memfs.cli.files.passing_on import copy_range
from memfs.cli.options import PATH, Operand
from memfs.cli.pipes import PIECE_BYTES, Pipe
from memfs.cli.shell import Shell, file_command, printable, quoted, reason
from memfs.cli.streams import OUTPUT
from memfs.errors import NotDirectoryError, PathNotFoundError, StaleHandleError

if TYPE_CHECKING:
    from memfs.client.aiofiles import AsyncFile
    from memfs.client.stat import Stat

FOLLOW_SECONDS = 0.5
_SCAN_BYTES = 64 * 1024
_END = (b"\n", b"\0")
"""Of lines, without and with ``-z``."""


@file_command("cat", example="memfs cat /logs/*.txt | grep error")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-n", "--number", is_flag=True, help="The number of each line before it.")
@click.option("-b", "--number-nonblank", "nonblank", is_flag=True, help="... of those not empty.")
@click.option("-s", "--squeeze-blank", "squeeze", is_flag=True, help="One empty line for several.")
@click.option("-E", "--show-ends", "ends", is_flag=True, help="$ at the end of lines.")
@click.option("-T", "--show-tabs", "tabs", is_flag=True, help="^I for tabs.")
@click.option("-v", "--show-nonprinting", "hidden", is_flag=True, help="^M, M-a and their like.")
@click.option("-A", "--show-all", "everything", is_flag=True, help="-vET.")
@click.option("-e", "hidden_and_ends", is_flag=True, help="-vE.")
@click.option("-t", "hidden_and_tabs", is_flag=True, help="-vT.")
@click.option("-u", "_unbuffered", is_flag=True, help="Nothing: what is read is written at once.")
async def cat(
    shell: Shell,
    paths: tuple[Operand, ...],
    number: bool,
    nonblank: bool,
    squeeze: bool,
    ends: bool,
    tabs: bool,
    hidden: bool,
    everything: bool,
    hidden_and_ends: bool,
    hidden_and_tabs: bool,
    _unbuffered: bool,
) -> None:
    """Write files to the output, one after the other."""
    output = Pipe(OUTPUT)
    ends = ends or everything or hidden_and_ends
    tabs = tabs or everything or hidden_and_tabs
    hidden = hidden or everything or hidden_and_ends or hidden_and_tabs
    marking = Marking(Marks(number, nonblank, squeeze, ends, tabs, hidden))
    for path in await shell.expand(paths, "cannot open"):
        with shell.attempt("cannot open", path):
            async with shell.fs.open(path, "rb", buffering=0) as file:
                if marking.idle:
                    await copy_range(file, 0, None, output)
                else:
                    await _copy_marked(file, marking, output)
    await output.write(memoryview(marking.rest()))


async def _copy_marked(file: AsyncFile, marking: Marking, output: Pipe) -> None:
    while data := await file.read(PIECE_BYTES):
        await output.write(memoryview(marking.marked(data)))


class _ShortCount(click.Command):
    """``head -5`` means ``head -n 5``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        for at, word in enumerate(args[:end]):
            after_option = at and args[at - 1] in ("-n", "--lines", "-c", "--bytes")
            if re.fullmatch(r"-[0-9]+", word) and not after_option:
                args = [*args[:at], f"--lines={word[1:]}", *args[at + 1 :]]
        return super().parse_args(ctx, args)


def _titles_and_ends(command: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The options that head and tail share."""
    for option in (
        click.option("-z", "--zero-terminated", "zero", is_flag=True, help="Lines end in NUL."),
        click.option("-v", "--verbose", is_flag=True, help="Names also above a single file."),
        click.option("-q", "--quiet", "--silent", is_flag=True, help="No names above the files."),
    ):
        command = option(command)
    return command


@file_command("head", cls=_ShortCount, example="memfs head -n 20 /logs/today")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-n", "--lines", type=Count(), default="10", help="Lines; -N: all but the last N.")
@click.option("-c", "--bytes", "count", type=Count(), help="Bytes; -N: all but the last N.")
@_titles_and_ends
async def head(
    shell: Shell,
    paths: tuple[Operand, ...],
    lines: tuple[str, int],
    count: tuple[str, int] | None,
    quiet: bool,
    verbose: bool,
    zero: bool,
) -> None:
    """Show the beginning of files."""
    output = Pipe(OUTPUT)
    operands = await shell.expand(paths, "cannot open")
    for at, path in enumerate(operands):
        with shell.attempt("cannot open", path):
            async with shell.fs.open(path, "rb", buffering=0) as file:
                if verbose or (len(operands) > 1 and not quiet):
                    await _title(output, path, at)
                end = await _head_end(file, lines, count, _END[zero])
                await copy_range(file, 0, end, output)


async def _head_end(
    file: AsyncFile, lines: tuple[str, int], count: tuple[str, int] | None, end: bytes
) -> int:
    """The offset at which the part to show ends."""
    sign, number = count or lines
    if sign != "-":
        return number if count is not None else await _after_lines(file, number, end)
    size = await file.seek(0, os.SEEK_END)
    if count is not None:
        return max(0, size - number)
    return await _before_lines(file, size, number, end)


async def _title(output: Pipe, path: str, at: int) -> None:
    text = f"{chr(10) if at else ''}==> {printable(path)} <==\n"
    await output.write(memoryview(text.encode("utf-8", "backslashreplace")))


async def _after_lines(file: AsyncFile, lines: int, end: bytes) -> int:
    """The offset behind the first ``lines`` lines."""
    offset = await file.seek(0)
    buffer = memoryview(bytearray(_SCAN_BYTES))
    while lines and (got := await file.readinto(buffer)):
        piece = bytes(buffer[:got])
        at = -1
        while lines and (at := piece.find(end, at + 1)) >= 0:
            lines -= 1
        offset += got if lines else at + 1
    return offset


@file_command("tail", cls=_ShortCount, example="memfs tail -f /logs/today")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-n", "--lines", type=Count(), default="10", help="Lines; +N: from line N on.")
@click.option("-c", "--bytes", "count", type=Count(), help="Bytes; +N: from byte N on.")
@click.option("-f", "--follow", is_flag=True, help="Go on as the file grows, also when renamed.")
@click.option("-F", "by_name", is_flag=True, help="Go on with whatever has that name.")
@_titles_and_ends
async def tail(
    shell: Shell,
    paths: tuple[Operand, ...],
    lines: tuple[str, int],
    count: tuple[str, int] | None,
    follow: bool,
    by_name: bool,
    quiet: bool,
    verbose: bool,
    zero: bool,
) -> None:
    """Show the end of files."""
    output = Pipe(OUTPUT)
    operands = await shell.expand(paths, "cannot open")
    if (follow or by_name) and len(operands) > 1:
        raise click.UsageError("one file only can be followed")
    for at, path in enumerate(operands):
        end = known = 0
        with shell.attempt("cannot open", path):
            known = (await shell.fs.stat(path)).st_ino if by_name else 0
            async with shell.fs.open(path, "rb", buffering=0) as file:
                if verbose or (len(operands) > 1 and not quiet):
                    await _title(output, path, at)
                size = await file.seek(0, os.SEEK_END)
                start = await _tail_start(file, size, lines, count, _END[zero])
                end = await copy_range(file, start, size - start, output)
                if follow and not by_name:
                    await _follow(shell, path, file, end, output)
        if by_name:
            await _follow_name(shell, path, known, end, output)


async def _tail_start(
    file: AsyncFile,
    size: int,
    lines: tuple[str, int],
    count: tuple[str, int] | None,
    end: bytes,
) -> int:
    """The offset at which the part to show begins."""
    sign, number = count or lines
    if count is not None:
        return min(size, max(0, number - 1)) if sign == "+" else max(0, size - number)
    if sign == "+":
        return await _after_lines(file, max(0, number - 1), end)
    return await _before_lines(file, size, number, end)


async def _before_lines(file: AsyncFile, size: int, lines: int, closing: bytes) -> int:
    """The offset of the last ``lines`` lines, searched backwards."""
    end = size
    wanted = lines
    buffer = memoryview(bytearray(_SCAN_BYTES))
    while end and lines:
        start = max(0, end - _SCAN_BYTES)
        await file.seek(start)
        got = await file.readinto(buffer[: end - start])
        piece = bytes(buffer[:got])
        # The line end that closes the file does not begin a line.
        at = len(piece) - (end == size and piece.endswith(closing))
        while (at := piece.rfind(closing, 0, at)) >= 0:
            wanted -= 1
            if not wanted:
                return start + at + 1
        end = start
    return size if not lines else 0


async def _follow(shell: Shell, path: str, file: AsyncFile, end: int, output: Pipe) -> None:
    """Show what is appended to an open file, whatever it is called; one that shrinks begins anew.

    Returns when the file is gone.
    """
    while True:
        try:
            end = await copy_range(file, end, None, output)
        except StaleHandleError:
            shell.complain(f"{path}: file was removed")
            return
        if await file.seek(0, os.SEEK_END) < end:
            shell.warn(f"{path}: file truncated")
            end = 0
            continue
        await asyncio.sleep(FOLLOW_SECONDS)


async def _follow_name(shell: Shell, path: str, known: int, end: int, output: Pipe) -> None:
    """Show what is appended to the file of that name, for ever; a new file of the same name is
    followed too.

    ``known``: the inode of which the bytes before ``end`` were shown.
    """
    async for found in _looks(shell, path):
        if known and found.st_ino != known:
            shell.warn(f"{quoted(path)} has been replaced; following new file")
            end = 0
        elif found.st_size < end:
            shell.warn(f"{path}: file truncated")
            end = 0
        known = found.st_ino
        if found.st_size > end:
            with contextlib.suppress(PathNotFoundError, StaleHandleError):
                async with shell.fs.open(path, "rb", buffering=0) as file:
                    end = await copy_range(file, end, None, output)


async def _looks(shell: Shell, path: str) -> AsyncIterator[Stat]:
    """The attributes of a file, asked for repeatedly as long as it exists."""
    gone = False
    while True:
        try:
            found = await shell.fs.stat(path)
        except (PathNotFoundError, NotDirectoryError) as error:
            if not gone:
                shell.warn(f"{quoted(path)} has become inaccessible: {reason(error)}")
            gone = True
        else:
            if gone:
                shell.warn(f"{quoted(path)} has appeared; following new file")
            gone = False
            yield found
        await asyncio.sleep(FOLLOW_SECONDS)
