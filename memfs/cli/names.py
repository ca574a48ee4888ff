"""``memfs mkdir``, ``rmdir``, ``rm``, ``mv``, ``ln`` and ``cp``: changes of the tree."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence

import click

from memfs.cli.options import PATH, Operand
from memfs.cli.permissions import parse_mode
from memfs.cli.shell import Failed, Shell, file_command, quoted
from memfs.client.stat import Stat
from memfs.client.upload import put_stream
from memfs.errors import PathExistsError, PathNotFoundError
from memfs.machine import current_umask
from memfs.paths import join


@file_command("mkdir", example="memfs mkdir -p /data/2026/01")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-p", "--parents", is_flag=True, help="Parents too; no error if it exists.")
@click.option("-m", "--mode", "mode_text", help="Permissions, as chmod takes them.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
async def mkdir(
    shell: Shell, paths: tuple[Operand, ...], parents: bool, mode_text: str | None, verbose: bool
) -> None:
    """Make directories."""
    umask = current_umask()
    mode, unmasked = 0o777 & ~umask, 0o777 if mode_text is None else None
    if mode_text is not None:
        try:
            mode = parse_mode(mode_text, umask)(0o777, True)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    for path in paths:
        with shell.attempt("cannot create directory", path):
            if parents:
                await shell.fs.makedirs(path, mode, exist_ok=True, unmasked=unmasked)
            else:
                await shell.fs.mkdir(path, mode, unmasked=unmasked)
            if verbose:
                print(f"created directory {quoted(path)}")


@file_command("rmdir", example="memfs rmdir /data/empty")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
async def rmdir(shell: Shell, paths: tuple[Operand, ...], verbose: bool) -> None:
    """Remove empty directories."""
    for path in await shell.expand(paths, "failed to remove"):
        with shell.attempt("failed to remove", path):
            await shell.fs.rmdir(path)
            if verbose:
                print(f"removed directory {quoted(path)}")


@file_command("rm", example="memfs rm -r /data/old '/data/*.part'")
@click.argument("paths", nargs=-1, type=PATH, metavar="PATH...")
@click.option("-r", "-R", "--recursive", is_flag=True, help="Directories and all in them.")
@click.option("-f", "--force", is_flag=True, help="No error for what does not exist.")
@click.option("-i", "--interactive", is_flag=True, help="Ask before each operand.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
async def rm(
    shell: Shell,
    paths: tuple[Operand, ...],
    recursive: bool,
    force: bool,
    interactive: bool,
    verbose: bool,
) -> None:
    """Remove files, and trees with -r: at once, whatever their size."""
    if not paths and not force:
        raise click.UsageError("nothing to remove is named")
    for path in await _expand_present(shell, paths, force):
        with shell.attempt("cannot remove", path):
            try:
                found = await shell.fs.lstat(path)
            except PathNotFoundError:
                if force:
                    continue
                raise
            if interactive and not _confirmed(f"remove {_kind(found)} {quoted(path)}?"):
                continue
            await _remove(shell, path, found, recursive)
            if verbose:
                print(f"removed {quoted(path)}")


async def _expand_present(shell: Shell, paths: Sequence[Operand], force: bool) -> Sequence[Operand]:
    """Patterns replaced by what they match; with ``force``, none is no error."""
    if not force:
        return await shell.expand(paths, "cannot remove")
    found: list[Operand] = []
    for path in paths:
        quiet = Shell(shell.fs, shell.session)
        quiet.complain = lambda text: None  # type: ignore[method-assign]
        found += await quiet.expand([path], "cannot remove")
    return found


def _kind(found: Stat) -> str:
    return "directory" if found.is_dir() else "symbolic link" if found.is_symlink() else "file"


def _confirmed(question: str) -> bool:
    """Ask on stderr; only a line that begins with y means yes."""
    click.echo(f"memfs: {question} ", err=True, nl=False)
    return sys.stdin.readline().strip().lower().startswith("y")


async def _remove(shell: Shell, path: str, found: Stat, recursive: bool) -> None:
    if path == "/":
        shell.complain("it is dangerous to remove '/': name what is in it")
    elif not found.is_dir():
        await shell.fs.remove(path)
    elif recursive:
        await shell.fs.rmtree(path)
    else:
        shell.complain(f"cannot remove {quoted(path)}: Is a directory")


@file_command("mv", example="memfs mv /data/part-* /data/done")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="SOURCE... TARGET")
@click.option("-n", "--no-clobber", is_flag=True, help="Do not replace what exists.")
@click.option("-T", "--no-target-directory", "plain", is_flag=True, help="TARGET is the new name.")
@click.option("-f", "--force", is_flag=True, help="Replace what exists (as always).")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
async def mv(
    shell: Shell,
    paths: tuple[Operand, ...],
    no_clobber: bool,
    plain: bool,
    force: bool,
    verbose: bool,
) -> None:
    """Rename files and trees, or move them into a directory: atomically, whatever their size."""
    for source, target in await _pairs(shell, paths, "cannot move", plain):
        with shell.attempt("cannot move", source):
            try:
                if no_clobber:
                    await shell.fs.rename(source, target, overwrite=False)
                else:
                    await shell.fs.replace(source, target)
            except PathExistsError:
                continue
            if verbose:
                print(f"renamed {quoted(source)} -> {quoted(target)}")


async def _pairs(
    shell: Shell, paths: tuple[Operand, ...], act: str, plain: bool = False
) -> list[tuple[Operand, str]]:
    """Sources with where each goes: into the last operand if that is a directory."""
    if len(paths) < 2:
        raise click.UsageError("a source and a target are needed")
    *given, target = paths
    sources = await shell.expand(given, act)
    into = False if plain else await shell.fs.isdir(target)
    if not into and (len(given) > 1 or len(sources) > 1 or target.folder):
        shell.complain(f"target {quoted(target)} is not a directory")
        raise Failed
    if not into:
        return [(source, target) for source in sources]
    return [(source, join(target, source.rpartition("/")[2])) for source in sources]


@file_command("ln", example="memfs ln -s ../releases/7 /srv/current")
@click.argument("target", metavar="TARGET")
@click.argument("link", type=PATH, metavar="LINK")
@click.option("-s", "--symbolic", is_flag=True, help="A symbolic link; TARGET is kept as written.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing LINK.")
async def ln(shell: Shell, target: str, link: Operand, symbolic: bool, force: bool) -> None:
    """Make LINK another name of TARGET, or with -s a link to it."""
    if await shell.fs.isdir(link):
        link = Operand(join(link, target.rstrip("/").rpartition("/")[2]))
    with shell.attempt("cannot create link", link):
        if force and await shell.lexists(link):
            await shell.fs.remove(link)
        if symbolic:
            await shell.fs.symlink(target, link)
        else:
            await shell.fs.link(target, link)


@file_command("cp", example="memfs cp -r /data /backup")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="SOURCE... TARGET")
@click.option("-r", "-R", "--recursive", is_flag=True, help="Directories and all in them.")
@click.option("-n", "--no-clobber", is_flag=True, help="Do not replace what exists.")
@click.option("-p", "--preserve", is_flag=True, help="Keep mode and times.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
async def cp(
    shell: Shell,
    paths: tuple[Operand, ...],
    recursive: bool,
    no_clobber: bool,
    preserve: bool,
    verbose: bool,
) -> None:
    """Copy inside the cluster (put and get copy from and to this machine)."""
    copying = _Copying(shell, no_clobber, preserve, verbose)
    for source, target in await _pairs(shell, paths, "cannot copy"):
        with shell.attempt("cannot copy", source):
            found = await shell.fs.stat(source)
            if not found.is_dir():
                await copying.file(source, target, found)
            elif not recursive:
                shell.complain(f"-r not specified; omitting directory {quoted(source)}")
            elif f"{target}/".startswith(f"{source}/"):
                shell.complain(f"cannot copy a directory, {quoted(source)}, into itself")
            else:
                await copying.tree(source, target, found)


class _Copying:
    """One ``cp``: its options, and what it does to files and trees."""

    def __init__(self, shell: Shell, no_clobber: bool, preserve: bool, verbose: bool) -> None:
        self._shell = shell
        self._no_clobber = no_clobber
        self._preserve = preserve
        self._verbose = verbose

    async def file(self, source: str, target: str, found: Stat) -> None:
        """Copy one file or, inside of a tree, one symbolic link."""
        fs = self._shell.fs
        if self._no_clobber and await self._shell.lexists(target):
            return
        if found.is_symlink():
            await fs.symlink(await fs.readlink(source), target)
        else:
            await self._content(source, target, found)
            await self._keep(target, found)
        if self._verbose:
            print(f"{quoted(source)} -> {quoted(target)}")

    async def _content(self, source: str, target: str, found: Stat) -> None:
        """The bytes: a copy that fails leaves nothing under the target's name."""
        fs = self._shell.fs
        async with fs.open(source, "rb", buffering=0) as file:
            await put_stream(
                fs, target, file.readinto, size=found.st_size, permissions=found.attributes.mode
            )

    async def tree(self, source: str, target: str, found: Stat) -> None:
        """Copy a directory: each before what it holds, files several at once."""
        fs = self._shell.fs
        await fs.makedirs(target, found.attributes.mode | 0o700, exist_ok=True)
        directories = [(target, found)]

        async def files() -> AsyncIterator[tuple[str, Stat]]:
            async for path, each in self._shell.below(source):
                if each.is_dir():
                    there = target + path[len(source.rstrip("/")) :]
                    await fs.makedirs(there, each.attributes.mode | 0o700, exist_ok=True)
                    directories.append((there, each))
                else:
                    yield path, each

        async def one(item: tuple[str, Stat]) -> None:
            path, each = item
            with self._shell.attempt("cannot copy", path):
                await self.file(path, target + path[len(source.rstrip("/")) :], each)

        await self._shell.for_each(files(), one, width=8)
        for there, each in reversed(directories):
            await self._keep(there, each, always=True)

    async def _keep(self, target: str, found: Stat, always: bool = False) -> None:
        """Give the copy the mode, and with ``-p`` the times, of the original."""
        fs = self._shell.fs
        if always or self._preserve:
            await fs.chmod(target, found.attributes.mode)
        if self._preserve:
            await fs.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
