"""``memfs sign``, ``memfs verify``, ``memfs keygen``: files that nobody else can forge or read."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

import click

from memfs.cli.command import example_text
from memfs.cli.options import PATH, LocalPath, Operand, WholeNumber, json_option
from memfs.cli.shell import Shell, file_command, printable, write_json
from memfs.quantities import counted
from memfs.security.certificate_files import check_private
from memfs.security.keys import KEY_BYTES, write_key

_FILE = LocalPath(dir_okay=False, path_type=Path)


@click.command("keygen", epilog=example_text("memfs keygen ~/.memfs/encryption.key"))
@click.argument("file", type=_FILE)
@click.option("--signing", is_flag=True, help="A key that signs; FILE.pub is for who verifies.")
def keygen(file: Path, signing: bool) -> None:
    """Write a new key to FILE, which only its owner may read.

    Without --signing it is one that seals: name FILE as encryption_key_file of the client.
    Who loses it loses the files.
    """
    key = secrets.token_bytes(KEY_BYTES)
    write_key(file, key, 0o600)
    if signing:
        from memfs.security.signing import public_key

        write_key(Path(f"{file}.pub"), public_key(key), 0o644)


@file_command("sign", example="memfs sign --key release.key /releases/*.tar")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("--key", required=True, type=_FILE, help="A key by memfs keygen --signing.")
async def sign(shell: Shell, paths: tuple[Operand, ...], key: Path) -> None:
    """Sign content, path and version of files."""
    check_private(key)
    for path in await shell.expand(paths, "cannot sign"):
        with shell.attempt("cannot sign", path):
            found = await shell.fs.sign(path, key)
            click.echo(f"{printable(path)}: version {found.version}, {counted(found.size, 'byte')}")


@file_command("verify", example="memfs verify --key release.key.pub /releases/*.tar")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option(
    "--key",
    "keys",
    required=True,
    multiple=True,
    type=_FILE,
    help="A public key that is trusted; several may be.",
)
@click.option("--at-least", type=WholeNumber(0), default=0, help="The oldest version accepted.")
@json_option
async def verify(
    shell: Shell, paths: tuple[Operand, ...], keys: tuple[Path, ...], at_least: int, as_json: bool
) -> None:
    """Check that files are what the holder of a key signed: all of them is read."""
    for path in await shell.expand(paths, "cannot trust"):
        with shell.attempt("cannot trust", path):
            found = await shell.fs.verify(path, *keys, at_least=at_least)
            if as_json:
                key = base64.b64encode(found.public_key).decode()
                write_json({"path": path, "version": found.version, "public_key": key})
            else:
                click.echo(f"{printable(path)}: OK, version {found.version}")
