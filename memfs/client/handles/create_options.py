"""How a file is made where there is none: the options of one call, checked once and passed down."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

from memfs.client.calls.arguments import whole
from memfs.config import ClientConfig
from memfs.machine import current_umask
from memfs.protocol import messages as m


class CreateKeywords(TypedDict, total=False):
    """Keyword arguments of calls that may create a file."""

    permissions: int | None
    """Its mode; None: 0o666 less the process's umask, or what a default ACL grants."""
    parents: bool
    """Create missing directories."""
    replication: int | None
    block_size: int | None
    group_blocks: int | None
    unmasked: int | None
    """The mode before a umask, which counts where the directory has a default ACL."""
    recover: bool
    """A file that exists is opened or replaced even if somebody else writes it."""


class OpenKeywords(CreateKeywords, total=False):
    """Keyword arguments of calls that open a file."""

    timeout: float | None


class DraftKeywords(OpenKeywords, total=False):
    """Keyword arguments of calls that replace a file."""

    exclusive: bool
    """Fail where the name is taken."""


class WriteKeywords(TypedDict, total=False):
    """Keyword arguments of calls that write a whole file."""

    exclusive: bool
    parents: bool
    permissions: int | None
    replication: int | None
    recover: bool
    timeout: float | None


class WriteManyKeywords(WriteKeywords, total=False):
    """Keyword arguments of calls that write many whole files."""

    return_errors: bool


class CreateOptions(NamedTuple):
    """As :class:`CreateKeywords`, with what the client's configuration says filled in.

    0 copies, block size or group size: the cluster's default.
    """

    mode: int | None
    unmasked: int | None
    parents: bool
    replication: int
    block_size: int
    group_blocks: int
    recover: bool

    @classmethod
    def of(
        cls,
        config: ClientConfig,
        *,
        permissions: int | None = None,
        parents: bool = False,
        replication: int | None = None,
        block_size: int | None = None,
        group_blocks: int | None = None,
        unmasked: int | None = None,
        recover: bool = False,
    ) -> CreateOptions:
        """Check what was asked for; None means what ``config`` says. Raises TypeError."""
        for name, value in (
            ("permissions", permissions),
            ("replication", replication),
            ("unmasked", unmasked),
            ("block_size", block_size),
            ("group_blocks", group_blocks),
        ):
            if value is not None:
                whole(name, value)
        return cls(
            permissions,
            unmasked,
            parents,
            config.replication if replication is None else replication,
            config.block_size if block_size is None else block_size,
            config.group_blocks if group_blocks is None else group_blocks,
            recover,
        )

    def permissions(self) -> tuple[int, int | None]:
        """Mode and unmasked mode of what is created, by the umask of this moment."""
        if self.mode is None:
            return 0o666 & ~current_umask(), 0o666
        return self.mode, self.unmasked

    def create(self, raw: bytes, *, exclusive: bool, holder: str) -> m.Create:
        """The request that creates (or empties) ``raw``; ``holder``: as of AcquireLease."""
        mode, unmasked = self.permissions()
        return m.Create(
            raw,
            mode,
            exclusive,
            self.parents,
            self.replication,
            self.block_size,
            self.group_blocks,
            unmasked=unmasked,
            holder=holder,
        )
