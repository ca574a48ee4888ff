"""Entries of access control lists as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.errors import InvalidArgumentError
from memfs.security.acls import format_entry, minimal, parse_entries, parse_entry
from memfs.types import AclEntry

NAMES = st.text(st.characters(codec="utf-8", exclude_characters=":, \t\n\r\v\f"), max_size=20)


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("user::rwx", (0, "", 7, False)),
        ("user:ann:r-x", (0, "ann", 5, False)),
        ("default:group:dev:-w-", (1, "dev", 2, True)),
        ("d:u:ann:rw", (0, "ann", 6, True)),
        ("m::6", (2, "", 6, False)),
        ("other::---", (3, "", 0, False)),
        ("o:r--", (3, "", 4, False)),
        ("default:mask:rx", (2, "", 5, True)),
        (" g:default:x ", (1, "default", 1, False)),
    ],
)
def test_what_entries_mean(text: str, entry: tuple[int, str, int, bool]) -> None:
    assert parse_entry(text) == entry


@pytest.mark.parametrize(
    "text", ["", "ann:rwx", "user", "user:ann", "user:ann:rwxx", "user:ann:q", "u:a:r:w", "default"]
)
def test_what_is_no_entry(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parse_entry(text)


def test_entries_to_be_removed_have_no_permissions() -> None:
    assert parse_entries("user:ann,default:group:,m::", permissions=False) == (
        AclEntry(0, "ann", 0),
        AclEntry(1, "", 0, True),
        AclEntry(2, "", 0),
    )
    assert parse_entries("u:ann:rwx,", permissions=False) == (AclEntry(0, "ann", 7),)


@given(st.builds(AclEntry, st.integers(0, 3), NAMES, st.integers(0, 7), st.booleans()))
def test_text_round_trips(entry: AclEntry) -> None:
    assert parse_entry(format_entry(entry)) == entry


def test_minimal_lists() -> None:
    assert minimal(parse_entries("u::rwx,g::r-x,o::---"))
    assert not minimal(parse_entries("u::rwx,g::r-x,m::rwx,o::---"))
    assert not minimal(parse_entries("u::rwx,u:ann:r,g::r-x,o::---"))
