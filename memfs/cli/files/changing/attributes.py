"""``memfs chmod``, ``chown``, ``chgrp``, ``setrep`` and ``xattr``."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import click

from memfs.cli.command import example_text
from memfs.cli.files.looking.columns import permissions
from memfs.cli.files.looking.symbolic_modes import Change, parse_mode
from memfs.cli.options import PATH, Operand, WholeNumber, json_option
from memfs.cli.shell import CHANGES_AT_ONCE, Shell, file_command, printable, quoted, write_json
from memfs.client.stat import Stat
from memfs.concurrency import run_each
from memfs.limits import REPLICAS_MAX
from memfs.machine import current_umask
from memfs.quantities import counted
from memfs.types import Attributes

_NUMBER_MAX: Final = (1 << 32) - 2
"""Largest uid and gid: the one above it says "unchanged" to chown(2)."""


class _ModeType(click.ParamType[Change | Operand]):
    """A mode; with ``--reference`` the first path stands in its place."""

    name = "mode"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Change | Operand:
        if ctx is not None and isinstance(ctx.params.get("reference"), Operand):
            return PATH.convert(value, param, ctx)
        try:
            return parse_mode(str(value), current_umask())
        except ValueError as error:
            self.fail(str(error), param, ctx)


_reference_option = click.option(
    "--reference", type=PATH, is_eager=True, help="Take those of this path instead."
)


def _ownership_options(command: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The options that chown and chgrp share."""
    for option in (
        click.option("-f", "--silent", "--quiet", "quiet", is_flag=True, help="Say no errors."),
        click.option("-h", "--no-dereference", "link", is_flag=True, help="Links themselves."),
        click.option("-R", "--recursive", is_flag=True, help="Trees, symbolic links excepted."),
        _reference_option,
    ):
        command = option(command)
    return command


def _operands(
    first: str, paths: tuple[Operand, ...], reference: Operand | None
) -> tuple[Operand, ...]:
    """The files to change: with ``--reference`` the first argument is one of them."""
    if reference is not None:
        paths = (PATH.convert(first, None, click.get_current_context()), *paths)
    if not paths:
        raise click.UsageError("a PATH is needed")
    return paths


def _account(name: str, kind: str, operand: str) -> str:
    """The name that is kept. ``+7`` is the number 7, as for chown(1); other names are free: users
    of the cluster need not exist on this machine."""
    plain = name.removeprefix("+")
    is_number = plain.isascii() and plain.isdecimal()
    digits = plain.lstrip("0") or "0"
    if (
        ":" in name
        or not name.isprintable()
        or (is_number and (len(digits) > len(str(_NUMBER_MAX)) or int(digits) > _NUMBER_MAX))
        or (name.startswith("+") and not is_number)
    ):
        raise click.UsageError(f"invalid {kind}: {quoted(operand)}")
    return digits if name.startswith("+") else name


async def _of_reference(shell: Shell, path: Operand | None) -> Attributes:
    assert path is not None
    return (await shell.reference(path)).attributes


@file_command(
    "chmod",
    example="memfs chmod -R u=rwX,go=rX /data",
    context_settings={"ignore_unknown_options": True},  # "-x" is a mode
)
@click.argument("mode", type=_ModeType())
@click.argument("paths", nargs=-1, type=PATH, metavar="PATH...")
@_reference_option
@click.option("-R", "--recursive", is_flag=True, help="Trees, symbolic links excepted.")
@click.option("-v", "--verbose", is_flag=True, help="Say what becomes of each.")
@click.option("-c", "--changes", is_flag=True, help="Say it of what changes.")
@click.option("-f", "--silent", "--quiet", "quiet", is_flag=True, help="Say no errors.")
async def chmod(
    shell: Shell,
    mode: Change | Operand,
    paths: tuple[Operand, ...],
    reference: Operand | None,
    recursive: bool,
    verbose: bool,
    changes: bool,
    quiet: bool,
) -> None:
    """Change permissions: octal (644) or symbolic (u+x,go-w)."""
    if isinstance(mode, Operand):
        bits, paths = (await _of_reference(shell, reference)).mode, (mode, *paths)
    elif not paths:
        raise click.UsageError("a PATH is needed")

    async def change(path: str, found: Stat) -> None:
        before = found.attributes
        wanted = bits if isinstance(mode, Operand) else mode(before.mode, found.is_dir())
        if wanted != before.mode:
            await shell.fs.chmod(path, wanted)
        after, kept = before._replace(mode=wanted), wanted == before.mode
        if verbose and kept:
            print(f"mode of {quoted(path)} retained as {_mode(before)}")
        elif (verbose or changes) and not kept:
            print(f"mode of {quoted(path)} changed from {_mode(before)} to {_mode(after)}")

    await _change_all(shell, paths, recursive, "cannot change permissions of", change, quiet)


def _mode(attributes: Attributes) -> str:
    return f"{attributes.mode:04o} ({permissions(attributes._replace(acl=False))[1:]})"


@file_command("chown", example="memfs chown -R ada:users /data")
@click.argument("owner", metavar="[OWNER][:GROUP]")
@click.argument("paths", nargs=-1, type=PATH, metavar="PATH...")
@_ownership_options
async def chown(
    shell: Shell,
    owner: str,
    paths: tuple[Operand, ...],
    reference: Operand | None,
    recursive: bool,
    link: bool,
    quiet: bool,
) -> None:
    """Change the owner, the group, or both."""
    paths = _operands(owner, paths, reference)
    if reference is not None:
        like = await _of_reference(shell, reference)
        user, group = like.owner, like.group
    else:
        user, _, group = owner.partition(":")
        user, group = _account(user, "user", owner), _account(group, "group", owner)
    if not user and not group:
        raise click.UsageError("neither an owner nor a group is given")

    async def change(path: str, found: Stat) -> None:
        await shell.fs.chown(path, user or None, group or None, follow_symlinks=not link)

    await _change_all(shell, paths, recursive, "cannot change the owner of", change, quiet, link)


