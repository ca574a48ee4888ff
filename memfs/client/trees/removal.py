"""Removing a tree: one command, or directory by directory where that is too much for the primary.

Where directories of several owners lie in a tree of a million names, the primary would stand still
while it asks each whether it may be emptied. Then the client asks in steps: first whether all may
go, so that a refusal leaves everything as it was, then for each part that is small enough, from
below. Whoever changes the tree meanwhile may see parts of it gone, or make the rest stay, as with
``rm -r``. Parts are named by the handle of the directory they lie in, so that nobody can lead the
way elsewhere by a symlink. Nothing recurses: trees are deeper than Python's stack.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from memfs.client.calls.deadline import Deadline
from memfs.client.calls.wire import WirePath
from memfs.client.session.session import Session
from memfs.client.trees.parts import PARALLEL, TreePart, ask_of, named
from memfs.concurrency import Coro, run_all
from memfs.errors import MemfsError, PathNotFoundError, TreeTooLargeError
from memfs.protocol import messages as m
from memfs.types import ROOT_INODE, FileKind

PAGE = 1_000


async def remove_tree(session: Session, where: WirePath, deadline: Deadline | None) -> None:
    """Remove a directory with all below it. Raises what refuses it, and then nothing is gone.

    The error's ``filename`` is the directory that refuses, if it lies below.
    """
    try:
        await session.ask(m.RemoveDirectory(where.raw, True), None, deadline)
    except TreeTooLargeError:
        found = await session.ask(m.Lookup(where.raw, False), where.given, deadline)
        top = TreePart(where.raw, ROOT_INODE, found.attributes.inode, where.given)
        await _Steps(session, deadline).remove(top)
    except MemfsError as error:
        error.filename = named(error, where.raw, where.given)
        raise


class _Steps:
    """The removal of one tree that is too large for one step."""

    def __init__(self, session: Session, deadline: Deadline | None) -> None:
        self._session = session
        self._deadline = deadline

    async def remove(self, top: TreePart) -> None:
        """Check everything, then remove it from below."""
        for part in reversed(await self._too_large(top)):
            await self._each_below(part, self._remove_small)
            await self._ask(m.RemoveDirectory(part.name, True, part.base), part)

    async def _too_large(self, top: TreePart) -> list[TreePart]:
        """``top`` and all below it that are too large for one step, who lies above first."""
        waiting, found = [top], []

        async def check(part: TreePart) -> None:
            try:
                await self._ask(m.CheckRemoval(part.name, True, part.base), part)
            except TreeTooLargeError:
                waiting.append(part)
            except PathNotFoundError:
                pass  # somebody else was faster

        while waiting:
            part = waiting.pop()
            found.append(part)
            await self._ask(m.CheckRemoval(part.name, False, part.base), part)
            await self._each_below(part, check)
        return found

    async def _remove_small(self, part: TreePart) -> None:
        try:
            await self._ask(m.RemoveDirectory(part.name, True, part.base), part)
        except PathNotFoundError:
            pass

    async def _each_below(self, part: TreePart, work: Callable[[TreePart], Coro[None]]) -> None:
        async for page in self._directories(part):
            await run_all((work(each) for each in page), PARALLEL)

    async def _directories(self, part: TreePart) -> AsyncIterator[list[TreePart]]:
        """The directories in one, page by page."""
        after, more = b"", True
        while more:
            reply = await self._ask(m.List(b"", after, PAGE, part.inode), part)
            yield [
                part.below(entry.name, entry.attributes.inode)
                for entry in reply.entries
                if entry.attributes.kind == FileKind.DIRECTORY
            ]
            more = reply.remaining > 0 and bool(reply.entries)
            after = reply.entries[-1].name if reply.entries else after

    async def _ask(self, request: m.Request[m.R], part: TreePart) -> m.R:
        return await ask_of(self._session, request, part, part.name, self._deadline)
