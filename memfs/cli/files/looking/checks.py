"""``memfs test``: what a path is, told by the exit status alone."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import click

from memfs.cli.options import PATH, Operand
from memfs.cli.shell import VANISHED, Shell, file_command
from memfs.client.stat import Stat
from memfs.errors import AccessDeniedError, SymlinkLoopError
from memfs.types import FileKind

_NOT_THERE = (*VANISHED, AccessDeniedError, SymlinkLoopError)
_KINDS = {
    "f": FileKind.FILE,
    "d": FileKind.DIRECTORY,
    "p": FileKind.FIFO,
    "S": FileKind.SOCKET,
    "b": FileKind.BLOCK_DEVICE,
    "c": FileKind.CHARACTER_DEVICE,
}
_BITS = {"u": 0o4000, "g": 0o2000, "k": 0o1000}
_ACCESS = {"r": os.R_OK, "w": os.W_OK, "x": os.X_OK}
_COMPARED: dict[str, Callable[[Stat | None, Stat | None], bool]] = {
    "nt": lambda one, two: one is not None and (two is None or one.st_mtime_ns > two.st_mtime_ns),
    "ot": lambda one, two: two is not None and (one is None or one.st_mtime_ns < two.st_mtime_ns),
    "ef": lambda one, two: one is not None and two is not None and one.st_ino == two.st_ino,
}


@file_command("test", example="memfs test -d /data && memfs test /a -nt /b || echo no")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH [PATH]")
@click.option("-e", "question", flag_value="e", help="It exists.")
@click.option("-f", "question", flag_value="f", help="... as a regular file.")
@click.option("-d", "question", flag_value="d", help="... as a directory.")
@click.option("-h", "-L", "question", flag_value="L", help="... as a symbolic link itself.")
@click.option("-p", "question", flag_value="p", help="... as a FIFO.")
@click.option("-S", "question", flag_value="S", help="... as a socket.")
@click.option("-b", "question", flag_value="b", help="... as a block device.")
@click.option("-c", "question", flag_value="c", help="... as a character device.")
@click.option("-s", "question", flag_value="s", help="It is not empty.")
@click.option("-z", "question", flag_value="z", help="It is empty (Hadoop's; no text is tested).")
@click.option("-r", "question", flag_value="r", help="It may be read.")
@click.option("-w", "question", flag_value="w", help="It may be written.")
@click.option("-x", "question", flag_value="x", help="It may be searched or executed.")
@click.option("-O", "question", flag_value="O", help="It is the user's.")
@click.option("-u", "question", flag_value="u", help="It has the set-user-id bit.")
@click.option("-g", "question", flag_value="g", help="... the set-group-id bit.")
@click.option("-k", "question", flag_value="k", help="... the sticky bit.")
@click.option("-nt", "question", flag_value="nt", help="The first is newer than the second.")
@click.option("-ot", "question", flag_value="ot", help="... older.")
@click.option("-ef", "question", flag_value="ef", help="Both are one file.")
async def test(shell: Shell, paths: tuple[Operand, ...], question: str | None) -> None:
    """Tell by the exit status what a path is: 0 yes, 1 no, 2 a mistake.

    Symbolic links are followed, but by -L. What cannot be looked at counts as missing.
    """
    wanted = 2 if question in _COMPARED else 1
    if len(paths) != wanted or question is None:
        raise click.UsageError("one question about one path, or -nt, -ot, -ef about two")
    if question in _COMPARED:
        one, two = await shell.fs.stat_many(list(paths))
        answer = _COMPARED[question](one, two)
    else:
        answer = await _is_so(shell, paths[0], question)
    shell.status = 0 if answer else 1


async def _is_so(shell: Shell, path: Operand, question: str) -> bool:
    if question in _ACCESS:
        return await shell.fs.access(path, _ACCESS[question])
    look: Callable[[str], Awaitable[Stat]] = shell.fs.lstat if question == "L" else shell.fs.stat
    try:
        found = await look(path)
    except _NOT_THERE:
        return False
    if question in _KINDS:
        return found.kind == _KINDS[question]
    if question in _BITS:
        return bool(found.attributes.mode & _BITS[question])
    return {
        "e": True,
        "L": found.is_symlink(),
        "s": found.st_size > 0 or found.is_dir(),
        "z": found.is_file() and not found.st_size,
        "O": found.owner == shell.session.identity.user,
    }[question]
