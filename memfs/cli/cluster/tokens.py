"""``memfs token``: issue, renew and cancel delegation tokens. A token is never an argument."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from memfs.cli.command import example_text
from memfs.cli.options import LocalPath
from memfs.cli.shell import Shell, file_command
from memfs.security.delegation_tokens import Token
from memfs.security.keys import secret_text, write_secret

_FILE = LocalPath(dir_okay=False, allow_dash=True, path_type=Path)
_source = click.argument("file", type=_FILE, metavar="FILE")


@click.group("token", epilog=example_text("memfs token get --output ~/.memfs/token"))
def token() -> None:
    """Delegation tokens: what proves a user for a while, to nodes and to gateways.

    Who has one is its owner, until it ends or is cancelled. For jobs that shall not have a key.
    """


@file_command("get", example="memfs token get --renewer yarn --output job.token")
@click.option("--renewer", default="", metavar="USER", help="Who may prolong it [default: nobody].")
@click.option("--owner", default="", metavar="USER", help="For another user; superuser.")
@click.option("--output", type=_FILE, help="A file of mode 0600, instead of the output.")
async def get(shell: Shell, renewer: str, owner: str, output: Path | None) -> None:
    """Print a token that speaks for you."""
    found = (await shell.fs.get_delegation_token(renewer, owner=owner)).to_url()
    if output is None or str(output) == "-":
        click.echo(found)
    else:
        write_secret(output, f"{found}\n".encode(), 0o600)


@file_command("renew", example="memfs token renew job.token")
@_source
async def renew(shell: Shell, file: Path) -> None:
    """Prolong the token in FILE (-: of the input), as its renewer; prints when it ends."""
    ends = await shell.fs.renew_delegation_token(_read(file))
    click.echo(f"{datetime.datetime.fromtimestamp(ends / 1000, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}")


@file_command("cancel", example="memfs token cancel job.token")
@_source
async def cancel(shell: Shell, file: Path) -> None:
    """End the token in FILE (-: of the input): it proves nobody from now on."""
    await shell.fs.cancel_delegation_token(_read(file))


def _read(file: Path) -> Token:
    if str(file) == "-":
        file = Path("/dev/stdin")
    return Token.from_url(secret_text(file, "a token").strip())


for _command in (get, renew, cancel):
    token.add_command(_command)
