"""The tables of docs/protocol.md, rendered from the code."""

from __future__ import annotations

import enum
import inspect
import itertools
import re
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memfs import errors
from memfs.protocol.frames import REQUEST, pack_frame
from memfs.protocol.messages import BY_OPCODE, BY_REQUEST, ErrorReply, Lookup, Spec
from memfs.protocol.records import encode

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"
_JOINED = "\N{NO-BREAK SPACE}"
_PART = r"(<!-- {name}: rendered from the code -->\n).*?(<!-- end of {name} -->)"


def render(document: str) -> str:
    """The document with its tables brought up to date."""
    for name, lines in (
        ("messages", _messages()),
        ("records", _records()),
        ("errors", _errors()),
        ("example", _example()),
    ):
        table = "".join(f"{line}\n" for line in lines)
        pattern = re.compile(_PART.format(name=name), re.DOTALL)
        assert pattern.search(document), f"docs/protocol.md has no place for its {name}"
        document = pattern.sub(lambda found, table=table: found[1] + table + found[2], document)
    return document


def _example() -> Iterator[str]:
    record = encode(Lookup(b"/a"))
    frame = pack_frame(REQUEST, BY_REQUEST[Lookup].opcode, 1, 7, 30_000, record)
    sizes = (2, 1, 1, 2, 2, 8, 8, 4, 4, 4, 4, 4)
    starts = itertools.accumulate(sizes, initial=0)
    yield "```"
    yield " ".join(frame[at : at + size].hex() for at, size in zip(starts, sizes, strict=False))
    yield record.hex(" ")
    yield "```"


def _messages() -> Iterator[str]:
    yield "| opcode | request | reply | lane | | what it does |"
    yield "|---:|---|---|---|---|---|"
    for opcode, spec in sorted(BY_OPCODE.items()):
        request, reply = spec.request.__name__, spec.reply.__name__
        yield (
            f"| {opcode} | `{request}` | `{reply}` | {spec.lane.value} | {_marks(spec)} "
            f"| {_first_sentence(spec.request)} |"
        )


def _marks(spec: Spec) -> str:
    return ", ".join(
        word for word, true in (("command", spec.command), ("nodes only", spec.peer)) if true
    )


def _records() -> Iterator[str]:
    yield "```python"
    for cls in _record_classes():
        hints = typing.get_type_hints(cls)
        fields = [_field(cls, name, hints[name]) for name in cls._fields]
        text = f"{cls.__name__}({', '.join(field.replace(' ', _JOINED) for field in fields)})"
        for line in textwrap.wrap(text, 100, subsequent_indent="    ", break_on_hyphens=False):
            yield line.replace(_JOINED, " ")
    yield "```"


def _record_classes() -> list[Any]:
    """Every record class, each after those it is made of."""
    found: dict[Any, None] = {}

    def visit(hint: Any) -> None:
        if hasattr(hint, "_fields"):
            for inner in typing.get_type_hints(hint).values():
                visit(inner)
            found[hint] = None
        for argument in typing.get_args(hint):
            visit(argument)

    for _, spec in sorted(BY_OPCODE.items()):
        visit(spec.request)
        visit(spec.reply)
    visit(ErrorReply)
    return list(found)


def _field(cls: Any, name: str, hint: Any) -> str:
    typed = f"{name}: {hint.__name__ if isinstance(hint, type) else _plain(str(hint))}"
    if name not in cls._field_defaults:
        return typed
    default = cls._field_defaults[name]
    return f"{typed} = {default.value if isinstance(default, enum.Enum) else default!r}"


def _plain(hint: str) -> str:
    """A generic type without module names; get_type_hints left the rest as it was written."""
    return re.sub(r"\bmemfs\.[a-z.]+\.", "", hint)


def _errors() -> Iterator[str]:
    yield "| code | error | a retry | meaning |"
    yield "|---:|---|---|---|"
    for code, cls in sorted(errors.BY_CODE.items()):
        retry = "may help" if cls.retryable else "only after a look" if code == 20 else "is no use"
        yield f"| {code} | `{cls.__name__}` | {retry} | {_first_sentence(cls)} |"


def _first_sentence(cls: type) -> str:
    text = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return text.replace("``", "`")
