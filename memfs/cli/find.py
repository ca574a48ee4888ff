"""``memfs find``: search trees."""

from __future__ import annotations

import fnmatch
import re
import sys
import time
from collections.abc import AsyncIterator, Callable

import click

from memfs.cli import layout
from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.shell import Shell, file_command, printable, write_json
from memfs.client.stat import Stat
from memfs.quantities import parse_size

Test = Callable[[str, Stat], bool]

_KINDS: dict[str, Callable[[Stat], bool]] = {
    "f": Stat.is_file,
    "d": Stat.is_dir,
    "l": Stat.is_symlink,
}


class _Range(click.ParamType[Callable[[float], bool]]):
    """``N``, ``+N`` (more) or ``-N`` (less), read by ``parse``."""

    name = "range"

    def __init__(self, parse: Callable[[str], float]) -> None:
        self._parse = parse

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Callable[[float], bool]:
        found = re.fullmatch(r"([-+]?)(.+)", str(value))
        try:
            assert found is not None
            number = self._parse(found[2])
        except (ValueError, AssertionError):
            self.fail(f"invalid number: {value!r}", param, ctx)
        if found[1] == "+":
            return lambda actual: actual > number
        if found[1] == "-":
            return lambda actual: actual < number
        return lambda actual: actual == number


@file_command("find", example="memfs find /data -name '*.csv' -size +10M -mtime -7")
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@click.option("-name", "name", metavar="PATTERN", help="The name matches.")
@click.option("-iname", "iname", metavar="PATTERN", help="The same, in any case.")
@click.option("-path", "path_pattern", metavar="PATTERN", help="The whole path matches.")
@click.option("-type", "kind", type=click.Choice(list(_KINDS)), help="File, directory, link.")
@click.option("-size", "size", type=_Range(parse_size), help="[+-]BYTES, also 10M.")
@click.option("-mtime", "days", type=_Range(float), help="[+-]DAYS since the last change.")
@click.option("-mmin", "minutes", type=_Range(float), help="[+-]MINUTES since then.")
@click.option("-user", "user", help="The owner.")
@click.option("-group", "group", help="The group.")
@click.option("-empty", "empty", is_flag=True, help="Without content.")
@click.option("-mindepth", "low", type=click.IntRange(0), default=0, help="Not above that level.")
@click.option("-maxdepth", "high", type=click.IntRange(0), default=1 << 30, help="Not below it.")
@click.option("-print0", "print0", is_flag=True, help="End each path with NUL, for xargs -0.")
@json_option
async def find(
    shell: Shell,
    paths: tuple[Operand, ...],
    low: int,
    high: int,
    print0: bool,
    as_json: bool,
    **criteria: object,
) -> None:
    """Search trees, the whole file system by default; every criterion must hold."""
    tests = compile_tests(time.time(), **criteria)
    for top in await shell.expand(paths or (Operand("/"),), "cannot search"):
        with shell.attempt("cannot search", top):
            async for path, found, depth in _walk(shell, top, high):
                if depth < low or not all(test(path, found) for test in tests):
                    continue
                if as_json:
                    write_json(layout.described(path, found.attributes))
                else:
                    sys.stdout.write(path + "\0" if print0 else printable(path) + "\n")


async def _walk(shell: Shell, top: str, high: int) -> AsyncIterator[tuple[str, Stat, int]]:
    """``top`` and what is below it, with the depth of each."""
    found = await shell.fs.lstat(top)
    yield top, found, 0
    levels = [shell.entries(top)] if found.is_dir() and high else []
    while levels:
        try:
            entry = await anext(levels[-1])
        except StopAsyncIteration:
            levels.pop()
            continue
        except PermissionError as error:
            levels.pop()
            shell.complain(f"cannot search: {error}")
            continue
        yield entry.path, entry.stat(), len(levels)
        if entry.is_dir() and len(levels) < high:
            levels.append(shell.entries(entry.path))


def compile_tests(now: float, **criteria: object) -> list[Test]:
    """The tests that the criteria given stand for; those that are None or False are not."""
    return [
        _TESTS[name](value, now)
        for name, value in criteria.items()
        if value is not None and value is not False
    ]


def _name_of(path: str) -> str:
    return path.rpartition("/")[2] or "/"


def _age(found: Stat, now: float, unit: float) -> float:
    """Whole units since the last change, as find counts them."""
    return (now - found.st_mtime) // unit


def _is_empty(found: Stat) -> bool:
    return found.children == 0 if found.is_dir() else found.is_file() and found.st_size == 0


_TESTS: dict[str, Callable[..., Test]] = {
    "name": lambda want, now: lambda path, found: fnmatch.fnmatchcase(_name_of(path), want),
    "iname": lambda want, now: (
        lambda path, found: fnmatch.fnmatchcase(_name_of(path).lower(), want.lower())
    ),
    "path_pattern": lambda want, now: lambda path, found: fnmatch.fnmatchcase(path, want),
    "kind": lambda want, now: lambda path, found: _KINDS[want](found),
    "size": lambda want, now: lambda path, found: bool(want(found.st_size)),
    "days": lambda want, now: lambda path, found: bool(want(_age(found, now, 86_400))),
    "minutes": lambda want, now: lambda path, found: bool(want(_age(found, now, 60))),
    "user": lambda want, now: lambda path, found: found.owner == want,
    "group": lambda want, now: lambda path, found: found.group == want,
    "empty": lambda want, now: lambda path, found: _is_empty(found),
}
