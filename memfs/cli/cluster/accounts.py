"""``memfs user`` and ``memfs group``: who is known by a key, and who is in which group."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

import click

from memfs.cli.command import example_text
from memfs.cli.options import LocalPath, json_option
from memfs.cli.shell import Shell, file_command, printable, write_json
from memfs.errors import ConfigError
from memfs.security.keys import KEY_BYTES, key_from, write_key

_FILE = LocalPath(dir_okay=False, path_type=Path)
_PUBLIC = ".pub"


@click.group("user", epilog=example_text("memfs user add alice --generate", "memfs user list"))
def user() -> None:
    """Let users prove themselves by keys, without an authority. For the superuser.

    The nodes' setting authentication must have key. A user needs the private key in
    ~/.memfs/NAME.ed25519 (or key_file of [client]) and the cluster's ca.crt in ~/.memfs/certs.
    """


@file_command("add", example="memfs user add alice --key alice.pub")
@click.argument("name")
@click.option("--key", type=_FILE, help="The public key: FILE.pub of memfs keygen --signing FILE.")
@click.option("--generate", is_flag=True, help="Make the key, too.")
@click.option(
    "--output",
    type=_FILE,
    help="Where the new private key goes [default: ~/.memfs/NAME.ed25519]; .pub is beside it.",
)
async def add(
    shell: Shell, name: str, key: Path | None, generate: bool, output: Path | None
) -> None:
    """Let whoever has a key be NAME. A user may have several."""
    if (key is None) != generate or (output and not generate):
        raise click.UsageError("give either --key FILE, or --generate (and --output)")
    if key is not None:
        await shell.admin.add_user_key(name, _public(key))
        return
    from memfs.client.credentials import usual_key
    from memfs.security.principals import check_user
    from memfs.security.signing import public_key

    where, private = output or usual_key(check_user(name)), secrets.token_bytes(KEY_BYTES)
    write_key(where, private, 0o600)
    try:
        write_key(Path(f"{where}{_PUBLIC}"), public_key(private), 0o644)
        await shell.admin.add_user_key(name, public_key(private))
    except BaseException:
        for made in (where, Path(f"{where}{_PUBLIC}")):
            made.unlink(missing_ok=True)
        raise
    click.echo(f"{where} is the key of {printable(name)}: for their eyes only")


@file_command("list", example="memfs user list --json")
@json_option
async def list_users(shell: Shell, as_json: bool) -> None:
    """Show users with their public keys."""
    for found in await shell.admin.users():
        keys = [base64.b64encode(each).decode() for each in found.keys]
        if as_json:
            write_json({"user": found.user, "keys": keys})
        else:
            for each in keys:
                click.echo(f"{printable(found.user)}  {each}")


@file_command("remove", example="memfs user remove alice")
@click.argument("name")
@click.option("--key", type=_FILE, help="Only this public key [default: all of NAME].")
async def remove(shell: Shell, name: str, key: Path | None) -> None:
    """Let keys prove nobody. Connections that stand are not cut."""
    await shell.admin.remove_user_key(name, b"" if key is None else _public(key))


def _public(file: Path) -> bytes:
    """A public key. A private key is refused: as an argument everybody would see it."""
    if file.suffix != _PUBLIC:
        raise ConfigError(f"{file} is not called *.pub: name the public half of the key")
    return key_from(file)


@click.group("group", epilog=example_text("memfs group add staff alice bob", "memfs group list"))
def group() -> None:
    """Say who is in which group, instead of the nodes' hosts. For the superuser.

    Whoever is in any group here is in these only. The first one is that of what they create.
    """


@file_command("add", example="memfs group add staff alice bob")
@click.argument("name", metavar="GROUP")
@click.argument("users", metavar="USER...", nargs=-1, required=True)
async def enter(shell: Shell, name: str, users: tuple[str, ...]) -> None:
    """Put users into a group: it counts for their next request."""
    await shell.admin.change_groups(name, users)


@file_command("remove", example="memfs group remove staff bob")
@click.argument("name", metavar="GROUP")
@click.argument("users", metavar="USER...", nargs=-1, required=True)
async def leave(shell: Shell, name: str, users: tuple[str, ...]) -> None:
    """Take users out of a group; who is in none here has those of the nodes' hosts again."""
    await shell.admin.change_groups(name, users, remove=True)


@file_command("list", example="memfs group list --json")
@json_option
async def list_groups(shell: Shell, as_json: bool) -> None:
    """Show all users that are in a group here, with their groups."""
    for found in await shell.admin.groups():
        if as_json:
            write_json({"user": found.user, "groups": found.groups})
        else:
            click.echo(f"{printable(found.user)}  {printable(','.join(found.groups))}")


for _command in (add, list_users, remove):
    user.add_command(_command)
for _command in (enter, leave, list_groups):
    group.add_command(_command)
