"""``memfs put`` and ``memfs get``: between the local disk, or a pipe, and the cluster."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

import click

from memfs.cli.options import PATH, Operand
from memfs.cli.pipes import PIECE_BYTES, Pipe
from memfs.cli.shell import Failed, Shell, file_command, quoted, reason
from memfs.client.copying import Progress, ProgressEvent, Transferred
from memfs.client.transfer import get as get_tree
from memfs.client.transfer import put as put_tree
from memfs.client.upload import put_stream
from memfs.paths import join
from memfs.quantities import show_size

_INPUT, _OUTPUT = 0, 1
_REFRESH_SECONDS = 0.1


@file_command("put", example="memfs put -r ./directory /data\ntar c . | memfs put - /backup.tar")
@click.argument("locals_", nargs=-1, required=True, metavar="LOCAL... TARGET")
@click.option("-r", "-R", "--recursive", is_flag=True, help="Directories and all in them.")
@click.option("-p", "--preserve", is_flag=True, help="Keep exact modes and times.")
@click.option("-L", "--dereference", "follow", is_flag=True, help="Follow symbolic links.")
@click.option("--replication", type=click.IntRange(1, 8), help="Copies of each block.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, no summary.")
async def put(
    shell: Shell,
    locals_: tuple[str, ...],
    recursive: bool,
    preserve: bool,
    follow: bool,
    replication: int | None,
    quiet: bool,
) -> None:
    """Copy local files into the cluster; LOCAL - is the standard input.

    Into TARGET if that is a directory, else under the name TARGET. Files appear when they are
    complete.
    """
    *names, last = locals_
    if not names:
        raise click.UsageError("a LOCAL and a TARGET are needed")
    target = _target(last)
    into = await shell.fs.isdir(target)
    if not into and (len(names) > 1 or target.folder):
        shell.complain(f"target {quoted(target)} is not a directory")
        raise Failed
    with _progress(quiet) as report:
        for name in names:
            with shell.attempt("cannot put", name):
                if name == "-":
                    await _put_input(shell, target, into, replication)
                    continue
                if _is_directory(name) and not recursive:
                    shell.complain(f"-r not specified; omitting directory {quoted(name)}")
                    continue
                there = join(target, _base_name(name)) if into else target
                done = await put_tree(
                    shell.fs,
                    name,
                    there,
                    preserve=preserve,
                    follow_symlinks=follow,
                    replication=replication,
                    progress=report.progress,
                    return_errors=True,
                )
                _complain(shell, "cannot put", done)


async def _put_input(shell: Shell, target: Operand, into: bool, replication: int | None) -> None:
    if into:
        shell.complain(f"{quoted(target)} is a directory: the standard input needs a name")
        return
    pipe = Pipe(_INPUT)
    await put_stream(shell.fs, target, pipe.read_into, replication=replication)


def _target(text: str) -> Operand:
    operand: Operand = PATH.convert(text, None, click.get_current_context())
    return operand


def _is_directory(name: str) -> bool:
    return os.path.isdir(name)  # noqa: PTH112 - one system call, before anything is under way


def _base_name(name: str) -> str:
    """The last component, also of ``.`` and ``..``."""
    return os.path.basename(os.path.abspath(name))  # noqa: PTH100, PTH119 - keeps symlinks as named


@file_command("get", example="memfs get -r /data ./copy\nmemfs get /backup.tar - | tar x")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE... [LOCAL]")
@click.option("-r", "-R", "--recursive", is_flag=True, help="Directories and all in them.")
@click.option("-p", "--preserve", is_flag=True, help="Keep exact modes and times.")
@click.option("-L", "--dereference", "follow", is_flag=True, help="Follow symbolic links.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, no summary.")
async def get(
    shell: Shell,
    sources: tuple[str, ...],
    recursive: bool,
    preserve: bool,
    follow: bool,
    quiet: bool,
) -> None:
    """Copy files of the cluster to this machine; LOCAL - is the standard output.

    Into LOCAL (the current directory if not given) when that is a directory, else under that name.
    """
    *given, local = sources if len(sources) > 1 else (*sources, ".")
    names = await shell.expand([_target(name) for name in given], "cannot get")
    into = _is_directory(local)
    if not into and local != "-" and (len(names) > 1 or local.endswith("/")):
        shell.complain(f"target {quoted(local)} is not a directory")
        raise Failed
    with _progress(quiet or local == "-") as report:
        for name in names:
            with shell.attempt("cannot get", name):
                if local == "-":
                    await _get_output(shell, name)
                    continue
                if not recursive and (await shell.fs.stat(name)).is_dir():
                    shell.complain(f"-r not specified; omitting directory {quoted(name)}")
                    continue
                there = join(local, name.rpartition("/")[2]) if into else local
                done = await get_tree(
                    shell.fs,
                    name,
                    there,
                    preserve=preserve,
                    follow_symlinks=follow,
                    progress=report.progress,
                    return_errors=True,
                )
                _complain(shell, "cannot get", done)


async def _get_output(shell: Shell, name: str) -> None:
    output = Pipe(_OUTPUT)
    buffer = memoryview(bytearray(PIECE_BYTES))
    async with shell.fs.open(name, "rb", buffering=0) as file:
        while got := await file.readinto(buffer):
            await output.write(buffer[:got])


def _complain(shell: Shell, act: str, done: Transferred) -> None:
    for failure in done.failures:
        shell.complain(f"{act} {quoted(failure.path)}: {reason(failure.error)}")


# --- progress ------------------------------------------------------------------------------------


class _Report:
    """What the user sees of a copy: nothing, or a bar and a summary on a terminal."""

    progress: Progress | None = None

    def finish(self) -> None:
        """Everything is copied."""


class _Bar(_Report):
    """A bar on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bars

        self.progress = self._show
        self._started = time.monotonic()
        self._shown = 0.0
        self._before = self._last = ProgressEvent("", 0, 0, 0, 0)
        self.bars = Bars(
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[files]} files {task.description}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self.bars.add_task("", total=None, files=0)

    def _show(self, event: ProgressEvent) -> None:
        if event.total_files < self._last.total_files:  # the next operand began
            self._before = self._sum()
        self._last = event
        now = time.monotonic()
        if now - self._shown < _REFRESH_SECONDS:
            return
        self._shown = now
        done = self._sum()
        self.bars.update(
            self._task,
            completed=done.bytes,
            total=done.total_bytes,
            files=done.files,
            description=_safe_name(event.path),
        )

    def _sum(self) -> ProgressEvent:
        """This operand's counts and those before it."""
        old, new = self._before, self._last
        return ProgressEvent(
            new.path,
            old.bytes + new.bytes,
            old.files + new.files,
            old.total_bytes + new.total_bytes,
            old.total_files + new.total_files,
        )

    def finish(self) -> None:
        done = self._sum()
        seconds = max(time.monotonic() - self._started, 1e-6)
        rate = f"{show_size(done.bytes / seconds)}/s"
        text = f"{done.files} files, {show_size(done.bytes)} in {seconds:.1f} s, {rate}"
        click.echo(text, err=True)


def _safe_name(path: str) -> str:
    """The last component, short and printable."""
    name = path.rstrip("/").rpartition("/")[2]
    shown = "".join(each if each.isprintable() else "?" for each in name)
    return shown if len(shown) <= 40 else shown[:37] + "..."


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[_Report]:
    """A bar if stderr is a terminal and nobody asked for silence."""
    if quiet or not sys.stderr.isatty():
        yield _Report()
        return
    bar = _Bar()
    with bar.bars:
        yield bar
    bar.finish()
