"""Access control lists as text: ``user:ann:rw-``, ``default:group::r-x``.

Owns the form in which people and Hadoop write entries. What a list means, which lists are valid
and how they change is the namespace's business (``memfs.node.namespace.rules.acls``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from memfs import limits
from memfs.errors import InvalidArgumentError
from memfs.types import AclEntry, AclKind

_KINDS: Final = {kind.name.lower(): kind for kind in AclKind}
_ABBREVIATIONS: Final = {name[0]: kind for name, kind in _KINDS.items()}
_DEFAULT: Final = ("default", "d")
_LETTERS: Final = "rwx"


def format_entry(entry: AclEntry) -> str:
    """``[default:]kind:[name]:rwx``."""
    kind = AclKind(entry.kind).name.lower()
    scope = "default:" if entry.default else ""
    return f"{scope}{kind}:{entry.name}:{format_permission(entry.permission)}"


def format_permission(permission: int) -> str:
    """Three of ``rwx-``."""
    return "".join(letter if permission & 4 >> at else "-" for at, letter in enumerate(_LETTERS))


def parse_entries(text: str, *, permissions: bool = True) -> tuple[AclEntry, ...]:
    """Entries separated by commas. Without ``permissions`` they name what is to be removed.

    Raises InvalidArgumentError.
    """
    return tuple([parse_entry(part, permissions=permissions) for part in text.split(",") if part])


def parse_entry(text: str, *, permissions: bool = True) -> AclEntry:
    """One entry: ``[default:]kind:[name][:rwx]``; kinds and ``default`` may be one letter."""
    parts = text.strip().split(":")
    default = len(parts) > 1 and parts[0] in _DEFAULT
    kind, name, permission = (*parts[default:], "", "")[:3]
    number = _KINDS.get(kind, _ABBREVIATIONS.get(kind))
    if number is None or len(parts) - default > 3:
        raise InvalidArgumentError(f"{text!r} is no [default:]user|group|mask|other:[name]:rwx")
    if number in (AclKind.MASK, AclKind.OTHER) and not permission and name:
        name, permission = "", name  # "other:rwx", as setfacl understands it
    if permissions and not permission:
        raise InvalidArgumentError(f"{text!r} says no permissions, such as r-x")
    return AclEntry(number, name, _permission(permission, text), default)


def _permission(text: str, entry: str) -> int:
    """Of three letters, or an octal digit, or any of the letters."""
    if len(text) == 1 and text in "01234567":
        return int(text)
    if len(text) > len(_LETTERS) or not set(text) <= set(_LETTERS + "-"):
        raise InvalidArgumentError(f"{entry!r}: permissions are three of rwx-")
    return sum(4 >> at for at, letter in enumerate(_LETTERS) if letter in text)


def order(entry: AclEntry) -> tuple[bool, int, str]:
    """The sort key of entries; equal only for the same scope, kind and name."""
    return entry.default, entry.kind, entry.name


def minimal(entries: Iterable[AclEntry]) -> bool:
    """Are these entries of one scope expressible by mode bits?"""
    return all(not entry.name and entry.kind != AclKind.MASK for entry in entries)


def check_entry(entry: AclEntry) -> None:
    """Raise InvalidArgumentError for an entry that no list can have."""
    if entry.kind not in AclKind._value2member_map_ or not 0 <= entry.permission <= 7:
        raise InvalidArgumentError("an entry has a kind and permissions rwx")
    if entry.name and entry.kind in (AclKind.MASK, AclKind.OTHER):
        raise InvalidArgumentError("mask and other have no name")
    if len(entry.name.encode()) > limits.OWNER_BYTES:
        raise InvalidArgumentError(f"a user or group has {limits.OWNER_BYTES} bytes at most")
