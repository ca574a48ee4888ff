"""What a file command works with: the connected file system, the output, and the exit status.

Owns connecting, the coreutils form of errors, and going on after one operand has failed. A
command is an ``async def`` over a :class:`Shell`, made one by :func:`file_command`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from memfs import errors
from memfs.cli.cluster_client import connected
from memfs.cli.command import CommandContext, Failed, cluster_command
from memfs.cli.options import Operand
from memfs.cli.quoting import in_a_line, shell_quoted

if TYPE_CHECKING:
    from memfs.client.admin import AdminClient
    from memfs.client.filesystem import AsyncFileSystem
    from memfs.client.session.session import Session
    from memfs.client.stat import DirEntry, Stat
    from memfs.config import ClientConfig

T = TypeVar("T")

_OWN_WORDS = (
    errors.InvalidArgumentError,
    errors.InvalidPathError,
    errors.UnsupportedError,
    errors.ConfigError,
    errors.LeaseHeldError,
    errors.LeaseLostError,
    errors.LocksLostError,
    errors.QuotaExceededError,
    errors.InvalidTokenError,
    errors.OtherClusterError,
    errors.MountBusyError,
    errors.CrossMountError,
    errors.StoreDeniedError,
    errors.StoreMissingError,
    errors.StoreConflictError,
    errors.ObjectChangedError,
    errors.ObjectMissingError,
)
"""Errors whose own message is shown instead of strerror's, which would mislead: a store that
refuses is not a missing permission here, a missing bucket not a missing device, a changed object
not a stale handle."""
_FATAL = (errors.UnavailableError, errors.DeadlineError, errors.InternalError)
VANISHED = (errors.PathNotFoundError, errors.NotDirectoryError, errors.IsDirectoryError)
"""Errors for a name that was listed a moment ago and that others have removed or replaced."""


CHANGES_AT_ONCE = 32
"""How many changes of single files a recursive command has in flight."""


class Shell(CommandContext):
    """One run of a file command."""

    def __init__(self, fs: AsyncFileSystem, session: Session) -> None:
        """``session`` is the session of ``fs``, for commands that talk to single nodes."""
        super().__init__()
        self.fs = fs
        self.session = session

    @functools.cached_property
    def admin(self) -> AdminClient:
        """The same session, for operators' requests."""
        from memfs.client.admin import AdminClient

        return AdminClient(self.session)

    @contextlib.contextmanager
    def attempt(
        self, act: str, path: str, target: str = "", *, expected: tuple[type[OSError], ...] = ()
    ) -> Iterator[None]:
        """Turn an error inside into ``memfs: cannot open '/x': No such file or directory``.

        The path is what the error names, if that lies below ``path``; of an error that is not about
        it alone, ``'/x' to '/y'`` with the ``target``, if there is one. The command goes on, except
        when nothing can work any more: no cluster, no output.
        Nothing is said of errors that are ``expected``.
        """
        try:
            yield
        except expected:
            pass
        except (*_FATAL, BrokenPipeError):
            raise
        except OSError as error:
            self.complain(f"{act} {subject(error, path, target)}: {reason(error)}")
        except OverflowError as error:  # a number that no message takes
            self.complain(f"{act} {quoted(path)}: {error}")

    async def expand(self, operands: Iterable[Operand], act: str) -> list[Operand]:
        """Operands with patterns replaced by what they match, in order."""
        found: list[Operand] = []
        for operand in operands:
            if not _is_pattern(operand) or await self.lexists(operand):
                found.append(operand)
                continue
            with self.attempt(act, operand):
                matches = await self.fs.glob(operand)
                if not matches:
                    raise errors.PathNotFoundError("nothing matches", path=operand)
                found += map(Operand, matches)
        return found

    async def reference(self, path: str, *, follow_symlinks: bool = True) -> Stat:
        """What ``--reference`` names. Raises Failed, with the error printed."""
        with self.attempt("failed to get attributes of", path):
            return await self.fs.stat(path, follow_symlinks=follow_symlinks)
        raise Failed

    async def lexists(self, path: str) -> bool:
        """Whether the name exists, even as a broken link."""
        try:
            await self.fs.lstat(path)
        except (errors.PathNotFoundError, errors.NotDirectoryError):
            return False
        return True

    async def entries(self, path: str) -> AsyncIterator[DirEntry]:
        """The entries of a directory, ordered by name; a page at a time in memory."""
        async for page in self.fs.scandir_pages(path):
            for entry in page:
                yield entry

    async def below(
        self, path: str, *, links: bool = True, expected: tuple[type[OSError], ...] = ()
    ) -> AsyncGenerator[tuple[str, Stat], None]:
        """Everything below a directory, each directory before what it holds.

        Directories that cannot be opened are left out; ``expected``: as in :meth:`attempt`.
        """
        levels = [(path, self.entries(path))]
        while levels:
            where, listing = levels[-1]
            entry = None
            try:
                entry = await anext(listing, None)
            except OSError:
                if where == path:
                    raise
                with self.attempt("cannot open directory", where, expected=expected):
                    raise
            if entry is None:
                levels.pop()
                continue
            if links or not entry.is_symlink():
                found = None
                with self.attempt("cannot access", entry.path):
                    found = entry.stat()
                if found is not None:
                    yield entry.path, found
            if entry.is_dir():
                levels.append((entry.path, self.entries(entry.path)))


def _is_pattern(path: str) -> bool:
    return any(mark in path for mark in "*?[")


def subject(error: OSError, path: str, target: str = "") -> str:
    """What an error is about, quoted: ``path`` or one below it, or its way to the target."""
    named = error.filename
    if isinstance(named, str):
        if named.startswith(path.rstrip("/") + "/"):
            return quoted(named)
        if target and (named != path or error.filename2 is not None):
            return f"{quoted(path)} to {quoted(target)}"
    return quoted(path)


def reason(error: OSError) -> str:
    """The reason, as strerror has it where there is an errno."""
    if isinstance(error, errors.MemfsError):
        if isinstance(error, errors.RequestError) and not isinstance(error, _OWN_WORDS):
            return os.strerror(error.posix)
        return in_a_line(error.message)
    return error.strerror or str(error)


def quoted(path: str) -> str:
    """``'path'`` as GNU's commands quote it: nothing of a name reaches the terminal raw."""
    return shell_quoted(path)


def printable(text: str) -> str:
    """``text`` with bytes that are not UTF-8 as ``\\xff``; on a terminal ``?`` for controls."""
    text = _NOT_UTF8.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)
    if text.isprintable() or not sys.stdout.isatty():
        return text
    return "".join(each if each.isprintable() else "?" for each in text)


_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # as os.fsdecode writes them


def write_json(content: object) -> None:
    """One JSON value on a line of its own."""
    sys.stdout.write(json.dumps(content, separators=(",", ":")) + "\n")


# --- making commands -----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _connected_shell(config: ClientConfig) -> AsyncIterator[Shell]:
    async with connected(config) as (fs, session):
        yield Shell(fs, session)


file_command = functools.partial(cluster_command, _connected_shell)
"""Make a click command of ``async def body(shell, **parameters)``."""
