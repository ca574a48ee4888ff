"""``memfs find``: search trees."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Sequence

import click

from memfs.cli.files.looking import columns as layout
from memfs.cli.files.looking.columns import Row
from memfs.cli.files.looking.expressions import Expression, ExpressionError, FoundFile, Test, parse
from memfs.cli.files.looking.find_formats import FormattedFile, compiled
from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.shell import Shell, file_command, printable, write_json
from memfs.client.stat import DirEntry
from memfs.errors import AccessDeniedError, NotDirectoryError, PathNotFoundError, SymlinkLoopError
from memfs.types import FileKind

_GATHERED = 1000
"""Paths of one ``-exec ... +``."""
_TAKING = ("--url", "--user", "--timeout", "--config")


class _FindCommand(click.Command):
    """A command whose arguments may look like options: the words of the expression."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options: list[str] = []
        words: list[str] = []
        prefixes = tuple(f"{name}=" for name in _TAKING)
        rest = iter(args)
        for word in rest:
            if word in _TAKING:
                options += [word, *itertools.islice(rest, 1)]
            elif word in ("-h", "--help", "--json") or word.startswith(prefixes):
                options.append(word)
            else:
                words.append(word)
        return super().parse_args(ctx, [*options, "--", *words])


@file_command(
    "find",
    cls=_FindCommand,
    example="memfs find /data -name '*.csv' -size +10M -mtime -7\n"
    "memfs find /data '(' -name '*.tmp' -o -empty ')' -not -newer /data/start -delete\n"
    "memfs find /data -type f -exec memfs chmod 640 {} +",
)
@click.argument("words", nargs=-1, metavar="[PATH...] [EXPRESSION]", type=click.UNPROCESSED)
@json_option
async def find(shell: Shell, words: tuple[str, ...], as_json: bool) -> None:
    """Search trees, the whole file system by default, as find(1) does.

    Tests: -name -iname -path -ipath -regex -iregex -type -size N[cwbkMG] -mtime -mmin -atime -amin
    -ctime -cmin -newer FILE -newerXY FILE (X, Y: a, c or m; Y also t: a time as touch -d has it)
    -anewer -cnewer -samefile FILE -perm [-/]MODE -user -group -links -inum -empty -true
    -false. Actions: -print -print0 -printf FORMAT -ls -exec COMMAND ; -exec COMMAND {} + -delete
    -prune -quit. Walk: -mindepth -maxdepth -depth. Joined by -a (or nothing), -o, -not or !, and
    parentheses.

    Formats are find's: %p path, %f name, %h its directory, %P path below the start %H, %d depth,
    %s size, %k KiB, %b blocks of 512 bytes, %m %M mode, %u %g owner and group, %U %G their numbers,
    %n links, %i inode, %l what a link says, %y kind, %Y what it leads to, %a %c %t times, %Tk and
    its like parts of them (%T@ seconds, %T+ all), %%, and \\n, \\t, \\0 and others.
    """
    count = 0
    while count < len(words) and words[count][:1] not in ("-", "(", "!"):
        count += 1
    ctx = click.get_current_context()
    paths = [PATH.convert(word, None, ctx) for word in words[:count]] or [Operand("/")]
    search = _TreeSearch(shell, as_json)
    try:
        expression = parse(words[count:], search)
    except ExpressionError as error:
        raise click.UsageError(str(error)) from None
    for each in expression.references:
        with shell.attempt("cannot access", each.path):
            each.found = await shell.fs.lstat(PATH.convert(each.path, None, ctx))
            continue
        return
    for top in await shell.expand(paths, "cannot search"):
        with shell.attempt("cannot search", top):
            await search.run(top, expression)
    await search.finish()


