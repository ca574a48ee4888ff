"""Whole files written out of sight: the name is taken by the command that commits.

Owns how a draft begins and ends. Until it is closed nobody sees anything of it, and what its name
held is untouched; one that is discarded, or whose client goes, leaves nothing. See
``memfs.node.namespace.commands.drafts`` for what publishing does to a file of that name.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import ClassVar

from memfs.client.calls import modes
from memfs.client.calls.modes import Mode
from memfs.client.calls.wire import WirePath
from memfs.client.context import ClientContext
from memfs.client.handles.create_options import CreateOptions
from memfs.client.handles.handle import Handle
from memfs.client.reading.block_map import BlockMap
from memfs.errors import StaleHandleError
from memfs.protocol import messages as m
from memfs.types import Attributes


class Draft(Handle):
    """An open file without a name; ``close`` publishes it, ``discard`` forgets it.

    Its writer alone can read it: what was stored is read back from the nodes.
    """

    _mode: ClassVar[Mode] = modes.parse("w+b")

    def __init__(self, context: ClientContext, file: BlockMap, naming: m.PublishDraft) -> None:
        """``naming``: how it is published; blocks, length and lease are filled in."""
        super().__init__(context, file, self._mode)
        self._naming = naming
        self._given_up = False
        assert self.writer is not None, "a draft is written"
        self.writer.naming, self.writer.name = self._named, naming.path

    async def close(self, timeout: float | None = None) -> None:
        """Publish it. Raises StaleHandleError when it was discarded."""
        if self._given_up:
            raise StaleHandleError("the file was given up unpublished", path=self.file.path)
        await super().close(timeout)

    async def discard(self, timeout: float | None = None) -> None:
        """Forget it, unless it was published."""
        assert self.writer is not None, "a draft is written"
        self._given_up |= self.writer.is_open
        await super().discard(timeout)

    def made_from(self, source: Attributes) -> None:
        """Publish only if that file is still what it was: StaleHandleError otherwise."""
        version = m.FileVersion(source.inode, source.change)
        self._naming = self._naming._replace(unchanged=(*self._naming.unchanged, version))

    def modified(self, modified_ns: int) -> None:
        """Give it this time when it is published."""
        self._naming = self._naming._replace(modified_ns=modified_ns)

    @property
    def unlinked(self) -> bool:
        """Never: it has no name to lose."""
        return False

    def _named(self, commit: m.Commit) -> m.PublishDraft:
        return self._naming._replace(
            inode=commit.inode,
            generation=commit.generation,
            size=commit.size,
            blocks=commit.blocks,
            withdrawn=commit.withdrawn,
        )


async def open_draft(
    context: ClientContext,
    path: WirePath,
    options: CreateOptions,
    *,
    exclusive: bool = False,
    timeout: float | None = None,
    kind: type[Draft] = Draft,
) -> Draft:
    """Begin a file that will be ``path``. Raises what creating it would raise."""
    session = context.session
    deadline = session.deadline(timeout)
    request = m.CreateDraft(
        path.raw,
        exclusive,
        options.parents,
        options.replication,
        options.block_size,
        options.group_blocks,
        recover=options.recover,
    )
    reply = await session.grants.unnamed(request, path.given, deadline)
    mode, unmasked = options.permissions()
    naming = m.PublishDraft(
        0,
        0,
        path.raw,
        0,
        mode=mode,
        exclusive=exclusive,
        parents=options.parents,
        unmasked=unmasked,
        recover=options.recover,
    )
    file = BlockMap.leased(session, path.given, reply)
    return kind(context, file, naming)


@contextlib.asynccontextmanager
async def publishing(draft: Draft, timeout: float | None = None) -> AsyncIterator[Draft]:
    """Publish a draft when the block ends well, discard it when it does not."""
    try:
        yield draft
    except BaseException:
        await draft.discard(timeout)
        raise
    await draft.close(timeout)
