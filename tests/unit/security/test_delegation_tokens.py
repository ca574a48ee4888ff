"""Delegation tokens in Hadoop's encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.errors import InvalidTokenError
from memfs.security.delegation_tokens import SECURE_KIND, Token, TokenIdentifier, write_vint

IDENTIFIER = TokenIdentifier("alice", "yarn", "", 1_700_000_000_000, 1_700_604_800_000, 7, 3)
NAMES = st.text(st.characters(codec="utf-8"), max_size=200)
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)


@pytest.mark.parametrize(
    ("number", "raw"),
    [
        (0, "00"),
        (-112, "90"),
        (127, "7f"),
        (128, "8f80"),
        (255, "8fff"),
        (256, "8e0100"),
        (-113, "8770"),
        (-256, "87ff"),
        (-257, "860100"),
        ((1 << 63) - 1, "887fffffffffffffff"),
        (-(1 << 63), "807fffffffffffffff"),
    ],
)
def test_numbers_are_those_of_writable_utils(number: int, raw: str) -> None:
    assert write_vint(number).hex() == raw


def test_the_bytes_of_an_identifier() -> None:
    assert IDENTIFIER.encode().hex() == (
        "00" + "05616c696365" + "047961726e" + "00" + "8a018bcfe56800" + "8a018bf3f1ec00" + "0703"
    )
    assert TokenIdentifier.decode(IDENTIFIER.encode()) == IDENTIFIER


def test_the_url_of_a_token() -> None:
    token = Token(b"id", b"secret", SECURE_KIND, "")
    assert token.to_url() == "AmlkBnNlY3JldBNTV0VCSERGUyBkZWxlZ2F0aW9uAA"
    assert Token.from_url(token.to_url()) == token
    assert Token.from_url(token.to_url() + "==") == token
    assert "secret" not in repr(token)


@given(st.builds(TokenIdentifier, NAMES, NAMES, NAMES, NUMBERS, NUMBERS, NUMBERS, NUMBERS))
def test_identifiers_round_trip(identifier: TokenIdentifier) -> None:
    assert TokenIdentifier.decode(identifier.encode()) == identifier


@given(st.binary(max_size=300), st.binary(max_size=64), NAMES, NAMES)
def test_tokens_round_trip(identifier: bytes, password: bytes, kind: str, service: str) -> None:
    token = Token(identifier, password, kind, service)
    assert Token.from_url(token.to_url()) == token


@given(st.binary(max_size=80))
def test_any_bytes_are_an_identifier_or_refused(raw: bytes) -> None:
    try:
        assert TokenIdentifier.decode(raw).encode() == raw
    except InvalidTokenError:
        pass


@given(st.text(max_size=80))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    try:
        Token.from_url(text)
    except InvalidTokenError:
        pass


@pytest.mark.parametrize("text", ["", "!", "A", "AmlkBnNlY3JldB", "x" * 100_000, "AAAAAAA"])
def test_damaged_tokens_are_refused(text: str) -> None:
    with pytest.raises(InvalidTokenError):
        Token.from_url(text)
    for at in range(len(IDENTIFIER.encode())):
        with pytest.raises(InvalidTokenError):
            TokenIdentifier.decode(IDENTIFIER.encode()[:at])
