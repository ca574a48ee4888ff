"""``memfs ln``: hard and symbolic links."""

from __future__ import annotations

import posixpath

import click

from memfs.cli.command import Failed
from memfs.cli.files.changing.names import check_targets, directory
from memfs.cli.options import PATH, Operand
from memfs.cli.shell import Shell, file_command, quoted
from memfs.errors import InvalidArgumentError
from memfs.paths import join


@file_command("ln", example="memfs ln -s ../releases/7 /srv/current")
@click.argument("paths", nargs=-1, required=True, metavar="TARGET... LINK")
@click.option("-s", "--symbolic", is_flag=True, help="A symbolic link; TARGET is kept as written.")
@click.option("-r", "--relative", is_flag=True, help="With -s: TARGET as seen from the link.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing LINK.")
@click.option(
    "-n", "--no-dereference", "bare", is_flag=True, help="LINK as a link is no directory."
)
@click.option("-t", "--target-directory", "into", type=PATH, help="Make all links in it.")
@click.option("-T", "--no-target-directory", "plain", is_flag=True, help="LINK is the new name.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
async def ln(
    shell: Shell,
    paths: tuple[str, ...],
    symbolic: bool,
    relative: bool,
    force: bool,
    bare: bool,
    into: Operand | None,
    plain: bool,
    verbose: bool,
) -> None:
    """Make LINK another name of TARGET, or with -s a link to it; in a directory under its name."""
    check_targets(into, plain)
    if relative and not symbolic:
        raise click.UsageError("-r needs -s")
    for target, link in await _links(shell, paths, into, plain, bare):
        with shell.attempt("cannot create link", link):
            if relative:
                target = await _seen_from(shell, link, target)
            if symbolic:
                if force:
                    await _check_not_itself(shell, target, link)
                await shell.fs.symlink(target, link, replace=force)
            else:
                if force:
                    await _check_not_same(shell, target, link)
                await shell.fs.link(target, link, replace=force)
            if verbose:
                print(f"{quoted(link)} {'->' if symbolic else '=>'} {quoted(target)}")


async def _seen_from(shell: Shell, link: Operand, target: str) -> str:
    """``target`` as a link has to name it wherever the tree around both is mounted."""
    wanted: Operand = PATH.convert(target, None, click.get_current_context())
    there = await shell.fs.realpath(wanted)
    above = await shell.fs.realpath(link.bare.rpartition("/")[0] or "/")
    return posixpath.relpath(there, above)


async def _links(
    shell: Shell, paths: tuple[str, ...], into: Operand | None, plain: bool, bare: bool
) -> list[tuple[str, Operand]]:
    """Targets, as they were written, and where the link to each is made."""
    if into is not None:
        targets, place, inside = paths, await directory(shell, into), True
    else:
        if len(paths) < 2:
            raise click.UsageError("a target and a link are needed")
        *given, last = paths
        targets, place = tuple(given), PATH.convert(last, None, click.get_current_context())
        inside = not plain and await shell.fs.isdir(place)
        if inside and bare and place == place.bare:
            inside = not await shell.fs.islink(place)
        if not inside and len(targets) > 1:
            shell.complain(f"target {quoted(place)}: Not a directory")
            raise Failed
    if not inside:
        return [(targets[0], place)]
    names = (each.rstrip("/").rpartition("/")[2] for each in targets)
    return [(each, Operand(join(place, name))) for each, name in zip(targets, names, strict=True)]


async def _check_not_same(shell: Shell, target: str, link: Operand) -> None:
    """Raise InvalidArgumentError where the name is the file's already."""
    first, second = await shell.fs.stat_many([target, link], follow_symlinks=False)
    if first is not None and second is not None and first.st_ino == second.st_ino:
        raise InvalidArgumentError("it is the same file", path=link)


async def _check_not_itself(shell: Shell, target: str, link: Operand) -> None:
    """Raise InvalidArgumentError where a link would replace the file that it is to lead to."""
    there = posixpath.join(link.bare.rpartition("/")[0] or "/", target)
    (first,) = await shell.fs.stat_many([there])
    (second,) = await shell.fs.stat_many([link], follow_symlinks=False)
    if first is None or second is None or first.st_ino != second.st_ino:
        return
    if second.st_nlink == 1 or there == link:
        raise InvalidArgumentError("it is the same file", path=link)
