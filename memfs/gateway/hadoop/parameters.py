"""The query of a request: parameters by name, read and checked as HDFS reads and checks them.

Pure. Names are case-insensitive, unknown ones are ignored, of duplicates the first counts, ``null``
means absent. Invariant: everything is decoded exactly once; a bad value is an
IllegalArgumentException that names its parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NoReturn
from urllib.parse import unquote_plus

from memfs.gateway.hadoop.exceptions import (
    HADOOP_ILLEGAL_ARGUMENT,
    ILLEGAL_ARGUMENT,
    RemoteException,
)

USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*[$]?")
DELEGATION: Final = "delegation"
"""The parameter that shows a token."""
_PERMISSION_MAX: Final = 0o1777
_LONG_MAX: Final = (1 << 63) - 1
_INT_MAX: Final = (1 << 31) - 1
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,19}")


class Parameters:
    """The parameters of one request."""

    __slots__ = ("_first", "pairs")

    def __init__(self, query: str) -> None:
        """``query``: what follows the ``?``, encoded. Raises RemoteException for invalid UTF-8."""
        self.pairs = list(_parse(query))
        """(name as written, value), decoded, in order."""
        self._first: dict[str, str] = {}
        for name, value in self.pairs:
            self._first.setdefault(name.lower(), value)

    def __contains__(self, name: str) -> bool:
        return bool(self._first.get(name))

    def text(self, name: str, default: str = "") -> str:
        """The value as it is; ``default`` when it is absent or empty."""
        return self._first.get(name) or default

    def all(self, name: str) -> list[str]:
        """All values of a parameter that may be repeated, empty ones left out."""
        return [value for key, value in self.pairs if value and key.lower() == name]

    def required(self, name: str, operation: str) -> str:
        """The value. Raises RemoteException when it is absent or empty."""
        value = self._first.get(name)
        if not value:
            text = f"Required param {name} for op: {operation} is null or empty"
            raise RemoteException(ILLEGAL_ARGUMENT, text)
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean in any case."""
        value = self._given(name).lower()
        if not value:
            return default
        if value not in ("true", "false"):
            _invalid(name, f'"{value}" is not a boolean value.')
        return value == "true"

    def whole(self, name: str, default: int, least: int, most: int = _LONG_MAX) -> int:
        """A decimal integer between ``least`` and ``most``."""
        value = self._given(name)
        if not value:
            return default
        if not _WHOLE.fullmatch(value) or int(value) > _LONG_MAX:
            _invalid(name, f'Failed to parse "{value}" as a radix-10 long integer.')
        number = int(value)
        if number < least:
            _invalid(name, f"Invalid parameter range: {name} = {number} < {least}")
        if number > most:
            _invalid(name, f"Invalid parameter range: {name} = {number} > {most}")
        return number

    def check_unused(self) -> None:
        """Refuse wrong values of parameters that HDFS checks on every operation and that are not
        used here."""
        self.whole("buffersize", 0, 1, _INT_MAX)
        self.flag("noredirect")

    def permission(self, default: int, name: str = "permission") -> int:
        """Octal permission bits, sticky bit included."""
        value = self._given(name)
        if not value:
            return default
        if not re.fullmatch("[0-7]{1,6}", value):
            _invalid(name, f'Failed to parse "{value}" as a radix-8 short integer.')
        bits = int(value, 8)
        if bits > _PERMISSION_MAX:
            _invalid(name, f"Invalid parameter range: {name} = {bits:o} > {_PERMISSION_MAX:o}")
        return bits

    def choices(self, name: str, known: frozenset[str]) -> frozenset[str]:
        """A comma separated list of constants, in any case."""
        chosen = frozenset(filter(None, (each.strip().upper() for each in self._list(name))))
        for each in chosen - known:
            _invalid(name, f'"{each}" is none of {", ".join(sorted(known))}')
        return chosen

    def choice(self, name: str, known: frozenset[str], operation: str) -> str:
        """One constant, in any case. Raises RemoteException when it is absent."""
        chosen = self.choices(name, known)
        if not chosen:
            text = f"Required param {name} for op: {operation} is null or empty"
            raise RemoteException(ILLEGAL_ARGUMENT, text)
        if len(chosen) > 1:
            _invalid(name, f"one of {', '.join(sorted(known))} is wanted")
        return next(iter(chosen))

    def path(self, name: str, operation: str) -> str:
        """An absolute path."""
        return _absolute(name, self.required(name, operation))

    def paths(self, name: str, operation: str) -> list[str]:
        """A comma separated list of absolute paths."""
        listed = self.required(name, operation).split(",")
        return [_absolute(name, each) for each in listed]

    def matching(self, name: str, pattern: re.Pattern[str], default: str = "") -> str:
        """Text of a given form."""
        value = self._first.get(name) or default
        if value and not pattern.fullmatch(value):
            text = f'Invalid value: "{value}" does not belong to the domain {pattern.pattern}'
            _invalid(name, text)
        return value

    def _given(self, name: str) -> str:
        value = self._first.get(name, "")
        return "" if value == "null" else value

    def _list(self, name: str) -> list[str]:
        return self._given(name).split(",")


def _parse(query: str) -> Iterator[tuple[str, str]]:
    for part in query.split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        try:
            if "%" in part or "+" in part:
                name = unquote_plus(name, errors="strict")
                value = unquote_plus(value, errors="strict")
            (name + value).encode("utf-8")
        except UnicodeError:
            raise RemoteException(ILLEGAL_ARGUMENT, "the query is not valid UTF-8") from None
        yield name, value


def _absolute(name: str, value: str) -> str:
    if not value.startswith("/"):
        _invalid(name, f'Invalid value "{value}": it is no absolute path')
    return value


def _invalid(name: str, cause: str) -> NoReturn:
    raise RemoteException(
        ILLEGAL_ARGUMENT, f'Invalid value for webhdfs parameter "{name}": {cause}'
    )


def illegal(text: str) -> RemoteException:
    """The error for an argument that is well formed but makes no sense."""
    return RemoteException(HADOOP_ILLEGAL_ARGUMENT, text)
