"""Totals of a tree: one question, or directory by directory where that is too much for the primary.

Where directories of several owners lie in a tree of a million names, the primary would stand still
while it asks each whether the caller may read it. Then the client asks for the totals of each part
that is small enough, and page by page for the names between them. The sum is not of one moment.
"""

from __future__ import annotations

from memfs import limits
from memfs.client.calls.deadline import Deadline
from memfs.client.calls.wire import WirePath
from memfs.client.session.session import Session
from memfs.client.stat import TreeSummary
from memfs.client.trees.parts import PARALLEL, TreePart, ask_of, named
from memfs.concurrency import run_all
from memfs.errors import MemfsError, PathNotFoundError, StaleHandleError, TreeTooLargeError
from memfs.protocol import messages as m
from memfs.types import ROOT_INODE, ContentSummary

PAGE = limits.ENTRIES_PER_PAGE


async def summarise_tree(
    session: Session, where: WirePath, deadline: Deadline | None
) -> TreeSummary:
    """Totals of a directory with all below it, or of a file. Raises what refuses it.

    The error's ``filename`` is the directory that refuses, if it lies below.
    """
    try:
        return TreeSummary(*await session.ask(m.Summarise(where.raw), None, deadline))
    except TreeTooLargeError:
        quota = await session.ask(m.GetQuota(where.raw), where.given, deadline)
        found = await session.ask(m.Lookup(where.raw), where.given, deadline)
        top = TreePart(where.raw, ROOT_INODE, found.attributes.inode, where.given)
        totals = await _Sum(session, deadline).of(top)
        return TreeSummary(totals, quota.names_quota, quota.space_quota)
    except MemfsError as error:
        error.filename = named(error, where.raw, where.given)
        raise


class _Sum:
    """Of one tree that is too large for one step. Directories that go meanwhile do not count."""

    def __init__(self, session: Session, deadline: Deadline | None) -> None:
        self._session = session
        self._deadline = deadline
        self._total = ContentSummary(0, 0, 0, 0)
        self._waiting: list[TreePart] = []

    async def of(self, top: TreePart) -> ContentSummary:
        """The totals of ``top``."""
        await self._names(top)
        while self._waiting:
            part = self._waiting.pop()
            try:
                await self._names(part)
            except (PathNotFoundError, StaleHandleError):
                pass
        return self._total

    async def _names(self, part: TreePart) -> None:
        """Add a directory's own names, page by page, and the directories among them."""
        after, more = b"", True
        seen: set[int] = set()
        while more:
            page = await self._ask(m.SummarisePage(b"", after, PAGE, part.inode), part)
            self._add(page.summary)
            for file in page.several:
                if file.inode not in seen:
                    seen.add(file.inode)
                    self._add(ContentSummary(file.length, 1, 0, file.space))
            below = (part.below(each.name, each.inode) for each in page.below)
            await run_all(map(self._tree, below), PARALLEL)
            after, more = page.last, page.more

    async def _tree(self, part: TreePart) -> None:
        try:
            self._add((await self._ask(m.Summarise(b"", part.inode), part)).summary)
        except TreeTooLargeError:
            self._waiting.append(part)
        except (PathNotFoundError, StaleHandleError):
            pass

    def _add(self, more: ContentSummary) -> None:
        self._total = ContentSummary(*map(int.__add__, self._total, more))

    async def _ask(self, request: m.Request[m.R], part: TreePart) -> m.R:
        return await ask_of(self._session, request, part, b"", self._deadline)
