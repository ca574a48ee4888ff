"""``memfs readlink`` and ``realpath``: where links lead."""

from __future__ import annotations

import enum
import posixpath
import sys

import click

from memfs.cli.options import PATH, Operand
from memfs.cli.shell import Shell, file_command, printable, reason
from memfs.errors import InvalidArgumentError, PathNotFoundError


class _Exists(enum.Enum):
    """How much of a path has to exist."""

    ALL = "all"
    DIRECTORY = "directory"
    """All components but the last one, with symbolic links resolved."""
    NOTHING = "nothing"


@file_command("readlink", example="memfs readlink /srv/current\nmemfs readlink -f /srv/current")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option(
    *("-f", "--canonicalize", "exists"),
    flag_value=_Exists.DIRECTORY,
    type=_Exists,
    help="The path without any symbolic link; its last name need not exist.",
)
@click.option(
    *("-e", "--canonicalize-existing", "exists"),
    flag_value=_Exists.ALL,
    type=_Exists,
    help="The same; all of it has to exist.",
)
@click.option(
    *("-m", "--canonicalize-missing", "exists"),
    flag_value=_Exists.NOTHING,
    type=_Exists,
    help="The same; nothing has to exist.",
)
@click.option("-n", "--no-newline", "bare", is_flag=True, help="No line end behind a single path.")
@click.option("-z", "--zero", is_flag=True, help="A NUL behind each instead of a line end.")
@click.option("-v", "--verbose", is_flag=True, help="Say why there is nothing to show.")
@click.option(
    *("-q", "-s", "--quiet", "--silent"), is_flag=True, expose_value=False, help="As always."
)
async def readlink(
    shell: Shell,
    paths: tuple[Operand, ...],
    exists: _Exists | None,
    bare: bool,
    zero: bool,
    verbose: bool,
) -> None:
    """Show what symbolic links say, or with -f, -e, -m where paths lead in the end.

    What is no link is told by the exit status alone, unless -v is given.
    """
    end = "\0" if zero else "\n"
    if bare and len(paths) == 1:
        end = ""
    elif bare:
        shell.warn("ignoring --no-newline with multiple arguments")
    for path in paths:
        try:
            text = await _canonical(shell, path, exists) if exists else await _text(shell, path)
        except OSError as error:
            shell.status = 1
            if verbose:
                shell.complain(f"{path}: {reason(error)}")
            continue
        _write(text, end)


async def _text(shell: Shell, path: Operand) -> str:
    if path != path.bare:
        raise InvalidArgumentError("it is no symbolic link", path=path)
    return await shell.fs.readlink(path)


@file_command(
    "realpath",
    example="memfs realpath /srv/current\nmemfs realpath --relative-to=/srv /srv/current",
)
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option(
    *("-e", "--canonicalize-existing", "exists"),
    flag_value=_Exists.ALL,
    type=_Exists,
    help="All of the path has to exist, not only its directory.",
)
@click.option(
    *("-m", "--canonicalize-missing", "exists"),
    flag_value=_Exists.NOTHING,
    type=_Exists,
    help="Nothing of it has to exist.",
)
@click.option("-s", "--strip", "--no-symlinks", "plain", is_flag=True, help="Links stay.")
@click.option("--relative-to", "start", type=PATH, metavar="DIR", help="As seen from DIR.")
@click.option("-z", "--zero", is_flag=True, help="A NUL behind each instead of a line end.")
@click.option("-q", "--quiet", is_flag=True, help="Say no errors.")
async def realpath(
    shell: Shell,
    paths: tuple[Operand, ...],
    exists: _Exists | None,
    plain: bool,
    start: Operand | None,
    zero: bool,
    quiet: bool,
) -> None:
    """Show paths without symbolic links; their last names need not exist."""
    wanted = exists or _Exists.DIRECTORY

    async def real(path: Operand) -> str:
        if plain and wanted is not _Exists.ALL:
            return path.bare
        found = await _canonical(shell, path, wanted)
        return path.bare if plain else found

    above = await real(start) if start is not None else ""
    for path in paths:
        try:
            text = await real(path)
        except OSError as error:
            shell.status = 1
            if not quiet:
                shell.complain(f"{path}: {reason(error)}")
            continue
        _write(posixpath.relpath(text, above) if above else text, "\0" if zero else "\n")


def _write(text: str, end: str) -> None:
    sys.stdout.write((text if end == "\0" else printable(text)) + end)


async def _canonical(shell: Shell, path: Operand, exists: _Exists) -> str:
    """``path`` without symbolic links. Raises an OSError when too little of it exists."""
    if exists is _Exists.NOTHING:
        return await shell.fs.realpath(path)
    try:
        if path != path.bare:
            await shell.fs.stat(path)  # what has a slash behind it is a directory
        return await shell.fs.realpath(path, strict=True)
    except PathNotFoundError:
        if exists is _Exists.ALL:
            raise
    real = await shell.fs.realpath(path)
    await shell.fs.realpath(posixpath.dirname(real) + "/", strict=True)
    return real
