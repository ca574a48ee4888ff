"""``memfs mkdir``, ``rmdir`` and ``mv``: changes of the tree."""

from __future__ import annotations

import click

from memfs.cli.command import Failed
from memfs.cli.files.changing.replacing import Clobber, clobber_options, confirmed
from memfs.cli.files.looking.symbolic_modes import parse_mode
from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.shell import Shell, file_command, quoted, write_json
from memfs.client.transfer.moving import move
from memfs.errors import DirectoryNotEmptyError, PathExistsError
from memfs.machine import current_umask
from memfs.paths import join


@file_command("mkdir", example="memfs mkdir -p /data/2026/01")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-p", "--parents", is_flag=True, help="Parents too; no error if it exists.")
@click.option("-m", "--mode", "mode_text", help="Permissions, as chmod takes them.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
@json_option
async def mkdir(
    shell: Shell,
    paths: tuple[Operand, ...],
    parents: bool,
    mode_text: str | None,
    verbose: bool,
    as_json: bool,
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
            made: list[str] = [path]
            if parents:
                made = await _missing(shell, path) if verbose else made
                await shell.fs.makedirs(path, mode, exist_ok=True, unmasked=unmasked)
            else:
                await shell.fs.mkdir(path, mode, unmasked=unmasked)
            if as_json:
                write_json({"created": path})
            elif verbose:
                for each in made:
                    print(f"created directory {quoted(each)}")


async def _missing(shell: Shell, path: str) -> list[str]:
    """The directories that ``mkdir -p`` is about to make."""
    steps = ["/".join(path.split("/")[:end]) for end in range(2, path.count("/") + 2)]
    return [step for step in steps if step and not await shell.fs.exists(step)]


@file_command("rmdir", example="memfs rmdir /data/empty")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-p", "--parents", is_flag=True, help="And the ones above, while they are empty.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
@click.option("--ignore-fail-on-non-empty", "lenient", is_flag=True, help="Leave others, silently.")
async def rmdir(
    shell: Shell, paths: tuple[Operand, ...], parents: bool, verbose: bool, lenient: bool
) -> None:
    """Remove empty directories."""
    for path in await shell.expand(paths, "failed to remove"):
        if path.content.rpartition("/")[2] == ".":
            shell.complain(f"failed to remove {quoted(path.content)}: Invalid argument")
            continue
        each: str = path
        while each:
            failed, left = shell.status, False
            shell.status = 0
            with shell.attempt("failed to remove", each):
                try:
                    await shell.fs.rmdir(each)
                except DirectoryNotEmptyError:
                    if not lenient:
                        raise
                    left = True
                if verbose and not left:
                    print(f"removed directory {quoted(each)}")
            done, shell.status = not shell.status and not left, shell.status or failed
            each = each.rstrip("/").rpartition("/")[0] if parents and done else ""  # never the root


@file_command("mv", example="memfs mv /data/part-* /data/done")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="SOURCE... TARGET")
@clobber_options
@click.option("-u", "--update", is_flag=True, help="Only what is newer than what it replaces.")
@click.option("-t", "--target-directory", "into", type=PATH, help="Move all operands into it.")
@click.option("-T", "--no-target-directory", "plain", is_flag=True, help="TARGET is the new name.")
@click.option(
    "-f",
    "--force",
    "clobber",
    flag_value=Clobber.ALWAYS,
    type=Clobber,
    help="Replace what exists, as without -n and -i.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
async def mv(
    shell: Shell,
    paths: tuple[Operand, ...],
    clobber: Clobber | None,
    update: bool,
    into: Operand | None,
    plain: bool,
    verbose: bool,
) -> None:
    """Rename files and trees, or move them into a directory: atomically, whatever their size.

    Into, out of or between mounts of stores, and of what only a store has, it copies and removes.
    """
    check_targets(into, plain)
    if into is not None:
        paths = (*paths, await directory(shell, into))
    made: set[str] = set()
    for source, target in await _pairs(shell, paths, "cannot move", plain):
        if source.content:
            shell.complain(f"cannot move {quoted(source.content)}: Device or resource busy")
            continue
        with shell.attempt("cannot move", source, target):
            try:
                if await _are_same(shell, source, target):
                    continue
                if target in made and clobber is not Clobber.NEVER:
                    both = f"{quoted(target)} with {quoted(source)}"
                    shell.complain(f"will not overwrite just-created {both}")
                    continue
                if not await _replaces(shell, source, target, clobber, update):
                    continue
                renamed = await move(
                    shell.fs, source, target, overwrite=clobber is not Clobber.NEVER
                )
            except PathExistsError:
                continue
            made.add(target)
            if verbose:
                done = "renamed" if renamed else "copied"
                print(f"{done} {quoted(source)} -> {quoted(target)}")


async def _replaces(
    shell: Shell, source: str, target: str, clobber: Clobber | None, update: bool
) -> bool:
    """Whether a move may replace what has the name ``target``; true when nothing has it."""
    if clobber is not Clobber.ASK and not update:
        return True
    first, second = await shell.fs.stat_many([source, target], follow_symlinks=False)
    if first is None or second is None:
        return True
    if update and not first.is_dir() and first.st_mtime_ns <= second.st_mtime_ns:
        return False
    return clobber is not Clobber.ASK or confirmed(f"overwrite {quoted(target)}?")


async def _are_same(shell: Shell, source: str, target: str) -> bool:
    """Whether both are names of one inode, and complains: rename would do nothing then.

    A link on its way to the name of what it leads to counts as that: it would lead to itself."""
    first, second = await shell.fs.stat_many([source, target], follow_symlinks=False)
    if first is not None and first.is_symlink() and second is not None:
        (there,) = await shell.fs.stat_many([source])
        first = there if there is not None and there.st_ino == second.st_ino else first
    if first is None or second is None or first.st_ino != second.st_ino:
        return False
    shell.complain(f"{quoted(source)} and {quoted(target)} are the same file")
    return True


async def _pairs(
    shell: Shell, paths: tuple[Operand, ...], act: str, plain: bool = False
) -> list[tuple[Operand, str]]:
    """Sources with where each goes: into the last operand if that is a directory."""
    if len(paths) < 2:
        raise click.UsageError("a source and a target are needed")
    *given, target = paths
    sources = await shell.expand(given, act)
    into = False if plain else await shell.fs.isdir(target)
    if not into and (len(given) > 1 or len(sources) > 1):
        shell.complain(f"target {quoted(target)} is not a directory")
        raise Failed
    if not into:
        return [(source, target) for source in sources]
    return [(source, join(target, source.bare.rpartition("/")[2])) for source in sources]


def check_targets(into: object, plain: bool) -> None:
    """Raises a usage error for ``-t`` and ``-T`` together, which say the opposite."""
    if into is not None and plain:
        raise click.UsageError("-t and -T do not go together")


async def directory(shell: Shell, path: Operand) -> Operand:
    """``path``, the directory to move operands into. Reports an error when it is no directory."""
    if not await shell.fs.isdir(path):
        shell.complain(f"target directory {quoted(path)}: Not a directory")
        raise Failed
    return path
