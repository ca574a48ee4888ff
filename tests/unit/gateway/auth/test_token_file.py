"""The file of tokens tokens: what a request shows is looked up in what the file says now."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest

from memfs.gateway.auth.authentication import RequestUser
from memfs.gateway.auth.token_file import TokenFile


def line(token: str, rest: str) -> str:
    return f"{hashlib.sha256(token.encode()).hexdigest()} {rest}\n"


def test_a_token_that_is_added_and_one_that_is_withdrawn(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(line("a", "alice"))
    tokens = TokenFile(str(path))
    assert tokens.principal("bb") is None
    path.write_text(line("bb", "bob ops,staff"))
    assert tokens.principal("bb") == RequestUser("bob", ("ops", "staff"))
    assert tokens.principal("a") is None


def test_another_file_in_its_place(tmp_path: Path) -> None:
    path, other = tmp_path / "tokens", tmp_path / "other"
    path.write_text(line("a", "alice"))
    tokens = TokenFile(str(path))
    other.write_text(line("b", "alice"))
    other.replace(path)
    assert tokens.principal("b") == RequestUser("alice")
    assert tokens.principal("a") is None


@pytest.mark.parametrize("content", ["nonsense\n", None])
def test_a_file_that_makes_no_sense_is_said_once(
    tmp_path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tokens"
    path.write_text(line("a", "alice"))
    tokens = TokenFile(str(path))
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with caplog.at_level(logging.WARNING):
        assert tokens.principal("a") == tokens.principal("a") == RequestUser("alice")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    path.write_text(line("b", "bob"))
    assert tokens.principal("b") == RequestUser("bob")


def test_bytes_that_are_no_utf_8_are_nobodys_token(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(line("a", "alice"))
    assert TokenFile(str(path)).principal(b"a\xff".decode("utf-8", "surrogateescape")) is None
