"""What proves a client, out of settings and the files of a home."""

from __future__ import annotations

from pathlib import Path

import pytest

from memfs import machine
from memfs.client.credentials import as_proven, client_proof, usual_key
from memfs.config import ClientConfig
from memfs.errors import ConfigError
from memfs.security.delegation_tokens import Token, TokenIdentifier
from memfs.security.keys import write_key, write_secret
from memfs.security.proofs import KeyProver, TokenProver
from tests.attack.certificates import Authority

TOKEN = Token(TokenIdentifier("ann", "", "", 0, 1, 1, 1).encode(), bytes(32)).to_url()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """The cluster's authority, and bob's certificate."""
    return Authority(tmp_path / "made").user("bob")


def settings(certificates: Path | str, **options: str) -> ClientConfig:
    return ClientConfig(certificates=str(certificates), **options)


def test_without_certificates_nothing_is_shown(home: Path) -> None:
    write_key(usual_key(machine.login_name()), bytes(32), 0o600)
    assert client_proof(settings("")) == (None, None)
    assert client_proof(settings("auto")) == (None, None)
    for name, value in (("token", TOKEN), ("token_file", "/x"), ("key_file", "/x")):
        with pytest.raises(ConfigError, match=f"{name}: needs certificates"):
            client_proof(settings("", **{name: value}))


def test_what_is_named_comes_first(home: Path, certificates: Path) -> None:
    write_secret(home / "token", TOKEN.encode(), 0o600)
    write_key(home / "key", bytes(32), 0o600)
    for options in ({"token": TOKEN}, {"token_file": str(home / "token")}):
        found = client_proof(settings(certificates, user="bob", **options))
        assert isinstance(found.prover, TokenProver) and found.tls is not None
        assert not found.tls.digest, "the certificate stays where it is"
    found = client_proof(settings(certificates, user="bob", key_file=str(home / "key")))
    assert isinstance(found.prover, KeyProver)


def test_then_the_user_s_certificate_key_and_token(home: Path, certificates: Path) -> None:
    write_key(usual_key("bob"), bytes(32), 0o600)
    write_key(usual_key("ann"), bytes(32), 0o600)
    write_secret(home / ".memfs" / "token", TOKEN.encode(), 0o600)
    found = client_proof(settings(certificates, user="bob"))
    assert found.prover is None and found.tls is not None and found.tls.digest
    assert isinstance(client_proof(settings(certificates, user="ann")).prover, KeyProver)
    assert isinstance(client_proof(settings(certificates, user="eve")).prover, TokenProver)
    others = settings(certificates, user="eve", token_file="")
    assert client_proof(others).prover is None, "the only certificate there is"


def test_with_a_token_its_owner_is_the_user(home: Path, certificates: Path) -> None:
    assert as_proven(settings(certificates, token=TOKEN)).user == "ann"
    assert as_proven(settings(certificates, token=TOKEN, user="eve")).user == "eve"
    assert as_proven(settings("", user="eve")).user == "eve"
    assert as_proven(settings(certificates)).user == machine.login_name()


def test_what_is_no_proof_is_said(home: Path, certificates: Path) -> None:
    with pytest.raises(ConfigError, match=r"token: the token .*: memfs token get"):
        client_proof(settings(certificates, token="x"))
    write_secret(home / "open", TOKEN.encode(), 0o644)
    for name in ("token_file", "key_file"):
        with pytest.raises(ConfigError, match="chmod 600"):
            client_proof(settings(certificates, **{name: str(home / "open")}))
        with pytest.raises(ConfigError, match="cannot read"):
            client_proof(settings(certificates, **{name: str(home / "absent")}))


def test_secrets_are_not_shown() -> None:
    assert TOKEN not in repr(settings("", token=TOKEN))
    assert "password" not in repr(KeyProver(bytes(32))) and TOKEN not in repr(Token.from_url(TOKEN))
