"""The file of bearer tokens: what a request shows is looked up in what the file says now."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest

from memfs.gateway.auth.authentication import Bearer, RequestUser


def line(token: str, rest: str) -> str:
    return f"{hashlib.sha256(token.encode()).hexdigest()} {rest}\n"


def test_a_token_that_is_added_and_one_that_is_withdrawn(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(line("a", "alice"))
    bearer = Bearer(str(path))
    assert bearer.principal("bb") is None
    path.write_text(line("bb", "bob ops,staff"))
    assert bearer.principal("bb") == RequestUser("bob", ("ops", "staff"))
    assert bearer.principal("a") is None


def test_another_file_in_its_place(tmp_path: Path) -> None:
    path, other = tmp_path / "tokens", tmp_path / "other"
    path.write_text(line("a", "alice"))
    bearer = Bearer(str(path))
    other.write_text(line("b", "alice"))
    other.replace(path)
    assert bearer.principal("b") == RequestUser("alice")
    assert bearer.principal("a") is None


@pytest.mark.parametrize("content", ["nonsense\n", None])
def test_a_file_that_makes_no_sense_is_said_once(
    tmp_path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tokens"
    path.write_text(line("a", "alice"))
    bearer = Bearer(str(path))
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with caplog.at_level(logging.WARNING):
        assert bearer.principal("a") == bearer.principal("a") == RequestUser("alice")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    path.write_text(line("b", "bob"))
    assert bearer.principal("b") == RequestUser("bob")


def test_bytes_that_are_no_utf_8_are_nobodys_token(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(line("a", "alice"))
    assert Bearer(str(path)).principal(b"a\xff".decode("utf-8", "surrogateescape")) is None
