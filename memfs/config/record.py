"""The base of all configurations: fields with parsers, validated together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import field
from typing import Any, ClassVar, Protocol

from memfs.config.values import Parser
from memfs.errors import ConfigError, MemfsError


def setting(parse: Parser[object], default: object, *, secret: bool = False) -> Any:
    """Declare a field: how its value is read, its default (or a function for it), if to hide it."""
    metadata = {"parse": parse, "secret": secret}
    if callable(default):
        return field(default_factory=default, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


class Record(Protocol):
    """A dataclass that checks itself."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def conflicts(self) -> Iterator[str]: ...


def validate(record: Record) -> None:
    """Parse every field into its type. Raises one ConfigError with all mistakes."""
    mistakes: list[str] = []
    for each in dataclasses.fields(record):
        try:
            value = each.metadata["parse"](getattr(record, each.name))
        except (ValueError, MemfsError) as error:
            mistakes.append(f"{each.name}: {reason(error)}")
        else:
            object.__setattr__(record, each.name, value)
    mistakes = mistakes or list(record.conflicts())
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def reason(error: Exception) -> str:
    return error.message if isinstance(error, MemfsError) else str(error)
