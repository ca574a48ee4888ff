"""``memfs cluster limits``: what one user may have, who has most of it, and how to change that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from memfs import errors
from memfs.cli.command import example_text
from memfs.cli.options import Quantity, WholeNumber, json_option
from memfs.cli.shell import Shell, file_command, printable, write_json
from memfs.quantities import parse_size, show_size

if TYPE_CHECKING:
    from memfs.client.admin import ShareUse

HEAVIEST = 3
_UNLIMITED = 1 << 62
_BYTES = "_bytes"


@click.group(
    "limits",
    invoke_without_command=True,
    epilog=example_text(
        "memfs cluster limits",
        "memfs cluster limits set inodes 1000000 --of alice",
        "memfs cluster limits clear inodes --of alice",
    ),
)
@click.pass_context
def limits(ctx: click.Context) -> None:
    """Show what users have of what is bounded for each of them; set the bounds.

    What is set is kept in the namespace and counts on every node, after a restart too. For the
    superuser.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(show)


@file_command("show", example="memfs cluster limits show --json")
@click.option("--heaviest", type=WholeNumber(0, 16), default=HEAVIEST, show_default=True)
@json_option
async def show(shell: Shell, heaviest: int = HEAVIEST, as_json: bool = False) -> None:
    """Show each node's bounds with the users who have most, and the limits that are set."""
    rows = [("LIMIT", "NODE", "USED", "FOR ALL", "FOR ONE", "HEAVIEST")]
    for node in (await shell.fs.cluster_status()).nodes:
        try:
            shares = await shell.admin.shares(node.member.number, heaviest)
        except errors.RetryableError as error:
            shell.complain(f"{node.member.name}: {error.message}")
            continue
        for share in shares:
            if as_json:
                write_json({"node": node.member.name} | _described(share))
            else:
                rows.append(_row(node.member.name, share))
    if not as_json:
        _print(rows)
    for found in await shell.admin.limits():
        if as_json:
            write_json({"set": found.name, "user": found.user, "value": found.value})
        else:
            whose = printable(found.user) or "everybody"
            click.echo(f"set: {found.name} {_shown(found.name)(found.value or 0)} for {whose}")


def _described(share: ShareUse) -> dict[str, object]:
    heaviest = [each._asdict() for each in share.heaviest]
    return {**share._asdict(), "heaviest": heaviest}


def _row(node: str, share: ShareUse) -> tuple[str, str, str, str, str, str]:
    show = _shown(share.name)
    heaviest = ", ".join(
        f"{printable(each.who)} {show(each.used)}"
        + (f" of {show(each.limit)}" if each.limit != share.limit else "")
        for each in share.heaviest
    )
    together = show(share.total_limit) if share.total_limit else "-"
    return share.name, node, show(share.used), together, show(share.limit), heaviest


def _shown(name: str) -> Callable[[int], str]:
    def show(value: int) -> str:
        if value >= _UNLIMITED:
            return "-"
        return show_size(value) if name.endswith(_BYTES) else str(value)

    return show


def _print(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


_of = click.option(
    "--of",
    "whom",
    default="",
    metavar="NAME",
    help="Of this user [default: all but the superuser].",
)


@file_command("set", example="memfs cluster limits set unread_bytes 16MiB")
@click.argument("name", metavar="LIMIT")
@click.argument("value", type=Quantity("size", parse_size))
@_of
async def set_(shell: Shell, name: str, value: int, whom: str) -> None:
    """Set a limit of one user, or of all users without a limit of their own."""
    await shell.admin.set_limit(name, value, whom)


@file_command("clear", example="memfs cluster limits clear unread_bytes")
@click.argument("name", metavar="LIMIT")
@_of
async def clear(shell: Shell, name: str, whom: str) -> None:
    """Take back a limit that was set."""
    await shell.admin.set_limit(name, None, whom)


for _command in (show, set_, clear):
    limits.add_command(_command)
