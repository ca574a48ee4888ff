"""``memfs touch`` and ``truncate``: files are created, their times and lengths set."""

from __future__ import annotations

import time
from datetime import datetime

import click

from memfs.cli.files.looking.counts import NewSize
from memfs.cli.files.looking.moments import GivenTime, parse_moment
from memfs.cli.options import PATH, Operand
from memfs.cli.shell import Shell, file_command
from memfs.errors import PathNotFoundError


class _Moment(click.ParamType[GivenTime]):
    """A time as date(1) takes it."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> GivenTime:
        text = str(value)
        try:
            found = parse_moment(text)
            found.at(time.time_ns())
        except (ValueError, OverflowError):
            known = "2026-01-31T12:00, '2 days ago' or @SECONDS"
            self.fail(f"invalid time {text!r}: write {known}", param, ctx)
        return found


class _Stamp(click.ParamType[int]):
    """``[[CC]YY]MMDDhhmm[.ss]`` as touch -t takes it, as nanoseconds since the epoch."""

    name = "stamp"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        text = str(value)
        digits, dot, seconds = text.partition(".")
        form = {8: "%m%d%H%M", 10: "%y%m%d%H%M", 12: "%Y%m%d%H%M"}.get(len(digits), "")
        try:
            if not form or not text.isascii() or (dot and len(seconds) != 2):
                raise ValueError
            if len(digits) == 8:
                form, digits = "%Y%m%d%H%M", f"{datetime.now().year}{digits}"
            found = datetime.strptime(digits + (seconds or "00"), f"{form}%S")
            return int(found.timestamp()) * 10**9
        except (ValueError, OverflowError):
            self.fail(f"invalid time {text!r}: write [[CC]YY]MMDDhhmm[.ss]", param, ctx)


@file_command("touch", example="memfs touch -d 2026-01-31T12:00 /data/file")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-c", "--no-create", is_flag=True, help="Only what exists.")
@click.option(
    "-d",
    "--date",
    "moment",
    type=_Moment(),
    help="This time instead of now: 2026-01-31T12:00, '2 days ago', @SECONDS; relative to -r's.",
)
@click.option("-t", "stamp", type=_Stamp(), help="The same, as [[CC]YY]MMDDhhmm[.ss].")
@click.option("-r", "--reference", type=PATH, help="The times of that file.")
@click.option("-a", "only_accessed", is_flag=True, help="Only the time of access.")
@click.option("-m", "only_modified", is_flag=True, help="Only that of the content.")
@click.option("-h", "--no-dereference", "link", is_flag=True, help="Those of links themselves.")
async def touch(
    shell: Shell,
    paths: tuple[Operand, ...],
    no_create: bool,
    moment: GivenTime | None,
    stamp: int | None,
    reference: Operand | None,
    only_accessed: bool,
    only_modified: bool,
    link: bool,
) -> None:
    """Create empty files, or set the times of those that exist."""
    if stamp is not None and not (moment is None and reference is None):
        raise click.UsageError("cannot specify times from more than one source")
    times = None if stamp is None else (stamp, stamp)
    if reference is not None:
        found = await shell.reference(reference, follow_symlinks=not link)
        times = found.st_atime_ns, found.st_mtime_ns
    if moment is not None:
        accessed, modified = times or (time.time_ns(),) * 2
        times = moment.at(accessed), moment.at(modified)
    for path in await shell.expand(paths, "cannot touch"):
        with shell.attempt("cannot touch", path):
            try:
                wanted = times
                if only_accessed != only_modified:
                    found = await shell.fs.stat(path, follow_symlinks=not link)
                    accessed, modified = times or (time.time_ns(), time.time_ns())
                    accessed = accessed if only_accessed else found.st_atime_ns
                    modified = modified if only_modified else found.st_mtime_ns
                    wanted = accessed, modified
                await shell.fs.utime(path, ns=wanted, follow_symlinks=not link)
                continue
            except PathNotFoundError:
                if no_create:
                    continue
                if link:  # as touch(1): no file is made then
                    raise
            async with shell.fs.open(path, "ab"):
                pass
            if times is not None:
                await shell.fs.utime(path, ns=times)


@file_command("truncate", example="memfs truncate -s 1M /data/file")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option(
    "-s",
    "--size",
    type=NewSize(),
    help="Bytes; +N more, -N less, <N at most, >N at least, /N %N down or up to a multiple.",
)
@click.option("-r", "--reference", type=PATH, help="As long as that file, or that with -s +N.")
@click.option("-c", "--no-create", is_flag=True, help="Only what exists.")
async def truncate(
    shell: Shell,
    paths: tuple[Operand, ...],
    size: tuple[str, int] | None,
    reference: Operand | None,
    no_create: bool,
) -> None:
    """Set the length of files; what is added reads as zeros."""
    if size is None and reference is None:
        raise click.UsageError("neither --size nor --reference is given")
    if reference is not None and size is not None and not size[0]:
        raise click.UsageError("with --reference a size is relative: +N, -N, ...")
    if size is not None and size[0] in ("/", "%") and not size[1]:
        raise click.UsageError("division by zero")
    base = (await shell.reference(reference)).st_size if reference is not None else None
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
            await shell.fs.truncate(path, _new_length(old if base is None else base, size))


def _new_length(old: int, size: tuple[str, int] | None) -> int:
    sign, number = size or ("+", 0)
    return max(
        0,
        {
            "": lambda: number,
            "+": lambda: old + number,
            "-": lambda: old - number,
            "<": lambda: min(old, number),
            ">": lambda: max(old, number),
            "/": lambda: old // number * number,
            "%": lambda: -(-old // number) * number,
        }[sign](),
    )
