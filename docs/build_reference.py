"""Writes what is made of the source: ``docs/reference/`` from the docstrings, the decisions' list.

Run by ``make reference``; a test says when a page is behind the code.
"""

from __future__ import annotations

import dataclasses
import errno
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import memfs
from memfs import aio, errors
from memfs.client import stat
from memfs.client.blocking import files, scanning
from memfs.client.transfer.copying import ProgressEvent, Transferred
from memfs.config import ClientConfig

DOCS = Path(__file__).parent
NOTE = "<!-- Made from the docstrings by `make reference`. -->\n\n"


def text(thing: Any) -> str:
    """A docstring as Markdown: roles and double backticks become code."""
    doc = inspect.getdoc(thing) or ""
    doc = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", doc)
    doc = re.sub(r"``([^`]+)``", r"`\1`", doc)
    return re.sub(
        r"((?:^>>> .*\n?(?:^(?!>>>).+\n?)*)+)", r"```pycon\n\1\n```", doc, flags=re.MULTILINE
    )


def signature(function: Callable[..., Any]) -> str:
    """Parameters without ``self``, types as they are written in the source."""
    found = inspect.signature(function)
    kept = [each for name, each in found.parameters.items() if name != "self"]
    shown = str(found.replace(parameters=kept)).replace("'", "")
    return shown.replace("os.PathLike[str]", "PathLike")


def methods(cls: type, inherited: bool = True) -> Iterator[tuple[str, Any]]:
    """Public members that are described, as they stand in the source."""
    known: dict[str, Any] = {}
    for base in reversed(cls.__mro__ if inherited else (cls,)):
        if base.__module__.startswith("memfs"):
            known |= {name: each for name, each in vars(base).items() if not name.startswith("_")}
    for name, member in known.items():
        if isinstance(member, property) or callable(member):
            yield name, member


def section(cls: type, title: str | None = None, level: str = "##") -> Iterator[str]:
    """A class: what it is, then its members."""
    yield f"{level} {title or cls.__name__}\n\n{text(cls)}\n"
    for name, member in methods(cls):
        if isinstance(member, property):
            yield f"- **`{name}`**: {text(member)}"
        elif inspect.isfunction(member):
            mark = "await " if inspect.iscoroutinefunction(member) else ""
            yield f"\n{level}# `{mark}{name}{signature(member)}`\n\n{text(member)}\n"


def record(cls: Any) -> Iterator[str]:
    """A named tuple or a dataclass: its fields, described where the source does."""
    yield f"\n## {cls.__name__}\n\n{text(cls)}\n"
    source = inspect.getsource(cls)
    names = getattr(cls, "_fields", None) or [each.name for each in dataclasses.fields(cls)]
    for name in names:
        said = re.search(
            rf'^    {name}: [^\n]*(?:\n(?!    \w+:)[^\n]*?)*?\n    """(.*?)"""', source, re.M | re.S
        )
        told = re.sub(r"\s+", " ", said[1]).replace("``", "`") if said else ""
        yield f"- **`{name}`**" + (f": {told}" if told else "")


def python_page() -> str:
    """The Python API."""
    parts = [
        "# Python API\n\nThe blocking API, then the asynchronous one, whose file system has the "
        "same methods, awaited; then what they return. [errors.md](errors.md) has the errors.\n",
        "## The package\n",
    ]
    for function in (memfs.open, memfs.connect, aio.connect):
        name = "aio.connect" if function is aio.connect else function.__name__
        parts.append(f"### `memfs.{name}{signature(function)}`\n\n{text(function)}\n")
    parts += section(memfs.FileSystem, "memfs.FileSystem")
    parts += section(memfs.MemfsPath, "memfs.MemfsPath")
    parts += section(files.RawFile, "Files of the blocking API")
    parts.append(
        "\n`open` returns the standard library's buffered and text objects over this one; their "
        "`flush` also publishes.\n"
    )
    parts += section(aio.AsyncFile, "memfs.aio.AsyncFile")
    parts += section(aio.AsyncTextFile, "memfs.aio.AsyncTextFile")
    for cls in (stat.Stat, scanning.ScannedEntry, scanning.Scandir):
        parts += section(cls)
    for each in (stat.StatVfs, stat.Usage, stat.BlockLocation, Transferred, ProgressEvent):
        parts += record(each)
    parts += record(ClientConfig)
    return NOTE + "\n".join(parts) + "\n"


def leaves(cls: type[errors.MemfsError]) -> Iterator[type[errors.MemfsError]]:
    """The errors that are raised, in the order of the tree."""
    if cls.code:
        yield cls
    for each in cls.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from leaves(each)


def errors_page() -> str:
    """The errors."""
    rows = []
    for each in leaves(errors.MemfsError):
        plain = (OSError, Exception, BaseException, object)
        found = (base for base in each.__mro__ if base.__module__ == "builtins")
        builtin = next((f"`{base.__name__}`" for base in found if base not in plain), "")
        again = "yes" if each.retryable else "no"
        if each is errors.OutcomeUnknownError:
            again = "look first"
        said = re.sub(r"\s+", " ", text(each))
        word = errno.errorcode[each.posix]
        rows.append(f"| `{each.__name__}` | {word} | {builtin} | {again} | {said} |")
    return (
        NOTE + "# Errors\n\n"
        "Every error that memfs raises on purpose is a `memfs.errors.MemfsError`, which is an "
        "`OSError`; many also inherit the builtin that people catch. `str()` is one line that says "
        "what to do, `filename` the path as it was given, `errno` the word of POSIX for it, `code` "
        "the number on the wire.\n\n"
        "*May be retried*: the request was not carried out; the client has already tried until the "
        "call's time was over. After `OutcomeUnknownError` it may have been: look first.\n\n"
        "| error | `errno` | is also a | may be retried | means |\n"
        "| --- | --- | --- | --- | --- |\n"
        + "\n".join(rows)
        + "\n\n## The tree\n\n```\n"
        + (errors.__doc__ or "").partition("::\n\n")[2].partition("\n\nA leaf")[0]
        + "\n```\n"
    )


def decisions_page() -> str:
    """The list of decisions, from the heads of their pages."""
    rows = []
    for page in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        lines = page.read_text().splitlines()
        number, title = lines[0].removeprefix("# ").split(". ", 1)
        told = re.fullmatch(r"Date: ([-\d]+)\. Status: (.+)\.", lines[2])
        assert told, f"{page.name}: the third line is `Date: 2026-01-31. Status: accepted.`"
        rows.append(f"| {number} | [{title}]({page.name}) | {told[1]} | {told[2]} |")
    return (
        "<!-- Made from the pages by `make reference`. -->\n\n# Decisions\n\n"
        "Why things are as they are: each page has the decision, the reasons and figures, its\n"
        "price, and what would change it. A page is not rewritten when a later one decides\n"
        "otherwise: its status then names that one.\n\n"
        "| | decision | date | status |\n|--:|---|---|---|\n" + "\n".join(rows) + "\n"
    )


PAGES: dict[str, Callable[[], str]] = {
    "reference/python.md": python_page,
    "reference/errors.md": errors_page,
    "decisions/README.md": decisions_page,
}


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make())


if __name__ == "__main__":
    main()