@file_command("chgrp", example="memfs chgrp -R users /data")
@click.argument("group", metavar="GROUP")
@click.argument("paths", nargs=-1, type=PATH, metavar="PATH...")
@_ownership_options
async def chgrp(
    shell: Shell,
    group: str,
    paths: tuple[Operand, ...],
    reference: Operand | None,
    recursive: bool,
    link: bool,
    quiet: bool,
) -> None:
    """Change the group."""
    paths = _operands(group, paths, reference)
    if reference is not None:
        group = (await _of_reference(shell, reference)).group
    else:
        group = _account(group, "group", group)

    async def change(path: str, found: Stat) -> None:
        if group:  # as in chgrp(1), an empty one changes nothing
            await shell.fs.chown(path, None, group, follow_symlinks=not link)

    await _change_all(shell, paths, recursive, "changing group of", change, quiet, link)


@file_command("setrep", example="memfs setrep -R 3 /data")
@click.argument("copies", type=WholeNumber(1, REPLICAS_MAX))
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-R", "--recursive", is_flag=True, help="All files of trees.")
async def setrep(shell: Shell, copies: int, paths: tuple[Operand, ...], recursive: bool) -> None:
    """Set how many copies of each block files want; healing makes or removes them."""

    async def change(path: str, found: Stat) -> None:
        if found.is_file():
            await shell.fs.set_replication(path, copies)
        elif not recursive:
            shell.complain(f"-R not specified; omitting directory {quoted(path)}")

    await _change_all(shell, paths, recursive, "cannot set the copies of", change)


async def _change_all(
    shell: Shell,
    paths: tuple[Operand, ...],
    recursive: bool,
    act: str,
    change: Callable[[str, Stat], Awaitable[None]],
    quiet: bool = False,
    links: bool = False,
) -> None:
    """Apply ``change`` to each path, and with ``recursive`` to all below it.

    ``quiet``: failures show in the exit status only; ``links``: change links, not what they lead
    to.
    """
    if quiet:
        shell.warn = _nothing  # type: ignore[method-assign]

    async def one(item: tuple[str, Stat]) -> None:
        with shell.attempt(act, item[0]):
            await change(*item)

    for path in await shell.expand(paths, act):
        with shell.attempt(act, path):
            found = await (shell.fs.lstat if links else shell.fs.stat)(path)
            await change(path, found)
            if recursive and found.is_dir():
                await run_each(one, shell.below(path, links=links), CHANGES_AT_ONCE)


def _nothing(text: str) -> None:
    """Say nothing."""


@file_command("recover-lease", example="memfs recover-lease /data/log")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
async def recover_lease(shell: Shell, paths: tuple[Operand, ...]) -> None:
    """End the lease of a writer that is gone: the file is left as of its last flush.

    The error "another writer has the file open" says who that is. One that still lives gets an
    error at its next write. Without this, the lease of a process that was killed ends by itself
    after a quarter of a minute, that of a host that is gone after the cluster's
    session_timeout_seconds.
    """
    for path in await shell.expand(paths, "cannot recover the lease of"):
        with shell.attempt("cannot recover the lease of", path):
            found = await shell.fs.recover_lease(path)
            click.echo(f"{printable(path)}: free, {counted(found.st_size, 'byte')}")


@click.group("xattr", epilog=example_text("memfs xattr set user.origin sensor-7 /data/file"))
def xattr() -> None:
    """Read and write extended attributes (user.NAME)."""


@file_command("list", example="memfs xattr list /data/file")
@click.argument("path", type=PATH)
@json_option
async def list_(shell: Shell, path: Operand, as_json: bool) -> None:
    """Show the names of the attributes."""
    with shell.attempt("cannot read attributes of", path):
        names = await shell.fs.listxattr(path)
        if as_json:
            write_json(list(names))
        else:
            sys.stdout.write("".join(f"{name}\n" for name in names))


@file_command("get", example="memfs xattr get user.origin /data/file")
@click.argument("name")
@click.argument("path", type=PATH)
async def get(shell: Shell, name: str, path: Operand) -> None:
    """Write the value of one attribute to the output, as it is."""
    with shell.attempt("cannot read attributes of", path):
        value = await shell.fs.getxattr(path, name)
        sys.stdout.buffer.write(value + b"\n" * sys.stdout.isatty())


@file_command("set", example="memfs xattr set user.origin sensor-7 /data/file")
@click.argument("name")
@click.argument("value")
@click.argument("path", type=PATH)
async def set_(shell: Shell, name: str, value: str, path: Operand) -> None:
    """Set an attribute."""
    with shell.attempt("cannot set attributes of", path):
        await shell.fs.setxattr(path, name, os.fsencode(value))


@file_command("rm", example="memfs xattr rm user.origin /data/file")
@click.argument("name")
@click.argument("path", type=PATH)
async def remove(shell: Shell, name: str, path: Operand) -> None:
    """Remove an attribute."""
    with shell.attempt("cannot remove attributes of", path):
        await shell.fs.removexattr(path, name)


for _command in (list_, get, set_, remove):
    xattr.add_command(_command)
