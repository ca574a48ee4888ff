"""``memfs rm``: many operands with one command of the namespace for tens of them.

Owns the order of removals and the message for each operand. Invariant: the result is that of
removing one operand after the other. Only names that are not directories are removed together, and
everything named before a directory is removed, or reported, before the directory is touched.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple, TypeAlias

import click

from memfs.cli.files.changing.replacing import confirmed
from memfs.cli.files.looking.columns import kind_name
from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.shell import Shell, file_command, quoted, write_json
from memfs.client.stat import Stat
from memfs.errors import NotDirectoryError, PathNotFoundError

TOGETHER = 4096
"""How many operands are looked at before the first of them is removed."""

_Found: TypeAlias = tuple[Operand, Stat | None]
_ABSENT = (PathNotFoundError, NotDirectoryError)


class RemovalManner(NamedTuple):
    """The options of one run."""

    recursive: bool
    empty: bool
    force: bool
    interactive: bool
    verbose: bool
    as_json: bool


@file_command("rm", example="memfs rm -r /data/old '/data/*.part'")
@click.argument("paths", nargs=-1, type=PATH, metavar="PATH...")
@click.option("-r", "-R", "--recursive", is_flag=True, help="Directories and all in them.")
@click.option("-d", "--dir", "empty", is_flag=True, help="Empty directories.")
@click.option("-f", "--force", is_flag=True, help="No error for what does not exist.")
@click.option("-i", "--interactive", is_flag=True, help="Ask before each operand.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
@json_option
async def rm(
    shell: Shell,
    paths: tuple[Operand, ...],
    recursive: bool,
    empty: bool,
    force: bool,
    interactive: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Remove files, and trees with -r: at once, whatever their size."""
    if not paths and not force:
        raise click.UsageError("nothing to remove is named")
    removal = OperandRemoval(
        shell, RemovalManner(recursive, empty, force, interactive, verbose, as_json)
    )
    operands = await _expand_present(shell, paths, force)
    together = 1 if interactive else TOGETHER
    for start in range(0, len(operands), together):
        await removal.remove(operands[start : start + together])


class OperandRemoval:
    """Removes operands and reports the result of each."""

    def __init__(self, shell: Shell, manner: RemovalManner) -> None:
        self._shell = shell
        self._manner = manner

    async def remove(self, operands: Sequence[Operand]) -> None:
        """Remove ``operands`` in their order."""
        found = await self._shell.fs.stat_many(operands, follow_symlinks=False)
        links = {path for path, what in zip(operands, found, strict=True) if _is_link(what)}
        looked = [
            (path, None if _is_below(path, links) else what)
            for path, what in zip(operands, found, strict=True)
        ]

        def goes_alone(each: _Found) -> bool:
            return self._goes_alone(*each, links)

        for alone, few in itertools.groupby(looked, goes_alone):
            if alone:
                for path, what in few:
                    await self._remove_one(path, what)
            else:
                await self._remove_together(list(few))

    def _goes_alone(self, path: Operand, what: Stat | None, links: Collection[str]) -> bool:
        """``links``: links named earlier, which may be removed before this operand's turn comes."""
        return (
            self._manner.interactive
            or _is_below(path, links)
            or _names_here(path)
            or path == "/"
            or (what is not None and what.is_dir())
        )

    async def _remove_together(self, few: Sequence[_Found]) -> None:
        """Remove operands that are not directories. Of one that does not exist the attempt gives
        the error."""
        results = await self._shell.fs.remove_many([path for path, _ in few], return_errors=True)
        for (path, what), error in zip(few, results, strict=True):
            if self._manner.force and isinstance(error, _ABSENT):
                continue
            with self._shell.attempt("cannot remove", path):
                if error is not None:
                    raise error
                self._tell(path, what)

    async def _remove_one(self, path: Operand, what: Stat | None) -> None:
        if _names_here(path):
            if self._manner.recursive or self._manner.empty:
                text = "refusing to remove '.' or '..' directory: skipping"
                self._shell.complain(f"{text} {quoted(path.content)}")
            else:
                self._shell.complain(f"cannot remove {quoted(path.content)}: Is a directory")
            return
        with self._shell.attempt("cannot remove", path):
            try:
                what = what or await self._shell.fs.lstat(path)
                question = f"remove {_kind(what)} {quoted(path)}?"
                if self._manner.interactive and not confirmed(question):
                    return
                if await self._is_gone(path, what):
                    self._tell(path, what)
            except _ABSENT:
                if not self._manner.force:
                    raise

    async def _is_gone(self, path: str, what: Stat) -> bool:
        """Remove one operand; returns whether that worked, and prints why when it did not."""
        if path == "/":
            self._shell.complain("it is dangerous to remove '/': name what is in it")
            return False
        if not what.is_dir():
            await self._shell.fs.remove(path)
        elif self._manner.recursive:
            await self._shell.fs.rmtree(path)
        elif self._manner.empty:
            await self._shell.fs.rmdir(path)
        else:
            self._shell.complain(f"cannot remove {quoted(path)}: Is a directory")
            return False
        return True

    def _tell(self, path: str, what: Stat | None) -> None:
        if self._manner.as_json:
            kind = "file" if what is None else _kind(what)  # made after it was looked for
            write_json({"removed": path, "kind": kind})
        elif self._manner.verbose:
            print(f"removed {quoted(path)}")


async def _expand_present(shell: Shell, paths: Sequence[Operand], force: bool) -> Sequence[Operand]:
    """Patterns replaced by what they match; with ``force``, none is no error."""
    if not force:
        return await shell.expand(paths, "cannot remove")
    found: list[Operand] = []
    for path in paths:
        quiet = Shell(shell.fs, shell.session)
        quiet.complain = lambda text: None  # type: ignore[method-assign]
        found += await quiet.expand([path], "cannot remove")
    return found


def _names_here(path: Operand) -> bool:
    """Whether it ends in ``.`` or ``..``."""
    return bool(path.content) and path.bare != "/"


def _is_link(what: Stat | None) -> bool:
    return what is not None and what.is_symlink()


def _is_below(path: str, links: Collection[str]) -> bool:
    """Whether the way to ``path`` leads through one of ``links``."""
    return bool(links) and any(path[: mark.start()] in links for mark in re.finditer("/", path))


def _kind(found: Stat) -> str:
    return "symbolic link" if found.is_symlink() else kind_name(found.attributes)
