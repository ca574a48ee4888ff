"""What proves a client: looked for where people keep such things, never in a URL or a flag.

Owns the order: a token or a key that the settings name, the user's certificate, the user's key or
a token in ``~/.memfs``, the only certificate there is. Proofs go over TLS only, to a node that has
proved itself; without ``certificates`` nothing is shown to anybody.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

from memfs import machine
from memfs.config import ClientConfig
from memfs.errors import ConfigError, InvalidTokenError
from memfs.security.certificate_files import (
    AUTO,
    at_home,
    certificates_directory,
    check_private,
    client_name,
    find_client,
)
from memfs.security.delegation_tokens import Token, TokenIdentifier
from memfs.security.keys import key_from, secret_text
from memfs.security.proofs import KeyProver, Prover, TokenProver
from memfs.transport.environment import Tls

USUAL_TOKEN = "~/.memfs/token"


class Proof(NamedTuple):
    """How connections are secured, and what proves the user on them."""

    tls: Tls | None = None
    prover: Prover | None = None
    """None: the certificate of ``tls``, or nothing has to."""


class _Choice(NamedTuple):
    """What will prove the user."""

    stem: str = ""
    """A certificate's."""
    prover: Prover | None = None
    owner: str = ""
    """Whose token it is."""


def client_proof(settings: ClientConfig) -> Proof:
    """What the settings and the user's files have. Raises ConfigError."""
    where = certificates_directory(settings.certificates)
    if where is None:
        _check_unneeded(settings)
        return Proof()
    from memfs.security.tls import TlsCredentials  # cryptography takes its time

    chosen = _choose(settings, where)
    return Proof(TlsCredentials(where, chosen.stem), chosen.prover)


def as_proven(settings: ClientConfig) -> ClientConfig:
    """The settings, for the owner of the token unless they name another user than the account's."""
    where = certificates_directory(settings.certificates)
    if where is None or settings.user != machine.login_name():
        return settings
    owner = _choose(settings, where).owner
    return dataclasses.replace(settings, user=owner) if owner else settings


def usual_key(user: str) -> Path:
    """Where a user's key is looked for."""
    return at_home(f"~/.memfs/{user}.ed25519")


def _choose(settings: ClientConfig, where: Path) -> _Choice:
    """What is to be shown. Raises ConfigError."""
    if settings.token:
        return _by_token(settings.token, "token")
    if settings.token_file not in ("", AUTO):
        return _by_token_file(at_home(settings.token_file))
    if settings.key_file not in ("", AUTO):
        return _by_key(at_home(settings.key_file))
    if (where / f"{client_name(settings.user)}.crt").exists():
        return _Choice(client_name(settings.user))
    if settings.key_file and usual_key(settings.user).exists():
        return _by_key(usual_key(settings.user))
    if settings.token_file and at_home(USUAL_TOKEN).exists():
        return _by_token_file(at_home(USUAL_TOKEN))
    return _Choice(find_client(where, settings.user))


def _by_key(file: Path) -> _Choice:
    check_private(file)
    return _Choice(prover=KeyProver(key_from(file)))


def _by_token_file(file: Path) -> _Choice:
    check_private(file)
    return _by_token(secret_text(file, "a token"), str(file))


def _by_token(text: str, where: str) -> _Choice:
    try:
        token = Token.from_url(text.strip())
        owner = TokenIdentifier.decode(token.identifier).owner
    except InvalidTokenError as error:
        raise ConfigError(f"{where}: {error.message}: memfs token get prints one") from None
    return _Choice(prover=TokenProver(token), owner=owner)


def _check_unneeded(settings: ClientConfig) -> None:
    for name in ("token", "token_file", "key_file"):
        if getattr(settings, name) not in ("", AUTO):
            raise ConfigError(
                f"{name}: needs certificates, a directory with the cluster's ca.crt: what proves "
                "you is shown to no node that did not prove itself"
            )
