"""``memfs put``, ``get`` and ``cp``: to, from and within the cluster.

The options and what they mean for every kind of source and target are those of cp(1).
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from memfs.cli.command import Failed
from memfs.cli.files.names import check_targets
from memfs.cli.files.progress import Report, shown_progress
from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.pipes import PIECE_BYTES, Pipe
from memfs.cli.shell import Shell, file_command, quoted, reason, write_json
from memfs.cli.streams import INPUT, OUTPUT
from memfs.client.stat import Stat
from memfs.client.transfer.cluster_target import put_stream
from memfs.client.transfer.copy_calls import copy as copy_tree
from memfs.client.transfer.copy_calls import get as get_tree
from memfs.client.transfer.copy_calls import put as put_tree
from memfs.client.transfer.copying import Follow, Item, Transferred
from memfs.client.transfer.hard_links import HardLinks
from memfs.client.transfer.upload import new_bits
from memfs.paths import join
from memfs.types import FileKind

F = TypeVar("F", bound=Callable[..., Any])


class CopyFlags(NamedTuple):
    """How to copy."""

    recursive: bool
    preserve: bool
    xattrs: bool
    """With ``preserve``: extended attributes too."""
    links: HardLinks | None
    """Of all operands; None: each name gets a copy."""
    follow: Follow
    plain: bool
    """The target is the new name, not a directory to copy into."""
    directory: str | None
    """To copy all operands into."""
    no_clobber: bool
    verbose: bool
    as_json: bool


def _copy_options(function: F) -> F:
    """Add the options that the three commands share, given to the body as one ``options``."""

    @functools.wraps(function)
    async def body(shell: Shell, **given: Any) -> None:
        archive, links = given.pop("archive"), given.pop("links")
        recursive = given.pop("recursive") or archive
        follow = given.pop("follow") or (Follow.NEVER if links or recursive else Follow.NAMED)
        preserve = given.pop("preserve") or archive
        hard = HardLinks() if preserve or links else None
        check_targets(given["directory"], given["plain"])
        names = ("plain", "directory", "no_clobber", "verbose", "as_json")
        rest = {name: given.pop(name) for name in names}
        await function(
            shell, options=CopyFlags(recursive, preserve, archive, hard, follow, **rest), **given
        )

    for decorate in reversed(_SHARED):
        body = decorate(body)
    return body  # type: ignore[return-value]


_SHARED = (
    click.option("-r", "-R", "--recursive", is_flag=True, help="Directories and all in them."),
    click.option("-p", "--preserve", is_flag=True, help="Keep modes, times and hard links."),
    click.option(
        "-a", "--archive", is_flag=True, help="Short for -r -p -d; extended attributes too."
    ),
    click.option(
        "-L", "--dereference", "follow", flag_value=Follow.ALWAYS, help="Follow symbolic links."
    ),
    click.option("-H", "follow", flag_value=Follow.NAMED, help="Follow those that are operands."),
    click.option(
        "-P", "--no-dereference", "follow", flag_value=Follow.NEVER, help="Copy links as links."
    ),
    click.option("-d", "links", is_flag=True, help="The same, and keep hard links."),
    click.option("-t", "--target-directory", "directory", help="Copy all operands into it."),
    click.option("-T", "--no-target-directory", "plain", is_flag=True, help="TARGET is the name."),
    click.option(
        "-f", "--force", is_flag=True, expose_value=False, help="Replace what exists (as always)."
    ),
    click.option("-n", "--no-clobber", is_flag=True, help="Do not replace what exists."),
    click.option("-v", "--verbose", is_flag=True, help="Say what is copied."),
    click.option("-q", "--quiet", is_flag=True, help="No progress bar, no summary."),
    json_option,
)

_recover_option = click.option(
    "--recover",
    is_flag=True,
    help="Replace also files that somebody else has open for writing: they cannot go on.",
)


class _Course(NamedTuple):
    """One run of a command: what is the same for each of its operands."""

    shell: Shell
    act: str
    options: CopyFlags
    target: str
    into: bool
    """The target is a directory that takes the sources."""
    report: Report
    made: dict[str, str]
    """Targets of operands that are no directories, so far, and their sources."""

    def place_of(self, name: str) -> str:
        """Where the source ``name`` goes; ``x/.`` and ``..`` stand for what is in them."""
        base = name.rstrip("/").rpartition("/")[2]
        there = self.target.rstrip("/") or "/"
        if not self.into or base in ("", ".", ".."):
            return there
        return join(there, base)

    def may_make(self, source: str, target: str) -> bool:
        """Whether ``target`` can be a file, and no earlier operand made it; else a word."""
        if not self.into and self.target.endswith("/"):
            self.shell.complain(f"{self.act} {quoted(source)}: target is not a directory")
            return False
        if target not in self.made:
            self.made[target] = source
            return True
        if self.made[target] == source:
            self.shell.warn(f"source file {quoted(source)} specified more than once")
        else:
            text = f"will not overwrite just-created {quoted(target)} with {quoted(source)}"
            self.shell.complain(text)
        return False

    def omits(self, source: str, directory: bool) -> bool:
        """Whether it is a directory and those are not copied; a complaint if so."""
        if directory and not self.options.recursive:
            self.shell.complain(f"-r not specified; omitting directory {quoted(source)}")
        return directory and not self.options.recursive

    async def run(self, copy: Callable[..., Awaitable[Transferred]], source: str, to: str) -> None:
        """Copy one operand and say what failed."""
        chosen = Choice(self.shell, self.options, local=copy is get_tree)
        try:
            done = await copy(
                self.shell.fs,
                source,
                to,
                preserve=self.options.preserve,
                xattrs=self.options.xattrs,
                links=self.options.links,
                follow_symlinks=self.options.follow,
                progress=self.report.progress,
                return_errors=True,
                choose=chosen.choose,
            )
        except OSError as error:
            if error.errno != errno.ENOSPC or not error.filename:
                raise
            self.shell.complain(f"{self.act} {quoted(error.filename)}: {reason(error)}")
            return
        for failure in done.failures:
            self.shell.complain(f"{self.act} {quoted(failure.path)}: {reason(failure.error)}")
        if self.options.as_json:
            failed = [{"path": path, "error": reason(error)} for path, error in done.failures]
            write_json({"source": source, "target": to} | done._asdict() | {"failures": failed})


class Choice:
    """What ``-n`` and ``-v`` do to each thing that is about to be copied."""

    def __init__(self, shell: Shell, options: CopyFlags, local: bool) -> None:
        self._shell, self._options, self._local = shell, options, local

    async def choose(self, items: Sequence[Item]) -> Sequence[Item]:
        """Those to copy."""
        if self._options.no_clobber:
            there = await self._there([item.target for item in items])
            items = [
                item
                for item, known in zip(items, there, strict=True)
                if not known or item.kind == FileKind.DIRECTORY
            ]
        if self._options.verbose:
            for item in items:
                print(f"{quoted(item.source)} -> {quoted(item.target)}")
        return items

    async def _there(self, targets: list[str]) -> list[bool]:
        if self._local:
            return await asyncio.to_thread(lambda: [os.path.lexists(each) for each in targets])
        found = await self._shell.fs.stat_many(targets, follow_symlinks=False)
        return [each is not None for each in found]


def _course(
    shell: Shell,
    act: str,
    options: CopyFlags,
    names: Sequence[str],
    target: str,
    into: bool,
    report: Report,
) -> _Course:
    """Raises Failed when several things, or a file, would need a directory that is not there."""
    into = into and not options.plain
    if not into and options.directory is not None:
        shell.complain(f"target directory {quoted(target)}: Not a directory")
        raise Failed
    if not into and (len(names) > 1 or (target.endswith("/") and not options.recursive)):
        shell.complain(f"target {quoted(target)} is not a directory")
        raise Failed
    return _Course(shell, act, options, target, into, report, {})


def _sources_and_target(operands: Sequence[str], options: CopyFlags) -> tuple[list[str], str]:
    """The target is the last operand, or the directory of ``-t``."""
    if options.directory is not None:
        return list(operands), options.directory
    *sources, target = operands
    if not sources:
        raise click.UsageError("a source and a target are needed")
    return sources, target


@file_command("put", example="memfs put -r ./directory /data\ntar c . | memfs put - /backup.tar")
@click.argument("locals_", nargs=-1, required=True, metavar="LOCAL... TARGET")
@click.option("--replication", type=click.IntRange(1, 8), help="Copies of each block.")
@_recover_option
@_copy_options
async def put(
    shell: Shell,
    locals_: tuple[str, ...],
    replication: int | None,
    recover: bool,
    quiet: bool,
    options: CopyFlags,
) -> None:
    """Copy local files into the cluster; LOCAL - is the standard input.

    Into TARGET if that is a directory, else under the name TARGET. Files appear when they are
    complete.
    """
    names, last = _sources_and_target(locals_, options)
    target = _operand(last)
    into = await shell.fs.isdir(target)
    with shown_progress(quiet) as report:
        course = _course(shell, "cannot put", options, names, target, into, report)
        storing = _Storing(replication, recover)
        for name in names:
            with shell.attempt("cannot put", name):
                await _put(course, name, storing)


class _Storing(NamedTuple):
    """How files are stored in the cluster."""

    replication: int | None
    recover: bool
    """Replace also what somebody else has open for writing."""


async def _put(course: _Course, name: str, storing: _Storing) -> None:
    options, there = course.options, course.place_of(name)
    if name == "-":
        if course.into:
            text = f"{quoted(course.target)} is a directory: the standard input needs a name"
            course.shell.complain(text)
            return
        await put_stream(course.shell.fs, there, Pipe(INPUT).read_into, **storing._asdict())
        return
    found = os.stat(name, follow_symlinks=options.follow.follows(named=True))  # noqa: PTH116 - once
    if course.omits(name, stat.S_ISDIR(found.st_mode)):
        return
    if not stat.S_ISDIR(found.st_mode) and not course.may_make(name, there):
        return
    no_directory = not stat.S_ISDIR(found.st_mode)
    if no_directory and options.no_clobber and await course.shell.lexists(there):
        return
    if options.recursive or stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
        await course.run(functools.partial(put_tree, **storing._asdict()), name, there)
        return
    pipe = await Pipe.opened(name, os.O_RDONLY)
    mode = stat.S_IMODE(found.st_mode) & new_bits()
    await put_stream(course.shell.fs, there, pipe.read_into, permissions=mode, **storing._asdict())


def _operand(text: str) -> Operand:
    operand: Operand = PATH.convert(text, None, click.get_current_context())
    return operand


@file_command("get", example="memfs get -r /data ./copy\nmemfs get /backup.tar - | tar x")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE... [LOCAL]")
@_copy_options
async def get(shell: Shell, sources: tuple[str, ...], quiet: bool, options: CopyFlags) -> None:
    """Copy files of the cluster to this machine; LOCAL - is the standard output.

    Into LOCAL (the current directory if not given) when that is a directory, else under that name.
    """
    here = len(sources) == 1 and options.directory is None
    given, local = _sources_and_target((*sources, ".") if here else sources, options)
    names = await shell.expand([_operand(name) for name in given], "cannot get")
    if local == "-" and options.directory is None:
        for name in names:
            with shell.attempt("cannot get", name):
                await _copy_to_pipe(shell, name, Pipe(OUTPUT))
        return
    with shown_progress(quiet) as report:
        into = _is_directory(local)
        course = _course(shell, "cannot get", options, names, local, into, report)
        for name in names:
            with shell.attempt("cannot get", name):
                await _get(course, name)


async def _get(course: _Course, name: Operand) -> None:
    options, there = course.options, course.place_of(name.content or name)
    found = await course.shell.fs.stat(name, follow_symlinks=options.follow.follows(named=True))
    if course.omits(name, found.is_dir()):
        return
    if not found.is_dir() and not course.may_make(name, there):
        return
    if found.is_file() and _is_stream(there):
        pipe = await Pipe.opened(there, os.O_WRONLY)
        try:
            await _copy_to_pipe(course.shell, name, pipe)
        finally:
            await pipe.close()
        return
    await course.run(get_tree, name, there)


def _is_directory(name: str) -> bool:
    return Path(name).is_dir()


def _is_stream(name: str) -> bool:
    """Whether ``name`` leads to a pipe or device: something to write into, not to replace."""
    try:
        mode = Path(name).stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


async def _copy_to_pipe(shell: Shell, name: str, output: Pipe) -> None:
    buffer = memoryview(bytearray(PIECE_BYTES))
    async with shell.fs.open(name, "rb", buffering=0) as file:
        while got := await file.readinto(buffer):
            await output.write(buffer[:got])


@file_command("cp", example="memfs cp -r /data /backup")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="SOURCE... TARGET")
@_recover_option
@_copy_options
async def cp(
    shell: Shell, paths: tuple[Operand, ...], recover: bool, quiet: bool, options: CopyFlags
) -> None:
    """Copy inside the cluster (put and get copy from and to this machine)."""
    given, last = _sources_and_target(paths, options)
    target = _operand(last)
    sources = await shell.expand([_operand(each) for each in given], "cannot copy")
    into = await shell.fs.isdir(target)
    with shown_progress(quiet) as report:
        course = _course(shell, "cannot copy", options, sources, target, into, report)
        for source in sources:
            with shell.attempt("cannot copy", source):
                await _cp(course, source, recover)


async def _cp(course: _Course, source: Operand, recover: bool) -> None:
    shell, there = course.shell, course.place_of(source.content or source)
    found = await shell.fs.stat(source, follow_symlinks=course.options.follow.follows(named=True))
    if course.omits(source, found.is_dir()):
        return
    if found.is_dir():
        if await _leads_into(shell, there, found):
            text = f"cannot copy a directory, {quoted(source)}, into itself, {quoted(there)}"
            shell.complain(text)
            return
    elif not course.may_make(source, there):
        return
    elif await _is_same(shell, source, there, found.is_symlink()):
        shell.complain(f"{quoted(source)} and {quoted(there)} are the same file")
        return
    await course.run(functools.partial(copy_tree, recover=recover), source, there)


async def _is_same(shell: Shell, source: str, target: str, link: bool) -> bool:
    """Whether a copy would replace what it reads, or what the copied link leads to."""
    first, second = await shell.fs.stat_many([source, target])
    if link:
        own, old = await shell.fs.stat_many([source, target], follow_symlinks=False)
        if old is not None and old.is_symlink():
            first, second = own, old
    return first is not None and second is not None and first.st_ino == second.st_ino


async def _leads_into(shell: Shell, target: str, found: Stat) -> bool:
    """Whether ``target`` is the directory ``found`` or lies in it."""
    parts = target.strip("/").split("/")
    above = ["/" + "/".join(parts[:count]) for count in range(len(parts) + 1)]
    known = await shell.fs.stat_many(above)
    return any(each is not None and each.st_ino == found.st_ino for each in known)
