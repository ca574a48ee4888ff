"""``memfs put``, ``get`` and ``cp``: to, from and within the cluster.

The options, and their meaning for every kind of source and target, are those of cp(1).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import click

from memfs.cli.command import Failed
from memfs.cli.files.copying.copy_flags import Choice, CopyFlags, copy_flags
from memfs.cli.files.copying.parents import Parents
from memfs.cli.files.passing_on import copy_range
from memfs.cli.files.progress import Report, shown_progress
from memfs.cli.options import PATH, Operand, WholeNumber
from memfs.cli.pipes import Pipe
from memfs.cli.shell import Shell, file_command, quoted, reason, subject, write_json
from memfs.cli.streams import INPUT, OUTPUT
from memfs.client.stat import Stat
from memfs.client.transfer.cluster_target import put_stream
from memfs.client.transfer.copy_calls import copy as copy_tree
from memfs.client.transfer.copy_calls import get as get_tree
from memfs.client.transfer.copy_calls import link_tree
from memfs.client.transfer.copy_calls import put as put_tree
from memfs.client.transfer.copying import Item, Transferred
from memfs.client.transfer.upload import new_bits
from memfs.paths import join
from memfs.types import FileKind

F = TypeVar("F", bound=Callable[..., object])


_recover_option = click.option(
    "--recover",
    is_flag=True,
    help="Replace also files that somebody else has open for writing: they cannot go on.",
)


class _Course(NamedTuple):
    """One run of a command: what all its operands share."""

    shell: Shell
    act: str
    options: CopyFlags
    target: str
    into: bool
    """The target is a directory that takes the sources."""
    report: Report
    made: dict[str, str]
    """Targets of operands that are no directories, so far, and their sources."""
    choice: Choice
    parents: Parents

    def place_of(self, name: str) -> str:
        """The target of the source ``name``; ``x/.`` and ``..`` mean the content of the
        directory."""
        if self.options.parents:
            return self.parents.place_of(name)
        base = name.rstrip("/").rpartition("/")[2]
        there = self.target.rstrip("/") or "/"
        if not self.into or base in ("", ".", ".."):
            return there
        return join(there, base)

    @contextlib.asynccontextmanager
    async def below_parents(self, source: str) -> AsyncIterator[None]:
        """Around the copy of one operand; with ``--parents`` its directories are made at the
        target."""
        made = await self.parents.make(source) if self.options.parents else []
        yield
        await self.parents.finish(made)

    def may_make(self, source: str, target: str) -> bool:
        """Whether ``target`` can be a file that no earlier operand made; prints an error if not."""
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
        """Whether it is a directory although directories are not copied; prints an error if so."""
        if directory and not self.options.recursive:
            self.shell.complain(f"-r not specified; omitting directory {quoted(source)}")
        return directory and not self.options.recursive

    async def run(self, copy: Callable[..., Awaitable[Transferred]], source: str, to: str) -> None:
        """Copy one operand and print what failed."""
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
                choose=self.choice.choose,
            )
        except OSError as error:
            if error.errno != errno.ENOSPC or not error.filename:
                raise
            self.shell.complain(f"{self.act} {quoted(error.filename)}: {reason(error)}")
            return
        for path, why in done.failures:
            there = to + path[len(source) :] if path.startswith(source) else to
            self.shell.complain(f"{self.act} {subject(why, path, there)}: {reason(why)}")
        if self.options.as_json:
            failed = [{"path": path, "error": reason(why)} for path, why in done.failures]
            write_json({"source": source, "target": to} | done._asdict() | {"failures": failed})


def _course(
    shell: Shell,
    act: str,
    options: CopyFlags,
    names: Sequence[str],
    target: str,
    into: bool,
    report: Report,
    parents: Parents,
) -> _Course:
    """Raises Failed when several things, or a file, would need a directory that is not there."""
    if options.parents and not into:
        raise click.UsageError("with --parents, the target has to be a directory")
    into = into and not options.plain
    if not into and options.directory is not None:
        shell.complain(f"target directory {quoted(target)}: Not a directory")
        raise Failed
    if not into and (len(names) > 1 or (target.endswith("/") and not options.recursive)):
        shell.complain(f"target {quoted(target)} is not a directory")
        raise Failed
    choice = Choice(shell, options, parents.local)
    return _Course(shell, act, options, target, into, report, {}, choice, parents)


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
@click.option("--replication", type=WholeNumber(1, 8), help="Copies of each block.")
@_recover_option
@copy_flags
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
        parents = Parents.of_put(shell.fs, target, options)
        course = _course(shell, "cannot put", options, names, target, into, report, parents)
        storing = _Storing(replication, recover)
        for name in names:
            there = "" if name == "-" else course.place_of(name)
            with shell.attempt("cannot put", target if name == "-" else name, there):
                async with course.below_parents(name):
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
    if options.recursive or stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
        await course.run(functools.partial(put_tree, **storing._asdict()), name, there)
        return
    if not await course.choice.wants(_stream_item(name, there, found.st_mtime_ns)):
        return
    pipe = await Pipe.opened(name, os.O_RDONLY)
    mode = stat.S_IMODE(found.st_mode) & new_bits()
    await put_stream(course.shell.fs, there, pipe.read_into, permissions=mode, **storing._asdict())


def _stream_item(source: str, target: str, modified_ns: int) -> Item:
    """One end of a copy that is a pipe or device."""
    return Item(source, target, FileKind.FIFO, 0, 0, modified_ns, named=True)


def _operand(text: str) -> Operand:
    operand: Operand = PATH.convert(text, None, click.get_current_context())
    return operand


@file_command("get", example="memfs get -r /data ./copy\nmemfs get /backup.tar - | tar x")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE... [LOCAL]")
@copy_flags
async def get(shell: Shell, sources: tuple[str, ...], quiet: bool, options: CopyFlags) -> None:
    """Copy files of the cluster to this machine; LOCAL - is the standard output.

    Into LOCAL (the current directory if not given) when that is a directory, else under that name.
    """
    here = len(sources) == 1 and options.directory is None
    given, local = _sources_and_target((*sources, ".") if here else sources, options)
    if not local:
        raise click.UsageError("an empty path")
    names = await shell.expand([_operand(name) for name in given], "cannot get")
    if local == "-" and options.directory is None:
        for name in names:
            with shell.attempt("cannot get", name):
                await _copy_to_pipe(shell, name, Pipe(OUTPUT))
        return
    with shown_progress(quiet) as report:
        into = _is_directory(local)
        parents = Parents.of_get(shell.fs, local, options)
        course = _course(shell, "cannot get", options, names, local, into, report, parents)
        for name in names:
            with shell.attempt("cannot get", name, course.place_of(name.content or name)):
                async with course.below_parents(name):
                    await _get(course, name)


async def _get(course: _Course, name: Operand) -> None:
    options, there = course.options, course.place_of(name.content or name)
    found = await course.shell.fs.stat(name, follow_symlinks=options.follow.follows(named=True))
    if course.omits(name, found.is_dir()):
        return
    if not found.is_dir() and not course.may_make(name, there):
        return
    if found.is_file() and _is_stream(there):
        if not await course.choice.wants(_stream_item(name, there, found.st_mtime_ns)):
            return
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
    """Whether ``name`` leads to a pipe or device, which is written into instead of replaced."""
    try:
        mode = Path(name).stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


async def _copy_to_pipe(shell: Shell, name: str, output: Pipe) -> None:
    async with shell.fs.open(name, "rb", buffering=0) as file:
        await copy_range(file, 0, None, output)


@file_command("cp", example="memfs cp -r /data /backup")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="SOURCE... TARGET")
@_recover_option
@click.option("-l", "--link", is_flag=True, help="Hard links instead of copies of files.")
@copy_flags
async def cp(
    shell: Shell,
    paths: tuple[Operand, ...],
    recover: bool,
    quiet: bool,
    options: CopyFlags,
) -> None:
    """Copy inside the cluster (put and get copy from and to this machine)."""
    copy: Callable[..., Awaitable[Transferred]] = functools.partial(copy_tree, recover=recover)
    if options.link:
        copy = functools.partial(link_tree, replace=options.force)
    given, last = _sources_and_target(paths, options)
    target = _operand(last)
    sources = await shell.expand([_operand(each) for each in given], "cannot copy")
    into = await shell.fs.isdir(target)
    with shown_progress(quiet) as report:
        parents = Parents.of_cp(shell.fs, target, options)
        course = _course(shell, "cannot copy", options, sources, target, into, report, parents)
        for source in sources:
            with shell.attempt("cannot copy", source, course.place_of(source.content or source)):
                async with course.below_parents(source):
                    await _cp(course, source, copy)


async def _cp(
    course: _Course, source: Operand, copy: Callable[..., Awaitable[Transferred]]
) -> None:
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
    elif not course.options.link and await _is_same(shell, source, there, found.is_symlink()):
        shell.complain(f"{quoted(source)} and {quoted(there)} are the same file")
        return
    await course.run(copy, source, there)


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
