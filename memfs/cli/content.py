"""``memfs cat``, ``head``, ``tail``, ``touch`` and ``truncate``: what is inside of files.

Bytes go to the output as they are, in constant memory.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from memfs.cli.options import PATH, Operand, Quantity
from memfs.cli.pipes import PIECE_BYTES, Pipe
from memfs.cli.shell import Shell, file_command, printable
from memfs.errors import PathNotFoundError
from memfs.quantities import parse_size

if TYPE_CHECKING:
    from memfs.client.aiofiles import AsyncFile

FOLLOW_SECONDS = 0.5
_SCAN_BYTES = 64 * 1024
_OUTPUT = 1


@file_command("cat", example="memfs cat /logs/*.txt | grep error")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
async def cat(shell: Shell, paths: tuple[Operand, ...]) -> None:
    """Write files to the output, one after the other."""
    output = Pipe(_OUTPUT)
    for path in await shell.expand(paths, "cannot open"):
        with shell.attempt("cannot open", path):
            async with shell.fs.open(path, "rb", buffering=0) as file:
                await _copy_range(file, 0, None, output)


async def _copy_range(file: AsyncFile, start: int, count: int | None, output: Pipe) -> int:
    """Bytes from ``start`` to the output, ``count`` of them or all; the position reached."""
    buffer = memoryview(bytearray(PIECE_BYTES))
    await file.seek(start)
    position = start
    while count is None or position < start + count:
        left = PIECE_BYTES if count is None else min(PIECE_BYTES, start + count - position)
        got = await file.readinto(buffer[:left])
        if not got:
            break
        await output.write(buffer[:got])
        position += got
    return position


class _Count(click.ParamType[tuple[str, int]]):
    """``10``, or with a sign: what it means is up to the command."""

    name = "count"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([-+]?)(.+)", str(value))
        try:
            assert found is not None
            return found[1], parse_size(found[2])
        except (ValueError, AssertionError):
            self.fail(f"invalid number: {value!r}", param, ctx)


@file_command("head", example="memfs head -n 20 /logs/today")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-n", "--lines", type=click.IntRange(0), default=10, show_default=True)
@click.option("-c", "--bytes", "count", type=Quantity("size", parse_size), help="Bytes instead.")
@click.option("-q", "--quiet", is_flag=True, help="No names above the files.")
async def head(
    shell: Shell, paths: tuple[Operand, ...], lines: int, count: int | None, quiet: bool
) -> None:
    """Show the beginning of files."""
    output = Pipe(_OUTPUT)
    operands = await shell.expand(paths, "cannot open")
    for at, path in enumerate(operands):
        with shell.attempt("cannot open", path):
            async with shell.fs.open(path, "rb", buffering=0) as file:
                if len(operands) > 1 and not quiet:
                    await _title(output, path, at)
                size = await _after_lines(file, lines) if count is None else count
                await _copy_range(file, 0, size, output)


async def _title(output: Pipe, path: str, at: int) -> None:
    text = f"{chr(10) if at else ''}==> {printable(path)} <==\n"
    await output.write(memoryview(text.encode("utf-8", "backslashreplace")))


async def _after_lines(file: AsyncFile, lines: int) -> int:
    """The offset behind the first ``lines`` lines."""
    offset = 0
    buffer = memoryview(bytearray(_SCAN_BYTES))
    while lines and (got := await file.readinto(buffer)):
        piece = bytes(buffer[:got])
        at = -1
        while lines and (at := piece.find(b"\n", at + 1)) >= 0:
            lines -= 1
        offset += got if lines else at + 1
    return offset


@file_command("tail", example="memfs tail -f /logs/today")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-n", "--lines", type=_Count(), default="10", help="Lines; +N: from line N on.")
@click.option("-c", "--bytes", "count", type=_Count(), help="Bytes; +N: from byte N on.")
@click.option("-f", "--follow", is_flag=True, help="Go on as the file grows.")
@click.option("-q", "--quiet", is_flag=True, help="No names above the files.")
async def tail(
    shell: Shell,
    paths: tuple[Operand, ...],
    lines: tuple[str, int],
    count: tuple[str, int] | None,
    follow: bool,
    quiet: bool,
) -> None:
    """Show the end of files."""
    output = Pipe(_OUTPUT)
    operands = await shell.expand(paths, "cannot open")
    if follow and len(operands) > 1:
        raise click.UsageError("one file only can be followed")
    for at, path in enumerate(operands):
        with shell.attempt("cannot open", path):
            async with shell.fs.open(path, "rb", buffering=0) as file:
                if len(operands) > 1 and not quiet:
                    await _title(output, path, at)
                size = (await shell.fs.stat(path)).st_size
                start = await _tail_start(file, size, lines, count)
                end = await _copy_range(file, start, size - start, output)
            if follow:
                await _follow(shell, path, end, output)


async def _tail_start(
    file: AsyncFile, size: int, lines: tuple[str, int], count: tuple[str, int] | None
) -> int:
    """Where the part to show begins."""
    sign, number = count or lines
    if count is not None:
        return min(size, max(0, number - 1)) if sign == "+" else max(0, size - number)
    if sign == "+":
        return await _after_lines(file, max(0, number - 1))
    return await _before_lines(file, size, number)


async def _before_lines(file: AsyncFile, size: int, lines: int) -> int:
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
        at = len(piece) - (end == size and piece.endswith(b"\n"))
        while (at := piece.rfind(b"\n", 0, at)) >= 0:
            wanted -= 1
            if not wanted:
                return start + at + 1
        end = start
    return size if not lines else 0


async def _follow(shell: Shell, path: str, position: int, output: Pipe) -> None:
    """Show what is appended, for ever; a file that shrinks begins anew."""
    async for size in _sizes(shell, path):
        if size < position:
            shell.complain(f"{path}: file truncated")
            position = 0
        if size > position:
            async with shell.fs.open(path, "rb", buffering=0) as file:
                position = await _copy_range(file, position, size - position, output)


async def _sizes(shell: Shell, path: str) -> AsyncIterator[int]:
    while True:
        yield (await shell.fs.stat(path)).st_size
        sys.stdout.flush()
        await asyncio.sleep(FOLLOW_SECONDS)


class _Moment(click.ParamType[int]):
    """A time, as nanoseconds since the epoch."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        text = str(value)
        try:
            if text.startswith("@"):
                return round(float(text[1:]) * 1e9)
            return round(datetime.fromisoformat(text).timestamp() * 1e9)
        except ValueError:
            self.fail(f"invalid time {text!r}: write 2026-01-31T12:00 or @SECONDS", param, ctx)