class _TreeSearch:
    """The walk, and what the expression does with what it finds."""

    def __init__(self, shell: Shell, as_json: bool) -> None:
        self._shell = shell
        self._as_json = as_json
        self.now = time.time()
        self._pruned = self._ended = False
        self._gathered: dict[tuple[str, ...], list[str]] = {}

    async def run(self, top: str, expression: Expression) -> None:
        """One tree."""
        async for found in self._walk(top, expression):
            self._pruned = False
            with self._shell.attempt("cannot access", found.path):
                wanted = found.depth >= expression.low and await expression.test(found)
                if wanted and not expression.acts:
                    await self.print(found, "\n")
            if self._ended:
                return

    async def finish(self) -> None:
        """Run the commands that were gathered."""
        for command, paths in self._gathered.items():
            if paths:
                await self._run([*command, *paths])

    async def _walk(self, top: str, expression: Expression) -> AsyncIterator[FoundFile]:
        """``top`` and everything below it, each directory before its entries, or after them."""
        first = FoundFile(top, await self._shell.fs.lstat(top), 0, top)
        if not expression.deepest_first:
            yield first
        levels: list[tuple[FoundFile, AsyncIterator[DirEntry]]] = []
        if self._goes_down(first, expression):
            levels.append((first, self._shell.entries(top)))
        elif expression.deepest_first:
            yield first
        while levels:
            above, entries = levels[-1]
            entry = None
            with self._shell.attempt("cannot open directory", above.path):
                entry = await anext(entries, None)
            if entry is None:
                levels.pop()
                if expression.deepest_first:
                    yield above
                continue
            found = FoundFile(entry.path, entry.listed, len(levels), top)
            self._pruned = False
            if not expression.deepest_first:
                yield found
            if self._goes_down(found, expression):
                levels.append((found, self._shell.entries(found.path)))
            elif expression.deepest_first:
                yield found

    def _goes_down(self, found: FoundFile, expression: Expression) -> bool:
        return found.listed.is_dir() and found.depth < expression.high and not self._pruned

    # --- actions ------------------------------------------------------------------------------

    async def print(self, found: FoundFile, end: str) -> bool:
        if self._as_json:
            write_json(layout.described(found.path, found.listed.attributes))
        else:
            sys.stdout.write(found.path + end if end == "\0" else printable(found.path) + end)
        return True

    async def show(self, found: FoundFile) -> bool:
        attributes = found.stat.attributes
        target = await self._shell.fs.readlink(found.path) if found.stat.is_symlink() else ""
        row = Row(printable(found.path), attributes, printable(target), found.path)
        (line,) = layout.long_lines([row], self.now)
        print(f"{attributes.inode:9} {-(-attributes.size // 1024):6} {line}")
        return True

    def format(self, text: str) -> Test:
        wanted = compiled(text, printable)
        for each in wanted.odd:
            self._shell.warn(f"-printf: {each!r} is no directive: it is printed as it stands")

        async def show(found: FoundFile) -> bool:
            target = ""
            leads_to: FileKind | str = ""
            if found.listed.is_symlink():
                fs = self._shell.fs
                target = await fs.readlink(found.path) if wanted.asks_link else ""
                leads_to = await self._end_of(found.path) if wanted.asks_target else ""
            sys.stdout.write(wanted.filled(FormattedFile(found, target, leads_to)))
            return True

        return show

    async def _end_of(self, path: str) -> FileKind | str:
        """What a symbolic link leads to."""
        try:
            return (await self._shell.fs.stat(path)).kind
        except (PathNotFoundError, NotDirectoryError):
            return "N"
        except SymlinkLoopError:
            return "L"
        except AccessDeniedError:
            return "?"

    async def delete(self, found: FoundFile) -> bool:
        with self._shell.attempt("cannot delete", found.path):
            if found.listed.is_dir():
                await self._shell.fs.rmdir(found.path)
            else:
                await self._shell.fs.remove(found.path)
            return True
        return False

    async def execute(self, found: FoundFile, command: Sequence[str], gathered: bool) -> bool:
        if not gathered:
            return await self._run([word.replace("{}", found.path) for word in command]) == 0
        paths = self._gathered.setdefault(tuple(command), [])
        paths.append(found.path)
        if len(paths) >= _GATHERED:
            await self._run([*command, *paths])
            paths.clear()
        return True

    async def _run(self, command: Sequence[str]) -> int:
        sys.stdout.flush()
        try:
            process = await asyncio.create_subprocess_exec(*command)
            status = await process.wait()
        except OSError as error:
            self._shell.complain(f"{command[0]}: {error.strerror}")
            return 127
        return status

    def prune(self, found: FoundFile) -> bool:
        self._pruned = True
        return True

    def quit(self) -> bool:
        self._ended = True
        return True
