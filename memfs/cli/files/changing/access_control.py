"""``memfs getfacl``, ``memfs setfacl`` and ``memfs quota``: who may do what, and how much of it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

import click

from memfs.cli.command import example_text
from memfs.cli.options import PATH, Operand, Quantity, WholeNumber, json_option
from memfs.cli.shell import CHANGES_AT_ONCE, Shell, file_command, printable, write_json
from memfs.client.access import NO_QUOTA, Acl, Quota
from memfs.client.stat import Stat
from memfs.concurrency import run_each
from memfs.errors import InvalidArgumentError
from memfs.quantities import parse_size, show_short
from memfs.security.acls import format_entry, format_permission, parse_entries
from memfs.types import AclEntry, AclKind


class _Entries(click.ParamType[tuple[AclEntry, ...]]):
    """Entries of a list, separated by commas."""

    name = "entries"

    def __init__(self, *, permissions: bool = True) -> None:
        self._permissions = permissions

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[AclEntry, ...]:
        try:
            return parse_entries(str(value), permissions=self._permissions)
        except InvalidArgumentError as error:
            self.fail(error.message, param, ctx)


@file_command("getfacl", example="memfs getfacl /data/file")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-R", "--recursive", is_flag=True, help="Trees, symbolic links excepted.")
@json_option
async def getfacl(shell: Shell, paths: tuple[Operand, ...], recursive: bool, as_json: bool) -> None:
    """Show access control lists."""
    act = "cannot read the access control list of"

    async def show(path: str) -> None:
        with shell.attempt(act, path):
            acl = await shell.fs.get_acl(path)
            if as_json:
                entries = [format_entry(entry) for entry in acl.entries]
                known = {"owner": acl.owner, "group": acl.group, "mode": f"{acl.mode:o}"}
                write_json({"path": path, **known, "entries": entries})
            else:
                sys.stdout.write("\n".join(_lines(path, acl)) + "\n\n")

    for path in await shell.expand(paths, act):
        await show(path)
        if recursive and await shell.fs.isdir(path):
            async for below, _ in shell.below(path, links=False):
                await show(below)


def _lines(path: str, acl: Acl) -> list[str]:
    """What getfacl prints of one file."""
    lines = [f"# file: {printable(path)}", f"# owner: {acl.owner}", f"# group: {acl.group}"]
    masks = {entry.default: entry.permission for entry in acl.entries if entry.kind == AclKind.MASK}
    for entry in acl.entries:
        line, limited = format_entry(entry), entry.permission & masks.get(entry.default, 7)
        if (entry.name or entry.kind == AclKind.GROUP) and limited != entry.permission:
            line += f"\t#effective:{format_permission(limited)}"
        lines.append(line)
    return lines


@file_command("setfacl", example="memfs setfacl -R -m u:ann:rwx,d:u:ann:rwx /data")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-m", "--modify", multiple=True, type=_Entries(), help="Add or replace entries.")
@click.option(
    "-x",
    "--remove",
    multiple=True,
    type=_Entries(permissions=False),
    help="Remove entries, as u:ann.",
)
@click.option("-b", "--remove-all", "everything", is_flag=True, help="Remove the whole list.")
@click.option("-k", "--remove-default", "default", is_flag=True, help="Remove what is inherited.")
@click.option("--set", "replace", multiple=True, type=_Entries(), help="Replace the list.")
@click.option("-R", "--recursive", is_flag=True, help="Trees, symbolic links excepted.")
async def setfacl(
    shell: Shell,
    paths: tuple[Operand, ...],
    modify: tuple[tuple[AclEntry, ...], ...],
    remove: tuple[tuple[AclEntry, ...], ...],
    everything: bool,
    default: bool,
    replace: tuple[tuple[AclEntry, ...], ...],
    recursive: bool,
) -> None:
    """Change access control lists: entries as u:NAME:rwx, g:NAME:r-x, m::rwx, o::r--, d:u:NAME:rwx.

    What is given is done in this order: --set, -b, -k, -x, -m. With -R default entries (d:) concern
    directories only.
    """
    if not (modify or remove or everything or default or replace):
        raise click.UsageError("nothing to do: give one of -m, -x, -b, -k, --set")
    act = "cannot change the access control list of"

    async def change(path: str, directory: bool) -> None:
        """The changes in order. Each is atomic; several options are several changes."""

        def chosen(given: tuple[tuple[AclEntry, ...], ...]) -> list[AclEntry]:
            flat = [entry for entries in given for entry in entries]
            return [entry for entry in flat if directory or not (recursive and entry.default)]

        with shell.attempt(act, path):
            if entries := chosen(replace):
                await shell.fs.set_acl(path, entries)
            if everything:
                await shell.fs.remove_acl(path)
            if default:
                await shell.fs.remove_default_acl(path)
            if entries := chosen(remove):
                await shell.fs.remove_acl_entries(path, entries)
            if entries := chosen(modify):
                await shell.fs.modify_acl(path, entries)

    await _each(shell, paths, recursive, act, change)


async def _each(
    shell: Shell,
    paths: tuple[Operand, ...],
    recursive: bool,
    act: str,
    change: Callable[[str, bool], Awaitable[None]],
) -> None:
    """Apply ``change`` to each path, and with ``recursive`` to all below it."""

    async def one(item: tuple[str, Stat]) -> None:
        await change(item[0], item[1].is_dir())

    for path in await shell.expand(paths, act):
        with shell.attempt(act, path):
            found = await shell.fs.stat(path)
            await change(path, found.is_dir())
            if recursive and found.is_dir():
                await run_each(one, shell.below(path, links=False), CHANGES_AT_ONCE)


@click.group("quota", epilog=example_text("memfs quota set --names 1000000 --space 2TiB /data"))
def quota() -> None:
    """Limit what may lie below directories: names, and bytes with all their copies."""


@file_command("show", example="memfs quota show /data /home/*")
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@click.option("-h", "--human-readable", "human", is_flag=True, help="Sizes as 1.5K, 64M.")
@json_option
async def show(shell: Shell, paths: tuple[Operand, ...], human: bool, as_json: bool) -> None:
    """Show quotas and usage, of the root by default: names used and allowed, likewise bytes."""
    rows = []
    for path in await shell.expand(paths or (Operand("/"),), "cannot access"):
        with shell.attempt("cannot access", path):
            found = await shell.fs.get_quota(path)
            if as_json:
                write_json({"path": path} | found._asdict())
            else:
                rows.append((*_cells(found, human), printable(path)))
    if rows:
        rows.insert(0, ("names", "limit", "space", "limit", "path"))
        widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
        for *cells, name in rows:
            numbers = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
            print("  ".join([*numbers, name]))


def _cells(found: Quota, human: bool) -> tuple[str, str, str, str]:
    size = show_short if human else str
    names = "-" if found.names_quota == NO_QUOTA else str(found.names_quota)
    space = "-" if found.space_quota == NO_QUOTA else size(found.space_quota)
    return str(found.names), names, size(found.space), space


@file_command("set", example="memfs quota set --names 1000000 --space 2TiB /data")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="DIRECTORY...")
@click.option("--names", type=WholeNumber(0), help="Files, directories and links.")
@click.option("--space", type=Quantity("size", parse_size), help="Bytes, every copy counted.")
async def set_(
    shell: Shell, paths: tuple[Operand, ...], names: int | None, space: int | None
) -> None:
    """Set quotas; what is not given stays. For the superuser."""
    if names is None and space is None:
        raise click.UsageError("nothing to do: give --names, --space or both")
    for path in await shell.expand(paths, "cannot set the quota of"):
        with shell.attempt("cannot set the quota of", path):
            await shell.fs.set_quota(path, names=names, space=space)


@file_command("clear", example="memfs quota clear /data")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="DIRECTORY...")
@click.option("--names", is_flag=True, help="Only that of names.")
@click.option("--space", is_flag=True, help="Only that of space.")
async def clear(shell: Shell, paths: tuple[Operand, ...], names: bool, space: bool) -> None:
    """Clear quotas. For the superuser."""
    both = names == space
    for path in await shell.expand(paths, "cannot clear the quota of"):
        with shell.attempt("cannot clear the quota of", path):
            await shell.fs.set_quota(
                path,
                names=NO_QUOTA if names or both else None,
                space=NO_QUOTA if space or both else None,
            )


for _command in (show, set_, clear):
    quota.add_command(_command)
