"""``memfs checksum``: short strings that identify content."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import click

from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.pipes import PIECE_BYTES
from memfs.cli.shell import Shell, file_command, printable, write_json
from memfs.client.calls import modes

if TYPE_CHECKING:
    from memfs.client.filesystem import AsyncFileSystem

CRC = "crc32c"


@file_command("checksum", example="memfs checksum -a sha256 /data/*.csv")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option(
    "-a",
    "--algorithm",
    type=click.Choice([CRC, "md5", "sha1", "sha256", "sha512"]),
    default=CRC,
    show_default=True,
    help="The others than the default read the whole file.",
)
@json_option
async def checksum(shell: Shell, paths: tuple[Operand, ...], algorithm: str, as_json: bool) -> None:
    """Show checksums of files, as sha256sum and its like do.

    CRC32C is put together from those that the namespace keeps of each block: no content is read.
    """
    for path in await shell.expand(paths, "cannot read"):
        with shell.attempt("cannot read", path):
            found = await (
                kept_checksum(shell.fs, path) if algorithm == CRC else _read(shell, path, algorithm)
            )
            if as_json:
                write_json({"path": path, "algorithm": algorithm, "checksum": found})
            else:
                print(f"{found}  {printable(path)}")


async def kept_checksum(fs: AsyncFileSystem, path: str) -> str:
    """CRC32C of a file's content, from the CRCs that the namespace keeps of its blocks."""
    handle = await fs.open_handle(path, modes.parse("rb"))
    try:
        return f"{await handle.file.crc():08x}"
    finally:
        await handle.close()


async def _read(shell: Shell, path: str, algorithm: str) -> str:
    state = hashlib.new(algorithm, usedforsecurity=False)
    buffer = memoryview(bytearray(PIECE_BYTES))
    async with shell.fs.open(path, "rb", buffering=0) as file:
        while got := await file.readinto(buffer):
            state.update(buffer[:got])
    return state.hexdigest()
