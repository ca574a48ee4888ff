"""Commands on drafts: files that are written before they have a name."""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.commands.files import FileVersion, LeaseReply
from memfs.protocol.messages.reads import LookupReply
from memfs.protocol.messages.registry import message
from memfs.types import ROOT_INODE, BlockRef


@message(148, command=True)
class CreateDraft(NamedTuple):
    """Begin a file without a name, leased to the caller: it goes with its lease.

    Refused where :class:`PublishDraft` of the same path would be; nothing is made there yet.
    """

    path: bytes
    """Empty: it is for the file ``base``, which the caller has leased (:class:`AdoptDraft`)."""
    exclusive: bool = False
    """Refused when it exists."""
    parents: bool = False
    replication: int = 0
    """0: that of the file at ``path``, else the cluster's default, as for the next two."""
    block_size: int = 0
    group_blocks: int = 0
    base: int = ROOT_INODE
    recover: bool = False
    """As of :class:`PublishDraft`."""

    @staticmethod
    def reply() -> type[LeaseReply]:
        return LeaseReply


@message(149, command=True)
class PublishDraft(NamedTuple):
    """Commit a draft's last blocks and length, give it the name ``path``, end its lease: one step.

    A file of that name is replaced and hands on owner, group, mode, access list and extended
    attributes. Where the caller may not remove it, and where it has further names, it stays and its
    content changes.
    """

    inode: int
    generation: int
    path: bytes
    size: int
    blocks: tuple[BlockRef, ...] = ()
    mode: int = 0o644
    exclusive: bool = False
    parents: bool = False
    unmasked: int | None = None
    """As of :class:`Create`."""
    base: int = ROOT_INODE
    recover: bool = False
    """Replace the file even if somebody else has it open for writing: their lease ends."""
    modified_ns: int | None = None
    """None: now."""
    unchanged: tuple[FileVersion, ...] = ()
    """Files that it was made from: StaleHandleError when one of them is not what it was."""
    withdrawn: tuple[BlockRef, ...] = ()
    """As of :class:`Commit`."""

    @staticmethod
    def reply() -> type[LookupReply]:
        return LookupReply


@message(190, command=True)
class AdoptDraft(NamedTuple):
    """Give a file that only its store has the content of a draft, which is a copy of it: one step.

    The caller has leased both. The file's lease stays, the draft is no more.
    """

    inode: int
    generation: int
    draft: int
    draft_generation: int

    @staticmethod
    def reply() -> type[LookupReply]:
        return LookupReply