@file_command("touch", example="memfs touch -d 2026-01-31T12:00 /data/file")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-c", "--no-create", is_flag=True, help="Only what exists.")
@click.option("-d", "--date", "moment", type=_Moment(), help="This time instead of now.")
@click.option("-r", "--reference", type=PATH, help="The times of that file.")
async def touch(
    shell: Shell,
    paths: tuple[Operand, ...],
    no_create: bool,
    moment: int | None,
    reference: Operand | None,
) -> None:
    """Create empty files, or set the times of those that exist."""
    times = None if moment is None else (moment, moment)
    if reference is not None:
        found = await shell.fs.stat(reference)
        times = (found.st_atime_ns, found.st_mtime_ns)
    for path in await shell.expand(paths, "cannot touch"):
        with shell.attempt("cannot touch", path):
            try:
                await shell.fs.utime(path, ns=times)
                continue
            except PathNotFoundError:
                if no_create:
                    continue
            async with shell.fs.open(path, "ab"):
                pass
            if times is not None:
                await shell.fs.utime(path, ns=times)


@file_command("truncate", example="memfs truncate -s 1M /data/file")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-s", "--size", type=_Count(), required=True, help="Bytes; +N adds, -N takes away.")
@click.option("-c", "--no-create", is_flag=True, help="Only what exists.")
async def truncate(
    shell: Shell, paths: tuple[Operand, ...], size: tuple[str, int], no_create: bool
) -> None:
    """Set the length of files; what is added reads as zeros."""
    sign, number = size
    for path in await shell.expand(paths, "cannot truncate"):
        with shell.attempt("cannot truncate", path):
            try:
                old = (await shell.fs.stat(path)).st_size
            except PathNotFoundError:
                if no_create:
                    continue
                old = 0
                async with shell.fs.open(path, "ab"):
                    pass
            new = old + number if sign == "+" else old - number if sign == "-" else number
            await shell.fs.truncate(path, max(0, new))
