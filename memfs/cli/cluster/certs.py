"""``memfs certs``: the authority of a cluster, certificates of its nodes and users."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from memfs import machine
from memfs.cli.command import example_text
from memfs.cli.options import LocalPath, WholeNumber
from memfs.security.authority import (
    AUTHORITY_DAYS,
    CERTIFICATE_DAYS,
    Pair,
    expiry,
    make_authority,
    make_client,
    make_node,
)
from memfs.security.certificate_files import AUTHORITY, NODE, client_name, read_pair, write_pair

F = TypeVar("F", bound=Callable[..., object])

_DAYS_MAX = 36_500


def _directory() -> str:
    return machine.in_home(".memfs/certs") or "certs"


_where = click.option(
    "--certs-dir",
    type=LocalPath(),
    metavar="DIR",
    default=_directory,
    show_default="~/.memfs/certs",
    help="Directory of the certificates.",
)
_ca_key = click.option(
    "--ca-key", metavar="FILE", help="The authority's key [default: ca.key in the directory]."
)
_overwrite = click.option("--overwrite", is_flag=True, help="Replace what is there: a renewal.")


def _days(default: int) -> Callable[[F], F]:
    kind = WholeNumber(1, _DAYS_MAX)
    return click.option("--days", type=kind, default=default, show_default=True, help="Lifetime.")


@click.group(
    "certs",
    epilog=example_text(
        "memfs certs create-ca",
        "memfs certs create-node node1.example 10.0.0.1",
        "memfs certs create-client $USER",
    ),
)
def certs() -> None:
    """Make the certificates that nodes and users prove themselves with.

    Copy ca.crt, node.crt and node.key to a node, ca.crt and client.USER.* to a user. Keep ca.key
    where neither is: whoever has it is every node and every user.
    """


@certs.command("create-ca", epilog=example_text("memfs certs create-ca --ca-key /safe/ca.key"))
@_where
@_ca_key
@_days(AUTHORITY_DAYS)
@_overwrite
def create_ca(certs_dir: str, ca_key: str | None, days: int, overwrite: bool) -> None:
    """Make an authority: its certificate says whom to believe, its key makes the others."""
    _write(certs_dir, AUTHORITY, make_authority("memfs CA", days, _now()), overwrite, ca_key)


@certs.command(
    "create-node", epilog=example_text("memfs certs create-node node1.example 10.0.0.1 localhost")
)
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
@_where
@_ca_key
@_days(CERTIFICATE_DAYS)
@_overwrite
def create_node(
    hosts: tuple[str, ...], certs_dir: str, ca_key: str | None, days: int, overwrite: bool
) -> None:
    """Make a node's certificate for every name and address that it is reached by.

    The address that it advertises must be among them.
    """
    _write(
        certs_dir, NODE, make_node(_authority(certs_dir, ca_key), hosts, days, _now()), overwrite
    )


@certs.command("create-client", epilog=example_text("memfs certs create-client alice"))
@click.argument("user")
@_where
@_ca_key
@_days(CERTIFICATE_DAYS)
@_overwrite
def create_client(
    user: str, certs_dir: str, ca_key: str | None, days: int, overwrite: bool
) -> None:
    """Make a user's certificate."""
    pair = make_client(_authority(certs_dir, ca_key), user, days, _now())
    _write(certs_dir, client_name(user), pair, overwrite)


def _authority(directory: str, key: str | None) -> Pair:
    return read_pair(Path(directory), AUTHORITY, Path(key) if key else None)


def _write(directory: str, stem: str, pair: Pair, overwrite: bool, key: str | None = None) -> None:
    where = Path(directory)
    key_path = Path(key) if key else where / f"{stem}.key"
    write_pair(where, stem, pair, key_path, overwrite=overwrite)
    ends = datetime.datetime.fromtimestamp(expiry(pair.certificate), datetime.UTC)
    click.echo(f"{where / stem}.crt and {key_path}, valid until {ends:%Y-%m-%d}")


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
